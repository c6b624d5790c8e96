"""`medpipe train`: networks from a sheet of images and masks, fold by fold."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cli.common import Quiet, Seed, Threads, numbers, set_up
from cli.memory import memory_told
from cli.training_cases import describe_cases, found_labels, with_folds
from cli.training_fold import plan_text, train_fold
from cli.training_outputs import Job, write_summary
from cli.triples import triple, whole_triple
from pipeline.errors import SettingsError

#: The fold in which every subject trains.
NO_FOLD = "none"
_GB = 1 << 30
_LESS_MEMORY = (
    "give a smaller --batch or --patch or a narrower network (--max-parameters, --option "
    "width=...), with another --out; or less to --memory-gb, which bounds the prepared images"
)
_LOG = logging.getLogger(__name__)


@memory_told("training", _LESS_MEMORY)
def train(
    sheet: Annotated[
        Path,
        typer.Argument(
            help="Table: subject, image, mask, and as wanted fold and group; paths relative to it."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder; each fold gets one inside.")],
    network: Annotated[
        str,
        typer.Option(
            help="unet (configures itself), vnet, highres3dnet, densehighres3dnet, fcn8s or psnet."
        ),
    ] = "unet",
    labels: Annotated[
        str, typer.Option(help="name=value,name=value of the masks. Default: every value found.")
    ] = "",
    folds: Annotated[int, typer.Option(min=2, help="Folds, if the sheet gives none.")] = 5,
    fold: Annotated[
        str, typer.Option(help="all, none (every subject trains: a final model), or numbers: 0,2.")
    ] = "all",
    iterations: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 4000,
    batch: Annotated[int | None, typer.Option(min=1, help="Patches a step.")] = None,
    patch: Annotated[str, typer.Option(help="Voxels, e.g. 96,96,64. Default: planned.")] = "",
    spacing: Annotated[str, typer.Option(help="Of the network, mm: 1,1,1. Default: planned.")] = "",
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the network, name=value; may be repeated.")
    ] = None,
    vgg16: Annotated[
        Path | None,
        typer.Option(
            help="psnet: weights of VGG-16 to start from (safetensors, torchvision's names); only "
            "the last three layers train."
        ),
    ] = None,
    max_parameters: Annotated[
        int, typer.Option(min=1, help="unet: the widest network with at most so many.")
    ] = 2_000_000,
    kind: Annotated[
        str, typer.Option(help="ct (numbers mean something), mr (they do not), or auto.")
    ] = "auto",
    loss: Annotated[
        str, typer.Option(help="dice, dice_ce, focal or weighted_cross_entropy.")
    ] = "dice_ce",
    rounds: Annotated[
        str, typer.Option(help="Losses in turn, with their iterations: dice:20000,focal:10000.")
    ] = "",
    repeat: Annotated[int, typer.Option(min=1, help="How often the rounds run.")] = 1,
    optimiser: Annotated[str, typer.Option(help="adamw, adam, or sgd (Nesterov).")] = "adamw",
    rate: Annotated[
        float | None, typer.Option(help="Learning rate. Default: 2e-3, 1e-3, 1e-2 of these.")
    ] = None,
    weight_decay: Annotated[float, typer.Option(min=0.0)] = 1e-4,
    momentum: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of sgd; Nesterov's. Below 1.")
    ] = 0.99,
    schedule: Annotated[str, typer.Option(help="cosine, poly or constant.")] = "cosine",
    ema: Annotated[
        float, typer.Option(help="Decay of the running mean of the weights; 0: none.")
    ] = 0.99,
    augment: Annotated[
        str, typer.Option(help="How much patches are varied: none, light, usual or strong.")
    ] = "usual",
    flip: Annotated[
        str,
        typer.Option(
            help="Axes to mirror along (0 left-right, 1 front-back, 2 up-down), none, or auto: "
            "left-right unless a label is of one side."
        ),
    ] = "auto",
    validate_every: Annotated[
        int, typer.Option(min=1, help="Iterations between two validations and checkpoints.")
    ] = 200,
    patience: Annotated[
        int, typer.Option(min=0, help="Stop after so many validations without a better; 0: never.")
    ] = 0,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Training time of each fold, all runs together.")
    ] = None,
    mirror: Annotated[
        bool,
        typer.Option(
            help="Validate at the end as `medpipe segment --mirror` segments: the mean over images "
            "mirrored along the axes of --flip."
        ),
    ] = False,
    licence: Annotated[
        str, typer.Option(help="Licence of the images, for the card.")
    ] = "not stated",
    memory_gb: Annotated[
        float, typer.Option(min=0.0, help="Prepared images in memory; the rest lies in OUT.")
    ] = 4.0,
    precision: Annotated[
        str,
        typer.Option(
            help="float32, mixed (16 bits; on a CPU that has bfloat16 twice as fast), or auto: "
            "mixed on CUDA."
        ),
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Begin anew where a checkpoint is of other settings or data."
        ),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be done; no more.")
    ] = False,
    seed: Seed = 20210322,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Train a segmentation network on the folds of a data set, or on all of it.

    Each fold gets a checkpoint, log.tsv, curve.png, validation.tsv and a model folder;
    summary.tsv is over the folds. Started again, it goes on where it was, however it ended.

    Example: medpipe train sheet.tsv --out trained --labels anterior=1,posterior=2
    """
    set_up(threads, quiet)
    import torch

    from pipeline.registration.tensors import pick_device
    from pipeline.segment.losses import Schedule
    from pipeline.segment.training.augment import augmentation_of
    from pipeline.segment.training.settings import USUAL_RATE, TrainingSettings, parse_rounds
    from pipeline.segment.training.sheet import read_training_sheet

    torch.set_num_threads(threads)
    rows = read_training_sheet(sheet)
    named = _labels(labels) if labels else found_labels(rows)
    found = pick_device(cast(Any, _one_of(device, ("auto", "cuda", "cpu"), "--device")))
    if precision == "auto":
        precision = "mixed" if found.type == "cuda" else "float32"
    usual = USUAL_RATE.get(cast(Any, optimiser), 1e-3)
    settings = TrainingSettings(
        iterations=iterations,
        loss=loss,
        rounds=parse_rounds(rounds),
        repeat=repeat,
        optimiser=cast(Any, optimiser),
        rate=usual if rate is None else rate,
        weight_decay=weight_decay,
        momentum=momentum,
        schedule=cast(Any, schedule),
        ema=ema,
        precision=cast(Any, precision),
        augmentation=augmentation_of(augment, _flip_axes(flip, named)),
        validate_every=validate_every,
        patience=patience,
        seed=seed,
    )
    cases = with_folds(sheet, describe_cases(sheet, rows, named), folds, seed)
    job = Job(
        sheet=sheet,
        out=out,
        settings=settings,
        schedule=Schedule(settings.rounds or [(loss, iterations)], settings.repeat),
        device=found,
        folds=tuple(sorted({cast(int, case.fold) for case in cases})),
        max_seconds=60.0 * max_minutes if max_minutes else float("inf"),
        memory_bytes=int(memory_gb * _GB),
        licence=licence,
        planned={
            "network": network,
            "labels": named,
            "spacing_mm": triple(spacing, "--spacing"),
            "patch": whole_triple(patch, "--patch"),
            "batch": batch,
            "options": _options(option or []) | ({"pretrained": True} if vgg16 else {}),
            "max_parameters": max_parameters,
        },
        kind=None if _one_of(kind, ("auto", "ct", "mr"), "--kind") == "auto" else kind,
        vgg16=vgg16,
        replace=replace,
        mirror=mirror,
    )
    wanted = _wanted(fold, job.folds)
    if plan:
        typer.echo(plan_text(job, cases, wanted))
        return
    try:
        for number in wanted:
            train_fold(job, cases, number)
    except KeyboardInterrupt:
        _LOG.warning("stopped; the same command goes on from the last checkpoint in %s", out)
        raise typer.Exit(130) from None
    typer.echo(str(write_summary(job)))


def _wanted(text: str, folds: Sequence[int]) -> list[int | None]:
    if text == NO_FOLD:
        return [None]
    if text == "all":
        return list(folds)
    chosen = [int(number) for number in numbers(text, "--fold")]
    strange = [number for number in chosen if number not in folds]
    if strange:
        raise SettingsError(
            f"--fold {text}: no fold {strange[0]}; use all, none, or of "
            + ",".join(map(str, folds))
        )
    return list(chosen)


def _labels(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value.isdecimal()) or name in found:
            raise SettingsError(f"--labels {text}: give name=value, each name once: tumour=1")
        found[name] = int(value)
    return found


def _flip_axes(text: str, labels: Mapping[str, int]) -> tuple[int, ...]:
    if text == "auto":
        sided = any("left" in name.lower() or "right" in name.lower() for name in labels)
        return () if sided else (0,)
    axes = () if text == "none" else tuple(int(n) for n in numbers(text, "--flip"))
    if not set(axes) <= {0, 1, 2}:
        raise SettingsError(f"--flip {text}: give auto, none, or axes among 0,1,2")
    return axes


def _options(given: Sequence[str]) -> dict[str, Any]:
    """Return the options of a network; values are JSON, or text where they are none."""
    import json

    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--option {text}: give name=value, e.g. width=24")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _one_of(value: str, allowed: tuple[str, ...], flag: str) -> str:
    if value not in allowed:
        raise SettingsError(f"{flag} {value}: unknown; use one of {', '.join(allowed)}")
    return value

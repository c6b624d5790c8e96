"""`medpipe train`: networks from a sheet of images and masks, fold by fold."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.common import Quiet, Seed, Threads, numbers, progress, set_up
from pipeline.errors import CohortError, GeometryError, MedpipeError, SettingsError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.segment.losses import Schedule
    from pipeline.segment.plan import Plan
    from pipeline.segment.training.cache import Prepared
    from pipeline.segment.training.fingerprint import CaseFingerprint, Fingerprint
    from pipeline.segment.training.loop import State, Trainer
    from pipeline.segment.training.settings import TrainingSettings
    from pipeline.segment.training.sheet import TrainingRow
    from pipeline.types import Volume

CHECKPOINT, LOG, CURVE, VALIDATION = (
    "checkpoint.safetensors", "log.tsv", "curve.png", "validation.tsv",
)  # fmt: skip
SUMMARY, MODEL, CARD, LOCK = "summary.tsv", "model", "model_card.md", ".train.lock"

#: The fold in which every subject trains, and its folder.
NO_FOLD = "none"
#: Seconds between two pictures of a curve while training goes on.
_DRAW_S = 60.0
_GB = 1 << 30
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Case:
    """A row, its fold, and what its image looks like."""

    row: "TrainingRow"
    found: "CaseFingerprint"
    fold: int | None = None


@dataclass(frozen=True, eq=False)
class _Job:
    """All that the folds share."""

    sheet: Path
    out: Path
    settings: "TrainingSettings"
    schedule: "Schedule"
    device: "torch.device"
    folds: tuple[int, ...]
    max_seconds: float
    memory_bytes: int
    licence: str
    planned: Mapping[str, Any]
    kind: str | None
    vgg16: Path | None
    replace: bool


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
    schedule: Annotated[str, typer.Option(help="cosine, poly or constant.")] = "cosine",
    ema: Annotated[
        float, typer.Option(help="Decay of the running mean of the weights; 0: none.")
    ] = 0.99,
    augment: Annotated[bool, typer.Option(help="Vary the patches.")] = True,
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
    from pipeline.segment.training.augment import Augmentation
    from pipeline.segment.training.settings import USUAL_RATE, TrainingSettings, parse_rounds
    from pipeline.segment.training.sheet import read_training_sheet

    torch.set_num_threads(threads)
    rows = read_training_sheet(sheet)
    named = _labels(labels) if labels else _found_labels(rows)
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
        schedule=cast(Any, schedule),
        ema=ema,
        precision=cast(Any, precision),
        augmentation=Augmentation(flip_axes=_flip_axes(flip, named)) if augment else None,
        validate_every=validate_every,
        patience=patience,
        seed=seed,
    )
    cases = _with_folds(sheet, _described(sheet, rows, named), folds, seed)
    job = _Job(
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
            "spacing_mm": _triple(spacing, "--spacing"),
            "patch": _whole_triple(patch, "--patch"),
            "batch": batch,
            "options": _options(option or []) | ({"pretrained": True} if vgg16 else {}),
            "max_parameters": max_parameters,
        },
        kind=None if _one_of(kind, ("auto", "ct", "mr"), "--kind") == "auto" else kind,
        vgg16=vgg16,
        replace=replace,
    )
    wanted = _wanted(fold, job.folds)
    if plan:
        typer.echo(_plan_text(job, cases, wanted))
        return
    try:
        for number in wanted:
            _train_fold(job, cases, number)
    except KeyboardInterrupt:
        _LOG.warning("stopped; the same command goes on from the last checkpoint in %s", out)
        raise typer.Exit(130) from None
    typer.echo(str(_write_summary(job)))


def _described(
    sheet: Path, rows: Sequence["TrainingRow"], labels: Mapping[str, int]
) -> list[_Case]:
    """Read every image and mask once; tell all that do not fit at once."""
    from pipeline.segment.training.fingerprint import describe_case

    cases, problems = [], []
    unknown: dict[int, str] = {}
    for row in progress(rows, total=len(rows), what="reading"):
        try:
            image, mask = _load(row)
            found = describe_case(image, mask, labels)
        except MedpipeError as error:
            problems.append(f"{sheet}:{row.row}: {error}")
            continue
        for value in found.unknown:
            unknown.setdefault(value, row.name)
        cases.append(_Case(row, found))
    if problems:
        raise CohortError(problems)
    for value, name in sorted(unknown.items()):
        _LOG.warning("value %d of masks (first: %s) has no label: it is background", value, name)
    return cases


def _load(row: "TrainingRow") -> tuple["Volume", "Volume"]:
    from pipeline.geometry import check_same_grid
    from pipeline.io import read_labels, read_volume

    image, mask = read_volume(row.image), read_labels(row.mask)
    check_same_grid(image.grid, mask.grid, (row.image.name, row.mask.name))
    if mask.data.min() < 0:
        raise GeometryError(f"{row.mask.name}: values below 0; a mask has 0, 1, 2 ...")
    return image, mask


def _with_folds(sheet: Path, cases: list[_Case], folds: int, seed: int) -> list[_Case]:
    """Give each case the sheet's fold, or deal folds; refuse twins in two folds."""
    from dataclasses import replace

    from pipeline.segment.training.folds import deal_folds
    from pipeline.segment.training.sheet import check_twins

    if cases[0].row.fold is not None:
        dealt: Sequence[int | None] = [case.row.fold for case in cases]
    else:
        volumes = [case.found.foreground_mm3 for case in cases]
        dealt = deal_folds([c.row.group for c in cases], volumes, folds=folds, seed=seed)
    found = [replace(case, fold=number) for case, number in zip(cases, dealt, strict=True)]
    check_twins(sheet, [(case.row, case.fold, case.found.digest) for case in found])
    return found


def _train_fold(job: _Job, cases: Sequence[_Case], fold: int | None) -> None:
    """Train, validate and store the model of one fold (None: of every subject)."""
    from pipeline.io.tensors import read_tensors
    from pipeline.runlock import claim
    from pipeline.segment.training.checkpoint import digest, unpack
    from pipeline.segment.training.loop import Trainer

    training, held_out = _parts(cases, fold)
    found, plan = _planned(job, training)
    folder = job.out / _name(fold)
    folder.mkdir(parents=True, exist_ok=True)
    with claim(folder / LOCK):
        asked: dict[str, Any] = {
            "plan": plan.to_json(),
            "settings": asdict(job.settings),
            "training": _data(training),
            "validation": _data(held_out),
        }
        trainer = Trainer(plan, job.settings, job.schedule, job.device)
        if job.vgg16 is not None:
            asked["vgg16"] = _start_from(job.vgg16, trainer)
        checkpoint = folder / CHECKPOINT
        if checkpoint.exists():
            try:
                unpack(read_tensors(checkpoint), trainer, asked)
            except SettingsError as error:
                if not job.replace:
                    raise SettingsError(
                        f"{checkpoint}: {error}; use another --out, or --replace to begin anew"
                    ) from None
                _LOG.warning("%s: %s; training begins anew", checkpoint, error)
        if not trainer.can_go_on(job.max_seconds) and _is_complete(folder, fold):
            _LOG.info("%s: nothing to do: %s", folder, trainer.state.stopped)
            return
        if trainer.can_go_on(job.max_seconds):
            _run(job, trainer, training, held_out, folder, asked)
        _LOG.info("%s: %s", folder, trainer.state.stopped)
        scores = _validated(job, trainer, held_out, fold, folder)
        _write_model(job, trainer, found, training, scores, fold, folder, digest(asked))


def _start_from(path: Path, trainer: "Trainer") -> str:
    """Give the layers of VGG-16 their weights from a file; return its sha256."""
    from pipeline.io.tensors import read_tensors
    from pipeline.provenance import sha256
    from pipeline.segment.networks.psnet import load_vgg16

    weights = read_tensors(path)
    for network in (trainer.network, trainer.average):
        if network is not None:
            load_vgg16(network, weights)
    return sha256(path)


def _run(
    job: _Job,
    trainer: "Trainer",
    training: Sequence[_Case],
    held_out: Sequence[_Case],
    folder: Path,
    asked: Mapping[str, Any],
) -> None:
    from pipeline.io.tensors import write_tensors
    from pipeline.segment.training.cache import Cache
    from pipeline.segment.training.checkpoint import pack

    drawn = [0.0]

    def store(state: "State") -> None:
        write_tensors(folder / CHECKPOINT, pack(trainer, asked))
        _write_log(folder, state, list(trainer.plan.labels))
        if state.stopped or time.monotonic() - drawn[0] > _DRAW_S:
            _write_curve(job, folder, trainer)
            drawn[0] = time.monotonic()

    if trainer.state.iteration:
        _LOG.info("%s: going on after iteration %d", folder, trainer.state.iteration)
    cache = Cache(job.memory_bytes, folder)
    ready, other = (_prepared(part, trainer.plan, cache) for part in (training, held_out))
    trainer.run(ready, other, store, max_seconds=job.max_seconds)


def _prepared(cases: Sequence[_Case], plan: "Plan", cache: Any) -> list["Prepared"]:
    from pipeline.segment.training.cache import prepare_case

    return [
        prepare_case(case.row.name, *_load(case.row), plan, cache)
        for case in progress(cases, total=len(cases), what="preparing")
    ]


def _validated(
    job: _Job, trainer: "Trainer", cases: Sequence[_Case], fold: int | None, folder: Path
) -> "pd.DataFrame":
    """Segment the held-out images as in use, on their own grid, and write their Dice."""
    import pandas as pd

    from pipeline.evaluation.overlap import measure_overlap
    from pipeline.io import write_table
    from pipeline.segment.predict import PredictSettings, predict
    from pipeline.segment.trained import Model

    model = Model(trainer.plan, trainer.evaluated(), {}, _name(fold))
    rows = []
    for case in progress(cases, total=len(cases), what="validating"):
        image, mask = _load(case.row)
        found = predict(image, [model], PredictSettings(device=str(job.device))).labels
        for name, value in trainer.plan.labels.items():
            overlap = measure_overlap(
                mask.data == value, found.data == value, image.grid.voxel_volume_mm3
            )
            rows.append(
                {
                    "subject": case.row.subject,
                    "image": case.row.image.name,
                    "label": name,
                    "fold": fold,
                    "dice": overlap.dice_3d,
                    "reference_ml": overlap.reference_ml,
                    "prediction_ml": overlap.prediction_ml,
                }
            )
    table = pd.DataFrame(rows)
    if rows:
        write_table(folder / VALIDATION, table)
    return table


def _write_model(
    job: _Job,
    trainer: "Trainer",
    found: "Fingerprint",
    training: Sequence[_Case],
    scores: "pd.DataFrame",
    fold: int | None,
    folder: Path,
    identity: str,
) -> None:
    from pipeline.io import write_text
    from pipeline.model_folder import DOCUMENT, save_model
    from pipeline.provenance import package_versions, write_sidecars
    from pipeline.segment.training.card import card_text, make_card

    card = make_card(
        trainer.plan,
        found,
        job.settings,
        trainer.state,
        name="every subject" if fold is None else f"fold {fold} of {len(job.folds)}",
        licence=job.licence,
        subjects=len({case.row.subject for case in training}),
        validated=_metrics(scores),
        versions=package_versions(),
        identity=identity,
    )
    write_text(folder / MODEL / CARD, card_text(card, trainer.plan))
    save_model(folder / MODEL, trainer.plan, trainer.weights(), card)
    write_sidecars(
        [folder / MODEL / DOCUMENT],
        block="segment",
        inputs=[job.sheet],
        settings={"fold": fold, **asdict(job.settings)},
        seed=job.settings.seed,
        measured={"digest": identity, "seconds": trainer.state.seconds},
    )


def _metrics(scores: "pd.DataFrame") -> dict[str, dict[str, float]]:
    """Return number, mean, SD and median of the Dice of each label."""
    if scores.empty:
        return {}
    found = {}
    for name, dice in scores.dropna(subset="dice").groupby("label", sort=False)["dice"]:
        found[str(name)] = {
            "cases": len(dice),
            "dice_mean": float(dice.mean()),
            "dice_sd": float(dice.std(ddof=1)) if len(dice) > 1 else 0.0,
            "dice_median": float(dice.median()),
        }
    return found


def _write_log(folder: Path, state: "State", labels: Sequence[str]) -> None:
    import pandas as pd

    from pipeline.io import write_table

    rows = [
        {
            "iteration": record.iteration,
            "loss_name": record.loss_name,
            "loss": record.loss,
            "rate": record.rate,
            "seconds": round(record.seconds, 1),
            **{f"dice_{n}": d for n, d in zip(labels, record.dice, strict=False)},
            "dice_mean": record.score,
        }
        for record in state.history
    ]
    write_table(folder / LOG, pd.DataFrame(rows))


def _write_curve(job: _Job, folder: Path, trainer: "Trainer") -> None:
    from pipeline.io import write_bytes
    from pipeline.report.training_figure import training_png

    picture = training_png(
        trainer.state.history,
        list(trainer.plan.labels),
        title=f"{trainer.plan.network}, {folder.name} of {job.sheet.name}",
        best_iteration=trainer.state.best_iteration,
    )
    write_bytes(folder / CURVE, picture)


def _write_summary(job: _Job) -> Path:
    """Write a row for each fold that is there and label, and for all folds together."""
    import pandas as pd

    from pipeline.io import read_table, write_table

    tables = {
        str(fold): read_table(job.out / _name(fold) / VALIDATION)
        for fold in job.folds
        if (job.out / _name(fold) / VALIDATION).exists()
    }
    if not tables:
        return job.out
    if len(tables) > 1:
        tables["all"] = pd.concat(tables.values())
    rows = [
        {"fold": fold, "label": label, **values}
        for fold, table in tables.items()
        for label, values in _metrics(table).items()
    ]
    write_table(job.out / SUMMARY, pd.DataFrame(rows))
    return job.out / SUMMARY


def _planned(job: _Job, training: Sequence[_Case]) -> tuple["Fingerprint", "Plan"]:
    """Return fingerprint and plan; only the cases that train are looked at."""
    from pipeline.segment.training.fingerprint import combine
    from pipeline.segment.training.planning import make_plan

    found = combine([case.found for case in training], kind=cast(Any, job.kind))
    return found, make_plan(found, **job.planned)


def _plan_text(job: _Job, cases: Sequence[_Case], wanted: Iterable[int | None]) -> str:
    from pipeline.segment.training.card import describe_plan
    from pipeline.segment.training.planning import memory_guess, on_meta, parameters

    first = next(iter(wanted))
    found, plan = _planned(job, _parts(cases, first)[0])
    return describe_plan(
        plan,
        found,
        job.settings,
        parameters=parameters(on_meta(plan.network, plan.classes, plan.options)),
        memory_bytes=memory_guess(plan),
        folds={str(fold): sum(case.fold == fold for case in cases) for fold in job.folds},
        device=job.device.type,
    )


def _parts(cases: Sequence[_Case], fold: int | None) -> tuple[list[_Case], list[_Case]]:
    if fold is None:
        return list(cases), []
    return [c for c in cases if c.fold != fold], [c for c in cases if c.fold == fold]


def _data(cases: Sequence[_Case]) -> dict[str, list[str]]:
    return {case.row.name: [case.found.digest, case.found.mask_digest] for case in cases}


def _name(fold: int | None) -> str:
    return "final" if fold is None else f"fold-{fold}"


def _is_complete(folder: Path, fold: int | None) -> bool:
    from pipeline.model_folder import DOCUMENT

    wanted = [folder / MODEL / DOCUMENT] + ([folder / VALIDATION] if fold is not None else [])
    return all(path.exists() for path in wanted)


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


def _found_labels(rows: Sequence["TrainingRow"]) -> dict[str, int]:
    """Return a label for every value above 0 in any mask."""
    import numpy as np

    from pipeline.io import read_labels

    values: set[int] = set()
    for row in progress(rows, total=len(rows), what="looking for labels"):
        values |= {int(v) for v in np.unique(read_labels(row.mask).data) if v > 0}
    return {f"label{value}": value for value in sorted(values)}


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


def _triple(text: str, flag: str) -> tuple[float, ...] | None:
    if not text:
        return None
    values = numbers(text, flag)
    if len(values) != 3 or min(values) <= 0:
        raise SettingsError(f"{flag} {text}: give three numbers above 0, e.g. 1,1,3")
    return values


def _whole_triple(text: str, flag: str) -> tuple[int, ...] | None:
    values = _triple(text, flag)
    if values is None:
        return None
    if any(value != int(value) for value in values):
        raise SettingsError(f"{flag} {text}: give whole numbers")
    return tuple(int(value) for value in values)


def _one_of(value: str, allowed: tuple[str, ...], flag: str) -> str:
    if value not in allowed:
        raise SettingsError(f"{flag} {value}: unknown; use one of {', '.join(allowed)}")
    return value

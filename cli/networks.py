"""`medpipe networks`: segmentation networks side by side on cases that they have not seen."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from cli.common import Quiet, Seed, Threads, progress, set_up
from cli.memory import memory_told
from pipeline.errors import CohortError, MedpipeError, ReadError

if TYPE_CHECKING:
    import pandas as pd

    from cli.evaluation_pairs import Pair
    from pipeline.config import NetworksSettings, Scheme
    from pipeline.evaluation.comparison import Compared
    from pipeline.report.card import Card
    from pipeline.report.evaluation_page import EvaluationResults, ShownCase
    from pipeline.report.network_page import TrainingRun
    from pipeline.segment.training.parts import Candidate
    from pipeline.segment.training.sheet import TrainingRow
    from pipeline.sheets import ImageRow

app = typer.Typer(
    help="Compare segmentation networks: who is held out, predictions, the table and its page.",
    no_args_is_help=True,
)

TRAINING, HELD_OUT, PAIRS, MASKS = "training.tsv", "held_out.tsv", "pairs.tsv", "masks"


@app.command()
def part(
    images: Annotated[Path, typer.Option(help="Sheet of images and masks.")],
    subjects: Annotated[Path, typer.Option(help="Sheet with a row per subject.")],
    out: Annotated[Path, typer.Option(help="Folder for training.tsv and held_out.tsv.")],
    name: Annotated[
        str, typer.Option(help="What is held out: fold0, fold1 ..., or test (the sheet's rows).")
    ],
    labels: Annotated[str, typer.Option(help="name=value,name=value of the masks.")],
    contrast: Annotated[str, typer.Option(help="Contrast that is segmented.")],
    sessions: Annotated[str, typer.Option(help="Sessions of the study.")] = "baseline",
    included: Annotated[
        Path | None, typer.Option(help="Table of the screen: only its subjects take part.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds, balanced by volume.")] = 5,
    validation: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of the others that only validates.")
    ] = 0.0,
    seed: Seed = 20210322,
    quiet: Quiet = False,
) -> None:
    """Write who trains and who is held out; nobody is in both, nor are equal images.

    In training.tsv those of fold 0 validate; without the column, nobody does.

    Example: medpipe networks part --images images.tsv --subjects subjects.tsv --name fold0
    --labels prostate=1 --contrast t2 --out results/psnet/networks/fold0
    """
    set_up(1, quiet)
    from pipeline.evaluation.structures import parse_structures
    from pipeline.provenance import write_sidecars
    from pipeline.segment.training.parts import make_part
    from pipeline.sheets import read_cohort

    cohort = read_cohort(
        images, subjects, sessions=sessions.split(","), contrast=contrast, outcome=None
    )
    kept = _included(included) if included else {row.subject for row in cohort.subjects}
    split = {row.subject: row.split for row in cohort.subjects}
    rows = [r for r in cohort.images if r.contrast == contrast and r.subject in kept]
    named = {s.name: value for s in parse_structures(labels) for value in s.values}
    cases = _cases(images, rows)
    candidates: list[Candidate] = []
    digests: dict[str, str] = {}
    for subject, own in progress(cases.items(), total=len(cases), what="reading"):
        candidate, found = _candidate(subject, own, split[subject], named)
        candidates.append(candidate)
        digests |= found
    dealt = make_part(candidates, name, folds=folds, validation=validation, seed=seed)
    _check_twins(images, cases, digests, set(dealt.held_out))
    fold_of = dict.fromkeys(dealt.training, 1) | dict.fromkeys(dealt.validation, 0)
    _write_part(out / TRAINING, cases, fold_of if dealt.validation else dict.fromkeys(fold_of))
    _write_part(out / HELD_OUT, cases, dict.fromkeys(dealt.held_out))
    write_sidecars(
        [out / TRAINING, out / HELD_OUT],
        block="segment",
        inputs=[images, subjects, *([included] if included else [])],
        settings={"part": name, "folds": folds, "validation": validation},
        seed=seed,
        measured={
            "training": len(dealt.training),
            "validation": len(dealt.validation),
            "held_out": len(dealt.held_out),
        },
    )
    typer.echo(str(out / TRAINING))


@app.command()
@memory_told("prediction", "use a smaller image or close other programs")
def predict(
    sheet: Annotated[Path, typer.Argument(help="Table: subject, image, mask (held_out.tsv).")],
    model: Annotated[
        list[Path], typer.Option(help="Folder of a model; repeated, the mean of the probabilities.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the masks and pairs.tsv.")],
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto takes CUDA where torch finds it.")
    ] = "auto",
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Segment every image of a sheet; pairs.tsv, written last, is for `medpipe evaluate`.

    Example: medpipe networks predict held_out.tsv --model trained/final/model --out predicted
    """
    set_up(threads, quiet)
    import torch

    from cli.evaluation_pairs import Pair
    from pipeline.io import read_volume, write_volume
    from pipeline.model_folder import load_model
    from pipeline.provenance import write_sidecars
    from pipeline.registration.tensors import pick_device
    from pipeline.segment.predict import PredictSettings
    from pipeline.segment.predict import predict as predict_image
    from pipeline.segment.training.sheet import read_training_sheet

    torch.set_num_threads(threads)
    models = [load_model(folder) for folder in model]
    settings = PredictSettings(device=str(pick_device(device)))
    rows = read_training_sheet(sheet)
    pairs = []
    for row in progress(rows, total=len(rows), what="predicting"):
        target = out / MASKS / f"{row.name}.nii.gz"
        write_volume(target, predict_image(read_volume(row.image), models, settings).labels)
        pairs.append(Pair(row.name, row.mask, target, row.image))
    _write_pairs(out / PAIRS, pairs)
    write_sidecars(
        [out / PAIRS],
        block="segment",
        inputs=[sheet, *model],
        settings={"device": device, "threads": threads},
    )
    typer.echo(str(out / PAIRS))


@app.command()
def pairs(
    sheets: Annotated[list[Path], typer.Argument(help="Tables of `predict`, one a part.")],
    out: Annotated[Path, typer.Option(help="One table for `medpipe evaluate --sheet`.")],
) -> None:
    """Join the predictions of the folds of a cross-validation; each case must stand in one.

    Example: medpipe networks pairs fold0/pairs.tsv fold1/pairs.tsv --out pairs.tsv
    """
    from cli.evaluation_pairs import read_pair_sheet

    found: dict[str, tuple[Path, Pair]] = {}
    problems = []
    for sheet in sheets:
        for pair in read_pair_sheet(sheet):
            if pair.subject in found:
                problems.append(
                    f"{sheet}: {pair.subject} stands also in {found[pair.subject][0]}; a case is"
                    " held out once: make the parts again"
                )
            found[pair.subject] = (sheet, pair)
    if problems:
        raise CohortError(problems)
    _write_pairs(out, [found[subject][1] for subject in sorted(found)])
    typer.echo(str(out))


@app.command()
def report(
    study_dir: Annotated[Path, typer.Option(help="Results folder, e.g. results/psnet.")],
    out: Annotated[Path, typer.Option(help="Page.")],
    out_table: Annotated[Path, typer.Option(help="Headline table, e.g. results/psnet_dice.tsv.")],
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Write the table of a study's networks and its page, from what `evaluate` left.

    Example: medpipe networks report --study-dir results/psnet --out results/psnet/report.html
    --out-table results/psnet_dice.tsv
    """
    set_up(threads, quiet)
    from pipeline.config import Study
    from pipeline.evaluation.comparison import comparison_table
    from pipeline.io import read_json, read_table, write_table, write_text
    from pipeline.provenance import write_sidecars
    from pipeline.report.network_page import ComparisonResults, comparison_page
    from pipeline.report.page import render_page

    record = read_json(study_dir / "settings.json")
    study = Study.model_validate(record["settings"])
    if study.networks is None:
        raise ReadError(f"{study_dir / 'settings.json'}: no study of networks")
    asked = study.networks
    runs = _runs(study_dir, asked)
    compared = [
        _compared(study_dir, scheme, row, asked, runs)
        for scheme in asked.schemes
        for row in asked.rows
    ]
    table = comparison_table(compared, asked.layout)
    write_table(out_table, table)
    dataset = (study.images or Path()).parent / "dataset.json"
    exclusions = study_dir / "cohort" / "exclusions.tsv"
    page = comparison_page(
        ComparisonResults(
            card=_card(study_dir.name),
            layout=asked.layout,
            table=table,
            evaluations={s: _evaluation(study_dir, s, asked) for s in asked.schemes},
            runs=list(runs.values()),
            settings=record,
            dataset=read_json(dataset) if dataset.is_file() else {},
            excluded=len(read_table(exclusions)) if exclusions.is_file() else 0,
            notes=_notes(asked, table),
        )
    )
    write_text(out, render_page(page))
    write_sidecars(
        [out_table, out],
        block="report",
        inputs=[_folder(study_dir, c.scheme, c.name) / "summary.tsv" for c in compared],
        settings={"study": study_dir.name, "layout": asked.layout},
    )
    typer.echo(str(out_table))


# --- parts ------------------------------------------------------------------------------------


def _included(path: Path) -> set[str]:
    from pipeline.io import read_table

    return set(read_table(path)["subject"])


def _cases(sheet: Path, rows: Sequence["ImageRow"]) -> dict[str, list["TrainingRow"]]:
    """Return the images of each subject that have a mask, as rows to train on."""
    from pipeline.segment.training.sheet import TrainingRow

    problems = [
        f"{sheet}:{row.row}: subject {row.subject} has no mask for this image; give one, or leave"
        " the subject out with `exclude`"
        for row in rows
        if row.mask is None
    ]
    if problems or not rows:
        raise CohortError(problems or [f"{sheet}: no image of an included subject"])
    found: dict[str, list[TrainingRow]] = {}
    for row in rows:
        own = found.setdefault(row.subject, [])
        name = row.subject if not own else f"{row.subject}_{len(own) + 1}"
        mask = cast(Path, row.mask)
        own.append(TrainingRow(row.row, name, row.subject, row.subject, None, row.image, mask))
    return found


def _candidate(
    subject: str, rows: Sequence["TrainingRow"], split: str, labels: Mapping[str, int]
) -> tuple["Candidate", dict[str, str]]:
    """Return the subject with its volume, and the digest of each of its images by case."""
    from pipeline.io import read_labels, read_volume
    from pipeline.segment.training.fingerprint import describe_case
    from pipeline.segment.training.parts import Candidate

    try:
        seen = [describe_case(read_volume(r.image), read_labels(r.mask), labels) for r in rows]
    except MedpipeError as error:
        raise CohortError([f"subject {subject}: {error}"]) from None
    volume = sum(case.foreground_mm3 for case in seen)
    digests = {row.name: case.digest for row, case in zip(rows, seen, strict=True)}
    return Candidate(subject, split, volume), digests


def _check_twins(
    sheet: Path,
    cases: Mapping[str, Sequence["TrainingRow"]],
    digests: Mapping[str, str],
    held_out: set[str],
) -> None:
    """Refuse an image that trains under one name and is held out under another."""
    from pipeline.segment.training.sheet import check_twins

    check_twins(
        sheet,
        [
            (row, int(subject in held_out), digests[row.name])
            for subject, rows in cases.items()
            for row in rows
        ],
    )


def _write_part(
    path: Path, cases: Mapping[str, Sequence["TrainingRow"]], folds: Mapping[str, int | None]
) -> None:
    """Write the rows of the subjects; with their fold, where they have one."""
    import pandas as pd

    from pipeline.io import write_table

    rows = [
        {
            "subject": row.subject,
            "image": os.path.relpath(row.image, path.parent),
            "mask": os.path.relpath(row.mask, path.parent),
            "fold": folds[subject],
        }
        for subject in sorted(folds)
        for row in cases[subject]
    ]
    frame = pd.DataFrame(rows)
    write_table(path, frame.drop(columns="fold") if frame["fold"].isna().all() else frame)


def _write_pairs(path: Path, pairs: Iterable["Pair"]) -> None:
    import pandas as pd

    from pipeline.io import write_table

    rows = [
        {
            "subject": pair.subject,
            "reference": os.path.relpath(pair.reference, path.parent),
            "prediction": os.path.relpath(cast(Path, pair.prediction), path.parent),
            "image": os.path.relpath(pair.image, path.parent) if pair.image else "",
        }
        for pair in pairs
    ]
    write_table(path, pd.DataFrame(rows))


# --- report -----------------------------------------------------------------------------------


def _folder(study_dir: Path, scheme: str, row: str) -> Path:
    return study_dir / "evaluation" / scheme / row


def _runs(study_dir: Path, asked: "NetworksSettings") -> dict[tuple[str, str], "TrainingRun"]:
    """Return every training, by network and part."""
    from pipeline.model_folder import read_entry
    from pipeline.report.network_page import TrainingRun

    found = {}
    for scheme in asked.schemes:
        for name in (row for row in asked.rows if row in asked.arms):
            for held_out in asked.parts(scheme):
                folder = study_dir / "networks" / held_out / name / asked.run_name
                entry = read_entry(folder / "model")
                pretrained = bool(entry.plan.options.get("pretrained"))
                curve = folder / "curve.png"
                found[name, held_out] = TrainingRun(
                    asked.title(name),
                    held_out,
                    {**entry.card, "pretrained": pretrained},
                    curve.read_bytes() if curve.is_file() else b"",
                )
    return found


def _compared(
    study_dir: Path,
    scheme: "Scheme",
    row: str,
    asked: "NetworksSettings",
    runs: Mapping[tuple[str, str], "TrainingRun"],
) -> "Compared":
    from pipeline.evaluation.comparison import Compared
    from pipeline.io import read_table

    members = asked.members(row)
    started = {runs[m, p].record["pretrained"] for m in members for p in asked.parts(scheme)}
    weights = "VGG-16" if started == {True} else "from scratch" if started == {False} else "mixed"
    summary = read_table(_folder(study_dir, scheme, row) / "summary.tsv")
    return Compared(scheme, row, asked.title(row), weights, summary)


def _evaluation(
    study_dir: Path, scheme: "Scheme", asked: "NetworksSettings"
) -> "EvaluationResults":
    """Return the evaluations of all networks as one, in which a network is a structure."""
    import pandas as pd

    from pipeline.evaluation.summary import worst_first
    from pipeline.io import read_json, read_table
    from pipeline.report.evaluation_page import EvaluationResults

    cases, summaries, worst = [], [], []
    each = math.ceil(asked.pictures / len(asked.rows))
    for row in asked.rows:
        folder = _folder(study_dir, scheme, row)
        table = read_table(folder / "cases.tsv")
        table["note"] = table["note"].astype(object).where(table["note"].notna(), "")
        worst += _worst(folder, table, asked, row, each)
        cases.append(_named(table, asked, row))
        summaries.append(_named(read_table(folder / "summary.tsv"), asked, row))
    sidecar = read_json(folder / "summary.tsv.prov.json")
    together = pd.concat(cases, ignore_index=True)
    ranked = worst_first(together)
    rank = {
        key: n for n, key in enumerate(zip(ranked["subject"], ranked["structure"], strict=True))
    }
    return EvaluationResults(
        cases=together,
        summary=pd.concat(summaries, ignore_index=True),
        agreement={},
        settings={**sidecar["settings"], "seed": sidecar["seed"]},
        worst=sorted(worst, key=lambda one: rank[one.subject, one.structure]),
    )


def _worst(
    folder: Path, cases: "pd.DataFrame", asked: "NetworksSettings", row: str, most: int
) -> list["ShownCase"]:
    from dataclasses import replace

    from cli.evaluate import worst_cases
    from cli.evaluation_pairs import read_pair_sheet
    from pipeline.evaluation.structures import Structure

    structures = [Structure(name, (value,)) for name, value in asked.labels.items()]
    shown = worst_cases(cases, read_pair_sheet(folder / PAIRS), structures, most)
    return [replace(one, structure=_row_title(asked, row, one.structure)) for one in shown]


def _named(frame: "pd.DataFrame", asked: "NetworksSettings", row: str) -> "pd.DataFrame":
    return frame.assign(structure=[_row_title(asked, row, s) for s in frame["structure"]])


def _row_title(asked: "NetworksSettings", row: str, structure: str) -> str:
    title = asked.title(row)
    return title if len(asked.labels) == 1 else f"{title}: {structure}"


def _notes(asked: "NetworksSettings", table: "pd.DataFrame") -> list[str]:
    notes = []
    plain = set(table.loc[table["weights"] == "from scratch", "method"])
    same = [asked.arms[n].title for n in asked.arms if asked.arms[n].network == "psnet"
            and n in plain]  # fmt: skip
    if same:
        notes.append(
            f"{', '.join(same)}: no file of VGG-16 weights was named (vgg16), so it was trained"
            " from scratch. Without those weights it is the network of FCN, and its row says"
            " nothing about transfer."
        )
    if any(arm.options.get("version") == 2 for arm in asked.arms.values()):
        notes.append(
            "Version 2 of DenseHighRes3DNet is an approximation: its layers are printed nowhere."
            " Its rows are not to be held against the printed ones."
        )
    return notes


def _card(name: str) -> "Card":
    import pipeline.report
    from pipeline.io import read_json
    from pipeline.report.card import Card, parse_card

    packaged = Path(pipeline.report.__file__).parent / "cards" / f"{name}.json"
    if not packaged.is_file():
        return Card(title=f"Study {name}")
    return parse_card(read_json(packaged), source=packaged.name)

"""`survival`: one HTML page for one arm of a survival study, or for several side by side."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common import Quiet, Threads, set_up
from pipeline.errors import ReadError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.card import Card
    from pipeline.report.survival_results import SurvivalArm, SurvivalResults

#: Tables of the cohort step, and what an arm calls them.
_COHORT = {
    "included": "included.tsv",
    "exclusions": "exclusions.tsv",
    "failures": "failures.tsv",
    "agreement": "published_agreement.tsv",
}


def survival(
    study_dir: Annotated[
        Path, typer.Option(help="Results folder of the study, e.g. results/nsclc.")
    ],
    subjects: Annotated[
        Path,
        typer.Option(help="Sheet with a row per subject; dataset.json beside it may say more."),
    ],
    arm: Annotated[
        list[str] | None,
        typer.Option(help="Arm to show, first the leading one. Default: every arm of the study."),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="Card of the study (JSON). Default: the one of its name.")
    ] = None,
    endpoint: Annotated[
        str, typer.Option(help='What survives, e.g. "Overall survival". Default: of the card.')
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="Page. Default: report.html in the arm's folder, or in the study's."),
    ] = None,
    out_table: Annotated[
        Path | None, typer.Option(help="Also write the headline table of the first arm there.")
    ] = None,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Show who was analysed, the Rad-score, the risk groups, the models and their validation.

    Example: medpipe survival report --study-dir results/nsclc --subjects demo/nsclc/subjects.tsv
    """
    set_up(threads, quiet)
    from pipeline.io import write_table, write_text
    from pipeline.provenance import write_sidecars
    from pipeline.report.page import render_page
    from pipeline.report.survival_page import survival_page

    names = arm or _arms(study_dir)
    folders = [_arm_folder(study_dir, name) for name in names]
    target = out or (folders[0] if len(folders) == 1 else study_dir) / "report.html"
    results = _read_results(study_dir, subjects, folders, target, card, endpoint)
    write_text(target, render_page(survival_page(results)))
    written = [target]
    if out_table is not None:
        headline = results.arms[0].table("headline")
        if headline is None:
            raise ReadError(f"{folders[0]}/headline.tsv is missing; evaluate the arm first")
        write_table(out_table, headline)
        written.append(out_table)
    shown = [p for folder in folders for p in (*folder.glob("*.tsv"), folder / "rad_score.json")]
    inputs = [subjects, *sorted(shown), *(study_dir / "cohort" / n for n in _COHORT.values())]
    write_sidecars(
        written,
        block="report",
        inputs=[path for path in inputs if path.is_file()],
        settings={"study": study_dir.resolve().name, "arms": list(names), "endpoint": endpoint},
    )
    typer.echo(str(target))


def _arms(study_dir: Path) -> list[str]:
    found = sorted(p.parent.name for p in (study_dir / "survival").glob("*/predictions.tsv"))
    if not found:
        raise ReadError(f"{study_dir}/survival: no arm with predictions.tsv; run the study first")
    return found


def _arm_folder(study_dir: Path, name: str) -> Path:
    folder = study_dir / "survival" / name
    if not folder.is_dir():
        raise ReadError(f"{folder}: no such folder; fit and evaluate the arm {name} first")
    return folder


def _read_results(
    study_dir: Path, subjects: Path, folders: list[Path], target: Path, card: Path | None,
    endpoint: str,
) -> "SurvivalResults":  # fmt: skip
    from pipeline.io import read_table
    from pipeline.report.survival_results import SurvivalResults

    name = study_dir.resolve().name
    found = _read_card(name, card)
    return SurvivalResults(
        name=name,
        card=found,
        arms=[_read_arm(study_dir, folder, target) for folder in folders],
        subjects=read_table(subjects),
        endpoint=endpoint or found.levels.get("endpoint", "Survival"),
        settings=_json(study_dir / "settings.json"),
        dataset=_json(subjects.parent / "dataset.json"),
    )


def _read_arm(study_dir: Path, folder: Path, target: Path) -> "SurvivalArm":
    from pipeline.report.survival_results import ARM_TABLES, SurvivalArm

    found = {name: _table(folder / f"{name}.tsv") for name in ARM_TABLES}
    tables = {name: table for name, table in found.items() if table is not None}
    svg, page = folder / "nomogram.svg", folder / "nomogram.html"
    link = os.path.relpath(page.resolve(), target.resolve().parent)
    return SurvivalArm(
        name=folder.name,
        tables=tables,
        rad_score=_json(folder / "rad_score.json"),
        nomogram_svg=svg.read_bytes() if svg.is_file() else b"",
        nomogram_points=_table(folder / "nomogram.tsv"),
        nomogram_page=tuple(Path(link).parts) if page.is_file() else (),
        **_cohort_tables(study_dir / "cohort", tables.get("predictions")),
    )


def _cohort_tables(folder: Path, predictions: "pd.DataFrame | None") -> dict[str, Any]:
    """Return the tables of the cohort step; none when they are about other subjects.

    A study may have an arm of its images and another of a table of features, whose subjects no
    screen has seen; such an arm begins with the sheet.
    """
    tables = {name: _table(folder / file) for name, file in _COHORT.items()}
    included = tables["included"]
    if included is None:
        return {}
    known = set(included["subject"].astype(str))
    if predictions is not None and not set(predictions["subject"].astype(str)) <= known:
        return {}
    return tables


def _table(path: Path) -> "pd.DataFrame | None":
    """Return a table; None where there is no file, or one without even a header."""
    from pipeline.io import read_table

    if not path.is_file() or not path.read_bytes().strip():
        return None
    return read_table(path)


def _json(path: Path) -> dict[str, Any]:
    from pipeline.io import read_json

    return dict(read_json(path)) if path.is_file() else {}


def _read_card(name: str, path: Path | None) -> "Card":
    """Return the card that was asked for, the packaged one of the study, or a bare one."""
    import pipeline.report
    from pipeline.io import read_json
    from pipeline.report.card import Card, parse_card

    packaged = Path(pipeline.report.__file__).parent / "cards" / f"{name}.json"
    chosen = path or packaged
    if path is None and not packaged.is_file():
        return Card(title=f"Study {name}", outcome_names=((1.0, "event"), (0.0, "censored")))
    return parse_card(read_json(chosen), source=str(chosen))

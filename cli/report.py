"""`medpipe report`: one HTML page for a study, one for each subject."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.common import Quiet, Threads, set_up
from pipeline.errors import ReadError, SettingsError

if TYPE_CHECKING:
    from pipeline.report.card import Card
    from pipeline.report.results import (
        ModelResults,
        RegistrationResults,
        StudyResults,
        VisitResults,
    )

app = typer.Typer(help="Pages to look at: one for a study, one for each subject.",
                  no_args_is_help=True)  # fmt: skip

Found = TypeVar("Found")

StudyDir = Annotated[Path, typer.Option(help="Results folder of the study, e.g. results/nact.")]
Subjects = Annotated[
    Path | None,
    typer.Option(help="Sheet with a row per subject; dataset.json beside it may say `simulated`."),
]


@app.command()
def subject(
    subject: Annotated[str, typer.Option(help="Id of the subject.")],
    study_dir: StudyDir,
    subjects: Subjects = None,
    sessions: Annotated[str, typer.Option(help="First and later session.")] = "baseline,followup",
    contrast: Annotated[str, typer.Option(help="Contrast to show.")] = "dce",
    out: Annotated[
        Path | None, typer.Option(help="Page. Default: report.html in the subject's folder.")
    ] = None,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Show both visits, the registration and the Jacobian map of one subject.

    Example: medpipe report subject --subject 001 --study-dir results/nact
    """
    set_up(threads, quiet)
    from pipeline.io import write_text
    from pipeline.provenance import write_sidecars
    from pipeline.report.page import Link, render_page
    from pipeline.report.results import SubjectResults
    from pipeline.report.subject import subject_page

    first, _, later = sessions.partition(",")
    if not later or "," in later:
        raise SettingsError(f"--sessions {sessions}: two names are needed, as baseline,followup")
    folder = study_dir / f"sub-{subject}"
    if not folder.is_dir():
        raise ReadError(f"{folder}: no such folder; run the study for subject {subject} first")
    results = SubjectResults(
        subject=subject,
        baseline=_read_visit(folder, first, contrast),
        followup=_read_visit(folder, later, contrast),
        registration=_read_registration(folder / f"ses-{later}" / "register"),
        covariates=_covariates(subjects, subject),
        provenance=_sidecars(folder),
        simulated=_is_simulated(subjects),
    )
    back = Link(f"Report of study {study_dir.resolve().name}", "../report.html")
    target = out or folder / "report.html"
    write_text(target, render_page(subject_page(results, back=back)))
    write_sidecars(
        [target],
        block="report",
        inputs=_shown_files(folder),
        settings={"subject": subject, "sessions": [first, later], "contrast": contrast},
    )
    typer.echo(str(target))


@app.command()
def study(
    study_dir: StudyDir,
    subjects: Annotated[Path, typer.Option(help="Sheet with a row per subject.")],
    auc: Annotated[
        Path | None, typer.Option(help="Table of AUCs. Default: <study>_auc.tsv beside the folder.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="Card of the study (JSON). Default: the one of its name.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Page. Default: report.html in the study's folder.")
    ] = None,
    out_flow: Annotated[
        Path | None, typer.Option(help="Also write the flow diagram there (SVG).")
    ] = None,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Show who was analysed, what the models reach, what differs between the outcomes.

    Example: medpipe report study --study-dir results/nact --subjects demo/nact/subjects.tsv
    """
    set_up(threads, quiet)
    from pipeline.io import write_text
    from pipeline.provenance import write_sidecars
    from pipeline.report.page import render_page
    from pipeline.report.study import study_flow_svg, study_page

    if not study_dir.is_dir():
        raise ReadError(f"{study_dir}: no such folder; run the study first")
    name = study_dir.resolve().name
    table = auc or study_dir.resolve().parent / f"{name}_auc.tsv"
    results = _read_study(study_dir, name, subjects, table, card)
    target = out or study_dir / "report.html"
    write_text(target, render_page(study_page(results)))
    if out_flow is not None:
        write_text(out_flow, study_flow_svg(results))
    inputs = [subjects, table, *sorted((study_dir / "cohort").glob("*.tsv"))]
    write_sidecars(
        [path for path in (target, out_flow) if path is not None],
        block="report",
        inputs=[path for path in inputs if path.is_file()],
        settings={"study": name},
    )
    typer.echo(str(target))


def _read_study(
    folder: Path, name: str, subjects: Path, auc: Path, card: Path | None
) -> "StudyResults":
    from pipeline.io import read_json, read_table
    from pipeline.layout import cohort_file, subject_report
    from pipeline.report.results import StudyResults

    sheet = read_table(subjects)
    pages = {
        s: subject_report(folder, s).relative_to(folder).parts
        for s in sheet["subject"]
        if subject_report(folder, s).is_file()
    }
    return StudyResults(
        name=name,
        card=_read_card(name, card),
        subjects=sheet,
        included=read_table(cohort_file(folder, "included.tsv")),
        exclusions=read_table(cohort_file(folder, "exclusions.tsv")),
        failures=_optional(read_table, cohort_file(folder, "failures.tsv")),
        features=_optional(read_table, cohort_file(folder, "features.tsv")),
        auc=_optional(read_table, auc),
        xgboost_auc=_optional(read_table, cohort_file(folder, "xgboost_auc.tsv")),
        models=_read_models(folder),
        truth=_optional(read_table, cohort_file(folder, "truth.tsv")),
        settings=_optional(read_json, folder / "settings.json") or {},
        dataset=_optional(read_json, subjects.parent / "dataset.json") or {},
        pages=pages,
    )


def _read_card(name: str, path: Path | None) -> "Card":
    """Return the card that was asked for, the packaged one of the study, or a bare one."""
    import pipeline.report
    from pipeline.io import read_json
    from pipeline.report.card import Card, parse_card

    packaged = Path(pipeline.report.__file__).parent / "cards" / f"{name}.json"
    chosen = path or packaged
    if path is None and not packaged.is_file():
        return Card(title=f"Study {name}")
    return parse_card(read_json(chosen), source=str(chosen))


def _read_models(folder: Path) -> dict[str, "ModelResults"]:
    from pipeline.io import read_table
    from pipeline.report.results import ModelResults

    return {
        path.parent.name: ModelResults(
            predictions=read_table(path),
            selection=_optional(read_table, path.with_name("selection.tsv")),
        )
        for path in sorted((folder / "model").glob("*/predictions.tsv"))
    }


def _read_visit(folder: Path, session: str, contrast: str) -> "VisitResults":
    from pipeline.io import read_json, read_mask, read_series, read_volume
    from pipeline.report.results import VisitResults

    base = folder / f"ses-{session}"
    mask = base / "segment" / f"{contrast}.nii.gz"
    sidecar = _optional(read_json, mask.with_name(mask.name + ".prov.json")) or {}
    return VisitResults(
        session=session,
        series=_optional(read_series, base / "preprocess" / f"{contrast}.nii.gz"),
        mask=_optional(read_mask, mask),
        subtraction=_optional(read_volume, base / contrast / "subtraction.nii.gz"),
        phase=_optional(read_json, base / contrast / "phase.json") or {},
        segmentation=sidecar.get("measured") or {},
    )


def _read_registration(folder: Path) -> "RegistrationResults":
    from pipeline.io import read_affine, read_field, read_json, read_volume
    from pipeline.report.results import RegistrationResults

    return RegistrationResults(
        warped=_optional(read_volume, folder / "warped.nii.gz"),
        jacobian=_optional(read_volume, folder / "jacobian.nii.gz"),
        displacement=_optional(read_field, folder / "displacement.nii.gz"),
        affine=_optional(read_affine, folder / "affine.tfm"),
        convergence=_optional(Path.read_bytes, folder / "convergence.png") or b"",
        metrics=_optional(read_json, folder / "metrics.json") or {},
    )


def _optional(read: Callable[[Path], Found], path: Path) -> Found | None:
    """Return what a reader makes of a file, or None where there is no file."""
    return read(path) if path.exists() else None


def _covariates(sheet: Path | None, subject: str) -> dict[str, str]:
    """Return split and outcome of a subject, for the strip of facts."""
    if sheet is None:
        return {}
    from pipeline.io import read_table

    frame = read_table(sheet)
    rows = frame[frame["subject"] == subject]
    if rows.empty:
        return {}
    row = rows.iloc[0].to_dict()
    found = {"split": str(row["split"])} if "split" in row else {}
    if row.get("response") in (0, 1):
        found["pathological response"] = ("non-responder", "responder")[int(row["response"])]
    return found


def _is_simulated(sheet: Path | None) -> bool:
    if sheet is None:
        return False
    from pipeline.io import read_json

    record: Any = _optional(read_json, sheet.parent / "dataset.json") or {}
    return bool(record.get("simulated"))


def _shown_files(folder: Path) -> list[Path]:
    names = ("preprocess", "segment", "dce", "register")
    return sorted(p for n in names for p in folder.glob(f"ses-*/{n}/*.nii.gz"))


def _sidecars(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return (file, record) of every result of a subject, in the order of their names."""
    from pipeline.io import read_json

    paths = sorted(p for p in folder.glob("ses-*/*/*.prov.json") if p.is_file())
    return [(str(p.relative_to(folder)).removesuffix(".prov.json"), read_json(p)) for p in paths]

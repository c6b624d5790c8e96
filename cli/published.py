"""`medpipe published`: our features against a table that others computed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import Quiet, set_up
from pipeline.errors import ReadError

if TYPE_CHECKING:
    import pandas as pd


def published(
    ours: Annotated[Path, typer.Argument(help="Our feature table, cohort/features.tsv.")],
    theirs: Annotated[Path, typer.Argument(help="The published table, PyRadiomics' names.")],
    out: Annotated[
        Path | None, typer.Option(help="Table per feature. Default: published_agreement.tsv.")
    ] = None,
    out_subjects: Annotated[
        Path | None, typer.Option(help="Table per subject. Default: published_subjects.tsv.")
    ] = None,
    feature_set: Annotated[str, typer.Option(help="Prefix of our columns.")] = "baseline",
    study_dir: Annotated[
        Path | None, typer.Option(help="Results of the study: who is cut at the border.")
    ] = None,
    table: Annotated[str, typer.Option(help="SESSION/TABLE of each subject there.")] = (
        "baseline/ct"
    ),
    subjects_sheet: Annotated[
        Path | None, typer.Option("--subjects", help="subjects.tsv: the centre of each subject.")
    ] = None,
    bin_width: Annotated[float, typer.Option(help="Width of a grey level of both.")] = 25.0,
    quiet: Quiet = False,
) -> None:
    """Write correlation and ratio per feature, and where the two differ, why.

    Example: medpipe published results/nsclc/cohort/features.tsv demo/nsclc/features.tsv
    """
    set_up(1, quiet)
    from pipeline.io import read_table, write_table
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.published import compare_subjects, compare_with_published

    mine = _without_prefix(read_table(ours), feature_set, ours)
    other = _without_prefix(read_table(theirs), "published", theirs)
    features = compare_with_published(mine, other, bin_width=bin_width)
    border = _border_voxels(study_dir, table, list(mine.index)) if study_dir else {}
    subjects = compare_subjects(mine, other, border, _centres(subjects_sheet))
    targets = {
        out or ours.with_name("published_agreement.tsv"): features,
        out_subjects or ours.with_name("published_subjects.tsv"): subjects,
    }
    for path, frame in targets.items():
        write_table(path, frame)
    agree = int((features["agrees"] == "yes").sum())
    same = int((features["same_definition"] == "yes").sum())
    write_sidecars(
        list(targets),
        block="radiomics",
        inputs=[ours, theirs],
        settings={"feature_set": feature_set, "bin_width": bin_width},
        measured={"features": len(features), "agree": agree, "same_definition": same},
    )
    typer.echo(
        f"{len(subjects)} subjects, {len(features)} features: {agree} with Spearman 0.99 or more, "
        f"{same} equal on identical input: {next(iter(targets))}"
    )


def _without_prefix(frame: "pd.DataFrame", prefix: str, path: Path) -> "pd.DataFrame":
    """Return the columns of one set by their bare names, indexed by subject."""
    start = f"{prefix}."
    columns = [c for c in frame.columns if c.startswith(start)]
    if "subject" not in frame or not columns:
        raise ReadError(f"{path}: no column subject, or none that begins with {start!r}")
    return frame.set_index("subject")[columns].rename(columns=lambda c: c.removeprefix(start))


def _centres(sheet: Path | None) -> dict[str, str]:
    from pipeline.io import read_table

    if sheet is None:
        return {}
    table = read_table(sheet)
    return dict(zip(table["subject"], table["centre"], strict=True))


def _border_voxels(study_dir: Path, table: str, subjects: list[str]) -> dict[str, int]:
    from pipeline.io import read_table
    from pipeline.layout import feature_table

    session, _, name = table.partition("/")
    rows = {s: read_table(feature_table(study_dir, s, session, name)) for s in subjects}
    return {s: int(row["border_voxels"].iloc[0]) for s, row in rows.items()}

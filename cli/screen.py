"""`medpipe screen`: who enters the study, and who does not and why."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.common import Quiet, Threads, set_up


def screen(
    images: Annotated[Path, typer.Option(help="Sheet with a row per image.")],
    subjects: Annotated[Path, typer.Option(help="Sheet with a row per subject.")],
    out: Annotated[Path, typer.Option(help="Folder for included.tsv and exclusions.tsv.")],
    sessions: Annotated[str, typer.Option(help="Sessions that each subject needs.")] = (
        "baseline,followup"
    ),
    contrast: Annotated[str, typer.Option(help="Contrast that the study uses.")] = "dce",
    outcome: Annotated[str, typer.Option(help="Column that must be 0 or 1.")] = "",
    exclude: Annotated[
        list[str] | None, typer.Option(help="SUBJECT=REASON, to leave a subject out.")
    ] = None,
    drawn_masks: Annotated[
        bool, typer.Option("--drawn-masks", help="Exclude subjects whose row names no mask.")
    ] = False,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Read every file of the sheets whole; list who is included and who is not, with the reason.

    Also draws screen.svg, the flow diagram up to here.

    Example: medpipe screen --images images.tsv --subjects subjects.tsv --out cohort
    """
    set_up(1, quiet)
    import pandas as pd

    from pipeline.io import read_mask, read_series, write_table, write_text
    from pipeline.provenance import write_sidecars
    from pipeline.report.flow import flow_svg
    from pipeline.screen import Exclusion, screen_cohort
    from pipeline.sheets import read_cohort

    wanted = sessions.split(",")
    cohort = read_cohort(
        images, subjects, sessions=wanted, contrast=contrast, outcome=outcome or None
    )
    left_out = dict(item.split("=", 1) for item in exclude or [] if "=" in item)
    included, exclusions = screen_cohort(
        cohort,
        sessions=wanted,
        contrast=contrast,
        excluded=left_out,
        read_image=lambda path: read_series(path).image(0),
        read_mask=lambda path, grid: read_mask(path, like=grid),
        drawn_masks=drawn_masks,
        threads=threads,
    )
    rows = {row.subject: row for row in cohort.subjects}
    included_table = pd.DataFrame(
        [(s, rows[s].split, rows[s].centre) for s in included],
        columns=["subject", "split", "centre"],
    )
    exclusion_table = pd.DataFrame(
        [
            # Files as the sheet names them: the table is the same wherever the folder stands.
            (e.subject, e.stage, e.reason_class, e.reason.replace(f"{images.parent}{os.sep}", ""))
            for e in exclusions
        ],
        columns=list(Exclusion.__dataclass_fields__),
    )
    write_table(out / "included.tsv", included_table)
    write_table(out / "exclusions.tsv", exclusion_table)
    write_text(out / "screen.svg", flow_svg(len(rows), exclusion_table, included_table))
    write_sidecars(
        [out / "included.tsv", out / "exclusions.tsv"],
        block="screen",
        inputs=[images, subjects],
        settings={"sessions": wanted, "contrast": contrast, "exclude": left_out}
        | {"drawn_masks": drawn_masks},
    )
    typer.echo(f"{len(included)} included, {len(exclusions)} excluded: {out / 'exclusions.tsv'}")

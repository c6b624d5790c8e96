"""`medpipe change`: the Jacobian map inside a region against the ratio of its volumes."""

from pathlib import Path
from typing import Annotated

import typer

from cli.common import Quiet, set_up


def change(
    study_dir: Annotated[Path, typer.Argument(help="Folder of the study's results.")],
    included: Annotated[Path, typer.Option(help="Table with the subjects.")],
    sessions: Annotated[str, typer.Option(help="First and last session.")] = "pre,post",
    contrast: Annotated[str, typer.Option(help="Contrast whose masks count.")] = "t1",
    out: Annotated[Path, typer.Option(help="Table to write.")] = Path("change.tsv"),
    quiet: Quiet = False,
) -> None:
    """Write a row per subject: mean Jacobian in the first mask, and the masks' volume ratio.

    Example: medpipe change results/glioma --included results/glioma/cohort/included.tsv
    """
    set_up(1, quiet)
    import dataclasses

    import pandas as pd

    from pipeline import layout
    from pipeline.change import measure_change, rank_correlation
    from pipeline.io import read_mask, read_table, read_volume, write_table
    from pipeline.provenance import write_sidecars

    first, last = sessions.split(",")
    subjects = sorted(read_table(included)["subject"])
    changes, inputs = [], [included]
    for subject in subjects:
        paths = (
            layout.session_dir(study_dir, subject, last) / "register/jacobian.nii.gz",
            layout.session_dir(study_dir, subject, first) / f"segment/{contrast}.nii.gz",
            layout.session_dir(study_dir, subject, last) / f"segment/{contrast}.nii.gz",
        )
        inputs += paths
        changes.append(
            measure_change(read_volume(paths[0]), read_mask(paths[1]), read_mask(paths[2]))
        )
    table = pd.DataFrame([dataclasses.asdict(c) for c in changes])
    table.insert(0, "subject", subjects)
    write_table(out, table)
    rho = rank_correlation(changes)
    settings = {"sessions": sessions, "contrast": contrast}
    measured = {"spearman_rho": rho, "subjects": len(subjects)}
    write_sidecars([out], block="register", inputs=inputs, settings=settings, measured=measured)
    agreement = "too few subjects" if rho is None else f"{rho:.3f}"
    typer.echo(f"Spearman rho of mean Jacobian and volume ratio: {agreement}: {out}")

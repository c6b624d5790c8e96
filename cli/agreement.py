"""`medpipe agreement`: a map against a published one."""

from pathlib import Path
from typing import Annotated

import typer

from cli.common import beside


def agreement(
    found: Annotated[Path, typer.Argument(help="Our map.")],
    reference: Annotated[Path, typer.Argument(help="The published map (a file or DICOM folder).")],
    out: Annotated[Path | None, typer.Option(help="Default: STEM_agreement.json.")] = None,
) -> None:
    """Write Pearson's r and the differences where the reference is not 0.

    Example: medpipe agreement early_enhancement.nii.gz published_pe1
    """
    from dataclasses import asdict

    from pipeline.agreement import measure_agreement
    from pipeline.io import read_volume, write_json

    result = measure_agreement(read_volume(found), read_volume(reference))
    target = out or beside(found, "_agreement.json")
    write_json(target, asdict(result))
    typer.echo(f"r = {result.correlation:.5f} over {result.voxels} voxels: {target}")

"""`medpipe rings`: rings of tissue around a region, as a label image for `medpipe radiomics`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.common import Quiet, Threads, beside, set_up, stem
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.types import Volume


def rings(
    mask: Annotated[Path, typer.Argument(help="Region: a mask, or labels with --label.")],
    at: Annotated[
        str,
        typer.Option(help="Rings in mm from the surface; -3-0 is the rim of 3 mm inside it."),
    ] = "0-3,3-6",
    label: Annotated[
        int | None,
        typer.Option(help="Label of the region; the mask's other labels are left out as lesions."),
    ] = None,
    within: Annotated[
        Path | None, typer.Option(help="Body or organ that the rings may not leave.")
    ] = None,
    within_label: Annotated[
        str, typer.Option(help="Its labels: 10,11,12. Default: every label.")
    ] = "",
    exclude: Annotated[
        Path | None, typer.Option(help="Other lesions, which no ring may enter.")
    ] = None,
    start: Annotated[
        Literal["surface", "centres"],
        typer.Option(
            "--from",
            help="Distances from the surface, or from voxel centre to voxel centre as a dilation "
            "with a ball has them (rings too thin, the more so on thick slices).",
        ),
    ] = "surface",
    out: Annotated[
        Path | None, typer.Option(help="Label image. Default: MASK_rings.nii.gz.")
    ] = None,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Draw rings around a region, within the body or an organ, without other lesions.

    Writes labels 1, 2, ... on the grid of the mask, and beside them a table with the name of
    each (ring_0_3mm), its volume, and the share that the border of the image, the organ and other
    lesions take away. What it prints goes on to `medpipe radiomics IMAGE rings.nii.gz`.

    Example: medpipe rings tumour.nii.gz --at 0-3,3-6 --within body.nii.gz --out rings.nii.gz
    """
    set_up(threads, quiet)
    import logging
    from dataclasses import asdict

    import pandas as pd

    from pipeline.io import read_labels, read_mask, write_table, write_volume
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.rings import parse_bands
    from pipeline.radiomics.rings import rings as draw

    bands = parse_bands(at)
    if within_label and within is None:
        raise SettingsError("--within-label needs --within: there is no mask to take it from")
    region = read_mask(mask, label=label)
    labels, rows = draw(
        region,
        bands,
        within=None if within is None else _organ(within, within_label),
        exclude=_lesions(
            None if label is None else read_labels(mask),
            None if exclude is None else read_mask(exclude),
            region,
            (str(mask), str(exclude)),
        ),
        edge=start,
        names=(str(mask), str(within), str(exclude)),
    )
    log = logging.getLogger(__name__)
    for row in rows:
        if row.status != "ok":
            log.warning("%s: %s: %s", mask, row.name, row.reason)
    target = out or beside(mask, "_rings.nii.gz")
    table = target.with_name(f"{stem(target)}.tsv")
    write_volume(target, labels)
    write_table(table, pd.DataFrame([asdict(row) for row in rows]))
    write_sidecars(
        [target, table],
        block="radiomics",
        inputs=[path for path in (mask, within, exclude) if path is not None],
        settings={
            "bands_mm": [[band.inner_mm, band.outer_mm] for band in bands],
            "label": label,
            "within_label": within_label,
            "from": start,
        },
        measured={row.name: asdict(row) for row in rows},
    )
    names = ",".join(f"{row.name}={row.label}" for row in rows if row.status == "ok")
    typer.echo(f"{target}: --labels {names}")


def _organ(path: Path, labels: str) -> "Volume":
    """Return the mask of a body or organ: every label, or some of them together."""
    import numpy as np

    from pipeline.errors import EmptyRegionError
    from pipeline.io import read_labels
    from pipeline.types import Volume

    organs = read_labels(path)
    try:
        wanted = [int(part) for part in labels.split(",")] if labels else []
    except ValueError:
        raise SettingsError(f"--within-label {labels}: give whole numbers: 10,11,12") from None
    inside = np.isin(organs.data, wanted) if labels else organs.data != 0
    if not inside.any():
        raise EmptyRegionError(f"{path}: no voxel has label {labels or 'above 0'}")
    return Volume(inside, organs.grid)


def _lesions(
    labels: "Volume | None", other: "Volume | None", region: "Volume", names: tuple[str, str]
) -> "Volume | None":
    """Return what the rings may not enter: the mask's other labels and those given."""
    from pipeline.grid_difference import check_same_grid
    from pipeline.types import Volume

    if other is not None:
        check_same_grid(region.grid, other.grid, names)
    if labels is None:
        return other
    lesions = (labels.data != 0) & (region.data == 0)
    if other is not None:
        lesions |= other.data != 0
    return Volume(lesions, region.grid)

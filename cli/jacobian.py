"""`medpipe jacobian`: the local volume change of a displacement field, as a map and in numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common import Quiet, beside, set_up

if TYPE_CHECKING:
    from pipeline.types import Volume


def jacobian(
    field: Annotated[
        Path, typer.Argument(help="Displacement field (.nii.gz, .mha, .nrrd) in mm along LPS.")
    ],
    mask: Annotated[
        Path | None,
        typer.Option(help="Mask or labels on the grid of the field: numbers for each label."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder. Default: STEM_jacobian beside the field.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the Jacobian determinant of a field, its logarithm, and statistics for each label.

    The determinant is the volume of the moved voxel over its own: below 1 the moving image is
    smaller there. Writes jacobian.nii.gz, jacobian_log.nii.gz (NaN where the field folds),
    statistics.tsv (a row per region) and statistics.json.

    Example: medpipe jacobian displacement.nii.gz --mask tumour.nii.gz
    """
    set_up(1, quiet)
    from dataclasses import asdict

    import pandas as pd

    from pipeline.io import read_field, write_json, write_table, write_volume
    from pipeline.provenance import write_sidecars
    from pipeline.registration.jacobian import jacobian_map, jacobian_statistics, log_jacobian
    from pipeline.types import Volume

    displacement = read_field(field)
    regions = _regions(mask, field, displacement.grid)
    found = jacobian_map(displacement)
    volume_mm3 = found.grid.voxel_volume_mm3
    rows: list[dict[str, Any]] = []
    for name, inside in regions.items():
        numbers = asdict(jacobian_statistics(found.data, inside))
        size = numbers["voxels"] * volume_mm3
        rows.append({"region": name, "volume_mm3": size,
                     "moved_volume_mm3": size * numbers["mean"], **numbers})  # fmt: skip
    folder = out or beside(field, "_jacobian")
    write_volume(folder / "jacobian.nii.gz", found)
    write_volume(folder / "jacobian_log.nii.gz", Volume(log_jacobian(found.data), found.grid))
    write_table(folder / "statistics.tsv", pd.DataFrame(rows))
    write_json(folder / "statistics.json", {"regions": rows})
    names = ("jacobian.nii.gz", "jacobian_log.nii.gz", "statistics.tsv", "statistics.json")
    write_sidecars(
        [folder / name for name in names],
        block="register",
        inputs=[field] if mask is None else [field, mask],
        settings={},
        measured={"folding_fraction": rows[0]["folding_fraction"]},
    )
    typer.echo(f"folds at {rows[0]['folding_fraction']:.3%} of the voxels: {folder}")


def _regions(mask: Path | None, field: Path, grid: Any) -> dict[str, Any]:
    """Return region name -> boolean mask: everywhere first, then each label."""
    import numpy as np

    from pipeline.errors import EmptyRegionError
    from pipeline.grid_difference import check_same_grid

    regions: dict[str, Any] = {"everywhere": None}
    if mask is None:
        return regions
    labels = _read_labels(mask, grid)
    check_same_grid(grid, labels.grid, (str(field), str(mask)))
    numbers = [value for value in np.unique(labels.data) if value != 0]
    if not numbers:
        raise EmptyRegionError(f"{mask}: no voxel is above 0; give a mask that marks a region")
    return regions | {f"{value:g}": labels.data == value for value in numbers}


def _read_labels(mask: Path, grid: Any) -> "Volume":
    from pipeline.io import read_labels, read_mask

    segmentation = mask.is_dir() or mask.suffix.lower() == ".dcm"
    return read_mask(mask, like=grid) if segmentation else read_labels(mask)

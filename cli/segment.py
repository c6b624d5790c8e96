"""`medpipe segment`: the mask of a lesion in one image or contrast series."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common import Quiet, Threads, beside, numbers, set_up
from pipeline.errors import EmptyRegionError

if TYPE_CHECKING:
    from pipeline.types import Geometry, Mask3D, Volume


def segment(
    image: Annotated[Path, typer.Argument(help="Image or 4-D series (a file or DICOM folder).")],
    out: Annotated[
        Path | None, typer.Option(help="Mask. Default: STEM_segmentation.nii.gz.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="A mask drawn elsewhere: it wins, on the image's grid.")
    ] = None,
    seed_mm: Annotated[
        str, typer.Option(help="Point in the lesion, LPS mm: X,Y,Z. Default: the brightest peak.")
    ] = "",
    within: Annotated[Path | None, typer.Option(help="Organ in which the lesion lies.")] = None,
    phase: Annotated[
        int | None, typer.Option(help="Time point of a series, from 0. Default: by its time.")
    ] = None,
    phase_time_s: Annotated[
        float, typer.Option(help="Take the time point nearest to this, after injection.")
    ] = 180.0,
    time_s: Annotated[
        str, typer.Option(help="Seconds after injection, one per time point, if the file has none.")
    ] = "",
    clusters: Annotated[int, typer.Option(help="Clusters of the fuzzy C-means.")] = 3,
    fuzzifier: Annotated[float, typer.Option(help="Fuzzifier m.")] = 2.0,
    seed_box_mm: Annotated[float, typer.Option(help="Edge of the box round the seed.")] = 80.0,
    opening_mm: Annotated[float, typer.Option(help="Thinner attachments go; 0 keeps them.")] = 2.5,
    minimum_mm3: Annotated[float, typer.Option(help="Smaller regions are no lesion.")] = 100.0,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="No lesion is a result, not an error.")
    ] = False,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Find the lesion by spatial fuzzy C-means round a seed; a given mask wins.

    Example: medpipe segment input.nii.gz --seed-mm=-12.5,40,8
    """
    set_up(threads, quiet)
    from dataclasses import asdict

    import numpy as np

    from pipeline.io import read_series, write_volume
    from pipeline.provenance import write_sidecars
    from pipeline.segment.lesion import LesionOptions, segment_lesion
    from pipeline.types import Volume

    series = read_series(image, time_s=numbers(time_s, "--time-s") if time_s else None)
    options = LesionOptions(
        phase=phase,
        phase_time_s=phase_time_s,
        clusters=clusters,
        fuzzifier=fuzzifier,
        seed_box_mm=seed_box_mm,
        opening_mm=opening_mm,
        minimum_mm3=minimum_mm3,
    )
    measured: dict[str, Any]
    if mask is not None:
        found = _on_grid(mask, series.grid)
        measured = {"method": "external", "status": "found" if found.any() else "empty"}
        measured["reason"] = "" if found.any() else f"{mask.name} holds no voxel on the image"
    else:
        found, record = segment_lesion(
            series if len(series.time_s) > 1 else series.image(0),
            seed_mm=numbers(seed_mm, "--seed-mm") if seed_mm else None,
            within=_on_grid(within, series.grid) if within is not None else None,
            options=options,
        )
        measured = {"method": "spatial fuzzy C-means", **asdict(record)}
    if measured["status"] == "empty" and not allow_empty:
        raise EmptyRegionError(f"{image}: no lesion found: {measured['reason']}")
    voxels = int(found.sum())
    measured |= {"voxels": voxels, "volume_mm3": voxels * series.grid.voxel_volume_mm3}
    target = out or beside(image, "_segmentation.nii.gz")
    write_volume(target, Volume(found.astype(np.uint8), series.grid))
    settings = {**asdict(options), "seed_mm": seed_mm, "allow_empty": allow_empty}
    inputs = [path for path in (image, mask, within) if path is not None]
    write_sidecars([target], block="segment", inputs=inputs, settings=settings, measured=measured)
    outcome = measured["reason"] or f"{measured['volume_mm3']:.0f} mm3"
    typer.echo(f"{outcome}: {target}")


def _on_grid(path: Path, grid: "Geometry") -> "Mask3D":
    """Read a mask and bring it onto the grid by the nearest voxel."""
    import numpy as np

    from pipeline.geometry import same_grid
    from pipeline.io import read_mask
    from pipeline.preprocess.resample import resample

    mask: Volume = read_mask(path)
    if not same_grid(mask.grid, grid):
        mask = resample(mask, grid, kind="nearest")
    return np.asarray(mask.data != 0)

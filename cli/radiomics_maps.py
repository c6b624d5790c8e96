"""`medpipe radiomics-maps`: a feature for the window around each voxel of a region, as images."""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from cli.common import Quiet, Threads, beside, set_up
from pipeline.errors import SettingsError


def radiomics_maps(
    image: Annotated[Path, typer.Argument(help="Image: NIfTI, NRRD, MetaImage, DICOM folder.")],
    mask: Annotated[Path, typer.Argument(help="Region, on the grid of the image.")],
    features: Annotated[
        str, typer.Option(help="Feature classes, with commas between: firstorder, glcm, ...")
    ] = "glcm",
    kernel_radius: Annotated[
        int, typer.Option(min=1, help="Radius of the window in voxels; 1 is 3 x 3 x 3.")
    ] = 1,
    bin_width: Annotated[float, typer.Option(min=0, help="Width of a grey level.")] = 25.0,
    bin_count: Annotated[
        int | None, typer.Option(min=1, help="Number of grey levels, instead of a width.")
    ] = None,
    unmasked_kernel: Annotated[
        bool,
        typer.Option("--unmasked-kernel", help="Windows take in voxels outside the region too."),
    ] = False,
    force_2d: Annotated[
        Literal["no", "i", "j", "k"],
        typer.Option(help="Windows and neighbours do not cross this axis; k: within slices."),
    ] = "no",
    distances: Annotated[str, typer.Option(help="Distances of neighbours: 1 or 1,2.")] = "1",
    intensity_shift: Annotated[
        float, typer.Option(help="Added before squaring, as PyRadiomics' voxelArrayShift.")
    ] = 0.0,
    init_value: Annotated[float, typer.Option(help="Value outside the region.")] = 0.0,
    voxel_batch: Annotated[
        int,
        typer.Option(
            help="As PyRadiomics' voxelBatch, -1 for all: which JointAverage and MCC it loses."
        ),
    ] = 1,
    label: Annotated[int | None, typer.Option(help="Label of the mask. Default: not 0.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the maps. Default: IMAGE_maps beside the image.")
    ] = None,
    precision: Annotated[
        Literal["float32", "float64"], typer.Option(help="Type of the stored values.")
    ] = "float32",
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    memory_mb: Annotated[
        float, typer.Option(help="What the computation may take beyond the images.")
    ] = 1024.0,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Map features voxel by voxel, with the values of PyRadiomics' voxel mode.

    Writes one image per feature on the grid of IMAGE, named by its column in `medpipe radiomics
    --dictionary`. Finished pieces are kept in OUT.unfinished: the same command goes on after a
    break, and its maps have the same bytes as those of a run without.

    Example: medpipe radiomics-maps t1.nii.gz tumour.nii.gz --bin-width 25 --out maps
    """
    set_up(threads, quiet)
    import logging
    from dataclasses import asdict

    from cli.radiomics_maps_pieces import Pieces
    from pipeline.grid_difference import check_same_grid
    from pipeline.io import read_mask, read_volume
    from pipeline.io.nifti_write import write_nifti
    from pipeline.provenance import sha256, write_sidecars
    from pipeline.radiomics.engine.settings import TextureSettings
    from pipeline.radiomics.maps.measure import place, plan_maps
    from pipeline.radiomics.maps.settings import MapSettings
    from pipeline.registration.tensors import pick_device

    settings = MapSettings(
        kernel_radius=kernel_radius,
        masked_kernel=not unmasked_kernel,
        init_value=init_value,
        voxel_batch=voxel_batch,
        texture=TextureSettings(
            bin_width=bin_width,
            bin_count=bin_count,
            intensity_shift=intensity_shift,
            distances=_distances(distances),
            force_2d=force_2d != "no",
            force_2d_axis="ijk".find(force_2d) if force_2d != "no" else 2,
        ),
    )
    picture, region = read_volume(image), read_mask(mask, label=label)
    check_same_grid(picture.grid, region.grid, (str(image), str(mask)))
    grid, where = picture.grid, pick_device(cast(Any, device))
    plan = plan_maps(
        picture,
        region,
        cast(Any, features.split(",")),
        settings=settings,
        device=where,
        memory_mb=memory_mb,
    )
    del picture, region
    asked = {
        "classes": plan.classes,
        "label": label,
        "maps": asdict(settings),
        "device": where.type,
    }
    folder = out or beside(image, "_maps")
    pieces = Pieces(folder.with_name(folder.name + ".unfinished"), plan)
    pieces.begin({"inputs": [sha256(image), sha256(mask)], **asked})
    pieces.measure_missing()
    written, without = [], 0
    for column, values in pieces.columns(memory_mb):
        path = folder / f"{column}.nii.gz"
        without = max(without, int((values != values).sum()))
        write_nifti(path, place(plan, values, grid, precision).data, grid)
        written.append(path)
    measured = {
        "voxels": len(plan.region.positions),
        "grey_levels": plan.region.grey_levels,
        "voxels_without_value": without,
    }
    write_sidecars(
        written,
        block="radiomics",
        inputs=[image, mask],
        settings={**asked, "precision": precision},
        measured=measured,
    )
    pieces.clear()
    if without:
        logging.getLogger(__name__).warning(
            "%d voxels have no pair of neighbours in their window: NaN, as in PyRadiomics", without
        )
    typer.echo(f"{len(written)} maps of {measured['voxels']} voxels: {folder}")


def _distances(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise SettingsError(f"--distances {text}: give whole voxels with commas between, e.g. 1,2")
    return tuple(int(part) for part in parts)

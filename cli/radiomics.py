"""`medpipe radiomics`: the features of one region of one image."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.common import Quiet, Threads, beside, set_up
from cli.radiomics_flags import (
    BinCount,
    BinWidth,
    Canonical,
    Classes,
    ImageTypes,
    IntensityShift,
    Interpolation,
    Kind,
    LogSigma,
    Long,
    MinDimensions,
    MinVoxels,
    Params,
    SpacingMm,
)
from pipeline.errors import EmptyRegionError

if TYPE_CHECKING:
    from pipeline.radiomics.extract import FeatureRow


def _print_dictionary(asked: bool) -> None:
    if not asked:
        return
    from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES, describe

    rows = [describe(feature) for feature in (*FEATURES, *OPTIONAL_FEATURES)]
    typer.echo("\n".join("\t".join(cells) for cells in [rows[0], *(r.values() for r in rows)]))
    raise typer.Exit


def radiomics(
    image: Annotated[Path, typer.Argument(help="Image: NIfTI, NRRD, MetaImage, DICOM folder.")],
    mask: Annotated[Path, typer.Argument(help="Region, on the grid of the image.")],
    out: Annotated[
        Path | None, typer.Option(help="Table. Default: IMAGE_radiomics.tsv beside the image.")
    ] = None,
    kind: Kind = "mr",
    bin_width: BinWidth = None,
    bin_count: BinCount = None,
    intensity_shift: IntensityShift = 0.0,
    classes: Classes = "shape,firstorder,glcm,glrlm,glszm,gldm",
    spacing_mm: SpacingMm = 0.0,
    interpolation: Interpolation = "bspline3",
    label: Annotated[int | None, typer.Option(help="Label of the mask. Default: not 0.")] = None,
    labels: Annotated[
        str, typer.Option(help="Many labels, a row each: tumour=1,node=2, or 1,2, or all.")
    ] = "",
    more_masks: Annotated[
        list[Path] | None, typer.Option(help="Another mask of the image; may be repeated.")
    ] = None,
    images: ImageTypes = "original",
    log_sigma: LogSigma = "",
    params: Params = None,
    long: Long = False,
    min_voxels: MinVoxels = 8,
    min_dimensions: MinDimensions = 3,
    canonical: Canonical = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="An empty mask gives a row, not an error.")
    ] = False,
    subject: Annotated[str, typer.Option(help="Written into the row.")] = "",
    session: Annotated[str, typer.Option(help="Written into the row.")] = "",
    contrast: Annotated[str, typer.Option(help="Written into the row.")] = "",
    dictionary: Annotated[
        bool,
        typer.Option(
            "--dictionary",
            callback=_print_dictionary,
            is_eager=True,
            help="Print what each column means, and exit.",
        ),
    ] = False,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Measure shape, first-order and texture features (PyRadiomics 3.0.1) of one region.

    One row: what was measured, with which settings, a status with its reason, the features: 102,
    or 107 with the class ngtdm. With several labels or masks, a row for each; with image types,
    the features of each, its name in front (wavelet-LLH_glcm_Contrast), at the values that
    PyRadiomics gives for the whole image.

    Example: medpipe radiomics subtraction.nii.gz tumour.nii.gz --kind subtraction
    """
    set_up(threads, quiet)
    if labels or more_masks or params or long or log_sigma or images != "original":
        from cli.radiomics_many import ManyOptions, measure_many

        settings = {
            "kind": kind,
            "bin_width": bin_width,
            "bin_count": bin_count,
            "intensity_shift": intensity_shift,
            "classes": classes,
            "spacing_mm": spacing_mm,
            "interpolation": interpolation,
            "min_voxels": min_voxels,
            "min_dimensions": min_dimensions,
            "images": images,
            "log_sigma": log_sigma,
        }
        asked = ManyOptions(
            masks=(mask, *(more_masks or ())),
            labels=labels or ("" if label is None else str(label)),
            params=params,
            settings=settings,
            canonical=canonical,
            allow_empty=allow_empty,
            ids=(subject, session, contrast),
            long=long,
        )
        measure_many(image, asked, out or beside(image, "_radiomics.tsv"))
        return
    import logging

    import pandas as pd

    from pipeline.io import read_mask, read_volume, write_table
    from pipeline.preprocess.orientation import to_canonical
    from pipeline.provenance import sha256, write_sidecars
    from pipeline.radiomics.extract import extract

    picture, region = read_volume(image), read_mask(mask, label=label)
    if not allow_empty and not region.data.any():
        raise EmptyRegionError(
            f"{mask}: no voxel is marked; delineate the region, or ask with --allow-empty for a "
            "row that says so"
        )
    if canonical:
        picture, region = to_canonical(picture), to_canonical(region)
    row = extract(
        picture,
        region,
        kind=kind,
        bin_width=bin_width,
        bin_count=bin_count,
        intensity_shift=intensity_shift,
        min_voxels=min_voxels,
        min_dimensions=min_dimensions,
        classes=cast(Any, classes.split(",")),
        spacing_mm=spacing_mm or None,
        interpolation=cast(Any, interpolation),
        names=(str(image), str(mask)),
    )
    log = logging.getLogger(__name__)
    if row.status != "ok":
        log.warning("%s: %s: %s", image, row.status, row.reason)
    for message in row.warnings:
        log.info("PyRadiomics: %s", message)
    target = out or beside(image, "_radiomics.tsv")
    ids = {"subject": subject, "session": session, "contrast": contrast, "kind": kind}
    files = {
        "image": image.name,
        "mask": mask.name,
        "label": "" if label is None else str(label),
        "mask_sha256": sha256(mask),
    }
    record = ids | files | _measured(row) | dict(row.values)
    write_table(target, pd.DataFrame([record]))
    write_sidecars(
        [target],
        block="radiomics",
        inputs=[image, mask],
        settings={
            **ids,
            "label": label,
            "bin_width": row.bin_width,
            "bin_count": row.bin_count,
            "intensity_shift": intensity_shift,
            "min_voxels": min_voxels,
            "min_dimensions": min_dimensions,
            "canonical": canonical,
            "classes": classes.split(","),
            "spacing_mm": spacing_mm,
            "interpolation": interpolation,
        },
        measured={**_measured(row), "warnings": row.warnings},
    )
    typer.echo(f"{row.status}, {row.voxels} voxels: {target}")


def _measured(row: "FeatureRow") -> dict[str, Any]:
    return {
        "voxels": row.voxels,
        "volume_mm3": row.volume_mm3,
        "bin_width": row.bin_width,
        "bin_count": row.bin_count,
        "grey_levels": row.grey_levels,
        "border_voxels": row.border_voxels,
        "clipped_fraction": row.clipped_fraction,
        "status": row.status,
        "reason": row.reason,
    }

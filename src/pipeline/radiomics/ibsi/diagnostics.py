"""Numbers that describe the preparation: sizes and intensities of image and masks at each step."""

from collections.abc import Iterable

import numpy as np

from pipeline.radiomics.ibsi.prepare import Region, bounding_box, interpolation_grid, slabs
from pipeline.radiomics.ibsi.settings import IbsiSettings
from pipeline.types import Array3D, Geometry, Mask3D, Volume

_AXES = "xyz"


def image_diagnostics(image: Volume, settings: IbsiSettings) -> dict[str, float]:
    """Return size, spacing and intensities of the image, as stored and as interpolated.

    Voxels without a finite value are left out.
    """
    new = interpolation_grid(image.grid, settings)
    planes = (image.data[:, :, k] for k in range(image.grid.shape[2]))
    stored = _of_image("init_img", image.grid, planes)
    return stored | _of_image("interp_img", new, slabs(image, settings))


def region_diagnostics(
    image: Volume, mask: Volume, interpolated: Region, resegmented: Region
) -> dict[str, float]:
    """Return size, voxels and intensities of the masks: stored, interpolated, re-segmented."""
    stored = mask.data != 0
    found = _of_region("init_roi", image.grid, image.data, stored, stored)
    for stage, region in (("interp_roi", interpolated), ("reseg_roi", resegmented)):
        masks = region.intensity, region.morphological
        found |= _of_region(stage, region.grid, region.image, *masks)
    return found


def _of_image(stage: str, grid: Geometry, parts: Iterable[Array3D]) -> dict[str, float]:
    total, number, low, high = 0.0, 0, np.inf, -np.inf
    for part in parts:
        known = part[np.isfinite(part)]
        if not known.size:
            continue
        total += float(known.sum(dtype=np.float64))
        number += known.size
        low = min(low, float(known.min()))
        high = max(high, float(known.max()))
    found: dict[str, float] = {}
    for axis, size, step in zip(_AXES, grid.shape, grid.spacing_mm, strict=True):
        found |= {f"img_dim_{axis}_{stage}": float(size), f"vox_dim_{axis}_{stage}": step}
    return found | {
        f"mean_int_{stage}": total / number if number else float("nan"),
        f"min_int_{stage}": low,
        f"max_int_{stage}": high,
    }


def _of_region(
    stage: str, grid: Geometry, image: Array3D, intensity: Mask3D, morphological: Mask3D
) -> dict[str, float]:
    found: dict[str, float] = {}
    masks = {"int": intensity, "morph": morphological}
    for axis, size in zip(_AXES, grid.shape, strict=True):
        found[f"int_mask_dim_{axis}_{stage}"] = float(size)
    for name, inside in masks.items():
        for axis, part in zip(_AXES, bounding_box(inside), strict=True):
            found[f"{name}_mask_bb_dim_{axis}_{stage}"] = float(part.stop - part.start)
        found[f"{name}_mask_vox_count_{stage}"] = float(np.count_nonzero(inside))
    values = image[intensity].astype(np.float64)
    return found | {
        f"int_mask_mean_int_{stage}": float(values.mean()),
        f"int_mask_min_int_{stage}": float(values.min()),
        f"int_mask_max_int_{stage}": float(values.max()),
    }

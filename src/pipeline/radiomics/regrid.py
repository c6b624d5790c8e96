"""A region and its surroundings on another spacing, as features with a fixed voxel size need."""

from dataclasses import replace

import numpy as np

from pipeline.geometry import index_to_world, world_to_index
from pipeline.preprocess.grids import spaced_grid
from pipeline.preprocess.kernels import Interpolation
from pipeline.preprocess.resample import resample, resample_mask
from pipeline.types import Array1D, Geometry, Volume

#: Voxels kept round the region: a cubic B-spline forgets what lies farther away to 1 in 10^7.
_MARGIN_VOXELS = 12


def regrid(
    image: Volume,
    mask: Volume,
    *,
    spacing_mm: float | tuple[float, float, float],
    interpolation: Interpolation = "bspline3",
) -> tuple[Volume, Volume]:
    """Return the part of image and mask that holds the region, on another spacing.

    The new grid is that of the whole image (centres of the fields of view aligned, as
    `spaced_grid` does), cut to the region: whatever the region, a point of space keeps its voxel.
    Values are those of the interpolation alone, without smoothing before or limits after it, as
    in PyRadiomics; the mask takes the nearest voxel.

    Parameters
    ----------
    image, mask : Volume
        On one grid; the mask is not 0 inside the region and not empty.
    spacing_mm : float or three floats
        New distance between voxel centres.
    interpolation : Interpolation
        Of the image.

    Returns
    -------
    (Volume, Volume)
        Image and mask, cropped; the mask may have lost a region smaller than a voxel.
    """
    whole = spaced_grid(image.grid, spacing_mm)
    occupied = np.argwhere(mask.data != 0)
    low, high = occupied.min(axis=0), occupied.max(axis=0)
    source = _box(image.grid, low - _MARGIN_VOXELS, high + _MARGIN_VOXELS)
    ends = world_to_index(whole, index_to_world(image.grid, np.stack([low - 1, high + 1])))
    target = _part(whole, _box(whole, np.floor(ends.min(axis=0)), np.ceil(ends.max(axis=0))))
    near = _part(image.grid, source)
    picture = Volume(image.data[source], near)
    region = Volume(mask.data[source], near)
    return (
        resample(picture, target, kind=interpolation, anti_alias=False, clamp="none"),
        resample_mask(region, target),
    )


def _box(grid: Geometry, low: Array1D, high: Array1D) -> tuple[slice, slice, slice]:
    """Return the slices from `low` to `high` (both within), limited to the grid."""
    i, j, k = (
        slice(max(0, int(a)), min(n, int(b) + 1))
        for a, b, n in zip(low, high, grid.shape, strict=True)
    )
    return i, j, k


def _part(grid: Geometry, box: tuple[slice, slice, slice]) -> Geometry:
    i, j, k = (part.stop - part.start for part in box)
    x, y, z = (float(v) for v in index_to_world(grid, [part.start for part in box]))
    return replace(grid, shape=(i, j, k), origin_mm=(x, y, z))

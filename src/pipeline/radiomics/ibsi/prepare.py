"""From image and mask to a region ready to be measured: grid, masks, grey levels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import EmptyRegionError, ImageError
from pipeline.geometry import index_to_world, same_grid, world_to_index
from pipeline.preprocess.grids import spaced_grid
from pipeline.preprocess.kernels import Interpolation as Kernel
from pipeline.preprocess.resample import resample
from pipeline.radiomics.ibsi.settings import IbsiSettings
from pipeline.types import Array1D, Array3D, Geometry, Mask3D, Volume

Box = tuple[slice, slice, slice]

_KERNELS: dict[str, Kernel] = {"linear": "linear", "cubic": "bspline3"}

#: Radius of a ball of 1 cm³, whose mean is the intensity peak; the image is kept that far out.
PEAK_RADIUS_MM = 10.0 * (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)

#: Voxels round a part of the image: a cubic B-spline forgets what lies farther away to 1 in 10^7.
_MARGIN_VOXELS = 12

#: Shares of the mask that should be equal to the threshold shall not miss it by rounding.
_ROUNDING = 1e-9

#: Weight of voxels without a value above which an interpolated voxel has none either.
_FORGOTTEN = 1e-3

#: Planes of the image that are interpolated at a time for its statistics.
_SLAB = 16


@dataclass(frozen=True, eq=False)
class Region:
    """A region on the grid on which it is measured, with its surroundings.

    Attributes
    ----------
    image : (I, J, K) float64 array
        Intensities; NaN where the file has no finite value.
    morphological, intensity : (I, J, K) bool arrays
        All voxels of the region, and those whose intensity counts.
    spacing_mm : (3,) floats
        Of the voxels.
    bounds : (float, float)
        Range of the re-segmentation; an end that is not set is NaN.
    grid : Geometry
        Grid of the whole (interpolated) image.
    """

    image: Array3D
    morphological: Mask3D
    intensity: Mask3D
    spacing_mm: tuple[float, float, float]
    bounds: tuple[float, float]
    grid: Geometry

    @property
    def values(self) -> Array1D:
        """The intensities that count, as a list."""
        return np.asarray(self.image[self.intensity])

    def tight(self) -> Box:
        """Return the bounding box of all voxels of the region."""
        return bounding_box(self.morphological)


def interpolation_grid(grid: Geometry, settings: IbsiSettings) -> Geometry:
    """Return the grid on which to measure: centres aligned, as many voxels as cover the image."""
    if settings.spacing_mm is None:
        return grid
    steps = tuple(
        own if wanted is None else wanted
        for own, wanted in zip(grid.spacing_mm, settings.spacing_mm, strict=True)
    )
    if np.allclose(steps, grid.spacing_mm, rtol=1e-6, atol=0.0):
        return grid
    a, b, c = steps
    return spaced_grid(grid, (a, b, c))


def cut_out(image: Volume, mask: Volume, settings: IbsiSettings) -> Region:
    """Return the region on the grid of the settings, before any re-segmentation.

    Raises
    ------
    EmptyRegionError
        The mask holds no voxel, or none on the new grid.
    ImageError
        An intensity of the region is not finite.
    """
    inside = mask.data != 0
    if not inside.any():
        raise EmptyRegionError("the mask holds no voxel; delineate the region")
    whole = interpolation_grid(image.grid, settings)
    box = _covering(inside, image.grid, whole)
    share = _interpolated(Volume(inside.astype(np.float64), mask.grid), whole, box, "linear")
    region = share >= settings.mask_threshold - _ROUNDING
    if not region.any():
        raise EmptyRegionError(
            f"the mask holds no voxel on a grid of {_sizes(whole)}; choose a finer spacing"
        )
    data = interpolated(image, whole, box, settings)
    broken = int(np.count_nonzero(~np.isfinite(data[region])))
    if broken:
        raise ImageError(
            f"{broken} voxels inside the region are not finite; mend the image, or leave them "
            "out of the mask"
        )
    a, b, c = whole.spacing_mm
    return Region(data, region, region.copy(), (a, b, c), (np.nan, np.nan), whole)


def interpolated(image: Volume, whole: Geometry, box: Box, settings: IbsiSettings) -> Array3D:
    """Return a part of the image on the new grid, rounded where asked for; float64."""
    data = _interpolated(image, whole, box, settings.interpolation)
    if settings.round_intensities and not same_grid(whole, image.grid):
        data = np.round(data)
    return data


def slabs(image: Volume, settings: IbsiSettings) -> Iterator[Array3D]:
    """Yield the whole image on the new grid, a few planes at a time."""
    whole = interpolation_grid(image.grid, settings)
    i, j, k = whole.shape
    for start in range(0, k, _SLAB):
        box = (slice(0, i), slice(0, j), slice(start, min(k, start + _SLAB)))
        yield interpolated(image, whole, box, settings)


def resegmented(region: Region, settings: IbsiSettings) -> Region:
    """Return the region with the intensities that do not count taken off its intensity mask.

    Range first, then outliers, whose mean and standard deviation are those of what is left.

    Raises
    ------
    EmptyRegionError
        No intensity counts.
    """
    counted = region.intensity.copy()
    bounds = (np.nan, np.nan)
    if settings.resegment is not None:
        bounds = settings.resegment
        counted &= (region.image >= bounds[0]) & (region.image <= bounds[1])
    if settings.outlier_sigma is not None and counted.any():
        values = region.image[counted]
        reach = settings.outlier_sigma * values.std()
        counted &= np.abs(region.image - values.mean()) <= reach
    if not counted.any():
        values = region.values
        raise EmptyRegionError(
            f"no voxel is left after re-segmentation: intensities run from {values.min():g} to "
            f"{values.max():g}; widen the range"
        )
    return replace(region, intensity=counted, bounds=bounds)


def bounding_box(inside: Mask3D) -> Box:
    """Return the smallest box that holds every voxel of a mask that is not empty."""
    ends = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        occupied = np.flatnonzero(inside.any(axis=others))
        ends.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    i, j, k = ends
    return i, j, k


def _covering(inside: Mask3D, grid: Geometry, whole: Geometry) -> Box:
    """Return the box of the new grid that holds the region and a peak's ball round it."""
    box = bounding_box(inside)
    low = np.array([part.start - 1 for part in box])
    high = np.array([part.stop for part in box])
    ends = world_to_index(whole, index_to_world(grid, np.stack([low, high])))
    reach = np.ceil(PEAK_RADIUS_MM / np.asarray(whole.spacing_mm))
    return _box(whole, np.floor(ends[0]) - reach, np.ceil(ends[1]) + reach)


def _interpolated(image: Volume, whole: Geometry, box: Box, kind: str) -> Array3D:
    target = _part(whole, box)
    if same_grid(whole, image.grid):
        return np.asarray(image.data[box], dtype=np.float64)
    ends = np.array([[part.start, part.stop - 1] for part in box]).T
    around = world_to_index(image.grid, index_to_world(whole, ends))
    source = _box(image.grid, around[0] - _MARGIN_VOXELS, around[1] + _MARGIN_VOXELS)
    near, data = _part(image.grid, source), np.asarray(image.data[source], dtype=np.float64)
    known = np.isfinite(data)
    out = _resampled(np.where(known, data, 0.0), near, target, kind)
    if not known.all():
        lost = _resampled(np.where(known, 0.0, 1.0), near, target, kind)
        out[np.abs(lost) > _FORGOTTEN] = np.nan
    return out


def _resampled(data: Array3D, grid: Geometry, target: Geometry, kind: str) -> Array3D:
    kernel = _KERNELS[kind]
    return resample(Volume(data, grid), target, kind=kernel, anti_alias=False, clamp="none").data


def _box(grid: Geometry, low: Array1D, high: Array1D) -> Box:
    """Return the slices from `low` to `high` (both within), limited to the grid."""
    i, j, k = (
        slice(max(0, int(np.floor(a))), min(n, int(np.ceil(b)) + 1))
        for a, b, n in zip(low, high, grid.shape, strict=True)
    )
    return i, j, k


def _part(grid: Geometry, box: Box) -> Geometry:
    i, j, k = (part.stop - part.start for part in box)
    x, y, z = (float(v) for v in index_to_world(grid, [part.start for part in box]))
    return replace(grid, shape=(i, j, k), origin_mm=(x, y, z))


def _sizes(grid: Geometry) -> str:
    return " x ".join(f"{step:g}" for step in grid.spacing_mm) + " mm"

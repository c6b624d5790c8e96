"""Where to start: a point given in mm, or the most blob-like bright place of an image."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import EmptyRegionError, GeometryError
from pipeline.geometry import index_to_world, world_to_index
from pipeline.types import Array3D, Geometry, Mask3D

Index = tuple[int, int, int]

#: Widths of the Gaussians in mm; a ball of radius r answers best near r / sqrt(3).
PEAK_SCALES_MM = (3.0, 5.0, 8.0, 12.0)
#: The search for a peak runs on voxels of about this size.
_SEARCH_SPACING_MM = 2.0
#: A voxel brighter than all of these is a spike, not tissue.
_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
_NEIGHBOURS[1, 1, 1] = False


def seed_voxel(grid: Geometry, seed_mm: Sequence[float]) -> Index:
    """Return the voxel ijk that holds an LPS point in mm.

    Raises
    ------
    GeometryError
        If the point lies outside the grid; names both in mm.
    """
    point = np.asarray(seed_mm, dtype=np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise GeometryError(f"seed {list(seed_mm)} is not three finite numbers x, y, z in LPS mm")
    index = world_to_index(grid, point)
    if (index < -0.5).any() or (index > np.asarray(grid.shape) - 0.5).any():
        raise GeometryError(
            f"seed ({_join(point)}) mm lies outside the image, which reaches {_extent(grid)} "
            "(LPS); check the sign of x and y: RAS tools flip both"
        )
    nearest = np.clip(np.rint(index).astype(int), 0, np.asarray(grid.shape) - 1)
    return int(nearest[0]), int(nearest[1]), int(nearest[2])


def seed_box(grid: Geometry, seed: Index, edge_mm: float) -> tuple[slice, slice, slice]:
    """Return the slices ijk of a box of `edge_mm` round `seed`, cut at the border of the grid."""
    half = [int(np.ceil(edge_mm / 2.0 / step - 1e-9)) for step in grid.spacing_mm]
    i, j, k = (
        slice(max(0, at - h), min(n, at + h + 1))
        for at, h, n in zip(seed, half, grid.shape, strict=True)
    )
    return i, j, k


def blob_peak(
    image: Array3D,
    grid: Geometry,
    within: Mask3D | None = None,
    *,
    scales_mm: Sequence[float] = PEAK_SCALES_MM,
    border_mm: float = 4.0,
) -> Index:
    """Return the voxel ijk of the most blob-like bright place.

    Parameters
    ----------
    image : (I, J, K) array
        Enhancement, or any image whose target is bright. Not finite counts as 0.
    grid : Geometry
        Grid of `image`.
    within : (I, J, K) bool array, optional
        Where the peak may lie.
    scales_mm : floats
        Widths of the Gaussians that set the sizes looked for.
    border_mm : float
        Peaks nearer than this to the border of the grid are not taken.

    Raises
    ------
    EmptyRegionError
        If no place in the region is brighter than its surroundings on all three axes.

    Notes
    -----
    The score is -s^2 times the largest eigenvalue of the Hessian at scale s, the best over the
    scales. A ball curves down along all axes; a vessel stays flat along one and skin along two,
    so that their largest eigenvalue is near 0 however bright they are.
    """
    steps = [max(1, int(_SEARCH_SPACING_MM / mm + 1e-6)) for mm in grid.spacing_mm]
    coarse = _block_mean(np.nan_to_num(image.astype(np.float64), posinf=0.0, neginf=0.0), steps)
    coarse = np.minimum(coarse, ndimage.maximum_filter(coarse, footprint=_NEIGHBOURS))
    spacing = np.asarray(grid.spacing_mm) * steps
    score = np.max([_blobness(coarse, spacing, scale) for scale in scales_mm], axis=0)
    allowed = np.ones(coarse.shape, dtype=bool)
    if within is not None:
        allowed = _block_mean(within.astype(np.float64), steps) >= 0.5
    for axis, mm in enumerate(spacing):
        edge = min(round(border_mm / mm), (coarse.shape[axis] - 1) // 2)
        np.moveaxis(allowed, axis, 0)[: edge or 0] = False
        np.moveaxis(allowed, axis, 0)[coarse.shape[axis] - edge :] = False
    # a slope that rises towards something outside the region is not a peak
    top = (score == ndimage.maximum_filter(score, size=3)) & allowed & (score > 0)
    if not top.any():
        raise EmptyRegionError(
            f"no bright blob of {min(scales_mm):g} to {max(scales_mm):g} mm width in the region "
            "searched; give a seed in mm, or a wider region"
        )
    at = np.unravel_index(int(np.argmax(np.where(top, score, -1.0))), score.shape)
    last = np.asarray(grid.shape) - 1
    fine = np.minimum(np.asarray(at) * steps + (np.asarray(steps) - 1) // 2, last)
    return int(fine[0]), int(fine[1]), int(fine[2])


def _blobness(
    image: npt.NDArray[np.float64], spacing: npt.NDArray[np.float64], scale_mm: float
) -> npt.NDArray[np.float64]:
    smooth = ndimage.gaussian_filter(image, scale_mm / spacing, mode="nearest", truncate=3.0)
    hessian = np.empty((*image.shape, 3, 3))
    for a, first in enumerate(_slopes(smooth, spacing)):
        for b, second in enumerate(_slopes(first, spacing)):
            hessian[..., a, b] = second
    hessian = (hessian + np.swapaxes(hessian, -1, -2)) / 2.0
    score = np.zeros(image.shape)
    down = (np.diagonal(hessian, axis1=-2, axis2=-1) < 0).all(axis=-1)
    score[down] = np.maximum(0.0, -(scale_mm**2) * np.linalg.eigvalsh(hessian[down])[:, -1])
    return score


def _slopes(
    image: npt.NDArray[np.float64], spacing: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.float64]]:
    return [
        np.gradient(image, mm, axis=axis) if image.shape[axis] > 1 else np.zeros_like(image)
        for axis, mm in enumerate(spacing)
    ]


def _block_mean(image: npt.NDArray[np.float64], steps: list[int]) -> npt.NDArray[np.float64]:
    for axis, step in enumerate(steps):
        if step == 1:
            continue
        starts = np.arange(0, image.shape[axis], step)
        shape = [1, 1, 1]
        shape[axis] = -1
        counts = np.diff([*starts, image.shape[axis]]).reshape(shape)
        image = np.add.reduceat(image, starts, axis=axis) / counts
    return image


def extent_mm(grid: Geometry) -> npt.NDArray[np.float64]:
    """Return the lowest and highest LPS mm, shape (2, 3), that the voxels of a grid reach."""
    ends = np.array([(-0.5, n - 0.5) for n in grid.shape])
    points = index_to_world(grid, np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T)
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _extent(grid: Geometry) -> str:
    low, high = extent_mm(grid)
    return ", ".join(
        f"{name} {a:.1f} to {b:.1f} mm" for name, a, b in zip("xyz", low, high, strict=True)
    )


def _join(point: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{v:.1f}" for v in point)

"""The surroundings of a region, as far as an image has them and beyond."""

from dataclasses import replace

import numpy as np

from pipeline.errors import EmptyRegionError
from pipeline.geometry import index_to_world
from pipeline.types import Array3D, Geometry, Volume

Box = tuple[tuple[int, int, int], tuple[int, int, int]]


def region_box(mask: Volume) -> Box:
    """Return the first and the last voxel of the region along each axis (both inside).

    Raises
    ------
    EmptyRegionError
        The region has no voxel.
    """
    ends = []
    inside = mask.data != 0
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        occupied = np.flatnonzero(inside.any(axis=others))
        if not occupied.size:
            raise EmptyRegionError("the region holds no voxel; delineate it first")
        ends.append((int(occupied[0]), int(occupied[-1])))
    (a, b), (c, d), (e, f) = ends
    return (a, c, e), (b, d, f)


def box_grid(grid: Geometry, box: Box) -> Geometry:
    """Return the grid of a box of voxels of `grid`, which may reach beyond it."""
    low, high = box
    x, y, z = (float(v) for v in index_to_world(grid, low))
    i, j, k = (b - a + 1 for a, b in zip(low, high, strict=True))
    return replace(grid, shape=(i, j, k), origin_mm=(x, y, z))


def crop_image(image: Volume, box: Box) -> Volume:
    """Return a box of an image; beyond its edge, the voxels of the edge are repeated."""
    return Volume(_cut(image.data, box, "edge"), box_grid(image.grid, box))


def crop_mask(mask: Volume, box: Box) -> Volume:
    """Return a box of a mask, as booleans; beyond its edge there is no region."""
    return Volume(_cut(mask.data, box, "constant") != 0, box_grid(mask.grid, box))


def wider(box: Box, voxels: tuple[int, int, int]) -> Box:
    """Return a box with so many voxels more on each side of each axis."""
    (a, b, c), (d, e, f) = box
    i, j, k = voxels
    return (a - i, b - j, c - k), (d + i, e + j, f + k)


def _cut(data: Array3D, box: Box, beyond: str) -> Array3D:
    parts, lacking = [], []
    for low, high, size in zip(*box, data.shape, strict=True):
        first, last = np.clip((low, high), 0, size - 1)
        parts.append(slice(int(first), int(last) + 1))
        lacking.append((int(first) - low, high - int(last)))
    inside = data[tuple(parts)]
    if not any(any(pair) for pair in lacking):
        return inside
    return np.asarray(np.pad(inside, lacking, mode=beyond))  # type: ignore[call-overload]

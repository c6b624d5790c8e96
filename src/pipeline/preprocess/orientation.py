"""Canonical orientation by swapping and flipping array axes only: no voxel is interpolated."""

import itertools
from dataclasses import dataclass

import numpy as np

from pipeline.geometry import index_to_world, same_grid
from pipeline.types import Array3D, Array4D, Geometry, Series, Volume


@dataclass(frozen=True)
class AxisMove:
    """A rearrangement of the three array axes.

    Attributes
    ----------
    order : (3,) ints
        New axis a is the old axis ``order[a]``.
    flip : (3,) bools
        Whether new axis a runs against the old axis.
    """

    order: tuple[int, int, int]
    flip: tuple[bool, bool, bool]

    def inverse(self) -> "AxisMove":
        """Return the move that undoes this one."""
        back = [self.order.index(axis) for axis in range(3)]
        return AxisMove((back[0], back[1], back[2]), _flags(self.flip[a] for a in back))


def canonical_move(grid: Geometry) -> AxisMove:
    """Return the move that brings a grid closest to the LPS axes.

    After it, i runs to the patient's left, j to posterior and k to superior, each as nearly
    as the (possibly oblique) direction allows.
    """
    towards = np.abs(grid.direction)  # [world axis, array axis]
    order = max(
        itertools.permutations(range(3)),
        key=lambda axes: round(sum(towards[world, axis] for world, axis in enumerate(axes)), 9),
    )
    flip = _flags(grid.direction[world, axis] < 0 for world, axis in enumerate(order))
    return AxisMove((order[0], order[1], order[2]), flip)


def move_data(data: Array4D, move: AxisMove) -> Array4D:
    """Return the array (I, J, K, ...) with its first three axes moved, contiguous."""
    rest = tuple(range(3, data.ndim))
    moved = data.transpose(*move.order, *rest)
    backwards = tuple(axis for axis in range(3) if move.flip[axis])
    return np.ascontiguousarray(np.flip(moved, backwards))


def move_grid(grid: Geometry, move: AxisMove) -> Geometry:
    """Return the grid whose voxels are those of `grid` after the move."""
    corner = [0, 0, 0]
    for axis in range(3):
        old = move.order[axis]
        corner[old] = grid.shape[old] - 1 if move.flip[axis] else 0
    signs = np.where(move.flip, -1.0, 1.0)
    x, y, z = (float(value) for value in index_to_world(grid, corner))
    a, b, c = move.order
    return Geometry(
        shape=(grid.shape[a], grid.shape[b], grid.shape[c]),
        spacing_mm=(grid.spacing_mm[a], grid.spacing_mm[b], grid.spacing_mm[c]),
        origin_mm=(x, y, z),
        direction=grid.direction[:, list(move.order)] * signs + 0.0,
    )


def to_canonical(volume: Volume) -> Volume:
    """Return the volume with its axes nearest to LPS; every voxel keeps its value and place."""
    move = canonical_move(volume.grid)
    return Volume(move_data(volume.data, move), move_grid(volume.grid, move))


def series_to_canonical(series: Series) -> Series:
    """Return the series with its axes nearest to LPS; every voxel keeps its value and place."""
    move = canonical_move(series.grid)
    return Series(move_data(series.data, move), move_grid(series.grid, move), series.time_s)


def restore(
    data: Array3D | Array4D, grid: Geometry, original: Geometry
) -> tuple[Array4D, Geometry]:
    """Return a canonical array and its grid in the orientation of the `original` grid.

    Parameters
    ----------
    data : (I, J, K, ...) array
        Voxels in canonical orientation; the grid may have been resampled since.
    grid : Geometry
        Grid of `data`.
    original : Geometry
        Grid of the input, before `to_canonical`.

    Returns
    -------
    data, grid
        Where nothing was resampled, exactly the arrays that went into `to_canonical` and
        the `original` grid itself.
    """
    back = canonical_move(original).inverse()
    restored = move_grid(grid, back)
    return move_data(data, back), original if same_grid(restored, original) else restored


def _flags(values: object) -> tuple[bool, bool, bool]:
    a, b, c = (bool(value) for value in values)  # type: ignore[attr-defined]
    return a, b, c

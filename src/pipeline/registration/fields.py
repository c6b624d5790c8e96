"""Displacement fields at work: apply, compose, invert, and warp images and labels.

A field on the fixed grid maps the fixed point x to the moving point x + u(x). Points beyond the
grid take the displacement of its nearest border voxel.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import GeometryError
from pipeline.geometry import (
    empty_like,
    field_to_sitk,
    from_sitk,
    index_to_world,
    to_sitk,
    world_to_index,
)
from pipeline.types import DisplacementField, Geometry, Mask3D, Volume

Array = npt.NDArray[np.float64]
Interpolation = Literal["linear", "bspline3", "nearest"]

#: A point counts as inverted when its image comes this near, in parts of the smallest voxel edge.
_INVERTED_WITHIN = 1e-3
_MOST_INVERSIONS = 60
_FIXED_POINT_ROUNDS = 20
#: Step, in parts of the smallest voxel edge, of the differences that Newton steps need.
_NEWTON_DIFFERENCE = 1e-3
_SLOWER = 0.5
#: Voxels beyond the outermost centres that round-off may put a border point at.
_AT_BORDER = 1e-3


def grid_points(grid: Geometry) -> Array:
    """Return the LPS positions (I, J, K, 3) in mm of all voxel centres."""
    return index_to_world(grid, np.moveaxis(np.indices(grid.shape), 0, -1))


def affine_to_field(matrix: npt.ArrayLike, grid: Geometry) -> DisplacementField:
    """Return u(x) = A x - x on a grid, for a (4, 4) matrix in LPS mm."""
    values = np.asarray(matrix, dtype=np.float64)
    points = grid_points(grid)
    return DisplacementField(points @ values[:3, :3].T + values[:3, 3] - points, grid)


def displacement_at(field: DisplacementField, points_mm: npt.ArrayLike) -> Array:
    """Return u in mm (LPS) at points (..., 3), linear between voxel centres."""
    points = np.asarray(points_mm, dtype=np.float64)
    index = world_to_index(field.grid, points.reshape(-1, 3)).T
    components = [
        ndimage.map_coordinates(
            np.asarray(field.data[..., c], dtype=np.float64), index, order=1, mode="nearest"
        )
        for c in range(3)
    ]
    return np.stack(components, axis=-1).reshape(points.shape)


def apply_to_points(field: DisplacementField, points_mm: npt.ArrayLike) -> Array:
    """Return x + u(x) for LPS points (..., 3) in mm."""
    return np.asarray(points_mm, dtype=np.float64) + displacement_at(field, points_mm)


def compose(first: DisplacementField, then: DisplacementField) -> DisplacementField:
    """Return the field of x -> then(first(x)) on the grid of `first`."""
    middle = grid_points(first.grid) + first.data
    return DisplacementField(first.data + displacement_at(then, middle), first.grid)


@dataclass(frozen=True, eq=False)
class Inverse:
    """An inverse field and how well it inverts.

    Attributes
    ----------
    field : DisplacementField
        Moving point to fixed point, on the grid that was asked for.
    inside : (I, J, K) bool array
        Where the fixed point found lies on the fixed grid; beyond it nothing was measured.
    residual_mm : (I, J, K) float array
        Distance between each point and the image of its preimage.
    iterations : int
        Steps of the slowest point.
    """

    field: DisplacementField
    inside: Mask3D
    residual_mm: Array
    iterations: int


def invert(field: DisplacementField, grid: Geometry | None = None) -> Inverse:
    """Return the field that undoes `field`, by a fixed point iteration.

    Parameters
    ----------
    field : DisplacementField
        Fixed point to moving point.
    grid : Geometry, optional
        Where the inverse is wanted: the moving grid. Default: the grid of the field.

    Notes
    -----
    x <- x - B (x + u(x) - y), where B is the inverse of the affine map nearest to the field.
    A point whose distance stops falling goes on with half the step; the few that are left after
    20 rounds, where the field is steep, with Newton steps. Each point ends when its image lies
    within a thousandth of a voxel of y.
    """
    target = grid if grid is not None else field.grid
    wanted = grid_points(target).reshape(-1, 3)
    limit = _INVERTED_WITHIN * min(field.grid.spacing_mm)
    matrix = nearest_affine(field)
    back = np.linalg.inv(matrix[:3, :3])
    found = (wanted - matrix[:3, 3]) @ back.T
    gap = apply_to_points(field, found) - wanted
    distance = np.linalg.norm(gap, axis=1)
    factor = np.ones(len(wanted))
    rounds = 0
    for rounds in range(1, _MOST_INVERSIONS + 1):
        active = np.flatnonzero(distance > limit)
        if active.size == 0:
            break
        step = gap[active] @ back.T
        if rounds > _FIXED_POINT_ROUNDS:
            step = _newton_step(field, found[active], gap[active])
        trial = found[active] - factor[active, None] * step
        new_gap = apply_to_points(field, trial) - wanted[active]
        new_distance = np.linalg.norm(new_gap, axis=1)
        better = new_distance < distance[active]
        chosen = active[better]
        found[chosen], gap[chosen] = trial[better], new_gap[better]
        distance[chosen] = new_distance[better]
        factor[active[~better]] *= _SLOWER
        if rounds == _FIXED_POINT_ROUNDS:
            factor[:] = 1.0
    index = world_to_index(field.grid, found)
    ends = np.asarray(field.grid.shape) - 1
    inside = np.all((index >= -_AT_BORDER) & (index <= ends + _AT_BORDER), axis=1)
    shape = target.shape
    data = (found - wanted).reshape(*shape, 3)
    return Inverse(
        DisplacementField(data, target), inside.reshape(shape), distance.reshape(shape), rounds
    )


def _newton_step(field: DisplacementField, at_mm: Array, gap_mm: Array) -> Array:
    """Return (I + du/dx)^-1 gap at points (n, 3); the gap itself where the map is singular."""
    h = _NEWTON_DIFFERENCE * min(field.grid.spacing_mm)
    columns = [
        (displacement_at(field, at_mm + h * axis) - displacement_at(field, at_mm - h * axis))
        / (2 * h)
        for axis in np.eye(3)
    ]
    matrix = np.eye(3) + np.stack(columns, axis=-1)
    singular = np.abs(np.linalg.det(matrix)) < 1e-3
    matrix[singular] = np.eye(3)
    return np.asarray(np.linalg.solve(matrix, gap_mm[..., None])[..., 0])


def nearest_affine(field: DisplacementField) -> Array:
    """Return the (4, 4) matrix nearest to x + u(x) over the grid, in the least squares sense."""
    points = grid_points(field.grid)[::2, ::2, ::2].reshape(-1, 3)
    moved = points + np.asarray(field.data[::2, ::2, ::2], dtype=np.float64).reshape(-1, 3)
    centre, moved_centre = points.mean(axis=0), moved.mean(axis=0)
    offsets = points - centre
    spread = offsets.T @ offsets
    linear = (moved - moved_centre).T @ offsets @ np.linalg.pinv(spread)
    if not np.linalg.det(linear) > 1e-3:
        linear = np.eye(3)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = moved_centre - linear @ centre
    return matrix


def warp(
    moving: Volume,
    field: DisplacementField,
    *,
    interpolation: Interpolation = "linear",
    outside: float = 0.0,
) -> Volume:
    """Return the moving image on the grid of the field: value at x is moving(x + u(x)).

    Parameters
    ----------
    moving : Volume
        Image or labels.
    field : DisplacementField
        Fixed point to moving point, affine part included.
    interpolation : {"linear", "bspline3", "nearest"}
        "nearest" for labels: their type and values are kept. Else float32.
    outside : float
        Value where x + u(x) lies beyond the moving image.

    Notes
    -----
    ITK's own resampler, so that ITK, ANTs and Slicer make the same image of the same field.
    """
    import SimpleITK as sitk

    kinds = {
        "linear": sitk.sitkLinear, "bspline3": sitk.sitkBSpline, "nearest": sitk.sitkNearestNeighbor
    }  # fmt: skip
    if interpolation not in kinds:
        raise GeometryError(f"interpolation {interpolation!r}: use one of {', '.join(kinds)}")
    image = to_sitk(moving)
    if interpolation != "nearest":
        image = sitk.Cast(image, sitk.sitkFloat32)
    transform = sitk.DisplacementFieldTransform(field_to_sitk(field))
    return from_sitk(
        sitk.Resample(image, empty_like(field.grid), transform, kinds[interpolation], outside,
                      image.GetPixelID())
    )  # fmt: skip


def warp_labels(labels: Volume, field: DisplacementField) -> Volume:
    """Return labels on the grid of the field, by nearest neighbour; background outside is 0."""
    return warp(labels, field, interpolation="nearest")

"""The inverse of a displacement field: the points that the map sends to given ones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.registration.sampling import (
    FieldSampler,
    lies_inside,
    slab_points,
    slabs,
)
from pipeline.types import DisplacementField, Geometry, Mask3D

Array = npt.NDArray[np.float64]

#: A point counts as inverted when its image comes this near, in parts of the smallest voxel edge.
_INVERTED_WITHIN = 1e-3
_MOST_ROUNDS = 60
#: The first guess comes from the inverse on every n-th point along each axis.
_COARSER = 2
_FIXED_POINT_ROUNDS = 20
#: Step, in parts of the smallest voxel edge, of the differences that Newton steps need.
_NEWTON_DIFFERENCE = 1e-2
_SLOWER = 0.5


@dataclass(frozen=True, eq=False)
class Inverse:
    """An inverse field and how well it inverts.

    Attributes
    ----------
    field : DisplacementField
        Moving point to fixed point, on the grid that was asked for.
    inside : (I, J, K) bool array
        Where the fixed point found lies on the fixed grid; beyond it nothing was measured.
    residual_mm : (I, J, K) float32 array
        Distance between each point and the image of its preimage.
    iterations : int
        Steps of the slowest point.
    """

    field: DisplacementField
    inside: Mask3D
    residual_mm: npt.NDArray[np.float32]
    iterations: int


@dataclass(frozen=True, eq=False)
class Preimages:
    """The points that a map sends to the points that were asked for.

    Attributes
    ----------
    points_mm : (n, 3) array
        x with x + u(x) = y, as near as it was found.
    residual_mm : (n,) array
        Distance between y and x + u(x).
    iterations : int
        Steps of the slowest point.
    """

    points_mm: Array
    residual_mm: Array
    iterations: int


def invert(field: DisplacementField, grid: Geometry | None = None) -> Inverse:
    """Return the field that undoes `field`, in the type of its vectors.

    Parameters
    ----------
    field : DisplacementField
        Fixed point to moving point.
    grid : Geometry, optional
        Where the inverse is wanted: the moving grid. Default: the grid of the field.

    Notes
    -----
    See `FieldInverter`.
    """
    target = grid if grid is not None else field.grid
    inverter = FieldInverter(field)
    first_guess = FieldSampler(_coarse_inverse(inverter, target))
    kind = field.data.dtype if field.data.dtype == np.float32 else np.float64
    data = np.empty((*target.shape, 3), dtype=kind)
    inside = np.empty(target.shape, dtype=np.bool_)
    residual = np.empty(target.shape, dtype=np.float32)
    rounds = 0
    for part in slabs(target):
        wanted = slab_points(target, part)
        flat = wanted.reshape(-1, 3)
        found = inverter(flat, start_mm=flat + first_guess(flat))
        points = found.points_mm.reshape(wanted.shape)
        data[:, :, part] = points - wanted
        inside[:, :, part] = lies_inside(field.grid, points)
        residual[:, :, part] = found.residual_mm.reshape(wanted.shape[:-1])
        rounds = max(rounds, found.iterations)
    return Inverse(DisplacementField(data, target), inside, residual, rounds)


def _coarse_inverse(inverter: "FieldInverter", grid: Geometry) -> DisplacementField:
    """Return the inverse on every second point along each axis: an eighth of the work."""
    i, j, k = (-(-n // _COARSER) for n in grid.shape)
    a, b, c = (_COARSER * step for step in grid.spacing_mm)
    coarse = Geometry((i, j, k), (a, b, c), grid.origin_mm, grid.direction)
    data = np.empty((*coarse.shape, 3), dtype=np.float32)
    for part in slabs(coarse):
        wanted = slab_points(coarse, part)
        data[:, :, part] = inverter(wanted.reshape(-1, 3)).points_mm.reshape(wanted.shape) - wanted
    return DisplacementField(data, coarse)


class FieldInverter:
    """Finds preimages under x -> x + u(x) by a fixed point iteration.

    Parameters
    ----------
    field : DisplacementField
        Fixed point to moving point.

    Notes
    -----
    x <- x - B (x + u(x) - y), where B is the inverse of the affine map nearest to the field.
    A point whose distance stops falling goes on with half the step; the few that are left after
    20 rounds, where the field is steep, with Newton steps. Each point ends when its image lies
    within a thousandth of a voxel of y.
    """

    def __init__(self, field: DisplacementField) -> None:
        self._displacement = FieldSampler(field)
        self._edge_mm = min(field.grid.spacing_mm)
        self._affine = nearest_affine(field)
        self._back = np.linalg.inv(self._affine[:3, :3])

    def __call__(self, wanted_mm: Array, *, start_mm: Array | None = None) -> Preimages:
        """Return the preimages of points (n, 3); `start_mm` is a first guess of them."""
        found = (wanted_mm - self._affine[:3, 3]) @ self._back.T if start_mm is None else start_mm
        gap = self._gap(found, wanted_mm)
        distance = _length(gap)
        factor = np.ones(len(wanted_mm))
        rounds = 0
        for rounds in range(1, _MOST_ROUNDS + 1):
            active = np.flatnonzero(distance > _INVERTED_WITHIN * self._edge_mm)
            if active.size == 0:
                break
            step = gap[active] @ self._back.T
            if rounds > _FIXED_POINT_ROUNDS:
                step = self._newton_step(found[active], gap[active])
            trial = found[active] - factor[active, None] * step
            new_gap = self._gap(trial, wanted_mm[active])
            new_distance = _length(new_gap)
            better = new_distance < distance[active]
            chosen = active[better]
            found[chosen], gap[chosen] = trial[better], new_gap[better]
            distance[chosen] = new_distance[better]
            factor[active[~better]] *= _SLOWER
            if rounds == _FIXED_POINT_ROUNDS:
                factor[:] = 1.0
        return Preimages(found, distance, rounds)

    def _gap(self, at_mm: Array, wanted_mm: Array) -> Array:
        gap = self._displacement(at_mm)
        gap += at_mm
        gap -= wanted_mm
        return gap

    def _newton_step(self, at_mm: Array, gap_mm: Array) -> Array:
        """Return (I + du/dx)^-1 gap at points (n, 3); the gap itself where the map is singular."""
        h = _NEWTON_DIFFERENCE * self._edge_mm
        columns = [
            (self._displacement(at_mm + h * axis) - self._displacement(at_mm - h * axis)) / (2 * h)
            for axis in np.eye(3)
        ]
        matrix = np.eye(3) + np.stack(columns, axis=-1)
        singular = np.abs(np.linalg.det(matrix)) < 1e-3
        matrix[singular] = np.eye(3)
        return np.asarray(np.linalg.solve(matrix, gap_mm[..., None])[..., 0])


def _length(vectors: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("nc,nc->n", vectors, vectors)))


def nearest_affine(field: DisplacementField) -> Array:
    """Return the (4, 4) matrix nearest to x + u(x) over the grid, in the least squares sense."""
    thinned = [np.arange(0, n, _thinning(n), dtype=np.float64) for n in field.grid.shape]
    index = np.stack(np.meshgrid(*thinned, indexing="ij"), axis=-1)
    steps = field.grid.direction * np.asarray(field.grid.spacing_mm)
    points = (index.reshape(-1, 3) @ steps.T) + np.asarray(field.grid.origin_mm)
    i, j, k = (_thinning(n) for n in field.grid.shape)
    moved = points + np.asarray(field.data[::i, ::j, ::k], dtype=np.float64).reshape(-1, 3)
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


def _thinning(count: int) -> int:
    """Return the step that leaves some 30 or more of `count` points."""
    return max(1, count // 32)

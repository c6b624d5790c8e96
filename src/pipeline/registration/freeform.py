"""Deformable registration by a B-spline field and Gauss-Newton steps, coarse to fine.

The field v, in mm along the axes of the fixed grid, minimises

    1/2 sum w ((F(x) - a(x) M(A(x + v(x))) - b(x)) / sd F)^2 dx + 1/2 * bending * sum |D2 v|^2 dx

where a and b are the local slope and offset of the intensities. Free-form deformations: Rueckert
et al. 1999, IEEE TMI 18:712. Each Gauss-Newton system is solved by conjugate gradients without
ever forming its matrix, so that a few dozen image evaluations reach the minimum, and the
volume change is not cut short as it is by methods that stop early.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.registration.lattice import (
    LatticeAxis,
    Matrices,
    cover,
    expand,
    gather,
    refine,
    subdivide,
)
from pipeline.registration.matching import match_globally, match_locally
from pipeline.registration.smoothness import Smoothness
from pipeline.types import Array3D, Volume

Array = npt.NDArray[np.float64]
Axes = tuple[LatticeAxis, LatticeAxis, LatticeAxis]
Item = TypeVar("Item")

_LOG = logging.getLogger(__name__)

#: A pass ends when a step lowers the energy by less than this part of it.
_LEAST_GAIN = 5e-3
_MOST_STEPS = 12
_MOST_STEPS_REPAIRING = 3
_MOST_CONJUGATE = 25
#: Conjugate gradients end at this part of the first (preconditioned, squared) residual.
_CONJUGATE_END = 1e-3
#: No step moves a point by more than this part of the knot distance.
_LONGEST_STEP = 0.4
_SHORTEST_STEP = 0.05
#: Where det(I + dv/dx) falls below this, the lattice is made stiffer and the pass repeated.
_LEAST_JACOBIAN = 0.05
_STIFFER = 4.0
_MOST_REPAIRS = 6
_SPLINE_ORDER = 3


@dataclass(frozen=True)
class Pass:
    """One stage of the pyramid.

    Attributes
    ----------
    voxel_mm : three floats
        Distance of the sample points along the fixed axes.
    knot_mm : float
        Distance of the spline's coefficients; half of the previous pass's, or the same.
    window_mm : float
        SD of the window in which intensities are matched; 0 matches them globally.
    bending_mm2 : float
        Weight of bending against intensities.
    """

    voxel_mm: tuple[float, float, float]
    knot_mm: float
    window_mm: float
    bending_mm2: float


@dataclass(frozen=True)
class PassReport:
    """How a pass went: sizes, steps, sum of squares, and why it ended."""

    knot_mm: float
    voxels: int
    steps: int
    misfit_first_mm3: float
    misfit_last_mm3: float
    repairs: int
    stopped: str


@dataclass(frozen=True, eq=False)
class Estimate:
    """The field v on the fixed grid, mm along the fixed axes, and a report per pass."""

    field_mm: Array
    reports: list[PassReport]


def estimate_field(
    fixed: Volume,
    moving: Volume,
    affine: Array,
    *,
    passes: Sequence[Pass],
    reach_mm: float,
    weight: Array3D | None = None,
) -> Estimate:
    """Return the field v for which moving(A(x + v)) looks like fixed(x).

    Parameters
    ----------
    fixed, moving : Volume
        Images; float.
    affine : (4, 4) array
        A, fixed point to moving point, LPS mm.
    passes : sequence of Pass
        Coarse to fine.
    reach_mm : float
        See `Smoothness`.
    weight : (I, J, K) array, optional
        Where on the fixed grid the images are compared, 0 to 1.
    """
    ends = np.asarray(fixed.grid.spacing_mm) * (np.asarray(fixed.grid.shape) - 1)
    axes = _three(cover(float(end), passes[0].knot_mm) for end in ends)
    coefficients = np.zeros((axes[0].count, axes[1].count, axes[2].count, 3))
    stiffness = np.ones([axis.count - 2 for axis in axes])
    reports = []
    for stage in passes:
        if stage.knot_mm < 0.75 * axes[0].knot_mm:
            axes, coefficients = _three(refine(axis) for axis in axes), subdivide(coefficients)
            stiffness = np.ones([axis.count - 2 for axis in axes])
        problem = _Problem(fixed, moving, affine, stage, axes, weight)
        coefficients, stiffness, report = _run(problem, coefficients, stiffness, reach_mm)
        _LOG.info(
            "knots %g mm: %d steps, misfit %.4g to %.4g mm3, %s",
            stage.knot_mm,
            report.steps,
            report.misfit_first_mm3,
            report.misfit_last_mm3,
            report.stopped,
        )
        reports.append(report)
    positions = (np.arange(n) * s for n, s in zip(fixed.grid.shape, fixed.grid.spacing_mm,
                                                  strict=True))  # fmt: skip
    matrices = _three(a.basis(p) for a, p in zip(axes, positions, strict=True))
    return Estimate(expand(coefficients, matrices), reports)


@dataclass(frozen=True, eq=False)
class _State:
    """The moving image seen through the current field, and its intensities matched."""

    coefficients: Array
    index: Array  # (3, I, J, K) voxels of the moving image
    moved: Array
    weight: Array
    slope: Array | float = 1.0
    offset: Array | float = 0.0


class _Problem:
    """Images of one pass, sampled; evaluates residuals and their derivatives."""

    def __init__(
        self,
        fixed: Volume,
        moving: Volume,
        affine: Array,
        stage: Pass,
        axes: Axes,
        weight: Array3D | None,
    ) -> None:
        self.stage, self.axes = stage, axes
        spacing = np.asarray(fixed.grid.spacing_mm)
        ends = spacing * (np.asarray(fixed.grid.shape) - 1)
        counts = [int(np.floor(end / v + 1e-6)) + 1 for end, v in zip(ends, stage.voxel_mm,
                                                                     strict=True)]  # fmt: skip
        ticks = [
            (end - (n - 1) * v) / 2 + v * np.arange(n)
            for end, n, v in zip(ends, counts, stage.voxel_mm, strict=True)
        ]
        self.basis: Matrices = _three(a.basis(t) for a, t in zip(axes, ticks, strict=True))
        self.volume = float(np.prod(stage.voxel_mm))
        at = np.stack(np.meshgrid(*ticks, indexing="ij"))
        sampled = at / spacing[:, None, None, None]
        self.fixed = _sample(_blur(fixed, stage.voxel_mm), sampled)
        self.weight = np.ones(self.fixed.shape) if weight is None else _sample(
            np.asarray(weight, dtype=np.float64), sampled)  # fmt: skip
        self.contrast = _weighted_sd(self.fixed, self.weight)
        across = (moving.grid.direction.T @ fixed.grid.direction) ** 2
        blurred = _blur(moving, np.sqrt(across @ np.square(stage.voxel_mm)).tolist())
        self.coefficients = ndimage.spline_filter(blurred, _SPLINE_ORDER)
        self.slopes = [_spline_slope(self.coefficients, axis) for axis in range(3)]
        self.limit = np.asarray(blurred.shape) - 1
        self.turn, self.start = _index_map(fixed, moving, affine, at)

    def look(self, coefficients: Array) -> _State:
        """Return the moving image at A(x + v(x)); intensities as they are."""
        field = np.moveaxis(expand(coefficients, self.basis), -1, 0)
        index = self.start + np.tensordot(self.turn, field, 1)
        moved = ndimage.map_coordinates(
            self.coefficients, index, order=_SPLINE_ORDER, prefilter=False, mode="nearest"
        )
        seen = [(q >= 0) & (q <= end) for q, end in zip(index, self.limit, strict=True)]
        return _State(coefficients, index, moved, self.weight * np.logical_and.reduce(seen))

    def match(self, state: _State) -> _State:
        """Return the state with intensities matched."""
        if self.stage.window_mm <= 0:
            slope, offset = match_globally(self.fixed, state.moved, state.weight)
            return replace(state, slope=slope, offset=offset)
        sigma = tuple(self.stage.window_mm / v for v in self.stage.voxel_mm)
        slopes, offsets = match_locally(self.fixed, state.moved, state.weight, sigma, self.contrast)
        return replace(state, slope=slopes, offset=offsets)

    def residual(self, state: _State) -> Array:
        """Return (F - a M - b) / sd F."""
        return np.asarray((self.fixed - state.slope * state.moved - state.offset) / self.contrast)

    def misfit(self, state: _State) -> float:
        """Return half the weighted sum of squares, in mm³."""
        return float(0.5 * self.volume * np.sum(state.weight * self.residual(state) ** 2))

    def derivative(self, state: _State) -> Array:
        """Return (I, J, K, 3): change of a M / sd F per mm of v."""
        by_index = np.stack(
            [ndimage.map_coordinates(s, state.index, order=1, mode="nearest") for s in self.slopes],
            axis=-1,
        )
        scale = np.asarray(state.slope / self.contrast)
        return np.asarray((by_index @ self.turn) * scale[..., None])

    def least_jacobian(self, coefficients: Array) -> tuple[float, Array]:
        """Return the least det(I + dv/dx) at the sample points, and the whole map."""
        field = expand(coefficients, self.basis)
        if min(field.shape[:3]) < 2:
            return 1.0, np.ones(field.shape[:3])
        rows = np.stack([np.gradient(field, v, axis=k)
                         for k, v in enumerate(self.stage.voxel_mm)], axis=-2)  # fmt: skip
        determinant = np.linalg.det(np.eye(3) + rows)
        return float(determinant.min()), determinant


def _run(
    problem: _Problem, coefficients: Array, stiffness: Array, reach_mm: float
) -> tuple[Array, Array, PassReport]:
    """Step until converged; where the map comes near folding, stiffen the lattice and go on."""
    misfits: list[float] = []
    repairs = 0
    while True:
        smoothness = Smoothness(problem.axes, reach_mm, problem.stage.bending_mm2 * stiffness)
        most = _MOST_STEPS_REPAIRING if repairs else _MOST_STEPS
        coefficients, more, stopped = _descend(problem, coefficients, smoothness, most)
        misfits += more
        least, determinant = problem.least_jacobian(coefficients)
        if least >= _LEAST_JACOBIAN or repairs == _MOST_REPAIRS:
            break
        repairs += 1
        folding = (determinant < 2 * _LEAST_JACOBIAN)[..., None].astype(np.float64)
        near = gather(folding, problem.basis)[1:-1, 1:-1, 1:-1, 0] > 0
        stiffness = np.where(near, stiffness * _STIFFER, stiffness)
    report = PassReport(
        knot_mm=problem.stage.knot_mm,
        voxels=int(problem.fixed.size),
        steps=len(misfits) - repairs - 1,
        misfit_first_mm3=misfits[0],
        misfit_last_mm3=misfits[-1],
        repairs=repairs,
        stopped=stopped,
    )
    return coefficients, stiffness, report


def _descend(
    problem: _Problem, coefficients: Array, smoothness: Smoothness, most: int
) -> tuple[Array, list[float], str]:
    """Gauss-Newton steps with halving; the matched intensities are renewed after each."""
    state = problem.match(problem.look(coefficients))
    misfits = [problem.misfit(state)]
    for _ in range(most):
        now = misfits[-1] + 0.5 * smoothness.energy(state.coefficients)
        step = _step(problem, state, smoothness)
        step *= min(1.0, _LONGEST_STEP * problem.stage.knot_mm / max(np.abs(step).max(), 1e-12))
        length = 1.0
        while length > _SHORTEST_STEP:
            trial = problem.look(state.coefficients + length * step)
            trial = replace(trial, slope=state.slope, offset=state.offset)
            energy = problem.misfit(trial) + 0.5 * smoothness.energy(trial.coefficients)
            if energy < now:
                break
            length /= 2
        else:
            return state.coefficients, misfits, "no step lowers the energy"
        state = problem.match(trial)
        misfits.append(problem.misfit(state))
        if now - energy < _LEAST_GAIN * now:
            return state.coefficients, misfits, "converged"
    return state.coefficients, misfits, f"{most} steps"


def _step(problem: _Problem, state: _State, smoothness: Smoothness) -> Array:
    """Solve (B' g w g' B + K) step = B' g w r - K c by preconditioned conjugate gradients."""
    slope = problem.derivative(state)
    weighted = slope * (state.weight * problem.volume)[..., None]
    residual = problem.residual(state)[..., None]
    right = gather(weighted * residual, problem.basis) - smoothness.gradient(state.coefficients)
    squared = _three(b**2 for b in problem.basis)
    diagonal = gather(weighted * slope, squared) + smoothness.diagonal()[..., None]
    diagonal += 1e-3 * diagonal.max() + 1e-300

    def hessian(direction: Array) -> Array:
        along = np.einsum("ijkc,ijkc->ijk", slope, expand(direction, problem.basis))
        return gather(weighted * along[..., None], problem.basis) + smoothness.gradient(direction)

    step = np.zeros_like(right)
    scaled = right / diagonal
    direction = scaled.copy()
    size = start = float(np.sum(right * scaled))
    for _ in range(_MOST_CONJUGATE):
        if size <= _CONJUGATE_END * start:
            break
        product = hessian(direction)
        length = size / float(np.sum(direction * product))
        step += length * direction
        right -= length * product
        scaled = right / diagonal
        size, before = float(np.sum(right * scaled)), size
        direction = scaled + (size / before) * direction
    return step


def _index_map(fixed: Volume, moving: Volume, affine: Array, at: Array) -> tuple[Array, Array]:
    """Return Q (3, 3) and q0 (3, I, J, K): moving voxel = q0 + Q v, v along the fixed axes."""
    to_index = (moving.grid.direction / np.asarray(moving.grid.spacing_mm)).T
    turn = to_index @ affine[:3, :3] @ fixed.grid.direction
    origin = affine[:3, :3] @ np.asarray(fixed.grid.origin_mm) + affine[:3, 3]
    start = to_index @ (origin - np.asarray(moving.grid.origin_mm))
    return turn, start[:, None, None, None] + np.tensordot(turn, at, 1)


def _blur(volume: Volume, voxel_mm: Sequence[float]) -> Array:
    """Return the image without what a grid of `voxel_mm` cannot hold."""
    sigma = [
        0.5 * np.sqrt(max(v**2 - s**2, 0.0)) / s
        for v, s in zip(voxel_mm, volume.grid.spacing_mm, strict=True)
    ]
    data = np.asarray(volume.data, dtype=np.float64)
    return np.asarray(ndimage.gaussian_filter(data, sigma, mode="nearest", truncate=3.0))


def _spline_slope(coefficients: Array, axis: int) -> Array:
    """Return the derivative per voxel of a cubic spline at its nodes, exact for the spline."""
    for other in range(3):
        kernel = [-0.5, 0.0, 0.5] if other == axis else [1 / 6, 4 / 6, 1 / 6]
        coefficients = ndimage.correlate1d(coefficients, kernel, axis=other, mode="mirror")
    return np.asarray(coefficients)


def _sample(data: Array, index: Array) -> Array:
    return np.asarray(ndimage.map_coordinates(data, index, order=1, mode="nearest"))


def _weighted_sd(values: Array, weight: Array) -> float:
    total = weight.sum()
    mean = (weight * values).sum() / total
    return float(np.sqrt((weight * (values - mean) ** 2).sum() / total)) or 1.0


def _three(items: Iterable[Item]) -> tuple[Item, Item, Item]:
    one, two, three = items
    return one, two, three

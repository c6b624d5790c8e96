"""Diffeomorphic registration: the stationary velocity that fits best, coarse to fine.

The velocity v on a B-spline lattice minimises

    V * E(F, M(A exp(v))) + 1/2 sum w bending^2 (|D2 v|^2 + |D v|^2 / reach^2)

where V is the compared volume and E a measure of `comparison`. Each Gauss-Newton system is solved
by conjugate gradients on the nodes of the flow, where the images' second-order terms have been
gathered, so that a step costs little more than one look at the images; its gradient is exact, by
way of the derivative of scaling and squaring. The weight w is that of a robust penalty: where the
velocity bends much it is less, so that a lesion is free to change volume, and where it bends little
it is more, so that noise moves nothing.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import make_interp_spline

from pipeline.registration.bending import Bending
from pipeline.registration.comparison import Comparison, Fitted, Measure
from pipeline.registration.engine import Trace
from pipeline.registration.lattice import cover, refine
from pipeline.registration.tensors import (
    Matrices,
    gaussian_matrix,
    inside,
    sample,
    separable,
    slopes,
    transposed,
)
from pipeline.registration.torch_levels import Source
from pipeline.registration.velocity import Axes, Flow
from pipeline.types import Geometry

Matrix = npt.NDArray[np.float64]
Item = TypeVar("Item")

_LOG = logging.getLogger(__name__)

#: A level ends when a step gains less than this part of what its steps gained together, or of
#: the energy: noise alone holds most of it.
_LEAST_GAIN = (2e-2, 1e-4)
_MOST_STEPS = 20
_MOST_STEPS_REPAIRING = 4
_MOST_CONJUGATE = 25
#: Conjugate gradients end at this part of the first (preconditioned, squared) residual.
_CONJUGATE_END = 1e-3
#: No step changes the velocity by more than this part of the knot distance.
_LONGEST_STEP = 0.5
_SHORTEST_STEP = 0.1
#: SD of the smoothing of both images, in voxels of the level. With less, the noise that is left
#: depends on where between voxels the moving image is sampled, and everything drifts to where it
#: is least. More costs accuracy at sharp edges.
_BLUR = 0.5
#: The moving image's lattice is so much finer than the voxels: what lies between is linear.
_FINER = 2.0
#: Bounds of the robust penalty's weight.
_WEIGHTS = (0.25, 40.0)
#: Where det(I + du/dx) falls below this, the lattice is made stiffer and the level repeated.
_LEAST_JACOBIAN = 0.05
_STIFFER = 4.0
_MOST_REPAIRS = 5


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    Attributes
    ----------
    voxel_mm : three floats
        Distance of the sample points along the fixed axes.
    knot_mm : float
        Distance of the lattice's coefficients; half of the level's before, or the same.
    bending_mm : float
        Weight of bending against a misfit of the fixed image's SD, as a length.
    measure : {"ssd", "lncc", "mi"}
        See `Comparison`.
    window_mm : float
        SD of the window in which "lncc" matches.
    robust_per_mm : float
        Bending |D2 v| whose weight is 1 in the robust penalty; 0 for the plain one.
    """

    voxel_mm: tuple[float, float, float]
    knot_mm: float
    bending_mm: float
    measure: Measure
    window_mm: float = 0.0
    robust_per_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class Velocity:
    """What was found.

    Attributes
    ----------
    flow : Flow
        The lattice.
    coefficients : (3, a, b, c) tensor
        On it.
    traces : tuple of Trace
        One per level.
    repairs : int
        How often the lattice was made stiffer.
    """

    flow: Flow
    coefficients: torch.Tensor
    traces: tuple[Trace, ...]
    repairs: int

    def displacement(self, grid: Geometry) -> npt.NDArray[np.float32]:
        """Return exp(v)(x) - x on the fixed grid, (I, J, K, 3) in mm along its axes."""
        positions = [
            np.arange(n, dtype=np.float64) * s
            for n, s in zip(grid.shape, grid.spacing_mm, strict=True)
        ]
        found = separable(self.flow.exponential(self.coefficients), self.flow.to_points(positions))
        return np.ascontiguousarray(found.movedim(0, -1).cpu().numpy())


def estimate_velocity(
    fixed: Source,
    moving: Source,
    affine: Matrix,
    levels: Sequence[Level],
    reach_mm: float,
) -> Velocity:
    """Return the velocity for which moving(A exp(v)(x)) looks like fixed(x).

    Parameters
    ----------
    fixed, moving : Source
        Scaled images on their whole grids, and where they are compared.
    affine : (4, 4) array
        A, fixed point to moving point, LPS mm.
    levels : sequence of Level
        Coarse to fine.
    reach_mm : float
        See `Bending`.
    """
    device = fixed.values.device
    ends = np.asarray(fixed.grid.spacing_mm) * (np.asarray(fixed.grid.shape) - 1)
    axes: Axes = three(cover(float(end), levels[0].knot_mm) for end in ends)
    coefficients = torch.zeros(3, *(axis.count for axis in axes), device=device)
    traces, repairs = [], 0
    flow = Flow(axes, device)
    for level in levels:
        if level.knot_mm < 0.75 * axes[0].knot_mm:
            finer = three(
                torch.as_tensor(subdivision(axis.count), dtype=torch.float32, device=device)
                for axis in axes
            )
            coefficients, axes = separable(coefficients, finer), three(refine(a) for a in axes)
            flow = Flow(axes, device)
        problem = _Problem(fixed, moving, affine, level, flow)
        stiffness = _stiffness(flow, coefficients, level, reach_mm)
        coefficients, trace, more = _run(problem, coefficients, stiffness, reach_mm)
        _LOG.info("knots %g mm: %d steps, energy %.4g to %.4g mm3, %s", level.knot_mm,
                  len(trace.energy) - 1, trace.energy[0], trace.energy[-1],
                  trace.stopped)  # fmt: skip
        traces.append(trace)
        repairs += more
    return Velocity(flow, coefficients, tuple(traces), repairs)


def _stiffness(
    flow: Flow, coefficients: torch.Tensor, level: Level, reach_mm: float
) -> torch.Tensor:
    """Return the robust penalty's weight at the interior knots, from the velocity so far.

    w = (s / |D2 v|)^2, within bounds: what bends little is held, what bends much pays no more for
    bending more.
    """
    plain = torch.ones([axis.count - 2 for axis in flow.axes], device=flow.device)
    if level.robust_per_mm <= 0:
        return plain
    density = Bending(flow.axes, level.bending_mm, reach_mm, plain).density(coefficients)
    around = three(gaussian_matrix(n, 1.0, device=flow.device) for n in density.shape)
    bent = separable(density, around).clamp(min=1e-12)
    return (level.robust_per_mm**2 / bent).clamp(*_WEIGHTS)


@dataclass(frozen=True, eq=False)
class _Look:
    """The moving image seen through a velocity."""

    moved: torch.Tensor  # (I, J, K)
    weight: torch.Tensor
    slope: torch.Tensor | None = None  # (3, I, J, K), per voxel of the moving lattice


@dataclass(frozen=True, eq=False)
class _Problem:
    """Images of one level, sampled."""

    fixed: Source
    moving: Source
    affine: Matrix
    level: Level
    flow: Flow
    comparison: Comparison = field(init=False)
    volume_mm3: float = field(init=False)
    to_voxels: Matrices = field(init=False)
    pooling: Matrices = field(init=False)
    turn: torch.Tensor = field(init=False)  # mm along the fixed axes -> moving lattice
    start: torch.Tensor = field(init=False)  # (I, J, K, 3)
    image: torch.Tensor = field(init=False)  # (4, ...): the moving image and its slopes
    seen: torch.Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        level, grid = self.level, self.fixed.grid
        ticks = _ticks(grid, level.voxel_mm)
        fixed, weight = _fixed_image(self.fixed, ticks, level.voxel_mm)
        image, seen, steps = _moving_image(self.moving, grid, level.voxel_mm)
        turn, start = _index_map(grid, self.moving.grid, self.affine, steps)
        lines = [torch.as_tensor(t, dtype=torch.float32, device=fixed.device) for t in ticks]
        to_index = torch.as_tensor(turn, dtype=torch.float32, device=fixed.device)
        origin = torch.as_tensor(start, dtype=torch.float32, device=fixed.device)
        window = None
        if level.window_mm > 0:
            window = three(
                gaussian_matrix(n, level.window_mm / v, device=fixed.device)
                for n, v in zip(fixed.shape, level.voxel_mm, strict=True)
            )
        found = {
            "comparison": Comparison(fixed, weight, level.measure, window),
            "volume_mm3": float(weight.sum()) * float(np.prod(level.voxel_mm)),
            "to_voxels": self.flow.to_points(ticks),
            "pooling": self.flow.pooling(ticks),
            "turn": to_index,
            "start": torch.stack(torch.meshgrid(*lines, indexing="ij"), -1) @ to_index.T + origin,
            "image": torch.cat([image[None], slopes(image)]),
            "seen": seen,
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def look(self, moved_mm: torch.Tensor, *, closely: bool = False) -> _Look:
        """Return the moving image under a displacement (3, A, B, C) of the flow's nodes."""
        turned = torch.einsum("rc,cijk->rijk", self.turn, moved_mm)
        index = self.start + separable(turned, self.to_voxels).movedim(0, -1)
        weight = self.comparison.weight * inside(index, self.image.shape[1:])
        if self.seen is not None:
            weight = weight * sample(self.seen, index)
        if not closely:
            return _Look(sample(self.image[0], index), weight)
        found = sample(self.image, index)
        return _Look(found[0], weight, found[1:])

    def derivatives(self, fitted: Fitted, look: _Look) -> tuple[torch.Tensor, torch.Tensor]:
        """Return dE/du (3, A, B, C) at the nodes and the six second-order terms there."""
        assert look.slope is not None
        first, second = fitted.terms(look.moved, look.weight)
        scale = self.volume_mm3 / max(float(look.weight.sum(dtype=torch.float64)), 1e-30)
        pushed = separable((scale * first) * look.slope, transposed(self.to_voxels))
        force = torch.einsum("rc,rijk->cijk", self.turn, pushed)
        along = torch.einsum("rc,rijk->cijk", self.turn, look.slope)
        curved = scale * second
        pairs = torch.stack([curved * along[a] * along[b] for a, b in _PAIRS])
        return force, separable(pairs, self.pooling)


#: Order of the six entries of a symmetric 3x3 matrix.
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def _run(
    problem: _Problem, coefficients: torch.Tensor, stiffness: torch.Tensor, reach_mm: float
) -> tuple[torch.Tensor, Trace, int]:
    """Step until converged; where the map comes near folding, stiffen the lattice and go on."""
    level, flow = problem.level, problem.flow
    energies: list[float] = []
    repairs = 0
    while True:
        bending = Bending(flow.axes, level.bending_mm, reach_mm, stiffness)
        most = _MOST_STEPS_REPAIRING if repairs else _MOST_STEPS
        coefficients, more, stopped = _descend(problem, coefficients, bending, most)
        energies += more
        folding = flow.jacobian(coefficients) < _LEAST_JACOBIAN
        if not bool(folding.any()) or repairs == _MOST_REPAIRS:
            break
        repairs += 1
        near = separable(folding.to(torch.float32), transposed(flow.basis))[1:-1, 1:-1, 1:-1]
        stiffness = torch.where(near > 0, stiffness * _STIFFER, stiffness)
    trace = Trace("deformable", float(min(level.voxel_mm)), tuple(energies), stopped)
    return coefficients, trace, repairs


def _descend(
    problem: _Problem, coefficients: torch.Tensor, bending: Bending, most: int
) -> tuple[torch.Tensor, list[float], str]:
    """Gauss-Newton steps with halving; what the measure fits is renewed after each."""
    flow, volume = problem.flow, problem.volume_mm3
    energies: list[float] = []
    for _ in range(most):
        with torch.enable_grad():
            variable = coefficients.clone().requires_grad_()
            moved = flow.exponential(variable)
        look = problem.look(moved.detach(), closely=True)
        fitted = problem.comparison.fit(look.moved, look.weight)
        now = volume * fitted.energy(look.moved, look.weight) + bending.energy(coefficients)
        energies.append(now)
        force, terms = problem.derivatives(fitted, look)
        (gradient,) = torch.autograd.grad(moved, variable, force)
        gradient = gradient + bending.gradient(coefficients)
        step = _solve(gradient, terms, flow, bending)
        step *= min(1.0, _LONGEST_STEP * problem.level.knot_mm / max(float(step.abs().max()), 1e-9))
        length = 1.0
        while length > _SHORTEST_STEP:
            trial = coefficients + length * step
            seen = problem.look(flow.exponential(trial))
            energy = volume * fitted.energy(seen.moved, seen.weight) + bending.energy(trial)
            if energy < now:
                break
            length /= 2
        else:
            return coefficients, energies, "no step lowers the energy"
        coefficients = trial
        of_gain, of_energy = _LEAST_GAIN
        if now - energy < max(of_gain * (energies[0] - energy), of_energy * abs(now)):
            return coefficients, [*energies, energy], "converged"
    return coefficients, [*energies, energy], f"{most} steps"


def _solve(
    gradient: torch.Tensor, terms: torch.Tensor, flow: Flow, bending: Bending
) -> torch.Tensor:
    """Solve (B' H B + K) step = -gradient by preconditioned conjugate gradients."""
    back = transposed(flow.basis)
    squared = three(matrix.square() for matrix in back)
    diagonal = separable(terms[:3], squared) + bending.diagonal()
    diagonal = diagonal + 1e-3 * diagonal.max() + 1e-30
    xx, yy, zz, xy, xz, yz = terms

    def hessian(direction: torch.Tensor) -> torch.Tensor:
        x, y, z = separable(direction, flow.basis)
        pulled = torch.stack(
            [xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z]
        )
        return separable(pulled, back) + bending.gradient(direction)

    step, rest = torch.zeros_like(gradient), -gradient
    scaled = rest / diagonal
    direction = scaled.clone()
    size = start = _dot(rest, scaled)
    for _ in range(_MOST_CONJUGATE):
        if size <= _CONJUGATE_END * start or size == 0:
            break
        product = hessian(direction)
        length = size / _dot(direction, product)
        step += length * direction
        rest -= length * product
        scaled = rest / diagonal
        size, before = _dot(rest, scaled), size
        direction = scaled + (size / before) * direction
    return step


def _ticks(grid: Geometry, voxel_mm: tuple[float, float, float]) -> list[Matrix]:
    """Return sample positions in mm along each fixed axis, centred on the image."""
    found = []
    for count, spacing, voxel in zip(grid.shape, grid.spacing_mm, voxel_mm, strict=True):
        end = spacing * (count - 1)
        number = int(np.floor(end / voxel + 1e-6)) + 1
        found.append((end - (number - 1) * voxel) / 2 + voxel * np.arange(number, dtype=np.float64))
    return found


def _fixed_image(
    source: Source, ticks: Sequence[Matrix], voxel_mm: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the fixed image smoothed at the sample points, and where it is compared."""
    device = source.values.device
    values, weight = (
        separable(
            image,
            three(
                gaussian_matrix(n, blur * v / s, at=t / s, device=device)
                for n, s, v, t in zip(
                    source.grid.shape, source.grid.spacing_mm, voxel_mm, ticks, strict=True
                )
            ),
        )
        for image, blur in ((source.values, _BLUR), (_mask_of(source), 0.0))
    )
    return values, weight


def _moving_image(
    source: Source, fixed: Geometry, voxel_mm: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor | None, list[float]]:
    """Return the moving image smoothed alike on a finer lattice, its mask, and the lattice's steps.

    The steps are in voxels of the image. Between its voxels the lattice follows cubic splines.
    """
    across = (source.grid.direction.T @ fixed.direction) ** 2
    wanted = np.sqrt(across @ np.square(voxel_mm))
    smooth, plain, steps = [], [], []
    for count, spacing, voxel in zip(
        source.grid.shape, source.grid.spacing_mm, wanted.tolist(), strict=True
    ):
        number = int(np.ceil((count - 1) * _FINER * spacing / max(voxel, spacing) - 1e-6)) + 1
        at = np.linspace(0, count - 1, max(number, 4))
        voxels = np.arange(count)
        spline = make_interp_spline(voxels, np.eye(count), k=3)(at)
        blurred = spline @ gaussian_matrix(count, _BLUR * voxel / spacing).double().numpy()
        smooth.append(blurred)
        plain.append(gaussian_matrix(count, 0.0, at=at).double().numpy())
        steps.append(float(at[1] - at[0]))
    device = source.values.device

    def on_device(arrays: Sequence[Matrix]) -> Matrices:
        return three(torch.as_tensor(a, dtype=torch.float32, device=device) for a in arrays)

    image = separable(source.values, on_device(smooth))
    seen = None if source.mask is None else separable(source.mask, on_device(plain))
    return image, seen, steps


def _mask_of(source: Source) -> torch.Tensor:
    return torch.ones_like(source.values) if source.mask is None else source.mask


def _index_map(
    fixed: Geometry, moving: Geometry, affine: Matrix, steps: Sequence[float]
) -> tuple[Matrix, Matrix]:
    """Return Q (3, 3), q0 (3,): lattice index = q0 + Q p, p in mm along the fixed axes."""
    to_index = (moving.direction / (np.asarray(moving.spacing_mm) * np.asarray(steps))).T
    turn = to_index @ affine[:3, :3] @ fixed.direction
    origin = affine[:3, :3] @ np.asarray(fixed.origin_mm) + affine[:3, 3]
    return turn, to_index @ (origin - np.asarray(moving.origin_mm))


def subdivision(count: int) -> Matrix:
    """Return the matrix (2 count - 3, count) to the same cubic spline with half the distance."""
    matrix = np.zeros((2 * count - 3, count))
    middle = np.arange(1, count - 1)
    left = np.arange(count - 1)
    matrix[2 * left, left] = matrix[2 * left, left + 1] = 1 / 2
    matrix[2 * middle - 1, middle - 1] = matrix[2 * middle - 1, middle + 1] = 1 / 8
    matrix[2 * middle - 1, middle] = 6 / 8
    return matrix


def three(items: Iterable[Item]) -> tuple[Item, Item, Item]:
    """Return three items as a tuple of three, one per axis."""
    one, two, last = items
    return one, two, last


def _dot(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first.double() * second.double()).sum())

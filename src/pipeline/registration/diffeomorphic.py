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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.registration.bending import Bending
from pipeline.registration.engine import Trace
from pipeline.registration.lattice import cover, refine
from pipeline.registration.level_images import Level, LevelImages, Matrix, three
from pipeline.registration.tensors import gaussian_matrix, separable, transposed
from pipeline.registration.torch_levels import Source
from pipeline.registration.velocity import Axes, Flow
from pipeline.types import Geometry

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
#: Bounds of the robust penalty's weight.
_WEIGHTS = (0.25, 40.0)
#: Where det(I + du/dx) falls below this, the lattice is made stiffer and the level repeated.
_LEAST_JACOBIAN = 0.1
_STIFFER = 4.0
_MOST_REPAIRS = 5


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
        problem = LevelImages(fixed, moving, affine, level, flow)
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


def _run(
    problem: LevelImages, coefficients: torch.Tensor, stiffness: torch.Tensor, reach_mm: float
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
    problem: LevelImages, coefficients: torch.Tensor, bending: Bending, most: int
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
        with torch.enable_grad():
            # A scalar: with vectors torch's autograd imports sympy, which takes 1.7 s.
            pushed = (moved * force).sum()
        (gradient,) = torch.autograd.grad(pushed, variable)
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


def subdivision(count: int) -> Matrix:
    """Return the matrix (2 count - 3, count) to the same cubic spline with half the distance."""
    matrix = np.zeros((2 * count - 3, count))
    middle = np.arange(1, count - 1)
    left = np.arange(count - 1)
    matrix[2 * left, left] = matrix[2 * left, left + 1] = 1 / 2
    matrix[2 * middle - 1, middle - 1] = matrix[2 * middle - 1, middle + 1] = 1 / 8
    matrix[2 * middle - 1, middle] = 6 / 8
    return matrix


def _dot(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first.double() * second.double()).sum())

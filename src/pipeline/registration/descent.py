"""Gauss-Newton steps of a level of the diffeomorphic stage, until they gain too little.

Each system is solved by conjugate gradients on the nodes of the flow, where the images'
second-order terms have been gathered, so that a step costs little more than one look at the images;
its gradient is exact, by way of the derivative of scaling and squaring. What the measure fits and
the weights of the penalty are renewed after each step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from pipeline.registration.acceleration import Acceleration, dot
from pipeline.registration.bending import Bending, RobustBending
from pipeline.registration.comparison import Fitted
from pipeline.registration.level_images import LevelImages, Look, three
from pipeline.registration.tensors import separable, transposed
from pipeline.registration.velocity import Flow

#: A level ends when a step gains less than this part of what its steps gained together, or of
#: the energy: noise alone holds most of it.
_LEAST_GAIN = (2e-2, 1e-4)
_MOST_CONJUGATE = 25
#: Conjugate gradients end at this part of the first (preconditioned, squared) residual.
_CONJUGATE_END = 1e-3
#: No step changes the velocity by more than this part of the knot distance.
_LONGEST_STEP = 0.5
_HALVINGS = 4


@dataclass(frozen=True, eq=False)
class _State:
    """Coefficients, their flow as a function of them, and the moving image seen through it."""

    coefficients: torch.Tensor
    moved_mm: torch.Tensor
    look: Look

    @classmethod
    def of(cls, problem: LevelImages, coefficients: torch.Tensor) -> "_State":
        with torch.enable_grad():
            variable = coefficients.clone().requires_grad_()
            moved = problem.flow.exponential(variable)
        return cls(variable, moved, problem.look(moved.detach()))

    @property
    def values(self) -> torch.Tensor:
        return self.coefficients.detach()

    def energy(
        self, problem: LevelImages, fitted: Fitted, bending: Bending, centre: torch.Tensor
    ) -> float:
        misfit = fitted.energy(self.look.moved, self.look.weight)
        return problem.volume_mm3 * misfit + bending.energy(self.values - centre)


def descend(
    problem: LevelImages,
    coefficients: torch.Tensor,
    penalty: RobustBending,
    most_steps: int,
    *,
    centre: torch.Tensor | None = None,
) -> tuple[torch.Tensor, list[float], str]:
    """Return the coefficients where no step gains enough, the energies, and why it ended.

    Parameters
    ----------
    problem : LevelImages
        The images of the level.
    coefficients : (3, a, b, c) tensor
        Start.
    penalty : RobustBending
        What bending costs.
    most_steps : int
        Where to stop if it has not converged.
    centre : (3, a, b, c) tensor, optional
        Bending is that of the difference from it; from no velocity when missing.
    """
    if centre is None:
        centre = torch.zeros_like(coefficients)
    energies: list[float] = []
    gained = 0.0
    acceleration = Acceleration()
    state = _State.of(problem, coefficients)
    for _ in range(most_steps):
        fitted = problem.comparison.fit(state.look.moved, state.look.weight)
        bending = penalty.at(state.values)
        now = state.energy(problem, fitted, bending, centre)
        energies.append(now)
        for change in _changes(
            _newton_step(problem, state, fitted, bending, centre), state, acceleration
        ):
            trial = _State.of(problem, state.values + _bounded(change, problem))
            energy = trial.energy(problem, fitted, bending, centre)
            if energy < now:
                break
        else:
            return state.values, energies, "no step lowers the energy"
        state = trial
        gained += now - energy
        of_gain, of_energy = _LEAST_GAIN
        if now - energy < max(of_gain * gained, of_energy * abs(now)):
            return state.values, [*energies, energy], "converged"
    return state.values, [*energies, energy], f"{most_steps} steps"


def _changes(
    step: torch.Tensor, state: _State, acceleration: Acceleration
) -> Iterator[torch.Tensor]:
    """Yield what to try: where the steps so far lead, the step itself, then parts of it."""
    further = acceleration.further(state.values, step)
    if further is not None:
        yield further
    for halvings in range(_HALVINGS):
        yield step / 2**halvings


def _bounded(change: torch.Tensor, problem: LevelImages) -> torch.Tensor:
    longest = _LONGEST_STEP * problem.level.knot_mm
    return change * min(1.0, longest / max(float(change.abs().max()), 1e-9))


def _newton_step(
    problem: LevelImages, state: _State, fitted: Fitted, bending: Bending, centre: torch.Tensor
) -> torch.Tensor:
    """Return the step to the minimum of the second-order model."""
    force, terms = problem.derivatives(fitted, state.look)
    with torch.enable_grad():
        # A scalar: with vectors torch's autograd imports sympy, which takes 1.7 s.
        pushed = (state.moved_mm * force).sum()
    (gradient,) = torch.autograd.grad(pushed, state.coefficients)
    return _solve(gradient + bending.gradient(state.values - centre), terms, problem.flow, bending)


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
    size = start = dot(rest, scaled)
    for _ in range(_MOST_CONJUGATE):
        if size <= _CONJUGATE_END * start or size == 0:
            break
        product = hessian(direction)
        length = size / dot(direction, product)
        step += length * direction
        rest -= length * product
        scaled = rest / diagonal
        size, before = dot(rest, scaled), size
        direction = scaled + (size / before) * direction
    return step

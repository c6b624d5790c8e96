"""The exact minimum of the penalised partial likelihood at one lambda, by active sets."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ConvergenceError
from pipeline.model.arrays import Float, Int
from pipeline.model.survival.deviance import (
    Risk,
    RiskSets,
    information,
    martingale_residuals,
    relative_risk,
)

#: Newton steps and changes of the active set allowed at one lambda.
_MOST_STEPS = 2_000

#: Share of the largest diagonal added to the information, so that collinear columns solve.
_JITTER = 1e-13

#: Halvings of a Newton step before giving up.
_MOST_HALVINGS = 60

#: The active coefficients are settled to this share of the tolerance before another enters.
_SETTLED = 0.1

#: Steps in a row that promise less than the rounding error before they are given up.
_MOST_IDLE = 4

#: Rounding error of the objective, as a share of itself and of the largest linear predictor.
_ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class Problem:
    """Data of one penalised fit.

    Attributes
    ----------
    matrix : (n, p) float array
        Features, rows by position in `sets.order`.
    sets : RiskSets
        Risk sets of the outcome.
    l1_ratio : float
        Share of the absolute penalty; the rest is the squared penalty.
    tolerance : float
        Largest allowed violation of the optimality conditions, in units of the gradient.
    """

    matrix: Float
    sets: RiskSets
    l1_ratio: float
    tolerance: float

    def predictor(self, coefficients: Float) -> Float:
        """Return the linear predictor (n,), rows by position in `sets.order`."""
        support = np.flatnonzero(coefficients)
        return np.asarray(self.matrix[:, support] @ coefficients[support])


def minimise(problem: Problem, penalty: float, start: Float) -> Float:
    """Return the coefficients that minimise the penalised partial likelihood.

    Minimised is - l(beta) / n + lambda (a |beta|_1 + (1 - a) |beta|_2^2 / 2), the scale of
    glmnet, with Breslow's ties.

    Parameters
    ----------
    problem : Problem
        Features, risk sets, l1_ratio a and tolerance.
    penalty : float
        lambda.
    start : (p,) float array
        Where to begin; the nearer, the fewer steps. Zeros are inactive.

    Returns
    -------
    (p,) float array
        Coefficients; inactive ones are exactly 0.

    Raises
    ------
    ConvergenceError
        If the optimality conditions are not met after 2,000 steps, or no step helps.

    Notes
    -----
    Coordinate descent needs millions of passes when features are nearly collinear, as radiomic
    features are. Here the active coefficients take Newton steps within the orthant of their
    signs; a coefficient that would change sign stops at 0 and leaves, and the inactive feature
    that violates its condition |gradient| <= lambda a most enters. The objective falls at every
    step, so no active set comes back, and near the end the convergence is quadratic.
    """
    here = _evaluate(problem, penalty, start)
    active = np.flatnonzero(start)
    signs = np.sign(start)
    idle = 0
    for _ in range(_MOST_STEPS):
        slope = _gradient(problem, penalty, here)
        pull = slope[active] + penalty * problem.l1_ratio * signs[active]
        largest = float(np.abs(pull).max(initial=0.0))
        if largest <= _SETTLED * problem.tolerance or idle == _MOST_IDLE:
            # what rounding keeps the active ones from is not asked of the others
            entering = _most_violating(problem, slope, active, penalty, 10 * largest)
            if entering is None:
                return here.coefficients
            signs[entering] = -np.sign(slope[entering])
            active, idle = np.append(active, entering), 0
            continue
        curvature = information(problem.matrix[:, active], here.risk, problem.sets)
        direction = _newton(problem, curvature / problem.sets.size, pull, penalty)
        gain = -float(pull @ direction)
        idle = idle + 1 if gain <= here.noise else 0
        here = _walk(problem, penalty, here, _Move(active, signs[active], direction, gain))
        active = active[here.coefficients[active] != 0]
    raise _unsolved(penalty)


def _unsolved(penalty: float) -> ConvergenceError:
    return ConvergenceError(
        f"the penalised Cox model at lambda {penalty:.3g} is not solved: raise the smallest"
        " lambda (lambda_min_ratio) or remove duplicated features"
    )


@dataclass(frozen=True, eq=False)
class _Point:
    """Coefficients, what the risk sets sum to there, the objective and its rounding error."""

    coefficients: Float
    risk: Risk
    objective: float
    noise: float


@dataclass(frozen=True, eq=False)
class _Move:
    """A Newton direction of the active coefficients, their signs and the gain it promises."""

    active: Int
    signs: Float
    direction: Float
    gain: float


def _evaluate(problem: Problem, penalty: float, coefficients: Float) -> _Point:
    predictor = problem.predictor(coefficients)
    risk = relative_risk(predictor, problem.sets)
    fit = -float(risk.log_likelihood) / problem.sets.size
    size = problem.l1_ratio * float(np.abs(coefficients).sum())
    size += (1 - problem.l1_ratio) / 2 * float(coefficients @ coefficients)
    objective = fit + penalty * size
    noise = _ROUNDING * (abs(objective) + float(np.abs(predictor).max()))
    return _Point(coefficients, risk, objective, noise)


def _gradient(problem: Problem, penalty: float, here: _Point) -> Float:
    """Return the gradient (p,) of the smooth part."""
    slope = -(martingale_residuals(here.risk, problem.sets) @ problem.matrix) / problem.sets.size
    return np.asarray(slope + penalty * (1 - problem.l1_ratio) * here.coefficients)


def _most_violating(
    problem: Problem, slope: Float, active: Int, penalty: float, floor: float
) -> int | None:
    excess = np.abs(slope) - penalty * problem.l1_ratio
    excess[active] = -np.inf
    worst = int(np.argmax(excess))
    return worst if excess[worst] > max(problem.tolerance, floor) else None


def _newton(problem: Problem, curvature: Float, pull: Float, penalty: float) -> Float:
    ridge = penalty * (1 - problem.l1_ratio) + _JITTER * float(curvature.diagonal().max())
    curvature.flat[:: curvature.shape[0] + 1] += ridge
    return np.asarray(np.linalg.solve(curvature, -pull))


def _walk(problem: Problem, penalty: float, here: _Point, move: _Move) -> _Point:
    """Return the point after one step, as long as no active coefficient changes its sign."""
    values = here.coefficients[move.active]
    against = move.direction * move.signs < 0
    room = np.full(values.size, np.inf)
    room[against] = -values[against] / move.direction[against]
    length = min(1.0, float(room.min()))
    for _ in range(_MOST_HALVINGS):
        moved = here.coefficients.copy()
        moved[move.active] = np.where(room <= length, 0.0, values + length * move.direction)
        there = _evaluate(problem, penalty, moved)
        if there.objective <= here.objective - 1e-4 * length * move.gain + here.noise:
            return there
        length /= 2
    raise _unsolved(penalty)

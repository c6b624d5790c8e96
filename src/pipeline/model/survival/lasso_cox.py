"""LASSO-Cox and elastic-net-Cox: the path over lambda, on glmnet's scale and with its rules."""

import logging
import warnings
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.survival.active_set import Problem, minimise
from pipeline.model.survival.deviance import (
    martingale_residuals,
    relative_risk,
    risk_sets,
    saturated,
)
from pipeline.model.survival.outcome import Outcome

logger = logging.getLogger(__name__)

#: glmnet ends a Cox path when the explained deviance exceeds this (its devmax 0.999, lowered) ...
_MOST_EXPLAINED = 0.99

#: ... or when it grew by less than this share (its fdev 1e-5, times 100 for Cox models) over the
#: last `_LAST_STEPS` lambdas (its mnlam).
_LEAST_GAIN = 1e-3
_LAST_STEPS = 5

#: Lambdas on the way down to a single one.
_LEAD = 5

#: Coordinate descent is quick down to this share of the largest lambda; below, with many nearly
#: collinear features in the model, it crawls.
_QUICK = 0.02

#: Tolerance of the coordinate descent that gives the starting values; glmnet's default.
_START_TOLERANCE = 1e-7

#: Passes of the coordinate descent over a whole path.
_MOST_PASSES = 100_000


@dataclass(frozen=True)
class PathOptions:
    """How a path is made.

    Attributes
    ----------
    l1_ratio : float
        glmnet's alpha: 1 is the LASSO, between 0 and 1 the elastic net.
    n_lambdas : int
        Lambdas from the largest down, evenly spaced in the logarithm.
    lambda_min_ratio : float, optional
        Smallest over largest lambda; by default 0.01 with fewer rows than features, else 1e-4.
    lambdas : tuple of float
        These lambdas instead, and no early end.
    tolerance : float
        Largest violation of the optimality conditions, as a share of the largest lambda.
    """

    l1_ratio: float = 1.0
    n_lambdas: int = 100
    lambda_min_ratio: float | None = None
    lambdas: tuple[float, ...] = ()
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if not 0 < self.l1_ratio <= 1:
            raise ModelError(f"l1_ratio {self.l1_ratio:g} must be above 0 and at most 1 (LASSO)")
        if self.n_lambdas < 2 and not self.lambdas:
            raise ModelError(f"{self.n_lambdas} lambdas make no path; give 2 or more")
        if self.lambda_min_ratio is not None and not 0 < self.lambda_min_ratio < 1:
            raise ModelError(f"lambda_min_ratio {self.lambda_min_ratio:g} must lie between 0 and 1")
        if any(not 0 < value < np.inf for value in self.lambdas):
            raise ModelError("every lambda must be above 0 and finite")


@dataclass(frozen=True, eq=False)
class LassoPath:
    """Penalised Cox models along falling lambdas.

    Attributes
    ----------
    lambdas : (m,) float array
        Penalties, falling; on the scale of glmnet.
    coefficients : (m, p) float array
        Per unit of the given columns; exactly 0 where not selected.
    deviance_ratio : (m,) float array
        Share of the null partial deviance that is explained (glmnet's dev.ratio).
    options : PathOptions
        How the path was made.
    """

    lambdas: Float
    coefficients: Float
    deviance_ratio: Float
    options: PathOptions = field(default_factory=PathOptions)

    @property
    def n_selected(self) -> Int:
        """Return the number of coefficients that are not 0, at each lambda."""
        return np.asarray(np.count_nonzero(self.coefficients, axis=1), dtype=np.int64)

    def at(self, lambdas: npt.ArrayLike) -> Float:
        """Return coefficients (k, p) at other lambdas, linear in lambda between the steps.

        Outside the path the nearest end is returned; so does glmnet's `predict(s = ...)`.
        """
        wanted = np.asarray(lambdas, dtype=np.float64)
        last = self.lambdas.size - 1
        place = np.interp(-wanted, -self.lambdas, np.arange(last + 1))
        left = np.minimum(place.astype(np.int64), max(last - 1, 0))
        right = np.minimum(left + 1, last)
        share = (place - left)[:, None]
        return np.asarray((1 - share) * self.coefficients[left] + share * self.coefficients[right])


def lasso_path(values: Float, outcome: Outcome, options: PathOptions | None = None) -> LassoPath:
    """Return the path of penalised Cox models.

    Minimised at each lambda is - l(beta) / n + lambda (a |beta|_1 + (1 - a) |beta|_2^2 / 2), with
    l the log partial likelihood (Breslow's ties), n the rows and a the l1_ratio. glmnet and the
    card write the same as (2/n) l - lambda P up to the factor 2, which glmnet leaves out.

    Parameters
    ----------
    values : (n, p) float array
        z-scores: the penalty treats all columns alike and nothing is scaled here (glmnet's
        standardize = FALSE). No missing values.
    outcome : Outcome
        Of the same rows.
    options : PathOptions, optional
        Mixing, lambdas and tolerance.

    Returns
    -------
    LassoPath
        By default 100 lambdas, the first being the smallest that keeps every coefficient at 0.
        The path ends early by glmnet's rule for Cox models: 99 % of the deviance explained, or
        a gain below 0.1 % of it over five lambdas.

    Raises
    ------
    ModelError
        Values that are missing or of the wrong shape, or no column with any information.
    ConvergenceError
        A lambda at which no solution is found.

    Notes
    -----
    scikit-survival's coordinate descent (Simon, Friedman, Hastie, Tibshirani, J Stat Softw 39(5),
    2011) gives the support and the starting values at glmnet's default precision. Nearly
    collinear features, such as radiomic ones, need millions of passes for more; so the solution
    is then completed by Newton steps on the active set (`active_set.minimise`), which meets the
    optimality conditions to `tolerance` at every lambda.
    """
    options = options or PathOptions()
    _check_values(values, outcome)
    sequence = lambda_sequence(values, outcome, options)
    quick = sequence[sequence >= _QUICK * sequence[0]]
    start = _coordinate_descent(values, outcome, quick, options)
    return _complete(values, outcome, sequence, start, options)


def lasso_at(
    values: Float, outcome: Outcome, penalty: float, options: PathOptions | None = None
) -> Float:
    """Return the coefficients (p,) at one lambda; arguments as for `lasso_path`.

    A few lambdas lead down to the wanted one, each starting from the last.
    """
    options = options or PathOptions()
    _check_values(values, outcome)
    highest = lambda_max(values, outcome, options.l1_ratio)
    beta = np.zeros(values.shape[1])
    if penalty >= highest:
        return beta
    problem = _problem(values, outcome, options, highest)
    for step in np.geomspace(highest, penalty, _LEAD + 1)[1:].tolist():
        beta = minimise(problem, step, beta)
    return beta


def lambda_max(values: Float, outcome: Outcome, l1_ratio: float = 1.0) -> float:
    """Return the smallest lambda at which every coefficient is 0: max |score at 0| / n / l1_ratio.

    Parameters
    ----------
    values : (n, p) float array
        Columns as in `lasso_path`.
    outcome : Outcome
        Of the same rows.
    l1_ratio : float
        Below 0.001 it counts as 0.001, as in glmnet.
    """
    sets = risk_sets(outcome)
    residual = martingale_residuals(relative_risk(np.zeros(len(outcome)), sets), sets)
    centred = values - values.mean(axis=0)
    score = residual @ centred[sets.order] / sets.size
    return float(np.abs(score).max()) / max(l1_ratio, 1e-3)


def lambda_sequence(values: Float, outcome: Outcome, options: PathOptions) -> Float:
    """Return glmnet's lambdas: from lambda_max down, evenly spaced in the logarithm."""
    if options.lambdas:
        return np.sort(np.asarray(options.lambdas, dtype=np.float64))[::-1]
    highest = lambda_max(values, outcome, options.l1_ratio)
    if highest <= 0:
        raise ModelError(
            f"none of {values.shape[1]} features varies among the rows at risk; a LASSO path"
            " needs features that vary: check the feature table and the filter"
        )
    ratio = options.lambda_min_ratio
    if ratio is None:
        ratio = 1e-2 if values.shape[0] < values.shape[1] else 1e-4
    # glmnet takes 1 / (m - 1) in single precision; so do we, to agree in every digit
    share = float(np.float32(1.0) / np.float32(options.n_lambdas - 1))
    return np.asarray(highest * ratio ** (share * np.arange(options.n_lambdas)))


def _check_values(values: Float, outcome: Outcome) -> None:
    if values.ndim != 2 or values.shape[0] != len(outcome) or not values.shape[1]:
        raise ModelError(
            f"features of shape {values.shape} do not fit {len(outcome)} outcomes; give one row"
            " per outcome and at least one column"
        )
    if not outcome.event.any():
        raise ModelError(f"none of {len(outcome)} rows has an event; a Cox model needs events")
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        row, column = wrong[0].tolist()
        raise ModelError(
            f"{len(wrong)} feature values are missing or infinite, the first in row {row + 1},"
            f" column {column + 1}; standardise with the development scaler, which imputes"
        )


def _coordinate_descent(
    values: Float, outcome: Outcome, sequence: Float, options: PathOptions
) -> Float:
    """Return coxnet's coefficients (up to m, p); fewer rows when it ended early, or failed."""
    from sklearn.exceptions import ConvergenceWarning
    from sksurv.linear_model import CoxnetSurvivalAnalysis

    target = np.empty(len(outcome), dtype=[("event", bool), ("months", float)])
    target["event"], target["months"] = outcome.event, outcome.months
    model = CoxnetSurvivalAnalysis(
        alphas=sequence,
        l1_ratio=options.l1_ratio,
        tol=_START_TOLERANCE,
        max_iter=_MOST_PASSES,
        normalize=False,
    )
    with warnings.catch_warnings():
        # a path of zeros alone is a result; slow convergence is mended by the Newton steps
        warnings.filterwarnings("ignore", "all coefficients are zero")
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model.fit(values, target)
        except (ValueError, AssertionError) as error:
            # exp(eta) overflows without its step control: the Newton steps do the whole path
            logger.info("coxnet stopped (%s); Newton steps do the path alone", error)
            return np.zeros((0, values.shape[1]))
    return np.asarray(model.coef_.T)


def _problem(values: Float, outcome: Outcome, options: PathOptions, highest: float) -> Problem:
    sets = risk_sets(outcome)
    centred = np.asfortranarray((values - values.mean(axis=0))[sets.order])
    return Problem(centred, sets, options.l1_ratio, options.tolerance * highest)


def _complete(
    values: Float, outcome: Outcome, sequence: Float, start: Float, options: PathOptions
) -> LassoPath:
    """Solve each lambda from coxnet's coefficients, or from the last ones where there are none."""
    highest = lambda_max(values, outcome, options.l1_ratio)
    problem = _problem(values, outcome, options, highest)
    full = saturated(problem.sets)
    null = full - float(relative_risk(np.zeros(len(outcome)), problem.sets).log_likelihood)
    coefficients, ratios, beta = [], [], np.zeros(values.shape[1])
    for step, penalty in enumerate(sequence.tolist()):
        if penalty < highest * (1 - 1e-12):
            beta = minimise(problem, penalty, start[step] if step < len(start) else beta)
        coefficients.append(beta)
        fit = full - float(relative_risk(problem.predictor(beta), problem.sets).log_likelihood)
        ratios.append(1.0 - fit / null if null > 0 else 0.0)
        if not options.lambdas and _ends(ratios, options.n_lambdas):
            logger.info(
                "the path ends at step %d of %d: the explained deviance has levelled off at %.3g",
                step + 1, sequence.size, ratios[-1],
            )  # fmt: skip
            break
    return LassoPath(sequence[: len(ratios)], np.asarray(coefficients), np.asarray(ratios), options)


def _ends(ratios: list[float], n_lambdas: int) -> bool:
    """Tell whether glmnet would end the path here (its fdev and devmax)."""
    window = min(_LAST_STEPS, n_lambdas)
    if len(ratios) < window:
        return False
    gain = ratios[-1] - ratios[-window]
    return gain < _LEAST_GAIN * ratios[-1] or ratios[-1] > _MOST_EXPLAINED

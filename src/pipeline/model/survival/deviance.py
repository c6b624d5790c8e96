"""Cox partial likelihood with Breslow's ties: deviance, score and information."""

from dataclasses import dataclass

import numpy as np

from pipeline.model.arrays import Float, Int
from pipeline.model.survival.outcome import Outcome

#: Linear predictors further than this below the highest one count as this far.
_LOWEST = -600.0


@dataclass(frozen=True, eq=False)
class RiskSets:
    """What the partial likelihood needs of the times, worked out once.

    Attributes
    ----------
    order : (n,) int array
        Rows by ascending time.
    first : (k,) int array
        For each of the k distinct event times, the first position in `order` still at risk. A
        row censored at an event time is at risk at that time.
    deaths : (k,) float array
        Events at each distinct event time.
    passed : (n,) int array
        For each position in `order`, the event times up to and including its own time.
    event : (n,) float array
        1 at an event, 0 at a censored row, by position in `order`.
    """

    order: Int
    first: Int
    deaths: Float
    passed: Int
    event: Float

    @property
    def size(self) -> int:
        """Return the number of rows."""
        return int(self.order.size)


def risk_sets(outcome: Outcome) -> RiskSets:
    """Return the risk sets of an outcome."""
    order = np.argsort(outcome.months, kind="stable")
    months, event = outcome.months[order], outcome.event[order]
    times, deaths = np.unique(months[event], return_counts=True)
    return RiskSets(
        order=order,
        first=np.searchsorted(months, times, side="left"),
        deaths=deaths.astype(np.float64),
        passed=np.searchsorted(times, months, side="right"),
        event=event.astype(np.float64),
    )


@dataclass(frozen=True, eq=False)
class Risk:
    """Relative risks of one linear predictor, or of m side by side.

    Attributes
    ----------
    relative : (n,) or (n, m) float array
        exp(eta - max eta), by position in `RiskSets.order`.
    at_risk : (k,) or (k, m) float array
        Sum of `relative` over the rows at risk at each event time.
    log_likelihood : () or (m,) float array
        Log partial likelihood with Breslow's ties: sum over events of eta_i - sum over event
        times of d_k log sum_{j at risk} exp(eta_j).
    """

    relative: Float
    at_risk: Float
    log_likelihood: Float


def relative_risk(predictor: Float, sets: RiskSets) -> Risk:
    """Return the risks of linear predictors (n,) or (n, m), by position in `sets.order`."""
    below = predictor - predictor.max(axis=0)
    relative = np.exp(np.maximum(below, _LOWEST))
    at_risk = _from_the_end(relative)[sets.first]
    return Risk(relative, at_risk, sets.event @ below - sets.deaths @ np.log(at_risk))


def partial_deviance(predictor: Float, outcome: Outcome) -> Float:
    """Return the partial-likelihood deviance of linear predictors.

    Parameters
    ----------
    predictor : (n,) or (n, m) float array
        One linear predictor, or m of them side by side.
    outcome : Outcome
        Of the same n rows.

    Returns
    -------
    () or (m,) float array
        2 (l_saturated - l), where l is the log partial likelihood with Breslow's ties and
        l_saturated = - sum over event times of d_k log d_k.

    Notes
    -----
    This is `glmnet::coxnet.deviance` with unit weights (Simon, Friedman, Hastie, Tibshirani,
    J Stat Softw 39(5), 2011). Rows censored at an event time are at risk at that time.
    """
    sets = risk_sets(outcome)
    return np.asarray(
        2.0 * (saturated(sets) - relative_risk(predictor[sets.order], sets).log_likelihood)
    )


def saturated(sets: RiskSets) -> float:
    """Return the log partial likelihood of the saturated model, - sum d_k log d_k."""
    return -float(sets.deaths @ np.log(sets.deaths))


def martingale_residuals(risk: Risk, sets: RiskSets) -> Float:
    """Return d l / d eta (n,): event minus exp(eta) times the cumulative Breslow hazard."""
    return np.asarray(sets.event - risk.relative * _hazard(risk.at_risk, sets))


def information(columns: Float, risk: Risk, sets: RiskSets) -> Float:
    """Return the observed information - d2 l / d beta d beta' of some columns.

    Parameters
    ----------
    columns : (n, a) float array
        Columns of the matrix, rows by position in `sets.order`.
    risk : Risk
        Of one linear predictor.
    sets : RiskSets
        Risk sets of the outcome.

    Returns
    -------
    (a, a) float array
        sum over event times of d_k times the weighted covariance of the rows at risk.
    """
    weighted = risk.relative[:, None] * columns
    means = _from_the_end(weighted)[sets.first] / risk.at_risk[:, None]
    second = weighted.T @ (_hazard(risk.at_risk, sets)[:, None] * columns)
    return np.asarray(second - means.T @ (sets.deaths[:, None] * means))


def _hazard(at_risk: Float, sets: RiskSets) -> Float:
    """Return the cumulative hazard at each position, in units of exp(-max eta)."""
    steps = np.concatenate([[0.0], np.cumsum(sets.deaths / at_risk)])
    return np.asarray(steps[sets.passed])


def _from_the_end(values: Float) -> Float:
    """Return sums from each row to the last."""
    return np.asarray(np.cumsum(values[::-1], axis=0)[::-1])

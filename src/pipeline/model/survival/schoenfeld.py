"""Are the hazards proportional? Score test and scaled Schoenfeld residuals of a Cox model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import chi2, rankdata

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.survival.cox import CoxFit, RiskSets, evaluate, risk_sets, sorted_rows
from pipeline.model.survival.kaplan_meier import kaplan_meier
from pipeline.model.survival.outcome import Outcome

Transform = Literal["km", "rank", "identity", "log"]

#: An information matrix of unit diagonal with a larger condition number counts as singular.
_LARGEST_CONDITION = 1e12


@dataclass(frozen=True, eq=False)
class ProportionalHazards:
    """Result of `proportional_hazards`.

    Attributes
    ----------
    table : DataFrame
        term, chi2, df, p: a row per term, GLOBAL last. A small p speaks against proportional
        hazards.
    months : (m,) float array
        Time of each event, ascending.
    transformed : (m,) float array
        g(t) of each event, the horizontal axis of the plot.
    names : tuple of k str
        Columns of the residuals.
    residuals : (m, k) float array
        Scaled Schoenfeld residuals plus the coefficient: their trend over time is an estimate
        of beta(t), in log hazard per unit of the column.
    transform : str
        Name of g.
    """

    table: pd.DataFrame
    months: Float
    transformed: Float
    names: tuple[str, ...]
    residuals: Float
    transform: Transform


def proportional_hazards(
    fit: CoxFit,
    matrix: Float,
    outcome: Outcome,
    *,
    terms: Mapping[str, Sequence[str]] | None = None,
    transform: Transform = "km",
) -> ProportionalHazards:
    """Test whether the coefficients of a Cox model change with time.

    Parameters
    ----------
    fit : CoxFit
        Fitted to these very rows.
    matrix : (n, k) float array
        Its covariates.
    outcome : Outcome
        Its times in months and events.
    terms : mapping of name to columns, optional
        Columns tested together, such as the levels of a factor; each column alone otherwise.
    transform : "km", "rank", "identity" or "log"
        The g(t) of the alternative beta(t) = beta + theta g(t): 1 minus the Kaplan-Meier curve
        just before t (R's default), the rank of t, t itself, or its logarithm.

    Raises
    ------
    ModelError
        Rows that are not those of the fit, or terms that name a column it does not have.

    Notes
    -----
    The exact score test of theta = 0 that R's survival 3 does in ``cox.zph``: g is centred at
    the events; with risk-set variances V_j of the covariates, the score of theta is
    U = sum g_j (x_j - mean_j), and the information of (beta, theta) has the blocks sum V_j,
    sum g_j V_j, sum g_j^2 V_j. The statistic of a term is U' I^-1 U with its own theta alone.
    Ties enter as in the fit. The scaled residuals are m I_bb^-1 (x_j - mean_j) + beta.

    References
    ----------
    Grambsch and Therneau, Biometrika 81 (1994) 515.
    """
    _check_rows(fit, matrix, outcome)
    columns = _columns(fit, terms)
    order = sorted_rows(np.asarray(matrix, dtype=np.float64), outcome)
    values = np.asarray(matrix, dtype=np.float64)[order] - fit.centre
    known = outcome.take(order)
    sets = risk_sets(known, fit.ties)
    clock = transformed_times(known, transform)[sets.rows]
    centred = clock - clock.mean()
    plain = evaluate(sets, values, fit.coefficients)
    once = evaluate(sets, values, fit.coefficients, centred)
    twice = evaluate(sets, values, fit.coefficients, centred**2)
    information = np.block(
        [[plain.information, once.information], [once.information, twice.information]]
    )
    raw = values[sets.rows] - _mean_of_ties(plain.means, sets)
    return ProportionalHazards(
        table=_tests(once.score, information, columns),
        months=known.months[sets.rows],
        transformed=clock,
        names=fit.names,
        residuals=sets.rows.size * np.linalg.solve(plain.information, raw.T).T + fit.coefficients,
        transform=transform,
    )


def transformed_times(outcome: Outcome, transform: Transform) -> Float:
    """Return g(t) of every subject's time, (n,)."""
    if transform == "identity":
        return outcome.months
    if transform == "log":
        return np.asarray(np.log(outcome.months))
    if transform == "rank":
        return np.asarray(rankdata(outcome.months))
    curve = kaplan_meier(outcome)
    before = np.searchsorted(curve.months, outcome.months, side="left") - 1
    return np.asarray(1 - curve.survival[before])


def _check_rows(fit: CoxFit, matrix: Float, outcome: Outcome) -> None:
    shape, events = np.shape(matrix), int(outcome.event.sum())
    if shape != (fit.n, len(fit.names)) or len(outcome) != fit.n or events != fit.events:
        raise ModelError(
            f"the Cox model was fitted to {fit.n} rows with {fit.events} events and"
            f" {len(fit.names)} columns; these are {len(outcome)} rows with {events} events and"
            f" a matrix of shape {shape}: give the fitted rows"
        )


def _columns(fit: CoxFit, terms: Mapping[str, Sequence[str]] | None) -> dict[str, Int]:
    if terms is None:
        return {name: np.array([at]) for at, name in enumerate(fit.names)}
    unknown = [name for names in terms.values() for name in names if name not in fit.names]
    if unknown:
        raise ModelError(
            f"column {unknown[0]} is none of the Cox model's ({', '.join(fit.names)}); name the"
            " columns of each term as the model does"
        )
    return {
        term: np.array([fit.names.index(name) for name in names]) for term, names in terms.items()
    }


def _mean_of_ties(means: Float, sets: RiskSets) -> Float:
    """Return the mean covariates (m, k), the same for events at the same time."""
    sums = np.add.reduceat(means, sets.first, axis=0)
    return np.asarray((sums / sets.deaths[:, np.newaxis])[sets.group])


def _tests(score: Float, information: Float, columns: Mapping[str, Int]) -> pd.DataFrame:
    width = score.size
    rows = []
    for term, own in [*columns.items(), ("GLOBAL", np.arange(width))]:
        kept = np.r_[np.arange(width), own + width]
        gradient = np.r_[np.zeros(width), score[own]]
        block = information[np.ix_(kept, kept)]
        statistic = _quadratic(block, gradient, term)
        p = float(chi2.sf(statistic, own.size))
        rows.append({"term": term, "chi2": statistic, "df": int(own.size), "p": p})
    return pd.DataFrame(rows)


def _quadratic(information: Float, gradient: Float, term: str) -> float:
    """Return g' I^-1 g, with a unit diagonal so that columns of any scale can be solved."""
    scale = np.sqrt(np.maximum(np.diag(information), 0.0))
    if scale.all():
        standard = information / np.outer(scale, scale)
        if np.linalg.cond(standard) < _LARGEST_CONDITION:
            return float(gradient / scale @ np.linalg.solve(standard, gradient / scale))
    raise ModelError(
        f"term {term}: too few events at different times to test whether its effect changes with"
        " time; leave the test out"
    )

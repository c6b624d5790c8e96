"""The nomogram's model of a fitted Cox or logistic model, with the variance of its predictions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, as_floats
from pipeline.model.logistic import LogisticFit
from pipeline.model.nomogram.model import NomogramModel, Uncertainty
from pipeline.model.survival.cox import CoxFit
from pipeline.model.survival.outcome import Outcome
from pipeline.model.terms import Term


def nomogram_model_of_cox(
    fit: CoxFit,
    terms: Sequence[Term],
    horizons: Sequence[float],
    *,
    matrix: npt.ArrayLike | None = None,
    outcome: Outcome | None = None,
    title: str = "survival",
) -> NomogramModel:
    """Return what a nomogram needs of a Cox model.

    Parameters
    ----------
    fit : CoxFit
        The model, whose columns are those of `terms`.
    terms : sequence of Term
        Its variables.
    horizons : sequence of float
        Months at which survival is read.
    matrix : (n, k) float array, optional
        Development rows: their linear predictors set the ends of the axes, as in rms.
    outcome : Outcome, optional
        Their times and events; with `matrix` they give the interval of each prediction.
    title : str
        What the probability is of ("disease-free survival").
    """
    _check_names(fit.names, terms)
    months = [float(h) for h in horizons]
    if outcome is not None and months and max(months) > outcome.months.max():
        raise ModelError(
            f"horizon {max(months):g} months: the longest follow-up is"
            f" {outcome.months.max():g} months; choose an earlier horizon"
        )
    uncertainty = {}
    if matrix is not None and outcome is not None:
        rows = np.asarray(matrix, dtype=np.float64)
        uncertainty = {h: _cox_uncertainty(fit, rows, outcome, h) for h in months}
    low, high = _range_of(None if matrix is None else fit.linear_predictor(np.asarray(matrix)))
    at_centre = fit.centre[np.newaxis, :]
    return NomogramModel(
        kind="cox",
        terms=tuple(terms),
        coefficients=as_floats(fit.coefficients),
        intercept=-float(fit.centre @ fit.coefficients),
        baseline={h: float(fit.survival(at_centre, np.array([h]))[0, 0]) for h in months},
        outcome=title,
        lp_low=low,
        lp_high=high,
        uncertainty=uncertainty,
        n=fit.n,
        events=fit.events,
    )


def nomogram_model_of_logistic(
    fit: LogisticFit,
    terms: Sequence[Term],
    *,
    matrix: npt.ArrayLike | None = None,
    title: str = "response",
) -> NomogramModel:
    """Return what a nomogram needs of a logistic model.

    Parameters
    ----------
    fit : LogisticFit
        The model, whose columns are those of `terms`.
    terms : sequence of Term
        Its variables.
    matrix : (n, k) float array, optional
        Development rows: their linear predictors set the ends of the axes, as in rms.
    title : str
        What the probability is of.
    """
    _check_names(fit.names, terms)
    low, high = _range_of(None if matrix is None else fit.linear_predictor(matrix))
    inner, cross = fit.covariance[1:, 1:], fit.covariance[1:, 0]
    # complete the square in (1, x) V (1, x)
    centre = -np.linalg.solve(inner, cross)
    return NomogramModel(
        kind="logistic",
        terms=tuple(terms),
        coefficients=as_floats(fit.coefficients),
        intercept=fit.intercept,
        outcome=title,
        lp_low=low,
        lp_high=high,
        uncertainty={
            0.0: Uncertainty(
                float(fit.covariance[0, 0] + cross @ centre),
                as_floats(centre),
                tuple(as_floats(row) for row in inner),
            )
        },
        n=fit.n,
        events=fit.events,
    )


def _cox_uncertainty(fit: CoxFit, matrix: Float, outcome: Outcome, horizon: float) -> Uncertainty:
    """Return the variance of the log cumulative hazard at a horizon.

    With D the risk sum at each event (reduced for ties as Efron's likelihood is), the variance
    of log H(t | x) is ``sum D^-2 / H^2 + (x - m) V (x - m)``, m the mean of the risk sets
    weighted by the steps 1 / D of the hazard H (Tsiatis, Ann. Stat. 9 (1981) 93, as in
    Therneau and Grambsch, Modeling Survival Data (2000), section 10.2.3).
    """
    away = matrix - fit.centre
    weight = np.exp(away @ fit.coefficients)
    hazard, spread, mean = 0.0, 0.0, np.zeros(away.shape[1])
    times = np.unique(outcome.months[outcome.event & (outcome.months <= horizon)])
    for time in times:
        risk = outcome.months >= time
        now = outcome.event & (outcome.months == time)
        sums = weight[risk] @ np.column_stack([np.ones(risk.sum()), away[risk]])
        tied = weight[now] @ np.column_stack([np.ones(now.sum()), away[now]])
        deaths = int(now.sum())
        share = np.arange(deaths) / deaths if fit.ties == "efron" else np.zeros(deaths)
        left = sums - share[:, np.newaxis] * tied
        step = 1 / left[:, 0]
        hazard += float(step.sum())
        spread += float((step**2).sum())
        mean += (left[:, 1:] * step[:, np.newaxis] ** 2).sum(axis=0)
    if not hazard > 0:
        raise ModelError(f"horizon {horizon:g} months: no event by then; choose a later one")
    return Uncertainty(
        spread / hazard**2,
        as_floats(fit.centre + mean / hazard),
        tuple(as_floats(row) for row in fit.covariance),
    )


def _check_names(names: Sequence[str], terms: Sequence[Term]) -> None:
    wanted = tuple(name for term in terms for name in term.columns)
    if tuple(names) != wanted:
        raise ModelError(
            f"the model has columns {', '.join(names)} but the terms have {', '.join(wanted)};"
            " give the terms that the model was fitted with"
        )


def _range_of(lp: Float | None) -> tuple[float, float]:
    return (float("nan"), float("nan")) if lp is None else (float(lp.min()), float(lp.max()))

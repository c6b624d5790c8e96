"""Odds ratios of the logistic model of a binary study."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from pipeline.model.arrays import Float
from pipeline.model.binary.models import FrozenLogistic
from pipeline.model.terms import Term

_Z95 = float(norm.ppf(0.975))


def logistic_table(model: FrozenLogistic, frame: pd.DataFrame) -> pd.DataFrame:
    """Return odds ratios with Wald intervals and a joint test per variable.

    Parameters
    ----------
    model : FrozenLogistic
        The model of all covariates.
    frame : DataFrame
        The rows that it was fitted on, for the quartiles.

    Returns
    -------
    DataFrame
        variable, level, coefficient, se, odds_ratio, low95, high95, z, p, chi2, df, p_variable.
        A category has a row per level against the reference level (which has a row of its own,
        without an interval). A number has a row "per unit" when it is linear, and one for its
        upper against its lower quartile, which a spline needs and which makes numbers of
        different units comparable. ``chi2, df, p_variable`` is Wald's test of all columns of
        the variable.
    """
    rows: list[dict[str, Any]] = []
    start = 1
    for term in model.terms:
        width = len(term.columns)
        columns = slice(start, start + width)
        start += width
        beta = np.r_[model.fit.intercept, model.fit.coefficients][columns]
        covariance = model.fit.covariance[columns, columns]
        statistic = float(beta @ np.linalg.solve(covariance, beta))
        joint = {"chi2": statistic, "df": width, "p_variable": float(chi2.sf(statistic, width))}
        for level, contrast in _contrasts(term, frame):
            found = _odds(contrast, beta, covariance)
            rows.append({"variable": term.name, "level": level} | found | joint)
    return pd.DataFrame(rows)


def _contrasts(term: Term, frame: pd.DataFrame) -> list[tuple[str, Float]]:
    """Return (what is compared, columns of the difference) of a variable."""
    if term.kind == "categorical":
        base = term.matrix([term.levels[0]])
        return [(level, (term.matrix([level]) - base)[0]) for level in term.levels]
    found = [("per unit", np.ones(1))] if term.kind == "continuous" else []
    values = frame[term.name].to_numpy(dtype=np.float64)
    low, high = np.quantile(values, [0.25, 0.75]).tolist()
    ends = term.matrix(np.array([low, high]))
    return [*found, (f"{high:.3g} vs {low:.3g}", ends[1] - ends[0])]


def _odds(contrast: Float, beta: Float, covariance: Float) -> dict[str, float]:
    value = float(contrast @ beta)
    se = float(np.sqrt(contrast @ covariance @ contrast))
    if se == 0:  # the reference level
        missing = dict.fromkeys(("low95", "high95", "z", "p"), float("nan"))
        return {"coefficient": 0.0, "se": float("nan"), "odds_ratio": 1.0} | missing
    return {
        "coefficient": value,
        "se": se,
        "odds_ratio": float(np.exp(value)),
        "low95": float(np.exp(value - _Z95 * se)),
        "high95": float(np.exp(value + _Z95 * se)),
        "z": value / se,
        "p": float(2 * norm.sf(abs(value / se))),
    }

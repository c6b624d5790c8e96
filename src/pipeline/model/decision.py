"""Decision curves: the net benefit of acting on a prediction, over thresholds."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int, as_labels
from pipeline.model.calibration import check_probabilities
from pipeline.model.resampling import percentile_limits, row_counts

#: Columns of a decision curve.
DECISION_COLUMNS = ("model", "threshold", "net_benefit", "low95", "high95", "avoided_per_100")

#: From who is acted upon and counts to true and false positives, as shares of all subjects.
Rates = Callable[[Bool, Float], tuple[Float, Float]]

#: Strategies beside the models: act on everyone, on no one.
ALL, NONE = "all", "none"


def binary_decision_curve(
    probabilities: Mapping[str, npt.ArrayLike],
    labels: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    *,
    rows: Int | None = None,
    level: float = 0.95,
    subjects: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the net benefit of each model, of acting on all, and on none.

    ``NB(p) = TP / n - FP / n * p / (1 - p)``, acting where the probability is at least p.

    Parameters
    ----------
    probabilities : mapping of model name to (n,) array
        Predicted probabilities of class 1.
    labels : (n,) array of 0 and 1
        What happened.
    thresholds : (k,) array
        Between 0 and 1, exclusive, increasing.
    rows : (draws, n) int array, optional
        Resamples (`bootstrap_rows`) for percentile limits, the same for every model.
    level : float
        Confidence level.
    subjects : sequence of n str, optional
        Names for the messages.

    Returns
    -------
    DataFrame
        `DECISION_COLUMNS`: a row per model and threshold, then "all" and "none". The last
        column is the net number of interventions avoided per 100 subjects against acting on
        all, ``100 (NB - NB_all) (1 - p) / p``.

    References
    ----------
    Vickers and Elkin, Medical Decision Making 26 (2006) 565.
    """
    positive = as_labels(labels)

    def rates(above: Bool, counts: Float) -> tuple[Float, Float]:
        size = counts.sum(axis=1)
        return counts @ (above & positive) / size, counts @ (above & ~positive) / size

    return decision_table(probabilities, positive.size, thresholds, rates, rows, level, subjects)


def decision_table(
    probabilities: Mapping[str, npt.ArrayLike],
    n: int,
    thresholds: npt.ArrayLike,
    rates: Rates,
    rows: Int | None,
    level: float,
    subjects: Sequence[str] | None,
) -> pd.DataFrame:
    """Return a decision curve from a function that knows the true and the false positives.

    Parameters
    ----------
    rates : callable
        From who is acted upon (n,) and the counts of the resamples (d, n) to the shares of all
        subjects that are true and false positives, (d,) each; NaN where undefined.
    probabilities, n, thresholds, rows, level, subjects
        As for `binary_decision_curve`; `n` subjects.
    """
    levels = _check_thresholds(thresholds)
    odds = levels / (1 - levels)
    acted = _acted_upon(probabilities, n, levels, subjects)
    ones = row_counts(None, n)
    # subject by subject in memory, as the strategies pick subjects
    drawn = None if rows is None else np.asfortranarray(row_counts(rows, n))
    at_all = _benefits(acted[ALL], odds, rates, ones)[0]
    parts = []
    for name, above in acted.items():
        value = _benefits(above, odds, rates, ones)[0]
        limits = np.full((2, odds.size), np.nan)
        if drawn is not None:
            samples = _benefits(above, odds, rates, drawn)
            limits = np.array([percentile_limits(s, level)[:2] for s in samples.T]).T
        columns = [levels, value, *limits, 100 * (value - at_all) / odds]
        part = pd.DataFrame(dict(zip(DECISION_COLUMNS[1:], columns, strict=True)))
        part.insert(0, DECISION_COLUMNS[0], name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _benefits(above: Bool, odds: Float, rates: Rates, counts: Float) -> Float:
    # (d, k); neighbouring thresholds often act on the same subjects, whose rates are kept
    found = np.empty((len(counts), odds.size))
    true, false = rates(above[0], counts)
    for column in range(odds.size):
        if column and not np.array_equal(above[column], above[column - 1]):
            true, false = rates(above[column], counts)
        found[:, column] = true - false * odds[column]
    return found


def _acted_upon(
    probabilities: Mapping[str, npt.ArrayLike],
    n: int,
    levels: Float,
    subjects: Sequence[str] | None,
) -> dict[str, Bool]:
    acted: dict[str, Bool] = {}
    for name, values in probabilities.items():
        if name in (ALL, NONE):
            raise ModelError(f"a model cannot be called {name}, which is a strategy; rename it")
        what = f"predicted probability (model {name})"
        shares = check_probabilities(values, n, what=what, subjects=subjects)
        if shares.ndim != 1:
            raise ModelError(f"{what} has shape {shares.shape}; give one value per subject")
        acted[name] = shares >= levels[:, np.newaxis]
    acted[ALL] = np.ones((levels.size, n), dtype=np.bool_)
    acted[NONE] = np.zeros((levels.size, n), dtype=np.bool_)
    return acted


def _check_thresholds(thresholds: npt.ArrayLike) -> Float:
    levels = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if levels.ndim != 1 or not levels.size or not ((levels > 0) & (levels < 1)).all():
        raise ModelError("thresholds of a decision curve lie between 0 and 1, both excluded")
    if not (np.diff(levels) > 0).all():
        raise ModelError("thresholds of a decision curve must increase; sort them, drop repeats")
    return levels

"""Whether predicted probabilities come true, for a binary outcome; and groups of predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int, as_labels
from pipeline.model.logistic import fit_logistic
from pipeline.model.roc import auc, wilson_interval
from pipeline.model.splines import default_knots, spline_basis

#: Probabilities are kept this far from 0 and 1 where their log odds are taken.
CLOSEST = 1e-8

#: Points of a smooth calibration curve.
CURVE_POINTS = 100

#: Columns of a table of calibration groups.
GROUP_COLUMNS = ("group", "n", "events", "predicted", "observed", "low95", "high95")


@dataclass(frozen=True)
class Gaps:
    """Distances |observed - predicted| over the subjects, as probabilities.

    Attributes
    ----------
    ici, e50, e90, emax : float
        Mean (integrated calibration index), median, 90th percentile and maximum.
    """

    ici: float
    e50: float
    e90: float
    emax: float


@dataclass(frozen=True, eq=False)
class SmoothCalibration:
    """A smooth curve of observed on predicted probabilities.

    Attributes
    ----------
    gaps : Gaps
        Distances between the curve and the diagonal at the subjects' predictions.
    observed : (n,) float array
        Value of the curve for each subject.
    knots : tuple of float
        Knots of the spline, on its link scale; empty when a straight line was fitted because
        the predictions have too few different values.
    curve_predicted, curve_observed : (100,) float arrays
        The curve between the 1st and the 99th percentile of the predictions.
    """

    gaps: Gaps
    observed: Float
    knots: tuple[float, ...]
    curve_predicted: Float
    curve_observed: Float


@dataclass(frozen=True)
class BinaryCalibration:
    """Agreement of predicted probabilities with a binary outcome.

    Attributes
    ----------
    n, events : int
        Subjects, and those with the outcome.
    intercept, slope : float
        Of the logistic model of the outcome on the predicted log odds; 0 and 1 are ideal.
    intercept_se, slope_se : float
        Their standard errors.
    in_the_large, in_the_large_se : float
        Intercept with the slope held at 1.
    ratio_observed_expected : float
        Events over the sum of the probabilities.
    brier : float
        Mean squared error of the probabilities.
    c : float
        Area under the ROC curve.
    """

    n: int
    events: int
    intercept: float
    intercept_se: float
    slope: float
    slope_se: float
    in_the_large: float
    in_the_large_se: float
    ratio_observed_expected: float
    brier: float
    c: float


def binary_calibration(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    subjects: Sequence[str] | None = None,
) -> BinaryCalibration:
    """Return recalibration intercept and slope, observed over expected, Brier score and C.

    Parameters
    ----------
    probabilities : (n,) float array
        Predicted probabilities of class 1.
    labels : (n,) array of 0 and 1
        What happened; both classes present.
    subjects : sequence of n str, optional
        Names for the messages.

    Notes
    -----
    As ``rms::val.prob``, except that probabilities of exactly 0 or 1 are moved inwards by
    1e-8 for the log odds, where val.prob drops them.

    References
    ----------
    Cox, Biometrika 45 (1958) 562; Van Calster et al., BMC Medicine 17 (2019) 230.
    """
    shares, positive = _checked(probabilities, labels, subjects)
    odds = _log_odds(shares)
    fit = fit_logistic(odds[:, np.newaxis], ["log odds of the prediction"], positive)
    shift = _shift(odds, positive)
    moved = expit(odds + shift)
    return BinaryCalibration(
        n=positive.size,
        events=int(positive.sum()),
        intercept=fit.intercept,
        intercept_se=float(fit.standard_errors[0]),
        slope=float(fit.coefficients[0]),
        slope_se=float(fit.standard_errors[1]),
        in_the_large=shift,
        in_the_large_se=float(1 / np.sqrt((moved * (1 - moved)).sum())),
        ratio_observed_expected=float(positive.sum() / shares.sum()),
        brier=float(((shares - positive) ** 2).mean()),
        c=auc(positive, shares),
    )


def smooth_calibration(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    n_knots: int = 3,
    subjects: Sequence[str] | None = None,
) -> SmoothCalibration:
    """Return a smooth calibration curve: logistic model of a spline of the predicted log odds.

    Parameters
    ----------
    probabilities, labels, subjects
        As for `binary_calibration`.
    n_knots : int
        Knots of the restricted cubic spline, at Harrell's quantiles; 3 to 5.

    Notes
    -----
    ``rms::val.prob`` draws a lowess curve instead, whose span and tails are arbitrary in a small
    cohort; the spline is the method of the survival calibration too.

    References
    ----------
    Austin and Steyerberg, Statistics in Medicine 38 (2019) 4051, for ICI, E50 and E90.
    """
    shares, positive = _checked(probabilities, labels, subjects)
    odds = _log_odds(shares)
    knots = spline_knots(odds, n_knots, what="the predicted log odds")
    names = [f"spline {j + 1} of the predicted log odds" for j in range(max(1, len(knots) - 1))]
    fit = fit_logistic(spline_columns(odds, knots), names, positive)
    grid = curve_grid(shares)
    observed = fit.probability(spline_columns(odds, knots))
    return SmoothCalibration(
        gaps=gaps_between(observed, shares),
        observed=observed,
        knots=knots,
        curve_predicted=grid,
        curve_observed=fit.probability(spline_columns(_log_odds(grid), knots)),
    )


def calibration_groups(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    groups: int = 10,
    cuts: npt.ArrayLike | None = None,
    subjects: Sequence[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return observed shares in groups of similar predictions.

    Parameters
    ----------
    probabilities, labels, subjects
        As for `binary_calibration`.
    groups : int
        Number of groups of about equal size.
    cuts : (k,) array, optional
        Limits of the groups instead.
    level : float
        Confidence level of Wilson's limits.

    Returns
    -------
    DataFrame
        `GROUP_COLUMNS`: a row per group; NaN in an empty group.
    """
    shares, positive = _checked(probabilities, labels, subjects)
    codes, count = prediction_groups(shares, groups=groups, cuts=cuts)
    rows = []
    for group in range(count):
        inside = codes == group
        n, events = int(inside.sum()), int((positive & inside).sum())
        low, high = wilson_interval(events, n, level=level)
        predicted = float(shares[inside].mean()) if n else float("nan")
        observed = events / n if n else float("nan")
        rows.append((group + 1, n, events, predicted, observed, low, high))
    return pd.DataFrame(rows, columns=list(GROUP_COLUMNS))


# --- shared with the survival calibration ---------------------------------------------------


def prediction_groups(
    values: Float, *, groups: int, cuts: npt.ArrayLike | None = None
) -> tuple[Int, int]:
    """Return the group (n,) of each prediction from 0, and the number of groups.

    Groups are those of ``Hmisc::cut2``: quantile groups where equal values stay together
    (so there may be fewer than asked), or ``[cut, next cut)``, widened to cover all values.

    Raises
    ------
    ModelError
        If all predictions fall into one group.
    """
    found = _cut_groups(values, cuts) if cuts is not None else _quantile_groups(values, groups)
    if np.unique(found[0]).size < 2:
        raise ModelError(
            f"the {values.size} predictions, {values.min():g} to {values.max():g}, fall into one"
            " group; ask for more groups, or other cuts: calibration compares two or more"
        )
    return found


def _quantile_groups(values: Float, groups: int) -> tuple[Int, int]:
    different, counts = np.unique(values, return_counts=True)
    reached = np.cumsum(counts)
    wanted = np.arange(1, groups + 1) * values.size / groups
    upper = different[np.minimum(np.searchsorted(reached, wanted), different.size - 1)]
    upper = np.unique(np.r_[upper[:-1], different[-1]])
    return np.searchsorted(upper, values), upper.size


def _cut_groups(values: Float, cuts: npt.ArrayLike) -> tuple[Int, int]:
    limits = np.unique(np.asarray(cuts, dtype=np.float64))
    limits = np.unique(np.r_[limits, min(values.min(), limits[0]), max(values.max(), limits[-1])])
    # half the smallest step below each limit, so that a value on a limit opens its group
    edges = limits - np.diff(np.unique(np.r_[values, limits])).min(initial=np.inf) / 2
    edges[-1] = limits[-1]
    return np.searchsorted(edges, values) - 1, limits.size - 1


def spline_knots(values: Float, n_knots: int, *, what: str) -> tuple[float, ...]:
    """Return knots; none (a straight line) when there are too few different predictions."""
    if np.ptp(values) == 0:
        raise ModelError(
            f"{what} is {values[0]:g} for every subject; a model that predicts the same for all"
            " cannot be calibrated"
        )
    if np.unique(values).size < 2 * n_knots:
        return ()
    try:
        return default_knots(values, n_knots, what=what)
    except ModelError:  # nearly all predictions are equal: no room for three knots
        return ()


def spline_columns(values: Float, knots: tuple[float, ...]) -> Float:
    """Return the spline basis (n, k - 1), or the values as one column without knots."""
    return spline_basis(values, knots) if knots else values[:, np.newaxis]


def curve_grid(predictions: Float) -> Float:
    """Return evenly spaced predictions between their 1st and 99th percentiles."""
    low, high = np.quantile(predictions, [0.01, 0.99]).tolist()
    return np.asarray(np.linspace(low, high, CURVE_POINTS))


def gaps_between(observed: Float, predicted: Float) -> Gaps:
    """Return mean, median, 90th percentile and maximum of the distances."""
    gap = np.abs(observed - predicted)
    e50, e90 = np.quantile(gap, [0.5, 0.9]).tolist()
    return Gaps(float(gap.mean()), e50, e90, float(gap.max()))


def check_probabilities(
    values: npt.ArrayLike,
    n: int,
    *,
    what: str = "predicted probability",
    subjects: Sequence[str] | None = None,
) -> Float:
    """Return probabilities as floats; raise ModelError naming the first subject outside [0, 1].

    Parameters
    ----------
    values : (n,) or (n, t) array
        Probabilities.
    n : int
        Number of subjects they must cover.
    what, subjects
        For the message.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim == 0 or len(found) != n or (subjects is not None and len(subjects) != n):
        raise ModelError(f"{what}: {found.shape} values for {n} subjects; give one row for each")
    with np.errstate(invalid="ignore"):
        wrong = np.argwhere(~((found >= 0) & (found <= 1)))
    if wrong.size:
        row = int(wrong[0, 0])
        name = f"subject {subjects[row]}" if subjects is not None else f"subject number {row + 1}"
        value = found[tuple(wrong[0])]
        raise ModelError(
            f"{what} of {name} is {value:g}, outside 0 to 1"
            f" ({np.unique(wrong[:, 0]).size} such subjects); predict probabilities, not scores"
        )
    return found


def _checked(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, subjects: Sequence[str] | None
) -> tuple[Float, Bool]:
    positive = as_labels(labels)
    shares = check_probabilities(probabilities, positive.size, subjects=subjects)
    if shares.ndim != 1:
        raise ModelError(f"predicted probabilities have shape {shares.shape}; give one per subject")
    return shares, positive


def _log_odds(shares: Float) -> Float:
    return np.asarray(logit(np.clip(shares, CLOSEST, 1 - CLOSEST)))


def _shift(odds: Float, positive: Bool) -> float:
    # the maximum-likelihood intercept beside an offset: expected events equal the observed ones
    middle = float(logit(positive.mean()))
    low, high = middle - float(odds.max()) - 1, middle - float(odds.min()) + 1

    def excess(shift: float) -> float:
        return float((expit(odds + shift) - positive).sum())

    return float(brentq(excess, low, high, xtol=1e-13, rtol=1e-14))

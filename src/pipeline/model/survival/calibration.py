"""Whether predicted survival comes true: grouped Kaplan-Meier, smooth curve, slope and ratio."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.calibration import (
    CLOSEST,
    SmoothCalibration,
    check_probabilities,
    curve_grid,
    gaps_between,
    prediction_groups,
    spline_columns,
    spline_knots,
)
from pipeline.model.resampling import Estimate
from pipeline.model.survival.censoring import TIME_TOLERANCE
from pipeline.model.survival.cox import fit_cox
from pipeline.model.survival.discrimination import check_risk
from pipeline.model.survival.optimism import bootstrap_optimism
from pipeline.model.survival.outcome import Outcome

#: Columns of `grouped_calibration`; `corrected_calibration` adds optimism, corrected and draws.
GROUP_COLUMNS = ("group", "n", "events", "predicted", "observed", "se", "low95", "high95")

#: From row indices to the predicted survival of those rows at one time.
Predict = Callable[[Int], Float]


def grouped_calibration(
    survival: npt.ArrayLike,
    outcome: Outcome,
    months: float,
    *,
    groups: int = 4,
    per_group: int | None = None,
    cuts: npt.ArrayLike | None = None,
    level: float = 0.95,
    subjects: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare predicted survival with the Kaplan-Meier estimate in groups of predictions.

    Parameters
    ----------
    survival : (n,) float array
        Predicted probability to be free of the event at `months`.
    outcome : Outcome
        What happened.
    months : float
        The horizon, before the end of follow-up.
    groups : int
        Quantile groups; equal predictions stay together.
    per_group : int, optional
        About this many subjects per group instead.
    cuts : (k,) array, optional
        Limits of the groups instead: [cut, next cut).
    level : float
        Confidence level.
    subjects : sequence of n str, optional
        Names for the messages.

    Returns
    -------
    DataFrame
        `GROUP_COLUMNS`: a row per group, low predictions first. `events` counts all of
        follow-up. `se` is Greenwood's, of log S, and the limits are ``S exp(-+ z se)``, at most
        1; at S = 0 `se` is infinite and both limits are 0. Observed values are NaN in a group of
        fewer than two subjects, or whose follow-up ends before `months` above 0.

    Notes
    -----
    Equal to ``rms::groupkm``, which however counts a group of one subject as empty.
    """
    shares = _checked(survival, outcome, months, subjects)
    if per_group is not None:
        groups = max(1, shares.size // per_group)
    return _group_table(shares, outcome, months, groups, cuts, level)


def corrected_calibration(
    refit: Callable[[Int], Predict],
    outcome: Outcome,
    months: float,
    rows: Int,
    *,
    per_group: int = 50,
    cuts: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return grouped calibration on the fitting cohort, corrected for optimism by bootstrap.

    Parameters
    ----------
    refit : callable
        Fits the whole model on rows and returns the predictor of survival at `months`.
    outcome, months, level
        As for `grouped_calibration`; all rows of the fitting cohort.
    rows : (draws, n) int array
        Resamples, from `bootstrap_rows`.
    per_group, cuts
        Groups have limits at the quantiles of the apparent predictions, n / per_group groups,
        or at `cuts`. The limits are the same in every resample.

    Returns
    -------
    DataFrame
        The columns of `grouped_calibration` and ``optimism`` (mean of observed - predicted in the
        resample less the same of the refitted model on the original rows), ``corrected``
        (observed - optimism) and ``draws``, the resamples in which the group was defined.

    Notes
    -----
    Equal to ``rms::calibrate(cmethod="KM")`` on the same resamples.
    """
    everyone = np.arange(len(outcome))
    shares = _checked(refit(everyone)(everyone), outcome, months, None)
    limits = bin_limits(shares, per_group) if cuts is None else np.asarray(cuts, dtype=np.float64)
    limits = np.unique(np.r_[0.0, limits, 1.0])

    def metrics(predict: Predict, chosen: Int) -> dict[str, float]:
        again = check_probabilities(predict(chosen), chosen.size, what="predicted survival")
        table = _group_table(again, outcome.take(chosen), months, 0, limits, level)
        gap = table["observed"] - table["predicted"]
        return {str(group): float(g) for group, g in zip(table["group"], gap, strict=True)}

    found = bootstrap_optimism(refit, metrics, rows).table
    table = _group_table(shares, outcome, months, 0, limits, level)
    optimism = found["optimism"].to_numpy()
    corrected = table["observed"].to_numpy() - optimism
    return table.assign(optimism=optimism, corrected=corrected, draws=found["n"].to_numpy())


def bin_limits(survival: Float, per_group: int) -> Float:
    """Return the limits that ``rms::calibrate`` chooses: quantiles of 0, 1 and the predictions."""
    groups = max(1, survival.size // per_group)
    return np.unique(np.quantile(np.r_[0.0, 1.0, survival], np.linspace(0, 1, groups + 1)))


def smooth_survival_calibration(
    survival: npt.ArrayLike,
    outcome: Outcome,
    months: float,
    *,
    n_knots: int = 3,
    subjects: Sequence[str] | None = None,
) -> SmoothCalibration:
    """Return observed survival as a smooth function of predicted survival.

    A Cox model of a restricted cubic spline of log(-log S_predicted(t)) gives each subject an
    "observed" S(t); the distances to the prediction make ICI, E50, E90 and the maximum.

    Parameters
    ----------
    survival, outcome, months, subjects
        As for `grouped_calibration`.
    n_knots : int
        Knots of the spline, at Harrell's quantiles; 3 to 5.

    Returns
    -------
    SmoothCalibration
        Predicted and observed are probabilities to be free of the event; the gaps are the
        same for the probabilities of the event.

    Notes
    -----
    Predictions of exactly 0 or 1 are moved inwards by 1e-8. ``rms::calibrate`` draws a hazard
    regression (hare) instead; this is the other method of the reference.

    References
    ----------
    Austin, Harrell and van Klaveren, Statistics in Medicine 39 (2020) 2714.
    """
    shares = _checked(survival, outcome, months, subjects)
    scale = _cloglog(shares)
    knots = spline_knots(scale, n_knots, what="log(-log) of predicted survival")
    columns = spline_columns(scale, knots)
    names = [f"spline {j + 1} of predicted survival" for j in range(columns.shape[1])]
    fit = fit_cox(columns, names, outcome)
    at = np.array([months])
    observed = fit.survival(columns, at)[:, 0]
    grid = curve_grid(shares)
    curve = fit.survival(spline_columns(_cloglog(grid), knots), at)[:, 0]
    return SmoothCalibration(gaps_between(observed, shares), observed, knots, grid, curve)


def calibration_slope(
    linear_predictor: npt.ArrayLike, outcome: Outcome, *, level: float = 0.95
) -> Estimate:
    """Return the coefficient of a Cox model on the linear predictor; 1 is ideal.

    Parameters
    ----------
    linear_predictor : (n,) float array
        Log relative hazard that a frozen model gives the subjects.
    outcome : Outcome
        What happened; below 1 the predictions are too extreme.
    level : float
        Confidence level of the normal limits.
    """
    values = check_risk(linear_predictor, outcome)
    fit = fit_cox(values[:, np.newaxis], ["linear predictor"], outcome)
    slope, se = float(fit.coefficients[0]), float(np.sqrt(fit.covariance[0, 0]))
    half = float(norm.ppf((1 + level) / 2)) * se
    return Estimate(slope, se, slope - half, slope + half)


def observed_expected(
    survival: npt.ArrayLike,
    outcome: Outcome,
    months: float,
    *,
    level: float = 0.95,
    subjects: Sequence[str] | None = None,
) -> Estimate:
    """Return ``(1 - S_KM(t)) / mean(1 - S_predicted(t))``: above 1, more events than predicted.

    The limits are normal on the log scale, with Greenwood's variance of the numerator. NaN
    with a reason when no event is observed by then, or none expected.
    """
    shares = _checked(survival, outcome, months, subjects)
    kept, log_se = _curve_at(outcome, months)
    expected = float((1 - shares).mean())
    if kept == 1.0 or expected == 0.0:
        what = "observed" if kept == 1.0 else "expected"
        return Estimate(float("nan"), reason=f"no event {what} by {months:g} months")
    ratio = (1 - kept) / expected
    se = kept * log_se / (1 - kept) if kept > 0 else 0.0
    span = float(np.exp(norm.ppf((1 + level) / 2) * se))
    return Estimate(ratio, ratio * se, ratio / span, ratio * span)


def _checked(
    survival: npt.ArrayLike, outcome: Outcome, months: float, subjects: Sequence[str] | None
) -> Float:
    shares = check_probabilities(
        survival, len(outcome), what="predicted survival", subjects=subjects
    )
    if shares.ndim != 1:
        raise ModelError(
            f"predicted survival has shape {shares.shape}; give one column, at the horizon"
        )
    last = float(outcome.months.max())
    if not 0 < months <= last + TIME_TOLERANCE:
        raise ModelError(
            f"calibration at {months:g} months: follow-up ends at {last:g} months; choose an"
            " earlier horizon"
        )
    return shares


def _cloglog(shares: Float) -> Float:
    return np.asarray(np.log(-np.log(np.clip(shares, CLOSEST, 1 - CLOSEST))))


def _group_table(
    shares: Float,
    outcome: Outcome,
    months: float,
    groups: int,
    cuts: npt.ArrayLike | None,
    level: float,
) -> pd.DataFrame:
    codes, count = prediction_groups(shares, groups=groups, cuts=cuts)
    rows = [
        (
            group + 1,
            *_group_row(shares[codes == group], outcome.take(codes == group), months, level),
        )
        for group in range(count)
    ]
    return pd.DataFrame(rows, columns=list(GROUP_COLUMNS))


def _group_row(
    shares: Float, outcome: Outcome, months: float, level: float
) -> tuple[int, int, float, float, float, float, float]:
    n, events, nan = len(outcome), int(outcome.event.sum()), float("nan")
    if n < 2:
        return n, events, float(shares[0]) if n else nan, nan, nan, nan, nan
    kept, se = _curve_at(outcome, months)
    z = float(norm.ppf((1 + level) / 2))
    low, high = (0.0, 0.0) if kept == 0 else (kept * np.exp(-z * se), kept * np.exp(z * se))
    # min() would turn NaN into 1
    return n, events, float(shares.mean()), kept, se, float(low), float(np.minimum(high, 1.0))


def _curve_at(outcome: Outcome, months: float) -> tuple[float, float]:
    # Kaplan-Meier S(t) and Greenwood's standard error of log S(t), as R's survfit gives it
    order = np.sort(outcome.months)
    times, deaths = np.unique(outcome.months[outcome.event], return_counts=True)
    at_risk = order.size - np.searchsorted(order, times)
    early = times <= months + TIME_TOLERANCE
    deaths, at_risk = deaths[early], at_risk[early]
    kept = float(np.prod(1 - deaths / at_risk))
    if months > order[-1] + TIME_TOLERANCE and kept > 0:
        return float("nan"), float("nan")
    left = at_risk - deaths
    share = np.divide(deaths, at_risk * left, out=np.full(left.shape, np.inf), where=left > 0)
    return kept, float(np.sqrt(share.sum()))

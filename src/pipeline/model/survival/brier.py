"""How near predicted survival is to what happened: Brier score, its integral, and the IPA."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.calibration import check_probabilities
from pipeline.model.resampling import Estimate, bootstrap_estimate, row_counts
from pipeline.model.survival.censoring import censoring_curve, kaplan_meier_steps
from pipeline.model.survival.outcome import Outcome


def brier_curve(
    survival: npt.ArrayLike,
    outcome: Outcome,
    times: npt.ArrayLike,
    *,
    censoring: Outcome | None = None,
    subjects: Sequence[str] | None = None,
) -> Float:
    """Return the Brier score at each time, weighted for censoring.

    ``BS(t) = 1/n sum_i [ S_i(t)^2 1(T_i <= t, event) / G(T_i-)
    + (1 - S_i(t))^2 1(T_i > t) / G(t) ]``

    Parameters
    ----------
    survival : (n, t) float array
        Predicted probability to be free of the event at each time.
    outcome : Outcome
        What happened to the n subjects.
    times : (t,) float array
        Months, increasing, each before the end of follow-up.
    censoring : Outcome, optional
        Rows that give the censoring distribution G; the subjects themselves when left out.
    subjects : sequence of n str, optional
        Names for the messages.

    Returns
    -------
    (t,) float array
        0 is perfect; 0.25 is the score of saying one half to everyone, uncensored.

    Notes
    -----
    Equal to ``pec`` with marginal weights. scikit-survival takes G(T_i) for G(T_i-), which
    differs only where an event and a censoring tie.

    References
    ----------
    Graf et al., Statistics in Medicine 18 (1999) 2529.
    """
    shares, months = _checked(survival, outcome, times, subjects)
    reason = _time_problem(outcome, months, censoring)
    if reason:
        raise ModelError(f"no Brier score: {reason}; choose earlier times")
    ones = row_counts(None, len(outcome))
    return np.asarray(_scores(shares, outcome, months, censoring, ones)[0])


def null_brier_curve(
    outcome: Outcome,
    times: npt.ArrayLike,
    *,
    reference: Outcome | None = None,
    censoring: Outcome | None = None,
) -> Float:
    """Return the Brier score (t,) of the Kaplan-Meier curve, which knows no covariate.

    Parameters
    ----------
    outcome, times, censoring
        As for `brier_curve`.
    reference : Outcome, optional
        Rows of the Kaplan-Meier curve (the development ones); the subjects themselves when
        left out.
    """
    months = _check_times(times)
    reason = _time_problem(outcome, months, censoring) or _reference_problem(reference, months)
    if reason:
        raise ModelError(f"no Brier score: {reason}; choose earlier times")
    ones = row_counts(None, len(outcome))
    return np.asarray(_null_scores(outcome, months, reference, censoring, ones)[0])


def brier_at(
    survival: npt.ArrayLike,
    outcome: Outcome,
    months: float,
    *,
    censoring: Outcome | None = None,
    rows: Int | None = None,
    level: float = 0.95,
    subjects: Sequence[str] | None = None,
) -> Estimate:
    """Return the Brier score at one time with percentile limits.

    Parameters
    ----------
    survival : (n,) float array
        Predicted probability to be free of the event at `months`.
    months : float
        The horizon; the estimate is NaN with a reason when it lies outside follow-up.
    rows, level
        Resamples (`bootstrap_rows`) and confidence level. Without `censoring`, the censoring
        distribution is estimated again in every resample.
    outcome, censoring, subjects
        As for `brier_curve`.
    """
    shares, times = _checked(_column(survival), outcome, [months], subjects)
    return _estimate(
        lambda counts: _scores(shares, outcome, times, censoring, counts)[:, 0],
        _time_problem(outcome, times, censoring), len(outcome), rows, level,
    )  # fmt: skip


def integrated_brier(
    survival: npt.ArrayLike,
    outcome: Outcome,
    times: npt.ArrayLike,
    *,
    censoring: Outcome | None = None,
    rows: Int | None = None,
    level: float = 0.95,
    subjects: Sequence[str] | None = None,
) -> Estimate:
    """Return the mean Brier score over the span of `times`, by the trapezoidal rule.

    ``IBS = 1 / (t_max - t_1) * integral of BS(t) dt``, as scikit-survival does it; start the
    times near 0 and space them finely. Parameters as for `brier_curve` and `brier_at`.
    """
    shares, months = _checked(survival, outcome, times, subjects)
    if months.size < 2:
        raise ModelError("an integrated Brier score needs two times or more; give a grid of times")

    def measure(counts: Float) -> Float:
        scores = _scores(shares, outcome, months, censoring, counts)
        return np.asarray(np.trapezoid(scores, months, axis=1) / np.ptp(months))

    reason = _time_problem(outcome, months, censoring)
    return _estimate(measure, reason, len(outcome), rows, level)


def prediction_accuracy(
    survival: npt.ArrayLike,
    outcome: Outcome,
    months: float,
    *,
    reference: Outcome | None = None,
    censoring: Outcome | None = None,
    rows: Int | None = None,
    level: float = 0.95,
    subjects: Sequence[str] | None = None,
) -> Estimate:
    """Return the index of prediction accuracy, ``1 - BS(t) / BS_null(t)``.

    Above 0: better than the Kaplan-Meier curve that gives everyone the same survival. The
    parameters are those of `brier_at`; `reference` are the rows of that curve, the subjects
    themselves (again in every resample) when left out.

    References
    ----------
    Kattan and Gerds, Diagnostic and Prognostic Research 2 (2018) 7.
    """
    shares, times = _checked(_column(survival), outcome, [months], subjects)

    def measure(counts: Float) -> Float:
        model = _scores(shares, outcome, times, censoring, counts)[:, 0]
        null = _null_scores(outcome, times, reference, censoring, counts)[:, 0]
        share = np.divide(model, null, out=np.full(len(counts), np.nan), where=null > 0)
        return np.asarray(1.0 - share)

    reason = _time_problem(outcome, times, censoring) or _reference_problem(reference, times)
    return _estimate(measure, reason, len(outcome), rows, level)


def _column(survival: npt.ArrayLike) -> Float:
    return np.asarray(survival, dtype=np.float64).reshape(-1, 1)


def _checked(
    survival: npt.ArrayLike,
    outcome: Outcome,
    times: npt.ArrayLike,
    subjects: Sequence[str] | None,
) -> tuple[Float, Float]:
    shares = check_probabilities(
        survival, len(outcome), what="predicted survival", subjects=subjects
    )
    months = _check_times(times)
    if shares.shape != (len(outcome), months.size):
        raise ModelError(
            f"predicted survival has shape {shares.shape}, not ({len(outcome)}, {months.size}):"
            " one row per subject, one column per time"
        )
    return shares, months


def _check_times(times: npt.ArrayLike) -> Float:
    months = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if months.ndim != 1 or not months.size or not (np.diff(months) > 0).all():
        raise ModelError("the times of a Brier score must increase; sort them and drop repeats")
    return months


def _time_problem(outcome: Outcome, months: Float, censoring: Outcome | None) -> str:
    first, last = float(months[0]), float(months[-1])
    if not (np.isfinite(months).all() and first > 0):
        return f"{first:g} is no time in months above 0"
    end = float(outcome.months.max())
    if last >= end:
        return f"{last:g} months is not before the end of follow-up at {end:g} months"
    if censoring is not None and last >= float(censoring.months.max()):
        limit = float(censoring.months.max())
        return f"{last:g} months is beyond the follow-up of the development rows, {limit:g} months"
    return ""


def _reference_problem(reference: Outcome | None, months: Float) -> str:
    if reference is None or float(months[-1]) <= float(reference.months.max()):
        return ""
    limit = float(reference.months.max())
    return f"{months[-1]:g} months is beyond the follow-up of the reference rows, {limit:g} months"


def _estimate(
    measure: Callable[[Float], Float], reason: str, n: int, rows: Int | None, level: float
) -> Estimate:
    if reason:
        return Estimate(float("nan"), reason=reason)
    return bootstrap_estimate(measure, n, rows, level=level)


def _weights(
    outcome: Outcome, months: Float, censoring: Outcome | None, counts: Float
) -> tuple[Float, Float]:
    # per resample: weight of each subject as a case (d, n), and of a control at each time (d, t)
    curve = censoring_curve(outcome, censoring, counts)
    before = curve.before(outcome.months)
    needed = outcome.event & (before > 0)
    cases = counts * np.divide(1.0, before, out=np.zeros(before.shape), where=needed)
    at = curve.at(months)
    # nobody followed beyond t: no control, and the score is undefined in that resample
    left = counts @ (outcome.months[:, np.newaxis] > months)
    known = (left > 0) & (at > 0)
    size = counts.sum(axis=1, keepdims=True)
    controls = np.divide(1.0, at * size, out=np.full(left.shape, np.nan), where=known)
    return cases / size, controls


def _scores(
    shares: Float, outcome: Outcome, months: Float, censoring: Outcome | None, counts: Float
) -> Float:
    cases, controls = _weights(outcome, months, censoring, counts)
    by_then = outcome.months[:, np.newaxis] <= months
    # a matrix product sums over subjects for every resample and time at once
    return cases @ (by_then * shares**2) + (counts @ (~by_then * (1 - shares) ** 2)) * controls


def _null_scores(
    outcome: Outcome,
    months: Float,
    reference: Outcome | None,
    censoring: Outcome | None,
    counts: Float,
) -> Float:
    whole = (outcome, counts) if reference is None else (reference, np.ones((1, len(reference))))
    times, curves = kaplan_meier_steps(*whole)
    share = curves[:, np.searchsorted(times, months, side="right")]
    cases, controls = _weights(outcome, months, censoring, counts)
    by_then = outcome.months[:, np.newaxis] <= months
    return (cases @ by_then) * share**2 + (counts @ ~by_then) * (1 - share) ** 2 * controls

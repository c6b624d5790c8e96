"""Time-dependent ROC curve of a marker: cases have the event by t, controls after it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.survival.outcome import Outcome

Method = Literal["nne", "km"]


@dataclass(frozen=True, eq=False)
class TimeRoc:
    """Points of a time-dependent ROC curve, from everyone high to no one high.

    Attributes
    ----------
    threshold : (c,) float array
        A subject is high when its marker is at least this: minus infinity, the midpoints
        between neighbouring different values, infinity.
    sensitivity, specificity : (c,) float arrays
        P(marker >= threshold | event by `months`) and P(marker < threshold | no event by then).
    auc : float
        Area under the curve, by trapezoids.
    months : float
        The horizon.
    method : "nne" or "km"
        The estimator.
    """

    threshold: Float
    sensitivity: Float
    specificity: Float
    auc: float
    months: float
    method: Method

    @property
    def false_positive_rate(self) -> Float:
        """1 - specificity, (c,)."""
        return 1 - self.specificity


def default_span(n: int) -> float:
    """Return 0.25 n^(-0.2), the share of subjects in a neighbourhood."""
    return float(0.25 * n**-0.2)


def time_roc(
    marker: npt.ArrayLike,
    outcome: Outcome,
    months: float,
    *,
    method: Method = "nne",
    span: float | None = None,
) -> TimeRoc:
    """Estimate sensitivity and specificity of a marker for the event by a horizon.

    Parameters
    ----------
    marker : (n,) float array
        Higher means earlier events. Finite, not constant.
    outcome : Outcome
        Times in months and events of the same subjects.
    months : float
        The horizon t.
    method : "nne" or "km"
        Nearest-neighbour estimator of the joint distribution, or plain Kaplan-Meier curves of
        those above each threshold. The second is simpler but can go down where it should go up
        and can leave the range 0 to 1; it also takes censoring to be independent of the marker.
    span : float, optional
        Only for "nne": share of the subjects that make up a neighbourhood; `default_span`
        otherwise.

    Raises
    ------
    ModelError
        A missing or constant marker; a horizon beyond the last follow-up; no event by the
        horizon, or no one free of it then.

    Notes
    -----
    Se(c) = [P(M > c) - S(c, t)] / [1 - S(t)] and Sp(c) = 1 - S(c, t) / S(t), where
    S(c, t) = P(M > c, T > t). "nne": S(c, t) = mean of S(t | M_i) over M_i > c, S(t) the same
    with no threshold, and S(t | m) the Kaplan-Meier curve of m's neighbourhood: floor(n span /
    2) subjects on either side in the order of the marker, with all that tie with m or with the
    last one taken in. Only the order of the marker matters. (The R function ``survivalROC`` means
    the same but finds the lower side with the upper side's distance.) "km": S(c, t) = P(M > c)
    S(t | M > c). Without censoring before t both Kaplan-Meier estimates are plain shares, and
    "km" gives the ordinary ROC curve of the event by t, as does "nne" when the span is so small
    that each neighbourhood is one value of the marker.

    References
    ----------
    Heagerty, Lumley and Pepe, Biometrics 56 (2000) 337; Akritas, Ann. Stat. 22 (1994) 1299.
    """
    values = np.asarray(marker, dtype=np.float64)
    _check(values, outcome, months)
    order = np.lexsort((outcome.event, outcome.months, values))
    values, known = values[order], outcome.take(order)
    above = np.r_[0, np.flatnonzero(np.diff(values)) + 1, values.size]
    share = 1 - above / values.size
    free: Float
    if method == "nne":
        width = default_span(values.size) if span is None else _checked_span(span)
        free = _nearest_neighbour(values, known, months, width)[above]
    else:
        whole = np.full(above.size, values.size)
        free = share * _survival(known, months, above, whole)
    if not 0 < free[0] < 1:
        raise ModelError(
            f"the estimated share free of the event at {months:g} months is {free[0]:g}; a ROC"
            " curve needs it between 0 and 1: choose another horizon"
        )
    sensitivity, specificity = (share - free) / (1 - free[0]), 1 - free / free[0]
    middle = (sensitivity[1:] + sensitivity[:-1]) / 2
    return TimeRoc(
        threshold=_thresholds(values[above[:-1]]),
        sensitivity=sensitivity,
        specificity=specificity,
        auc=float((np.diff(specificity) * middle).sum()),
        months=float(months),
        method=method,
    )


def check_marker(values: Float, outcome: Outcome) -> None:
    """Raise ModelError unless the marker (n,) is complete and varies."""
    if values.shape != (len(outcome),):
        raise ModelError(
            f"a marker of shape {values.shape} for {len(outcome)} outcomes; one value per subject"
            " is needed"
        )
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise ModelError(
            f"the marker is missing or infinite in {wrong.size} of {values.size} subjects (first:"
            f" row {wrong[0] + 1}); leave them out or predict again"
        )
    if np.ptp(values) == 0:
        raise ModelError(
            f"the marker is {values[0]:g} in all {values.size} subjects; a constant has no"
            " threshold: check that the model selected a feature"
        )


def midpoints(levels: Float) -> Float:
    """Return thresholds between neighbouring sorted values; >= splits them as > the lower does."""
    middle = levels[:-1] + (levels[1:] - levels[:-1]) / 2
    # neighbouring floats have no number in between
    return np.where(middle > levels[:-1], middle, levels[1:])


def _check(values: Float, outcome: Outcome, months: float) -> None:
    check_marker(values, outcome)
    last = float(outcome.months.max())
    if not 0 < months <= last:
        raise ModelError(
            f"the horizon of {months:g} months lies outside the follow-up (0 to {last:g} months);"
            " choose an earlier one"
        )
    if not (outcome.event & (outcome.months <= months)).any():
        raise ModelError(
            f"no event among {len(outcome)} subjects by {months:g} months; choose a later horizon"
        )


def _checked_span(span: float) -> float:
    if not 0 <= span <= 1:
        raise ModelError(f"the span is a share of the subjects, from 0 to 1; it is {span:g}")
    return span


def _thresholds(levels: Float) -> Float:
    return np.concatenate([[-np.inf], midpoints(levels), [np.inf]])


def _nearest_neighbour(values: Float, outcome: Outcome, months: float, span: float) -> Float:
    """Return (n + 1,) sums of S(t | M_i) / n over the rows from each one on, sorted by marker."""
    n = values.size
    side = int(np.floor(n * span / 2))
    left, right = (np.searchsorted(values, values, side=s) for s in ("left", "right"))
    lowest = values[np.maximum(right - 1 - side, 0)]
    highest = values[np.minimum(left + side, n - 1)]
    # those that tie with the last neighbour, and with the subject itself, belong to it as well
    first = np.searchsorted(values, np.minimum(lowest, values), side="left")
    stop = np.searchsorted(values, np.maximum(highest, values), side="right")
    near = _survival(outcome, months, first, stop)
    return np.asarray(np.r_[np.cumsum(near[::-1])[::-1], 0.0] / n)


def _survival(outcome: Outcome, months: float, first: Int, stop: Int) -> Float:
    """Return Kaplan-Meier estimates at a horizon of runs of rows [first, stop), 1 if empty."""
    times = np.unique(outcome.months[outcome.event & (outcome.months <= months)])
    at_risk = _run_sums(outcome.months[:, np.newaxis] >= times, first, stop)
    died = (outcome.months[:, np.newaxis] == times) & outcome.event[:, np.newaxis]
    events = _run_sums(died, first, stop)
    return np.asarray(np.prod(1 - events / np.maximum(at_risk, 1), axis=1))


def _run_sums(member: Bool, first: Int, stop: Int) -> Int:
    sums = np.zeros((len(member) + 1, member.shape[1]), dtype=np.int64)
    np.cumsum(member, axis=0, out=sums[1:])
    return np.asarray(sums[stop] - sums[first])

"""Kaplan-Meier curves with intervals, numbers at risk, and the log-rank test.

Written out in numpy because lifelines has the log-log interval alone; the tests hold the curve,
its intervals and the log-rank test to R's `survival` and, where it has them, to lifelines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2, norm

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.survival.outcome import Outcome

Interval = Literal["log-log", "log", "plain"]

#: A curve counts as level with a quantile when it is this near (R's tolerance).
_LEVEL = float(np.sqrt(np.finfo(float).eps))


@dataclass(frozen=True, eq=False)
class Curve:
    """A Kaplan-Meier curve: steps at `months`, the first being 0.

    Attributes
    ----------
    months : (t,) float array
        0 and every distinct time, of an event or of censoring.
    at_risk : (t,) int array
        Subjects whose time is at or after `months`.
    events, censored : (t,) int arrays
        Events, and subjects censored, at exactly `months`.
    survival : (t,) float array
        Share still free of the event just after `months`.
    low, high : (t,) float arrays
        Its pointwise interval; NaN where the curve is 0, as Greenwood's variance is undefined.
    se : (t,) float array
        Greenwood's standard error of `survival`; NaN where the curve is 0.
    interval : "log-log", "log" or "plain"
        Scale on which the interval is symmetric.
    level : float
        Its coverage.
    """

    months: Float
    at_risk: Int
    events: Int
    censored: Int
    survival: Float
    low: Float
    high: Float
    se: Float
    interval: Interval
    level: float


class Quantile(NamedTuple):
    """A quantile of the time in months and its interval; NaN where the curve ends above it."""

    months: float
    low: float
    high: float


class LogRank(NamedTuple):
    """Statistic, degrees of freedom and p value of a log-rank test."""

    chi2: float
    df: int
    p: float


def kaplan_meier(outcome: Outcome, *, interval: Interval = "log-log", level: float = 0.95) -> Curve:
    """Estimate the share free of the event over time.

    Parameters
    ----------
    outcome : Outcome
        Times in months and events, at least one subject. No event is needed.
    interval : "log-log", "log" or "plain"
        Scale of the pointwise interval. R's default is "log"; "log-log" stays inside 0 and 1
        and covers better in small groups.
    level : float
        Coverage, between 0 and 1.

    Notes
    -----
    S(t) = prod_{t_i <= t} (1 - d_i / n_i), with Greenwood's Var log S = sum d_i / (n_i (n_i -
    d_i)). With u = z sqrt(Var log S): log S -+ u ("log"); log(-log S) +- u / log S ("log-log");
    S (1 -+ u) cut to 0 and 1 ("plain"). Where S is 1 the interval is (1, 1).

    References
    ----------
    Kaplan and Meier, J. Am. Stat. Assoc. 53 (1958) 457; Kalbfleisch and Prentice, The
    Statistical Analysis of Failure Time Data (2002), section 1.4.
    """
    if not len(outcome):
        raise ModelError("a Kaplan-Meier curve needs at least one subject; this group is empty")
    if not 0 < level < 1:
        raise ModelError(f"the level of an interval must lie between 0 and 1; it is {level:g}")
    times = np.unique(outcome.months)
    at = np.searchsorted(times, outcome.months)
    events = np.bincount(at[outcome.event], minlength=times.size)
    censored = np.bincount(at[~outcome.event], minlength=times.size)
    leaving = events + censored
    at_risk = np.cumsum(leaving[::-1])[::-1]
    survival = np.cumprod(1 - events / at_risk)
    left = at_risk - events
    terms = np.divide(events, at_risk * left, out=np.full(times.size, np.nan), where=left > 0)
    # the curve is 0 from a time on at which all fail: there the variance is undefined
    relative = np.sqrt(np.cumsum(np.where(events == 0, 0.0, terms)))
    survival, relative = np.r_[1.0, survival], np.r_[0.0, relative]
    low, high = _limits(survival, relative, interval, level)
    return Curve(
        months=np.r_[0.0, times],
        at_risk=np.r_[len(outcome), at_risk],
        events=np.r_[0, events],
        censored=np.r_[0, censored],
        survival=survival,
        low=low,
        high=high,
        se=survival * relative,
        interval=interval,
        level=level,
    )


def quantile(curve: Curve, share: float = 0.5) -> Quantile:
    """Return the time by which a share of the subjects has had the event; the median for 0.5.

    Notes
    -----
    The first time at which the curve is at or below 1 - share; where it runs level with that,
    the middle of the level piece. The limits are read off the limits of the curve in the same
    way (Brookmeyer and Crowley, Biometrics 38 (1982) 29). NaN: not reached.
    """
    height = 1 - share
    found = [_crossing(curve.months, y, height) for y in (curve.survival, curve.low, curve.high)]
    return Quantile(*found)


def survival_at(curve: Curve, months: npt.ArrayLike) -> pd.DataFrame:
    """Return months, survival, low, high, at_risk: the curve read off at given times.

    Raises
    ------
    ModelError
        A time below 0, or beyond the last follow-up, where the curve is unknown (unless it
        has come down to 0).
    """
    wanted = np.atleast_1d(np.asarray(months, dtype=np.float64))
    last = curve.months[-1]
    beyond = wanted[~((wanted >= 0) & ((wanted <= last) | (curve.survival[-1] == 0)))]
    if beyond.size:
        raise ModelError(
            f"survival at {beyond[0]:g} months is unknown: follow-up runs from 0 to {last:g}"
            " months; choose an earlier time"
        )
    at = np.searchsorted(curve.months, wanted, side="right") - 1
    return pd.DataFrame(
        {
            "months": wanted,
            "survival": curve.survival[at],
            "low": curve.low[at],
            "high": curve.high[at],
            "at_risk": _number_at_risk(curve, wanted),
        }
    )


def at_risk_table(curves: Mapping[str, Curve], ticks: npt.ArrayLike) -> pd.DataFrame:
    """Return the numbers under a plot: group, months, at_risk, events, censored.

    `at_risk` counts the subjects with a time at or after the tick; `events` and `censored`
    those that left before it.
    """
    wanted = np.atleast_1d(np.asarray(ticks, dtype=np.float64))
    parts = []
    for group, curve in curves.items():
        before = np.searchsorted(curve.months, wanted, side="left")
        parts.append(
            pd.DataFrame(
                {
                    "group": group,
                    "months": wanted,
                    "at_risk": _number_at_risk(curve, wanted),
                    "events": np.r_[0, np.cumsum(curve.events)][before],
                    "censored": np.r_[0, np.cumsum(curve.censored)][before],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def log_rank(outcome: Outcome, groups: npt.ArrayLike | Sequence[str]) -> LogRank:
    """Test whether survival is the same in k groups.

    Parameters
    ----------
    outcome : Outcome
        Times in months and events.
    groups : (n,) array
        The group of each subject, of any type that sorts.

    Raises
    ------
    ModelError
        Fewer than two groups with somebody at risk at an event time, or no event.

    Notes
    -----
    Observed minus expected events per group, with the hypergeometric variance at each event
    time: (O - E)' V^-1 (O - E), k - 1 degrees of freedom (R's ``survdiff``). The p value is
    the upper tail itself, not 1 minus the lower one, so that small ones keep their digits.

    References
    ----------
    Mantel, Cancer Chemother. Rep. 50 (1966) 163; Peto and Peto, J. R. Stat. Soc. A 135 (1972)
    185.
    """
    labels, member = np.unique(np.asarray(groups), return_inverse=True)
    if member.size != len(outcome):
        raise ModelError(
            f"{len(outcome)} outcomes but {member.size} group names; one per subject is needed"
        )
    if not outcome.event.any():
        raise ModelError(f"none of {len(outcome)} subjects has an event; a log-rank test needs one")
    times = np.unique(outcome.months[outcome.event])
    parts = [outcome.take(np.flatnonzero(member == group)) for group in range(labels.size)]
    at_risk = np.column_stack([_reaching(part.months, times) for part in parts])
    died = np.column_stack([_equal(part.months[part.event], times) for part in parts])
    total, deaths = at_risk.sum(axis=1), died.sum(axis=1)
    share = at_risk / total[:, np.newaxis]
    excess = (died - deaths[:, np.newaxis] * share).sum(axis=0)
    rest = np.maximum(total - 1, 1)
    weight = deaths * (total - deaths) / rest
    variance = np.diag(weight @ share) - (share * weight[:, np.newaxis]).T @ share
    used = np.flatnonzero((deaths[:, np.newaxis] * share).sum(axis=0) > 0)
    if used.size < 2 or not weight.any():
        raise ModelError(
            f"groups {', '.join(str(label) for label in labels)}: fewer than two have somebody at"
            " risk when events occur; a log-rank test compares at least two"
        )
    free = used[1:]
    statistic = float(excess[free] @ np.linalg.solve(variance[np.ix_(free, free)], excess[free]))
    return LogRank(statistic, int(free.size), float(chi2.sf(statistic, free.size)))


def _limits(
    survival: Float, relative: Float, interval: Interval, level: float
) -> tuple[Float, Float]:
    half = float(norm.ppf((1 + level) / 2)) * relative
    low, high = survival.copy(), survival.copy()
    low[survival == 0] = high[survival == 0] = np.nan
    inner = (survival > 0) & (survival < 1)
    s, u = survival[inner], half[inner]
    if interval == "plain":
        low[inner], high[inner] = np.maximum(s - u * s, 0), np.minimum(s + u * s, 1)
    elif interval == "log":
        low[inner], high[inner] = s * np.exp(-u), np.minimum(s * np.exp(u), 1)
    else:
        shift = np.exp(u / np.log(s))
        low[inner], high[inner] = s ** (1 / shift), s**shift
    return low, high


def _crossing(months: Float, height: Float, wanted: float) -> float:
    known = ~np.isnan(height)
    x, y = months[known], height[known]
    below = np.flatnonzero(y <= wanted + _LEVEL)
    if not below.size:
        return float("nan")
    first = int(below[0])
    if abs(y[first] - wanted) > _LEVEL:
        return float(x[first])
    under = np.flatnonzero(y < wanted - _LEVEL)
    return float((x[first] + x[under[0] if under.size else -1]) / 2)


def _number_at_risk(curve: Curve, months: Float) -> Int:
    left = np.r_[0, np.cumsum(curve.events + curve.censored)]
    gone = left[np.searchsorted(curve.months, months, side="left")]
    return np.asarray(curve.at_risk[0] - gone)


def _reaching(months: Float, times: Float) -> Int:
    """Return how many of `months` are at or after each of the times (g,)."""
    return np.asarray(months.size - np.searchsorted(np.sort(months), times, side="left"))


def _equal(months: Float, times: Float) -> Int:
    """Return how many of `months` are each of the times (g,)."""
    return np.bincount(np.searchsorted(times, months), minlength=times.size)

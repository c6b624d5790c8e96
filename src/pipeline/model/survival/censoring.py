"""Kaplan-Meier curves under counts, of events and of censoring, for weighted measures."""

from dataclasses import dataclass

import numpy as np

from pipeline.model.arrays import Float
from pipeline.model.survival.outcome import Outcome

#: Two times nearer than this (months) are one, as in rms::groupkm.
TIME_TOLERANCE = 1e-6


def kaplan_meier_steps(
    outcome: Outcome, counts: Float, *, of_censoring: bool = False
) -> tuple[Float, Float]:
    """Return the distinct times (m,) and the curves (d, m + 1), 1 before the first time.

    ``S(t) = prod_{u <= t} (1 - d_u / r_u)``. Of censoring: events come before censorings at the
    same time, so the d_u events have left the r_u at risk (as in R's survival and prodlim).

    Parameters
    ----------
    outcome : Outcome
        Times and events of n subjects.
    counts : (d, n) float array
        How often each subject counts in each resample.
    of_censoring : bool
        The curve of the censoring times instead of the event times.
    """
    order = np.argsort(outcome.months, kind="stable")
    times, starts = np.unique(outcome.months[order], return_index=True)
    every = np.add.reduceat(counts[:, order], starts, axis=1)
    events = np.add.reduceat((counts * outcome.event)[:, order], starts, axis=1)
    at_risk = np.cumsum(every[:, ::-1], axis=1)[:, ::-1]
    lost = events
    if of_censoring:
        at_risk, lost = at_risk - events, every - events
    share = np.divide(lost, at_risk, out=np.zeros_like(lost), where=lost > 0)
    curves = np.cumprod(1.0 - share, axis=1)
    return times, np.hstack([np.ones((len(counts), 1)), curves])


def kaplan_meier_at(outcome: Outcome, months: float, counts: Float) -> Float:
    """Return S(t) of each resample, (d,); NaN where follow-up ends before t and S is not 0.

    The counts are quickest in Fortran order, subject by subject.
    """
    order = np.argsort(outcome.months, kind="stable")
    order = order[outcome.months[order] <= months + TIME_TOLERANCE]
    early, drawn, total = outcome.take(order), counts.T[order], counts.sum(axis=1)
    followed = counts @ (outcome.months >= months - TIME_TOLERANCE)
    found = np.ones(len(counts))
    if early.event.any():
        times, first = np.unique(early.months[early.event], return_index=True)
        deaths = np.add.reduceat(drawn[early.event], first, axis=0)
        gone = np.vstack([np.zeros_like(total), np.cumsum(drawn, axis=0)])
        at_risk = total - gone[np.searchsorted(early.months, times)]
        share = np.divide(deaths, at_risk, out=np.zeros_like(deaths), where=deaths > 0)
        found = np.prod(1.0 - share, axis=0)
    return np.where((followed > 0) | (found == 0), found, np.nan)


@dataclass(frozen=True, eq=False)
class CensoringCurve:
    """Kaplan-Meier curve G of the censoring times, one per resample or one for all.

    Attributes
    ----------
    times : (m,) float array
        Distinct follow-up times in months.
    curves : (d, m + 1) float array
        G from 1 downwards.
    """

    times: Float
    curves: Float

    def before(self, months: Float) -> Float:
        """Return G(t-), the probability to be uncensored just before each time, (d, t)."""
        return self.curves[:, np.searchsorted(self.times, months, side="left")]

    def at(self, months: Float) -> Float:
        """Return G(t), (d, t)."""
        return self.curves[:, np.searchsorted(self.times, months, side="right")]


def censoring_curve(outcome: Outcome, censoring: Outcome | None, counts: Float) -> CensoringCurve:
    """Return G from `censoring` (development rows), or from the counted subjects themselves."""
    if censoring is None:
        return CensoringCurve(*kaplan_meier_steps(outcome, counts, of_censoring=True))
    ones = np.ones((1, len(censoring)))
    return CensoringCurve(*kaplan_meier_steps(censoring, ones, of_censoring=True))


def horizon_problem(outcome: Outcome, months: float, censoring: Outcome | None = None) -> str:
    """Return why a measure at a time is undefined, or an empty text when it is defined."""
    if not (np.isfinite(months) and months > 0):
        return f"{months:g} is no time in months above 0"
    last = float(outcome.months.max())
    if months >= last:
        return f"{months:g} months is not before the end of follow-up at {last:g} months"
    if not (outcome.event & (outcome.months <= months)).any():
        return f"no event by {months:g} months"
    if censoring is not None and months > float(censoring.months.max()):
        limit = float(censoring.months.max())
        return (
            f"{months:g} months is beyond the follow-up of the development rows, {limit:g} months"
        )
    return ""

"""How well a risk score ranks survival times: concordance, and the AUC at a time.

Every measure is a weighted sum over subjects or pairs, so a bootstrap resample is a row of
counts and all resamples are one matrix product. Hand the same `rows` to every model and every
measure: their draws are then paired. A risk score is higher for the worse prognosis.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.roc import RocCurve
from pipeline.model.survival.outcome import Outcome

#: Two times nearer than this (months) are one, as in rms::groupkm.
TIME_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Estimate:
    """A measure with its uncertainty; NaN where it is undefined.

    Attributes
    ----------
    value, se, low, high : float
        Estimate, standard error, confidence limits.
    draws : int
        Resamples behind the limits in which the measure was defined; 0 without a bootstrap.
    reason : str
        Why `value` is NaN, in words; empty otherwise.
    samples : (draws,) float array
        The measure in each resample, NaN where undefined; not compared, not printed.
    """

    value: float
    se: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    draws: int = 0
    reason: str = ""
    samples: Float = field(default_factory=lambda: np.empty(0), compare=False, repr=False)


@dataclass(frozen=True)
class Comparison:
    """Difference of one measure between two models of the same subjects.

    Attributes
    ----------
    first, second, difference : float
        Values and first - second.
    low, high, p : float
        Percentile limits and two-sided p of the paired bootstrap.
    draws : int
        Resamples in which both were defined.
    se, z, p_normal : float
        Infinitesimal-jackknife test, where there is one; NaN otherwise.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    draws: int
    se: float = float("nan")
    z: float = float("nan")
    p_normal: float = float("nan")


# --- resamples ------------------------------------------------------------------------------


def bootstrap_rows(n: int, draws: int, seed: int) -> Int:
    """Return the row indices of every resample with replacement, shape (draws, n)."""
    if n < 2 or draws < 1:
        raise ModelError(
            f"a bootstrap needs two subjects and one draw, not {n} and {draws}; check the split"
        )
    return np.random.default_rng(seed).integers(0, n, size=(draws, n))


def row_counts(rows: Int | None, n: int) -> Float:
    """Return how often each subject is in each resample, (draws, n); all ones for None."""
    if rows is None:
        return np.ones((1, n))
    if rows.ndim != 2 or rows.size == 0 or rows.min() < 0 or rows.max() >= n:
        raise ModelError(f"the resamples do not index {n} subjects; draw them with bootstrap_rows")
    draws = rows.shape[0]
    flat = np.bincount((rows + n * np.arange(draws)[:, np.newaxis]).ravel(), minlength=draws * n)
    return flat.reshape(draws, n).astype(np.float64)


def bootstrap_estimate(
    measure: Callable[[Float], Float], n: int, rows: Int | None, *, level: float = 0.95
) -> Estimate:
    """Return a measure with percentile limits over resamples.

    Parameters
    ----------
    measure : callable
        From counts of shape (d, n) to values of shape (d,), NaN where undefined.
    n : int
        Number of subjects.
    rows : (draws, n) int array, optional
        Resamples (`bootstrap_rows`); without them there are no limits.
    level : float
        Confidence level.
    """
    value = float(measure(row_counts(None, n))[0])
    if rows is None:
        return Estimate(value)
    samples = measure(row_counts(rows, n))
    low, high, draws = percentile_limits(samples, level)
    se = float(samples[np.isfinite(samples)].std(ddof=1)) if draws > 1 else float("nan")
    return Estimate(value, se, low, high, draws, samples=samples)


def percentile_limits(samples: Float, level: float) -> tuple[float, float, int]:
    """Return the percentile limits of draws (d,), NaN left out, and how many draws count."""
    known = samples[np.isfinite(samples)]
    if known.size < 2:
        return float("nan"), float("nan"), int(known.size)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high, int(known.size)


def compare_estimates(first: Estimate, second: Estimate, *, level: float = 0.95) -> Comparison:
    """Compare two estimates that were made with the same resamples.

    Notes
    -----
    p = 2 min(P(d <= 0), P(d >= 0)) over the draws d of the difference, each share counted with
    the observed sample as one more draw, so that p is never 0.
    """
    if first.samples.size != second.samples.size or first.samples.size == 0:
        raise ModelError(
            f"{first.samples.size} and {second.samples.size} resamples cannot be paired; pass the"
            " same rows to both estimates"
        )
    change = first.samples - second.samples
    low, high, draws = percentile_limits(change, level)
    # comparisons with NaN are False: undefined draws count in neither tail
    tail = min(int((change <= 0).sum()), int((change >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (draws + 1)) if draws > 1 else float("nan")
    return Comparison(first.value, second.value, first.value - second.value, low, high, p, draws)


# --- Kaplan-Meier under counts --------------------------------------------------------------


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


def check_risk(risk: npt.ArrayLike, outcome: Outcome) -> Float:
    """Return the risk scores as floats; raise ModelError when they do not fit the outcome."""
    values = np.asarray(risk, dtype=np.float64)
    if values.shape != (len(outcome),):
        raise ModelError(
            f"{values.size} risk scores for {len(outcome)} subjects; one per subject is needed"
        )
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise ModelError(
            f"the risk score of subject number {wrong[0] + 1} is {values[wrong[0]]}"
            f" ({wrong.size} such); score only complete rows"
        )
    return values


# --- concordance ----------------------------------------------------------------------------


def harrell_c(
    risk: npt.ArrayLike, outcome: Outcome, *, rows: Int | None = None, level: float = 0.95
) -> Estimate:
    """Return Harrell's C: the share of usable pairs whose earlier event has the higher risk.

    Parameters
    ----------
    risk : (n,) float array
        Higher is worse; equal risks count one half.
    outcome : Outcome
        A pair is usable when the earlier time is an event, or an event and a censoring tie.
    rows : (draws, n) int array, optional
        Resamples for percentile limits; without them the limits are normal ones.
    level : float
        Confidence level.

    Returns
    -------
    Estimate
        `se` is the infinitesimal jackknife's, as in R's ``survival::concordance``.

    References
    ----------
    Harrell, Lee and Mark, Statistics in Medicine 15 (1996) 361; Therneau and Atkinson, vignette
    "Concordance" of R's survival, for the variance.
    """
    values = check_risk(risk, outcome)
    wins, pairs = _wins(values, outcome)
    return _concordance(wins, pairs, lambda counts: np.ones((1, len(outcome))), rows, level)


def uno_c(
    risk: npt.ArrayLike,
    outcome: Outcome,
    *,
    tau: float,
    censoring: Outcome | None = None,
    rows: Int | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return Uno's C: pairs weighted by 1 / G(t-)^2 at the earlier event, events before tau.

    Parameters
    ----------
    risk, outcome, rows, level
        As for `harrell_c`.
    tau : float
        Truncation in months; both cohorts must be followed that long.
    censoring : Outcome, optional
        Rows (the development ones) that give the censoring distribution G; the subjects
        themselves when left out, estimated again in every resample.

    Notes
    -----
    The weight is the left limit of G, as in R (``timewt="n/G2"``): an event comes before the
    censorings of its own day. scikit-survival takes G(t), which differs only where an event
    and a censoring tie. `se` takes the weights as known, as R does.

    References
    ----------
    Uno et al., Statistics in Medicine 30 (2011) 1105.
    """
    values = check_risk(risk, outcome)
    reason = horizon_problem(outcome, tau, censoring)
    if reason:
        return Estimate(float("nan"), reason=reason)
    wins, pairs = _wins(values, outcome)
    early = outcome.event & (outcome.months < tau)

    def weights(counts: Float) -> Float:
        kept = censoring_curve(outcome, censoring, counts).before(outcome.months)
        found = np.divide(early, kept**2, out=np.zeros(kept.shape), where=early & (kept > 0))
        return np.asarray(found)

    return _concordance(wins, pairs, weights, rows, level)


def compare_c(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    outcome: Outcome,
    *,
    draws: int = 1000,
    seed: int = 1,
    level: float = 0.95,
) -> Comparison:
    """Compare Harrell's C of two scores: paired bootstrap, and the infinitesimal jackknife.

    Notes
    -----
    z = (C1 - C2) / sqrt(sum_i (D1_i - D2_i)^2) with D the influence of each subject: the
    contrast of ``survival::concordance(fit1, fit2)``.
    """
    rows = bootstrap_rows(len(outcome), draws, seed)
    estimates, influences = [], []
    for score in (first, second):
        values = check_risk(score, outcome)
        estimates.append(harrell_c(values, outcome, rows=rows))
        influences.append(_influence(*_wins(values, outcome)))
    found = compare_estimates(*estimates, level=level)
    se = float(np.sqrt(((influences[0] - influences[1]) ** 2).sum()))
    if not se > np.finfo(float).eps:
        return found
    z = found.difference / se
    p = float(2 * norm.sf(abs(z)))
    return Comparison(**{**vars(found), "se": se, "z": z, "p_normal": p})


def _wins(risk: Float, outcome: Outcome) -> tuple[Float, Float]:
    # (n, n): row i is the earlier event; 1 where usable, and 1, 1/2, 0 by who has more risk
    months, event = outcome.months, outcome.event
    later = months[:, np.newaxis] < months
    tied = (months[:, np.newaxis] == months) & ~event
    pairs = (event[:, np.newaxis] & (later | tied)).astype(np.float64)
    wins = pairs * (np.sign(risk[:, np.newaxis] - risk) + 1) / 2
    return wins, pairs


def _concordance(
    wins: Float,
    pairs: Float,
    weights: Callable[[Float], Float],
    rows: Int | None,
    level: float,
) -> Estimate:
    def measure(counts: Float) -> Float:
        weighted = counts * weights(counts)
        usable = ((weighted @ pairs) * counts).sum(axis=1)
        won = ((weighted @ wins) * counts).sum(axis=1)
        found = np.divide(won, usable, out=np.full(len(counts), np.nan), where=usable > 0)
        return np.asarray(found)

    n = len(wins)
    found = bootstrap_estimate(measure, n, rows, level=level)
    if not np.isfinite(found.value):
        return Estimate(float("nan"), reason="no usable pair: no event is followed by anyone")
    weight = weights(row_counts(None, n))[0][:, np.newaxis]
    se = float(np.sqrt((_influence(wins * weight, pairs * weight) ** 2).sum()))
    if rows is not None:
        return Estimate(found.value, se, found.low, found.high, found.draws, "", found.samples)
    half = float(norm.ppf((1 + level) / 2)) * se
    low, high = np.clip((found.value - half, found.value + half), 0.0, 1.0).tolist()
    return Estimate(found.value, se, low, high)


def _influence(wins: Float, pairs: Float) -> Float:
    # derivative of C by the weight of each subject: its pairs on either side
    total = pairs.sum()
    own_wins = wins.sum(axis=0) + wins.sum(axis=1)
    own_pairs = pairs.sum(axis=0) + pairs.sum(axis=1)
    return np.asarray((own_wins - wins.sum() / total * own_pairs) / total)


# --- AUC at a time --------------------------------------------------------------------------


def auc_at(
    risk: npt.ArrayLike,
    outcome: Outcome,
    months: float,
    *,
    censoring: Outcome | None = None,
    rows: Int | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the cumulative/dynamic AUC at a time, weighted for censoring.

    Cases have an event by `months` and weigh 1 / G(T-); controls are still followed after
    it. ``AUC(t) = sum_{case i, control j} w_i [r_i > r_j] / (sum_i w_i * controls)``, equal
    risks one half.

    Parameters
    ----------
    risk, outcome, censoring, rows, level
        As for `uno_c`.
    months : float
        The horizon; the estimate is NaN with a reason when it lies outside follow-up.

    References
    ----------
    Uno et al., J. Am. Stat. Assoc. 102 (2007) 527; Hung and Chiang, Can. J. Stat. 38 (2010) 8.
    """
    values = check_risk(risk, outcome)
    reason = horizon_problem(outcome, months, censoring)
    if reason:
        return Estimate(float("nan"), reason=reason)
    case = outcome.event & (outcome.months <= months)
    control = outcome.months > months
    wins = (np.sign(values[case][:, np.newaxis] - values[control]) + 1) / 2

    def measure(counts: Float) -> Float:
        kept = censoring_curve(outcome, censoring, counts).before(outcome.months[case])
        # in a resample G may be 0 before a case, which then is not in it
        weight = np.divide(1.0, kept, out=np.zeros(kept.shape), where=kept > 0)
        cases, controls = counts[:, case] * weight, counts[:, control]
        total = cases.sum(axis=1) * controls.sum(axis=1)
        won = ((cases @ wins) * controls).sum(axis=1)
        found = np.divide(won, total, out=np.full(len(counts), np.nan), where=total > 0)
        return np.asarray(found)

    return bootstrap_estimate(measure, len(outcome), rows, level=level)


def ipcw_roc(
    risk: npt.ArrayLike, outcome: Outcome, months: float, *, censoring: Outcome | None = None
) -> RocCurve:
    """Return the ROC curve behind `auc_at`: one point per distinct risk, from (0, 0).

    Raises
    ------
    ModelError
        If the horizon lies outside follow-up.
    """
    values = check_risk(risk, outcome)
    reason = horizon_problem(outcome, months, censoring)
    if reason:
        raise ModelError(f"no ROC curve: {reason}; choose another horizon")
    case = outcome.event & (outcome.months <= months)
    control = outcome.months > months
    ones = row_counts(None, len(outcome))
    weight = 1 / censoring_curve(outcome, censoring, ones).before(outcome.months[case])[0]
    levels = np.unique(values)[::-1]
    at_least = values[np.newaxis, :] >= levels[:, np.newaxis]
    true = at_least[:, case] @ weight / weight.sum()
    return RocCurve(
        false_positive_rate=np.r_[0.0, at_least[:, control].mean(axis=1)],
        true_positive_rate=np.r_[0.0, np.minimum(true, 1.0)],
        threshold=np.r_[np.inf, levels],
    )

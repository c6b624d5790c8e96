"""How well a risk score ranks survival times: concordance, and the AUC at a time.

Every measure is a weighted sum over subjects or pairs, so all resamples are one matrix product.
A risk score is higher for the worse prognosis.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.resampling import (
    Comparison,
    Estimate,
    bootstrap_estimate,
    bootstrap_rows,
    compare_estimates,
    row_counts,
)
from pipeline.model.roc import RocCurve
from pipeline.model.survival.censoring import (
    censoring_curve,
    horizon_problem,
)
from pipeline.model.survival.outcome import Outcome


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

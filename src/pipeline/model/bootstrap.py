"""Bootstrap of the AUC: rows are drawn within each class, the same rows for every model."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from pipeline.model.arrays import Bool, Float
from pipeline.model.delong import PairedTest, placements, z_test
from pipeline.model.roc import check_scores

Interval = Literal["percentile", "bca"]


def bootstrap_aucs(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, draws: int = 2000, seed: int
) -> Float:
    """Return the AUC of each stratified resample, shape (draws,).

    Equal labels and an equal seed draw equal rows, whatever the scores: two models of the same
    subjects are compared draw by draw.
    """
    positive, values = check_scores(labels, scores)
    wins = _wins(positive, values)
    rng = np.random.default_rng(seed)
    counts = [_counts(rng, size, draws) for size in wins.shape]
    # Wins are 0, 1/2 or 1 and counts are whole: the sums are exact on any machine.
    total = ((counts[0] @ wins) * counts[1]).sum(axis=1)
    return np.asarray(total / wins.size)


def bootstrap_interval(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    kind: Interval = "percentile",
    level: float = 0.95,
    draws: int = 2000,
    seed: int,
) -> tuple[float, float]:
    """Return confidence limits of the AUC.

    Parameters
    ----------
    labels, scores : (n,) arrays
        Outcome (0 or 1) and score.
    kind : "percentile" or "bca"
        Plain quantiles of the draws, or bias-corrected and accelerated ones (percentile when
        the draws do not vary).
    level : float
        Confidence level.
    draws, seed : int
        Number of resamples and seed.

    References
    ----------
    DiCiccio and Efron, Statistical Science 11 (1996) 189, for BCa in several samples.
    """
    found = bootstrap_aucs(labels, scores, draws=draws, seed=seed)
    share = np.array([(1 - level) / 2, (1 + level) / 2])
    if kind == "bca" and np.ptp(found) > 0:
        share = _bca_shares(*check_scores(labels, scores), found, share)
    low, high = np.quantile(found, share).tolist()
    return low, high


def bootstrap_test(
    labels: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    draws: int = 2000,
    seed: int,
) -> PairedTest:
    """Compare two AUCs on the same rows: difference over its standard deviation in the draws."""
    drawn = [bootstrap_aucs(labels, s, draws=draws, seed=seed) for s in (first, second)]
    areas = [placements(*check_scores(labels, s))[0].mean() for s in (first, second)]
    spread = float(np.var(drawn[0] - drawn[1], ddof=1))
    return z_test(float(areas[0] - areas[1]), spread)


def _wins(positive: Bool, scores: Float) -> Float:
    difference = scores[positive][:, np.newaxis] - scores[~positive]
    return np.asarray((np.sign(difference) + 1) / 2)


def _counts(rng: np.random.Generator, size: int, draws: int) -> Float:
    rows = rng.integers(0, size, size=(draws, size)) + size * np.arange(draws)[:, np.newaxis]
    flat = np.bincount(rows.ravel(), minlength=draws * size)
    return flat.reshape(draws, size).astype(np.float64)


def _bca_shares(positive: Bool, scores: Float, found: Float, share: Float) -> Float:
    v10, v01 = placements(positive, scores)
    area = v10.mean()
    below = ((found < area).mean() + (found <= area).mean()) / 2
    bias = norm.ppf(np.clip(below, 1 / found.size, 1 - 1 / found.size))
    influence = np.r_[(v10 - area) / v10.size, (v01 - area) / v01.size]
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    shifted = bias + norm.ppf(share)
    return np.asarray(norm.cdf(bias + shifted / (1 - acceleration * shifted)))

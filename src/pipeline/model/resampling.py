"""Estimates with bootstrap intervals: a resample is a row of counts, all of them one matrix.

Hand the same resamples to every model and every measure: their draws are then paired.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int


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

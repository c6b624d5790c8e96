"""Standardised mean differences: how far groups lie apart, whatever their size."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Float

#: Eigenvalues of a covariance of proportions below this are 0.
_SINGULAR = 1e-12


def smd_means(samples: Sequence[npt.ArrayLike]) -> float:
    """Return the standardised difference of means; the mean of pairs over more than two groups.

    ``|m1 - m2| / sqrt((v1 + v2) / 2)`` with variances of divisor n - 1. Missing values are left
    out. NaN when a group has fewer than two values; infinite when the means differ but nothing
    varies.

    References
    ----------
    Austin, Statistics in Medicine 28 (2009) 3083.
    """
    found = [np.asarray(s, dtype=np.float64) for s in samples]
    return _mean_of_pairs([s[np.isfinite(s)] for s in found], _means)


def smd_counts(table: npt.ArrayLike) -> float:
    """Return the standardised difference of proportions; the mean of pairs over many groups.

    With p and q the proportions of all levels but one in two groups, and S the mean of their
    two multinomial covariances, ``sqrt((p - q)' S^-1 (p - q))``. For two levels this is
    ``|p - q| / sqrt((p (1 - p) + q (1 - q)) / 2)``.

    Parameters
    ----------
    table : (levels, groups) array of counts
        Levels without a count are dropped. Infinite when a difference has no variance (groups
        without a common level).

    References
    ----------
    Yang and Dalton, SAS Global Forum 2012, paper 335.
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or not np.isfinite(counts).all() or (counts < 0).any():
        raise ModelError("counts must be a table of levels by groups, from 0 up")
    return _mean_of_pairs(list(counts.T), _proportions)


def _mean_of_pairs(groups: Sequence[Float], measure: Callable[[Float, Float], float]) -> float:
    pairs = [measure(a, b) for a, b in combinations(groups, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def _means(first: Float, second: Float) -> float:
    if min(first.size, second.size) < 2:
        return float("nan")
    gap = abs(float(first.mean() - second.mean()))
    spread = float(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2))
    return _ratio(gap, spread)


def _ratio(gap: float, spread: float) -> float:
    if spread > 0:
        return gap / spread
    return 0.0 if gap == 0 else float("inf")


def _proportions(first: Float, second: Float) -> float:
    if first.sum() == 0 or second.sum() == 0:
        return float("nan")
    present = (first + second) > 0
    p, q = (c[present][1:] / c.sum() for c in (first, second))
    if p.size == 0:
        return 0.0
    gap = p - q
    values, vectors = np.linalg.eigh((_covariance(p) + _covariance(q)) / 2)
    along = (gap @ vectors) ** 2
    flat = values <= _SINGULAR
    if along[flat].sum() > _SINGULAR:
        return float("inf")
    return float(np.sqrt((along[~flat] / values[~flat]).sum()))


def _covariance(p: Float) -> Any:
    return np.diag(p) - np.outer(p, p)

"""Tests of a table of counts: chi-square, Fisher's exact test and its r x c form."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import gammaln

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int

#: Fisher's test takes over when an expected count is smaller than this.
SMALL_EXPECTED = 5.0

#: Partial tables that the exact test may hold before it turns to Monte Carlo.
_MAX_PARTIAL_TABLES = 2_000_000

#: Two tables are equally likely when their probabilities agree to this.
_RELATIVE = 1e-7


@dataclass(frozen=True)
class GroupTest:
    """A p value (NaN when it is undefined) and the name of the test that gave it."""

    p: float
    test: str
    statistic: float = float("nan")


def chi_square(table: npt.ArrayLike) -> GroupTest:
    """Return Pearson's chi-square test; a 2x2 table takes Yates' continuity correction."""
    counts = _check(table)
    if min(counts.shape) < 2:
        return GroupTest(float("nan"), "none: one row or one column")
    yates = counts.shape == (2, 2)
    found = stats.chi2_contingency(counts, correction=yates)
    name = "chi-square (Yates)" if yates else "chi-square"
    return GroupTest(float(found.pvalue), name, float(found.statistic))


def fisher(table: npt.ArrayLike, *, draws: int = 100_000, seed: int = 0) -> GroupTest:
    """Return Fisher's exact test; the Freeman-Halton form beyond 2x2.

    The p value is the probability, with all margins fixed, of the tables that are no more
    likely than the observed one. All tables are summed; when more than two million partial
    tables would be held, `draws` random tables with those margins are used instead, and the
    name of the test says so.

    Parameters
    ----------
    table : (r, c) array of counts
        Rows or columns of zeros are dropped.
    draws, seed : int
        For the Monte Carlo form.

    References
    ----------
    Freeman and Halton, Biometrika 38 (1951) 141.
    """
    counts = _check(table)
    if min(counts.shape) < 2:
        return GroupTest(float("nan"), "none: one row or one column")
    if counts.shape == (2, 2):
        found = stats.fisher_exact(counts)
        return GroupTest(float(found.pvalue), "Fisher", float(found.statistic))
    exact = _enumerate(counts)
    if exact is not None:
        return GroupTest(exact, "Fisher-Freeman-Halton")
    rng = np.random.default_rng(seed)
    sampler = stats.random_table(counts.sum(axis=1), counts.sum(axis=0), seed=rng)
    weights = np.array([_log_weight(t) for t in sampler.rvs(draws)])
    hits = int((weights <= _log_weight(counts) + _RELATIVE).sum())
    return GroupTest((hits + 1) / (draws + 1), f"Fisher-Freeman-Halton (Monte Carlo, {draws})")


def compare_counts(table: npt.ArrayLike, *, seed: int = 0) -> GroupTest:
    """Return Fisher's test when an expected count is below 5, the chi-square test otherwise."""
    counts = _check(table)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    if min(counts.shape) >= 2 and expected.min() < SMALL_EXPECTED:
        return fisher(counts, seed=seed)
    return chi_square(counts)


def _check(table: npt.ArrayLike) -> Int:
    counts = np.asarray(table)
    whole = counts.ndim == 2 and counts.size > 0 and (counts == np.floor(counts)).all()
    if not whole or (counts < 0).any() or counts.sum() == 0:
        raise ModelError("a table of counts must have two dimensions and whole numbers from 0 up")
    counts = counts.astype(np.int64)
    return np.asarray(counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0])


def _log_weight(table: Int) -> float:
    # log of 1 / prod(cell!): the probability of a table up to a constant of its margins
    return float(-gammaln(table + 1.0).sum())


def _enumerate(counts: Int) -> float | None:
    """Return the exact p value, or None when there are too many partial tables.

    Columns are filled one by one. A partial table is known by what is left of each row and by
    its weight so far; equal ones are merged and counted.
    """
    if counts.shape[0] > counts.shape[1]:
        counts = counts.T
    counts = counts[:, np.argsort(counts.sum(axis=0), kind="stable")]
    left = counts.sum(axis=1)[np.newaxis, :]
    weight, times = np.zeros(1), np.ones(1)
    for total in counts.sum(axis=0)[:-1]:
        grown = _fill_column(left, weight, times, int(total))
        if grown is None:
            return None
        left, weight, times = grown
    # what is left is the last and largest column
    weight = weight - gammaln(left + 1.0).sum(axis=1)
    top = weight.max()
    mass = times * np.exp(weight - top)
    extreme = weight <= _log_weight(counts) + _RELATIVE
    return float(min(1.0, mass[extreme].sum() / mass.sum()))


def _fill_column(
    left: Int, weight: Float, times: Float, total: int
) -> tuple[Int, Float, Float] | None:
    to_place = np.full(len(left), total)
    for row in range(left.shape[1] - 1):
        # the rows below must be able to take the rest of this column
        low = np.maximum(0, to_place - left[:, row + 1 :].sum(axis=1))
        high = np.minimum(left[:, row], to_place)
        choices = high - low + 1
        if choices.sum() > _MAX_PARTIAL_TABLES:
            return None
        parent = np.repeat(np.arange(len(left)), choices)
        offset = np.arange(parent.size) - np.repeat(np.cumsum(choices) - choices, choices)
        value = low[parent] + offset
        left, weight, times = left[parent], weight[parent], times[parent]
        left[:, row] -= value
        weight = weight - gammaln(value + 1.0)
        to_place = to_place[parent] - value
    left[:, -1] -= to_place
    weight = weight - gammaln(to_place + 1.0)
    return _merge(left, weight, times)


def _merge(left: Int, weight: Float, times: Float) -> tuple[Int, Float, Float]:
    key = np.column_stack([left, np.round(weight * 1e9).astype(np.int64)])
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    merged = np.bincount(group.ravel(), weights=times).astype(np.float64)
    return left[first], weight[first], merged

"""Comparison of groups: the test that suits a variable, and its name."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from pipeline.errors import ModelError
from pipeline.model.arrays import Float
from pipeline.model.contingency import GroupTest, compare_counts

Kind = Literal["continuous", "categorical"]
Continuous = Literal["anova", "welch", "rank-sum"]

#: Numbers with at most this many distinct whole values are taken for categories.
_MAX_LEVELS = 6

#: Wilcoxon's tests are exact below this many values without ties, as in R.
_EXACT_BELOW = 50


def compare_groups(
    series: pd.Series,
    groups: pd.Series,
    *,
    kind: Kind | None = None,
    continuous: Continuous = "anova",
) -> GroupTest:
    """Compare a variable between groups with the test that suits it.

    Categories: chi-square (Yates for 2x2), or Fisher's exact test when an expected count is
    below 5. Continuous: one-way ANOVA (with two groups the same p as Student's t test), or
    Welch's t test, or Wilcoxon's rank-sum test.

    Parameters
    ----------
    series, groups : Series of n
        Values and group names, row by row. Rows with either missing are left out.
    kind : "continuous", "categorical", optional
        Guessed by `kind_of` when not given.
    continuous : "anova", "welch" or "rank-sum"
        Test of continuous variables. With more than two groups the last two are Welch's form of
        the analysis of variance and the Kruskal-Wallis test.
    """
    known = (series.notna() & groups.notna()).to_numpy()
    values, names = series[known], groups[known].astype(str)
    levels = sorted(names.unique())
    if len(levels) < 2:
        return GroupTest(float("nan"), "none: one group")
    if (kind or kind_of(series)) == "categorical":
        return compare_counts(pd.crosstab(values.astype(str), names).to_numpy())
    samples = [values[(names == g).to_numpy()].to_numpy(dtype=np.float64) for g in levels]
    return compare_samples(samples, continuous=continuous)


def compare_samples(samples: Sequence[npt.ArrayLike], *, continuous: Continuous) -> GroupTest:
    """Compare the values of two or more groups; see `compare_groups`."""
    if continuous == "anova":
        return anova(samples)
    if len(samples) == 2:
        return welch(*samples) if continuous == "welch" else rank_sum(*samples)
    return welch_anova(samples) if continuous == "welch" else kruskal(samples)


def kind_of(series: pd.Series) -> Kind:
    """Guess the kind: text, and up to six distinct whole numbers (a grade), are categories."""
    if not pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series):
        return "categorical"
    values = series.dropna().to_numpy(dtype=np.float64)
    whole = bool((values == np.floor(values)).all())
    return "categorical" if whole and np.unique(values).size <= _MAX_LEVELS else "continuous"


def anova(samples: Sequence[npt.ArrayLike]) -> GroupTest:
    """Return the one-way analysis of variance of two or more samples."""
    found = [np.asarray(s, dtype=np.float64) for s in samples]
    if not _vary(found):
        return GroupTest(float("nan"), "none: too few or equal values")
    result = stats.f_oneway(*found)
    return GroupTest(float(result.pvalue), "ANOVA", float(result.statistic))


def student(first: npt.ArrayLike, second: npt.ArrayLike) -> GroupTest:
    """Return Student's t test: two means, equal variances."""
    samples = [np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)]
    if not _vary(samples):
        return GroupTest(float("nan"), "none: too few or equal values")
    result = stats.ttest_ind(*samples)
    return GroupTest(float(result.pvalue), "t test", float(result.statistic))


def t_from_summary(
    first: tuple[int, float, float],
    second: tuple[int, float, float],
    *,
    equal_variances: bool = True,
) -> GroupTest:
    """Return the t test of two groups of which a paper prints the summary only.

    Parameters
    ----------
    first, second : (n, mean, sd)
        Size, mean and standard deviation (divisor n - 1) of each group.
    equal_variances : bool
        Student's test; otherwise Welch's.
    """
    for n, mean, sd in (first, second):
        if n < 2 or not np.isfinite(mean) or not 0 < sd < np.inf:
            raise ModelError(
                f"a group of {n} with mean {mean:g} and sd {sd:g}: a t test needs two values or"
                " more per group and an sd above 0"
            )
    result = stats.ttest_ind_from_stats(
        first[1], first[2], first[0], second[1], second[2], second[0], equal_var=equal_variances
    )
    name = "t test" if equal_variances else "Welch t"
    return GroupTest(float(result.pvalue), name, float(result.statistic))


def welch(first: npt.ArrayLike, second: npt.ArrayLike) -> GroupTest:
    """Return Welch's t test: two means, unequal variances."""
    samples = [np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)]
    if min(s.size for s in samples) < 2 or not _vary(samples):
        return GroupTest(float("nan"), "none: too few or equal values")
    result = stats.ttest_ind(*samples, equal_var=False)
    return GroupTest(float(result.pvalue), "Welch t", float(result.statistic))


def welch_anova(samples: Sequence[npt.ArrayLike]) -> GroupTest:
    """Return Welch's analysis of variance: means of groups with unequal variances.

    Every group needs two values and a variance above 0 (Biometrika 38 (1951) 330).
    """
    found = [np.asarray(s, dtype=np.float64) for s in samples]
    if min(s.size for s in found) < 2 or min(np.ptp(s) for s in found) == 0:
        return GroupTest(float("nan"), "none: too few or equal values")
    result = stats.f_oneway(*found, equal_var=False)
    return GroupTest(float(result.pvalue), "Welch ANOVA", float(result.statistic))


def kruskal(samples: Sequence[npt.ArrayLike]) -> GroupTest:
    """Return the Kruskal-Wallis test of two or more samples, with the correction for ties."""
    found = [_finite(s) for s in samples]
    if not all(s.size for s in found):
        return GroupTest(float("nan"), "none: an empty group")
    if np.ptp(np.concatenate(found)) == 0:
        return GroupTest(float("nan"), "none: too few or equal values")
    result = stats.kruskal(*found)
    return GroupTest(float(result.pvalue), "Kruskal-Wallis", float(result.statistic))


def rank_sum(first: npt.ArrayLike, second: npt.ArrayLike) -> GroupTest:
    """Return Wilcoxon's rank-sum test (Mann-Whitney U of `first`), missing values left out.

    Exact below 50 values per group without ties; otherwise normal with the correction for ties
    and continuity, as in R.
    """
    one, two = _finite(first), _finite(second)
    if not one.size or not two.size:
        return GroupTest(float("nan"), "none: an empty group")
    both = np.r_[one, two]
    exact = max(one.size, two.size) < _EXACT_BELOW and np.unique(both).size == both.size
    if not exact and np.ptp(both) == 0:
        return GroupTest(float("nan"), "none: too few or equal values")
    result = stats.mannwhitneyu(one, two, method="exact" if exact else "asymptotic")
    return GroupTest(float(result.pvalue), "Wilcoxon rank-sum", float(result.statistic))


def signed_rank(first: npt.ArrayLike, second: npt.ArrayLike) -> GroupTest:
    """Return Wilcoxon's signed-rank test of pairs (V, the ranks where `first` is larger).

    Pairs with a missing value are left out, equal pairs too. Exact below 50 pairs without ties;
    otherwise normal with the correction for ties and continuity, as in R.
    """
    pairs = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    finite = pairs[np.isfinite(pairs)]
    change = finite[finite != 0]
    if change.size == 0:
        return GroupTest(float("nan"), "none: no pair differs")
    sizes = np.abs(change)
    exact = finite.size < _EXACT_BELOW and np.unique(sizes).size == finite.size
    result = stats.wilcoxon(change, correction=True, method="exact" if exact else "approx")
    larger = float(stats.rankdata(sizes)[change > 0].sum())
    return GroupTest(float(result.pvalue), "Wilcoxon signed-rank", larger)


def _finite(values: npt.ArrayLike) -> Float:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _vary(samples: Sequence[Float]) -> bool:
    # a test of means needs a value per group and some spread within a group
    enough = all(s.size for s in samples) and sum(s.size for s in samples) > len(samples)
    return enough and any(np.ptp(s) > 0 for s in samples)

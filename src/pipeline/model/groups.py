"""Comparison of groups, variable by variable: the right test and its name, and table one."""

from collections.abc import Mapping, Sequence
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
    below 5. Continuous: one-way ANOVA (Student's t test when there are two groups), or Welch's
    t test, or Wilcoxon's rank-sum test.

    Parameters
    ----------
    series, groups : Series of n
        Values and group names, row by row. Rows with either missing are left out.
    kind : "continuous", "categorical", optional
        Guessed by `kind_of` when not given.
    continuous : "anova", "welch" or "rank-sum"
        Test of continuous variables; the last two need two groups.
    """
    known = (series.notna() & groups.notna()).to_numpy()
    values, names = series[known], groups[known].astype(str)
    levels = sorted(names.unique())
    if len(levels) < 2:
        return GroupTest(float("nan"), "none: one group")
    if (kind or kind_of(series)) == "categorical":
        return compare_counts(pd.crosstab(values.astype(str), names).to_numpy())
    samples = [values[(names == g).to_numpy()].to_numpy(dtype=np.float64) for g in levels]
    if continuous == "anova":
        return anova(samples)
    if len(samples) != 2:
        raise ModelError(f"{continuous} compares two groups, not {len(samples)}; use anova")
    return welch(*samples) if continuous == "welch" else rank_sum(*samples)


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


def welch(first: npt.ArrayLike, second: npt.ArrayLike) -> GroupTest:
    """Return Welch's t test: two means, unequal variances."""
    samples = [np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)]
    if min(s.size for s in samples) < 2 or not _vary(samples):
        return GroupTest(float("nan"), "none: too few or equal values")
    result = stats.ttest_ind(*samples, equal_var=False)
    return GroupTest(float(result.pvalue), "Welch t", float(result.statistic))


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


def table_one(
    frame: pd.DataFrame,
    group: str,
    variables: Sequence[str] | Mapping[str, Kind],
) -> pd.DataFrame:
    """Describe the patients: one block of rows per variable, one column per group.

    Parameters
    ----------
    frame : DataFrame
        One row per subject.
    group : str
        Column that splits the subjects.
    variables : sequence of names, or mapping of names to kinds
        In the order of the rows. Kinds are guessed when not given.

    Returns
    -------
    DataFrame
        ``variable, level, all, <groups in sorted order>, p, p_test``. A continuous variable
        takes one row, "mean (min to max)"; a category takes a row per level, "n (percent)";
        missing values take a row of their own. `p` and `p_test` stand in the first row of a
        variable, `p` is NaN elsewhere.
    """
    missing = [name for name in (group, *variables) if name not in frame.columns]
    if missing:
        raise ModelError(f"the patient table has no column {missing[0]}; add it or leave it out")
    kinds = variables if isinstance(variables, Mapping) else {}
    names = sorted(frame[group].dropna().astype(str).unique())
    parts = {"all": frame} | {n: frame[(frame[group].astype(str) == n).to_numpy()] for n in names}
    rows: list[dict[str, object]] = []
    for variable in variables:
        kind = kinds.get(variable) or kind_of(frame[variable])
        found = compare_groups(frame[variable], frame[group], kind=kind)
        block = _block(parts, variable, kind)
        for i, (level, cells) in enumerate(block):
            tail = {"p": found.p, "p_test": found.test} if i == 0 else {"p": np.nan, "p_test": ""}
            rows.append({"variable": variable, "level": level} | cells | tail)
    return pd.DataFrame(rows, columns=["variable", "level", *parts, "p", "p_test"])


def _block(
    parts: Mapping[str, pd.DataFrame], variable: str, kind: Kind
) -> list[tuple[str, dict[str, str]]]:
    columns = {name: part[variable] for name, part in parts.items()}
    rows: list[tuple[str, dict[str, str]]] = []
    if kind == "continuous":
        rows.append(("mean (min to max)", {n: _mean_range(c) for n, c in columns.items()}))
    else:
        for level in np.unique(columns["all"].dropna()).tolist():
            text = {n: _share(int((c == level).sum()), len(c)) for n, c in columns.items()}
            rows.append((f"{level:g}" if isinstance(level, float) else str(level), text))
    if columns["all"].isna().any():
        text = {n: _share(int(c.isna().sum()), len(c)) for n, c in columns.items()}
        rows.append(("missing", text))
    return rows


def _mean_range(series: pd.Series) -> str:
    values = _finite(series)
    if not values.size:
        return ""
    return f"{values.mean():.1f} ({values.min():.4g} to {values.max():.4g})"


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.0f} %)" if total else "0"


def _finite(values: npt.ArrayLike) -> Float:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _vary(samples: Sequence[Float]) -> bool:
    # a test of means needs a value per group and some spread within a group
    enough = all(s.size for s in samples) and sum(s.size for s in samples) > len(samples)
    return enough and any(np.ptp(s) > 0 for s in samples)

"""Table one: who the subjects are, group by group, with the test that suits each variable."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.errors import CohortError, ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.contingency import GroupTest, chi_square, compare_counts, fisher
from pipeline.model.effect_size import smd_counts, smd_means
from pipeline.model.groups import compare_samples, kind_of, student
from pipeline.model.terms import level_names

logger = logging.getLogger(__name__)

Kind = Literal["continuous", "categorical", "ordinal"]
Spread = Literal["sd", "range"]
CountsTest = Literal["auto", "chi-square", "fisher"]
MeansTest = Literal["equal", "welch"]

#: Columns besides those of the groups.
FIXED = ("variable", "level", "all", "p", "p_test", "smd", "n")

#: Level of the row that counts what is not known.
MISSING = "missing"


def table_one(
    frame: pd.DataFrame,
    group: str,
    variables: Sequence[str] | Mapping[str, Kind | None],
    *,
    nonnormal: Sequence[str] = (),
    spread: Spread = "sd",
    counts_test: CountsTest = "auto",
    means_test: MeansTest = "equal",
    sizes: bool = True,
    seed: int = 0,
    source: str = "the patient table",
) -> pd.DataFrame:
    """Describe the subjects: one block of rows per variable, one column per group.

    Parameters
    ----------
    frame : DataFrame
        One row per subject.
    group : str
        Column that splits the subjects. Rows without a group are left out, with a log line.
    variables : sequence of names, or mapping of names to kinds
        In the order of the rows. A kind that is not given (None) is guessed by `kind_of`.
        "ordinal" shows counts as a category does and compares ranks.
    nonnormal : sequence of names
        Continuous variables to be shown as median and quartiles and compared by ranks.
    spread : "sd" or "range"
        What stands beside a mean.
    counts_test : "auto", "chi-square" or "fisher"
        Of categories. "auto": chi-square, with Yates' correction for 2x2, and Fisher's exact
        test (its Freeman-Halton form beyond 2x2) when an expected count is below 5.
    means_test : "equal" or "welch"
        Student's t test and the analysis of variance, or their forms for unequal variances.
    sizes : bool
        Begin with a row "subjects" that holds the size of every group.
    seed : int
        Of the Monte Carlo form of Fisher's test, which very large tables take.
    source : str
        What error messages call the table.

    Returns
    -------
    DataFrame
        ``variable, level, all, <groups in sorted order>, p, p_test, smd, n``.

        Cells of `all` and of the groups are text: "mean (SD)", "mean (min to max)" or
        "median (Q1 to Q3)" in one row of a continuous variable, "n (percent)" in a row per
        level. Percentages, tests and differences are of the known values. Missing values are
        counted in a row of their own, as a share of all rows, when there are any.

        `p`, `p_test`, `smd` (standardised mean difference, see `pipeline.model.effect_size`; 0
        or more) and `n` (known values, the rows that the test used) stand in the first row of a
        variable.

    Raises
    ------
    ModelError
        A column is missing; no row has a group; a group has the name of another column.
    CohortError
        Text in a continuous variable: a line per cell.
    """
    kinds = _kinds(frame, group, variables, nonnormal, source)
    frame = _with_group(frame, group, source)
    names = frame[group].astype(str).to_numpy()
    members = {name: names == name for name in sorted(set(names))}
    clash = sorted(set(members) & set(FIXED))
    if clash:
        raise ModelError(
            f"{source}: column {group}: a group is called {clash[0]!r}, as a column of table one"
            " is; rename it"
        )
    parts: dict[str, Bool] = {"all": np.ones(len(frame), dtype=bool)} | members
    rows: list[dict[str, object]] = []
    if sizes:
        counts = {name: str(int(inside.sum())) for name, inside in parts.items()}
        rows.append({"variable": "subjects", "level": "n", "n": len(frame)} | counts)
    for variable, kind in kinds.items():
        if kind == "continuous":
            values = _numbers(frame, variable, source)
            found = _of_numbers(values, parts, variable in nonnormal, spread, means_test)
        else:
            found = _of_levels(frame[variable], parts, kind, counts_test, seed)
        rows += _block(variable, found, parts)
    table = pd.DataFrame(rows, columns=["variable", "level", *parts, "p", "p_test", "smd", "n"])
    text = [name for name in table.columns if name not in ("p", "smd", "n")]
    return table.astype({"p": float, "smd": float, "n": float}).fillna(dict.fromkeys(text, ""))


def skewed(values: Float) -> bool:
    """Tell whether a variable is shown better by its median: sample skewness beyond 1."""
    known = values[np.isfinite(values)]
    if known.size < 3 or known.std() == 0:
        return False
    return bool(abs(np.mean(((known - known.mean()) / known.std()) ** 3)) > 1)


@dataclass(frozen=True, eq=False)
class _Found:
    """What is said of one variable: rows of text, known values, test and difference."""

    rows: list[tuple[str, dict[str, str]]]
    known: Bool
    test: GroupTest
    smd: float


def _of_numbers(
    values: Float, parts: Mapping[str, Bool], ranks: bool, spread: Spread, means_test: MeansTest
) -> _Found:
    known = np.isfinite(values)
    label, write = _SUMMARIES["median" if ranks else spread]
    # one unit of rounding for the whole row, from the spread of all values
    decimals = _decimals(values[known])
    cells = {name: write(values[inside & known], decimals) for name, inside in parts.items()}
    samples = [values[inside & known] for name, inside in parts.items() if name != "all"]
    test = _compare_numbers(samples, ranks, means_test)
    return _Found([(label, cells)], known, test, smd_means(samples))


def _of_levels(
    column: pd.Series, parts: Mapping[str, Bool], kind: Kind, counts_test: CountsTest, seed: int
) -> _Found:
    codes, levels = _codes(column)
    known = codes >= 0
    counts = {
        name: np.bincount(codes[inside & known], minlength=len(levels))
        for name, inside in parts.items()
    }
    rows = [
        (level, {name: _share(int(c[i]), int(c.sum())) for name, c in counts.items()})
        for i, level in enumerate(levels)
    ]
    groups = [name for name in parts if name != "all"]
    table = np.column_stack([counts[name] for name in groups])
    if not levels:
        return _Found([("", {})], known, GroupTest(np.nan, "none: no known value"), float("nan"))
    if kind == "ordinal":
        ranks = [codes[parts[name] & known].astype(np.float64) for name in groups]
        return _Found(rows, known, _compare_numbers(ranks, True, "equal"), smd_counts(table))
    return _Found(rows, known, _compare_counts(table, counts_test, seed), smd_counts(table))


def _compare_numbers(samples: Sequence[Float], ranks: bool, means_test: MeansTest) -> GroupTest:
    if len(samples) < 2:
        return GroupTest(float("nan"), "none: one group")
    if not ranks and means_test == "equal" and len(samples) == 2:
        return student(*samples)
    return compare_samples(
        samples, continuous="rank-sum" if ranks else "welch" if means_test == "welch" else "anova"
    )


def _compare_counts(table: Int, counts_test: CountsTest, seed: int) -> GroupTest:
    if table.shape[1] < 2:
        return GroupTest(float("nan"), "none: one group")
    if counts_test == "chi-square":
        return chi_square(table)
    return fisher(table, seed=seed) if counts_test == "fisher" else compare_counts(table, seed=seed)


def _block(variable: str, found: _Found, parts: Mapping[str, Bool]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"variable": variable, "level": level, **cells} for level, cells in found.rows
    ]
    rows[0] |= {
        "p": found.test.p,
        "p_test": found.test.test,
        "smd": found.smd,
        "n": int(found.known.sum()),
    }
    if not found.known.all():
        counts = {
            name: _share(int((inside & ~found.known).sum()), int(inside.sum()))
            for name, inside in parts.items()
        }
        rows.append({"variable": variable, "level": MISSING, **counts})
    return rows


def _kinds(
    frame: pd.DataFrame,
    group: str,
    variables: Sequence[str] | Mapping[str, Kind | None],
    nonnormal: Sequence[str],
    source: str,
) -> dict[str, Kind]:
    absent = [name for name in (group, *variables) if name not in frame.columns]
    if absent:
        raise ModelError(f"{source} has no column {absent[0]}; add it or leave it out")
    given = variables if isinstance(variables, Mapping) else dict.fromkeys(variables)
    kinds: dict[str, Kind] = {name: kind or kind_of(frame[name]) for name, kind in given.items()}
    wrong = [name for name in nonnormal if kinds.get(name) != "continuous"]
    if wrong:
        what = f"is {kinds[wrong[0]]}" if wrong[0] in kinds else "is not among the variables"
        raise ModelError(
            f"nonnormal: {wrong[0]} {what}; name continuous variables of the table (and give"
            " their kind when it is guessed wrongly)"
        )
    return kinds


def _with_group(frame: pd.DataFrame, group: str, source: str) -> pd.DataFrame:
    kept = frame[group].notna().to_numpy(dtype=bool)
    if not kept.any():
        raise ModelError(f"{source}: column {group} is empty in every row; fill it")
    if not kept.all():
        logger.warning(
            "%s: column %s is empty in %d rows, which are left out of table one",
            source, group, int((~kept).sum()),
        )  # fmt: skip
    return frame[kept]


def _numbers(frame: pd.DataFrame, variable: str, source: str) -> Float:
    """Return the values (n,) of a column, NaN where missing or infinite."""
    column = frame[variable]
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    text = np.isnan(values) & column.notna().to_numpy(dtype=bool)
    if text.any():
        names = frame["subject"] if "subject" in frame else pd.Series(frame.index)
        raise CohortError(
            [
                f"{source}: column {variable}, subject {names.iloc[i]}: {column.iloc[i]!r} is text"
                " where a number is expected; correct it, or name the variable categorical"
                for i in np.flatnonzero(text)
            ]
        )
    return np.where(np.isfinite(values), values, np.nan)


def _codes(column: pd.Series) -> tuple[Int, list[str]]:
    """Return the place of each value (n,) among the sorted levels, -1 where missing."""
    text = pd.Series(level_names(column), index=column.index)
    blank = (column.isna() | (text == "")).to_numpy(dtype=bool)
    present = set(text[~blank])
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = [name for name in level_names(column.cat.categories) if name in present]
    else:
        levels = sorted(present, key=_order)
    place = {level: i for i, level in enumerate(levels)}
    codes = [-1 if b else place[t] for t, b in zip(text, blank, strict=True)]
    return np.array(codes, dtype=np.int64), levels


def _order(level: str) -> tuple[bool, float, str]:
    # numbers by size, before text
    try:
        return False, float(level), level
    except ValueError:
        return True, 0.0, level


def _decimals(values: Float) -> int:
    """Return how many decimals show three digits of the spread."""
    spread = float(values.std()) if values.size else 0.0
    return max(0, 2 - int(np.floor(np.log10(spread)))) if spread > 0 else 1


def _mean_sd(values: Float, decimals: int) -> str:
    if not values.size:
        return ""
    sd = f" ({values.std(ddof=1):.{decimals}f})" if values.size > 1 else ""
    return f"{values.mean():.{decimals}f}{sd}"


def _mean_range(values: Float, decimals: int) -> str:
    if not values.size:
        return ""
    return f"{values.mean():.{decimals}f} ({values.min():.4g} to {values.max():.4g})"


def _median_quartiles(values: Float, decimals: int) -> str:
    if not values.size:
        return ""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.{decimals}f} ({low:.{decimals}f} to {high:.{decimals}f})"


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.0f} %)" if total else "0"


_SUMMARIES: dict[str, tuple[str, Callable[[Float, int], str]]] = {
    "sd": ("mean (SD)", _mean_sd),
    "range": ("mean (min to max)", _mean_range),
    "median": ("median (Q1 to Q3)", _median_quartiles),
}

"""Repeated measurements of features, from a table with a row or a cell per measurement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import CohortError
from pipeline.radiomics.feature_columns import feature_columns
from pipeline.radiomics.stability.mean_squares import Float

#: Columns that tell the regions of one subject apart.
REGION_COLUMNS = ("label", "label_name", "label_number", "structure", "region")

#: Columns that tell images apart whose features are not the same measurement.
CONDITION_COLUMNS = ("session", "contrast", "kind")


@dataclass(frozen=True, eq=False)
class Repeats:
    """Repeated measurements of regions.

    Attributes
    ----------
    subjects : tuple of n str
        Subject of each region; a subject may have several.
    repeats : tuple of k str
        Raters, perturbations or scans, sorted (numbers by value).
    features : tuple of p str
        Columns of the features.
    values : (n, k, p) float array
        NaN where a measurement is missing.
    condition : tuple of (column, value)
        Session, contrast and kind that the measurements share, where the table has them.
    """

    subjects: tuple[str, ...]
    repeats: tuple[str, ...]
    features: tuple[str, ...]
    values: Float
    condition: tuple[tuple[str, str], ...] = ()

    def take(self, rows: npt.NDArray[np.bool_]) -> "Repeats":
        """Return some of the regions."""
        kept = tuple(name for name, keep in zip(self.subjects, rows, strict=True) if keep)
        return replace(self, subjects=kept, values=self.values[rows])


def collect_repeats(
    table: pd.DataFrame,
    repeat_column: str,
    *,
    features: Sequence[str] | None = None,
    source: str = "the feature table",
) -> list[Repeats]:
    """Return the repeated measurements of a table, one entry per session, contrast and kind.

    Parameters
    ----------
    table : DataFrame
        Wide: ``subject``, the repeat column and a column per feature. Long: ``subject``, the
        repeat column, ``feature`` and ``value``. Regions of one subject are told apart by
        `REGION_COLUMNS`.
    repeat_column : str
        Says which measurement a row is: rater, scan, perturbation. It may be session or contrast,
        for test-retest scans.
    features : sequence of str, optional
        Columns to look at. By default those that name a feature class (`feature_columns`), else
        every column of numbers that `REGION_COLUMNS` and `CONDITION_COLUMNS` do not hold.
    source : str
        What messages call the table.

    Raises
    ------
    CohortError
        A column is missing, a region has two rows for one repeat, text where a number belongs,
        or there is but one repeat.
    """
    needed = ["subject", repeat_column, *(features or ())]
    absent = [name for name in needed if name not in table.columns]
    if absent and not (features and {"feature", "value"} <= set(table.columns)):
        raise CohortError(
            [f"{source}: column {name} is missing; add it or name another" for name in absent]
        )
    region = [c for c in REGION_COLUMNS if c in table.columns and c != repeat_column]
    condition = [c for c in CONDITION_COLUMNS if c in table.columns and c != repeat_column]
    rows = table.assign(
        **{c: _text(table[c]) for c in ("subject", repeat_column, *region, *condition)}
    )
    if {"feature", "value"} <= set(table.columns):
        rows = _widened(rows, ["subject", repeat_column, *region, *condition], source)
    names = list(features or _feature_columns(rows, {*region, *condition, repeat_column}, source))
    values = rows.assign(**{name: _numbers(rows[name], source) for name in names})
    if not condition:
        return [_one(values, repeat_column, region, names, (), source)]
    found = []
    for key, part in values.groupby(condition, sort=True):
        shared = tuple(zip(condition, (str(v) for v in key), strict=True))
        found.append(_one(part, repeat_column, region, names, shared, source))
    return found


def _one(
    rows: pd.DataFrame,
    repeat_column: str,
    region: list[str],
    names: list[str],
    condition: tuple[tuple[str, str], ...],
    source: str,
) -> Repeats:
    units = pd.MultiIndex.from_frame(rows[["subject", *region]])
    where = " ".join(f"{column} {value}" for column, value in condition)
    twice = rows[[*units.names, repeat_column]].duplicated()
    if twice.any():
        first = rows.loc[twice].iloc[0]
        named = ", ".join(f"{c} {first[c]}" for c in ("subject", *region) if first[c])
        raise CohortError(
            [
                f"{source}: {named} {where}: two rows with {repeat_column} {first[repeat_column]};"
                " keep one of them, or name the column that tells them apart with --repeat-column"
            ]
        )
    repeats = sorted(set(rows[repeat_column]), key=_natural)
    if len(repeats) < 2:
        raise CohortError(
            [
                f"{source}: column {repeat_column} holds only {repeats[0]!r} {where}; stability"
                " needs two measurements or more of a subject"
            ]
        )
    order = sorted(set(units))
    i = pd.Index(order).get_indexer(units) if region else [order.index(u) for u in units]
    k = [repeats.index(value) for value in rows[repeat_column]]
    values = np.full((len(order), len(repeats), len(names)), np.nan)
    values[i, k] = rows[names].to_numpy(dtype=np.float64)
    return Repeats(
        tuple(str(unit[0]) for unit in order), tuple(repeats), tuple(names), values, condition
    )


def _text(column: pd.Series) -> pd.Series:
    """Return cells as text; whole numbers without a point, empty where missing."""
    if pd.api.types.is_float_dtype(column):
        whole = column.dropna()
        if (whole == whole.round()).all():
            column = column.astype("Int64")
    return column.astype(object).where(column.notna(), "").astype(str)


def _natural(text: str) -> tuple[int, float, str]:
    """Sort numbers by value, before words."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _widened(rows: pd.DataFrame, ids: list[str], source: str) -> pd.DataFrame:
    twice = rows[[*ids, "feature"]].duplicated()
    if twice.any():
        first = rows.loc[twice].iloc[0]
        raise CohortError(
            [
                f"{source}: subject {first['subject']}: feature {first['feature']} stands twice for"
                f" {ids[1]} {first[ids[1]]}; keep one"
            ]
        )
    order = list(dict.fromkeys(rows["feature"]))
    wide = rows.pivot(index=ids, columns="feature", values="value")[order]
    return wide.reset_index()


def _feature_columns(rows: pd.DataFrame, used: set[str], source: str) -> list[str]:
    others = [str(c) for c in rows.columns if c not in used and c != "subject"]
    named = [c.column for c in feature_columns(others)]
    found = named or [c for c in others if pd.api.types.is_numeric_dtype(rows[c])]
    if not found:
        raise CohortError([f"{source}: no column of features; give a table that has some"])
    return found


def _numbers(column: pd.Series, source: str) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce")
    text = values.isna() & column.notna() & (column.astype(str).str.strip() != "")
    if text.any():
        raise CohortError(
            [
                f"{source}: column {column.name}: {column[text].iloc[0]!r} is text where a number"
                " is expected; correct it or empty the cell"
            ]
        )
    return values.astype(np.float64)

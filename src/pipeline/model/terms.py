"""Terms of a regression: how a column of the sheet becomes columns of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float
from pipeline.model.splines import default_knots, spline_basis

Kind = Literal["continuous", "categorical", "spline"]
Limits = Literal["range", "datadist"]

#: A continuous variable with at most this many different values shows each of them on its axis.
_FEW_VALUES = 10
#: ``rms::datadist`` leaves out this many subjects (of at least 200) at either end of an axis.
_ENDS, _LEAST = 10, 200


@dataclass(frozen=True)
class Term:
    """A variable of a model.

    Attributes
    ----------
    name : str
        Column of the sheet.
    kind : {"continuous", "categorical", "spline"}
        One column as it is; one 0/1 column per level but the first; a restricted cubic spline.
    levels : tuple of str
        Categorical: the levels, reference first.
    knots : tuple of float
        Spline: the knots, in the unit of the variable.
    low, high : float
        Ends of the values in development: the range of the nomogram's axis.
    label : str
        Name for readers; empty for `name`.
    unit : str
        Unit for readers, such as "years"; may be empty.
    values : tuple of float
        Continuous, spline: the different values when there are at most 10, else empty.
    median : float
        Continuous, spline: median in development.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    knots: tuple[float, ...] = ()
    low: float = float("nan")
    high: float = float("nan")
    label: str = ""
    unit: str = ""
    values: tuple[float, ...] = ()
    median: float = float("nan")

    @property
    def title(self) -> str:
        """Name for readers with the unit in brackets."""
        text = self.label or self.name
        return f"{text} ({self.unit})" if self.unit else text

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: ``age``, ``age'``, ``age''`` of a spline, ``stage=III``."""
        if self.kind == "categorical":
            return tuple(f"{self.name}={level}" for level in self.levels[1:])
        return tuple(self.name + "'" * i for i in range(max(1, len(self.knots) - 1)))

    def matrix(self, values: Sequence[Any] | Float) -> Float:
        """Return the columns (n, k) of n values (numbers, or names of levels)."""
        if self.kind == "categorical":
            unknown = [v for v in values if v not in self.levels]
            if unknown:
                raise ModelError(f"{self.name}: {unknown[0]!r} is none of {_list(self.levels)}")
            return np.array([[v == level for level in self.levels[1:]] for v in values], float)
        numbers = np.asarray(values, dtype=np.float64)
        if self.kind == "spline":
            return spline_basis(numbers, self.knots)
        return numbers[:, np.newaxis]

    def to_record(self) -> dict[str, Any]:
        """Return the term as JSON types."""
        return {
            "name": self.name,
            "kind": self.kind,
            "levels": list(self.levels),
            "knots": list(self.knots),
            "low": _or_none(self.low),
            "high": _or_none(self.high),
            "median": _or_none(self.median),
            "label": self.label,
            "unit": self.unit,
            "values": list(self.values),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Term":
        """Return the term of a JSON record."""

        def number(name: str) -> float:
            return float("nan") if record[name] is None else float(record[name])

        return cls(
            name=str(record["name"]),
            kind=record["kind"],
            levels=tuple(str(level) for level in record["levels"]),
            knots=tuple(float(knot) for knot in record["knots"]),
            low=number("low"),
            high=number("high"),
            label=str(record["label"]),
            unit=str(record["unit"]),
            values=tuple(float(value) for value in record["values"]),
            median=number("median"),
        )


def fit_terms(
    frame: pd.DataFrame,
    kinds: Mapping[str, Kind],
    *,
    source: str = "the subjects sheet",
    n_knots: int = 4,
    references: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    limits: Limits = "range",
) -> tuple[Term, ...]:
    """Return the terms of the development rows: levels, knots and ranges.

    Parameters
    ----------
    frame : DataFrame
        Development rows, indexed by subject; no missing cell in the columns of `kinds`
        (drop them first with `complete_rows`).
    kinds : mapping of column to kind
        The variables, in the order of the model.
    source : str
        Name of the sheet in messages.
    n_knots : int
        Knots of each spline; see `pipeline.model.splines.default_knots`.
    references : mapping of column to level, optional
        Reference levels. Default: the first of the sorted levels (numbers by size), or of the
        order of a pandas categorical.
    labels, units : mapping of column to text, optional
        What readers see.
    limits : {"range", "datadist"}
        Ends of the axes: smallest and largest value, as ``rms::nomogram`` takes them (default),
        or the quantiles 10 / max(n, 200) and 1 minus that, the limits that ``rms::datadist``
        keeps for plots.

    Raises
    ------
    ModelError
        A column that is absent, has a missing or non-numeric cell, or does not vary.
    """
    if not kinds:
        raise ModelError("no term is named; a model needs at least one variable")
    chosen = references or {}
    terms = []
    for name, kind in kinds.items():
        if kind not in get_args(Kind):
            raise ModelError(
                f"term {name}: kind {kind!r} is none of continuous, categorical, spline"
            )
        column = _column(frame, name, source)
        if kind == "categorical":
            levels = _levels(column, name, source, chosen.get(name))
            term = Term(name, kind, levels=levels)
        else:
            values = _numbers(column, name, source)
            term = _numeric_term(name, kind, values, limits, source)
            if kind == "spline":
                knots = default_knots(values, n_knots, what=f"{source}: column {name}")
                term = replace(term, knots=knots)
        label, unit = (labels or {}).get(name, ""), (units or {}).get(name, "")
        terms.append(replace(term, label=label, unit=unit))
    return tuple(terms)


def design_matrix(
    frame: pd.DataFrame, terms: Sequence[Term], *, source: str = "the subjects sheet"
) -> tuple[Float, tuple[str, ...]]:
    """Return the columns (n, k) of the rows, as numbers, and their names.

    Parameters
    ----------
    frame : DataFrame
        Rows indexed by subject.
    terms : sequence of Term
        Fitted on the development rows.
    source : str
        Name of the sheet in messages.

    Raises
    ------
    ModelError
        A column that is absent, a missing or non-numeric cell, or a level that the development
        rows do not have; names the column and the first such subject.
    """
    blocks = []
    for term in terms:
        column = _column(frame, term.name, source)
        if term.kind == "categorical":
            blocks.append(term.matrix(_known_levels(column, term, source)))
        else:
            blocks.append(term.matrix(_numbers(column, term.name, source)))
    names = tuple(name for term in terms for name in term.columns)
    return np.hstack(blocks).reshape(len(frame), len(names)), names


def complete_rows(
    frame: pd.DataFrame, names: Sequence[str], *, source: str = "the subjects sheet"
) -> Bool:
    """Tell which rows (n,) have a value in every one of some columns."""
    for name in names:
        if name not in frame.columns:
            raise _no_column(frame, name, source)
    present: Bool = np.ones(len(frame), dtype=bool)
    for name in names:
        present &= np.array([not _is_missing(value) for value in frame[name]], dtype=bool)
    return present


def level_names(column: Sequence[Any] | pd.Series) -> list[str]:
    """Return cells as names of levels: whole numbers without a point, text without spaces."""
    return [_level_name(value) for value in column]


def _numeric_term(
    name: str,
    kind: Kind,
    values: Float,
    limits: Limits,
    source: str,
) -> Term:
    different = np.unique(values)
    if different.size < 2:
        raise ModelError(
            f"{source}: column {name} is constant ({different[0]:g} in all {values.size} rows);"
            " a term must vary: remove it"
        )
    low, high = float(different[0]), float(different[-1])
    if limits == "datadist" and different.size > 3:
        end = _ENDS / max(values.size, _LEAST)
        inner = np.quantile(values, [end, 1 - end])
        if inner[0] < inner[1]:
            low, high = (float(v) for v in inner)
    few = tuple(float(v) for v in different) if different.size <= _FEW_VALUES else ()
    return Term(name, kind, low=low, high=high, values=few, median=float(np.median(values)))


def _column(frame: pd.DataFrame, name: str, source: str) -> pd.Series:
    if name not in frame.columns:
        raise _no_column(frame, name, source)
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise ModelError(f"{source}: column {name} is there twice; rename one")
    missing = [subject for subject, cell in column.items() if _is_missing(cell)]
    if missing:
        raise ModelError(
            f"{source}: column {name}: {len(missing)} of {len(column)} cells are empty (first:"
            f" subject {missing[0]}); fill them or leave these subjects out"
        )
    return column


def _no_column(frame: pd.DataFrame, name: str, source: str) -> ModelError:
    return ModelError(
        f"{source}: there is no column {name}; it has {_list([str(c) for c in frame.columns])}"
    )


def _is_missing(value: Any) -> bool:
    return bool(pd.isna(value)) or (isinstance(value, str) and not value.strip())


def _numbers(column: pd.Series, name: str, source: str) -> Float:
    numbers = np.array([_number(cell) for cell in column], dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        row = int(wrong[0])
        raise ModelError(
            f"{source}: column {name}, subject {column.index[row]}: '{column.iloc[row]}' is no"
            " finite number; correct it, or make the term categorical"
        )
    return numbers


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")


def _level_name(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, int, np.floating, np.integer)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value).strip()


def _levels(column: pd.Series, name: str, source: str, reference: str | None) -> tuple[str, ...]:
    present = set(level_names(column))
    if isinstance(column.dtype, pd.CategoricalDtype):
        ordered = [level for level in level_names(column.cat.categories) if level in present]
    else:
        ordered = sorted(present, key=_level_order)
    if len(ordered) < 2:
        raise ModelError(
            f"{source}: column {name} is constant ({ordered[0]} in all {len(column)} rows);"
            " a term must vary: remove it"
        )
    if reference is None:
        return tuple(ordered)
    if reference not in ordered:
        raise ModelError(
            f"{source}: column {name}: the reference level {reference!r} does not occur in"
            f" development; choose one of {_list(ordered)}"
        )
    return (reference, *(level for level in ordered if level != reference))


def _level_order(level: str) -> tuple[int, float, str]:
    number = _number(level)
    return (1, 0.0, level) if np.isnan(number) else (0, number, level)


def _known_levels(column: pd.Series, term: Term, source: str) -> list[str]:
    names = level_names(column)
    for subject, level in zip(column.index, names, strict=True):
        if level not in term.levels:
            raise ModelError(
                f"{source}: column {term.name}, subject {subject}: {level!r} is a category seen"
                f" only in validation; development has {_list(term.levels)}. Merge the category"
                " with one of these, or leave the subject out"
            )
    return names


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _list(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"

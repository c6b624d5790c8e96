"""The sessions of each region of a table: which rows belong together, in which order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import CohortError, SettingsError

Days = npt.NDArray[np.float64]

#: Columns that tell apart the regions of one subject and session, where a table has them.
KEY_COLUMNS = ("subject", "contrast", "kind", "label", "label_number", "structure", "region")
#: Days of a month and of a year.
DAYS: dict[str, float] = {"day": 1.0, "month": 365.25 / 12, "year": 365.25}
#: Ending of a time column's name -> days of its unit; any other column holds dates.
_UNITS = {"_days": 1.0, "_months": DAYS["month"], "_years": DAYS["year"]}


def keys_of(table: pd.DataFrame) -> list[str]:
    """Return which of `KEY_COLUMNS` tell the regions of a table apart.

    A label's number counts only where labels have no names: two masks may number one structure
    differently.
    """
    names = table["label"].dropna().astype(str) if "label" in table else pd.Series(dtype=str)
    skipped = {"label_number"} if (names != "").any() else set()
    return [name for name in KEY_COLUMNS if name in table and name not in skipped]


def group_rows(table: pd.DataFrame, keys: Sequence[str]) -> list[tuple[tuple[Any, ...], list[int]]]:
    """Return key and row numbers of each region, in order of first appearance."""
    groups: dict[tuple[Any, ...], tuple[tuple[Any, ...], list[int]]] = {}
    for place, key in enumerate(zip(*(table[name] for name in keys), strict=True)):
        # NaN is unequal to itself: compare as text.
        groups.setdefault(tuple(map(str, key)), (key, []))[1].append(place)
    return list(groups.values())


def pairs_of(
    by_session: Mapping[str, int],
    first: str | None,
    others: Sequence[str] | None,
    days: Days | None,
) -> list[tuple[str, str]]:
    """Return the pairs of sessions to compare of one region.

    Parameters
    ----------
    by_session : mapping of str to int
        Its sessions, and their rows.
    first : str or None
        The session that the others are held against; None takes the earliest.
    others : sequence of str or None
        What is held against it; None takes every other session of the region.
    days : (n,) float array or None
        Time of each row of the table.

    Returns
    -------
    list of (str, str)
        Never empty: sessions that the region lacks are there too, "" where it has no other one.
    """
    start = first
    if start is None:
        known = {
            s: t for s, p in by_session.items() if days is not None and np.isfinite(t := days[p])
        }
        start = min(known or by_session, key=lambda s: known.get(s, 0.0))
    wanted = list(others) if others is not None else [s for s in by_session if s != start]
    return [(start, end) for end in wanted if end != start] or [(start, "")]


def days_of(column: "pd.Series[Any]", name: str) -> Days:
    """Return times as days; NaN where missing."""
    unit = next((days for ending, days in _UNITS.items() if name.endswith(ending)), None)
    if unit is not None:
        return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64) * unit
    dates = pd.to_datetime(column.astype("string"), format="%Y-%m-%d", errors="coerce")
    if dates.isna().all():
        raise SettingsError(
            f"time column {name!r} holds no date (2024-03-31), and its name does not end in _days, "
            "_months or _years; rename it or write dates"
        )
    return np.asarray((dates - pd.Timestamp(1970, 1, 1)) / pd.Timedelta(days=1), dtype=np.float64)


def check_unique(table: pd.DataFrame, keys: Sequence[str]) -> None:
    """Raise CohortError where a region has two rows of one session."""
    named = [*keys, "session"]
    twice = table[table.duplicated(named, keep="first")]
    if not twice.empty:
        raise CohortError([
            ", ".join(f"{name} {row[name]}" for name in named)
            + ": there are several rows; keep one, or add a column that tells the regions apart ("
            + ", ".join(KEY_COLUMNS)
            + ")"
            for _, row in twice.iterrows()
        ])  # fmt: skip

"""Change between sessions for a whole table of features; what has no change says why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import CohortError, SettingsError
from pipeline.radiomics.delta import Mode, delta
from pipeline.radiomics.feature_columns import feature_columns
from pipeline.radiomics.session_pairs import (
    DAYS,
    check_unique,
    days_of,
    group_rows,
    keys_of,
    pairs_of,
)

TableMode = Literal["relative", "percent", "absolute", "log_ratio"]
Sign = Literal["decrease", "increase"]
Per = Literal["day", "month", "year"]

#: With any other status, a row of features is not whole.
_WHOLE = ("ok", "one_grey_level", "")
_MOST_NAMED = 3

Features = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DeltaSettings:
    """What change means.

    Attributes
    ----------
    mode : {"relative", "percent", "absolute", "log_ratio"}
        As `pipeline.radiomics.delta.delta`; percent is a hundred times relative.
    sign : {"decrease", "increase"}
        What is positive: a decrease (first - second, as deltaRAD), or an increase (second -
        first, the usual sign).
    time : str, optional
        Column with the time of a session: a number whose name ends in _days, _months or
        _years, or a date (2024-03-31).
    per : {"day", "month", "year"}, optional
        Divide the change by the time between the two sessions.
    """

    mode: TableMode = "relative"
    sign: Sign = "decrease"
    time: str | None = None
    per: Per | None = None


def delta_table(
    features: pd.DataFrame,
    *,
    first: str | None = None,
    others: Sequence[str] | None = None,
    settings: DeltaSettings | None = None,
) -> pd.DataFrame:
    """Return a row for each region and pair of sessions, with the change of every feature.

    Parameters
    ----------
    features : DataFrame
        Wide: ``subject`` and ``session``, others of `pipeline.radiomics.session_pairs.KEY_COLUMNS`
        where there are several regions, features by their names; ``status`` and ``reason`` are
        handed on.
    first : str, optional
        Session that the others are held against; by default each region's earliest, by the time
        column.
    others : sequence of str, optional
        Sessions to hold against it; by default every other one.
    settings : DeltaSettings, optional
        What change means.

    Returns
    -------
    DataFrame
        Key columns, ``session_from``, ``session_to``, ``days`` (with a time column), ``status``
        (ok, incomplete, failed), ``reason``, then the features under their own names. Rows
        follow the order of the table, then of `others`. What cannot be computed is NaN, and the
        reason says why; a region without the sessions keeps its row.

    Raises
    ------
    SettingsError
        Columns or a session that are not there, or settings that need another one.
    CohortError
        Two rows of one region and session, or cells that are no numbers.
    """
    settings = settings or DeltaSettings()
    columns = [feature.column for feature in feature_columns(features.columns)]
    _check(features, columns, first, others, settings)
    keys = keys_of(features)
    table = features.reset_index(drop=True)
    table["session"] = table["session"].astype(str)
    values = _numbers(table, columns)
    days = None if settings.time is None else days_of(table[settings.time], settings.time)
    check_unique(table, keys)
    rows: list[dict[str, Any]] = []
    changes: list[Features] = []
    for key, places in group_rows(table, keys):
        by_session = {str(table.at[place, "session"]): place for place in places}
        for start, end in pairs_of(by_session, first, others, days):
            ends = (by_session.get(start), by_session.get(end))
            row, change = _compare(table, values, days, ends, (start, end), columns, settings)
            if first is None and row["status"] != "failed" and np.isnan(row["days"]):
                change = np.full(len(columns), np.nan)
                row |= {"status": "failed", "reason": "time unknown: which session is first?"}
            rows.append(dict(zip(keys, key, strict=True)) | row)
            changes.append(change)
    told = ["session_from", "session_to", *(["days"] if settings.time else []), "status", "reason"]
    whole = np.array(changes).reshape(len(rows), len(columns))
    return pd.concat(
        [pd.DataFrame(rows, columns=[*keys, *told]), pd.DataFrame(whole, columns=columns)], axis=1
    )


def _compare(
    table: pd.DataFrame,
    values: Features,
    days: Features | None,
    ends: tuple[int | None, int | None],
    sessions: tuple[str, str],
    columns: Sequence[str],
    settings: DeltaSettings,
) -> tuple[dict[str, Any], Features]:
    """Return one row without its keys and features, and the features."""
    nothing = np.full(len(columns), np.nan)
    row: dict[str, Any] = {"session_from": sessions[0], "session_to": sessions[1], "days": np.nan}
    start, end = ends
    if start is None or end is None:
        lacking = [
            s or "other than the first" for s, e in zip(sessions, ends, strict=True) if e is None
        ]
        return row | {"status": "failed", "reason": f"no session {' and '.join(lacking)}"}, nothing
    between = np.nan if days is None else float(days[end] - days[start])
    row["days"] = between
    change = _change(values[start], values[end], settings)
    reasons = _reasons_of_rows(table, (start, end), sessions)
    if settings.per is not None:
        if not between > 0:
            told = "unknown" if np.isnan(between) else f"{between:g}"
            reasons.append(f"days between the sessions: {told}; a rate needs more than 0")
            return row | {"status": "failed", "reason": "; ".join(reasons)}, nothing
        change = change * (DAYS[settings.per] / between)
    lost = ~np.isfinite(change)
    reasons += _reasons_of_features(values[start], values[end], lost, columns)
    status = "failed" if lost.all() else "incomplete" if lost.any() else "ok"
    return row | {"status": status, "reason": "; ".join(reasons)}, np.where(lost, np.nan, change)


def _change(first: Features, second: Features, settings: DeltaSettings) -> Features:
    mode: Mode = "relative" if settings.mode == "percent" else settings.mode
    with np.errstate(over="ignore", invalid="ignore"):
        change = delta(first, second, mode=mode) * (100.0 if settings.mode == "percent" else 1.0)
    # 0 - x keeps 0 a plain 0, where -x would write -0.0 into the table.
    return change if settings.sign == "decrease" else 0.0 - change


def _reasons_of_rows(
    table: pd.DataFrame, places: Sequence[int], sessions: Sequence[str]
) -> list[str]:
    """Return what the two rows of features say of themselves."""
    reasons = []
    for place, session in zip(places, sessions, strict=True):
        status, reason = (_text(table, place, name) for name in ("status", "reason"))
        if status not in _WHOLE:
            reasons.append(f"{session}: {status}" + (f": {reason}" if reason else ""))
    return reasons


def _reasons_of_features(
    first: Features, second: Features, lost: npt.NDArray[np.bool_], columns: Sequence[str]
) -> list[str]:
    missing = lost & ~(np.isfinite(first) & np.isfinite(second))
    kinds = (
        (missing, "missing in one of the sessions"),
        (lost & ~missing, "without such a change (first value near 0, or another sign)"),
    )
    reasons = []
    for chosen, what in kinds:
        names = [name for name, there in zip(columns, chosen, strict=True) if there]
        if names:
            more = ", ..." if len(names) > _MOST_NAMED else ""
            reasons.append(f"{len(names)} features {what}: {', '.join(names[:_MOST_NAMED])}{more}")
    return reasons


def _numbers(table: pd.DataFrame, columns: Sequence[str]) -> Features:
    problems = []
    found = np.empty((len(table), len(columns)))
    for n, name in enumerate(columns):
        numbers = pd.to_numeric(table[name], errors="coerce")
        broken = numbers.isna() & table[name].notna()
        if broken.any():
            row = table[broken].iloc[0]
            problems.append(
                f"column {name}, subject {row['subject']}, session {row['session']}: {row[name]!r} "
                "is no number; leave the cell empty where a feature is missing"
            )
        found[:, n] = numbers.to_numpy(dtype=np.float64)
    if problems:
        raise CohortError(problems)
    return found


def _text(table: pd.DataFrame, place: int, name: str) -> str:
    value = table.at[place, name] if name in table else ""
    return "" if pd.isna(value) else str(value)


def _check(
    features: pd.DataFrame,
    columns: Sequence[str],
    first: str | None,
    others: Sequence[str] | None,
    settings: DeltaSettings,
) -> None:
    for name in ("subject", "session", *([settings.time] if settings.time else [])):
        if name not in features:
            raise SettingsError(f"the table has no column {name!r}; it has {_some(features)}")
    if not columns:
        raise SettingsError(
            f"the table has no feature column such as glcm_Contrast; it has {_some(features)}. A "
            "long table has to be made wide first"
        )
    if settings.per is not None and settings.time is None:
        raise SettingsError(f"a change per {settings.per} needs the column with the times")
    if first is None and settings.time is None:
        raise SettingsError("which session is first? name it, or the column with the times")
    known = list(dict.fromkeys(features["session"].astype(str)))
    for session in [*([first] if first else []), *(others or [])]:
        if session not in known:
            raise SettingsError(f"no row is of session {session!r}; there are {', '.join(known)}")
    if first is not None and first in (others or []):
        raise SettingsError(f"session {first!r} cannot be held against itself")


def _some(frame: pd.DataFrame) -> str:
    names = [str(name) for name in frame.columns[:8]]
    return ", ".join(names) + (", ..." if frame.shape[1] > len(names) else "")

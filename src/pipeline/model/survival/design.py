"""Join the feature table and the subjects sheet into the rows of a survival model."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import CohortError, ModelError
from pipeline.model.arrays import Bool, Float
from pipeline.model.design import MIN_DEVELOPMENT
from pipeline.model.scaling import usable
from pipeline.model.survival.outcome import Outcome, check_outcome
from pipeline.model.terms import Kind, level_names

logger = logging.getLogger(__name__)

SPLITS = ("development", "test")

#: A column whose name holds one of these words is no column of months.
_OTHER_UNITS = ("day", "week", "year")

#: Covariates cannot have these names.
_RESERVED = {
    "subject": "it names the rows",
    "split": "it says who develops and who tests",
    "rad_score": "the Rad-score has this name",
    "risk_group": "the groups of the Rad-score have this name",
}


@dataclass(frozen=True, eq=False)
class SurvivalDesign:
    """Rows of a survival model, sorted by subject, whatever the order of the tables.

    Attributes
    ----------
    subjects : tuple of n str
        Row names.
    development : (n,) bool array
        Development rows; the others are test rows.
    centre : tuple of n str
        Hospital or scanner of each row.
    outcome : Outcome
        Months and events of the n rows.
    values : (n, p) float array
        Features as measured; NaN where missing. Every column varies over the development rows.
    features : tuple of p str
        Column names, ``set.feature``.
    covariates : DataFrame (n, c), indexed by subject
        The asked columns of the subjects sheet; a missing cell is NaN. Columns of numbers are
        float, categories are text.
    """

    subjects: tuple[str, ...]
    development: Bool
    centre: tuple[str, ...]
    outcome: Outcome
    values: Float
    features: tuple[str, ...]
    covariates: pd.DataFrame


def build_survival_design(
    features: pd.DataFrame | None,
    subjects: pd.DataFrame,
    *,
    feature_set: str | None,
    covariates: Mapping[str, Kind],
    time: str = "time_months",
    event: str = "event",
    to_fit: bool = True,
    sources: tuple[str, str] = ("the feature table", "the subjects sheet"),
) -> SurvivalDesign:
    """Check and join the two tables; what is wrong with their cells is told at once.

    Parameters
    ----------
    features : DataFrame or None
        ``subject`` and columns of numbers, one row per subject. None: a study of covariates.
    subjects : DataFrame
        ``subject``, ``split`` (development or test), ``centre``, time, event and covariates, one
        row per subject. Subjects without features have been excluded and are left out.
    feature_set : str or None
        Prefix of the columns to use, as in ``set.feature``; None takes every column.
    covariates : mapping of column to kind
        "continuous" and "spline" columns must hold numbers. A code that stands for "unknown"
        (stage x written as 3, say) is a level or a number like any other: recode it first.
    time, event : str
        Columns of `subjects`: months above 0, and 1 (seen) or 0 (censored).
    to_fit : bool
        False for rows that a finished model is judged on: they may all be test rows, of one
        level, and no feature is dropped.
    sources : (str, str)
        What error messages call the two tables: their paths.

    Raises
    ------
    CohortError
        One line per problem, naming table, column and subject: missing columns; subjects twice
        (also when only capitals differ) or unknown to the sheet; a split, centre, time or event
        that has no meaning; text among numbers; a constant covariate; a category that no
        development row has.
    ModelError
        Too few development rows, no event among them, or no feature that varies.

    Notes
    -----
    Features that are constant or missing throughout the development rows are dropped, with a
    log line. Test rows without an event, a subject without any feature value and an implausible
    unit of time are logged as warnings.
    """
    table, sheet = sources
    names = list(covariates)
    required = ["subject", "split", "centre", time, event, *names]
    problems = missing_columns(subjects, required, sheet)
    columns: list[str] = []
    problems += [
        f"{sheet}: column {name} cannot be a covariate: {_RESERVED.get(name, 'it is the outcome')};"
        " leave it out or rename it"
        for name in names
        if name in (*_RESERVED, time, event)
    ]
    if features is not None:
        problems += missing_columns(features, ["subject"], table)
        columns, found = _columns_of(features, feature_set, set(subjects.columns), table)
        problems += found
    stop_at(problems)

    problems = check_subjects(subjects, sheet)
    if features is not None:
        problems += check_subjects(features, table)
        problems += strangers(features, subjects, table, sheet)
    stop_at(problems)

    rows = _join(features, subjects, required, columns)
    development = (rows["split"] == "development").to_numpy(dtype=bool)
    problems = _check_cells(rows, development, covariates, sheet, to_fit)
    outcome, found = _outcome(rows, (time, event), sheet)
    values, text = _numbers(rows, columns, table)
    stop_at(problems + found + text)
    kept: Bool = np.ones(len(columns), dtype=bool)
    if to_fit:
        _check_counts(outcome, development, sheet, (time, event))
        kept = _varying(values, development, columns, table)
    _tell_empty_rows(values[:, kept], rows.index.tolist(), table)
    return SurvivalDesign(
        subjects=tuple(rows.index),
        development=development,
        centre=tuple(rows["centre"].astype(str)),
        outcome=outcome,
        values=values[:, kept],
        features=tuple(c for c, keep in zip(columns, kept, strict=True) if keep),
        covariates=_covariates(rows, covariates),
    )


def _shown(value: object) -> str:
    return "an empty cell" if value is None or value != value else repr(value)


def stop_at(problems: list[str]) -> None:
    """Raise the problems, if there are any, as one error."""
    if problems:
        raise CohortError(problems)


def missing_columns(table: pd.DataFrame, names: Sequence[str], source: str) -> list[str]:
    """Return a problem per column that the table lacks; one if it was cut at the wrong sign."""
    absent = [name for name in dict.fromkeys(names) if name not in table.columns]
    only = str(table.columns[0])
    if absent and table.shape[1] == 1 and ("," in only or ";" in only):
        return [
            f"{source}: the only column is {only[:40]!r}; separate the cells by tabs, or by commas"
            " in a file whose name ends in .csv"
        ]
    if not absent and table.empty:
        return [f"{source}: no row below the header; give a table with a row per subject"]
    return [f"{source}: column {n} is missing; add it or name another" for n in absent]


def _columns_of(
    features: pd.DataFrame, feature_set: str | None, of_sheet: set[str], table: str
) -> tuple[list[str], list[str]]:
    # a feature table may repeat columns of the sheet, which are no features
    names = [str(c) for c in features.columns if c not in of_sheet]
    found = [n for n in names if feature_set is None or n.startswith(f"{feature_set}.")]
    if found:
        return found, []
    if feature_set is None:
        return [], [f"{table}: no column besides subject; give a table with features"]
    present = sorted({n.split(".")[0] for n in names if "." in n})
    return [], [
        f"{table}: no column starts with '{feature_set}.'; it has the feature sets "
        f"{', '.join(present) or 'none'}: name one of them"
    ]


def check_subjects(frame: pd.DataFrame, source: str) -> list[str]:
    """Return the problems of the column of subjects: empty cells, twins."""
    problems = []
    seen: dict[str, tuple[int, str]] = {}
    for row, (name, empty) in enumerate(
        zip(frame["subject"].astype(str), frame["subject"].isna(), strict=True), start=2
    ):
        if empty:
            problems.append(f"{source}: column subject, row {row}: empty; name the subject")
            continue
        first, spelling = seen.setdefault(name.lower(), (row, name))
        if first == row:
            continue
        twin = f" (there as {spelling})" if spelling != name else ""
        problems.append(
            f"{source}: column subject, row {row}: subject {name} stands already in row {first}"
            f"{twin}; keep one row per subject or rename one"
        )
    return problems


def strangers(features: pd.DataFrame, subjects: pd.DataFrame, table: str, sheet: str) -> list[str]:
    """Return a problem per subject of the feature table that the sheet does not know."""
    known = set(subjects["subject"].astype(str))
    unknown = sorted(set(features["subject"].dropna().astype(str)) - known)
    return [
        f"{table}: column subject: {name} is not in {sheet}; add its row there or make the"
        " feature table again"
        for name in unknown
    ]


def _join(
    features: pd.DataFrame | None,
    subjects: pd.DataFrame,
    required: Sequence[str],
    columns: Sequence[str],
) -> pd.DataFrame:
    right = subjects.loc[:, list(dict.fromkeys(required))]
    right = right.assign(subject=right["subject"].astype(str)).set_index("subject")
    if features is None:
        return right.sort_index()
    left = features.assign(subject=features["subject"].astype(str)).set_index("subject")
    without = sorted(set(right.index) - set(left.index))
    if without:
        logger.info("%d subjects without features are left out: %s", len(without), without)
    order = sorted(left.index)
    return pd.concat([right.loc[order], left.loc[order, list(columns)]], axis=1)


def _check_cells(
    rows: pd.DataFrame,
    development: Bool,
    covariates: Mapping[str, Kind],
    sheet: str,
    to_fit: bool,
) -> list[str]:
    problems = [
        f"{sheet}: column split, subject {subject}: {_shown(split)} is neither development nor"
        " test; correct it"
        for subject, split in rows["split"].items()
        if split not in SPLITS
    ]
    problems += [
        f"{sheet}: column centre, subject {subject}: empty; name the hospital or scanner"
        for subject, empty in rows["centre"].isna().items()
        if empty
    ]
    if to_fit and not development.any():
        return problems
    for name, kind in covariates.items():
        if not to_fit:
            problems += [] if kind == "categorical" else as_numbers(rows[name], sheet)[1]
        elif kind == "categorical":
            problems += _check_levels(rows[name], development, sheet)
        else:
            problems += _check_range(rows[name], development, sheet)
    return problems


def _check_levels(column: pd.Series, development: Bool, sheet: str) -> list[str]:
    text = level_text(column)
    known = set(text[development].dropna())
    if len(known) < 2:
        return _constant(column, known, sheet)
    return [
        f"{sheet}: column {column.name}, subject {subject}: level {level!r} is not among the"
        f" development rows, which have {', '.join(sorted(known))}; merge it with one of these"
        " or leave the subject out"
        for subject, level in text[~development].dropna().items()
        if level not in known
    ]


def _check_range(column: pd.Series, development: Bool, sheet: str) -> list[str]:
    values, problems = as_numbers(column, sheet)
    if problems:
        return problems
    known = values[development]
    known = known[np.isfinite(known)]
    if known.size and np.ptp(known) > 0:
        return []
    return _constant(column, {f"{v:g}" for v in known}, sheet)


def _constant(column: pd.Series, known: set[str], sheet: str) -> list[str]:
    what = f"have {next(iter(known))!r}" if known else "are empty"
    return [
        f"{sheet}: column {column.name}: all development rows {what}, so it can explain nothing;"
        " leave the covariate out or check the column"
    ]


def level_text(column: pd.Series) -> pd.Series:
    """Return categories as names of levels; NaN where the cell is missing or blank."""
    text = pd.Series(level_names(column), index=column.index, name=column.name, dtype=object)
    return text.mask(column.isna() | (text == ""))


def as_numbers(column: pd.Series, source: str, *, whole: bool = True) -> tuple[Float, list[str]]:
    """Return the numbers of a column (NaN where there is none) and a problem per cell of text.

    A column of nothing but text is one problem if `whole`.
    """
    text = _text_cells(column)
    values = pd.to_numeric(column, errors="coerce")
    if whole and len(column) > 1 and text[column.notna().to_numpy()].all() and text.any():
        first = column.index[text][0]
        return np.full(len(column), np.nan), [
            f"{source}: column {column.name}: every cell is text, the first being {column[first]!r}"
            f" of subject {first}, where numbers are expected; a covariate of names is"
            " categorical, and no column of names is a feature"
        ]
    problems = [
        f"{source}: column {column.name}, subject {subject}: {cell!r} is text where a number is"
        " expected; correct it or empty the cell"
        for subject, cell in column[text].items()
    ]
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan)), problems


def _numbers(rows: pd.DataFrame, columns: Sequence[str], source: str) -> tuple[Float, list[str]]:
    found = [as_numbers(rows[name], source) for name in columns]
    problems = [p for _, texts in found for p in texts]
    return np.column_stack([np.empty((len(rows), 0)), *(v for v, _ in found)]), problems


def _outcome(rows: pd.DataFrame, names: tuple[str, str], sheet: str) -> tuple[Outcome, list[str]]:
    """Return the outcome (empty when there are problems) and the problems of its cells."""
    time, event = names
    (months, bad_time), (events, bad_event) = (
        as_numbers(rows[n], sheet, whole=False) for n in names
    )
    problems = bad_time + bad_event
    # a cell of text has its own message already
    readable = ~(_text_cells(rows[time]) | _text_cells(rows[event]))
    found = Outcome(np.empty(0), np.empty(0, dtype=bool))
    if not readable.any():
        return found, problems
    try:
        found = check_outcome(
            months[readable],
            events[readable],
            subjects=rows.index[readable].tolist(),
            source=sheet,
            columns=names,
        )
    except CohortError as error:
        problems += error.problems
    if any(unit in time.lower() for unit in _OTHER_UNITS):
        logger.warning(
            "%s: column %s is read as months, which its name denies; convert it and name the "
            "column time_months", sheet, time,
        )  # fmt: skip
    return found, problems


def _text_cells(column: pd.Series) -> Bool:
    if pd.api.types.is_numeric_dtype(column):
        return np.zeros(len(column), dtype=bool)
    numbers = pd.to_numeric(column, errors="coerce")
    blank = column.astype(str).str.strip() == ""
    return np.asarray((numbers.isna() & column.notna() & ~blank).to_numpy(dtype=bool))


def _check_counts(outcome: Outcome, development: Bool, sheet: str, names: tuple[str, str]) -> None:
    time, event = names
    count = int(development.sum())
    if not count:
        raise ModelError(
            f"{sheet}: column split: no row says development, so there is nothing to learn from;"
            " name who develops. A finished model is applied to new patients by `medpipe survival"
            " predict`"
        )
    if count < MIN_DEVELOPMENT:
        raise ModelError(
            f"{sheet}: {count} development rows; a model needs at least"
            f" {MIN_DEVELOPMENT}: add subjects, or see which ones the screen excluded"
        )
    if not outcome.event[development].any():
        raise ModelError(
            f"{sheet}: column {event}: none of {count} development rows has an event (1); a"
            " survival model needs events: check how the column is coded, and the split"
        )
    if np.ptp(outcome.months[development]) == 0:
        raise ModelError(
            f"{sheet}: column {time}: all {count} development rows have the same time,"
            f" {outcome.months[development][0]:g} months, so nobody outlives anybody: check the"
            " column"
        )
    test = ~development
    if test.any() and not outcome.event[test].any():
        logger.warning(
            "%s: column %s: none of %d test rows has an event, so nothing can be validated",
            sheet, event, int(test.sum()),
        )  # fmt: skip


def _varying(values: Float, development: Bool, columns: Sequence[str], table: str) -> Bool:
    kept = usable(values[development])
    dropped = [c for c, keep in zip(columns, kept, strict=True) if not keep]
    if dropped:
        logger.warning(
            "%s: %d features are constant or missing in all development rows and are left out: %s",
            table, len(dropped), ", ".join(dropped),
        )  # fmt: skip
    if columns and not kept.any():
        raise ModelError(
            f"{table}: all {len(columns)} features are constant or missing in the development"
            f" rows ({columns[0]} and so on); nothing can be learnt: check how the table was made"
        )
    return kept


def _tell_empty_rows(values: Float, subjects: Sequence[str], table: str) -> None:
    empty: Bool = np.asarray(~np.isfinite(values).any(axis=1))
    if values.shape[1] and empty.any():
        names = [name for name, is_empty in zip(subjects, empty, strict=True) if is_empty]
        logger.warning(
            "%s: %d subjects have no value of any feature and will stand at the development"
            " medians: %s", table, len(names), ", ".join(names),
        )  # fmt: skip


def _covariates(rows: pd.DataFrame, covariates: Mapping[str, Kind]) -> pd.DataFrame:
    columns = {
        name: level_text(rows[name])
        if kind == "categorical"
        else pd.to_numeric(rows[name], errors="coerce").astype(np.float64)
        for name, kind in covariates.items()
    }
    return pd.DataFrame(columns, index=rows.index)

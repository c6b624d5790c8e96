"""One row per subject: the feature sets of a study side by side, and their change over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import CohortError, SettingsError
from pipeline.radiomics.delta import delta
from pipeline.radiomics.describe import describe_column
from pipeline.radiomics.dictionary import CLASS_COUNTS, columns_of
from pipeline.radiomics.feature_columns import feature_columns

#: Statuses of a feature row with which a subject can be modelled.
COMPLETE = ("ok", "one_grey_level", "incomplete")
#: Statuses of a region that treatment has made (nearly) vanish.
VANISHED = ("empty_roi", "too_small")
#: In place of classes: every feature that the tables have, of any image type or profile.
ALL = ("all",)


@dataclass(frozen=True)
class FeatureSet:
    """Features read from one table per subject.

    Attributes
    ----------
    name : str
        Prefix of its columns.
    session, table : str
        Which table: ``ses-{session}/radiomics/{table}.tsv``.
    """

    name: str
    session: str
    table: str


@dataclass(frozen=True)
class DeltaSet:
    """Features computed from two others: (first - second) / first."""

    name: str
    first: str
    second: str


def parse_feature_set(text: str) -> FeatureSet:
    """Return the set that ``NAME=SESSION/TABLE`` asks for, as in ``baseline=baseline/dce``."""
    name, _, place = text.partition("=")
    session, _, table = place.partition("/")
    if not (name and session and table) or "." in name or "/" in table:
        raise SettingsError(
            f"set {text!r} is not NAME=SESSION/TABLE; write for example baseline=baseline/dce"
        )
    return FeatureSet(name, session, table)


def parse_delta_set(text: str) -> DeltaSet:
    """Return the set that ``NAME=FIRST-SECOND`` asks for, as in ``deltarad=baseline-followup``."""
    name, _, pair = text.partition("=")
    first, _, second = pair.partition("-")
    if not (name and first and second) or "." in name or "-" in second:
        raise SettingsError(
            f"delta {text!r} is not NAME=FIRST-SECOND; write for example deltarad=baseline-followup"
        )
    return DeltaSet(name, first, second)


def join_features(
    subjects: Sequence[str],
    tables: Mapping[tuple[str, str], pd.DataFrame],
    *,
    sets: Sequence[FeatureSet],
    deltas: Sequence[DeltaSet] = (),
    may_vanish: Sequence[str] = (),
    classes: Sequence[str] = tuple(CLASS_COUNTS),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join the feature tables of a cohort.

    Parameters
    ----------
    subjects : sequence of str
        Who is in the study, in any order.
    tables : mapping of (set, subject) to DataFrame
        Tables of one row with ``subject``, ``status``, ``reason`` and the dictionary's columns.
    sets, deltas : sequences
        What to join, in the order of the columns.
    may_vanish : sequence of str
        Sets whose region may be empty or too small: the subject stays, the features that the
        region lacks are missing, and the column ``{set}_roi_empty`` is 1.
    classes : sequence of str
        Feature classes to join, or `ALL`; each table must have their columns.

    Returns
    -------
    features : DataFrame
        ``subject``, one ``{set}_roi_empty`` (0 or 1) per set of `may_vanish`, then
        ``{set}.{feature}``; a row per subject that can be modelled, sorted by subject.
    failures : DataFrame
        ``subject``, ``stage`` (the set) and ``reason`` of the others.

    Raises
    ------
    SettingsError
        A delta or `may_vanish` names a set that is not there, or a name is there twice.
    CohortError
        A table is of another subject, has not one row, or lacks columns.
    """
    _check_names(sets, deltas, may_vanish)
    ordered = sorted(set(subjects))
    features = joined_columns(tables, classes)
    _check_tables(tables, features)
    rows, failures = [], []
    for subject in ordered:
        problem = _problem(subject, tables, sets, may_vanish)
        if problem:
            failures.append((subject, *problem))
        else:
            own = {s.name: tables[s.name, subject] for s in sets}
            rows.append(_joined(subject, own, deltas, may_vanish, features))
    columns = ["subject", *(f"{name}_roi_empty" for name in may_vanish)]
    names = [item.name for item in sets] + [item.name for item in deltas]
    columns += [f"{name}.{column}" for name in names for column in features]
    return (
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(failures, columns=["subject", "stage", "reason"]),
    )


def joined_columns(
    tables: Mapping[tuple[str, str], pd.DataFrame], classes: Sequence[str]
) -> tuple[str, ...]:
    """Return the features to join: of the classes, or for `ALL` those of the first table.

    Raises
    ------
    CohortError
        With `ALL`, when there is no table.
    """
    if tuple(classes) != ALL:
        return columns_of(classes)
    if not tables:
        raise CohortError(["no feature table at all; look into failures and logs"])
    first = tables[min(tables)]
    return tuple(found.column for found in feature_columns(first.columns))


def feature_dictionary(
    sets: Sequence[FeatureSet], deltas: Sequence[DeltaSet], features: Sequence[str]
) -> pd.DataFrame:
    """Return one row per feature column of the joined table: meaning, unit, IBSI code."""
    rows = []
    changes = {d.name: f"({d.first} - {d.second}) / {d.first} of: " for d in deltas}
    for name in [item.name for item in sets] + list(changes):
        for feature in features:
            names = {"column": f"{name}.{feature}", "set": name}
            row = names | describe_column(feature) | names
            if name in changes:
                row |= {"unit": "1", "definition": changes[name] + row["definition"]}
            rows.append(row)
    return pd.DataFrame(rows)


def _joined(
    subject: str,
    tables: Mapping[str, pd.DataFrame],
    deltas: Sequence[DeltaSet],
    may_vanish: Sequence[str],
    features: Sequence[str],
) -> dict[str, object]:
    values = {
        name: table.loc[table.index[0], list(features)].to_numpy(dtype=np.float64)
        for name, table in tables.items()
    }
    for item in deltas:
        values[item.name] = delta(values[item.first], values[item.second])
    record: dict[str, object] = {"subject": subject}
    for name in may_vanish:
        record[f"{name}_roi_empty"] = int(_status(tables[name]) in VANISHED)
    for name, numbers in values.items():
        record |= {f"{name}.{c}": v for c, v in zip(features, numbers, strict=True)}
    return record


def _problem(
    subject: str,
    tables: Mapping[tuple[str, str], pd.DataFrame],
    sets: Sequence[FeatureSet],
    may_vanish: Sequence[str],
) -> tuple[str, str] | None:
    """Return (set, reason) of the first set that keeps the subject out."""
    for item in sets:
        table = tables.get((item.name, subject))
        if table is None:
            return item.name, f"no table ses-{item.session}/radiomics/{item.table}.tsv"
        status = _status(table)
        allowed = COMPLETE + (VANISHED if item.name in may_vanish else ())
        if status not in allowed:
            return item.name, f"{status}: {table['reason'].iloc[0]}"
    return None


def _status(table: pd.DataFrame) -> str:
    return str(table["status"].iloc[0])


def _check_names(
    sets: Sequence[FeatureSet], deltas: Sequence[DeltaSet], may_vanish: Sequence[str]
) -> None:
    known = [item.name for item in sets]
    names = known + [item.name for item in deltas]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"feature set {twice[0]!r} is defined twice; rename one")
    used = [name for item in deltas for name in (item.first, item.second)] + list(may_vanish)
    for name in used:
        if name not in known:
            raise SettingsError(f"no feature set {name!r}; there are {', '.join(known)}")


def _check_tables(tables: Mapping[tuple[str, str], pd.DataFrame], features: Sequence[str]) -> None:
    problems = []
    needed = {"subject", "status", "reason", *features}
    for (name, subject), table in sorted(tables.items(), key=lambda item: item[0]):
        where = f"features of set {name}, subject {subject}"
        lacking = sorted(needed - set(table.columns))
        if lacking:
            problems.append(
                f"{where}: {len(lacking)} columns are missing, first {lacking[0]}; "
                "make the table again with `medpipe radiomics`"
            )
        elif len(table) != 1:
            problems.append(f"{where}: {len(table)} rows where one belongs; make the table again")
        elif table["subject"].iloc[0] != subject:
            problems.append(
                f"{where}: the table says subject {table['subject'].iloc[0]!r}; make it again with "
                f"`medpipe radiomics --subject {subject}`"
            )
    if problems:
        raise CohortError(problems)

"""ComBat on tables: join the features and the sheet, fit on development rows, transform all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import CohortError, ModelError
from pipeline.model.arrays import Bool, Float
from pipeline.model.design import check_columns, check_unique, numbers
from pipeline.model.harmonise import Combat, Unseen, apply_combat, fit_combat
from pipeline.model.terms import Kind, Term, design_matrix, fit_terms

SOURCES = ("the feature table", "the subjects sheet")


@dataclass(frozen=True, eq=False)
class TableCombat:
    """A fitted ComBat and how its covariates are made from the sheet's columns."""

    combat: Combat
    terms: tuple[Term, ...]

    def to_record(self) -> dict[str, Any]:
        """Return JSON types."""
        return self.combat.to_record() | {"terms": [term.to_record() for term in self.terms]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "TableCombat":
        """Return the fit of a JSON record; raise ModelError when it is none or incomplete."""
        combat = Combat.from_record(record)
        try:
            return cls(combat, tuple(Term.from_record(term) for term in record["terms"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the terms of the combat record are incomplete ({error}); make it again with"
                " `medpipe harmonise fit`"
            ) from error


def fit_combat_table(
    features: pd.DataFrame,
    subjects: pd.DataFrame,
    *,
    feature_set: str | None = None,
    covariates: Mapping[str, Kind] | None = None,
    reference: str | None = None,
    mean_only: bool = False,
    sources: tuple[str, str] = SOURCES,
) -> TableCombat:
    """Fit ComBat on the development rows of two tables.

    Parameters
    ----------
    features : DataFrame
        ``subject`` and columns of numbers, one row per subject.
    subjects : DataFrame
        ``subject``, ``split``, ``centre`` and the covariates, one row per subject.
    feature_set : str, optional
        Prefix of the columns to harmonise; every column that the sheet does not have otherwise.
    covariates : mapping of column to kind, optional
        Columns of the sheet whose effect is kept.
    reference, mean_only
        See `fit_combat`.
    sources : (str, str)
        What error messages call the two tables.
    """
    rows = _join(features, subjects, ["split", *(covariates or {})], sources)
    columns = _columns(features, subjects, feature_set, sources[0])
    development = rows[_development(rows, sources[1])]
    terms = fit_terms(development, covariates, source=sources[1]) if covariates else ()
    given, names = _covariates(development, terms, sources[1])
    combat = fit_combat(
        numbers(development, columns, sources[0]),
        _centres(development, sources[1]),
        given,
        features=columns,
        covariate_names=names,
        reference=reference,
        mean_only=mean_only,
    )
    return TableCombat(combat, terms)


def apply_combat_table(
    fitted: TableCombat,
    features: pd.DataFrame,
    subjects: pd.DataFrame,
    *,
    unseen: Unseen = "error",
    sources: tuple[str, str] = SOURCES,
) -> pd.DataFrame:
    """Return the feature table, sorted by subject, with the fitted columns harmonised.

    Columns that were not fitted stay as they are.
    """
    columns = list(fitted.combat.features)
    check_columns(features, columns, sources[0])
    rows = _join(features, subjects, [t.name for t in fitted.terms], sources)
    given, _ = _covariates(rows, fitted.terms, sources[1])
    values = apply_combat(
        fitted.combat,
        numbers(rows, columns, sources[0]),
        _centres(rows, sources[1]),
        given,
        unseen=unseen,
        subjects=rows.index.tolist(),
    )
    table = rows.rename_axis("subject").reset_index().loc[:, features.columns.tolist()]
    return table.assign(**dict(zip(columns, values.T, strict=True)))


def _join(
    features: pd.DataFrame,
    subjects: pd.DataFrame,
    columns: Sequence[str],
    sources: tuple[str, str],
) -> pd.DataFrame:
    table, sheet = sources
    check_columns(features, ("subject",), table)
    wanted = list(dict.fromkeys(["subject", "centre", *columns]))
    check_columns(subjects, wanted, sheet)
    left, right = (f.assign(subject=f["subject"].astype(str)) for f in (features, subjects))
    for frame, source in ((left, table), (right, sheet)):
        check_unique(frame["subject"].tolist(), source)
    strangers = sorted(set(left["subject"]) - set(right["subject"]))
    if strangers:
        raise CohortError(
            [f"{table}: column subject: {who} is not in {sheet}; add its row" for who in strangers]
        )
    left, right = left.set_index("subject").sort_index(), right.set_index("subject")
    right = right.loc[left.index, [c for c in wanted if c != "subject"]]
    return pd.concat([left.drop(columns=right.columns, errors="ignore"), right], axis=1)


def _columns(
    features: pd.DataFrame, subjects: pd.DataFrame, feature_set: str | None, table: str
) -> list[str]:
    names = [str(c) for c in features.columns if c not in subjects.columns]
    found = [n for n in names if feature_set is None or n.startswith(f"{feature_set}.")]
    if not found:
        what = "besides those of the sheet" if feature_set is None else f"with '{feature_set}.'"
        raise ModelError(f"{table}: no column {what}; name a feature set that the table has")
    return found


def _development(rows: pd.DataFrame, sheet: str) -> Bool:
    wrong = [
        f"{sheet}: column split, subject {who}: {split!r} is neither development nor test;"
        " correct it"
        for who, split in rows["split"].items()
        if split not in ("development", "test")
    ]
    if wrong:
        raise CohortError(wrong)
    return np.asarray((rows["split"] == "development").to_numpy(dtype=bool))


def _centres(rows: pd.DataFrame, sheet: str) -> list[str]:
    empty = [str(who) for who, missing in rows["centre"].isna().items() if missing]
    if empty:
        raise CohortError([f"{sheet}: column centre, subject {who}: empty" for who in empty])
    return [str(centre) for centre in rows["centre"]]


def _covariates(
    rows: pd.DataFrame, terms: Sequence[Term], sheet: str
) -> tuple[Float | None, tuple[str, ...]]:
    return design_matrix(rows, terms, source=sheet) if terms else (None, ())

"""A frozen survival model applied to patients whose outcome is not known."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.model.arrays import Float
from pipeline.model.survival.chain import Rows, SurvivalModel, predict_rows
from pipeline.model.survival.design import (
    as_numbers,
    check_subjects,
    level_text,
    missing_columns,
    stop_at,
    strangers,
)
from pipeline.model.terms import Kind


def predict_new(
    model: SurvivalModel,
    features: pd.DataFrame,
    subjects: pd.DataFrame,
    kinds: Mapping[str, Kind],
    *,
    sources: tuple[str, str] = ("the feature table", "the subjects sheet"),
) -> pd.DataFrame:
    """Return the columns of `predict_rows` for every subject of the feature table, sorted.

    Parameters
    ----------
    model : SurvivalModel
        Frozen.
    features, subjects : DataFrame
        One row per subject: the model's features; its covariates, and ``centre`` where the
        model harmonises.
    kinds : mapping of covariate to kind
        The covariates of the model.
    sources : (str, str)
        What error messages call the two tables: their paths.

    Raises
    ------
    ModelError, CohortError
        A missing column, a subject twice or without a row in the sheet.
    """
    table, sheet = sources
    columns = list(model.combat.features if model.combat else model.score.features)
    of_sheet = ("subject", *(("centre",) if model.combat else ()), *kinds)
    stop_at(
        missing_columns(features, ("subject", *columns), table)
        + missing_columns(subjects, of_sheet, sheet)
    )
    stop_at(
        check_subjects(features, table)
        + check_subjects(subjects, sheet)
        + strangers(features, subjects, table, sheet)
    )
    left = (
        features.assign(subject=features["subject"].astype(str)).set_index("subject").sort_index()
    )
    right = subjects.assign(subject=subjects["subject"].astype(str)).set_index("subject")
    right = right.loc[left.index]
    problems: list[str] = []
    covariates: dict[str, pd.Series | Float] = {}
    for name, kind in kinds.items():
        if kind == "categorical":
            covariates[name] = level_text(right[name])
            problems += _new_levels(covariates[name], model, sheet)
        else:
            covariates[name], found = as_numbers(right[name], sheet)
            problems += found
    values = np.empty((len(left), len(columns)))
    for place, name in enumerate(columns):
        values[:, place], found = as_numbers(left[name], table)
        problems += found
    stop_at(problems)
    centres = right["centre"].astype(str) if "centre" in right else pd.Series("", right.index)
    return predict_rows(
        model,
        Rows(
            subjects=tuple(left.index),
            centres=tuple(centres),
            values=values,
            features=tuple(columns),
            covariates=pd.DataFrame(covariates, index=right.index),
        ),
    )


def _new_levels(column: pd.Series, model: SurvivalModel, sheet: str) -> list[str]:
    """Return a problem per patient whose category no development row had."""
    terms = [t for cox in model.models.values() for t in cox.terms if t.name == column.name]
    known = set(terms[0].levels) if terms else set(column)
    return [
        f"{sheet}: column {column.name}, subject {subject}: level {level!r} is not among those of"
        f" the model, {', '.join(sorted(known))}; merge it with one of these or leave the subject"
        " out"
        for subject, level in column.dropna().items()
        if level not in known
    ]

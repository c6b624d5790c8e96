"""A frozen survival model applied to patients whose outcome is not known."""

from collections.abc import Mapping

import pandas as pd

from pipeline.errors import CohortError
from pipeline.model.design import check_columns, check_unique, numbers
from pipeline.model.survival.chain import Rows, SurvivalModel, predict_rows
from pipeline.model.survival.design import level_text
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
    check_columns(features, ("subject", *model.score.features), table)
    check_columns(subjects, ("subject", *kinds), sheet)
    for frame, source in ((features, table), (subjects, sheet)):
        check_unique(frame["subject"].astype(str).tolist(), source)
    left = (
        features.assign(subject=features["subject"].astype(str)).set_index("subject").sort_index()
    )
    right = subjects.assign(subject=subjects["subject"].astype(str)).set_index("subject")
    strangers = [name for name in left.index if name not in right.index]
    if strangers:
        raise CohortError(
            [f"{table}: subject {name} is not in {sheet}; add its row there" for name in strangers]
        )
    right = right.loc[left.index]
    columns = list(model.combat.features if model.combat else model.score.features)
    covariates = {
        name: level_text(right[name])
        if kind == "categorical"
        else numbers(right, [name], sheet)[:, 0]
        for name, kind in kinds.items()
    }
    centres = right["centre"].astype(str) if "centre" in right else pd.Series("", right.index)
    return predict_rows(
        model,
        Rows(
            subjects=tuple(left.index),
            centres=tuple(centres),
            values=numbers(left, columns, table),
            features=tuple(columns),
            covariates=pd.DataFrame(covariates, index=right.index),
        ),
    )

"""Why the trees of a binary study decide as they do: SHAP values, row by row and on average."""

import numpy as np
import pandas as pd

from pipeline.model.binary.models import FrozenTrees
from pipeline.model.explain import importance, importance_interval
from pipeline.model.terms import complete_rows, level_names


def shap_table(
    model: FrozenTrees, frame: pd.DataFrame, *, source: str = "the subjects sheet"
) -> pd.DataFrame:
    """Return the contributions of every row: subject, feature, value, contribution (log odds)."""
    shap = model.shap(frame, source=source)
    tables = [
        pd.DataFrame(
            {
                "subject": [str(name) for name in frame.index],
                "feature": feature,
                "value": _shown(frame[feature], categorical=feature in model.levels),
                "contribution": shap.contributions[:, at],
            }
        )
        for at, feature in enumerate(shap.features)
    ]
    return pd.concat(tables, ignore_index=True)


def importance_table(
    model: FrozenTrees,
    frame: pd.DataFrame,
    *,
    draws: int = 1000,
    seed: int = 1,
    source: str = "the subjects sheet",
) -> pd.DataFrame:
    """Return mean absolute SHAP values, largest first: feature, mean_abs_shap, low95, high95.

    The interval is of the mean over the rows (see `explain.importance_interval`).
    """
    shap = model.shap(frame, source=source)
    low, high = importance_interval(shap, draws=draws, seed=seed)
    table = pd.DataFrame(
        {
            "feature": shap.features,
            "mean_abs_shap": importance(shap),
            "low95": low,
            "high95": high,
        }
    )
    return table.sort_values("mean_abs_shap", ascending=False, kind="stable", ignore_index=True)


def _shown(column: pd.Series, *, categorical: bool) -> list[object]:
    """Return numbers, or names of levels; NaN where missing."""
    if not categorical:
        return list(column.to_numpy(dtype=np.float64))
    present = complete_rows(column.to_frame(), [column.name])
    return [
        name if known else float("nan")
        for name, known in zip(level_names(column), present, strict=True)
    ]

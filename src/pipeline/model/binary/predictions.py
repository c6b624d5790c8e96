"""Rows of the predictions of a binary study: by split, and those that every model has scored."""

import pandas as pd

from pipeline.model.binary.design import SPLITS


def common_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that every model has scored: paired comparisons need the same rows."""
    names = [column for column in predictions.columns if str(column).startswith("score_")]
    return predictions[predictions[names].notna().all(axis=1).to_numpy()]


def splits(predictions: pd.DataFrame) -> list[str]:
    """Return the splits that have rows: development, and test when there are test rows."""
    found = set(predictions["split"])
    return [name for name in SPLITS if name in found]


def part(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the rows of a split."""
    return predictions[(predictions["split"] == split).to_numpy()]

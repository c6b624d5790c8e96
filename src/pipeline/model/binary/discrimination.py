"""How well the models of a binary study rank: AUC, ROC points, paired tests of the models.

Development scores are held out, test scores those of the frozen models.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from pipeline.model.binary.models import MODELS
from pipeline.model.binary.predictions import common_rows, part, splits
from pipeline.model.bootstrap import bootstrap_interval
from pipeline.model.delong import delong, delong_test
from pipeline.model.roc import roc_curve

_Z95 = float(norm.ppf(0.975))


def auc_table(
    predictions: pd.DataFrame,
    *,
    optimism: pd.DataFrame | None = None,
    draws: int = 1000,
    seed: int = 1,
) -> pd.DataFrame:
    """Return a row per split and model: AUC with DeLong's and the bootstrap interval.

    Parameters
    ----------
    predictions : DataFrame
        Of `fit_binary`; rows that a model cannot score are left out for all models.
    optimism : DataFrame, optional
        Of `optimism_table`: adds ``apparent``, ``optimism`` and ``corrected`` to development.
    draws, seed : int
        Bootstrap resamples and seed.

    Notes
    -----
    Development scores are held out. Their intervals treat them as scores of one model, although
    each fold had its own.
    """
    known = common_rows(predictions)
    rows = []
    for split in splits(known):
        chosen = part(known, split)
        for model in MODELS:
            labels, scores = chosen["response"], chosen[f"score_{model}"]
            area = delong(labels, scores)
            low, high = bootstrap_interval(labels, scores, draws=draws, seed=seed)
            row: dict[str, Any] = {
                "split": split, "model": model, "n": len(chosen), "responders": int(labels.sum()),
                "auc": area.auc, "se": area.se, "low95": area.low, "high95": area.high,
                "boot_low95": low, "boot_high95": high,
            }  # fmt: skip
            rows.append(row | _optimism_of(optimism, model, "auc", split))
    return pd.DataFrame(rows)


def roc_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the points of every ROC curve: split, model, rates and threshold."""
    known, tables = common_rows(predictions), []
    for split in splits(known):
        chosen = part(known, split)
        for model in MODELS:
            curve = roc_curve(chosen["response"], chosen[f"score_{model}"])
            tables.append(
                pd.DataFrame(
                    {
                        "split": split,
                        "model": model,
                        "false_positive_rate": curve.false_positive_rate,
                        "true_positive_rate": curve.true_positive_rate,
                        "threshold": np.where(np.isinf(curve.threshold), np.nan, curve.threshold),
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def comparison_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return DeLong's paired test of every pair of models, in every split.

    The difference is the first AUC minus the second, with its 95 % interval.
    """
    known, rows = common_rows(predictions), []
    for split in splits(known):
        chosen = part(known, split)
        for at, second in enumerate(MODELS):
            for first in MODELS[at + 1 :]:
                found = delong_test(
                    chosen["response"], chosen[f"score_{first}"], chosen[f"score_{second}"]
                )
                half = _Z95 * found.se
                rows.append(
                    {
                        "split": split, "first": first, "second": second, "metric": "auc",
                        "difference": found.difference, "low95": found.difference - half,
                        "high95": found.difference + half, "z": found.z, "p": found.p,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def _optimism_of(
    optimism: pd.DataFrame | None, model: str, metric: str, split: str
) -> dict[str, float]:
    names = ("apparent", "optimism", "corrected")
    if optimism is None or split != "development":
        return dict.fromkeys(names, float("nan"))
    row = optimism[((optimism["model"] == model) & (optimism["metric"] == metric)).to_numpy()]
    return {name: float(row[name].iloc[0]) for name in names}

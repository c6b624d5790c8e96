"""The headline of a binary study: a row per model, what a reader compares first."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.binary.discrimination import comparison_table
from pipeline.model.binary.models import MODELS
from pipeline.model.binary.predictions import common_rows, part, splits
from pipeline.model.comparison import compare_models


def headline_table(
    predictions: pd.DataFrame,
    aucs: pd.DataFrame,
    calibration: pd.DataFrame,
    decision: pd.DataFrame,
    *,
    thresholds: Sequence[float],
    draws: int = 1000,
    seed: int = 1,
) -> pd.DataFrame:
    """Return a row per model: what a reader compares first.

    Parameters
    ----------
    predictions, aucs, calibration, decision : DataFrame
        Of `fit_binary`, `auc_table`, and the tables of calibration and net benefit.
    thresholds : sequence of float
        Threshold probabilities whose net benefit is shown.
    draws, seed : int
        Bootstrap resamples and seed.

    Returns
    -------
    DataFrame
        Test rows where there are any (``evaluated_on`` is "test"), else the held-out scores of
        the cross-validation. With test rows the columns are those of `compare_models` too.
    """
    known = common_rows(predictions)
    split = splits(known)[-1]
    tables = {
        name: known[["subject", "split", "fold", "response"]].assign(score=known[f"score_{name}"])
        for name in MODELS
    }
    if split == "test":
        found = compare_models(tables, reference=MODELS[0], draws=draws, seed=seed)
    else:
        found = _cross_validated(known, aucs)
    found.insert(1, "evaluated_on", "test" if split == "test" else "cross-validation")
    development = aucs[(aucs["split"] == "development").to_numpy()].set_index("model")
    own = part(calibration, split).set_index("model")
    extra = pd.DataFrame(
        {
            "responders_development": int(part(known, "development")["response"].sum()),
            "auc_apparent_development": development["apparent"].reindex(MODELS),
            "auc_corrected_development": development["corrected"].reindex(MODELS),
        },
        index=list(MODELS),
    ).join(own.drop(columns=["split", "n", "events"]))
    for threshold in thresholds:
        extra = extra.join(_benefit_at(part(decision, split), threshold))
    return found.merge(extra, left_on="model", right_index=True, how="left", validate="1:1")


def _cross_validated(known: pd.DataFrame, aucs: pd.DataFrame) -> pd.DataFrame:
    own = part(aucs, "development").set_index("model").loc[list(MODELS)]
    tests = comparison_table(known).set_index(["first", "second"])["p"]
    return pd.DataFrame(
        {
            "model": MODELS,
            "n_development": len(known),
            "n_test": 0,
            "responders_test": 0,
            "auc": own["auc"].to_numpy(),
            "auc_se": own["se"].to_numpy(),
            "auc_low95": own["low95"].to_numpy(),
            "auc_high95": own["high95"].to_numpy(),
            "auc_boot_low95": own["boot_low95"].to_numpy(),
            "auc_boot_high95": own["boot_high95"].to_numpy(),
            "reference": MODELS[0],
            "p_vs_reference": [float("nan"), *(tests[name, MODELS[0]] for name in MODELS[1:])],
            "auc_cv_development": own["auc"].to_numpy(),
        }
    )


def _benefit_at(decision: pd.DataFrame, threshold: float) -> pd.DataFrame:
    near = decision[np.isclose(decision["threshold"].to_numpy(dtype=np.float64), threshold)]
    near = near[near["model"].isin(MODELS).to_numpy()].set_index("model")
    if near.empty:
        raise ModelError(f"threshold {threshold:g} is not on the decision curve; choose another")
    name = f"net_benefit_at_{threshold:g}"
    ends = {"net_benefit": name, "low95": f"{name}_low95", "high95": f"{name}_high95"}
    return near[list(ends)].rename(columns=ends)

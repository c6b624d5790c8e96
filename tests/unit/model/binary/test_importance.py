"""SHAP tables add up to the scores."""

import numpy as np
from scipy.special import logit

from pipeline.model.binary.importance import importance_table, shap_table
from tests.unit.model.binary.cohorts import KINDS


def test_shap_table_adds_up_to_the_score(cohort):
    _, design, fit = cohort
    table = shap_table(fit.models["xgboost"], design.frame)
    assert set(table["feature"]) == set(KINDS)
    total = table.groupby("subject")["contribution"].sum()
    score = fit.models["xgboost"].probability(design.frame)
    gap = logit(score) - total.loc[design.subjects].to_numpy()
    assert np.ptp(gap) < 1e-5
    lacking = table[(table["feature"] == "subtype") & table["value"].isna()]
    assert lacking["subject"].tolist() == ["s007"]
    ranked = importance_table(fit.models["xgboost"], design.frame, draws=50)
    assert ranked["mean_abs_shap"].is_monotonic_decreasing
    assert (ranked["low95"] < ranked["mean_abs_shap"]).all()

"""Calibration and decision tables against analytic answers."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from pipeline.model.binary.predictions import common_rows
from pipeline.model.binary.validation import calibration_table, decision_tables


def test_shifted_probabilities_are_found_miscalibrated():
    rng = np.random.default_rng(3)
    odds = rng.normal(0, 1.2, 4000)
    labels = (rng.random(4000) < expit(odds)).astype(int)
    scores = {"reference": expit(odds), "logistic": expit(odds + 1), "xgboost": expit(2 * odds)}
    table = pd.DataFrame(
        {"subject": [f"{i:04d}" for i in range(4000)], "split": "development",
         "response": labels, **{f"score_{k}": v for k, v in scores.items()}}
    )  # fmt: skip
    found = calibration_table(table, draws=40, seed=1).set_index("model")
    assert found.loc["reference", "slope"] == pytest.approx(1.0, abs=0.1)
    assert found.loc["logistic", "in_the_large"] == pytest.approx(-1.0, abs=0.1)
    assert found.loc["xgboost", "slope"] == pytest.approx(0.5, abs=0.05)
    assert found.loc["reference", "ici"] < 0.02 < found.loc["logistic", "ici"]
    for name in ("slope", "intercept", "in_the_large", "brier", "ici", "e50", "e90"):
        assert (found[f"{name}_low95"] <= found[name]).all(), name
        assert (found[name] <= found[f"{name}_high95"]).all(), name
    assert found.loc["logistic", "slope_low95"] < 1 < found.loc["logistic", "slope_high95"]


def test_net_benefit_of_treating_all_is_known(cohort):
    rows = common_rows(cohort[2].predictions)
    share = rows.loc[rows["split"] == "test", "response"].mean()
    table = decision_tables(cohort[2].predictions, thresholds=[0.2, 0.4], draws=20)
    row = table[((table["split"] == "test") & (table["model"] == "all")).to_numpy()]
    expected = share - (1 - share) * np.array([0.25, 2 / 3])
    np.testing.assert_allclose(row["net_benefit"], expected, atol=1e-12)
    assert (table.loc[table["model"] == "none", "net_benefit"] == 0).all()

"""Odds ratios against a two by two table and the model itself."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from pipeline.model.binary.design import build_binary_design
from pipeline.model.binary.logistic import fit_terms_logistic
from pipeline.model.binary.odds import logistic_table


def two_by_two():
    """90 subjects: 30 of 45 with the marker respond, 15 of 45 without, so the odds ratio is 4."""
    level = np.repeat(["no", "yes"], 45)
    response = np.r_[np.arange(45) < 15, np.arange(45) < 30].astype(int)
    return pd.DataFrame(
        {"subject": [f"{i:02d}" for i in range(90)], "split": "development", "centre": "x",
         "response": response, "marker": level,
         "age_years": np.tile([40.0, 50.0, 60.0], 30)}
    )  # fmt: skip


def test_odds_ratio_of_a_two_by_two_table():
    kinds = {"marker": "categorical", "age_years": "continuous"}
    design = build_binary_design(two_by_two(), kinds=kinds, reference=("marker",))
    model = fit_terms_logistic(design, ("marker",), design.development)
    table = logistic_table(model, design.frame).set_index("level")
    woolf = np.sqrt(1 / 30 + 1 / 15 + 1 / 15 + 1 / 30)
    row = table.loc["yes"]
    assert row["odds_ratio"] == pytest.approx(4.0, rel=1e-9)
    assert row["se"] == pytest.approx(woolf, rel=1e-9)
    assert row["low95"] == pytest.approx(np.exp(np.log(4) - 1.959963985 * woolf), rel=1e-8)
    assert row["chi2"] == pytest.approx(row["z"] ** 2, rel=1e-9)
    assert row["p_variable"] == pytest.approx(row["p"], rel=1e-9)
    assert table.loc["no", "odds_ratio"] == 1.0
    assert np.isnan(table.loc["no", "p"])


def test_quartiles_of_a_number_are_compared(cohort):
    _, design, fit = cohort
    rows = design.frame[design.development & design.complete]
    model = fit.models["logistic"]
    table = logistic_table(model, rows)
    spline = table[(table["variable"] == "tumour_ml").to_numpy()]
    assert len(spline) == 1
    ends = np.quantile(rows["tumour_ml"], [0.25, 0.75])
    probe = rows.iloc[[0, 0]].assign(tumour_ml=ends)
    low, high = logit(model.probability(probe))
    assert spline["coefficient"].iloc[0] == pytest.approx(high - low, rel=1e-9)
    assert spline["df"].iloc[0] == 3
    age = table[(table["variable"] == "age_years").to_numpy()]
    assert age["level"].tolist()[0] == "per unit"
    assert age["z"].iloc[0] == pytest.approx(age["z"].iloc[1])

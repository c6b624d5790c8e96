"""Optimism against a bootstrap by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.model.binary.optimism import optimism_table
from pipeline.model.roc import auc


def test_optimism_is_that_of_a_bootstrap_by_hand(cohort):
    _, design, fit = cohort
    draws = 6
    table = optimism_table(design, fit, draws=draws, draws_trees=2, seed=9)
    rows = np.flatnonzero(design.development & design.complete)
    rng = np.random.default_rng(9)
    columns = pd.get_dummies(design.frame["subtype"]).to_numpy(float)[:, 1:]
    x = np.column_stack([columns, design.frame["age_years"] / 10 - 5])
    y = design.labels
    gaps = []
    for _ in range(draws):
        drawn = rng.choice(rows, rows.size)
        oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000).fit(x[drawn], y[drawn])
        inside, outside = (auc(y[r], oracle.decision_function(x[r])) for r in (drawn, rows))
        gaps.append(inside - outside)
    row = table.set_index(["model", "metric"]).loc[("reference", "auc")]
    assert row["optimism"] == pytest.approx(np.mean(gaps), abs=1e-4)
    assert row["corrected"] == pytest.approx(row["apparent"] - row["optimism"])
    assert row["draws"] == draws
    slopes = table[(table["metric"] == "slope").to_numpy()].set_index("model")["apparent"]
    # a maximum-likelihood model is calibrated on the rows that fitted it
    assert slopes["logistic"] == pytest.approx(1.0, abs=1e-6)

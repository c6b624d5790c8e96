"""The headline of a binary study, with and without test rows."""

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.model.binary.discrimination import auc_table
from pipeline.model.binary.fit import fit_binary
from pipeline.model.binary.headline import headline_table
from pipeline.model.binary.models import MODELS
from pipeline.model.binary.optimism import optimism_table
from pipeline.model.binary.predictions import splits
from pipeline.model.binary.validation import (
    calibration_group_table,
    calibration_smooth_table,
    calibration_table,
    decision_tables,
)
from tests.unit.model.binary.cohorts import QUICK, designed, simulated


def headline(fit, design=None, thresholds=(0.2, 0.4)):
    rows = fit.predictions
    optimism = optimism_table(design, fit, draws=3, draws_trees=1) if design else None
    return headline_table(
        rows, auc_table(rows, optimism=optimism, draws=20), calibration_table(rows, draws=10),
        decision_tables(rows, draws=10), thresholds=thresholds, draws=20,
    )  # fmt: skip


def test_headline_has_a_row_per_model(cohort):
    _, design, fit = cohort
    table = headline(fit, design)
    assert table["model"].tolist() == list(MODELS)
    assert (table["evaluated_on"] == "test").all()
    assert table["n_development"].tolist() == [178, 178, 178]
    assert table["n_test"].tolist() == [59, 59, 59]
    assert np.isnan(table["p_vs_reference"].iloc[0])
    assert table["p_vs_reference"].iloc[1:].between(0, 1).all()
    for column in ("slope", "ici", "e50", "e90", "brier", "net_benefit_at_0.2",
                   "auc_corrected_development"):  # fmt: skip
        assert table[column].notna().all(), column
    with pytest.raises(ModelError, match=r"threshold 0.99 is not on the decision curve"):
        headline(fit, thresholds=(0.99,))


def test_without_test_rows_the_folds_judge():
    sheet = simulated(160).assign(split="development")
    design = designed(sheet)
    fit = fit_binary(design, n_folds=3, seed=1, options=QUICK)
    assert splits(fit.predictions) == ["development"]
    table = headline(fit, design)
    assert (table["evaluated_on"] == "cross-validation").all()
    assert (table["n_test"] == 0).all()
    np.testing.assert_array_equal(table["auc"], table["auc_cv_development"])
    assert (table["auc_apparent_development"] > table["auc_corrected_development"]).all()
    assert set(calibration_group_table(fit.predictions)["split"]) == {"development"}
    curves = calibration_smooth_table(fit.predictions)
    assert curves["observed"].between(0, 1).all()

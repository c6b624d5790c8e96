"""AUC, ROC points and paired tests of the models."""

import numpy as np
import pytest

from pipeline.model.binary.discrimination import auc_table, comparison_table, roc_table


def test_signal_is_found(cohort):
    table = auc_table(cohort[2].predictions).set_index(["split", "model"])["auc"]
    assert table["development", "logistic"] > table["development", "reference"] > 0.6
    assert table["test", "logistic"] > 0.7
    assert table["test", "xgboost"] > 0.65


def test_pairs_are_compared_on_the_same_rows(cohort):
    table = comparison_table(cohort[2].predictions)
    aucs = auc_table(cohort[2].predictions).set_index(["split", "model"])["auc"]
    assert len(table) == 6
    for row in table.to_dict("records"):
        gap = aucs[row["split"], row["first"]] - aucs[row["split"], row["second"]]
        assert row["difference"] == pytest.approx(gap, abs=1e-12)
        assert (row["p"] < 0.05) == (row["low95"] > 0 or row["high95"] < 0)


def test_roc_points_enclose_the_auc(cohort):
    points = roc_table(cohort[2].predictions)
    aucs = auc_table(cohort[2].predictions).set_index(["split", "model"])["auc"]
    for key, rows in points.groupby(["split", "model"]):
        area = np.trapezoid(rows["true_positive_rate"], rows["false_positive_rate"])
        assert area == pytest.approx(aucs[key], abs=1e-12)

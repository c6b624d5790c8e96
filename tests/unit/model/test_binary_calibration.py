"""Binary calibration against rms::val.prob and glm, and against analytic cases."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from pipeline.errors import ModelError
from pipeline.model.calibration import (
    binary_calibration,
    calibration_groups,
    check_probabilities,
    prediction_groups,
    smooth_calibration,
)
from pipeline.model.roc import wilson_interval

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "validation_binary.tsv", sep="\t", comment="#")


@pytest.fixture(scope="module")
def golden() -> "pd.Series[float]":
    table = pd.read_csv(GOLDEN / "validation_values.tsv", sep="\t", comment="#")
    return table.set_index(["case", "item"])["value"]


def test_equals_val_prob(cohort, golden):
    found = binary_calibration(cohort["probability"], cohort["response"])
    expected = golden["val_prob"]
    for name in ("intercept", "slope", "brier", "c"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-8)
    for name in ("intercept_se", "slope_se", "in_the_large", "in_the_large_se"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-8)
    assert found.ratio_observed_expected == pytest.approx(
        cohort["response"].sum() / cohort["probability"].sum()
    )
    assert (found.n, found.events) == (150, cohort["response"].sum())


@pytest.mark.parametrize("knots", [3, 4, 5])
def test_smooth_calibration_equals_r(knots, cohort, golden):
    found = smooth_calibration(cohort["probability"], cohort["response"], n_knots=knots)
    for name in ("ici", "e50", "e90", "emax"):
        expected = golden[f"binary_smooth_{knots}", name]
        assert getattr(found.gaps, name) == pytest.approx(expected, abs=1e-8)
    assert len(found.knots) == knots
    # the curve passes through the subjects' own values
    order = np.argsort(cohort["probability"].to_numpy())
    between = np.interp(
        found.curve_predicted, cohort["probability"].to_numpy()[order], found.observed[order]
    )
    assert found.curve_observed == pytest.approx(between, abs=0.01)
    ends = np.quantile(cohort["probability"], [0.01, 0.99])
    assert found.curve_predicted[[0, -1]] == pytest.approx(ends)


def test_a_recalibrated_score_is_calibrated():
    rng = np.random.default_rng(3)
    odds = rng.normal(size=20000)
    labels = rng.uniform(size=20000) < expit(odds)
    good = binary_calibration(expit(odds), labels)
    assert (good.intercept, good.slope) == pytest.approx((0, 1), abs=0.1)
    assert smooth_calibration(expit(odds), labels).gaps.ici < 0.02
    bad = binary_calibration(expit(2 * odds + 1), labels)
    assert bad.slope == pytest.approx(good.slope / 2)
    assert bad.intercept == pytest.approx(good.intercept - good.slope / 2)
    assert bad.c == good.c
    # shifting by the intercept in the large makes the expected events the observed ones
    moved = expit(logit(expit(2 * odds + 1)) + bad.in_the_large)
    assert moved.sum() == pytest.approx(labels.sum())


def test_groups_of_a_hand_worked_table():
    shares = [0.1, 0.1, 0.2, 0.6, 0.7, 0.8]
    labels = [0, 1, 0, 1, 1, 1]
    found = calibration_groups(shares, labels, groups=2)
    assert found["n"].tolist() == [3, 3]
    assert found["events"].tolist() == [1, 3]
    assert found["predicted"].tolist() == pytest.approx([0.4 / 3, 0.7])
    assert found["observed"].tolist() == pytest.approx([1 / 3, 1.0])
    assert found.loc[0, ["low95", "high95"]].tolist() == pytest.approx(wilson_interval(1, 3))
    cut = calibration_groups(shares, labels, cuts=[0, 0.2, 0.4, 0.6, 1])
    # a value on a limit opens its group; the third group is empty
    assert cut["n"].tolist() == [2, 1, 0, 3]
    assert np.isnan(cut["observed"][2])


@pytest.mark.parametrize(
    ("values", "groups", "codes"),
    [
        # Hmisc::cut2(x, g = 3), worked by R
        ([1, 2, 3, 4, 5, 6, 7], 3, [0, 0, 0, 1, 1, 2, 2]),
        ([1, 1, 1, 1, 2, 3, 4], 3, [0, 0, 0, 0, 1, 2, 2]),
        ([1, 1, 1, 1, 1, 1, 2], 3, [0, 0, 0, 0, 0, 0, 1]),
        ([1, 2, 2, 2, 2, 2, 2], 3, [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_quantile_groups_are_those_of_cut2(values, groups, codes):
    if len(set(codes)) == 1:
        with pytest.raises(ModelError, match="fall into one group"):
            prediction_groups(np.array(values, dtype=float), groups=groups)
        return
    found, count = prediction_groups(np.array(values, dtype=float), groups=groups)
    assert found.tolist() == codes
    assert count == max(codes) + 1


def test_nearly_equal_predictions_make_a_straight_line():
    rng = np.random.default_rng(4)
    shares = np.r_[np.full(190, 0.3), np.linspace(0.2, 0.8, 10)]
    labels = rng.uniform(size=200) < shares
    assert smooth_calibration(shares, labels).knots == ()


def test_certain_predictions_are_moved_inwards():
    rng = np.random.default_rng(2)
    shares = np.r_[0.0, 1.0, rng.uniform(size=98)]
    labels = np.r_[False, True, rng.uniform(size=98) < shares[2:]]
    found = binary_calibration(shares, labels)
    assert np.isfinite([found.slope, found.in_the_large]).all()


def test_bad_input_is_told(cohort):
    labels, shares = cohort["response"], cohort["probability"].to_numpy().copy()
    with pytest.raises(ModelError, match="both classes are needed"):
        binary_calibration([0.1, 0.2], [1, 1])
    with pytest.raises(ModelError, match="for every subject"):
        smooth_calibration(np.full(150, 0.4), labels)
    with pytest.raises(ModelError, match="fall into one group"):
        calibration_groups(np.full(150, 0.4), labels)
    shares[[4, 9]] = 1.5, 2.5
    names = cohort["subject"].tolist()
    with pytest.raises(ModelError, match=r"subject b005 is 1\.5, outside 0 to 1 \(2 such"):
        binary_calibration(shares, labels, subjects=names)
    with pytest.raises(ModelError, match="2 subjects; give one row for each"):
        check_probabilities([0.1], 2)

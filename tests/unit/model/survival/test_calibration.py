"""Survival calibration against R's rms and survival, and against analytic cases."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.survival.calibration import (
    bin_limits,
    calibration_slope,
    corrected_calibration,
    grouped_calibration,
    observed_expected,
    smooth_survival_calibration,
)
from pipeline.model.survival.cox import fit_cox
from pipeline.model.survival.outcome import Outcome

GOLDEN = Path(__file__).parents[3] / "golden"
COLUMNS = ["predicted", "observed", "se", "low95", "high95"]


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"validation_{name}.tsv", sep="\t", comment="#")


def _outcome(table: pd.DataFrame) -> Outcome:
    return Outcome(table["months"].to_numpy(float), table["event"].to_numpy() == 1)


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    table = _read("rows")
    return table[table["split"] == "test"]


@pytest.fixture(scope="module")
def development() -> pd.DataFrame:
    table = _read("rows")
    return table[table["split"] == "development"]


@pytest.fixture(scope="module")
def groups() -> pd.DataFrame:
    return _read("groups")


@pytest.fixture(scope="module")
def golden() -> "pd.Series[float]":
    return _read("values").set_index(["case", "item"])["value"]


# --- groups ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "horizon", "months", "digits", "options"),
    [
        ("g4_12", 12, 12, 15, {"groups": 4}),
        ("g4_24", 24, 24, 15, {"groups": 4}),
        ("g4_36", 36, 36, 15, {}),
        ("g3_rounded_24", 24, 24, 1, {"groups": 3}),
        ("m20_24", 24, 24, 15, {"per_group": 20}),
        ("cuts_24", 24, 24, 15, {"cuts": [0, 0.3, 0.5, 0.7, 0.9, 1]}),
        ("cuts_inside_24", 24, 24, 1, {"cuts": [0.4, 0.6]}),
        ("late_60", 36, 60, 15, {"groups": 6}),
    ],
)
def test_groups_equal_groupkm(case, horizon, months, digits, options, cohort, groups):
    expected = groups[groups["case"] == case].reset_index()
    survival = cohort[f"survival_{horizon}"].round(digits)
    found = grouped_calibration(survival, _outcome(cohort), months, **options)
    for column in COLUMNS:
        assert found[column].to_numpy() == pytest.approx(
            expected[column].to_numpy(), abs=1e-12, nan_ok=True
        )
    # groupkm writes 0 subjects where there is one, too few for a curve
    counted = expected["observed"].notna()
    assert (found["n"] == expected["n"])[counted].all()
    assert (found["events"] == expected["events"])[counted].all()
    assert found["n"].sum() == 90


def test_a_group_that_leaves_early_is_not_observed():
    outcome = Outcome(np.array([2.0, 3.0, 4.0, 9.0]), np.array([True, False, True, False]))
    found = grouped_calibration([0.2, 0.2, 0.8, 0.8], outcome, 8, groups=2)
    # the first group ends at 3 months with S = 1/2, the second is followed to 9
    assert np.isnan(found["observed"][0])
    assert found["observed"][1] == 0.5
    assert found["se"][1] == pytest.approx(np.sqrt(1 / 2))


def test_corrected_groups_equal_rms_calibrate(development, groups, golden):
    matrix, outcome = development[["x1", "x2"]].to_numpy(), _outcome(development)
    rows = _read("resamples").to_numpy().T

    def refit(chosen):
        fit = fit_cox(matrix[chosen], ["x1", "x2"], outcome.take(chosen))
        return lambda wanted: fit.survival(matrix[wanted], np.array([24.0]))[:, 0]

    found = corrected_calibration(refit, outcome, 24, rows, cuts=[0.4, 0.6, 0.75])
    assert (found["draws"] == 20).all()
    # models fitted to the last digit, then rms itself, whose fits stop early
    exact = [golden["calibrate", str(group)] for group in (1, 2, 3, 4)]
    assert found["optimism"].to_numpy() == pytest.approx(exact, abs=1e-8)
    rms = groups[groups["case"] == "calibrate_24"]
    assert found["predicted"].to_numpy() == pytest.approx(rms["predicted"].to_numpy(), abs=1e-8)
    assert found["observed"].to_numpy() == pytest.approx(rms["observed"].to_numpy(), abs=1e-8)
    assert found["se"].to_numpy() == pytest.approx(rms["se"].to_numpy(), abs=1e-8)
    assert found["optimism"].to_numpy() == pytest.approx(rms["low95"].to_numpy(), abs=1e-6)
    assert found["corrected"].to_numpy() == pytest.approx(rms["high95"].to_numpy(), abs=1e-6)


def test_bin_limits_are_quantiles_with_the_ends():
    survival = np.linspace(0.2, 0.8, 98)
    assert bin_limits(survival, 49) == pytest.approx([0, 0.5, 1])
    assert bin_limits(survival, 500) == pytest.approx([0, 1])


# --- smooth ---------------------------------------------------------------------------------


@pytest.mark.parametrize("months", [12, 24, 36])
@pytest.mark.parametrize("knots", [3, 4, 5])
def test_smooth_calibration_equals_r(months, knots, cohort, golden):
    survival = cohort[f"survival_{months}"]
    found = smooth_survival_calibration(survival, _outcome(cohort), months, n_knots=knots)
    case = f"smooth_{months}_{knots}"
    for name in ("ici", "e50", "e90", "emax"):
        assert getattr(found.gaps, name) == pytest.approx(golden[case, name], abs=1e-8)
    assert found.observed[[0, -1]] == pytest.approx(
        [golden[case, "first"], golden[case, "last"]], abs=1e-8
    )
    assert len(found.knots) == knots


def test_the_truth_lies_on_the_diagonal_and_a_wrong_model_does_not():
    rng = np.random.default_rng(1)
    rate = 0.02 * np.exp(0.9 * rng.normal(size=4000))
    death, leave = rng.exponential(1 / rate), rng.uniform(10, 60, 4000)
    outcome = Outcome(np.minimum(death, leave), death <= leave)
    truth = np.exp(-rate * 24)
    good = smooth_survival_calibration(truth, outcome, 24)
    assert good.gaps.ici < 0.02
    assert good.curve_observed == pytest.approx(good.curve_predicted, abs=0.05)
    bad = smooth_survival_calibration(truth**0.5, outcome, 24)
    # S^0.5 predicted where S is true: the mean distance is known
    assert bad.gaps.ici == pytest.approx(float((truth**0.5 - truth).mean()), abs=0.015)
    assert calibration_slope(np.log(rate), outcome).value == pytest.approx(1, abs=0.1)
    assert calibration_slope(2 * np.log(rate), outcome).value == pytest.approx(0.5, abs=0.05)
    assert observed_expected(truth, outcome, 24).value == pytest.approx(1, abs=0.05)


def test_few_different_predictions_make_a_straight_line(cohort):
    survival = np.where(cohort["x1"] > 0, 0.4, 0.7)
    found = smooth_survival_calibration(survival, _outcome(cohort), 24)
    assert found.knots == ()
    assert np.unique(found.observed).size == 2


def test_certain_predictions_stay_finite(cohort):
    survival = cohort["survival_24"].to_numpy().copy()
    survival[:2] = 0.0, 1.0
    found = smooth_survival_calibration(survival, _outcome(cohort), 24)
    assert np.isfinite(found.observed).all()


# --- slope and ratio ------------------------------------------------------------------------


def test_slope_equals_r(cohort, golden):
    found = calibration_slope(cohort["lp"], _outcome(cohort))
    assert found.value == pytest.approx(golden["slope", "slope"], abs=1e-8)
    assert found.se == pytest.approx(golden["slope", "se"], abs=1e-8)
    assert found.high - found.low == pytest.approx(2 * 1.959963984540054 * found.se)


@pytest.mark.parametrize("months", [12, 24, 36])
def test_ratio_equals_r(months, cohort, golden):
    found = observed_expected(cohort[f"survival_{months}"], _outcome(cohort), months)
    assert found.value == pytest.approx(golden[f"ratio_{months}", "ratio"], abs=1e-12)
    assert found.low < found.value < found.high


def test_ratio_without_censoring():
    outcome = Outcome(np.arange(1.0, 11.0), np.ones(10, dtype=bool))
    found = observed_expected(np.full(10, 0.8), outcome, 4)
    assert found.value == pytest.approx(0.4 / 0.2)
    # the binomial error of 4 of 10 on the log scale: sqrt(0.6 / 4)
    assert np.log(found.high / found.value) == pytest.approx(1.959964 * np.sqrt(0.15), rel=1e-6)
    empty = observed_expected(np.full(10, 0.8), outcome, 0.5)
    assert np.isnan(empty.value)
    assert "no event observed by 0.5 months" in empty.reason


# --- bad input ------------------------------------------------------------------------------


def test_bad_input_is_told(cohort):
    outcome, last = _outcome(cohort), cohort["months"].max()
    survival = cohort["survival_24"].to_numpy().copy()
    with pytest.raises(ModelError, match=f"follow-up ends at {last} months; choose an earlier"):
        grouped_calibration(survival, outcome, last + 1)
    with pytest.raises(ModelError, match="fall into one group"):
        grouped_calibration(np.full(90, 0.5), outcome, 24)
    with pytest.raises(ModelError, match="fall into one group"):
        grouped_calibration(survival, outcome, 24, per_group=90)
    with pytest.raises(ModelError, match="for every subject"):
        smooth_survival_calibration(np.full(90, 0.5), outcome, 24)
    with pytest.raises(ModelError, match=r"shape \(90, 1\)"):
        smooth_survival_calibration(survival[:, np.newaxis], outcome, 24)
    survival[0] = -0.1
    names = cohort["subject"].tolist()
    with pytest.raises(ModelError, match=rf"subject {names[0]} is -0\.1, outside 0 to 1"):
        observed_expected(survival, outcome, 24, subjects=names)

"""Brier scores against R's pec and riskRegression, scikit-survival, and hand-worked values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sksurv.metrics import brier_score, integrated_brier_score
from sksurv.util import Surv

from pipeline.errors import ModelError
from pipeline.model.arrays import Float
from pipeline.model.resampling import bootstrap_rows
from pipeline.model.survival.brier import (
    brier_at,
    brier_curve,
    integrated_brier,
    null_brier_curve,
    prediction_accuracy,
)
from pipeline.model.survival.outcome import Outcome

GOLDEN = Path(__file__).parents[3] / "golden"
HORIZONS = (12, 24, 36)


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    table = pd.read_csv(GOLDEN / "validation_rows.tsv", sep="\t", comment="#")
    return table[table["split"] == "test"]


@pytest.fixture(scope="module")
def outcome(cohort: pd.DataFrame) -> Outcome:
    return Outcome(cohort["months"].to_numpy(float), cohort["event"].to_numpy() == 1)


@pytest.fixture(scope="module")
def golden() -> "pd.Series[float]":
    table = pd.read_csv(GOLDEN / "validation_values.tsv", sep="\t", comment="#")
    return table.set_index(["case", "item"])["value"]


def _simulated(n: int, seed: int, times: Float) -> tuple[Float, Outcome]:
    rng = np.random.default_rng(seed)
    rate = 0.03 * np.exp(0.7 * rng.normal(size=n))
    death, leave = rng.exponential(1 / rate), rng.uniform(5, 90, n)
    outcome = Outcome(np.minimum(death, leave) + 0.01, death <= leave)
    return np.exp(-rate[:, np.newaxis] * times), outcome


def test_equals_pec_with_tied_times(cohort, outcome, golden):
    survival = cohort[[f"survival_{t}" for t in HORIZONS]].to_numpy()
    expected = [golden[f"brier_{t}", "model"] for t in HORIZONS]
    assert brier_curve(survival, outcome, HORIZONS) == pytest.approx(expected, abs=1e-12)
    expected = [golden[f"brier_{t}", "reference"] for t in HORIZONS]
    assert null_brier_curve(outcome, HORIZONS) == pytest.approx(expected, abs=1e-12)


def test_the_whole_curve_equals_pec(cohort, outcome, golden):
    times = np.arange(1.0, 49.0)
    names = [f"{t:g}" for t in times]
    base = np.array([golden["brier_base", name] for name in names])
    survival = np.exp(-np.exp(cohort["lp"].to_numpy())[:, np.newaxis] * base)
    expected = np.array([golden["brier_curve", name] for name in names])
    assert brier_curve(survival, outcome, times) == pytest.approx(expected, abs=1e-12)
    whole = integrated_brier(survival, outcome, times).value
    assert whole == pytest.approx(np.trapezoid(expected, times) / 47, abs=1e-12)


@pytest.mark.parametrize("months", HORIZONS)
def test_accuracy_equals_risk_regression(months, cohort, outcome, golden):
    survival = cohort[f"survival_{months}"]
    assert brier_at(survival, outcome, months).value == pytest.approx(
        golden[f"ipa_{months}", "brier"], abs=1e-12
    )
    assert prediction_accuracy(survival, outcome, months).value == pytest.approx(
        golden[f"ipa_{months}", "ipa"], abs=1e-12
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_equals_scikit_survival(seed):
    times = np.linspace(2.0, 50.0, 25)
    survival, outcome = _simulated(120, seed, times)
    _, development = _simulated(150, seed + 10, times)
    development = Outcome(np.r_[development.months, 99.0], np.r_[development.event, False])
    structured = [Surv.from_arrays(o.event, o.months) for o in (development, outcome)]
    _, theirs = brier_score(*structured, survival, times)
    ours = brier_curve(survival, outcome, times, censoring=development)
    assert ours == pytest.approx(theirs, abs=1e-12)
    theirs = integrated_brier_score(*structured, survival, times)
    found = integrated_brier(survival, outcome, times, censoring=development)
    assert found.value == pytest.approx(theirs, abs=1e-12)


def test_without_censoring_it_is_the_mean_square():
    months = np.arange(1.0, 11.0)
    outcome = Outcome(months, np.ones(10, dtype=bool))
    survival = np.linspace(0.1, 0.9, 10)
    alive = months > 4
    assert brier_at(survival, outcome, 4).value == pytest.approx(((alive - survival) ** 2).mean())
    # six of ten live: the best constant is 0.6, with 0.24
    assert null_brier_curve(outcome, 4)[0] == pytest.approx(0.24)
    assert brier_at(np.full(10, 0.6), outcome, 4).value == pytest.approx(0.24)
    assert prediction_accuracy(np.full(10, 0.6), outcome, 4).value == pytest.approx(0.0)
    assert prediction_accuracy(alive.astype(float), outcome, 4).value == pytest.approx(1.0)
    assert prediction_accuracy(np.full(10, 0.5), outcome, 4).value == pytest.approx(1 - 25 / 24)


def test_a_hand_worked_censoring():
    # G is 2/3 after the censoring at 2; the events at 1 and 3, the survivor at 5
    outcome = Outcome(np.array([1.0, 2.0, 3.0, 5.0]), np.array([True, False, True, False]))
    survival = np.array([0.2, 0.5, 0.4, 0.8])
    expected = (0.2**2 + 0.0 + 0.4**2 / (2 / 3) + 0.2**2 / (2 / 3)) / 4
    assert brier_at(survival, outcome, 4).value == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("measure", [brier_at, prediction_accuracy])
def test_every_draw_is_the_score_of_the_resampled_rows(measure, cohort, outcome):
    survival = cohort["survival_24"].to_numpy()
    rows = bootstrap_rows(len(outcome), 25, 8)
    found = measure(survival, outcome, 24, rows=rows)
    one_by_one = [measure(survival[r], outcome.take(r), 24).value for r in rows]
    assert found.samples == pytest.approx(np.array(one_by_one), abs=1e-12)
    assert found.low <= found.value <= found.high


def test_a_fixed_reference_is_not_drawn_again(cohort, outcome):
    reference = Outcome(np.array([10.0, 30.0, 60.0]), np.array([True, True, False]))
    rows = bootstrap_rows(len(outcome), 10, 8)
    survival = cohort["survival_24"].to_numpy()
    found = prediction_accuracy(survival, outcome, 24, reference=reference, rows=rows)
    flat = np.full((len(outcome), 1), 2 / 3)
    model = brier_at(survival, outcome, 24, rows=rows).samples
    null = brier_at(flat[:, 0], outcome, 24, rows=rows).samples
    assert found.samples == pytest.approx(1 - model / null, abs=1e-12)


def test_the_mean_of_a_constant_curve_is_the_constant():
    outcome = Outcome(np.array([50.0, 60.0, 70.0]), np.array([False, True, False]))
    found = integrated_brier(np.full((3, 4), 0.7), outcome, [1, 2, 10, 40])
    assert found.value == pytest.approx(0.09)


def test_wrong_predictions_are_named(outcome):
    survival = np.full(90, 0.5)
    survival[3] = 1.2
    subjects = [f"p{i}" for i in range(90)]
    with pytest.raises(ModelError, match=r"survival of subject p3 is 1\.2, outside 0 to 1"):
        brier_at(survival, outcome, 12, subjects=subjects)
    survival[3] = np.nan
    with pytest.raises(ModelError, match="subject number 4 is nan"):
        brier_at(survival, outcome, 12)
    with pytest.raises(ModelError, match=r"shape \(90, 1\), not \(90, 2\)"):
        brier_curve(np.full((90, 1), 0.5), outcome, [12, 24])
    with pytest.raises(ModelError, match="must increase"):
        brier_curve(np.full((90, 2), 0.5), outcome, [24, 12])
    with pytest.raises(ModelError, match="two times or more"):
        integrated_brier(np.full((90, 1), 0.5), outcome, [12])


def test_a_horizon_outside_follow_up_is_told(outcome):
    survival, last = np.full(90, 0.5), float(outcome.months.max())
    found = brier_at(survival, outcome, last)
    assert np.isnan(found.value)
    assert "end of follow-up" in found.reason
    short = Outcome(np.array([3.0, 20.0]), np.array([True, False]))
    found = prediction_accuracy(survival, outcome, 24, reference=short)
    assert "reference rows, 20 months" in found.reason
    assert "development rows" in brier_at(survival, outcome, 24, censoring=short).reason
    with pytest.raises(ModelError, match=r"no Brier score: .* end of follow-up"):
        brier_curve(survival[:, np.newaxis], outcome, [last])

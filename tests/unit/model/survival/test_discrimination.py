"""Concordance and AUC against R's survival and riskRegression, scikit-survival, brute force."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sksurv.metrics import concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv

from pipeline.errors import ModelError
from pipeline.model.arrays import Float
from pipeline.model.resampling import Estimate, bootstrap_rows, compare_estimates, row_counts
from pipeline.model.roc import auc
from pipeline.model.survival.censoring import horizon_problem, kaplan_meier_at
from pipeline.model.survival.discrimination import auc_at, compare_c, harrell_c, ipcw_roc, uno_c
from pipeline.model.survival.outcome import Outcome

GOLDEN = Path(__file__).parents[3] / "golden"


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


def _simulated(n: int, seed: int) -> tuple[Float, Outcome]:
    # continuous times: no event ties with a censoring, where scikit-survival weighs otherwise
    rng = np.random.default_rng(seed)
    risk = np.round(rng.normal(size=n), 1)
    death, leave = rng.exponential(40 * np.exp(-0.8 * risk)), rng.uniform(5, 90, n)
    return risk, Outcome(np.minimum(death, leave) + 0.01, death <= leave)


def _structured(outcome: Outcome) -> np.ndarray:
    return Surv.from_arrays(outcome.event, outcome.months)


# --- R --------------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", ["risk", "other"])
def test_harrell_equals_r(marker, cohort, outcome, golden):
    found = harrell_c(cohort[marker], outcome)
    assert found.value == pytest.approx(golden[f"harrell_{marker}", "c"], abs=1e-12)
    assert found.se == pytest.approx(golden[f"harrell_{marker}", "se"], abs=1e-12)
    half = 1.959963984540054 * golden[f"harrell_{marker}", "se"]
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


@pytest.mark.parametrize("marker", ["risk", "other"])
@pytest.mark.parametrize("tau", [24.5, 48.5])
def test_uno_equals_r_with_tied_times(marker, tau, cohort, outcome, golden):
    found = uno_c(cohort[marker], outcome, tau=tau)
    assert found.value == pytest.approx(golden[f"uno_{marker}_{tau}", "c"], abs=1e-12)
    assert found.se == pytest.approx(golden[f"uno_{marker}_{tau}", "se"], abs=1e-12)


@pytest.mark.parametrize("marker", ["risk", "other"])
@pytest.mark.parametrize("months", [12, 24, 36])
def test_auc_equals_risk_regression(marker, months, cohort, outcome, golden):
    found = auc_at(cohort[marker], outcome, months)
    assert found.value == pytest.approx(golden[f"auc_{marker}_{months}", "auc"], abs=1e-12)


def test_comparison_equals_r(cohort, outcome, golden):
    found = compare_c(cohort["risk"], cohort["other"], outcome, draws=500, seed=1)
    assert found.first == pytest.approx(golden["compare", "first"], abs=1e-12)
    assert found.second == pytest.approx(golden["compare", "second"], abs=1e-12)
    assert found.se == pytest.approx(golden["compare", "se"], abs=1e-12)
    assert found.z == pytest.approx(found.difference / golden["compare", "se"])
    # the two tests agree, as both are right for 90 subjects
    assert found.p == pytest.approx(found.p_normal, abs=0.12)
    assert found.high - found.low == pytest.approx(2 * 1.96 * found.se, rel=0.15)


# --- scikit-survival ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_uno_equals_scikit_survival(seed):
    risk, outcome = _simulated(150, seed)
    _, development = _simulated(200, seed + 10)
    tau = 40.0
    theirs = concordance_index_ipcw(
        _structured(development), _structured(outcome), np.asarray(risk), tau=tau
    )[0]
    assert uno_c(risk, outcome, tau=tau, censoring=development).value == pytest.approx(
        theirs, abs=1e-12
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_auc_equals_scikit_survival(seed):
    risk, outcome = _simulated(150, seed)
    # as scikit-survival asks, the last development time is after the last test time
    _, development = _simulated(200, seed + 10)
    development = Outcome(np.r_[development.months, 99.0], np.r_[development.event, False])
    times = [10.0, 25.0, 45.0]
    theirs, _ = cumulative_dynamic_auc(_structured(development), _structured(outcome), risk, times)
    ours = [auc_at(risk, outcome, t, censoring=development).value for t in times]
    assert ours == pytest.approx(theirs, abs=1e-12)


# --- analytic and brute force ---------------------------------------------------------------


def test_harrell_of_every_order_of_four_subjects():
    outcome = Outcome(np.array([1.0, 2.0, 2.0, 4.0]), np.array([True, True, False, True]))
    # usable: (0,1) (0,2) (0,3) (1,2: an event before a censoring of its day) (1,3)
    usable = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    for risk in permutations([0.0, 1.0, 1.0, 3.0]):
        won = sum(1.0 if risk[i] > risk[j] else 0.5 * (risk[i] == risk[j]) for i, j in usable)
        assert harrell_c(risk, outcome).value == won / 5


def test_all_measures_are_the_auc_without_censoring():
    rng = np.random.default_rng(4)
    months = rng.permutation(np.arange(1.0, 41.0))
    outcome, risk = Outcome(months, np.ones(40, dtype=bool)), rng.normal(size=40)
    expected = auc(months <= 15, risk)
    assert auc_at(risk, outcome, 15.0).value == pytest.approx(expected, abs=1e-12)
    curve = ipcw_roc(risk, outcome, 15.0)
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(expected, abs=1e-12)
    # without censoring every pair whose first event is before tau weighs one
    early = harrell_c(risk[months < 39], outcome.take(months < 39)).value
    assert 0 < early < 1
    assert uno_c(risk, outcome, tau=39.9).value == harrell_c(risk, outcome).value


def test_roc_has_the_area_of_the_auc_under_censoring(cohort, outcome):
    curve = ipcw_roc(cohort["risk"], outcome, 24)
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(auc_at(cohort["risk"], outcome, 24).value, abs=1e-12)
    assert curve.threshold[0] == np.inf
    assert (curve.true_positive_rate[-1], curve.false_positive_rate[-1]) == pytest.approx((1, 1))
    assert (np.diff(curve.threshold[1:]) < 0).all()


def test_jackknife_is_the_derivative_by_the_weight_of_a_subject():
    risk, outcome = _simulated(25, 3)
    step = 1e-6

    def weighted(weight: Float) -> float:
        won = total = 0.0
        for i in range(25):
            for j in range(25):
                if outcome.event[i] and outcome.months[i] < outcome.months[j]:
                    both = weight[i] * weight[j]
                    total += both
                    won += both * (1.0 if risk[i] > risk[j] else 0.5 * (risk[i] == risk[j]))
        return won / total

    ones = np.ones(25)
    slopes = [(weighted(ones + step * e) - weighted(ones)) / step for e in np.eye(25)]
    assert harrell_c(risk, outcome).se == pytest.approx(np.sqrt(np.square(slopes).sum()), rel=1e-4)


# --- bootstrap ------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["harrell", "uno", "auc"])
def test_every_draw_is_the_measure_of_the_resampled_rows(measure, cohort, outcome):
    risk = cohort["risk"].to_numpy()
    functions = {
        "harrell": lambda r, o, **k: harrell_c(r, o, **k),
        "uno": lambda r, o, **k: uno_c(r, o, tau=36.5, **k),
        "auc": lambda r, o, **k: auc_at(r, o, 24, **k),
    }
    rows = bootstrap_rows(len(outcome), 25, 8)
    found = functions[measure](risk, outcome, rows=rows)
    one_by_one = [functions[measure](risk[r], outcome.take(r)).value for r in rows]
    assert found.samples == pytest.approx(np.array(one_by_one), abs=1e-12)
    assert found.draws == 25
    assert (found.low, found.high) == pytest.approx(np.quantile(one_by_one, [0.025, 0.975]))


def test_the_bootstrap_spread_is_the_jackknife_error(cohort, outcome):
    rows = bootstrap_rows(len(outcome), 2000, 3)
    found = harrell_c(cohort["risk"], outcome, rows=rows)
    assert np.std(found.samples) == pytest.approx(found.se, rel=0.08)


def test_resamples_are_those_of_the_seed():
    assert np.array_equal(bootstrap_rows(9, 4, 5), bootstrap_rows(9, 4, 5))
    assert not np.array_equal(bootstrap_rows(9, 4, 5), bootstrap_rows(9, 4, 6))
    counts = row_counts(bootstrap_rows(9, 4, 5), 9)
    assert counts.shape == (4, 9)
    assert (counts.sum(axis=1) == 9).all()
    with pytest.raises(ModelError, match="do not index 5 subjects"):
        row_counts(bootstrap_rows(9, 4, 5), 5)


def test_equal_scores_do_not_differ(cohort, outcome):
    found = compare_c(cohort["risk"], cohort["risk"] * 2, outcome, draws=50)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert np.isnan(found.z)


def test_intervals_cover_the_truth():
    # the truth of the model, from one very large uncensored sample
    rng = np.random.default_rng(0)
    big = rng.normal(size=3000)
    truth = harrell_c(
        big, Outcome(rng.exponential(np.exp(-0.8 * big)) + 1e-9, np.ones(3000, dtype=bool))
    ).value
    covered = np.zeros(2)
    for repeat in range(100):
        draw = np.random.default_rng(100 + repeat)
        risk = draw.normal(size=80)
        outcome = Outcome(draw.exponential(np.exp(-0.8 * risk)) + 1e-9, np.ones(80, dtype=bool))
        normal = harrell_c(risk, outcome)
        drawn = harrell_c(risk, outcome, rows=bootstrap_rows(80, 200, repeat))
        covered += [e.low <= truth <= e.high for e in (normal, drawn)]
    assert (covered >= 88).all()


def test_a_bootstrap_comparison_worked_by_hand():
    first = Estimate(0.8, samples=np.array([0.9, 0.7, 0.8, 0.6, np.nan]))
    second = Estimate(0.6, samples=np.array([0.5, 0.6, 0.7, 0.7, 0.1]))
    found = compare_estimates(first, second)
    assert found.difference == pytest.approx(0.2)
    assert found.draws == 4
    # differences 0.4, 0.1, 0.1, -0.1: one of four at or below 0, and the sample itself
    assert found.p == pytest.approx(2 * 2 / 5)
    assert found.low == pytest.approx(-0.1 + 0.075 * 0.2)


def test_models_share_the_draws_of_every_measure(cohort, outcome):
    rows = bootstrap_rows(len(outcome), 300, 4)
    one, two = (auc_at(cohort[m], outcome, 24, rows=rows) for m in ("risk", "other"))
    found = compare_estimates(one, two)
    # the scores are correlated, so a paired difference varies less than two separate ones
    assert found.high - found.low < 0.9 * 2 * 1.96 * np.hypot(one.se, two.se)
    assert found.difference == pytest.approx(one.value - two.value)


def test_unpaired_estimates_are_refused():
    with pytest.raises(ModelError, match="cannot be paired"):
        compare_estimates(Estimate(0.5), Estimate(0.6))


# --- where it is undefined ------------------------------------------------------------------


def test_a_horizon_outside_follow_up_is_told(cohort, outcome):
    last = outcome.months.max()
    assert "end of follow-up" in horizon_problem(outcome, last)
    assert "no time in months" in horizon_problem(outcome, 0.0)
    assert "no event by 0.5" in horizon_problem(outcome, 0.5)
    short = Outcome(np.array([3.0, 20.0]), np.array([True, False]))
    assert "development rows, 20 months" in horizon_problem(outcome, 24, short)
    assert horizon_problem(outcome, 24) == ""
    for found in (
        auc_at(cohort["risk"], outcome, last),
        uno_c(cohort["risk"], outcome, tau=24, censoring=short),
    ):
        assert np.isnan(found.value)
        assert "months is" in found.reason
    with pytest.raises(ModelError, match=r"no ROC curve: .* end of follow-up"):
        ipcw_roc(cohort["risk"], outcome, last)


def test_no_usable_pair_is_told():
    outcome = Outcome(np.array([5.0, 5.0]), np.array([True, True]))
    found = harrell_c([1.0, 2.0], outcome, rows=bootstrap_rows(2, 10, 0))
    assert np.isnan(found.value)
    assert "no usable pair" in found.reason


def test_undefined_draws_are_counted():
    # two events among eight: some resamples hold none
    outcome = Outcome(np.arange(1.0, 9.0), np.arange(8) < 2)
    found = harrell_c(np.arange(8.0), outcome, rows=bootstrap_rows(8, 400, 0))
    undefined = np.isnan(found.samples).sum()
    assert 0 < undefined < 100
    assert found.draws == 400 - undefined


def test_risk_scores_are_checked(outcome):
    with pytest.raises(ModelError, match="3 risk scores for 90 subjects"):
        harrell_c([1, 2, 3], outcome)
    risk = np.zeros(90)
    risk[6] = np.nan
    with pytest.raises(ModelError, match="subject number 7 is nan"):
        auc_at(risk, outcome, 24)


def test_kaplan_meier_at_a_time():
    outcome = Outcome(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, False]))
    ones = row_counts(None, 4)
    assert kaplan_meier_at(outcome, 2.5, ones)[0] == pytest.approx(0.75 * 2 / 3)
    assert np.isnan(kaplan_meier_at(outcome, 3.5, ones)[0])
    gone = Outcome(outcome.months, np.array([True, True, False, True]))
    assert kaplan_meier_at(gone, 3.5, ones)[0] == 0

"""Kaplan-Meier curves and log-rank tests against R 4.2 (survival 3.5), by hand, by lifelines."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test

from pipeline.errors import ModelError
from pipeline.model.survival.kaplan_meier import (
    at_risk_table,
    kaplan_meier,
    log_rank,
    quantile,
    survival_at,
)
from pipeline.model.survival.outcome import Outcome

GOLDEN = Path(__file__).parents[3] / "golden"
INTERVALS = ["log-log", "log", "plain"]


def _golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"survival_{name}.tsv", sep="\t", comment="#")


def _rows(data: str) -> tuple[pd.DataFrame, Outcome]:
    rows = _golden("rows")
    rows = rows[rows["data"] == data].reset_index(drop=True)
    return rows, Outcome(rows["months"].to_numpy(float), rows["event"].to_numpy() == 1)


#: The remission times of the treated in Freireich's trial (Gehan 1965), in weeks.
TREATED = Outcome(
    np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35.0]),
    np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]) == 1,
)
PLACEBO = np.array(
    [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], dtype=float
)


# --- against R -------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", INTERVALS)
def test_curve_equals_survfit(interval):
    expected = _golden("km")
    expected = expected[expected["type"] == interval]
    curve = kaplan_meier(_rows("tied")[1], interval=interval)
    assert (curve.months[0], curve.at_risk[0], curve.survival[0]) == (0, 80, 1)
    for ours in ("months", "at_risk", "events", "censored"):
        np.testing.assert_array_equal(getattr(curve, ours)[1:], expected[ours])
    for ours in ("survival", "se", "low", "high"):
        np.testing.assert_allclose(
            getattr(curve, ours)[1:], expected[ours], atol=1e-12, rtol=0, equal_nan=True
        )


@pytest.mark.parametrize("data", ["tied", "smooth"])
@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("level", [0.95, 0.9])
def test_points_and_median_equal_survfit(data, interval, level):
    expected = _golden("km_points")
    chosen = (expected["data"] == data) & (expected["type"] == interval)
    expected = expected[chosen & (expected["level"] == level)]
    points, middle = expected[expected["months"].notna()], expected[expected["months"].isna()]
    curve = kaplan_meier(_rows(data)[1], interval=interval, level=level)
    found = survival_at(curve, points["months"])
    for name in ("survival", "low", "high"):
        np.testing.assert_allclose(found[name], points[name], atol=1e-12)
    np.testing.assert_allclose(
        quantile(curve), middle[["survival", "low", "high"]].iloc[0], atol=1e-12
    )


def test_log_rank_equals_survdiff():
    for row in _golden("logrank").itertuples():
        rows, outcome = _rows(row.data)
        rows["strong"] = rows["months"].rank() > len(rows) / 2
        found = log_rank(outcome, rows[row.groups])
        assert found.df == row.df
        assert found.chi2 == pytest.approx(row.chi2, rel=1e-10)
        assert found.p == pytest.approx(row.p, rel=1e-8)


def test_a_tiny_p_keeps_its_digits():
    rows, outcome = _rows("smooth")
    p = log_rank(outcome, rows["months"].rank() > 100).p
    assert 0 < p < 1e-30


# --- published, by hand, by lifelines ----------------------------------------------------------


def test_freireich_trial_as_published():
    # Kalbfleisch and Prentice; Klein and Moeschberger: S(6) = 0.857 (se 0.0764),
    # S(10) = 0.753 (0.0963), S(23) = 0.448 (0.1346)
    found = kaplan_meier(TREATED)
    for month, survival, se in [(6, 0.857, 0.0764), (10, 0.753, 0.0963), (23, 0.448, 0.1346)]:
        at = int(np.flatnonzero(found.months == month)[0])
        assert found.survival[at] == pytest.approx(survival, abs=0.0005)
        assert found.se[at] == pytest.approx(se, abs=0.00005)
    assert quantile(found).months == 23
    both = Outcome(np.r_[TREATED.months, PLACEBO], np.r_[TREATED.event, np.ones(21, bool)])
    # the log-rank statistic of this trial is printed as 16.79
    assert log_rank(both, np.repeat(["6-MP", "placebo"], 21)).chi2 == pytest.approx(16.79, abs=5e-3)


def test_curve_by_hand():
    # 1 of 5 dies at 2; one is censored at 3; 1 of 3 dies at 5, both others at 7
    outcome = Outcome(np.array([2.0, 3, 5, 7, 7]), np.array([True, False, True, True, True]))
    curve = kaplan_meier(outcome)
    np.testing.assert_array_equal(curve.months, [0, 2, 3, 5, 7])
    np.testing.assert_array_equal(curve.at_risk, [5, 5, 4, 3, 2])
    np.testing.assert_allclose(curve.survival, [1, 0.8, 0.8, 0.8 * 2 / 3, 0], atol=1e-15)
    np.testing.assert_allclose(curve.se[1], 0.8 * np.sqrt(1 / (5 * 4)))
    assert np.isnan([curve.se[-1], curve.low[-1], curve.high[-1]]).all()
    assert (curve.low[0], curve.high[0]) == (1, 1)


@pytest.mark.parametrize("data", ["tied", "smooth"])
def test_lifelines_gives_the_same(data):
    rows, outcome = _rows(data)
    other = KaplanMeierFitter().fit(outcome.months, outcome.event)
    limits = other.confidence_interval_survival_function_.to_numpy()
    curve = kaplan_meier(outcome)
    np.testing.assert_allclose(curve.survival, other.survival_function_.iloc[:, 0], atol=1e-12)
    # lifelines puts 0 to 0 where the curve is 0; we and R put nothing
    known = np.flatnonzero(curve.survival > 0)[1:]
    np.testing.assert_allclose(curve.low[known], limits[known, 0], atol=1e-12)
    np.testing.assert_allclose(curve.high[known], limits[known, 1], atol=1e-12)
    test = multivariate_logrank_test(outcome.months, rows["group4"], outcome.event)
    assert log_rank(outcome, rows["group4"]).chi2 == pytest.approx(test.test_statistic, rel=1e-9)


def test_median_on_a_level_piece_is_its_middle():
    # R: quantile(survfit(Surv(c(1, 2, 3, 4), c(1, 1, 0, 1)) ~ 1), 0.5) is 3
    outcome = Outcome(np.array([1.0, 2, 3, 4]), np.array([True, True, False, True]))
    assert quantile(kaplan_meier(outcome, interval="log"))[:2] == (3, 1)
    to_the_end = Outcome(outcome.months, np.array([True, True, False, False]))
    assert quantile(kaplan_meier(to_the_end)).months == 3
    assert np.isnan(quantile(kaplan_meier(to_the_end)).high)
    assert quantile(kaplan_meier(outcome), 0.25).months == 1.5


def test_median_not_reached_is_nan():
    outcome = Outcome(np.array([1.0, 2, 3, 4]), np.array([True, False, False, False]))
    found = quantile(kaplan_meier(outcome))
    assert np.isnan(found.months)
    assert np.isnan(found.high)


# --- tables ------------------------------------------------------------------------------------


def test_numbers_under_the_plot():
    outcome = Outcome(np.array([2.0, 3, 5, 7, 7]), np.array([True, False, True, True, True]))
    table = at_risk_table({"a": kaplan_meier(outcome)}, [0, 2, 2.5, 7, 8])
    assert table["at_risk"].tolist() == [5, 5, 4, 2, 0]
    assert table["events"].tolist() == [0, 0, 1, 2, 4]
    assert table["censored"].tolist() == [0, 0, 0, 1, 1]
    # everyone is somewhere
    assert (table["at_risk"] + table["events"] + table["censored"] == 5).all()


def test_two_groups_in_one_table():
    rows, outcome = _rows("tied")
    curves = {
        name: kaplan_meier(outcome.take(rows["group2"].to_numpy() == name))
        for name in ("low", "high")
    }
    table = at_risk_table(curves, [0, 12])
    assert table["group"].tolist() == ["low", "low", "high", "high"]
    for row in table.itertuples():
        expected = ((rows["group2"] == row.group) & (rows["months"] >= row.months)).sum()
        assert row.at_risk == expected


# --- properties and bad input --------------------------------------------------------------------


def test_order_and_names_of_groups_do_not_matter():
    rows, outcome = _rows("tied")
    order = np.random.default_rng(2).permutation(80)
    first = log_rank(outcome, rows["group4"])
    shuffled = log_rank(outcome.take(order), rows["group4"].to_numpy()[order])
    assert first == shuffled
    renamed = rows["group4"].map({"g1": 9, "g2": 3, "g3": 5, "g4": 1})
    assert log_rank(outcome, renamed).chi2 == pytest.approx(first.chi2, rel=1e-12)


def test_a_group_that_is_never_at_risk_costs_no_degree_of_freedom():
    rows, outcome = _rows("tied")
    more = Outcome(np.r_[outcome.months, 0.5], np.r_[outcome.event, False])
    with_third = log_rank(more, [*rows["group2"], "early"])
    assert tuple(with_third) == pytest.approx(tuple(log_rank(outcome, rows["group2"])))


def test_bad_input_is_told():
    outcome = Outcome(np.array([1.0, 2, 3]), np.array([True, True, False]))
    with pytest.raises(ModelError, match="compares at least two"):
        log_rank(outcome, ["a", "a", "a"])
    with pytest.raises(ModelError, match="3 outcomes but 2 group names"):
        log_rank(outcome, ["a", "b"])
    with pytest.raises(ModelError, match="none of 3 subjects has an event"):
        log_rank(Outcome(outcome.months, np.zeros(3, bool)), ["a", "b", "a"])
    with pytest.raises(ModelError, match="this group is empty"):
        kaplan_meier(outcome.take(np.zeros(3, bool)))
    with pytest.raises(ModelError, match="between 0 and 1; it is 95"):
        kaplan_meier(outcome, level=95)
    with pytest.raises(ModelError, match="survival at 4 months is unknown"):
        survival_at(kaplan_meier(outcome), [1, 4])


def test_survival_stays_known_once_it_is_zero():
    outcome = Outcome(np.array([1.0, 2]), np.array([True, True]))
    assert survival_at(kaplan_meier(outcome), 9)["survival"].tolist() == [0]

"""Cut-offs: against R's maxstat 0.7 and survivalROC, a brute force, and noise."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from pipeline.errors import ModelError
from pipeline.model.survival.cutoff import Cutoff, cutoff_by_log_rank, cutoff_by_roc
from pipeline.model.survival.outcome import Outcome

GOLDEN = Path(__file__).parents[3] / "golden"


def _golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"survival_{name}.tsv", sep="\t", comment="#")


def _rows(data: str) -> tuple[np.ndarray, Outcome]:
    rows = _golden("rows")
    rows = rows[rows["data"] == data]
    outcome = Outcome(rows["months"].to_numpy(float), rows["event"].to_numpy() == 1)
    return rows["marker"].to_numpy(), outcome


# --- maximally selected log-rank ---------------------------------------------------------------


def test_log_rank_cutoff_equals_maxstat():
    for row in _golden("maxstat").itertuples():
        marker, outcome = _rows(row.data)
        found = cutoff_by_log_rank(marker, outcome, min_share=row.share)
        assert found.statistic == pytest.approx(row.statistic, abs=1e-10)
        assert found.p == found.details["p_lau92"]
        assert found.p == pytest.approx(row.p_lau92, rel=1e-8)
        assert found.details["p_lau94"] == pytest.approx(row.p_lau94, rel=1e-8)
        assert len(found.curve) == row.candidates
        # their cut-point is the highest value of the lower group
        np.testing.assert_array_equal(found.is_high(marker), marker > row.cutpoint)


@pytest.mark.parametrize("data", ["tied", "smooth"])
def test_whole_curve_equals_maxstat(data):
    expected = _golden("maxstat_curve")
    expected = expected[expected["data"] == data]
    marker, outcome = _rows(data)
    curve = cutoff_by_log_rank(marker, outcome).curve
    np.testing.assert_allclose(curve["statistic"], expected["statistic"], atol=1e-10)
    levels = np.unique(marker)
    below = [levels[levels < cut].max() for cut in curve["cutoff"]]
    np.testing.assert_array_equal(below, expected["cutpoint"])


def test_statistic_is_a_permutation_z_by_brute_force():
    rng = np.random.default_rng(1)
    months = rng.permutation(12) + 1.0
    outcome = Outcome(months, rng.uniform(size=12) < 0.7)
    marker = rng.permutation(12) + 0.0
    found = cutoff_by_log_rank(marker, outcome)
    at_risk = np.array([(months >= t).sum() for t in months])
    scores = [
        outcome.event[i] - sum((outcome.event / at_risk)[months <= months[i]]) for i in range(12)
    ]
    for row in found.curve.itertuples():
        low = marker < row.cutoff
        every = [sum(chosen) for chosen in combinations(scores, int(low.sum()))]
        z = abs(np.asarray(scores)[low].sum() - np.mean(every)) / np.std(every)
        assert row.statistic == pytest.approx(z, rel=1e-10)


def test_direction_tells_who_fares_worse():
    marker, outcome = _rows("tied")
    assert cutoff_by_log_rank(marker, outcome).details["direction"] == 1
    assert cutoff_by_log_rank(-marker, outcome).details["direction"] == -1


def test_noise_gives_about_the_nominal_share_of_small_p():
    rng = np.random.default_rng(12)
    found, naive = [], []
    for _ in range(300):
        outcome = Outcome(rng.exponential(20, 100) + 0.1, rng.uniform(size=100) < 0.7)
        cut = cutoff_by_log_rank(rng.normal(size=100), outcome)
        found.append([cut.details["p_lau92"], cut.details["p_lau94"]])
        naive.append(2 * norm.sf(cut.statistic))
    lau92, lau94 = (np.asarray(found) < 0.05).mean(axis=0)
    assert lau92 < 0.09
    assert lau94 < 0.09
    # without the correction the search finds something far too often
    assert np.mean(np.asarray(naive) < 0.05) > 0.25


def test_small_statistics_have_p_one():
    # R: maxstat::pLausen92(0.9) is 1
    outcome = Outcome(np.array([1.0, 2, 3, 4, 5, 6]), np.array([1, 1, 1, 1, 1, 1]) == 1)
    found = cutoff_by_log_rank(np.array([1.0, 3, 2, 2, 3, 1]), outcome, min_share=0.3)
    assert found.statistic < 1
    assert found.p == 1


# --- time-dependent ROC ------------------------------------------------------------------------


def test_roc_cutoff_equals_survivalroc():
    for row in _golden("roc").itertuples():
        marker, outcome = _rows(row.data)
        method = row.method.lower()
        found = cutoff_by_roc(marker, outcome, row.months, method, span=row.span)
        assert found.method == f"roc-{method}"
        assert found.statistic == pytest.approx(row.youden, abs=1e-12)
        assert found.details["auc"] == pytest.approx(row.auc, abs=1e-12)
        np.testing.assert_array_equal(found.is_high(marker), marker > row.above)


def test_roc_curve_of_candidates():
    marker, outcome = _rows("tied")
    found = cutoff_by_roc(marker, outcome, 24)
    curve = found.curve
    assert list(curve.columns) == ["cutoff", "sensitivity", "specificity", "youden", "chosen"]
    assert len(curve) == np.unique(marker).size - 1
    chosen = curve[curve["chosen"] == 1]
    assert chosen["cutoff"].tolist() == [found.value]
    assert chosen["youden"].iloc[0] == curve["youden"].max() == found.statistic
    assert np.isnan(found.p)


def test_ties_go_to_the_lowest_cutoff_and_the_cutoff_lies_between_values():
    # events at marker 2 and 4, none at 1 and 3: cutting below 2 and below 4 are equally good
    outcome = Outcome(np.array([9.0, 1, 9, 1]), np.array([False, True, False, True]))
    found = cutoff_by_roc(np.array([1.0, 2, 3, 4]), outcome, 5, "km")
    assert found.curve["youden"].tolist() == pytest.approx([0.5, 0.0, 0.5])
    assert found.value == 1.5
    assert found.is_high(np.array([1.4999, 1.5, 7])).tolist() == [False, True, True]


# --- properties and bad input ------------------------------------------------------------------


def _fitted(kind: str, marker: np.ndarray, outcome: Outcome) -> Cutoff:
    if kind == "log-rank":
        return cutoff_by_log_rank(marker, outcome)
    return cutoff_by_roc(marker, outcome, 12, "km" if kind == "roc-km" else "nne")


@pytest.mark.parametrize("kind", ["roc-nne", "roc-km", "log-rank"])
def test_order_of_subjects_changes_no_bit_and_the_record_keeps_every_one(kind):
    marker, outcome = _rows("tied")
    order = np.random.default_rng(5).permutation(len(marker))
    first = _fitted(kind, marker, outcome)
    record = json.dumps(first.to_record(), sort_keys=True)
    shuffled = _fitted(kind, marker[order], outcome.take(order))
    assert json.dumps(shuffled.to_record(), sort_keys=True) == record
    again = Cutoff.from_record(json.loads(record))
    assert json.dumps(again.to_record(), sort_keys=True) == record
    assert first.method == kind


@pytest.mark.parametrize("kind", ["roc-nne", "roc-km", "log-rank"])
def test_a_monotone_change_of_the_marker_keeps_the_groups(kind):
    marker, outcome = _rows("smooth")
    first, second = _fitted(kind, marker, outcome), _fitted(kind, np.exp(marker), outcome)
    np.testing.assert_array_equal(first.is_high(marker), second.is_high(np.exp(marker)))
    assert first.statistic == pytest.approx(second.statistic, rel=1e-12)


def test_bad_input_is_told():
    marker, outcome = _rows("tied")
    with pytest.raises(ModelError, match="the marker is 1 in all 80 subjects"):
        cutoff_by_log_rank(np.ones(80), outcome)
    with pytest.raises(ModelError, match="the marker is 1 in all 80 subjects"):
        cutoff_by_roc(np.ones(80), outcome, 12)
    with pytest.raises(ModelError, match="outside the follow-up"):
        cutoff_by_roc(marker, outcome, 500)
    with pytest.raises(ModelError, match="none of 80 subjects has an event"):
        cutoff_by_log_rank(marker, Outcome(outcome.months, np.zeros(80, bool)))
    with pytest.raises(ModelError, match=r"below 0\.5; it is 0\.7"):
        cutoff_by_log_rank(marker, outcome, min_share=0.7)
    rare = (np.arange(80) == 3).astype(float)
    with pytest.raises(ModelError, match=r"no cut-off leaves 0\.1 of 80 subjects"):
        cutoff_by_log_rank(rare, outcome)


@pytest.mark.parametrize("change", [{"kind": "cox"}, {"schema": 9}, {"value": None}])
def test_a_wrong_record_is_refused(change):
    record = cutoff_by_log_rank(*_rows("tied")).to_record() | change
    with pytest.raises(ModelError, match="cut-off"):
        Cutoff.from_record(record)

"""Time-dependent ROC: survivalROC's numbers, a brute force from the formulae, known limits."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model import roc
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.time_roc import default_span, midpoints, time_roc

GOLDEN = Path(__file__).parents[3] / "golden"


def _golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"survival_{name}.tsv", sep="\t", comment="#")


def _rows(data: str) -> tuple[np.ndarray, Outcome]:
    rows = _golden("rows")
    rows = rows[rows["data"] == data]
    outcome = Outcome(rows["months"].to_numpy(float), rows["event"].to_numpy() == 1)
    return rows["marker"].to_numpy(), outcome


def _simulated(n: int, seed: int, *, censored: bool = True) -> tuple[np.ndarray, Outcome]:
    rng = np.random.default_rng(seed)
    marker = np.round(rng.normal(size=n), 1)
    death = rng.exponential(20 * np.exp(-0.8 * marker))
    censor = rng.uniform(2, 60, n) if censored else np.full(n, np.inf)
    return marker, Outcome(np.ceil(np.minimum(death, censor)), death <= censor)


# --- outside references ------------------------------------------------------------------------


def test_area_and_youden_equal_survivalroc():
    for row in _golden("roc").itertuples():
        marker, outcome = _rows(row.data)
        found = time_roc(marker, outcome, row.months, method=row.method.lower(), span=row.span)
        youden = found.sensitivity + found.specificity - 1
        assert found.auc == pytest.approx(row.auc, abs=1e-12)
        assert youden.max() == pytest.approx(row.youden, abs=1e-12)
        # above their cut is at least our threshold
        ours = found.threshold[np.argmax(youden)]
        np.testing.assert_array_equal(marker >= ours, marker > row.above)


@pytest.mark.parametrize("method", ["nne", "km"])
def test_every_point_equals_survivalroc(method):
    expected = _golden("roc_points")
    expected = expected[expected["method"] == method.upper()]
    marker, outcome = _rows("tied")
    found = time_roc(marker, outcome, 12, method=method)
    np.testing.assert_allclose(found.sensitivity[1:], expected["tp"], atol=1e-12)
    np.testing.assert_allclose(found.false_positive_rate[1:], expected["fp"], atol=1e-12)
    assert (found.sensitivity[0], found.specificity[0]) == (1, 0)


def _kaplan_meier(months, event, horizon) -> float:
    survival = 1.0
    for t in sorted(set(months)):
        if t <= horizon:
            at_risk = sum(m >= t for m in months)
            died = sum(m == t and e for m, e in zip(months, event, strict=True))
            survival *= 1 - died / at_risk
    return survival


def _neighbours(marker, value, side):
    """Return a mask: `side` subjects to either side of those that share the value, and ties."""
    higher = sorted(m for m in marker if m >= value)
    lower = sorted((m for m in marker if m <= value), reverse=True)
    top, bottom = higher[min(side, len(higher) - 1)], lower[min(side, len(lower) - 1)]
    return np.array([bottom <= m <= top for m in marker])


def _brute_force(marker, outcome, horizon, method, span):
    n = len(marker)

    def joint(cut):
        above = marker > cut
        if not above.any():
            return 0.0
        if method == "km":
            inside = outcome.take(above)
            return above.mean() * _kaplan_meier(inside.months, inside.event, horizon)
        total = 0.0
        for m in marker[above]:
            near = outcome.take(_neighbours(marker, m, int(n * span / 2)))
            total += _kaplan_meier(near.months, near.event, horizon)
        return total / n

    whole = joint(-np.inf)
    points = []
    for cut in [-np.inf, *sorted(set(marker))]:
        p = (marker > cut).mean()
        points.append(((p - joint(cut)) / (1 - whole), 1 - joint(cut) / whole))
    return np.array(points)


@pytest.mark.parametrize("method", ["nne", "km"])
@pytest.mark.parametrize(("n", "seed", "span"), [(30, 1, 0.3), (45, 2, 0.1), (25, 3, 1.0)])
def test_brute_force_from_the_formulae(method, n, seed, span):
    marker, outcome = _simulated(n, seed)
    expected = _brute_force(marker, outcome, 12, method, span)
    found = time_roc(marker, outcome, 12, method=method, span=span)
    np.testing.assert_allclose(found.sensitivity, expected[:, 0], atol=1e-12)
    np.testing.assert_allclose(found.specificity, expected[:, 1], atol=1e-12)
    x, y = 1 - expected[:, 1], expected[:, 0]
    area = sum((x[i] - x[i + 1]) * (y[i] + y[i + 1]) / 2 for i in range(len(x) - 1))
    assert found.auc == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("months", [5, 12, 30])
@pytest.mark.parametrize(("method", "span"), [("km", None), ("nne", 0.0)])
def test_without_censoring_it_is_the_ordinary_roc_of_event_by_t(months, method, span):
    # with a span of 0 a neighbourhood is one value of the marker and nothing is smoothed
    marker, outcome = _simulated(120, 5, censored=False)
    found = time_roc(marker, outcome, months, method=method, span=span)
    by_then = outcome.months <= months
    assert found.auc == pytest.approx(roc.auc(by_then, marker), abs=1e-12)
    ordinary = roc.roc_curve(by_then, marker)
    np.testing.assert_allclose(found.sensitivity[::-1], ordinary.true_positive_rate, atol=1e-12)
    np.testing.assert_allclose(
        found.false_positive_rate[::-1], ordinary.false_positive_rate, atol=1e-12
    )


def test_smoothing_moves_the_area_little_without_censoring():
    marker, outcome = _simulated(400, 6, censored=False)
    plain = roc.auc(outcome.months <= 12, marker)
    assert time_roc(marker, outcome, 12).auc == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("method", ["nne", "km"])
def test_censoring_leaves_the_area_about_right(method):
    rng = np.random.default_rng(9)
    marker = rng.normal(size=4000)
    death = rng.exponential(20 * np.exp(-marker))
    truth = roc.auc(death <= 12, marker)
    censor = rng.uniform(0, 40, 4000)
    outcome = Outcome(np.round(np.minimum(death, censor), 1) + 0.1, death <= censor)
    assert time_roc(marker, outcome, 12, method=method).auc == pytest.approx(truth, abs=0.02)
    # while leaving out those censored before 12 months is off by more
    kept = (outcome.months > 12) | outcome.event
    naive = roc.auc((outcome.months <= 12)[kept], marker[kept])
    assert abs(naive - truth) > 0.001


# --- properties --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["nne", "km"])
def test_only_the_order_of_the_marker_matters(method):
    marker, outcome = _simulated(90, 7)
    first = time_roc(marker, outcome, 12, method=method)
    second = time_roc(np.exp(3 * marker), outcome, 12, method=method)
    np.testing.assert_array_equal(first.sensitivity, second.sensitivity)
    np.testing.assert_array_equal(first.specificity, second.specificity)
    assert first.auc == second.auc


@pytest.mark.parametrize("method", ["nne", "km"])
def test_order_of_subjects_changes_no_bit(method):
    marker, outcome = _simulated(90, 8)
    order = np.random.default_rng(1).permutation(90)
    first = time_roc(marker, outcome, 12, method=method)
    second = time_roc(marker[order], outcome.take(order), 12, method=method)
    assert first.sensitivity.tobytes() == second.sensitivity.tobytes()
    assert first.specificity.tobytes() == second.specificity.tobytes()


def test_nearest_neighbour_is_monotone_and_inside_the_unit_square():
    for seed in range(20):
        marker, outcome = _simulated(60, seed)
        found = time_roc(marker, outcome, 12)
        assert (np.diff(found.sensitivity) <= 1e-12).all()
        assert (np.diff(found.specificity) >= -1e-12).all()
        assert found.sensitivity.min() >= -1e-12
        assert found.specificity.max() <= 1 + 1e-12


def test_kaplan_meier_can_go_down():
    # the known flaw of the simple estimator, and why "nne" is the default
    falls = []
    for seed in range(20):
        marker, outcome = _simulated(60, seed)
        found = time_roc(marker, outcome, 12, method="km")
        falls.append((np.diff(found.specificity) < -1e-9).any())
    assert any(falls)


def test_thresholds_split_as_strictly_greater_does():
    marker, outcome = _simulated(40, 3)
    found = time_roc(marker, outcome, 12)
    levels = np.unique(marker)
    assert found.threshold[0] == -np.inf
    assert found.threshold[-1] == np.inf
    for threshold, level in zip(found.threshold[1:-1], levels[:-1], strict=True):
        np.testing.assert_array_equal(marker >= threshold, marker > level)


def test_midpoint_of_neighbouring_floats_is_the_upper_one():
    low = 0.1
    high = np.nextafter(low, 1)
    assert midpoints(np.array([low, high])).tolist() == [high]


def test_five_hundred_subjects_take_little_time():
    rng = np.random.default_rng(0)
    marker = rng.normal(size=500)
    death = rng.exponential(20 * np.exp(-marker))
    outcome = Outcome(np.minimum(death, 60) + 0.01, death <= 60)
    start = time.perf_counter()
    time_roc(marker, outcome, 36)
    assert time.perf_counter() - start < 0.5


def test_default_span_is_the_papers():
    assert default_span(312) == pytest.approx(0.25 * 312**-0.2)
    assert default_span(1) == 0.25


# --- bad input ---------------------------------------------------------------------------------


def test_bad_input_is_told():
    marker, outcome = _simulated(30, 1)
    last = outcome.months.max()
    with pytest.raises(ModelError, match=rf"horizon of 99 months lies .*\(0 to {last:g} months\)"):
        time_roc(marker, outcome, 99)
    with pytest.raises(ModelError, match=r"no event among 30 subjects by 0\.5 months"):
        time_roc(marker, outcome, 0.5)
    with pytest.raises(ModelError, match="the marker is 2 in all 30 subjects"):
        time_roc(np.full(30, 2.0), outcome, 12)
    with pytest.raises(ModelError, match=r"missing or infinite in 1 of 30 subjects \(first: row 5"):
        time_roc(np.where(np.arange(30) == 4, np.nan, marker), outcome, 12)
    with pytest.raises(ModelError, match="one value per subject"):
        time_roc(marker[:5], outcome, 12)
    with pytest.raises(ModelError, match="span is a share"):
        time_roc(marker, outcome, 12, span=5)


def test_a_horizon_that_no_one_outlives_is_refused():
    outcome = Outcome(np.array([1.0, 2, 3]), np.ones(3, bool))
    with pytest.raises(ModelError, match="share free of the event at 3 months is 0"):
        time_roc(np.array([3.0, 1, 2]), outcome, 3, method="km")

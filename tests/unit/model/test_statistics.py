"""AUCs and group tests against the card, R 4.2 with pROC 1.18, and scikit-learn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.errors import ModelError
from pipeline.model import groups
from pipeline.model.bootstrap import bootstrap_aucs, bootstrap_interval, bootstrap_test
from pipeline.model.contingency import chi_square, compare_counts, fisher
from pipeline.model.delong import delong, delong_test, hanley_mcneil_se
from pipeline.model.roc import (
    Confusion,
    auc,
    confusion,
    roc_curve,
    wilson_interval,
    youden_threshold,
)

GOLDEN = Path(__file__).parents[2] / "golden"

MP_GRADES = [[6, 10, 24, 5, 16], [3, 11, 16, 5, 18]]
SUBTYPES = [[9, 30, 9, 13], [3, 28, 11, 11]]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "proc_rows.tsv", sep="\t")


@pytest.fixture(scope="module")
def proc() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "proc_delong.tsv", sep="\t").set_index("name")


def _golden_tests() -> list[tuple[str, str, str, float, float]]:
    table = pd.read_csv(GOLDEN / "r_tests.tsv", sep="\t", dtype=str, keep_default_na=False)
    return [
        (r.test, r.first, r.second, float(r.statistic or "nan"), float(r.p))
        for r in table.itertuples()
    ]


# --- the card ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "printed"),
    [
        ((21, 2, 11, 19), (0.913, 0.367, 0.525, 0.846)),
        ((13, 10, 27, 3), (0.565, 0.900, 0.813, 0.730)),
        ((21, 2, 16, 14), (0.913, 0.533, 0.600, 0.889)),
        ((14, 9, 21, 9), (0.609, 0.700, 0.609, 0.700)),
        ((12, 11, 29, 1), (0.522, 0.967, 0.923, 0.725)),
        ((19, 4, 24, 6), (0.826, 0.800, 0.760, 0.857)),
    ],
)
def test_published_rates_follow_from_the_counts(counts, printed):
    tp, fn, tn, fp = counts
    labels = np.repeat([1, 1, 0, 0], [tp, fn, tn, fp])
    scores = np.repeat([0.9, 0.1, 0.2, 0.8], [tp, fn, tn, fp])
    found = confusion(labels, scores, 0.5)
    assert found == Confusion(tp, fn, tn, fp)
    rates = (found.sensitivity, found.specificity, found.ppv, found.npv)
    assert rates == pytest.approx(printed, abs=0.0006)


@pytest.mark.parametrize(
    ("area", "printed"),
    [
        (0.568, 0.080),
        (0.767, 0.068),
        (0.726, 0.072),
        (0.630, 0.078),
        (0.771, 0.067),
        (0.809, 0.063),
    ],
)
def test_published_standard_errors_are_hanley_mcneil(area, printed):
    assert hanley_mcneil_se(area, 23, 30) == pytest.approx(printed, abs=0.0005)


@pytest.mark.parametrize(
    ("table", "name", "printed"),
    [
        ([[23, 38], [23, 30]], "chi-square (Yates)", 0.670),
        ([[45, 16], [42, 11]], "chi-square (Yates)", 0.642),
        (SUBTYPES, "chi-square", 0.409),
    ],
)
def test_published_p_values_of_the_patient_table(table, name, printed):
    found = compare_counts(table)
    assert found.test == name
    assert found.p == pytest.approx(printed, abs=0.0005)


def test_published_p_value_of_the_grades():
    # an expected count is below 5: the published p is Fisher-Freeman-Halton
    found = compare_counts(MP_GRADES)
    assert found.test == "Fisher-Freeman-Halton"
    assert found.p == pytest.approx(0.706, abs=0.0005)
    assert chi_square(MP_GRADES).p == pytest.approx(0.696, abs=0.0005)


# --- R -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_delong_agrees_with_proc(rows, proc, name):
    found = delong(rows.response, rows[name])
    expected = proc.loc[name, ["auc", "se", "low", "high"]].astype(float)
    assert (found.auc, found.se, found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert found.auc == pytest.approx(roc_auc_score(rows.response, rows[name]), abs=1e-12)
    best = confusion(rows.response, rows[name], youden_threshold(rows.response, rows[name]))
    j = best.sensitivity + best.specificity - 1
    assert j == pytest.approx(float(proc.loc[name, "youden"]), abs=1e-12)


@pytest.mark.parametrize("pair", ["one-two", "one-three", "two-three"])
def test_paired_delong_agrees_with_proc(rows, proc, pair):
    first, second = pair.split("-")
    found = delong_test(rows.response, rows[first], rows[second])
    assert found.z == pytest.approx(float(proc.loc[pair, "z"]), abs=1e-11)
    assert found.p == pytest.approx(float(proc.loc[pair, "p"]), abs=1e-11)
    back = delong_test(rows.response, rows[second], rows[first])
    assert (back.z, back.p) == pytest.approx((-found.z, found.p))


@pytest.mark.parametrize(("test", "first", "second", "statistic", "p"), _golden_tests())
def test_group_tests_agree_with_r(test, first, second, statistic, p):
    if test in ("fisher", "chi-square"):
        table = np.array([row.split(",") for row in first.split(";")]).astype(int)
        found = fisher(table) if test == "fisher" else chi_square(table)
        assert found.p == pytest.approx(p, rel=1e-9)
        return
    one, two = (np.array(t.split(",")).astype(float) for t in (first, second))
    if test == "wilson":
        assert wilson_interval(int(one[0]), int(two[0])) == pytest.approx((statistic, p), abs=1e-12)
        return
    if test == "anova":
        found = groups.anova([one, two])
    else:
        found = getattr(groups, test.replace("-", "_"))(one, two)
    assert found.statistic == pytest.approx(statistic, rel=1e-9)
    assert found.p == pytest.approx(p, rel=1e-9)


# --- known answers and properties ----------------------------------------------------------


def test_auc_by_hand():
    # pairs (1 against 0): 3>2, 3>1, 2=2 (half), 2>1 -> 3.5 of 4
    assert auc([1, 1, 0, 0], [3, 2, 2, 1]) == 0.875
    assert auc([1, 1, 0, 0], [-3, -2, -2, -1]) == 0.125
    assert auc([1, 0], [0, 0]) == 0.5


def test_roc_curve_by_hand_and_its_area(rows):
    curve = roc_curve([1, 1, 0, 0], [3, 2, 2, 1])
    assert curve.false_positive_rate.tolist() == [0, 0, 0.5, 1]
    assert curve.true_positive_rate.tolist() == [0, 0.5, 1, 1]
    assert curve.threshold.tolist() == [np.inf, 3, 2, 1]
    curve = roc_curve(rows.response, rows.one)
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(auc(rows.response, rows.one), abs=1e-12)


def test_youden_threshold_is_a_midpoint_and_ties_go_to_sensitivity():
    assert youden_threshold([0, 0, 1, 1], [1, 2, 4, 5]) == 3
    # J is 1/2 at 3.5 (1 of 2 found, no false alarm) and at 1.5 (all found, 1 of 2 false)
    assert youden_threshold([0, 1, 0, 1], [1, 2, 3, 4]) == 1.5
    # scores that point the wrong way: calling everything positive is best
    assert youden_threshold([1, 1, 0, 0], [1, 2, 3, 4]) == 1
    assert youden_threshold([0, 1], [2, 2]) == 2


def test_rates_without_a_denominator_are_nan():
    found = confusion([1, 0], [0.1, 0.2], 0.5)
    assert np.isnan(found.ppv)
    assert found.npv == 0.5
    assert all(np.isnan(wilson_interval(0, 0)))


def test_perfect_separation_and_equal_scores():
    perfect = delong([0, 0, 1, 1], [1, 2, 3, 4])
    assert (perfect.auc, perfect.se, perfect.low, perfect.high) == (1, 0, 1, 1)
    same = delong_test([0, 0, 1, 1], [1, 3, 2, 4], [10, 30, 20, 40])
    assert same.difference == 0
    assert np.isnan(same.p)


def test_bad_scores_are_refused():
    with pytest.raises(ModelError, match="1 of 2 scores are missing"):
        auc([0, 1], [np.nan, 1])
    with pytest.raises(ModelError, match="2 labels but 3 scores"):
        auc([0, 1], [1, 2, 3])
    with pytest.raises(ModelError, match="2 cases of class 1 and 0 of class 0"):
        auc([1, 1], [1, 2])


def test_bootstrap_agrees_with_delong_and_draws_equal_rows(rows):
    area = delong(rows.response, rows.one)
    draws = bootstrap_aucs(rows.response, rows.one, draws=20_000, seed=1)
    assert draws.mean() == pytest.approx(area.auc, abs=0.003)
    assert draws.std() == pytest.approx(area.se, rel=0.05)
    low, high = bootstrap_interval(rows.response, rows.one, draws=20_000, seed=1)
    assert (low, high) == pytest.approx((area.low, area.high), abs=0.025)
    bca = bootstrap_interval(rows.response, rows.one, draws=20_000, seed=1, kind="bca")
    assert bca == pytest.approx((area.low, area.high), abs=0.035)
    paired = bootstrap_test(rows.response, rows.one, rows.two, draws=20_000, seed=1)
    delong_p = delong_test(rows.response, rows.one, rows.two).p
    assert paired.p == pytest.approx(delong_p, abs=0.02)
    again = bootstrap_aucs(rows.response, 2 * rows.one, draws=20_000, seed=1)
    assert np.array_equal(again, draws)


def test_bootstrap_resamples_are_real_resamples(rows):
    # the counts trick against drawing rows one resample at a time
    labels, scores = rows.response.to_numpy() == 1, rows.one.to_numpy()
    rng = np.random.default_rng(5)
    picks = [rng.integers(0, size, size=(50, size)) for size in (labels.sum(), (~labels).sum())]
    slow = [
        auc(np.repeat([1, 0], [23, 30]), np.r_[scores[labels][i], scores[~labels][j]])
        for i, j in zip(*picks, strict=True)
    ]
    assert bootstrap_aucs(labels, scores, draws=50, seed=5) == pytest.approx(slow, abs=1e-14)


def test_bca_interval_covers_at_its_level():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [25, 25])
    truth = 0.7602  # AUC of two normal samples one standard deviation apart
    hits = 0
    for seed in range(100):
        scores = rng.normal(size=50) + labels
        low, high = bootstrap_interval(labels, scores, kind="bca", draws=500, seed=seed)
        hits += low <= truth <= high
    assert 88 <= hits <= 99


def test_exact_test_of_a_large_table_turns_to_monte_carlo():
    rng = np.random.default_rng(2)
    table = rng.integers(5, 40, size=(5, 6))
    found = fisher(table, draws=20_000, seed=0)
    assert found.test.endswith("(Monte Carlo, 20000)")
    assert found.p == fisher(table, draws=20_000, seed=0).p
    # few expected counts are small, so chi-square is close
    assert found.p == pytest.approx(chi_square(table).p, abs=0.02)


def test_exact_test_does_not_depend_on_the_order():
    table = np.array([[5, 2, 1, 0], [0, 3, 4, 2], [2, 0, 1, 6]])
    expected = fisher(table).p
    for other in (table.T, table[::-1], table[:, ::-1], np.c_[table, np.zeros(3, int)]):
        assert fisher(other).p == pytest.approx(expected, rel=1e-12)


def test_degenerate_tables_have_no_p():
    assert np.isnan(compare_counts([[3, 0], [5, 0]]).p)
    with pytest.raises(ModelError, match="whole numbers"):
        chi_square([[1.5, 2], [3, 4]])


def test_compare_groups_picks_the_test_and_names_it():
    group = pd.Series(["development"] * 61 + ["test"] * 53)
    grade = pd.Series(np.repeat([1, 2, 3, 4, 5] * 2, MP_GRADES[0] + MP_GRADES[1]))
    assert groups.compare_groups(grade, group).p == pytest.approx(0.706, abs=0.0005)
    age = pd.Series(np.random.default_rng(0).normal(48, 9, 114))
    assert groups.compare_groups(age, group).test == "ANOVA"
    assert groups.compare_groups(age, group, continuous="welch").test == "Welch t"
    assert groups.compare_groups(age, group, continuous="rank-sum").test == "Wilcoxon rank-sum"
    menopause = pd.Series(["pre"] * 23 + ["post"] * 38 + ["pre"] * 23 + ["post"] * 30)
    assert groups.compare_groups(menopause, group).test == "chi-square (Yates)"
    assert np.isnan(groups.compare_groups(age[:61], group[:61]).p)


def test_rank_tests_skip_missing_values_and_name_what_is_undefined():
    assert groups.rank_sum([1, 2, np.nan], [3, 4]).p == groups.rank_sum([1, 2], [3, 4]).p
    assert np.isnan(groups.rank_sum([], [1, 2]).p)
    assert np.isnan(groups.rank_sum([1, 1], [1, 1]).p)
    assert np.isnan(groups.signed_rank([1, 2], [1, 2]).p)
    assert np.isnan(groups.anova([[1, 1], [1, 1]]).p)

"""Over the cases: hand-worked numbers, the paper of Bland and Altman, scipy's bootstrap."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.bland_altman import bland_altman
from pipeline.evaluation.case import measure_case
from pipeline.evaluation.columns import MEASURES
from pipeline.evaluation.structures import Structure
from pipeline.evaluation.summary import (
    summarise,
    summary_table,
    volume_agreement,
    volume_table,
    worst_first,
)
from pipeline.evaluation.tables import CASE_COLUMNS, CaseResult, case_table, slice_table
from pipeline.model.resampling import bootstrap_rows
from pipeline.types import Volume
from tests.unit.evaluation.masks import box, grid

#: Peak flow in l/min of 17 subjects by two meters: Bland and Altman, Lancet 1986, table 1.
WRIGHT = (494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427)
MINI = (512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451)


def test_bias_and_its_interval_are_those_of_the_paper():
    found = bland_altman(MINI, WRIGHT)
    assert found.n == 17
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    assert (found.bias_low, found.bias_high) == pytest.approx((-22.0, 17.8), abs=0.06)


def test_limits_of_agreement_are_hand_worked():
    found = bland_altman([0.0, 0.0, 0.0, 5.0], [1.0, 2.0, 3.0, math.nan])
    assert (found.n, found.bias, found.sd) == (3, 2, 1)
    assert (found.lower, found.upper) == pytest.approx((0.04, 3.96))
    half = 4.302653 * math.sqrt(1 / 3 + 1.96**2 / 4)  # t of 2 degrees of freedom
    assert found.upper_high - found.upper == pytest.approx(half, rel=1e-6)
    assert found.lower - found.lower_low == pytest.approx(half, rel=1e-6)


def test_one_pair_has_a_difference_and_no_limits():
    found = bland_altman([1.0], [3.0])
    assert (found.n, found.bias) == (1, 2)
    assert math.isnan(found.lower)
    assert math.isnan(bland_altman([], []).bias)


def test_numbers_are_hand_worked_and_undefined_values_counted():
    found = summarise([1.0, 2.0, math.nan, 3.0, 10.0], seed=1)
    assert (found.n, found.undefined) == (4, 1)
    assert (found.mean, found.median, found.q1, found.q3) == (4.0, 2.5, 1.75, 4.75)
    assert found.sd == pytest.approx(np.std([1, 2, 3, 10], ddof=1))
    assert (found.minimum, found.maximum, found.total) == (1, 10, 16)


def test_limits_agree_with_scipy():
    values = np.random.default_rng(5).gamma(2.0, size=40)
    found = summarise(values, draws=20_000, seed=1)
    for name, statistic in (("mean", np.mean), ("median", np.median)):
        theirs = stats.bootstrap(
            (values,), statistic, method="percentile", n_resamples=20_000, rng=2
        ).confidence_interval
        ours = (getattr(found, f"{name}_low"), getattr(found, f"{name}_high"))
        # Two runs of 20,000 draws differ by their own noise, far below the interval's width.
        assert ours == pytest.approx(theirs, abs=0.03 * (theirs.high - theirs.low))


def test_limits_of_slices_are_those_of_resamples_written_out():
    rng = np.random.default_rng(8)
    cases = [np.round(rng.normal(size=n), 1) for n in (3, 1, 6, 2, 4)]
    rows = bootstrap_rows(5, 300, 4)
    pooled = [np.concatenate([cases[row] for row in draw]) for draw in rows]
    found = summarise(cases, draws=300, seed=4)
    for name, measure in (("mean", np.mean), ("median", np.median)):
        expected = np.percentile([measure(values) for values in pooled], (2.5, 97.5))
        ours = (getattr(found, f"{name}_low"), getattr(found, f"{name}_high"))
        assert ours == pytest.approx(tuple(expected), rel=1e-12)


def test_slices_of_a_case_do_not_narrow_the_interval():
    values = np.random.default_rng(5).normal(size=12)
    once = summarise(values, draws=500, seed=3)
    often = summarise([np.repeat(v, 9) for v in values], draws=500, seed=3)
    assert often.n == 9 * once.n
    assert (often.mean_low, often.mean_high) == pytest.approx((once.mean_low, once.mean_high))
    assert (often.median_low, often.median_high) == pytest.approx(
        (once.median_low, once.median_high)
    )


def test_the_seed_decides_and_few_values_have_no_interval():
    values = np.arange(9.0)
    assert summarise(values, seed=1) == summarise(values, seed=1)
    assert summarise(values, seed=1) != summarise(values, seed=2)
    assert math.isnan(summarise([4.0], seed=1).mean_low)
    empty = summarise([math.nan], seed=1)
    assert (empty.n, empty.undefined) == (0, 1)
    assert math.isnan(empty.mean)


@pytest.fixture(scope="module")
def cohort():
    """Four cases: shifted by 0, 2, not predicted, failed."""
    structure = Structure("lesion", (1,))
    reference = Volume(box((5, 5, 4), (15, 12, 9)).astype(np.uint8), grid())
    predictions = [box((5 + s, 5, 4), (15 + s, 12, 9)) for s in (0, 2)]
    predictions.append(np.zeros_like(predictions[0]))
    results = [
        CaseResult(
            f"c{n}", "r", "p",
            measure_case(reference, Volume(p.astype(np.uint8), grid()), [structure]),
        )
        for n, p in enumerate(predictions)
    ]  # fmt: skip
    results.append(CaseResult("c3", "r", "p", None, "unreadable"))
    cases = case_table(results, [structure], tolerance_mm=2.0)
    return cases, slice_table(results, [structure])


def test_every_case_has_a_row_with_all_columns(cohort):
    cases, slices = cohort
    assert tuple(cases.columns) == CASE_COLUMNS
    assert cases["status"].tolist() == ["ok", "ok", "ok", "failed"]
    assert cases["note"].iloc[3] == "unreadable"
    assert cases["dice_3d"].iloc[:3].tolist() == pytest.approx([1.0, 0.8, 0.0])
    assert cases["fn_slices"].iloc[:3].tolist() == [0, 0, 5]
    assert cases.iloc[3][[m.column for m in MEASURES]].isna().all()
    assert len(slices) == 15


def test_the_summary_leaves_out_what_is_undefined_and_says_so(cohort):
    table = summary_table(*cohort, draws=200, seed=1)
    rows = table[table["over"] == "cases"].set_index("measure")
    assert rows.index.tolist() == [m.column for m in MEASURES]
    assert rows.loc["dice_3d", ["n", "undefined"]].tolist() == [3, 1]
    assert rows.loc["dice_3d", "mean"] == pytest.approx(0.6)
    assert rows.loc["hausdorff_mm", ["n", "undefined"]].tolist() == [2, 2]
    assert rows.loc["hausdorff_mm", "maximum"] == pytest.approx(1.0)
    assert rows.loc["fn_slices", "total"] == 5
    slices = table[table["over"] == "slices"].set_index("measure")
    assert slices.loc["dice_2d", "n"] == 15
    assert slices.loc["dice_2d", "mean"] == pytest.approx(0.6)
    assert slices.loc["tp_dice_2d", "n"] == 10
    assert slices.loc["tp_dice_2d", "mean"] == pytest.approx(0.9)


def test_volumes_are_compared_and_the_worst_case_comes_first(cohort):
    agreement = volume_agreement(cohort[0])
    ml = 10 * 7 * 5 * 2.25 / 1000
    assert agreement["lesion"].n == 3
    assert agreement["lesion"].bias == pytest.approx(-ml / 3)
    assert volume_table(agreement)["bias_ml"].tolist() == pytest.approx([-ml / 3])
    assert worst_first(cohort[0])["subject"].tolist() == ["c2", "c1", "c0"]

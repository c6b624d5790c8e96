"""Intraclass correlations against hand-worked tables, R, and simulated variance ratios."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import SettingsError
from pipeline.radiomics.stability.concordance import concordance
from pipeline.radiomics.stability.icc import MODELS, icc
from pipeline.radiomics.stability.mean_squares import mean_squares

GOLDEN = Path(__file__).parents[3] / "golden"

#: Shrout and Fleiss 1979, table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


@pytest.mark.parametrize(("model", "published"), [("1,1", 0.17), ("2,1", 0.29), ("3,1", 0.71)])
def test_the_published_table(model, published):
    assert round(float(icc(SHROUT_FLEISS, model=model).value[0]), 2) == published


def test_the_published_analysis_of_variance():
    found = mean_squares(SHROUT_FLEISS[..., np.newaxis])
    assert found.between[0] == pytest.approx(11.24, abs=0.005)
    assert found.within[0] == pytest.approx(6.26, abs=0.005)
    assert found.raters[0] == pytest.approx(32.49, abs=0.005)
    assert found.residual[0] == pytest.approx(1.02, abs=0.005)


def test_worked_by_hand():
    # rows 1 2, 3 4, 5 6: means 1.5 3.5 5.5, so MSB = 2 * 4 = 8 and MSW = 3 * 0.5 / 3 = 0.5;
    # raters differ by 1 everywhere: MSJ = 3 * 0.5 = 1.5, nothing is left: MSE = 0
    ratings = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    one = icc(ratings, model="1,1")
    assert one.value[0] == pytest.approx((8 - 0.5) / (8 + 0.5), rel=1e-14)
    assert one.within_sd[0] == pytest.approx(np.sqrt(0.5), rel=1e-14)
    assert one.mean[0] == 3.5
    assert icc(ratings, model="2,1").value[0] == pytest.approx(8 / (8 + 2 * 1.5 / 3), rel=1e-14)
    three = icc(ratings, model="3,1")
    assert (three.value[0], three.low[0], three.high[0]) == (1.0, 1.0, 1.0)


def _agrees_with(values: pd.DataFrame, rows: pd.DataFrame) -> int:
    for row in values.itertuples():
        mine = rows[rows["case"] == row.case]
        ratings = mine.pivot_table(index="subject", columns="rater", values="value").to_numpy()
        pairs = ratings[:, :2]
        found = concordance(pairs) if row.model == "ccc" else icc(ratings, model=row.model)
        here = [float(v[0]) for v in (found.value, found.low, found.high)]
        assert here == pytest.approx([row.value, row.low95, row.high95], rel=1e-10, abs=1e-12)
    return len(values)


def test_golden_values_of_r():
    rows = pd.read_csv(GOLDEN / "icc_rows.tsv", sep="\t")
    values = pd.read_csv(GOLDEN / "icc_values.tsv", sep="\t", comment="#")
    assert _agrees_with(values, rows) == 27


@pytest.mark.slow
def test_r_itself(tmp_path):
    if shutil.which("Rscript") is None:
        pytest.skip("no R here")
    rows = pd.read_csv(GOLDEN / "icc_rows.tsv", sep="\t")
    rows["value"] = rows["value"] * 0.5 + np.random.default_rng(3).normal(size=len(rows))
    rows.to_csv(tmp_path / "icc_rows.tsv", sep="\t", index=False, float_format="%.17g")
    done = subprocess.run(
        ["Rscript", str(GOLDEN / "icc.R"), str(tmp_path)], capture_output=True, text=True
    )
    if done.returncode and "there is no package" in done.stderr:
        pytest.skip("R lacks psych or epiR")
    assert done.returncode == 0, done.stderr
    values = pd.read_csv(tmp_path / "icc_values.tsv", sep="\t", comment="#")
    assert _agrees_with(values, rows) == 27


@pytest.mark.parametrize("model", MODELS)
def test_many_features_are_as_one_by_one(model):
    rng = np.random.default_rng(2)
    ratings = rng.normal(size=(12, 3, 7)) + 2 * rng.normal(size=(12, 1, 7))
    ratings[3, 1, 2] = np.nan
    together = icc(ratings, model=model)
    for column in range(7):
        alone = icc(ratings[..., column], model=model)
        for name in ("value", "low", "high", "subjects", "left_out", "within_sd"):
            here, there = getattr(together, name)[column], getattr(alone, name)[0]
            assert here == pytest.approx(there, rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_a_subject_that_lacks_a_rating_is_left_out_and_counted(model):
    ratings = np.stack([SHROUT_FLEISS, SHROUT_FLEISS], axis=-1)
    ratings[1, 2, 0] = np.nan
    ratings[4, 0, 0] = np.inf
    found = icc(ratings, model=model)
    by_hand = icc(np.delete(SHROUT_FLEISS, [1, 4], axis=0), model=model)
    assert found.value[0] == pytest.approx(by_hand.value[0], rel=1e-13)
    assert found.low[0] == pytest.approx(by_hand.low[0], rel=1e-13)
    assert found.subjects.tolist() == [4, 6]
    assert found.left_out.tolist() == [2, 0]


def test_unbalanced_keeps_what_has_two_ratings():
    nan = np.nan
    ratings = np.array([[1.0, 3.0, nan], [4.0, 6.0, 5.0], [9.0, 11.0, nan], [2.0, nan, nan]])
    found = icc(ratings, unbalanced=True)
    # means 2, 5, 10; sums of squares within 2 + 2 + 2, degrees of freedom 7 - 3
    grand = (4 + 15 + 20) / 7
    between = (2 * (2 - grand) ** 2 + 3 * (5 - grand) ** 2 + 2 * (10 - grand) ** 2) / 2
    n0 = (7 - (4 + 9 + 4) / 7) / 2
    assert found.value[0] == pytest.approx((between - 1.5) / (between + (n0 - 1) * 1.5), rel=1e-12)
    assert (found.subjects[0], found.left_out[0]) == (3, 1)
    assert found.ratings[0] == pytest.approx(n0)
    balanced = icc(SHROUT_FLEISS, unbalanced=True)
    same = icc(SHROUT_FLEISS)
    for name in ("value", "low", "high"):
        assert getattr(balanced, name)[0] == pytest.approx(getattr(same, name)[0], rel=1e-12)


def _coverage(model: str, unbalanced: bool) -> float:
    """Return how often the interval holds the true correlation, over 4000 features."""
    rng = np.random.default_rng(7)
    n, k, p = 20, 4, 4000
    raters = 0.0 if model == "1,1" else 1.0
    subject, rater = rng.normal(size=(n, 1, p)), raters * rng.normal(size=(1, k, p))
    ratings = 5 + 2 * subject + rater + rng.normal(size=(n, k, p))
    if unbalanced:
        ratings[: n // 2, 2:] = np.nan
    # variances: subjects 4, raters 0 or 1, error 1; the third does not count raters
    true = {"1,1": 4 / 5, "2,1": 4 / 6, "3,1": 4 / 5}[model]
    found = icc(ratings, model=model, unbalanced=unbalanced)
    return float(np.mean((found.low <= true) & (true <= found.high)))


@pytest.mark.parametrize(
    ("model", "unbalanced"), [("1,1", False), ("1,1", True), ("3,1", False), ("2,1", False)]
)
def test_the_interval_covers_the_true_ratio_in_95_of_100(model, unbalanced):
    # 4000 draws: a standard error of 0.0035. The mixture of (2,1) is an approximation.
    allowed = 0.03 if model == "2,1" else 0.012
    assert _coverage(model, unbalanced) == pytest.approx(0.95, abs=allowed)


def test_what_cannot_be_estimated_is_nan_and_equal_ratings_are_1():
    rng = np.random.default_rng(0)
    subject = rng.normal(size=(5, 1)) * np.ones((5, 3)) / 3
    constant = np.full((5, 3), 1e9 / 3)
    lonely = np.full((5, 3), np.nan)
    lonely[0] = 1.0
    for model in MODELS:
        found = icc(np.stack([subject, constant, lonely], axis=-1), model=model)
        assert found.value[0] == pytest.approx(1.0, abs=1e-15)
        assert found.low[0] == found.high[0] == 1.0
        assert np.isnan(found.value[1:]).all()
        assert np.isnan(found.low[1:]).all()


def test_scale_and_shift_do_not_matter():
    found, moved = icc(SHROUT_FLEISS), icc(1e-7 * SHROUT_FLEISS + 3.0)
    assert moved.value[0] == pytest.approx(found.value[0], rel=1e-7)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"model": "1,k"}, "ICC model '1,k' is unknown"),
        ({"level": 1.0}, "level 1"),
        ({"model": "3,1", "unbalanced": True}, "unbalanced goes with 1,1"),
    ],
)
def test_settings_without_meaning(how, message):
    with pytest.raises(SettingsError, match=message):
        icc(SHROUT_FLEISS, **how)
    with pytest.raises(SettingsError, match="two ratings or more"):
        icc(SHROUT_FLEISS[:, :1])


def test_concordance_falls_with_a_shift_that_correlation_does_not_see():
    first = np.array([1.0, 2.0, 3.0, 4.0])
    # moments over n: both variances 1.25, covariance 1.25, shift 1: 2.5 / (2.5 + 1)
    found = concordance(np.column_stack([first, first + 1]))
    assert found.value[0] == pytest.approx(2.5 / 3.5, rel=1e-14)
    same = concordance(np.column_stack([first, first]))
    assert (same.value[0], same.low[0], same.high[0]) == (1.0, 1.0, 1.0)
    with pytest.raises(SettingsError, match="needs pairs"):
        concordance(SHROUT_FLEISS)

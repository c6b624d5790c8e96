"""The Rad-score: filters, the frozen score and its record, the development chain."""

import json
import logging

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.model.scaling import Scaler, fit_scaler, standardise
from pipeline.model.survival.feature_filter import filter_features
from pipeline.model.survival.frozen_score import RadScore
from pipeline.model.survival.lasso_cox import lasso_path
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.rad_score import LassoOptions, fit_rad_score

#: Printed in the colorectal study (Cai et al. 2021, doi 10.3389/fmolb.2020.613918).
PRINTED = {
    "original_shape_Maximum2DDiameterRow": 0.075,
    "original_firstorder_RobustMeanAbsoluteDeviation": -0.070,
    "original_glrlm_LongRunLowGrayLevelEmphasis": 0.029,
    "original_glrlm_RunVariance": 0.028,
    "original_glszm_SizeZoneNonUniformityNormalized": 0.116,
}
QUICK = LassoOptions(n_folds=4, repeats=2, n_lambdas=20, lambda_min_ratio=0.05, resamples=5)


def _printed(cutoff: float | None = -0.077) -> RadScore:
    scaler = Scaler(np.full(5, 7.0), np.arange(5.0), np.full(5, 2.0))
    return RadScore(tuple(PRINTED), scaler, np.array(list(PRINTED.values())), 0.1, cutoff)


def _cohort(n: int = 90, p: int = 8, seed: int = 2) -> tuple:
    rng = np.random.default_rng(seed)
    values = 50 + 9 * rng.normal(size=(n, p))
    hazard = np.exp((values[:, 2] - 50) / 9 - (values[:, 5] - 50) / 9)
    months, ends = 20 * rng.exponential(size=n) / hazard, rng.uniform(10, 60, size=n)
    outcome = Outcome(np.minimum(months, ends), months <= ends)
    return values, [f"f{i}" for i in range(p)], outcome, [f"s{i:03d}" for i in range(n)]


def test_the_intensity_filter_keeps_85_of_107_by_mean_absolute_raw_value():
    rng = np.random.default_rng(1)
    sizes = rng.permutation(107) + 1.0
    values = sizes * np.where(rng.random((20, 107)) < 0.5, -1.0, 1.0)
    kept = filter_features(values, name="intensity", share=0.8)
    assert kept.size == 85
    assert sorted(sizes[kept]) == list(range(23, 108))
    assert (np.diff(kept) > 0).all()


def test_filters_rank_by_their_own_measure_and_depend_on_the_unit():
    values = np.array([[100.0, 0.0, 3.0], [101.0, 8.0, -3.0], [np.nan, np.inf, 3.0]])
    assert filter_features(values, name="intensity", share=0.34).tolist() == [0]
    assert filter_features(values, name="variance", share=0.34).tolist() == [1]
    assert filter_features(values, name="none").tolist() == [0, 1, 2]
    # the same length in metres and not in millimetres
    values[:, 0] /= 1000
    assert filter_features(values, name="intensity", share=0.34).tolist() == [1]


def test_a_filter_refuses_what_it_cannot_rank():
    with pytest.raises(ModelError, match="'mean' is not known"):
        filter_features(np.ones((2, 2)), name="mean")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"share 1\.2"):
        filter_features(np.ones((2, 2)), name="variance", share=1.2)
    with pytest.raises(ModelError, match="column 2 of the features has no value"):
        filter_features(np.array([[1.0, np.nan]]), name="variance")


def test_the_printed_score_of_unit_vectors_and_of_zeros():
    score = _printed()
    rows = score.scaler.mean + score.scaler.sd * np.eye(5)
    np.testing.assert_allclose(score.score(rows), list(PRINTED.values()), atol=1e-15)
    zero = score.score(score.scaler.mean[None, :])
    assert zero.tolist() == [0.0]
    assert score.risk_group(zero).tolist() == [True]


def test_a_score_at_the_cutoff_is_high_risk_and_logged(caplog):
    with caplog.at_level(logging.INFO):
        found = _printed().risk_group([-0.077, np.nextafter(-0.077, -1), 0.2])
    assert found.tolist() == [True, False, True]
    assert "1 scores equal the cut-off -0.077: high risk" in caplog.text
    with pytest.raises(ModelError, match="no cut-off yet"):
        _printed(None).risk_group([0.0])
    assert _printed(None).with_cutoff(0.3).risk_group([0.2, 0.4]).tolist() == [False, True]
    with pytest.raises(ModelError, match="not a finite number"):
        _printed().with_cutoff(float("nan"))


def test_columns_are_found_by_name_and_missing_values_take_the_median():
    score = _printed()
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(4, 5))
    names = ["other", *reversed(PRINTED)]
    table = np.column_stack([np.full(4, 1e9), rows[:, ::-1]])
    np.testing.assert_array_equal(score.score(table, names), score.score(rows))
    np.testing.assert_array_equal(score.score(rows[2:3]), score.score(rows)[2:3])
    holed = rows.copy()
    holed[1, 2] = np.nan
    filled = holed.copy()
    filled[1, 2] = 7.0
    np.testing.assert_array_equal(score.score(holed), score.score(filled))
    with pytest.raises(ModelError, match=r"lacks 1 columns.*RunVariance"):
        score.score(rows[:, [0, 1, 2, 4]], [n for n in PRINTED if "RunVariance" not in n])
    with pytest.raises(ModelError, match="hold the 5 features"):
        score.score(rows[:, :4])


def test_scaling_per_cohort_uses_the_rows_given_and_is_not_the_default():
    score = _printed()
    rows = np.random.default_rng(3).normal(size=(30, 5)) * 4 + 1
    own = (rows - rows.mean(axis=0)) / rows.std(axis=0) @ score.coefficients
    np.testing.assert_allclose(score.score(rows, scaling="per_cohort"), own, atol=1e-12)
    assert np.abs(score.score(rows) - own).max() > 0.01


def test_the_record_survives_json_in_every_bit():
    score = _printed()
    text = json.dumps(score.to_record(), allow_nan=False)
    back = RadScore.from_record(json.loads(text))
    assert json.dumps(back.to_record()) == text
    rows = np.random.default_rng(0).normal(size=(9, 5))
    np.testing.assert_array_equal(back.score(rows), score.score(rows))
    assert RadScore.from_record(_printed(None).to_record()).cutoff is None


@pytest.mark.parametrize("key", ["features", "lambda", "cutoff", "details"])
def test_an_incomplete_record_is_refused(key):
    record = _printed().to_record()
    del record[key]
    with pytest.raises(ModelError, match=f"the record lacks '{key}'"):
        RadScore.from_record(record)


def test_a_wrong_record_is_refused():
    record = _printed().to_record()
    with pytest.raises(ModelError, match="schema 2"):
        RadScore.from_record(record | {"schema": 2})
    with pytest.raises(ModelError, match="kind 'svm'"):
        RadScore.from_record(record | {"kind": "svm"})
    del record["features"][1]["sd"]
    with pytest.raises(ModelError, match="RobustMeanAbsoluteDeviation lacks 'sd'"):
        RadScore.from_record(record)
    record["features"][1]["sd"] = "1"
    with pytest.raises(ModelError, match="'1', not a finite number"):
        RadScore.from_record(record)


def test_the_chain_finds_the_true_features_and_scores_as_the_path_does():
    values, names, outcome, subjects = _cohort()
    fit = fit_rad_score(values, names, outcome, subjects, options=QUICK, seed=1)
    assert {"f2", "f5"} <= set(fit.score.features)
    chosen = dict(zip(fit.score.features, fit.score.coefficients, strict=True))
    assert chosen["f2"] > 0 > chosen["f5"]
    assert fit.frequency[[2, 5]].tolist() == [1.0, 1.0]
    scaled = standardise(fit_scaler(values), values)
    path = lasso_path(scaled, outcome, QUICK.path)
    np.testing.assert_allclose(path.coefficients, fit.path.coefficients, atol=1e-9)
    expected = scaled @ fit.path.coefficients[fit.step]
    np.testing.assert_allclose(fit.score.score(values, names), expected, atol=1e-12)
    assert fit.cv is not None
    assert fit.step == fit.cv.index_min
    assert fit.score.penalty == fit.path.lambdas[fit.step]


def test_the_chain_does_not_depend_on_the_order_of_the_rows():
    values, names, outcome, subjects = _cohort()
    fit = fit_rad_score(values, names, outcome, subjects, options=QUICK, seed=1)
    order = np.random.default_rng(5).permutation(len(subjects))
    again = fit_rad_score(
        values[order],
        names,
        outcome.take(order),
        [subjects[row] for row in order],
        options=QUICK,
        seed=1,
    )
    assert json.dumps(again.score.to_record()) == json.dumps(fit.score.to_record())
    np.testing.assert_array_equal(again.frequency, fit.frequency)


def test_the_rules_order_the_steps():
    values, names, outcome, subjects = _cohort()
    steps = {}
    for rule in ("min", "1se", "count"):
        options = LassoOptions(**{**vars(QUICK), "rule": rule, "count": 1})
        fit = fit_rad_score(values, names, outcome, subjects, options=options, seed=1)
        steps[rule] = fit.step
    assert steps["count"] < steps["min"]
    assert steps["1se"] <= steps["min"]
    forced = LassoOptions(rule="count", count=4, repeats=0)
    fit = fit_rad_score(values, names, outcome, subjects, options=forced, seed=1)
    assert fit.cv is None
    assert fit.path.n_selected[fit.step] >= 4 > fit.path.n_selected[fit.step - 1]


def test_a_count_beyond_reach_takes_the_most_and_says_so(caplog):
    values, names, outcome, subjects = _cohort()
    options = LassoOptions(rule="count", count=9, repeats=0)
    fit = fit_rad_score(values, names, outcome, subjects, options=options, seed=1)
    assert len(fit.score.features) == fit.path.n_selected.max()
    assert "no lambda selects 9 features" in caplog.text


def test_noise_may_give_an_empty_score_which_is_zero_for_everyone(caplog):
    rng = np.random.default_rng(12)
    values, names, outcome, subjects = _cohort()
    noise = rng.normal(size=values.shape)
    options = LassoOptions(**{**vars(QUICK), "rule": "1se"})
    fit = fit_rad_score(noise, names, outcome, subjects, options=options, seed=1)
    assert fit.score.features == ()
    assert "selects none of 8 features: the Rad-score is empty" in caplog.text
    assert fit.score.score(noise, names).tolist() == [0.0] * len(subjects)
    assert RadScore.from_record(fit.score.to_record()).score(noise[:, :0]).tolist() == [0.0] * 90


def test_constant_and_empty_features_are_dropped_and_named(caplog):
    values, names, outcome, subjects = _cohort()
    values[:, 0], values[:, 7] = 3.0, np.nan
    values[4, 2] = np.nan
    options = LassoOptions(**{**vars(QUICK), "filter": "intensity", "filter_keep": 0.5})
    with caplog.at_level(logging.INFO):
        fit = fit_rad_score(values, names, outcome, subjects, options=options, seed=1)
    assert fit.dropped == ("f0", "f7")
    assert "2 features are constant or empty in the development rows" in caplog.text
    assert "f0, f7" in caplog.text
    assert len(fit.features) == len(fit.filtered) == 3
    assert set(fit.features) | set(fit.filtered) | set(fit.dropped) == set(names)
    with pytest.raises(ModelError, match=r"all 8 features are constant or empty.*f0, f1"):
        fit_rad_score(np.ones_like(values), names, outcome, subjects, options=options, seed=1)


def test_a_table_that_does_not_fit_is_refused():
    values, names, outcome, subjects = _cohort()
    with pytest.raises(ModelError, match="not 90 subjects by 7 features"):
        fit_rad_score(values, names[:7], outcome, subjects, options=QUICK, seed=1)
    with pytest.raises(ModelError, match="feature f1 is in 2 columns"):
        fit_rad_score(values, ["f1", *names[1:]], outcome, subjects, options=QUICK, seed=1)
    twice = ["s001", *subjects[1:]]
    with pytest.raises(ModelError, match="subject s001 has two rows"):
        fit_rad_score(values, names, outcome, twice, options=QUICK, seed=1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rule": "best"}, "'best' is not known"),
        ({"repeats": 0}, "rule min needs 1 or more repeats"),
        ({"rule": "count", "count": 0}, "0 features"),
    ],
)
def test_options_without_meaning_are_refused(options, text):
    with pytest.raises(ModelError, match=text):
        LassoOptions(**options)

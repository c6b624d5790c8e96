"""ComBat against R's sva, and that new rows change nothing."""

import json
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ConvergenceError, ModelError
from pipeline.model import harmonise
from pipeline.model.arrays import Float
from pipeline.model.harmonise import Combat, apply_combat, fit_combat

GOLDEN = Path(__file__).parents[2] / "golden"

#: run of combat.R -> (rows of centre d too, covariates, mean_only, reference)
RUNS = {
    "plain": (False, False, False, None),
    "covariates": (False, True, False, None),
    "reference": (False, False, False, "b"),
    "reference+covariates": (False, True, False, "a"),
    "mean": (False, False, True, None),
    "mean+covariates+reference": (False, True, True, "c"),
    "single": (True, True, False, None),
}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "combat_rows.tsv", sep="\t")


@pytest.fixture(scope="module")
def adjusted() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "combat_adjusted.tsv", sep="\t")


def _parts(rows: pd.DataFrame) -> tuple[Float, list[str], Float]:
    values = rows.filter(regex=r"^f\d").to_numpy(dtype=float)
    return values, rows.centre.tolist(), rows[["age", "stage"]].to_numpy(dtype=float)


def _cohort(n: int = 60, p: int = 8, seed: int = 0) -> tuple[Float, list[str], Float]:
    rng = np.random.default_rng(seed)
    centres = rng.permutation(np.repeat(["x", "y", "z"], n // 3)).tolist()
    shift = {c: rng.normal(size=p) for c in "xyz"}
    spread = {c: rng.uniform(0.5, 2, p) for c in "xyz"}
    values = np.array([shift[c] + spread[c] * rng.normal(size=p) for c in centres])
    return values, centres, rng.normal(size=(n, 2))


@pytest.mark.parametrize("name", RUNS)
def test_equal_to_sva(rows, adjusted, name):
    with_d, with_covariates, mean_only, reference = RUNS[name]
    values, centres, covariates = _parts(rows if with_d else rows[rows.centre != "d"])
    terms = covariates if with_covariates else None
    fit = fit_combat(values, centres, terms, reference=reference, mean_only=mean_only)
    expected = adjusted[adjusted.run == name].filter(regex=r"^f\d").to_numpy(dtype=float)
    found = apply_combat(fit, values, centres, terms)
    assert np.abs(found - expected).max() <= 1e-6
    assert np.abs(found / expected - 1).max() <= 1e-8
    assert fit.mean_only == (mean_only or with_d)
    # feature 5 is constant in centre b, feature 9 everywhere: as they were, to the last bit
    assert np.flatnonzero(~fit.adjusted).tolist() == [4, 8]
    assert np.array_equal(found[:, [4, 8]], values[:, [4, 8]])
    if reference:
        still = np.array(centres) == reference
        assert np.array_equal(found[still], values[still])


def test_new_rows_of_a_known_centre_get_the_fitted_transform_and_change_nothing():
    values, centres, covariates = _cohort()
    development = np.arange(60) < 45
    first = [c for c, d in zip(centres, development, strict=True) if d]
    fit = fit_combat(values[development], first, covariates[development])
    before = json.dumps(fit.to_record())
    whole = apply_combat(fit, values, centres, covariates)
    own = apply_combat(fit, values[development], first, covariates[development])
    assert np.array_equal(whole[development], own)
    wild = values.copy()
    wild[~development] = 1e6
    again = apply_combat(fit, wild, centres, covariates)
    assert np.array_equal(again[development], own)
    assert json.dumps(fit.to_record()) == before
    # by hand, one row of the test part
    i, c = 50, fit.centres.index(centres[50])
    mean = fit.grand_mean + covariates[i] @ fit.coefficients
    z = (values[i] - mean) / fit.sd
    by_hand = (z - fit.gamma[c]) / np.sqrt(fit.delta[c]) * fit.sd + mean
    assert whole[i] == pytest.approx(by_hand, rel=1e-12)


def test_the_record_comes_back_to_the_last_bit():
    values, centres, covariates = _cohort()
    fit = fit_combat(values, centres, covariates, reference="y")
    text = json.dumps(fit.to_record())
    back = Combat.from_record(json.loads(text))
    assert json.dumps(back.to_record()) == text
    assert np.array_equal(
        apply_combat(back, values, centres, covariates),
        apply_combat(fit, values, centres, covariates),
    )
    plain = fit_combat(values, centres)
    assert Combat.from_record(plain.to_record()).coefficients.shape == (0, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "svm"}, "kind 'svm', schema 1: this version reads combat of schema 1"),
        ({"schema": 9}, "schema 9"),
        ({"sd": [1.0]}, "incomplete .8 features and 3 centres"),
        ({"gamma": [[1.0]]}, "incomplete .gamma and delta are not 3 by 8"),
        ({"counts": None}, "incomplete"),
    ],
)
def test_a_damaged_record_is_refused(change, message):
    values, centres, _ = _cohort()
    with pytest.raises(ModelError, match=message):
        Combat.from_record(fit_combat(values, centres).to_record() | change)


def test_centres_that_differ_by_shift_and_scale_alone_become_equal():
    # 40 rows per centre are the same rows but for the centre's shift and scale: afterwards the
    # centres' means agree far better than before, up to the shrinkage
    rng = np.random.default_rng(3)
    base = rng.normal(size=(40, 50))
    values = np.vstack([base + rng.normal(size=50), 2 * base + 3 + rng.normal(size=50)])
    centres = ["one"] * 40 + ["two"] * 40
    out = apply_combat(fit_combat(values, centres), values, centres)
    gap = np.abs(out[:40].mean(axis=0) - out[40:].mean(axis=0))
    ratio = out[40:].std(axis=0) / out[:40].std(axis=0)
    before = np.abs(values[:40].mean(axis=0) - values[40:].mean(axis=0))
    assert before.mean() > 2
    assert gap.mean() < 0.05 * before.mean()
    assert ratio.mean() == pytest.approx(1.0, abs=0.05)


def test_the_effect_of_a_covariate_stays():
    # all old subjects are in one centre: without the covariate, ComBat would remove the effect
    rng = np.random.default_rng(4)
    age = np.r_[rng.normal(40, 5, 100), rng.normal(70, 5, 100)][:, np.newaxis]
    values = 0.1 * age + rng.normal(size=(200, 30)) + np.repeat([[0.0], [5.0]], 100, axis=0)
    centres = ["young"] * 100 + ["old"] * 100
    kept = apply_combat(fit_combat(values, centres, age), values, centres, age)
    slope = [np.polyfit(age[:, 0], kept[:, j], 1)[0] for j in range(30)]
    assert np.mean(slope) == pytest.approx(0.1, abs=0.02)
    lost = apply_combat(fit_combat(values, centres), values, centres)
    assert np.mean([np.polyfit(age[:, 0], lost[:, j], 1)[0] for j in range(30)]) < 0.05


def test_policies_for_a_centre_never_seen():
    values, centres, _ = _cohort()
    fit = fit_combat(values, centres)
    new = np.random.default_rng(8).normal(size=(3, 8))
    where = ["x", "far", "far"]
    with pytest.raises(ModelError, match=r"subject b: centre far has no development rows.*x, y, z"):
        apply_combat(fit, new, where, subjects=["a", "b", "c"])
    with pytest.raises(ModelError, match="row 2: centre far"):
        apply_combat(fit, new, where)
    kept = apply_combat(fit, new, where, unseen="keep")
    assert np.array_equal(kept[1:], new[1:])
    assert np.array_equal(kept[:1], apply_combat(fit, new[:1], ["x"]))
    pooled = apply_combat(fit, new, where, unseen="pooled")
    weights = fit.counts / 60
    z = (new[1] - fit.grand_mean) / fit.sd
    by_hand = (z - weights @ fit.gamma) / np.sqrt(weights @ fit.delta)
    assert pooled[1] == pytest.approx(by_hand * fit.sd + fit.grand_mean, rel=1e-12)
    # one row's transform does not depend on the other rows
    assert np.array_equal(pooled[2:], apply_combat(fit, new[2:], ["far"], unseen="pooled"))


def test_the_order_of_the_rows_does_not_matter():
    values, centres, covariates = _cohort()
    order = np.random.default_rng(1).permutation(60)
    first = fit_combat(values, centres, covariates)
    second = fit_combat(values[order], [centres[i] for i in order], covariates[order])
    assert second.gamma == pytest.approx(first.gamma, rel=1e-9, abs=1e-12)
    assert second.centres == first.centres == ("x", "y", "z")


def test_missing_values_stand_at_the_median_of_their_centre_and_stay_missing(caplog):
    values, centres, _ = _cohort()
    x = [i for i, c in enumerate(centres) if c == "x"]
    holed = values.copy()
    holed[x[0], 2], holed[x[1], 3] = np.nan, np.inf
    holed[x, 5] = np.nan
    with caplog.at_level(logging.INFO):
        fit = fit_combat(holed, centres, features=[f"f{i}" for i in range(8)])
    assert "22 missing values stand at the median of their centre" in caplog.text
    assert "1 features are constant within a centre and stay as they are: f5" in caplog.text
    filled = values.copy()
    filled[x[0], 2] = np.median(values[x[1:], 2])
    filled[x[1], 3] = np.median(values[[x[0], *x[2:]], 3])
    filled[x, 5] = 0.0
    assert np.array_equal(fit.gamma, fit_combat(filled, centres).gamma)
    out = apply_combat(fit, holed, centres)
    assert np.isnan(out[x[0], 2])
    assert np.isnan(out[x, 5]).all()
    assert np.isfinite(np.delete(out, x, axis=0)).all()


def test_a_centre_with_one_row_gives_the_mean_only_and_says_so(caplog):
    values, centres, _ = _cohort()
    centres[0] = "lone"
    with caplog.at_level(logging.WARNING):
        fit = fit_combat(values, centres)
    assert "centre lone has one development row" in caplog.text
    assert fit.mean_only
    assert (fit.delta == 1).all()
    caplog.clear()
    fit_combat(values, centres, mean_only=True)
    assert not caplog.records


def _mistake(kind: str) -> None:
    values, centres, covariates = _cohort()
    if kind == "one centre":
        fit_combat(values, ["lung1"] * 60)
    elif kind == "reference":
        fit_combat(values, centres, reference="far")
    elif kind == "confounded":
        flag = np.array([[float(c == "x")] for c in centres])
        fit_combat(values, centres, np.c_[covariates, flag], covariate_names=["a", "b", "ct"])
    elif kind == "doubled":
        fit_combat(values, centres, np.c_[covariates, covariates[:, 0] * 1e5])
    elif kind == "missing":
        covariates[7, 1] = np.nan
        fit_combat(values, centres, covariates, covariate_names=["age", "size"])
    elif kind == "one feature":
        fit_combat(values[:, :1], centres)
    elif kind == "names":
        fit_combat(values, centres, features=["a"])
    elif kind == "width":
        apply_combat(fit_combat(values, centres), values[:, :3], centres)
    elif kind == "no covariates":
        apply_combat(fit_combat(values, centres, covariates), values, centres)
    else:
        covariates[7, 1] = np.nan
        fit = fit_combat(values, centres, np.nan_to_num(covariates), covariate_names=["a", "b"])
        apply_combat(fit, values, centres, covariates, subjects=[f"s{i}" for i in range(60)])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("one centre", "needs two centres or more .*; they hold only lung1: switch"),
        ("reference", "reference centre far has no development row; the centres are x, y, z"),
        ("confounded", "covariate ct is determined by the centres"),
        ("doubled", "covariate covariate 3 is determined by the centres and the other"),
        ("missing", "covariate size, row 8: missing; fill the cell"),
        ("one feature", "has 1 that vary within every centre"),
        ("names", "1 names for 8 columns"),
        ("width", "3 features are given, ComBat was fitted on 8"),
        ("no covariates", "ComBat needs 2 columns .covariate 1, covariate 2. for 60 rows"),
        ("new missing", "covariate b, subject s7: missing"),
    ],
)
def test_mistakes_say_what_to_do(kind, message):
    with pytest.raises(ModelError, match=message):
        _mistake(kind)


def test_no_convergence_is_an_error_that_names_the_centre(monkeypatch):
    monkeypatch.setattr(harmonise, "_MOST_ITERATIONS", 1)
    values, centres, _ = _cohort()
    with pytest.raises(ConvergenceError, match="centre x still change by"):
        fit_combat(values, centres)


def test_equal_variances_need_no_shrinkage():
    # the same feature thrice, scaled: all standardised variances are equal
    rng = np.random.default_rng(2)
    one = rng.normal(size=30)
    centres = ["p"] * 15 + ["q"] * 15
    values = np.column_stack([one, 10 * one, 3 * one + 2])
    fit = fit_combat(values, centres)
    z = (values - fit.grand_mean) / fit.sd
    assert fit.gamma[0] == pytest.approx(z[:15].mean(axis=0), rel=1e-6)
    assert np.isfinite(fit.delta).all()


def test_a_thousand_features_take_under_a_second():
    rng = np.random.default_rng(0)
    values, covariates = rng.normal(size=(300, 1000)), rng.normal(size=(300, 3))
    centres = [f"c{i % 6}" for i in range(300)]
    start = time.perf_counter()
    out = apply_combat(fit_combat(values, centres, covariates), values, centres, covariates)
    assert time.perf_counter() - start < 1.0
    assert np.isfinite(out).all()

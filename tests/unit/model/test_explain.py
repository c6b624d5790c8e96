"""SHAP contributions against Shapley's definition, computed from the trees by brute force."""

import itertools
import json
import math

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.model.boosting import BoostingOptions, FrozenBoosting, fit_boosting
from pipeline.model.explain import (
    Shap,
    importance,
    importance_interval,
    pool_columns,
    shap_contributions,
)
from pipeline.model.folds import assign_folds


@pytest.fixture(scope="module")
def trees():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(90, 3))
    extra = np.eye(2)[rng.integers(0, 2, 90)]
    signal = values[:, 0] * (2 * extra[:, 0] - 0.5) + values[:, 1] ** 2
    labels = (signal + rng.logistic(size=90) > 0.6).astype(int)
    values[rng.random(values.shape) < 0.05] = np.nan
    folds = assign_folds([f"{i:03d}" for i in range(90)], labels, n_folds=3, seed=1)
    fit = fit_boosting(
        values, labels, folds, features=["a", "b", "c"], extra=extra, extra_names=["k=x", "k=y"],
        options=BoostingOptions(max_rounds=25),
    )  # fmt: skip
    return fit.model, values, extra


def _expectation(tree, row, known, node=0):
    """Mean output of a tree when only `known` columns are seen; the rest follow the cover."""
    left, right = tree["left_children"][node], tree["right_children"][node]
    if left == -1:
        return tree["base_weights"][node]
    column = tree["split_indices"][node]
    if column in known:
        value = row[column]
        if np.isnan(value):
            goes_left = bool(tree["default_left"][node])
        else:
            goes_left = np.float32(value) < np.float32(tree["split_conditions"][node])
        return _expectation(tree, row, known, left if goes_left else right)
    share = tree["sum_hessian"][left] / tree["sum_hessian"][node]
    parts = [_expectation(tree, row, known, side) for side in (left, right)]
    return share * parts[0] + (1 - share) * parts[1]


def _shapley(trees, row):
    """Shapley's formula over all subsets of columns."""
    width = row.size
    worth = {
        subset: sum(_expectation(tree, row, set(subset)) for tree in trees)
        for size in range(width + 1)
        for subset in itertools.combinations(range(width), size)
    }
    found = np.zeros(width)
    for column in range(width):
        for subset in worth:
            if column in subset:
                continue
            weight = math.factorial(len(subset)) * math.factorial(width - len(subset) - 1)
            gain = worth[tuple(sorted((*subset, column)))] - worth[subset]
            found[column] += weight / math.factorial(width) * gain
    return found


def test_contributions_are_shapley_values(trees):
    model, values, extra = trees
    shap = shap_contributions(model, values, extra)
    built = model.booster["learner"]["gradient_booster"]["model"]["trees"]
    rows = np.hstack([values, extra])
    chosen = [0, 7, int(np.flatnonzero(np.isnan(values[:, 0]))[0])]
    for row in chosen:
        np.testing.assert_allclose(shap.contributions[row], _shapley(built, rows[row]), atol=2e-5)


def test_margin_is_the_log_odds_of_the_score(trees):
    model, values, extra = trees
    shap = shap_contributions(model, values, extra)
    p = model.scores(values, extra)
    np.testing.assert_allclose(shap.margin, np.log(p / (1 - p)), atol=1e-5)
    assert np.unique(shap.base).size == 1
    assert shap.features == ("a", "b", "c", "k=x", "k=y")


def test_a_model_from_json_is_explained_alike(trees):
    model, values, extra = trees
    again = FrozenBoosting.from_record(json.loads(json.dumps(model.to_record())))
    first, second = (shap_contributions(m, values, extra) for m in (model, again))
    assert first.contributions.tobytes() == second.contributions.tobytes()


def test_pooled_columns_add_up_and_keep_their_place(trees):
    model, values, extra = trees
    shap = shap_contributions(model, values, extra)
    pooled = pool_columns(shap, {"k": ["k=x", "k=y"]})
    assert pooled.features == ("a", "b", "c", "k")
    np.testing.assert_allclose(pooled.margin, shap.margin, atol=1e-12)
    np.testing.assert_allclose(pooled.contributions[:, 3], shap.contributions[:, 3:].sum(axis=1))
    with pytest.raises(ModelError, match="z is no column of the model; the columns are a, b"):
        pool_columns(shap, {"k": ["k=x", "z"]})
    with pytest.raises(ModelError, match="k=x is in two groups"):
        pool_columns(shap, {"k": ["k=x"], "l": ["k=x"]})


def test_importance_by_hand():
    shap = Shap(("a", "b"), np.array([[1.0, 0.0], [-3.0, 0.5], [2.0, 0.1]]), np.zeros(3))
    np.testing.assert_allclose(importance(shap), [2.0, 0.2])


def test_interval_holds_the_mean_and_shrinks_with_the_root_of_n():
    rng = np.random.default_rng(5)
    sizes = rng.normal(size=(1600, 1))
    spans = []
    for n in (100, 1600):
        shap = Shap(("a",), sizes[:n], np.zeros(n))
        low, high = importance_interval(shap, draws=2000, seed=1)
        assert low[0] < importance(shap)[0] < high[0]
        # the normal interval of a mean, which the bootstrap must come near at these sizes
        half = 1.96 * np.abs(sizes[:n]).std() / np.sqrt(n)
        assert (high - low)[0] == pytest.approx(2 * half, rel=0.12)
        spans.append((high - low)[0])
    assert spans[0] / spans[1] == pytest.approx(4, rel=0.25)


def test_wrong_columns_are_refused(trees):
    model, values, extra = trees
    with pytest.raises(ModelError, match=r"features to explain have shape \(90, 2\).*a, b, c"):
        shap_contributions(model, values[:, :2], extra)
    with pytest.raises(ModelError, match="extra columns to explain"):
        shap_contributions(model, values)


def test_an_explanation_of_other_trees_is_refused(trees, monkeypatch):
    import xgboost

    model, values, extra = trees
    honest = xgboost.Booster.predict

    def drifting(self, data, **options):
        found = honest(self, data, **options)
        return found + 1e-3 if options.get("output_margin") else found

    monkeypatch.setattr(xgboost.Booster, "predict", drifting)
    with pytest.raises(ModelError, match="add up to"):
        shap_contributions(model, values, extra)

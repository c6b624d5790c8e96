"""SVM-RFE, the grid search and the frozen machine against scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.feature_selection import RFE
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from pipeline.errors import ModelError, SettingsError
from pipeline.model.folds import assign_folds
from pipeline.model.frozen import from_record
from pipeline.model.scaling import fit_scaler, standardise
from pipeline.model.svm import solve
from pipeline.model.svm_fit import fit_svm
from pipeline.model.svm_grid import (
    FoldData,
    SvmGrid,
    auc_of_grid,
    scores_along_costs,
    squared_distances,
)
from pipeline.model.svm_rfe import rank_features

COARSE = SvmGrid(c_log2=(-5, 10, 5), gamma_log2=(-12, 3, 5), max_features=5)


def _cohort(n: int, p: int, *, seed: int = 0, effect: float = 1.0):
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5 < 2).astype(int)
    values = rng.normal(size=(n, p)) * np.exp(rng.normal(size=p)) + rng.normal(size=p)
    values[:, :3] += effect * labels[:, np.newaxis] * values[:, :3].std(axis=0)
    return values, labels, assign_folds([f"{i:03d}" for i in range(n)], labels, seed=1)


def _names(p: int) -> list[str]:
    return [f"set.f{i}" for i in range(p)]


def test_scaler_is_sklearns_with_missing_values():
    values, _, _ = _cohort(30, 6)
    values[3, 0] = values[7, 2] = np.nan
    values[9, 4] = np.inf
    oracle = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    finite = np.where(np.isfinite(values), values, np.nan)
    expected = oracle.fit(finite[:20]).transform(finite)
    found = standardise(fit_scaler(values[:20]), values)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_feature_that_is_constant_or_missing_scores_zero():
    values = np.array([[1.0, np.nan, 1e9], [1.0, np.nan, 1e9 + 1e-7], [1.0, np.nan, 1e9]])
    scaler = fit_scaler(values)
    assert scaler.sd.tolist() == [0, 0, 0]
    assert (standardise(scaler, np.array([[5.0, 7.0, 2.0]])) == 0).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ranking_is_that_of_sklearn(seed):
    values, labels, _ = _cohort(40, 25, seed=seed)
    z = standardise(fit_scaler(values), values)
    oracle = RFE(SVC(kernel="linear", C=1, tol=1e-8), n_features_to_select=1, step=1)
    expected = np.argsort(oracle.fit(z, labels).ranking_)
    assert rank_features(z, labels).tolist() == expected.tolist()


def test_ranking_of_correlated_features_finds_the_strong_one():
    values, labels, _ = _cohort(60, 100, effect=3.0)
    z = standardise(fit_scaler(values), values)
    assert set(rank_features(z, labels)[:3]) == {0, 1, 2}
    # twins: of equal weights the last column goes first
    twins = np.column_stack([z[:, 0], z[:, 0]])
    assert rank_features(twins, labels).tolist() == [0, 1]


def test_solution_is_sklearns():
    values, labels, _ = _cohort(40, 5)
    z = standardise(fit_scaler(values), values)
    gamma = 0.1
    machine = solve(np.exp(-gamma * squared_distances(z, z)), labels == 1, cost=4.0)
    oracle = SVC(C=4.0, gamma=gamma, tol=1e-5, shrinking=False).fit(z, labels)
    found = machine.scores(np.exp(-gamma * squared_distances(z[:7], z)))
    np.testing.assert_allclose(found, oracle.decision_function(z[:7]), atol=1e-10)


def test_shortcuts_along_the_costs_keep_every_auc():
    values, labels, folds = _cohort(45, 6, effect=0.7)
    z = standardise(fit_scaler(values[folds != 1]), values)
    train, held = z[folds != 1], z[folds == 1]
    costs = SvmGrid().costs
    for gamma in 2.0 ** np.arange(-12, 4, 3):
        kernel = np.exp(-gamma * squared_distances(train, train))
        across = np.exp(-gamma * squared_distances(held, train))
        found = scores_along_costs(kernel, labels[folds != 1] == 1, across, costs)
        for cost, scores in zip(costs, found, strict=True):
            oracle = SVC(kernel="precomputed", C=cost, tol=1e-10).fit(kernel, labels[folds != 1])
            expected = roc_auc_score(labels[folds == 1], oracle.decision_function(across))
            assert roc_auc_score(labels[folds == 1], scores) == pytest.approx(expected)


def test_grid_of_a_fold_is_that_of_plain_loops():
    values, labels, folds = _cohort(30, 4, effect=0.5)
    extra = np.eye(4)[np.arange(30) % 4]
    held = folds == 2
    scaler = fit_scaler(values[~held])
    z = standardise(scaler, values)
    fold = FoldData(z[~held], z[held], extra[~held], extra[held], labels[~held] == 1,
                    labels[held] == 1)  # fmt: skip
    grid = SvmGrid((-5, 10, 5), (-9, 3, 4))
    found = auc_of_grid(fold, grid)
    assert found.shape == (4, 4, 4)
    for k in range(4):
        rows = np.hstack([z[:, : k + 1], extra])
        for i, cost in enumerate(grid.costs):
            for j, gamma in enumerate(grid.gammas):
                oracle = SVC(C=cost, gamma=gamma, tol=1e-10).fit(rows[~held], labels[~held])
                expected = roc_auc_score(labels[held], oracle.decision_function(rows[held]))
                assert found[k, i, j] == pytest.approx(expected)


def test_grid_ranges():
    grid = SvmGrid()
    assert grid.costs[[0, -1]].tolist() == [2**-5, 2**10]
    assert grid.gammas[[0, -1]].tolist() == [2**-12, 2**3]
    assert grid.costs.size == grid.gammas.size == 16
    with pytest.raises(SettingsError, match="c_log2 = 3,1,1 is empty"):
        _ = SvmGrid(c_log2=(3, 1, 1)).costs


def test_a_strong_signal_is_found_and_the_held_out_scores_separate():
    values, labels, folds = _cohort(40, 30, effect=3.0)
    fit = fit_svm(values, labels, folds, features=_names(30), grid=COARSE)
    assert fit.auc_cv == 1.0
    assert set(fit.model.features) <= {"set.f0", "set.f1", "set.f2"}
    assert roc_auc_score(labels, fit.held_out) > 0.97
    assert fit.frequency[:3].sum() > 0.9 * fit.frequency.sum()
    assert fit.curve.shape == (5, 3)


def test_ties_go_to_fewer_features_then_smaller_cost_then_smaller_gamma():
    # one feature separates completely at every setting
    labels = (np.arange(40) % 2).astype(int)
    values = np.column_stack([labels * 10.0 + np.linspace(0, 1, 40)] * 3)
    folds = assign_folds([f"{i:03d}" for i in range(40)], labels, seed=1)
    fit = fit_svm(values, labels, folds, features=_names(3), grid=COARSE)
    assert fit.model.features == ("set.f0",)
    assert (fit.model.cost, fit.model.gamma) == (2**-5, 2**-12)


def test_number_of_features_is_at_most_half_the_rows():
    values, labels, folds = _cohort(20, 40)
    grid = SvmGrid((0, 0, 1), (-3, -3, 1), max_features=30)
    assert len(fit_svm(values, labels, folds, features=_names(40), grid=grid).curve) == 10


def test_paper_selection_ranks_once_and_is_more_optimistic_on_noise():
    values, labels, folds = _cohort(40, 150, effect=0.0)
    grid = SvmGrid((-2, 2, 4), (-8, -4, 4), max_features=8)
    nested, paper = (
        fit_svm(values, labels, folds, features=_names(150), grid=grid, selection=kind)
        for kind in ("nested", "paper")
    )
    assert set(paper.frequency) == {0.0, 1.0}
    assert paper.auc_cv > 0.9
    assert nested.auc_cv < 0.8


def test_frozen_machine_gives_the_same_scores_again():
    values, labels, folds = _cohort(40, 12)
    values[5, 1] = np.nan
    extra = np.eye(4)[np.arange(40) % 4]
    fit = fit_svm(
        values, labels, folds, features=_names(12), extra=extra,
        extra_names=("a", "b", "c", "d"), grid=COARSE,
    )  # fmt: skip
    text = json.dumps(fit.model.to_record(), sort_keys=True)
    again = from_record(json.loads(text))
    columns = [int(name[5:]) for name in again.features]
    new = np.random.default_rng(9).normal(size=(25, 12))
    new[3, columns[0]] = np.nan
    first = fit.model.scores(new[:, columns], extra[:25])
    second = again.scores(new[:, columns], extra[:25])
    assert np.array_equal(first, second)
    # and a row's score does not depend on its company
    alone = again.scores(new[3:4, columns], extra[3:4])
    assert alone[0] == second[3]
    # scikit-learn, from the raw development rows
    oracle = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    z = np.hstack([oracle.fit_transform(values[:, columns]), extra])
    machine = SVC(C=again.cost, gamma=again.gamma, tol=1e-5, shrinking=False).fit(z, labels)
    rows = np.hstack([oracle.transform(new[:, columns]), extra[:25]])
    np.testing.assert_allclose(first, machine.decision_function(rows), atol=1e-6)


def test_broken_records_are_refused():
    values, labels, folds = _cohort(20, 4)
    record = fit_svm(values, labels, folds, features=_names(4), grid=COARSE).model.to_record()
    with pytest.raises(ModelError, match="kind None"):
        from_record({})
    with pytest.raises(ModelError, match="incomplete"):
        from_record({k: v for k, v in record.items() if k != "dual_coefficients"})
    with pytest.raises(ModelError, match="incomplete"):
        from_record(record | {"mean": []})
    with pytest.raises(ModelError, match="incomplete"):
        from_record(record | {"support_vectors": [[1.0]]})


def test_features_without_values_are_refused():
    _, labels, folds = _cohort(20, 4)
    values = np.full((20, 4), np.nan)
    values[:, 2] = 7.0
    with pytest.raises(ModelError, match="none of the 4 features has a value and varies"):
        fit_svm(values, labels, folds, features=_names(4))
    values[:, 1] = np.linspace(0, 1, 20)
    fit = fit_svm(values, labels, folds, features=_names(4), grid=COARSE)
    assert fit.model.features == ("set.f1",)


def test_a_fold_without_both_classes_is_refused():
    values, labels, _ = _cohort(20, 4)
    with pytest.raises(ModelError, match="held-out rows of a fold"):
        fit_svm(values, labels, labels + 1, features=_names(4), grid=COARSE, selection="paper")

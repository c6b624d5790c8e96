import json

import numpy as np
import pytest
import xgboost

from pipeline.errors import ModelError
from pipeline.model.boosting import BoostingOptions, fit_boosting
from pipeline.model.folds import assign_folds
from pipeline.model.frozen import from_record
from pipeline.model.roc import auc

QUICK = BoostingOptions(max_rounds=40)


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(1)
    labels = (np.arange(60) % 5 < 2).astype(int)
    values = rng.normal(size=(60, 8))
    values[:, 2] += 2 * labels
    values[4, 2] = np.nan
    folds = assign_folds([f"{i:03d}" for i in range(60)], labels, seed=1)
    return values, labels, folds


def test_signal_is_found_and_explained(cohort):
    values, labels, folds = cohort
    fit = fit_boosting(values, labels, folds, features=list("abcdefgh"), options=QUICK)
    assert auc(labels, fit.held_out) > 0.8
    assert fit.importance.argmax() == 2
    assert fit.frequency[2] == 1.0
    assert ((fit.held_out > 0) & (fit.held_out < 1)).all()
    assert fit.rounds == fit.loss_curve.argmin() + 1
    assert fit.rounds > 1


def test_held_out_scores_and_losses_are_those_of_separate_training(cohort):
    values, labels, folds = cohort
    fit = fit_boosting(values, labels, folds, features=list("abcdefgh"), options=QUICK)
    held = folds == 3
    oracle = xgboost.XGBClassifier(
        n_estimators=fit.rounds, learning_rate=0.1, max_depth=2, tree_method="hist", n_jobs=1,
    ).fit(values[~held], labels[~held])  # fmt: skip
    np.testing.assert_allclose(
        fit.held_out[held], oracle.predict_proba(values[held])[:, 1], atol=1e-6
    )
    p = np.clip(fit.held_out, 1e-9, 1 - 1e-9)
    loss = -np.where(labels == 1, np.log(p), np.log(1 - p))
    by_fold = [loss[folds == f].mean() for f in np.unique(folds)]
    assert fit.loss_curve[fit.rounds - 1] == pytest.approx(np.mean(by_fold), abs=1e-6)


def test_shap_values_add_up_to_the_log_odds(cohort):
    values, labels, folds = cohort
    fit = fit_boosting(values, labels, folds, features=list("abcdefgh"), options=QUICK)
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(dict(fit.model.booster)).encode()))
    shap = booster.predict(xgboost.DMatrix(values), pred_contribs=True)
    np.testing.assert_allclose(np.abs(shap[:, :-1]).mean(axis=0), fit.importance, atol=1e-6)
    p = fit.model.scores(values, np.empty((60, 0)))
    np.testing.assert_allclose(shap.sum(axis=1), np.log(p / (1 - p)), atol=1e-5)


def test_frozen_trees_give_the_same_scores_again(cohort):
    values, labels, folds = cohort
    extra = np.eye(4)[np.arange(60) % 4]
    fit = fit_boosting(
        values, labels, folds, features=list("abcdefgh"), extra=extra,
        extra_names=("p", "q", "r", "s"), options=QUICK,
    )  # fmt: skip
    record = json.loads(json.dumps(fit.model.to_record(), sort_keys=True))
    again = from_record(record)
    assert np.array_equal(again.scores(values, extra), fit.model.scores(values, extra))
    alone = again.scores(values[4:5], extra[4:5])
    assert alone[0] == again.scores(values, extra)[4]
    with pytest.raises(ModelError, match="the trees know 12"):
        from_record(record | {"extra_names": []})


def test_nothing_to_learn_from_is_refused(cohort):
    _, labels, folds = cohort
    with pytest.raises(ModelError, match="none of the 3 features has a value"):
        fit_boosting(np.full((60, 3), np.nan), labels, folds, features=list("abc"))

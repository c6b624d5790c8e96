"""Held-out scores against another program, leakage, noise, order."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.errors import ModelError
from pipeline.model.binary.design import missing_table
from pipeline.model.binary.fit import fit_binary
from pipeline.model.binary.models import MODELS
from pipeline.model.binary.predictions import common_rows
from pipeline.model.boosting import BoostingOptions
from pipeline.model.roc import auc
from tests.unit.model.binary.cohorts import QUICK, REFERENCE, designed, simulated


def as_text(fit):
    return json.dumps({name: model.to_record() for name, model in fit.models.items()})


def test_held_out_logistic_scores_are_those_of_another_program(cohort):
    _, design, fit = cohort
    table = fit.predictions
    # the small model also fits rows that lack the tumour volume alone
    known = design.frame[list(REFERENCE)].notna().all(axis=1).to_numpy()
    columns = pd.get_dummies(design.frame["subtype"]).to_numpy(float)[:, 1:]
    rows = np.column_stack([columns, design.frame["age_years"] / 10 - 5])
    for fold in (1, 4):
        held = (table["fold"] == fold).to_numpy() & known
        train = ~table["fold"].isin([0, fold]).to_numpy() & known
        oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000)
        oracle.fit(rows[train], design.labels[train])
        np.testing.assert_allclose(
            table.loc[held, "score_reference"], oracle.predict_proba(rows[held])[:, 1], atol=1e-5
        )


def test_every_model_scores_what_it_can(cohort):
    _, design, fit = cohort
    table = fit.predictions.set_index("subject")
    assert table["score_xgboost"].notna().all()
    assert table.index[table["score_reference"].isna()].tolist() == ["s005", "s007"]
    assert table.index[table["score_logistic"].isna()].tolist() == ["s005", "s007", "s008"]
    assert len(common_rows(fit.predictions)) == 237
    left = missing_table(design).set_index("subject")
    assert left.loc["s005"].tolist() == ["development", "no age_years",
                                         "reference, logistic, comparisons"]  # fmt: skip
    assert left.loc["s008", "left_out_of"] == "logistic, comparisons"
    assert [int(design.development.sum()), int((~design.development).sum())] == [180, 60]
    assert len(design.subjects) - len(left) == 237


def test_test_rows_cannot_change_what_is_fitted(cohort):
    sheet, _, fit = cohort
    other = sheet.copy()
    test = (other["split"] == "test").to_numpy()
    rng = np.random.default_rng(0)
    other.loc[test, "response"] = 1 - other.loc[test, "response"]
    other.loc[test, "tumour_ml"] = rng.lognormal(5, 1, test.sum())
    other.loc[test, "age_years"] = rng.uniform(20, 90, test.sum())
    again = fit_binary(designed(other), n_folds=4, seed=2, options=QUICK)
    assert as_text(again) == as_text(fit)
    names = [f"score_{name}" for name in MODELS]
    first, second = (f.predictions.loc[~test, names].to_numpy() for f in (fit, again))
    assert first.tobytes() == second.tobytes()
    assert not fit.predictions.loc[test, names].equals(again.predictions.loc[test, names])


def test_the_order_of_rows_changes_nothing(cohort):
    sheet, _, fit = cohort
    shuffled = sheet.sample(frac=1, random_state=3)
    again = fit_binary(designed(shuffled), n_folds=4, seed=2, options=QUICK)
    assert as_text(again) == as_text(fit)
    pd.testing.assert_frame_equal(again.predictions, fit.predictions)


def test_noise_gives_chance_and_a_leak_would_be_seen():
    found, leaky = {name: [] for name in MODELS}, []
    for repeat in range(8):
        sheet = simulated(400, seed=100 + repeat).assign(split="development")
        sheet["response"] = np.random.default_rng(repeat).permutation(sheet["response"])
        design = designed(sheet)
        fit = fit_binary(design, n_folds=4, seed=repeat, options=BoostingOptions(max_rounds=10))
        for name in MODELS:
            found[name].append(auc(sheet["response"], fit.predictions[f"score_{name}"]))
        leaky.append(auc(design.labels, fit.models["xgboost"].probability(design.frame)))
    for name, values in found.items():
        assert np.mean(values) == pytest.approx(0.5, abs=0.035), name
    assert np.mean(leaky) > 0.57


def test_a_category_seen_only_in_validation_is_named(cohort):
    sheet = cohort[0].copy()
    sheet.loc[sheet["subject"] == "s003", "subtype"] = "d"
    with pytest.raises(ModelError, match=r"column subtype, subject s003: 'd' is a category seen"):
        fit_binary(designed(sheet), n_folds=4, seed=2, options=QUICK)
    rows = sheet.set_index("subject")
    with pytest.raises(ModelError, match=r"subject s003: 'd' is a category seen only in"):
        cohort[2].models["xgboost"].probability(rows)


def test_a_category_in_one_fold_only_is_named():
    sheet = simulated()
    rows = fit_binary(designed(sheet), n_folds=4, seed=2, options=QUICK).predictions
    one_fold = rows[rows["fold"] == 3]
    pair = [one_fold[one_fold["response"] == value]["subject"].iloc[0] for value in (0, 1)]
    sheet.loc[sheet["subject"].isin(pair), "subtype"] = "rare"
    with pytest.raises(ModelError, match="column subtype: the category rare has no row outside"):
        fit_binary(designed(sheet), n_folds=4, seed=2, options=QUICK)

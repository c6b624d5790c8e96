"""Nothing fitted sees a test row: noise gives an AUC of one half, and a leak would show."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.chain import ModelTables, fit_chain, score_table
from pipeline.model.design import build_design
from pipeline.model.roc import auc
from pipeline.model.scaling import fit_scaler, standardise
from pipeline.model.svm_grid import SvmGrid
from pipeline.model.svm_rfe import rank_features

REPEATS = 20
COARSE = SvmGrid(c_log2=(-5, 10, 5), gamma_log2=(-12, 3, 5), max_features=4)


def _noise(seed: int, *, n: int = 60, p: int = 100) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features without any relation to the outcome; 26 development and 34 test rows."""
    rng = np.random.default_rng(seed)
    names = [f"{i:03d}" for i in range(n)]
    values = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"set.f{i}" for i in range(p)])
    values.iloc[rng.integers(0, n, 20), rng.integers(0, p, 20)] = np.nan
    development = np.arange(n) < 26
    # both splits keep their share of responders; who they are is drawn
    response = np.r_[rng.permutation(np.arange(26) < 10), rng.permutation(np.arange(34) < 13)]
    subjects = pd.DataFrame(
        {
            "subject": names,
            "split": np.where(development, "development", "test"),
            "response": response.astype(int),
            "subtype": rng.choice(["luminal_a", "luminal_b", "her2", "basal"], n),
        }
    )
    return values.assign(subject=names), subjects


def _fit(features: pd.DataFrame, subjects: pd.DataFrame, classifier: str = "svm") -> ModelTables:
    design = build_design(features, subjects, feature_set="set", with_subtype=True)
    return fit_chain(design, classifier=classifier, grid=COARSE)


def _test_auc(tables: ModelTables) -> float:
    test = tables.predictions[(tables.predictions.split == "test").to_numpy()]
    return auc(test.response, test.score)


def _best_on_all_rows(features: pd.DataFrame, subjects: pd.DataFrame) -> pd.DataFrame:
    """Return the leaky table: the ten features that suit all rows, test rows included."""
    values = features.drop(columns="subject").to_numpy()
    z = standardise(fit_scaler(values), values)
    best = rank_features(z, subjects["response"])[:10]
    return features[["subject", *(f"set.f{i}" for i in best)]]


def _json(tables: ModelTables) -> str:
    return json.dumps(tables.record, sort_keys=True)


@pytest.mark.slow
@pytest.mark.parametrize("classifier", ["svm", "xgboost"])
def test_permuted_labels_give_one_half_and_a_leak_is_caught(classifier):
    honest, leaky = [], []
    for seed in range(REPEATS):
        features, subjects = _noise(seed)
        honest.append(_test_auc(_fit(features, subjects, classifier)))
        if seed < 5:
            chosen = _best_on_all_rows(features, subjects)
            leaky.append(_test_auc(_fit(chosen, subjects, classifier)))
    assert np.mean(honest) == pytest.approx(0.5, abs=0.05)
    assert np.mean(leaky) > 0.60


@pytest.mark.parametrize("classifier", ["svm", "xgboost"])
def test_no_test_value_or_label_moves_the_model(classifier):
    features, subjects = _noise(1, p=12)
    first = _fit(features, subjects, classifier)
    test = (subjects["split"] == "test").to_numpy()
    features.loc[test, "set.f0"] = 1e6
    features.loc[test, "set.f3"] = np.nan
    subjects.loc[test, "response"] = 1 - subjects.loc[test, "response"]
    subjects.loc[test, "subtype"] = "basal"
    second = _fit(features, subjects, classifier)
    assert _json(second) == _json(first)
    assert second.selection.equals(first.selection)
    assert second.curve.equals(first.curve)
    development = ~test
    assert second.predictions[development].equals(first.predictions[development])
    assert not second.predictions.score.equals(first.predictions.score)


@pytest.mark.parametrize("classifier", ["svm", "xgboost"])
def test_shuffled_rows_give_the_same_bytes(classifier):
    features, subjects = _noise(2, p=12)
    first = _fit(features, subjects, classifier)
    second = _fit(
        features.sample(frac=1, random_state=1), subjects.sample(frac=1, random_state=2), classifier
    )
    assert _json(second) == _json(first)
    for name in ("predictions", "selection", "curve"):
        one, two = getattr(first, name), getattr(second, name)
        assert one.to_csv() == two.to_csv()


def test_a_development_value_does_move_the_model():
    # the counterpart that shows that the comparison of bytes bites
    features, subjects = _noise(1, p=12)
    first = _fit(features, subjects)
    features.loc[0, "set.f0"] += 3.0
    assert _json(_fit(features, subjects)) != _json(first)


def test_held_out_scores_come_from_folds_that_hold_both_classes():
    tables = _fit(*_noise(3, p=12))
    rows = tables.predictions[tables.predictions.fold.notna().to_numpy()]
    assert len(rows) == 26
    assert (rows.split == "development").all()
    assert rows.groupby("fold").response.nunique().eq(2).all()
    test = tables.predictions[tables.predictions.fold.isna().to_numpy()]
    assert (test.split == "test").all()


def test_a_subject_in_both_splits_stops_the_fit():
    features, subjects = _noise(4, p=5)
    twice = pd.concat([subjects, subjects.iloc[[30]].assign(split="development")])
    with pytest.raises(ModelError, match="subject 030 is in split test and in split development"):
        _fit(features, twice)


@pytest.mark.parametrize("classifier", ["svm", "xgboost"])
def test_frozen_record_scores_the_test_rows_again(classifier):
    features, subjects = _noise(5, p=12)
    tables = _fit(features, subjects, classifier)
    record = json.loads(_json(tables))
    again = score_table(record, features.sample(frac=1, random_state=0), subjects)
    test = (tables.predictions.split == "test").to_numpy()
    expected = tables.predictions[test]
    found = again[test]
    assert found.subject.tolist() == expected.subject.tolist()
    assert np.array_equal(found.score, expected.score)
    assert np.array_equal(found.imputed, expected.imputed)
    called = found.score >= record["threshold"]["development_youden"]
    assert found.predicted.tolist() == called.astype(int).tolist()
    with pytest.raises(ModelError, match="--subjects"):
        score_table(record, features)
    with pytest.raises(ModelError, match=r"column set\.f\d+ is missing"):
        score_table(record, features[["subject"]], subjects)
    with pytest.raises(ModelError, match="column subject is missing"):
        score_table(record, features.drop(columns="subject"), subjects)
    with pytest.raises(ModelError, match="subject 002 has two rows"):
        score_table(record, features, pd.concat([subjects, subjects.iloc[[2]]]))

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.logistic import LogisticFit, fit_logistic
from pipeline.model.terms import design_matrix, fit_terms

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def golden():
    return json.loads((GOLDEN / "nomogram_logistic.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fitted():
    rows = pd.read_csv(GOLDEN / "nomogram_rows.tsv", sep="\t", index_col="subject")
    kinds = {"age": "continuous", "haemoglobin": "continuous", "stage": "categorical"}
    matrix, names = design_matrix(rows, fit_terms(rows, kinds))
    return matrix, names, rows["response"].to_numpy(), fit_logistic(matrix, names, rows["response"])


def test_glm_and_lrm_agree(fitted, golden):
    matrix, names, _, fit = fitted
    assert ["Intercept", *names] == golden["names"]
    for source in ("glm", "coefficients"):
        assert fit.intercept == pytest.approx(golden[source][0], abs=1e-8)
        assert fit.coefficients == pytest.approx(golden[source][1:], abs=1e-8)
    # glm takes the weights of its last but one step
    assert fit.covariance == pytest.approx(np.array(golden["covariance"]), abs=1e-8)
    assert fit.loglik == pytest.approx(golden["loglik"], abs=1e-9)
    assert fit.loglik_null == pytest.approx(golden["loglik_null"], abs=1e-9)
    assert fit.probability(matrix[:10]) == pytest.approx(golden["glm_probability"], abs=1e-9)


def test_the_gradient_vanishes(fitted):
    matrix, _, labels, fit = fitted
    residual = labels - fit.probability(matrix)
    assert abs(residual.sum()) < 1e-11
    assert np.abs((matrix - matrix.mean(axis=0)).T @ residual).max() < 1e-9


def test_two_by_two_table_is_the_odds_ratio():
    # a, b, c, d = 8, 12, 15, 5: log(ad / bc), variance 1/a + 1/b + 1/c + 1/d
    x = np.repeat([1.0, 1, 0, 0], [8, 12, 15, 5])[:, np.newaxis]
    y = np.repeat([1, 0, 1, 0], [8, 12, 15, 5])
    fit = fit_logistic(x, ["treated"], y)
    assert fit.coefficients[0] == pytest.approx(np.log(8 * 5 / (12 * 15)), abs=1e-12)
    assert fit.covariance[1, 1] == pytest.approx(1 / 8 + 1 / 12 + 1 / 15 + 1 / 5, abs=1e-12)
    assert fit.intercept == pytest.approx(np.log(15 / 5), abs=1e-12)


def test_units_scale_the_coefficient_only(fitted):
    matrix, names, labels, fit = fitted
    scaled = fit_logistic(matrix * [1e6, 1e-6, 1, 1, 1] + [1e6, 3, 0, 0, 0], names, labels)
    assert scaled.coefficients * [1e6, 1e-6, 1, 1, 1] == pytest.approx(fit.coefficients, rel=1e-7)
    assert scaled.loglik == pytest.approx(fit.loglik, abs=1e-9)


def test_record_gives_the_same_model(fitted):
    matrix, _, _, fit = fitted
    again = LogisticFit.from_record(json.loads(json.dumps(fit.to_record())))
    assert again.linear_predictor(matrix).tolist() == fit.linear_predictor(matrix).tolist()
    assert again.covariance.tolist() == fit.covariance.tolist()
    with pytest.raises(ModelError, match="no logistic"):
        LogisticFit.from_record({"kind": "svm"})
    with pytest.raises(ModelError, match="incomplete"):
        LogisticFit.from_record({"kind": "logistic", "schema": 1})


def test_complete_separation_names_the_column():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = x[:, 1] > 0
    with pytest.raises(ModelError, match="column size separates the classes"):
        fit_logistic(x, ["age", "size", "grade"], y)


def test_a_level_with_one_outcome_names_the_column():
    rng = np.random.default_rng(1)
    stage = np.repeat([0.0, 1.0], [35, 5])
    y = np.r_[np.arange(35) % 2, np.ones(5)]
    with pytest.raises(ModelError, match="column stage=IV separates"):
        fit_logistic(np.column_stack([rng.normal(size=40), stage]), ["age", "stage=IV"], y)


def test_columns_that_separate_only_together_are_named():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 3))
    y = x[:, 0] + x[:, 2] > 0.1
    with pytest.raises(ModelError, match=r"columns a, (b, )?c separate"):
        fit_logistic(x, ["a", "b", "c"], y)


def test_strong_but_overlapping_classes_are_fitted():
    x = np.r_[np.linspace(-1, 0.02, 60), np.linspace(-0.02, 1, 60)][:, np.newaxis]
    fit = fit_logistic(x, ["x"], np.repeat([0, 1], 60))
    assert 50 < fit.coefficients[0] < 1000


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"b": "zero"}, "column b is constant"),
        ({"c": "sum"}, "column c is a linear combination of a, b"),
        ({"b": "hole"}, "column b, row 3: nan is no finite number"),
    ],
)
def test_useless_columns_are_named(columns, message):
    x = np.random.default_rng(3).normal(size=(30, 3))
    for name, what in columns.items():
        j = "abc".index(name)
        if what == "zero":
            x[:, j] = 7.0
        elif what == "sum":
            x[:, j] = 2 * x[:, 0] - x[:, 1] + 5
        else:
            x[3, j] = np.nan
    with pytest.raises(ModelError, match=message):
        fit_logistic(x, ["a", "b", "c"], np.arange(30) % 2)


def test_one_class_or_wrong_shapes_are_refused():
    x = np.random.default_rng(4).normal(size=(10, 1))
    with pytest.raises(ModelError, match="both classes are needed"):
        fit_logistic(x, ["a"], np.ones(10))
    with pytest.raises(ModelError, match="2 named columns"):
        fit_logistic(x, ["a", "b"], np.arange(10) % 2)
    with pytest.raises(ModelError, match="10 rows but 9 labels"):
        fit_logistic(x, ["a"], np.arange(9) % 2)

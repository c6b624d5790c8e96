import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.splines import spline_basis
from pipeline.model.terms import Term, complete_rows, design_matrix, fit_terms, level_names


def _frame():
    return pd.DataFrame(
        {
            "age": [50, 61.5, 70, 44, 58, 66, 71],
            "stage": ["II", "I", "III", "II", "I", "III", "I"],
            "grade": [1, 2, 10, 2, 1, 2, 10],
            "sex": pd.Categorical(["m", "f", "m", "f", "m", "f", "m"], ["m", "f", "x"]),
        },
        index=pd.Index(list("abcdefg"), name="subject"),
    )


def test_columns_of_a_hand_worked_frame():
    kinds = {"age": "continuous", "stage": "categorical", "grade": "categorical"}
    terms = fit_terms(_frame(), kinds | {"sex": "categorical"})
    matrix, names = design_matrix(_frame().iloc[:3], terms)
    assert names == ("age", "stage=II", "stage=III", "grade=2", "grade=10", "sex=f")
    assert matrix.tolist() == [[50, 1, 0, 0, 0, 0], [61.5, 0, 0, 1, 0, 1], [70, 0, 1, 0, 1, 0]]
    assert (terms[0].low, terms[0].high) == (44, 71)
    assert terms[0].values == (44, 50, 58, 61.5, 66, 70, 71)


def test_reference_level_label_and_unit():
    (term,) = fit_terms(
        _frame(), {"stage": "categorical"}, references={"stage": "III"},
        labels={"stage": "TNM stage"}, units={"stage": "AJCC"},
    )  # fmt: skip
    assert term.levels == ("III", "I", "II")
    assert term.title == "TNM stage (AJCC)"
    assert Term("age", "continuous").title == "age"


def test_spline_columns():
    frame = pd.DataFrame({"age": np.arange(40.0, 80.0)}, index=[f"s{i}" for i in range(40)])
    terms = fit_terms(frame, {"age": "spline"}, n_knots=3)
    matrix, names = design_matrix(frame, terms)
    assert names == ("age", "age'")
    assert matrix.tolist() == spline_basis(frame["age"], terms[0].knots).tolist()
    assert terms[0].values == ()


def test_limits_of_datadist():
    # 10 / max(n, 200) with n = 101: the quantiles 0.05 and 0.95
    frame = pd.DataFrame({"x": np.arange(101.0)}, index=[str(i) for i in range(101)])
    (term,) = fit_terms(frame, {"x": "continuous"}, limits="datadist")
    assert (term.low, term.high) == pytest.approx((5, 95))
    frame = pd.DataFrame({"x": np.arange(401.0)}, index=[str(i) for i in range(401)])
    (term,) = fit_terms(frame, {"x": "continuous"}, limits="datadist")
    assert (term.low, term.high) == pytest.approx((400 * 10 / 401, 400 * (1 - 10 / 401)))


def test_terms_survive_json():
    terms = fit_terms(_frame(), {"age": "continuous", "stage": "categorical"})
    text = json.dumps([term.to_record() for term in terms], allow_nan=False)
    again = tuple(Term.from_record(record) for record in json.loads(text))
    assert [t.to_record() for t in again] == [t.to_record() for t in terms]
    assert again[0] == terms[0]
    assert np.isnan(again[1].low)


def test_a_category_seen_only_in_validation_is_named():
    terms = fit_terms(_frame(), {"stage": "categorical"})
    new = pd.DataFrame({"stage": ["I", "IV"]}, index=["v1", "v2"])
    with pytest.raises(ModelError, match=r"column stage, subject v2: 'IV' .* only in valid"):
        design_matrix(new, terms, source="new.tsv")


def test_numbers_and_text_name_the_same_level():
    assert level_names([1, 1.0, "1", " 1 ", True, 2.5]) == ["1", "1", "1", "1", "True", "2.5"]
    terms = fit_terms(_frame(), {"grade": "categorical"})
    text = pd.DataFrame({"grade": ["10", "1"]}, index=["x", "y"])
    assert design_matrix(text, terms)[0].tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": [50, None, 70, 44, 58, 66, 71]}, "column age: 1 of 7 cells are empty .*subject b"),
        (
            {"age": [50, "old", 70, 44, 58, 66, 71]},
            "column age, subject b: 'old' is no finite number",
        ),
        ({"age": [50] * 7}, "column age is constant .50 in all 7 rows"),
        ({"age": [np.inf, 1, 2, 3, 4, 5, 6]}, "column age, subject a"),
        ({"stage": ["I"] * 7}, "column stage is constant .I in all 7 rows"),
        ({"stage": ["I", " ", "II", "I", "I", "I", "I"]}, "column stage: 1 of 7.*subject b"),
    ],
)
def test_wrong_cells_are_named(change, message):
    frame = _frame().assign(**{k: pd.Series(v, index=list("abcdefg")) for k, v in change.items()})
    with pytest.raises(ModelError, match=message):
        fit_terms(frame, {"age": "continuous", "stage": "categorical"})


def test_wrong_requests_are_named():
    with pytest.raises(ModelError, match="sheet: there is no column weight; it has age, stage"):
        fit_terms(_frame(), {"weight": "continuous"}, source="sheet")
    with pytest.raises(ModelError, match="kind 'linear' is none of continuous"):
        fit_terms(_frame(), {"age": "linear"})
    with pytest.raises(ModelError, match="reference level 'IV' does not occur"):
        fit_terms(_frame(), {"stage": "categorical"}, references={"stage": "IV"})
    with pytest.raises(ModelError, match="no term is named"):
        fit_terms(_frame(), {})
    twice = pd.concat([_frame(), _frame()[["age"]]], axis=1)
    with pytest.raises(ModelError, match="column age is there twice"):
        fit_terms(twice, {"age": "continuous"})


def test_complete_rows():
    frame = _frame().astype({"stage": object, "age": float})
    frame.loc["c", "age"] = np.nan
    frame.loc["e", "stage"] = ""
    assert complete_rows(frame, ["age", "stage"]).tolist() == [1, 1, 0, 1, 0, 1, 1]
    with pytest.raises(ModelError, match="no column weight"):
        complete_rows(frame, ["weight"])

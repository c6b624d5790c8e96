"""Cox models and the check of proportional hazards against R 4.2 (survival 3.5) and lifelines."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.stats import chi2, norm

from pipeline.errors import ModelError
from pipeline.model.survival.cox import CoxFit, fit_cox
from pipeline.model.survival.cox_tables import (
    COX_COLUMNS,
    cox_table,
    model_tests,
    multivariable,
    significant_variables,
    univariable,
)
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.schoenfeld import proportional_hazards, transformed_times
from pipeline.model.terms import design_matrix, fit_terms

GOLDEN = Path(__file__).parents[3] / "golden"
NAMES = ("age", "marker", "gradelow", "grademoderate")
TERMS = {"age": ["age"], "marker": ["marker"], "grade": ["gradelow", "grademoderate"]}
CASES = [("tied", "efron"), ("tied", "breslow"), ("smooth", "efron"), ("smooth", "breslow")]
KINDS = {"age": "continuous", "marker": "continuous", "grade": "categorical"}


def _golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"survival_{name}.tsv", sep="\t", comment="#")


def _rows(data: str) -> tuple[pd.DataFrame, Outcome]:
    rows = _golden("rows")
    rows = rows[rows["data"] == data].reset_index(drop=True)
    rows.index = pd.Index([f"p{i:03d}" for i in rows.index], name="subject")
    return rows, Outcome(rows["months"].to_numpy(float), rows["event"].to_numpy() == 1)


def _matrix(rows: pd.DataFrame) -> np.ndarray:
    dummies = [rows["grade"] == "low", rows["grade"] == "moderate"]
    return np.column_stack([rows["age"], rows["marker"], *dummies]).astype(float)


def _fit(data: str, ties: str = "efron") -> tuple[CoxFit, np.ndarray, Outcome]:
    rows, outcome = _rows(data)
    matrix = _matrix(rows)
    return fit_cox(matrix, NAMES, outcome, ties=ties), matrix, outcome


def _pick(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column] == value]
    return table


# --- against R -------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "ties"), CASES)
def test_coefficients_and_standard_errors_equal_r(data, ties):
    expected = _pick(_golden("cox"), data=data, ties=ties)
    found = cox_table(_fit(data, ties)[0])
    assert found["term"].tolist() == expected["term"].tolist()
    for ours, theirs in [("coefficient", "coefficient"), ("se", "se"), ("z", "z"), ("p", "p")]:
        np.testing.assert_allclose(found[ours], expected[theirs], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found["low95"], expected["low95"], rtol=1e-9)
    np.testing.assert_allclose(found["high95"], expected["high95"], rtol=1e-9)


@pytest.mark.parametrize(("data", "ties"), CASES)
def test_likelihoods_and_tests_of_the_model_equal_r(data, ties):
    expected = _pick(_golden("cox_model"), data=data, ties=ties).iloc[0]
    fit = _fit(data, ties)[0]
    assert fit.loglik_null == pytest.approx(expected["loglik_null"], abs=1e-9)
    assert fit.loglik == pytest.approx(expected["loglik"], abs=1e-9)
    tests = model_tests(fit).set_index("test")
    assert tests.loc["likelihood_ratio", "chi2"] == pytest.approx(
        expected["likelihood_ratio"], abs=1e-8
    )
    assert tests.loc["likelihood_ratio", "p"] == pytest.approx(expected["p_likelihood_ratio"])
    assert tests.loc["score", "chi2"] == pytest.approx(expected["score"], abs=1e-8)
    # R rounds its Wald statistic to two decimals
    assert tests.loc["wald", "chi2"] == pytest.approx(expected["wald"], abs=0.005001)
    assert (tests["df"] == 4).all()


@pytest.mark.parametrize(("data", "ties"), CASES)
def test_baseline_hazard_equals_r_at_the_mean_covariates(data, ties):
    table = _pick(_golden("baseline"), data=data)
    expected = table[table["ties"] == (ties if data == "tied" else "efron")]
    fit, matrix, _ = _fit(data, ties)
    found = fit.cumulative_hazard(expected["months"].to_numpy())
    np.testing.assert_allclose(found, expected["hazard"], atol=1e-10, rtol=0)
    np.testing.assert_allclose(fit.centre, matrix.mean(axis=0), rtol=1e-12)
    curve = fit.survival(fit.centre[np.newaxis], expected["months"].to_numpy())
    np.testing.assert_allclose(curve[0], np.exp(-expected["hazard"]), atol=1e-10)


@pytest.mark.parametrize(("data", "ties"), CASES)
@pytest.mark.parametrize("by", ["term", "column"])
def test_proportional_hazards_equal_cox_zph(data, ties, by):
    expected = _pick(_golden("zph"), data=data, ties=ties, by=by)
    found = proportional_hazards(*_fit(data, ties), terms=TERMS if by == "term" else None).table
    assert found["term"].tolist() == expected["term"].tolist()
    assert found["df"].tolist() == expected["df"].tolist()
    np.testing.assert_allclose(found["chi2"], expected["chi2"], rtol=1e-8)
    np.testing.assert_allclose(found["p"], expected["p"], rtol=1e-8)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_scaled_schoenfeld_residuals_equal_cox_zph(ties):
    expected = _pick(_golden("zph_residuals"), ties=ties)
    found = proportional_hazards(*_fit("tied", ties))
    np.testing.assert_allclose(found.months, expected["months"])
    np.testing.assert_allclose(found.transformed, expected["x"], atol=1e-12)
    # events at the same time come in another order
    ours = pd.DataFrame(found.residuals, columns=list(NAMES)).assign(months=found.months)
    keys = ["months", "age", "marker"]
    np.testing.assert_allclose(
        ours.round(9).sort_values(keys)[list(NAMES)],
        expected.round(9).sort_values(keys)[list(NAMES)],
        atol=1e-7,
    )


@pytest.mark.parametrize("data", ["tied", "smooth"])
def test_likelihood_ratio_p_of_a_term_equals_drop1(data):
    rows, outcome = _rows(data)
    expected = _pick(_golden("cox_model"), data=data, ties="efron").iloc[0]
    table = multivariable(rows, KINDS, outcome)
    grade = table[table["variable"] == "grade"]
    assert grade["p"].iloc[0] == pytest.approx(expected["p_grade"], rel=1e-7)


# --- against lifelines and by hand -------------------------------------------------------------


@pytest.mark.parametrize("data", ["tied", "smooth"])
def test_lifelines_gives_the_same_model(data):
    fit, matrix, outcome = _fit(data)
    frame = pd.DataFrame(matrix, columns=list(NAMES))
    frame = frame.assign(months=outcome.months, event=outcome.event)
    other = CoxPHFitter().fit(
        frame, "months", "event", fit_options={"precision": 1e-12, "r_precision": 1e-15}
    )
    np.testing.assert_allclose(fit.coefficients, other.params_, atol=1e-6)
    np.testing.assert_allclose(fit.standard_errors, other.standard_errors_, atol=1e-6)
    assert fit.loglik == pytest.approx(other.log_likelihood_, abs=1e-8)


def test_two_groups_without_ties_by_hand():
    # deaths at 1 (x = 1), 2 (x = 0), 3 (x = 1); the last subject (x = 0) is censored at 4.
    # log L = 2b - log(2u + 2) - log(u + 2) - log(u + 1) with u = e^b, whose derivative is 0 at
    # 2 = u/(u + 1) + u/(u + 2) + u/(u + 1)
    outcome = Outcome(np.array([1.0, 2, 3, 4]), np.array([True, True, True, False]))
    fit = fit_cox(np.array([[1.0], [0], [1], [0]]), ["x"], outcome)
    u = np.exp(fit.coefficients[0])
    # 2 (u + 1)(u + 2) = 2u (u + 2) + u (u + 1)  <=>  u^2 - u - 4 = 0
    assert u == pytest.approx((1 + np.sqrt(17)) / 2, rel=1e-12)
    assert fit.loglik_null == pytest.approx(-np.log(4 * 3 * 2))
    steps = np.array([1 / (2 * u + 2), 1 / (u + 2), 1 / (u + 1)]).cumsum() * np.sqrt(u)
    np.testing.assert_allclose(fit.baseline_cumulative_hazard, steps, rtol=1e-12)


def test_breslow_and_efron_likelihood_of_tied_deaths_by_hand():
    outcome = Outcome(np.array([1.0, 1, 2, 3]), np.array([True, True, True, False]))
    x = np.array([[0.0], [1], [1], [0]])
    assert fit_cox(x, ["x"], outcome, ties="breslow").loglik_null == pytest.approx(
        -np.log(4 * 4 * 2)
    )
    # Efron: the two who die share their place in the second denominator: 4 - 2/2 = 3
    assert fit_cox(x, ["x"], outcome, ties="efron").loglik_null == pytest.approx(-np.log(4 * 3 * 2))


# --- properties --------------------------------------------------------------------------------


def test_order_of_rows_changes_no_bit():
    rows, outcome = _rows("tied")
    matrix = _matrix(rows)
    first = fit_cox(matrix, NAMES, outcome)
    order = np.random.default_rng(3).permutation(len(rows))
    second = fit_cox(matrix[order], NAMES, outcome.take(order))
    assert json.dumps(first.to_record()) == json.dumps(second.to_record())


def test_units_of_a_column_only_scale_its_coefficient():
    fit, matrix, outcome = _fit("tied")
    factor = np.array([1e6, 1, 1, 1e-6])
    scaled = fit_cox(matrix * factor + 1e4, NAMES, outcome)
    np.testing.assert_allclose(scaled.coefficients * factor, fit.coefficients, rtol=1e-5)
    assert scaled.loglik == pytest.approx(fit.loglik, abs=1e-7)


def test_record_keeps_every_bit():
    fit, matrix, _ = _fit("tied")
    again = CoxFit.from_record(json.loads(json.dumps(fit.to_record())))
    assert again.to_record() == fit.to_record()
    months = np.array([0.0, 0.5, 12, 36])
    survival = again.survival(matrix, months)
    assert survival.shape == (80, 4)
    assert (survival == fit.survival(matrix, months)).all()
    assert (survival[:, :2] == 1).all()
    assert (np.diff(survival, axis=1) <= 0).all()


@pytest.mark.parametrize("change", [{"kind": "svm"}, {"schema": 99}, {"coefficients": [1.0]}])
def test_a_wrong_record_is_refused(change):
    record = _fit("tied")[0].to_record() | change
    with pytest.raises(ModelError, match="Cox model"):
        CoxFit.from_record(record)


def test_right_continuous_at_an_event_time():
    fit, _, _ = _fit("smooth")
    at = fit.baseline_months[4]
    hazard = fit.cumulative_hazard(np.array([np.nextafter(at, 0), at]))
    np.testing.assert_array_equal(hazard, fit.baseline_cumulative_hazard[[3, 4]])


def test_intervals_hold_the_true_hazard_ratio():
    rng = np.random.default_rng(20)
    truth, inside = np.array([0.7, -0.4, 0.0]), []
    for _ in range(200):
        matrix = rng.normal(size=(120, 3))
        death = rng.exponential(20 * np.exp(-matrix @ truth))
        censor = rng.uniform(5, 60, 120)
        fit = fit_cox(matrix, "abc", Outcome(np.minimum(death, censor), death <= censor))
        half = norm.ppf(0.975) * fit.standard_errors
        inside.append(np.abs(fit.coefficients - truth) <= half)
    share = np.mean(inside, axis=0)
    assert ((share > 0.90) & (share < 0.99)).all(), share


def test_fading_effect_is_noticed_and_a_constant_one_is_not():
    rng = np.random.default_rng(4)
    ps = []
    for fades in (True, False):
        x = rng.normal(size=400)
        death = rng.exponential(20 * np.exp(-x))
        if fades:
            death = np.where(death > 10, 10 + (death - 10) * np.exp(1.5 * x), death)
        outcome = Outcome(np.minimum(death, 60), death <= 60)
        fit = fit_cox(x[:, np.newaxis], ["x"], outcome)
        ps.append(proportional_hazards(fit, x[:, np.newaxis], outcome).table["p"].iloc[0])
    assert ps[0] < 1e-6
    assert ps[1] > 0.01


def test_transforms_of_time():
    outcome = Outcome(np.array([2.0, 1, 2, 4]), np.array([True, True, False, True]))
    np.testing.assert_allclose(transformed_times(outcome, "km"), [0.25, 0, 0.25, 0.5])
    np.testing.assert_allclose(transformed_times(outcome, "rank"), [2.5, 1, 2.5, 4])
    np.testing.assert_allclose(transformed_times(outcome, "log"), np.log([2, 1, 2, 4]))
    np.testing.assert_allclose(transformed_times(outcome, "identity"), [2, 1, 2, 4])


# --- tables ------------------------------------------------------------------------------------


def test_univariable_table():
    rows, outcome = _rows("tied")
    rows.loc["p003", "marker"] = np.nan
    table = univariable(rows, KINDS, outcome)
    assert tuple(table.columns) == COX_COLUMNS
    assert table["variable"].tolist() == ["age", "marker", "grade", "grade", "grade"]
    assert table["level"].tolist() == ["", "", "high", "low", "moderate"]
    # one subject less where the marker is missing, and everyone in the other models
    assert table["n"].tolist()[:2] == [80, 79]
    assert table["n"].iloc[2:].sum() == 80
    assert table["events"].iloc[2:].sum() == int(outcome.event.sum())
    grade = table.iloc[2:]
    assert grade["hazard_ratio"].iloc[0] == 1.0
    assert np.isnan(grade["se"].iloc[0])
    alone = fit_cox(_matrix(rows)[:, 2:], NAMES[2:], outcome)
    np.testing.assert_allclose(grade["coefficient"].iloc[1:], alone.coefficients)
    assert grade["p"].iloc[0] == pytest.approx(model_tests(alone)["p"].iloc[0])
    assert significant_variables(table) == ("marker",)


def test_reference_level_and_ordinal_reading():
    rows, outcome = _rows("tied")
    turned = multivariable(rows, {"grade": "categorical"}, outcome, references={"grade": "low"})
    usual = multivariable(rows, {"grade": "categorical"}, outcome)
    assert turned["level"].tolist() == ["low", "high", "moderate"]
    assert turned["coefficient"].iloc[1] == pytest.approx(-usual["coefficient"].iloc[1])
    assert turned["p"].iloc[0] == pytest.approx(usual["p"].iloc[0], rel=1e-6)


def test_spline_has_an_overall_row():
    rows, outcome = _rows("smooth")
    table = multivariable(rows, {"age": "spline", "marker": "continuous"}, outcome)
    assert table["level"].tolist() == ["overall", "age", "age'", "age''", ""]
    basis, names = design_matrix(rows, fit_terms(rows, {"age": "spline"}))
    marker = rows[["marker"]].to_numpy()
    both = fit_cox(np.hstack([basis, marker]), [*names, "marker"], outcome)
    gain = 2 * (both.loglik - fit_cox(marker, ["marker"], outcome).loglik)
    assert table["p"].iloc[0] == pytest.approx(chi2.sf(gain, 3), rel=1e-9)
    assert table["n"].eq(200).all()


# --- bad input ---------------------------------------------------------------------------------


def _refused(matrix, outcome, names=("a", "b"), **options) -> str:
    with pytest.raises(ModelError) as caught:
        fit_cox(np.asarray(matrix, float), list(names), outcome, **options)
    return str(caught.value)


@pytest.fixture
def ten() -> tuple[np.ndarray, Outcome]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(10, 2)), Outcome(rng.uniform(1, 9, 10), np.arange(10) % 2 == 0)


def test_a_missing_cell_names_column_and_subject(ten):
    matrix, outcome = ten
    matrix[6, 1] = np.nan
    assert "column b, row 7: nan" in _refused(matrix, outcome)
    names = [f"s{i}" for i in range(10)]
    assert "column b, subject s6" in _refused(matrix, outcome, subjects=names)


def test_constant_and_collinear_columns_are_named(ten):
    matrix, outcome = ten
    assert "column b is 3 in all 10 rows" in _refused(
        np.column_stack([matrix[:, 0], np.full(10, 3.0)]), outcome
    )
    three = np.column_stack([matrix, matrix[:, 0] - 2 * matrix[:, 1]])
    assert "column c follows from a, b" in _refused(three, outcome, names="abc")


def test_events_are_needed(ten):
    matrix, outcome = ten
    none = Outcome(outcome.months, np.zeros(10, bool))
    assert "none of 10 subjects has an event" in _refused(matrix, none)
    one = Outcome(outcome.months, np.arange(10) == 2)
    assert "1 events cannot fit 2 columns (a, b)" in _refused(matrix, one)


@pytest.mark.parametrize(("sign", "word"), [(1, "plus"), (-1, "minus")])
def test_separation_names_the_column(ten, sign, word):
    matrix, outcome = ten
    separating = np.column_stack([matrix[:, 0], sign * outcome.event])
    message = _refused(separating, outcome)
    assert message.startswith("column b: the partial likelihood grows without end")
    assert f"{word} infinity" in message


def test_a_level_without_events_is_separation_in_the_table():
    rows, outcome = _rows("tied")
    rows["site"] = np.where(outcome.event | (np.arange(80) % 3 > 0), "north", "south")
    with pytest.raises(ModelError, match=r"column site=south: .* merge levels"):
        univariable(rows, {"site": "categorical"}, outcome)


def test_a_column_that_never_varies_at_risk_is_refused():
    # x differs only in a subject that is censored before the first event
    outcome = Outcome(np.array([1.0, 2, 3, 4]), np.array([False, True, True, True]))
    assert "column x: no coefficient can be estimated" in _refused(
        [[1], [0], [0], [0]], outcome, names=["x"]
    )


def test_shapes_and_names_are_checked(ten):
    matrix, outcome = ten
    assert "shape (10, 2)" in _refused(matrix, outcome, names="abc")
    assert "column a is given twice" in _refused(matrix, outcome, names="aa")
    fit = fit_cox(matrix, ["a", "b"], Outcome(outcome.months, np.ones(10, bool)))
    with pytest.raises(ModelError, match="2 columns"):
        fit.linear_predictor(matrix[:, :1])


def test_proportional_hazards_needs_the_fitted_rows():
    fit, matrix, outcome = _fit("tied")
    with pytest.raises(ModelError, match="give the fitted rows"):
        proportional_hazards(fit, matrix[1:], outcome.take(np.arange(1, 80)))
    with pytest.raises(ModelError, match="column stage is none"):
        proportional_hazards(fit, matrix, outcome, terms={"stage": ["stage"]})


def test_no_complete_subject_with_an_event_is_told():
    rows, outcome = _rows("tied")
    rows.loc[outcome.event, "marker"] = np.nan
    with pytest.raises(ModelError, match="none of these has an event"):
        multivariable(rows, {"marker": "continuous"}, outcome)

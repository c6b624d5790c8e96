import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.logistic import fit_logistic
from pipeline.model.nomogram import (
    Nomogram,
    NomogramModel,
    build_nomogram,
    nomogram_model_of_cox,
    nomogram_model_of_logistic,
    outside_of,
    points_of,
    predict,
    pretty,
    probability_of,
)
from pipeline.model.survival.cox import fit_cox
from pipeline.model.survival.outcome import Outcome
from pipeline.model.terms import Term, design_matrix, fit_terms

GOLDEN = Path(__file__).parents[2] / "golden"
COX_KINDS = {
    "age": "continuous", "marker": "spline", "haemoglobin": "continuous", "nodes": "continuous",
    "stage": "categorical",
}  # fmt: skip
LOGISTIC_KINDS = {"age": "continuous", "haemoglobin": "continuous", "stage": "categorical"}


def _golden(name):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows():
    return pd.read_csv(GOLDEN / "nomogram_rows.tsv", sep="\t", index_col="subject")


@pytest.fixture(scope="module")
def cox_golden():
    return _golden("nomogram_cox.json")


def _outcome(rows):
    return Outcome(rows["time_months"].to_numpy(float), rows["event"].to_numpy() == 1)


def _from_r(rows, kinds, golden, kind="cox"):
    terms = fit_terms(rows, kinds)
    values = golden["coefficients"]
    coefficients = values if kind == "cox" else values[1:]
    baseline = dict(zip(golden.get("months", []), golden.get("baseline", []), strict=True))
    return NomogramModel(
        kind=kind,
        terms=terms,
        coefficients=tuple(np.atleast_1d(coefficients).tolist()),
        intercept=-golden["center"] if kind == "cox" else values[0],
        baseline=baseline,
        lp_low=golden["lp"][0],
        lp_high=golden["lp"][1],
    )


def _check_axes(nomogram, golden):
    axes = golden["axes"]
    for axis in nomogram.variables:
        wanted = axes[axis.term.name]
        assert list(axis.values) == (
            wanted["values"]
            if axis.term.kind == "categorical"
            else pytest.approx(wanted["values"], abs=1e-12)
        )
        assert axis.linear == pytest.approx(wanted["xbeta"], abs=1e-6)
        assert axis.points == pytest.approx(wanted["points"], abs=1e-6)
    assert nomogram.total_points == pytest.approx(axes["total.points"]["total_points"], abs=1e-9)
    assert nomogram.linear_values == pytest.approx(axes["lp"]["values"], abs=1e-12)
    assert nomogram.linear_points == pytest.approx(axes["lp"]["total_points"], abs=1e-6)
    names = list(axes)[-len(nomogram.probabilities) :]
    for axis, name in zip(nomogram.probabilities, names, strict=True):
        assert axis.values == pytest.approx(np.atleast_1d(axes[name]["values"]), abs=1e-12)
        assert axis.total_points == pytest.approx(axes[name]["total_points"], abs=1e-6)
    assert nomogram.points_per_unit == pytest.approx(golden["info"]["sc"], abs=1e-6)
    assert nomogram.origin == pytest.approx(golden["info"]["Intercept"], abs=1e-6)


def test_pretty_is_r_pretty():
    table = pd.read_csv(GOLDEN / "nomogram_pretty.tsv", sep="\t", comment="#")
    assert len(table) == 140
    for row in table.itertuples():
        wanted = [float(v) for v in row.ticks.split(",")]
        assert pretty(row.low, row.high, row.count) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("case", ["full", "asked", "single"])
def test_cox_axes_are_those_of_rms_from_the_same_coefficients(rows, cox_golden, case):
    golden = cox_golden[case]
    kinds = {"haemoglobin": "continuous"} if case == "single" else COX_KINDS
    model = _from_r(rows, kinds, golden)
    asked = {}
    if case == "asked":
        asked = {"ranges": {"age": [40, 50, 60, 70, 80], "marker": [1, 2.5, 4, 8]}}
        first = build_nomogram(model, **asked, probability_at=[0.95, 0.8, 0.5, 0.2])
        second = build_nomogram(model, **asked, probability_at=[0.9, 0.5, 0.1])
        inside = {k: v for k, v in golden["axes"].items() if k != "S60"}
        for nomogram, name, number in ((first, "S36", 0), (second, "S60", 1)):
            wanted = golden["axes"][name]
            axis = nomogram.probabilities[number]
            assert axis.values == pytest.approx(np.atleast_1d(wanted["values"]), abs=1e-12)
            assert axis.total_points == pytest.approx(wanted["total_points"], abs=1e-6)
        assert first.variables[1].points == pytest.approx(inside["marker"]["points"], abs=1e-6)
        assert first.variables[0].points == pytest.approx(inside["age"]["points"], abs=1e-6)
        return
    _check_axes(build_nomogram(model, **asked), golden)


def test_cox_axes_are_those_of_rms_from_the_rows(rows, cox_golden):
    golden = cox_golden["full"]
    terms = fit_terms(rows, COX_KINDS)
    assert terms[1].knots == pytest.approx(golden["knots"], abs=1e-12)
    matrix, names = design_matrix(rows, terms)
    assert list(names) == golden["names"]
    fit = fit_cox(matrix, names, _outcome(rows))
    assert fit.coefficients == pytest.approx(golden["coefficients"], abs=1e-6)
    model = nomogram_model_of_cox(fit, terms, golden["months"], matrix=matrix)
    assert model.intercept == pytest.approx(-golden["center"], abs=1e-6)
    for months, survival in zip(golden["months"], golden["baseline"], strict=True):
        assert model.baseline[months] == pytest.approx(survival, abs=1e-6)
    _check_axes(build_nomogram(model), golden)


def test_logistic_axes_are_those_of_rms_from_the_rows(rows):
    golden = _golden("nomogram_logistic.json")
    terms = fit_terms(rows, LOGISTIC_KINDS)
    matrix, names = design_matrix(rows, terms)
    model = nomogram_model_of_logistic(
        fit_logistic(matrix, names, rows["response"]), terms, matrix=matrix
    )
    _check_axes(build_nomogram(model), golden)
    _check_axes(build_nomogram(_from_r(rows, LOGISTIC_KINDS, golden, "logistic")), golden)


def test_probability_at_total_points_is_that_of_r(rows, cox_golden):
    nomogram = build_nomogram(_from_r(rows, COX_KINDS, cox_golden["full"]))
    total = (np.array(cox_golden["lp"]) - nomogram.origin) * nomogram.points_per_unit
    for months, survival in zip([36, 60], cox_golden["survival"], strict=True):
        assert probability_of(nomogram, total, months) == pytest.approx(survival, abs=1e-9)


@pytest.fixture(scope="module")
def fitted(rows):
    terms = fit_terms(rows, COX_KINDS)
    matrix, names = design_matrix(rows, terms)
    fit = fit_cox(matrix, names, _outcome(rows))
    model = nomogram_model_of_cox(fit, terms, [60, 36], matrix=matrix, outcome=_outcome(rows))
    return fit, matrix, build_nomogram(model)


def test_points_start_at_zero_and_the_widest_variable_spans_the_score(fitted):
    _, _, nomogram = fitted
    assert all(min(axis.points) == 0 for axis in nomogram.variables)
    assert max(max(axis.points) for axis in nomogram.variables) == 100.0
    haemoglobin = next(a for a in nomogram.variables if a.term.name == "haemoglobin")
    assert (np.diff(haemoglobin.points) < 0).all()
    marker = next(a for a in nomogram.variables if a.term.name == "marker")
    assert np.sign(np.diff(marker.points)).tolist().count(-1) > 0
    survival = probability_of(nomogram, np.linspace(-20, 300, 400), 36)
    assert (np.diff(survival) < 0).all()


def test_points_of_subjects_give_the_survival_of_the_model(rows, fitted):
    fit, matrix, nomogram = fitted
    points = points_of(nomogram, rows)
    assert points["total_points"].to_numpy() == pytest.approx(
        points.drop(columns="total_points").sum(axis=1).to_numpy()
    )
    wanted = fit.survival(matrix, np.array([36.0, 60.0]))
    for column, months in enumerate([36, 60]):
        found = probability_of(nomogram, points["total_points"], months)
        assert found == pytest.approx(wanted[:, column], abs=1e-12)


def test_event_probability_is_one_minus_survival(rows, fitted):
    _, _, nomogram = fitted
    event = build_nomogram(nomogram.model, probability="event")
    total = np.linspace(0, 250, 7)
    assert probability_of(event, total, 36) == pytest.approx(
        1 - probability_of(nomogram, total, 36), abs=1e-12
    )
    assert (np.diff(event.probabilities[0].total_points) > 0).all()


def test_intervals_are_those_of_survfit(rows, fitted):
    # survfit(cph, newdata, conf.type = "log-log") at 36 and 60 months
    golden = _golden("nomogram_cox.json")["interval"]
    _, _, nomogram = fitted
    for months, part in zip([36, 60], golden["at"], strict=True):
        found = predict(nomogram, rows.loc[golden["subjects"]], months)
        assert found["probability"].to_numpy() == pytest.approx(part["survival"], abs=1e-6)
        assert found["low"].to_numpy() == pytest.approx(part["low"], abs=1e-6)
        assert found["high"].to_numpy() == pytest.approx(part["high"], abs=1e-6)


def test_logistic_intervals_are_those_of_glm(rows):
    golden = _golden("nomogram_logistic.json")
    terms = fit_terms(rows, LOGISTIC_KINDS)
    matrix, names = design_matrix(rows, terms)
    fit = fit_logistic(matrix, names, rows["response"])
    nomogram = build_nomogram(nomogram_model_of_logistic(fit, terms, matrix=matrix))
    found = predict(nomogram, rows.iloc[:10])
    assert found["probability"].to_numpy() == pytest.approx(golden["glm_probability"], abs=1e-9)
    se = nomogram.model.uncertainty[0.0].standard_error(matrix[:10])
    assert se == pytest.approx(golden["glm_se"], abs=1e-8)


def test_record_is_json_and_gives_the_same_nomogram(fitted):
    _, _, nomogram = fitted
    text = json.dumps(nomogram.to_record(), allow_nan=False)
    again = Nomogram.from_record(json.loads(text))
    assert json.dumps(again.to_record()) == text
    pd.testing.assert_frame_equal(again.table(), nomogram.table())
    assert again.model.horizons == (36, 60)


def test_table_has_every_tick(fitted):
    _, _, nomogram = fitted
    table = nomogram.table()
    ages = table[table["axis"] == "age"]
    assert ages["value"].tolist() == list(nomogram.variables[0].values)
    assert ages["points"].tolist() == list(nomogram.variables[0].points)
    assert table[table["axis"] == "stage"]["level"].tolist() == ["I", "II", "III", "IV"]
    scale = table[(table["kind"] == "probability") & (table["horizon_months"] == 60)]
    assert scale["probability"].tolist() == list(nomogram.probabilities[1].values)
    exact = probability_of(nomogram, scale["total_points"], 60)
    assert exact == pytest.approx(scale["probability"].to_numpy(), abs=1e-5)


def test_row_order_changes_nothing(rows, fitted):
    _, _, nomogram = fitted
    mixed = rows.sample(frac=1, random_state=1)
    terms = fit_terms(mixed, COX_KINDS)
    matrix, names = design_matrix(mixed, terms)
    fit = fit_cox(matrix, names, _outcome(mixed))
    model = nomogram_model_of_cox(fit, terms, [36, 60], matrix=matrix)
    again = build_nomogram(model)
    for one, other in zip(nomogram.variables, again.variables, strict=True):
        assert one.points == other.points


def test_values_beyond_development_are_told(rows, fitted):
    _, _, nomogram = fitted
    new = rows.iloc[:2].copy()
    new.loc[new.index[0], ["age", "stage"]] = [17, "V"]
    outside = outside_of(nomogram, new)
    assert outside.iloc[0].tolist() == [True, False, False, False, True]
    assert not outside.iloc[1].any()


def test_without_rows_the_axes_run_from_the_least_to_the_largest_sum(fitted):
    fit, _, nomogram = fitted
    bare = build_nomogram(nomogram_model_of_cox(fit, nomogram.model.terms, [36]))
    largest = sum(max(axis.points) for axis in bare.variables)
    assert bare.linear_points[0] <= 0
    assert bare.linear_points[-1] >= largest - 1e-9
    patient = {"age": [60], "marker": [2], "haemoglobin": [13], "nodes": [1], "stage": ["II"]}
    assert predict(bare, pd.DataFrame(patient))["low"].isna().all()


def test_a_bend_between_ticks_is_told(rows, caplog):
    # the basis of knots -1, 0, 1 is 0 up to -1; beta makes x - 3 x' turn between -1 and 2
    term = Term("x", "spline", knots=(-1.0, 0.0, 1.0), low=-1.0, high=2.0)
    model = NomogramModel("logistic", (term,), (1.0, -3.0), 0.0, lp_low=-1.0, lp_high=1.0)
    build_nomogram(model, ranges={"x": [-1, -0.5, 0, 0.5, 1, 1.5, 2]})
    assert not caplog.records
    build_nomogram(model, ranges={"x": [-1.0, 1.9, 2.0]})
    assert "the axis of x turns between its ticks -1 and 1.9" in caplog.text


def test_wrong_requests_are_refused(rows, fitted):
    fit, matrix, nomogram = fitted
    model = nomogram.model
    with pytest.raises(ModelError, match="horizon 12: the nomogram has 36, 60"):
        probability_of(nomogram, 10.0, 12)
    with pytest.raises(ModelError, match="weight, which is no variable"):
        build_nomogram(model, ranges={"weight": [0, 1]})
    with pytest.raises(ModelError, match="two increasing numbers"):
        build_nomogram(model, ranges={"age": [80, 40]})
    with pytest.raises(ModelError, match="stage, which has levels"):
        build_nomogram(model, ranges={"stage": [0, 1]})
    with pytest.raises(ModelError, match="longest follow-up"):
        nomogram_model_of_cox(fit, model.terms, [600], matrix=matrix, outcome=_outcome(rows))
    with pytest.raises(ModelError, match="after the first event"):
        nomogram_model_of_cox(fit, model.terms, [0.5])
    with pytest.raises(ModelError, match="the terms have"):
        nomogram_model_of_cox(fit, model.terms[:2], [36])
    with pytest.raises(ModelError, match="no nomogram of schema"):
        Nomogram.from_record({"kind": "svm"})

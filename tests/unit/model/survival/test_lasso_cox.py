"""LASSO-Cox: against glmnet's golden files, the optimality conditions and a plain Newton fit."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.scaling import fit_scaler, standardise
from pipeline.model.survival.deviance import partial_deviance
from pipeline.model.survival.lasso_cox import (
    PathOptions,
    lambda_max,
    lambda_sequence,
    lasso_at,
    lasso_path,
)
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.selection import (
    LassoCv,
    assign_survival_folds,
    cross_validate,
    repeat_cross_validation,
    selection_frequency,
)

GOLDEN = Path(__file__).parents[3] / "golden"
SETS = {"lasso": 1.0, "elastic_net": 0.5}


def _golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"lasso_{name}.tsv", sep="\t", comment="#")


def _rows() -> tuple[np.ndarray, Outcome, np.ndarray]:
    table = _golden("rows")
    raw = table.iloc[:, 3:].to_numpy(float)
    outcome = Outcome(table["time"].to_numpy(float), table["event"].to_numpy() == 1)
    return standardise(fit_scaler(raw), raw), outcome, table["fold"].to_numpy()


def _simulated(n: int, p: int, seed: int) -> tuple[np.ndarray, Outcome]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, p))
    months = rng.exponential(size=n) * np.exp(-0.8 * values[:, 0])
    ends = rng.uniform(0.2, 3.0, size=n)
    months, event = np.minimum(months, ends), months <= ends
    values = standardise(fit_scaler(values), values)
    return values, Outcome(np.ceil(months * 20) / 20, event)


def _score_by_loops(values: np.ndarray, outcome: Outcome, beta: np.ndarray) -> np.ndarray:
    """Gradient of the log partial likelihood (Breslow), one event at a time."""
    risk = np.exp(values @ beta)
    total = np.zeros(values.shape[1])
    for row in np.flatnonzero(outcome.event):
        at_risk = outcome.months >= outcome.months[row]
        total += values[row] - risk[at_risk] @ values[at_risk] / risk[at_risk].sum()
    return total


def _newton_cox(values: np.ndarray, outcome: Outcome) -> np.ndarray:
    """Unpenalised Cox fit (Breslow) by plain Newton steps."""
    beta = np.zeros(values.shape[1])
    for _ in range(30):
        risk = np.exp(values @ beta)
        hessian = np.zeros((beta.size, beta.size))
        for row in np.flatnonzero(outcome.event):
            inside = outcome.months >= outcome.months[row]
            weight = risk[inside] / risk[inside].sum()
            centred = values[inside] - weight @ values[inside]
            hessian += centred.T @ (weight[:, None] * centred)
        beta = beta + np.linalg.solve(hessian, _score_by_loops(values, outcome, beta))
    return beta


@pytest.mark.parametrize("name", SETS)
def test_path_equals_glmnet(name):
    values, outcome, _ = _rows()
    golden = _golden("path").query("set == @name")
    path = lasso_path(values, outcome, PathOptions(l1_ratio=SETS[name]))
    assert path.lambdas.size == len(golden)
    np.testing.assert_allclose(path.lambdas, golden["lambda"], rtol=1e-12)
    np.testing.assert_array_equal(path.n_selected, golden["n_selected"])
    np.testing.assert_allclose(path.deviance_ratio, golden["deviance_ratio"], atol=1e-9)
    found = partial_deviance(values @ path.coefficients.T, outcome)
    np.testing.assert_allclose(found, golden["deviance"], atol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_coefficients_equal_glmnet_with_exact_zeros(name):
    values, outcome, _ = _rows()
    golden = _golden("coefficients").query("set == @name")
    steps = int(golden["step"].max())
    expected = np.zeros((steps, values.shape[1]))
    expected[golden["step"] - 1, golden["column"] - 1] = golden["coefficient"]
    found = lasso_path(values, outcome, PathOptions(l1_ratio=SETS[name])).coefficients[:steps]
    assert np.count_nonzero(found, axis=1).max() >= 10
    np.testing.assert_array_equal(found != 0, expected != 0)
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("name", SETS)
def test_cross_validation_equals_glmnet(name):
    values, outcome, folds = _rows()
    golden = _golden("path").query("set == @name")
    path = lasso_path(values, outcome, PathOptions(l1_ratio=SETS[name]))
    cv = cross_validate(values, outcome, folds, path)
    np.testing.assert_allclose(cv.deviance, golden["cvm"], atol=1e-6)
    np.testing.assert_allclose(cv.se, golden["cvsd"], atol=1e-6)
    assert golden["is_min"].to_numpy()[cv.index_min] == 1
    assert golden["is_1se"].to_numpy()[cv.index_1se] == 1
    assert cv.index_min != cv.index_1se


@pytest.mark.data
def test_real_patients_equal_glmnet(medpipe_data):
    values, outcome = _lung1(medpipe_data)
    golden, kept = _golden("lung1"), _golden("lung1_coefficients")
    path = lasso_path(values, outcome, PathOptions(n_lambdas=40, lambda_min_ratio=0.05))
    np.testing.assert_allclose(path.lambdas, golden["lambda"], rtol=1e-12)
    np.testing.assert_array_equal(path.n_selected, golden["n_selected"])
    expected = np.zeros((int(kept["step"].max()), values.shape[1]))
    expected[kept["step"] - 1, kept["column"] - 1] = kept["coefficient"]
    np.testing.assert_allclose(path.coefficients[: len(expected)], expected, atol=1e-6)
    cv = cross_validate(values, outcome, np.arange(len(outcome)) % 10 + 1, path)
    np.testing.assert_allclose(cv.deviance, golden["cvm"], atol=1e-5)
    np.testing.assert_allclose(cv.se, golden["cvsd"], atol=1e-5)
    assert golden["is_min"].to_numpy()[cv.index_min] == 1
    assert golden["is_1se"].to_numpy()[cv.index_1se] == 1


@pytest.mark.data
def test_collinear_real_features_are_solved_to_the_optimum(medpipe_data):
    values, outcome = _lung1(medpipe_data)
    path = lasso_path(values, outcome)
    assert path.n_selected[-1] > 40
    _check_optimal(values, outcome, path.coefficients[-1], path.lambdas[-1], 1.0)


def _lung1(folder: Path) -> tuple[np.ndarray, Outcome]:
    read = {"sep": "\t", "dtype": {"subject": str}, "index_col": "subject"}
    subjects = pd.read_csv(folder / "nsclc/subjects.tsv", **read)
    subjects = subjects[subjects["centre"] == "lung1"].sort_index()
    features = pd.read_csv(folder / "nsclc/published_radiomics.tsv", **read)
    raw = features.loc[subjects.index].to_numpy(float)
    outcome = Outcome(
        subjects["time_days"].to_numpy(float) / 30.4375, subjects["event"].to_numpy() == 1
    )
    return standardise(fit_scaler(raw), raw), outcome


def _check_optimal(values, outcome, beta, penalty, l1_ratio):
    """Check the conditions that hold at the minimum and nowhere else (the problem is convex)."""
    slope = _score_by_loops(values, outcome, beta) / len(outcome)
    slope -= penalty * (1 - l1_ratio) * beta
    active = beta != 0
    np.testing.assert_allclose(slope[active], penalty * l1_ratio * np.sign(beta[active]), atol=1e-9)
    assert np.abs(slope[~active]).max(initial=0) <= penalty * l1_ratio + 1e-9


@pytest.mark.parametrize(("n", "p", "l1_ratio"), [(60, 200, 1.0), (60, 200, 0.3), (90, 12, 1.0)])
def test_optimality_conditions_hold_all_along_the_path(n, p, l1_ratio):
    values, outcome = _simulated(n, p, seed=n + p)
    path = lasso_path(values, outcome, PathOptions(l1_ratio=l1_ratio, n_lambdas=30))
    assert path.n_selected[-1] >= 10
    for penalty, beta in zip(path.lambdas, path.coefficients, strict=True):
        _check_optimal(values, outcome, beta, penalty, l1_ratio)


def test_largest_lambda_gives_zeros_and_a_little_less_does_not():
    values, outcome, _ = _rows()
    highest = lambda_max(values, outcome)
    score = _score_by_loops(values, outcome, np.zeros(values.shape[1]))
    assert highest == pytest.approx(np.abs(score).max() / len(outcome), rel=1e-12)
    for penalty, count in ((highest, 0), (1.5 * highest, 0), (0.999 * highest, 1)):
        assert np.count_nonzero(lasso_at(values, outcome, penalty)) == count
    first = lasso_path(values, outcome).coefficients[0]
    assert (first == 0).all()


def test_lambda_near_zero_equals_the_newton_fit_and_r():
    values, outcome, _ = _rows()
    some = values[:, :12]
    found = lasso_at(some, outcome, 1e-12)
    np.testing.assert_allclose(found, _newton_cox(some, outcome), atol=1e-8)
    np.testing.assert_allclose(found, _golden("breslow")["coefficient"], atol=1e-8)


def test_one_lambda_equals_the_same_lambda_on_the_path():
    values, outcome, _ = _rows()
    path = lasso_path(values, outcome)
    for step in (5, 20, 40):
        alone = lasso_at(values, outcome, path.lambdas[step])
        np.testing.assert_allclose(alone, path.coefficients[step], atol=1e-7)


def test_given_lambdas_are_kept_in_full_and_read_between_the_steps():
    values, outcome = _simulated(80, 5, seed=4)
    path = lasso_path(
        values, outcome, PathOptions(lambdas=(0.01, 0.2, 0.1, 1e-4, 1e-5, 1e-6, 1e-7))
    )
    assert path.lambdas.tolist() == [0.2, 0.1, 0.01, 1e-4, 1e-5, 1e-6, 1e-7]
    read = path.at([5.0, 0.15, 0.1, 0.0325, 1e-9])
    first, second, third = path.coefficients[:3]
    expected = [first, (first + second) / 2, second, 0.25 * second + 0.75 * third]
    np.testing.assert_allclose(read[:4], expected, atol=1e-12)
    np.testing.assert_array_equal(read[4], path.coefficients[-1])


def test_partial_deviance_by_hand():
    # times 1, 2, 2, 3; events at 1, 2 and 2; the censored row at 3 is always at risk
    outcome = Outcome(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, True, False]))
    null = 2 * (-2 * np.log(2) + np.log(4) + 2 * np.log(3))
    predictors = np.column_stack([np.zeros(4), np.log([2.0, 1.0, 1.0, 3.0])])
    second = 2 * (-2 * np.log(2) - np.log(2) + np.log(7) + 2 * np.log(5))
    np.testing.assert_allclose(partial_deviance(predictors, outcome), [null, second], rtol=1e-14)
    shifted = partial_deviance(predictors[:, 1] + 800.0, outcome)
    assert float(shifted) == pytest.approx(second, rel=1e-12)


def test_a_row_censored_at_an_event_time_is_at_risk():
    at_event = Outcome(np.array([1.0, 1.0, 2.0]), np.array([True, False, False]))
    assert float(partial_deviance(np.zeros(3), at_event)) == pytest.approx(2 * np.log(3))


def test_separated_data_give_a_finite_path():
    # the first column orders the times without exception: without a penalty it has no estimate
    rng = np.random.default_rng(1)
    values = np.column_stack([-np.arange(40.0), *rng.normal(size=(3, 40))])
    outcome = Outcome(np.arange(1.0, 41.0), np.ones(40, dtype=bool))
    values = standardise(fit_scaler(values), values)
    path = lasso_path(values, outcome, PathOptions(lambdas=tuple(np.geomspace(0.5, 1e-4, 20))))
    assert path.coefficients[-1, 0] > 10
    assert path.deviance_ratio[-1] > 0.9
    _check_optimal(values, outcome, path.coefficients[-1], path.lambdas[-1], 1.0)


def test_duplicated_columns_do_not_stall():
    values, outcome = _simulated(70, 6, seed=2)
    twice = np.hstack([values, values])
    penalties = PathOptions(lambdas=(0.1, 0.01, 0.001))
    both = lasso_path(twice, outcome, penalties).coefficients
    once = lasso_path(values, outcome, penalties).coefficients
    np.testing.assert_allclose(both[:, :6] + both[:, 6:], once, atol=1e-7)


def test_folds_hold_events_evenly_and_do_not_depend_on_the_order():
    _, outcome = _simulated(83, 2, seed=3)
    subjects = [f"s{i:02d}" for i in range(83)]
    folds = assign_survival_folds(subjects, outcome, n_folds=7, seed=5)
    assert np.ptp(np.bincount(folds)[1:]) <= 1
    assert np.ptp(np.bincount(folds[outcome.event])[1:]) <= 1
    order = np.random.default_rng(0).permutation(83)
    again = assign_survival_folds(
        [subjects[i] for i in order], outcome.take(order), n_folds=7, seed=5
    )
    np.testing.assert_array_equal(again, folds[order])
    assert (assign_survival_folds(subjects, outcome, n_folds=7, seed=6) != folds).any()


def test_folds_without_censored_rows_and_with_few_events(caplog):
    everyone = Outcome(np.arange(1.0, 21.0), np.ones(20, dtype=bool))
    subjects = [f"s{i:02d}" for i in range(20)]
    assert set(assign_survival_folds(subjects, everyone, n_folds=5, seed=1)) == {1, 2, 3, 4, 5}
    three = Outcome(everyone.months, np.arange(20) < 3)
    with caplog.at_level(logging.INFO):
        assert assign_survival_folds(subjects, three, n_folds=5, seed=1).max() == 3
    assert "3 folds, not 5: 3 subjects have an event" in caplog.text
    one = Outcome(everyone.months, np.arange(20) < 1)
    with pytest.raises(ModelError, match="over 1 subjects with an event"):
        assign_survival_folds(subjects, one, n_folds=5, seed=1)


def test_rows_of_one_subject_share_a_fold_and_one_outcome():
    _, outcome = _simulated(30, 2, seed=3)
    rows = np.random.default_rng(2).integers(0, 30, 60)
    subjects = [f"s{row}" for row in rows]
    folds = assign_survival_folds(subjects, outcome.take(rows), n_folds=4, seed=1)
    for row in set(rows.tolist()):
        assert len(set(folds[rows == row])) == 1
    subjects[1] = subjects[0]
    with pytest.raises(ModelError, match=f"subject {subjects[0]} has two rows with different time"):
        assign_survival_folds(subjects, outcome.take(np.arange(60) % 30), n_folds=4, seed=1)


def test_repeats_take_the_median_lambda(monkeypatch):
    values, outcome = _simulated(60, 5, seed=8)
    path = lasso_path(values, outcome, PathOptions(n_lambdas=10))
    steps = iter([7, 2, 5, 3])
    flat = np.zeros(path.lambdas.size)
    monkeypatch.setattr(
        "pipeline.model.survival.selection.cross_validate",
        lambda *_: LassoCv(flat, flat, next(steps), 1),
    )
    subjects = [f"s{i}" for i in range(60)]
    found = repeat_cross_validation(values, outcome, subjects, path, n_folds=3, repeats=4, seed=1)
    # between 3 and 5 the larger lambda
    assert found.index_min == 3
    assert found.index_1se == 1


def test_repeats_come_from_the_seed():
    values, outcome = _simulated(60, 5, seed=8)
    path = lasso_path(values, outcome, PathOptions(n_lambdas=10))
    subjects = [f"s{i}" for i in range(60)]
    args = (values, outcome, subjects, path)
    one = repeat_cross_validation(*args, n_folds=3, repeats=2, seed=1)
    np.testing.assert_array_equal(
        one.deviance, repeat_cross_validation(*args, n_folds=3, repeats=2, seed=1).deviance
    )
    other = repeat_cross_validation(*args, n_folds=3, repeats=2, seed=2)
    assert (one.deviance[1:] != other.deviance[1:]).all()


def test_selection_frequency_tells_signal_from_noise():
    values, outcome = _simulated(120, 10, seed=6)
    values[:, 9] = 0.0
    penalty = 0.5 * lambda_max(values, outcome)
    found = selection_frequency(values, outcome, penalty, resamples=40, seed=3)
    assert found[0] == 1.0
    assert found[1:9].max() < 0.5
    assert found[9] == 0.0
    np.testing.assert_array_equal(found * 40, np.round(found * 40))
    again = selection_frequency(values, outcome, penalty, resamples=40, seed=3)
    np.testing.assert_array_equal(found, again)


def test_unusable_input_is_refused():
    values, outcome = _simulated(20, 3, seed=1)
    values[4, 1] = np.nan
    with pytest.raises(ModelError, match="row 5, column 2"):
        lasso_path(values, outcome)
    with pytest.raises(ModelError, match="none of 3 features varies"):
        lasso_path(np.ones((20, 3)), outcome)
    with pytest.raises(ModelError, match="do not fit 20 outcomes"):
        lasso_path(np.ones((19, 3)), outcome)
    censored = Outcome(outcome.months, np.zeros(20, dtype=bool))
    with pytest.raises(ModelError, match="none of 20 rows has an event"):
        lasso_path(np.ones((20, 3)), censored)
    values = np.nan_to_num(values)
    path = lasso_path(values, outcome, PathOptions(n_lambdas=5))
    alone = np.where(outcome.event, 1, 2)
    with pytest.raises(ModelError, match="fold 2 has no event"):
        cross_validate(values, outcome, alone, path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"l1_ratio": 0.0}, "l1_ratio 0"),
        ({"n_lambdas": 1}, "1 lambdas"),
        ({"lambda_min_ratio": 1.0}, "lambda_min_ratio 1"),
        ({"lambdas": (0.1, 0.0)}, "every lambda"),
    ],
)
def test_options_without_meaning_are_refused(options, text):
    with pytest.raises(ModelError, match=text):
        PathOptions(**options)


def test_lambdas_span_the_ratio():
    values, outcome = _simulated(50, 60, seed=1)
    wide = lambda_sequence(values, outcome, PathOptions())
    assert wide[-1] / wide[0] == pytest.approx(0.01, rel=1e-6)
    narrow = lambda_sequence(values[:, :50], outcome, PathOptions())
    assert narrow[-1] / narrow[0] == pytest.approx(1e-4, rel=1e-6)

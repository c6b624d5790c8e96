"""Nested C-index: noise stays noise, a leak is seen, held-out rows change nothing."""

import json

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.model.scaling import fit_scaler, standardise
from pipeline.model.survival.lasso_cox import lasso_at
from pipeline.model.survival.nested import nested_c_index
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.rad_score import LassoOptions, fit_rad_score

QUICK = LassoOptions(n_folds=3, repeats=1, n_lambdas=15, lambda_min_ratio=0.1)
FORCED = LassoOptions(rule="count", count=5, repeats=0, n_lambdas=30, lambda_min_ratio=0.1)


#: All ten features that the leak let through.
TEN = LassoOptions(rule="count", count=10, repeats=0, n_lambdas=30, lambda_min_ratio=0.1)


def _noise(repeat: int, p: int = 1000) -> tuple:
    rng = np.random.default_rng([repeat, 7])
    values = rng.normal(size=(50, p))
    months, ends = rng.exponential(20, size=50), rng.uniform(5, 60, size=50)
    shuffled = rng.permutation(50)
    outcome = Outcome(np.minimum(months, ends), months <= ends).take(shuffled)
    return values, [f"f{i}" for i in range(p)], outcome, [f"s{i:02d}" for i in range(50)]


def _harrell_by_loops(score: np.ndarray, outcome: Outcome) -> float:
    agreeing = pairs = 0.0
    for i in range(len(outcome)):
        for j in range(len(outcome)):
            later = outcome.months[j] > outcome.months[i]
            censored = outcome.months[j] == outcome.months[i] and not outcome.event[j]
            if outcome.event[i] and (later or censored):
                pairs += 1
                agreeing += (score[i] > score[j]) + 0.5 * (score[i] == score[j])
    return agreeing / pairs


def _leaky(values: np.ndarray, outcome: Outcome) -> np.ndarray:
    """Keep the ten features that follow the martingale residuals best in ALL rows."""
    hazard = [
        sum(1 / (outcome.months >= t).sum() for t in outcome.months[outcome.event] if t <= own)
        for own in outcome.months
    ]
    residual = outcome.event - np.asarray(hazard)
    scaled = standardise(fit_scaler(values), values)
    return np.argsort(-np.abs(residual @ scaled))[:10]


@pytest.mark.slow
def test_noise_in_noise_out_and_a_leak_is_seen():
    chosen, forced, leaky, empty = [], [], [], []
    for repeat in range(20):
        values, names, outcome, subjects = _noise(repeat)
        found = nested_c_index(values, names, outcome, subjects, seed=repeat, options=QUICK)
        chosen.append(found.mean_c)
        empty += [not score.features for score in found.scores]
        found = nested_c_index(values, names, outcome, subjects, seed=repeat, options=FORCED)
        assert all(len(score.features) >= 5 for score in found.scores)
        forced.append(found.mean_c)
        best = _leaky(values, outcome)
        some = [names[i] for i in best]
        found = nested_c_index(values[:, best], some, outcome, subjects, seed=repeat, options=TEN)
        leaky.append(found.mean_c)
    assert abs(np.mean(chosen) - 0.5) <= 0.03
    # a score of at least five features in every fold: the check cannot pass by ties alone
    assert abs(np.mean(forced) - 0.5) <= 0.03
    assert np.mean(leaky) > 0.60
    assert 0.1 < np.mean(empty) < 0.95


def test_one_leak_is_far_above_one_honest_estimate():
    honest, leaky = [], []
    for repeat in range(4):
        values, names, outcome, subjects = _noise(repeat, p=400)
        found = nested_c_index(values, names, outcome, subjects, seed=repeat, options=FORCED)
        honest.append(found.mean_c)
        best = _leaky(values, outcome)
        some = [names[i] for i in best]
        found = nested_c_index(values[:, best], some, outcome, subjects, seed=repeat, options=TEN)
        leaky.append(found.mean_c)
    assert np.mean(leaky) > max(0.65, np.mean(honest) + 0.1)


def _signal(n: int = 80, p: int = 6) -> tuple:
    rng = np.random.default_rng(11)
    values = rng.normal(size=(n, p)) * 3 + 10
    months = 20 * rng.exponential(size=n) * np.exp(-0.4 * (values[:, 1] - 10))
    ends = rng.uniform(10, 60, size=n)
    outcome = Outcome(np.round(np.minimum(months, ends)) + 1, months <= ends)
    return values, [f"f{i}" for i in range(p)], outcome, [f"s{i:02d}" for i in range(n)]


def test_signal_is_found_and_c_is_harrells_within_the_fold():
    values, names, outcome, subjects = _signal()
    found = nested_c_index(values, names, outcome, subjects, n_folds=4, seed=1, options=QUICK)
    assert found.mean_c > 0.65
    for number, c in enumerate(found.fold_c, start=1):
        held = found.folds == number
        by_hand = _harrell_by_loops(found.predicted[held], outcome.take(held))
        assert c == pytest.approx(by_hand, abs=1e-12)
        score = found.scores[number - 1].score(values[held], names)
        np.testing.assert_array_equal(score, found.predicted[held])


@pytest.mark.parametrize("filter_name", ["none", "intensity", "variance"])
def test_held_out_rows_change_nothing_that_is_fitted(filter_name):
    values, names, outcome, subjects = _signal()
    options = LassoOptions(**{**vars(QUICK), "filter": filter_name, "filter_keep": 0.7})
    before = nested_c_index(values, names, outcome, subjects, n_folds=4, seed=1, options=options)
    held = before.folds == 2
    changed = values.copy()
    changed[held] = np.random.default_rng(0).normal(1e4, 1e3, size=changed[held].shape)
    months = np.where(held, outcome.months * 7 + 1, outcome.months)
    after = nested_c_index(
        changed, names, Outcome(months, outcome.event), subjects, n_folds=4, seed=1, options=options
    )
    records = [
        [json.dumps(score.to_record()) for score in found.scores] for found in (before, after)
    ]
    assert records[0][1] == records[1][1]
    # and the check can fail: the folds that trained on these rows did change
    assert all(records[0][fold] != records[1][fold] for fold in (0, 2, 3))


def test_folds_without_a_single_usable_pair_are_an_error():
    values, names, outcome, subjects = _signal(n=9)
    everyone = Outcome(outcome.months, np.ones(9, dtype=bool))
    options = LassoOptions(rule="count", count=1, repeats=0, n_lambdas=5)
    with pytest.raises(ModelError, match="none of 9 outer folds has a pair"):
        nested_c_index(values, names, everyone, subjects, n_folds=9, seed=1, options=options)


def _cox_of(values: np.ndarray, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Refit without a penalty: coefficients and standard errors (lifelines)."""
    import pandas as pd
    from lifelines import CoxPHFitter

    table = pd.DataFrame(values).assign(months=outcome.months, event=outcome.event)
    fit = CoxPHFitter().fit(table, "months", "event")
    return fit.params_.to_numpy(), fit.standard_errors_.to_numpy()


@pytest.mark.slow
def test_known_coefficients_are_selected_and_covered():
    # 300 patients, 5 true features of 50. Refitting the selected features alone would be biased by
    # the selection; so the true ones that were missed are put back, and the intervals are of the
    # model with all true and all wrongly selected features.
    truth = np.zeros(50)
    truth[:5] = [0.5, -0.5, 0.6, -0.6, 0.7]
    selected, covered = [], []
    for repeat in range(100):
        rng = np.random.default_rng([repeat, 3])
        values = rng.normal(size=(300, 50))
        months = 20 * rng.exponential(size=300) * np.exp(-values @ truth)
        ends = rng.uniform(10, 80, size=300)
        outcome = Outcome(np.minimum(months, ends), months <= ends)
        options = LassoOptions(
            rule="1se", n_folds=5, repeats=1, n_lambdas=25, lambda_min_ratio=0.05
        )
        names = [f"f{i:02d}" for i in range(50)]
        subjects = [f"s{i:03d}" for i in range(300)]
        fit = fit_rad_score(values, names, outcome, subjects, options=options, seed=repeat)
        chosen = {int(name[1:]) for name in fit.score.features}
        selected += [feature in chosen for feature in range(5)]
        columns = sorted(chosen | set(range(5)))
        estimate, error = _cox_of(values[:, columns], outcome)
        covered += (np.abs(estimate[:5] - truth[:5]) <= 1.96 * error[:5]).tolist()
    assert np.mean(selected) >= 0.99
    assert np.mean(covered) >= 0.90


def test_the_penalised_fit_shrinks_known_coefficients_towards_zero():
    rng = np.random.default_rng(5)
    values = rng.normal(size=(2000, 3))
    truth = np.array([0.8, -0.5, 0.0])
    months = rng.exponential(size=2000) * np.exp(-values @ truth)
    outcome = Outcome(months, np.ones(2000, dtype=bool))
    free = lasso_at(values, outcome, 1e-9)
    np.testing.assert_allclose(free, truth, atol=0.08)
    held = lasso_at(values, outcome, 0.05)
    assert (np.abs(held[:2]) < np.abs(free[:2])).all()
    assert held[2] == 0

"""The filter of unstable features inside the folds of the models."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import CohortError, ModelError
from pipeline.model.chain import fit_chain
from pipeline.model.design import build_design
from pipeline.model.stability_filter import (
    RepeatsFilter,
    TableFilter,
    stability_filter,
    stable_columns,
)
from pipeline.model.survival.nested import nested_c_index
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.rad_score import LassoOptions, fit_rad_score
from pipeline.model.svm_grid import SvmGrid
from pipeline.radiomics.stability.repeats import Repeats

QUICK = LassoOptions(repeats=1, n_folds=4, n_lambdas=20, lambda_min_ratio=0.05)
FEATURES = [f"baseline.glcm_F{n}" for n in range(6)]


def _cohort(n: int = 60) -> tuple:
    rng = np.random.default_rng(8)
    values = rng.normal(10, 3, size=(n, 6))
    months = 20 * rng.exponential(size=n) * np.exp(-0.3 * (values[:, 0] - 10))
    ends = rng.uniform(10, 60, size=n)
    outcome = Outcome(np.round(np.minimum(months, ends)) + 1, months <= ends)
    return values, FEATURES, outcome, [f"s{i:02d}" for i in range(n)]


def _repeats(values: np.ndarray, subjects: list[str], noisy: tuple[int, ...] = (0, 3)) -> Repeats:
    """Return four measurements of each subject, hardly repeatable in the noisy columns."""
    rng = np.random.default_rng(9)
    sd = np.where(np.isin(np.arange(values.shape[1]), noisy), 9.0, 0.3)
    repeated = values[:, np.newaxis] + rng.normal(size=(len(values), 4, values.shape[1])) * sd
    names = tuple(f.partition(".")[2] for f in FEATURES)
    return Repeats(tuple(subjects), ("1", "2", "3", "4"), names, repeated)


def test_unstable_features_are_left_out_before_selection():
    values, names, outcome, subjects = _cohort()
    without = fit_rad_score(values, names, outcome, subjects, options=QUICK, seed=1)
    assert FEATURES[0] in without.score.features  # it carries the signal
    chosen = RepeatsFilter(_repeats(values, subjects))
    options = LassoOptions(**{**vars(QUICK), "stability": chosen})
    fit = fit_rad_score(values, names, outcome, subjects, options=options, seed=1)
    assert fit.features == tuple(np.delete(FEATURES, [0, 3]))
    assert fit.filtered == (FEATURES[0], FEATURES[3])
    assert fit.score.details["stability"]["threshold"] == 0.75
    assert "stability" not in without.score.details
    json.dumps(fit.score.to_record())


def test_the_other_filter_comes_after():
    values, names, outcome, subjects = _cohort()
    chosen = TableFilter({name: name not in FEATURES[:2] for name in FEATURES})
    options = LassoOptions(
        **{**vars(QUICK), "stability": chosen, "filter": "variance", "filter_keep": 0.5}
    )
    fit = fit_rad_score(values, names, outcome, subjects, options=options, seed=1)
    assert len(fit.features) == 2
    assert not set(fit.features) & set(FEATURES[:2])


def test_only_the_training_subjects_of_a_fold_decide():
    """Repeats of held-out subjects, however they look, change nothing that is fitted."""
    values, names, outcome, subjects = _cohort()
    repeats = _repeats(values, subjects)
    options = LassoOptions(**{**vars(QUICK), "stability": RepeatsFilter(repeats)})
    before = nested_c_index(values, names, outcome, subjects, n_folds=4, seed=1, options=options)
    held = before.folds == 2
    spoilt = repeats.values.copy()
    spoilt[held] = np.random.default_rng(0).normal(0, 1e3, size=spoilt[held].shape)
    other = Repeats(repeats.subjects, repeats.repeats, repeats.features, spoilt)
    options = LassoOptions(**{**vars(QUICK), "stability": RepeatsFilter(other)})
    with pytest.raises(ModelError, match="none of 6 features is stable"):
        # the folds that train on the spoilt subjects find nothing stable: the check can fail
        nested_c_index(values, names, outcome, subjects, n_folds=4, seed=1, options=options)
    training = [s for s, out in zip(subjects, held, strict=True) if not out]
    kept = [RepeatsFilter(r).keep(FEATURES, training) for r in (repeats, other)]
    assert kept[0].tolist() == kept[1].tolist() == [False, True, True, False, True, True]
    record = json.dumps(before.scores[1].to_record())
    again = fit_rad_score(
        values[~held], names, outcome.take(~held), training, options=options,
        seed=int(np.random.SeedSequence(1).generate_state(4)[1]),
    )  # fmt: skip
    assert json.dumps(again.score.to_record()) == record


def test_a_bootstrap_counts_a_subject_once():
    values, _, _, subjects = _cohort()
    chosen = RepeatsFilter(_repeats(values, subjects))
    once = chosen.keep(FEATURES, subjects[:20])
    assert chosen.keep(FEATURES, subjects[:20] * 3).tolist() == once.tolist()
    assert chosen.keep(FEATURES[::-1], subjects[:20]).tolist() == once[::-1].tolist()


def test_what_the_filter_refuses():
    values, _, _, subjects = _cohort()
    chosen = RepeatsFilter(_repeats(values, subjects))
    with pytest.raises(ModelError, match="3 of 4 training subjects have repeated"):
        chosen.keep(FEATURES, [*subjects[:3], "stranger"])
    with pytest.raises(ModelError, match=r"1 of 2 features are not there \(baseline.glcm_New\)"):
        chosen.keep([FEATURES[0], "baseline.glcm_New"], subjects)
    with pytest.raises(ModelError, match="none of 6 features is stable"):
        stable_columns(TableFilter(dict.fromkeys(FEATURES, False)), FEATURES, subjects)
    assert stable_columns(None, FEATURES, subjects).all()


def test_tables_become_filters():
    table = pd.DataFrame({"feature": ["glcm_A", "glcm_B"], "verdict": ["stable", "unknown"]})
    found = stability_filter(table)
    assert found.keep(["x.glcm_B", "glcm_A"], []).tolist() == [False, True]
    assert found.describe() == {"by": "table", "stable": 1, "of": 2}
    rows = [
        {"subject": f"s{n}", "rater": k, "session": s, "glcm_A": n + 0.1 * k, "glcm_B": k}
        for n in range(8) for k in range(3) for s in ("a", "b")
    ]  # fmt: skip
    measured = pd.DataFrame(rows)
    one = measured[measured["session"] == "a"]
    strict = stability_filter(one, repeat_column="rater", threshold=0.9)
    assert strict.keep(["glcm_A", "glcm_B"], [f"s{n}" for n in range(8)]).tolist() == [True, False]
    with pytest.raises(CohortError, match="session a; session b"):
        stability_filter(measured, repeat_column="rater")
    with pytest.raises(CohortError, match="glcm_A stands twice"):
        stability_filter(pd.concat([table, table]))
    with pytest.raises(CohortError, match="column feature is missing"):
        stability_filter(measured)


def _tables(n: int = 60) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, list[str]]:
    rng = np.random.default_rng(3)
    outcome = np.arange(n) % 2
    values = rng.normal(size=(n, 6))
    values[:, 0] += 2.5 * outcome
    values[:, 1] += 1.0 * outcome
    subjects = [f"s{i:02d}" for i in range(n)]
    features = pd.DataFrame(values, columns=FEATURES).assign(subject=subjects)
    split = np.where(np.arange(n) < 44, "development", "test")
    sheet = pd.DataFrame({"subject": subjects, "split": split, "response": outcome})
    return features, sheet, values, subjects


@pytest.mark.parametrize("classifier", ["svm", "xgboost"])
def test_the_binary_models_leave_unstable_features_out_in_each_fold(classifier):
    features, sheet, values, subjects = _tables()
    design = build_design(features, sheet, feature_set="baseline")
    repeats = _repeats(values, subjects)
    asked: list[frozenset[str]] = []

    class Listening(RepeatsFilter):
        def keep(self, names, training):
            asked.append(frozenset(training))
            return super().keep(names, training)

    how = {
        "classifier": classifier,
        "n_folds": 4,
        "seed": 1,
        "grid": SvmGrid((0.0, 0.0, 1.0), (-3.0, -3.0, 1.0), 3),
    }
    without = fit_chain(design, **how)
    found = fit_chain(design, stability=Listening(repeats), **how)
    assert FEATURES[0] in set(without.selection.query("selected == 1")["feature"])
    assert not {FEATURES[0], FEATURES[3]} & set(found.selection.query("selected == 1")["feature"])
    frequency = found.selection.set_index("feature")["selection_frequency"]
    assert frequency[FEATURES[0]] == 0 == frequency[FEATURES[3]]
    assert found.record["training"]["stability"]["by"] == "repeats of the training subjects"
    # asked for every fold and for all development subjects, never with a test subject
    assert len(asked) == 5
    assert max(asked, key=len) == frozenset(subjects[:44])
    assert sum(len(training) < 44 for training in asked) == 4
    # test subjects' repeats change nothing
    spoilt = repeats.values.copy()
    spoilt[44:] = np.nan
    other = Repeats(repeats.subjects, repeats.repeats, repeats.features, spoilt)
    again = fit_chain(design, stability=RepeatsFilter(other), **how)
    assert json.dumps(again.record) == json.dumps(found.record)
    pd.testing.assert_frame_equal(again.predictions, found.predictions)

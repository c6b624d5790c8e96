"""The chain of a survival study: nothing leaks, frozen models score alike, tables are whole."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.survival.chain import (
    SurvivalModel,
    SurvivalOptions,
    fit_survival,
    predict,
)
from pipeline.model.survival.chain_optimism import chain_optimism
from pipeline.model.survival.design import SurvivalDesign, build_survival_design
from pipeline.model.survival.evaluate import evaluate
from pipeline.model.survival.new_patients import predict_new
from pipeline.model.survival.rad_score import LassoOptions

KINDS = {"age_years": "continuous", "stage": "categorical"}
LASSO = LassoOptions(n_folds=5, repeats=2, resamples=10)


def tables(n: int = 160, seed: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulated cohort: two of twelve features and the stage carry the hazard."""
    rng = np.random.default_rng(seed)
    names = [f"s{i:03d}" for i in range(n)]
    values = rng.normal(size=(n, 12))
    stage = rng.choice(["I", "II", "III"], size=n)
    log_hazard = 0.9 * values[:, 0] - 0.8 * values[:, 1] + 0.6 * (stage == "III")
    times = 40 * rng.exponential(size=n) * np.exp(-log_hazard)
    ends = rng.uniform(20, 90, size=n)
    features = pd.DataFrame(5 + 2 * values, columns=[f"ct.f{i}" for i in range(12)])
    features.insert(0, "subject", names)
    subjects = pd.DataFrame(
        {
            "subject": names,
            "split": np.where(np.arange(n) % 3 == 0, "test", "development"),
            "centre": np.where(np.arange(n) % 2 == 0, "a", "b"),
            "time_months": np.minimum(times, ends) + 0.01,
            "event": (times <= ends).astype(int),
            "age_years": rng.normal(60, 9, size=n),
            "stage": stage,
        }
    )
    return features, subjects


def design_of(features: pd.DataFrame, subjects: pd.DataFrame) -> SurvivalDesign:
    return build_survival_design(features, subjects, feature_set="ct", covariates=KINDS)


def options(**changes) -> SurvivalOptions:
    given = {
        "covariates": KINDS,
        "nomogram": ("rad_score", "stage"),
        "lasso": LASSO,
        "cutoff_months": 24.0,
        "horizons_months": (12.0, 24.0),
    }
    return SurvivalOptions(**(given | changes))


def test_the_features_that_carry_the_hazard_are_selected_and_the_combined_model_uses_them():
    fitted = fit_survival(design_of(*tables()), options(), seed=1)
    assert {"ct.f0", "ct.f1"} <= set(fitted.model.score.features)
    assert list(fitted.model.models) == ["rad_score", "clinical", "combined"]
    assert fitted.model.models["combined"].variables == ("rad_score", "stage")
    assert fitted.model.score.cutoff == pytest.approx(fitted.cutoff.value)


def test_no_test_row_can_change_anything_that_is_fitted():
    features, subjects = tables()
    asked = options(harmonise="combat")
    before = fit_survival(design_of(features, subjects), asked, seed=1).model.to_record()
    test = (subjects["split"] == "test").to_numpy()
    rng = np.random.default_rng(0)
    columns = [c for c in features.columns if c != "subject"]
    features.loc[test, columns] = rng.normal(1e3, 1e3, size=(test.sum(), len(columns)))
    subjects.loc[test, "time_months"] = rng.uniform(1, 500, size=test.sum())
    subjects.loc[test, "event"] = rng.integers(0, 2, size=test.sum())
    subjects.loc[test, "age_years"] = -5.0
    subjects.loc[test, "stage"] = "II"
    after = fit_survival(design_of(features, subjects), asked, seed=1).model.to_record()
    assert json.dumps(before) == json.dumps(after)


def test_the_order_of_rows_changes_no_byte():
    features, subjects = tables()
    one = fit_survival(design_of(features, subjects), options(), seed=1).model.to_record()
    shuffled = design_of(features.sample(frac=1, random_state=1), subjects.iloc[::-1])
    two = fit_survival(shuffled, options(), seed=1).model.to_record()
    assert json.dumps(one) == json.dumps(two)


@pytest.mark.parametrize("score_as", ["continuous", "dichotomised"])
def test_a_frozen_model_gives_the_same_predictions_after_json(score_as):
    design = design_of(*tables())
    model = fit_survival(design, options(score_as=score_as), seed=1).model
    again = SurvivalModel.from_record(json.loads(json.dumps(model.to_record())))
    pd.testing.assert_frame_equal(predict(model, design), predict(again, design))


def test_survival_probabilities_fall_with_time_and_with_the_log_hazard():
    design = design_of(*tables())
    found = predict(fit_survival(design, options(), seed=1).model, design)
    assert (found["survival_combined_12m"] > found["survival_combined_24m"]).all()
    order = found.sort_values("lp_combined")["survival_combined_24m"].to_numpy()
    assert (np.diff(order) <= 0).all()


def test_a_horizon_beyond_follow_up_has_no_probability():
    design = design_of(*tables())
    model = fit_survival(design, options(horizons_months=(12.0, 600.0)), seed=1).model
    assert predict(model, design)["survival_combined_600m"].isna().all()


def test_a_missing_covariate_leaves_the_row_out_of_the_models_that_need_it():
    features, subjects = tables()
    subjects.loc[4, "age_years"] = np.nan
    design = design_of(features, subjects)
    model = fit_survival(design, options(), seed=1).model
    found = predict(model, design).set_index("subject").loc["s004"]
    assert np.isnan(found["lp_clinical"])
    assert np.isfinite(found["lp_combined"])
    assert model.models["clinical"].complete == design.development.sum() - 1


def test_combat_refuses_one_centre_and_says_which():
    features, subjects = tables()
    subjects["centre"] = "alone"
    with pytest.raises(ModelError, match="alone"):
        fit_survival(design_of(features, subjects), options(harmonise="combat"), seed=1)


def test_without_a_selected_feature_the_clinical_model_remains():
    features, subjects = tables()
    rng = np.random.default_rng(8)
    columns = [c for c in features.columns if c != "subject"]
    features[columns] = rng.normal(size=features[columns].shape)
    asked = options(lasso=LassoOptions(n_folds=5, repeats=1, resamples=2, rule="1se"))
    fitted = fit_survival(design_of(features, subjects), asked, seed=1)
    assert fitted.model.score.features == ()
    assert fitted.cutoff is None
    assert list(fitted.model.models) == ["clinical", "combined"]
    assert fitted.model.models["combined"].variables == ("stage",)
    found = evaluate(fitted.model, design_of(features, subjects), KINDS, draws=20, seed=1)
    headline = found["headline"].set_index("model")
    assert set(headline.index) == {"rad_score", "clinical", "combined"}
    assert (headline["features"] == 0).all()
    assert headline.loc["rad_score", "n_test"] == 54
    assert np.isnan(headline.loc["rad_score", "slope_test"])


def test_a_reference_level_is_the_one_that_was_asked_for():
    design = design_of(*tables())
    model = fit_survival(design, options(references={"stage": "III"}), seed=1).model
    assert model.models["combined"].terms[1].levels == ("III", "I", "II")
    found = evaluate(model, design, KINDS, references={"stage": "III"}, draws=20, seed=1)["cox"]
    rows = found.query(
        "split == 'development' and analysis == 'univariable' and variable == 'stage'"
    )
    assert rows["level"].tolist() == ["III", "I", "II"]
    assert rows["hazard_ratio"].iloc[0] == 1


def test_a_nomogram_term_that_is_no_covariate_is_named():
    with pytest.raises(ModelError, match="'grade'"):
        fit_survival(design_of(*tables()), options(nomogram=("rad_score", "grade")), seed=1)


def test_every_table_is_made_and_agrees_with_the_predictions():
    design = design_of(*tables())
    model = fit_survival(design, options(), seed=1).model
    found = evaluate(model, design, KINDS, draws=50, seed=1)
    assert all(len(table) for table in found.values()), {k: len(v) for k, v in found.items()}
    assert set(found["discrimination"]["metric"]) == {
        "harrell_c", "uno_c", "auc", "brier", "ibs", "slope",
    }  # fmt: skip
    first = found["km"].groupby(["split", "group"])["at_risk"].first()
    counts = found["predictions"].groupby(["split", "risk_group"]).size()
    assert first.to_dict() == counts.to_dict()
    calibrated = found["calibration"].query("split == 'development' and model == 'combined'")
    assert calibrated["slope"].to_numpy() == pytest.approx(1.0, abs=1e-6)
    row = found["headline"].set_index("model").loc["combined"]
    assert row["n_development"] + row["n_test"] == 160
    assert 0.6 < row["harrell_c_test"] < 0.95
    assert row["harrell_c_test_low95"] < row["harrell_c_test"] < row["harrell_c_test_high95"]
    assert set(found["decision"]["model"]) == {"rad_score", "clinical", "combined", "all", "none"}


def test_the_optimism_of_the_chain_lowers_the_apparent_figures():
    design = design_of(*tables(n=100))
    fitted = fit_survival(design, options(), seed=1).model
    table = chain_optimism(design, options(), fitted, draws=8, seed=1)
    row = table.query("model == 'rad_score' and metric == 'harrell_c'").iloc[0]
    assert row["n"] == 8
    assert row["corrected"] == pytest.approx(row["apparent"] - row["optimism"])
    assert row["optimism"] > 0
    assert set(table["model"]) == {"rad_score", "clinical", "combined"}


def test_resamples_that_select_where_the_cohort_did_not_change_no_column():
    features, subjects = tables(n=60)
    rng = np.random.default_rng(8)
    columns = [c for c in features.columns if c != "subject"]
    features[columns] = rng.normal(size=features[columns].shape)
    asked = options(lasso=LassoOptions(n_folds=5, repeats=1, resamples=2))
    design = design_of(features, subjects)
    fitted = fit_survival(design, asked, seed=1).model
    assert "rad_score" not in fitted.models
    table = chain_optimism(design, asked, fitted, draws=12, seed=1)
    assert set(table["model"]) == {"clinical", "combined"}
    assert (table.query("metric == 'harrell_c'")["n"] > 8).all()


def test_a_small_centre_is_in_every_resample_of_a_harmonised_chain():
    features, subjects = tables(n=90)
    subjects["centre"] = np.where(
        np.arange(90) % 3 == 1, np.where(np.arange(90) < 12, "b", "a"), "a"
    )
    asked = options(harmonise="combat", lasso=LassoOptions(n_folds=3, repeats=1))
    design = design_of(features, subjects)
    fitted = fit_survival(design, asked, seed=1).model
    assert min(fitted.combat.counts) == 4
    table = chain_optimism(design, asked, fitted, draws=6, seed=1)
    assert (table.query("metric == 'harrell_c'")["n"] == 6).all()


def test_new_patients_need_no_outcome_and_score_as_before():
    features, subjects = tables()
    design = design_of(features, subjects)
    model = fit_survival(design, options(), seed=1).model
    sheet = subjects[["subject", "age_years", "stage"]]
    found = predict_new(model, features.iloc[:7], sheet, KINDS)
    known = predict(model, design).set_index("subject").loc[found["subject"]]
    np.testing.assert_allclose(found["lp_combined"], known["lp_combined"], rtol=1e-12)

"""A binary study: held-out scores, leakage, noise, tables against analytic answers."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from pipeline.errors import CohortError, ModelError
from pipeline.model.binary_evaluation import (
    auc_table,
    comparison_table,
    headline_table,
    importance_table,
    logistic_table,
    missing_table,
    optimism_table,
    roc_table,
    shap_table,
    skewed,
    splits,
    subject_counts,
)
from pipeline.model.binary_study import (
    MODELS,
    build_binary_design,
    common_rows,
    fit_binary,
    fit_terms_logistic,
    model_from_record,
)
from pipeline.model.binary_validation import (
    calibration_group_table,
    calibration_smooth_table,
    calibration_table,
    decision_tables,
)
from pipeline.model.boosting import BoostingOptions
from pipeline.model.roc import auc

QUICK = BoostingOptions(max_rounds=20)
KINDS = {"subtype": "categorical", "age_years": "continuous", "tumour_ml": "spline"}
REFERENCE = ("subtype", "age_years")


def simulated(count=240, seed=4, effect=1.0):
    rng = np.random.default_rng(seed)
    subtype = rng.choice(["a", "b", "c"], count, p=[0.5, 0.3, 0.2])
    age, size = rng.normal(50, 10, count).round(1), rng.lognormal(2.5, 1, count).round(3)
    odds = -1 + effect * (1.5 * (subtype == "b") + 2.0 * (subtype == "c") - 0.8 * np.log(size / 12))
    return pd.DataFrame(
        {
            "subject": [f"s{i:03d}" for i in range(count)],
            "split": np.where(np.arange(count) % 4 == 3, "test", "development"),
            "centre": "one",
            "response": (rng.random(count) < expit(odds)).astype(int),
            "subtype": subtype,
            "age_years": age,
            "tumour_ml": size,
        }
    )


def designed(sheet, **options):
    return build_binary_design(sheet, kinds=KINDS, reference=REFERENCE, **options)


@pytest.fixture(scope="module")
def cohort():
    sheet = simulated()
    sheet.loc[5, "age_years"] = np.nan
    sheet.loc[8, "tumour_ml"] = np.nan
    sheet.loc[7, "subtype"] = np.nan
    design = designed(sheet)
    return sheet, design, fit_binary(design, n_folds=4, seed=2, options=QUICK)


def as_text(fit):
    return json.dumps({name: model.to_record() for name, model in fit.models.items()})


def test_signal_is_found(cohort):
    table = auc_table(cohort[2].predictions).set_index(["split", "model"])["auc"]
    assert table["development", "logistic"] > table["development", "reference"] > 0.6
    assert table["test", "logistic"] > 0.7
    assert table["test", "xgboost"] > 0.65


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
    counts = subject_counts(design)
    assert [c[0] for c in counts.values()] == [180, 60]
    assert counts["development"][2] + counts["test"][2] == 237


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


def test_models_come_back_from_json(cohort):
    sheet, design, fit = cohort
    rows = sheet.set_index("subject")
    for name, model in fit.models.items():
        again = model_from_record(json.loads(json.dumps(model.to_record())))
        np.testing.assert_array_equal(
            again.probability(rows), model.probability(design.frame), err_msg=name
        )
    with pytest.raises(ModelError, match="kind 'svm'"):
        model_from_record({"kind": "svm", "schema": 1})
    broken = fit.models["xgboost"].to_record()
    del broken["levels"]
    with pytest.raises(ModelError, match="the boosted_terms model is incomplete"):
        model_from_record(broken)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response": 2}, r"column response, subject s000: 2 is neither 0 nor 1"),
        ({"split": "train"}, r"subject s000: split 'train' is neither of development, test"),
        ({"subject": "s001"}, "subject s001 stands twice"),
        ({"age_years": np.inf}, "column age_years, subject s000: inf is no finite number"),
    ],
)
def test_wrong_cells_are_named_all_at_once(change, message):
    sheet = simulated()
    for column, value in change.items():
        sheet.loc[0, column] = value
    sheet.loc[1, "split"] = "later"
    with pytest.raises(CohortError, match=message) as caught:
        designed(sheet)
    assert "split 'later'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": {"grade": "categorical"}}, "there is no column grade"),
        ({"kinds": {}}, "no covariate is named"),
        ({"reference": ("centre",)}, "centre is no covariate; choose among subtype"),
        ({"reference": ()}, "no covariate is named; choose among subtype"),
        ({"outcome": "age_years"}, "the outcome age_years is among the covariates"),
    ],
)
def test_wrong_names_are_named(options, message):
    with pytest.raises(ModelError, match=message):
        build_binary_design(simulated(), **{"kinds": KINDS, "reference": REFERENCE, **options})


def test_one_class_in_a_split_is_told():
    sheet = simulated()
    sheet.loc[sheet["split"] == "test", "response"] = 0
    with pytest.raises(ModelError, match="the test rows hold 0 cases of class 1 and 60 of class 0"):
        designed(sheet)


def test_subjects_without_an_outcome_are_told_not_used():
    sheet = simulated()
    sheet["response"] = sheet["response"].astype(float)
    sheet.loc[[2, 9], "response"] = np.nan
    design = designed(sheet)
    assert len(design.subjects) == 238
    assert missing_table(design)["reason"].tolist() == ["no response", "no response"]


# --- tables ---------------------------------------------------------------------------------


def two_by_two():
    """90 subjects: 30 of 45 with the marker respond, 15 of 45 without, so the odds ratio is 4."""
    level = np.repeat(["no", "yes"], 45)
    response = np.r_[np.arange(45) < 15, np.arange(45) < 30].astype(int)
    return pd.DataFrame(
        {"subject": [f"{i:02d}" for i in range(90)], "split": "development", "centre": "x",
         "response": response, "marker": level,
         "age_years": np.tile([40.0, 50.0, 60.0], 30)}
    )  # fmt: skip


def test_odds_ratio_of_a_two_by_two_table():
    kinds = {"marker": "categorical", "age_years": "continuous"}
    design = build_binary_design(two_by_two(), kinds=kinds, reference=("marker",))
    model = fit_terms_logistic(design, ("marker",), design.development)
    table = logistic_table(model, design.frame).set_index("level")
    woolf = np.sqrt(1 / 30 + 1 / 15 + 1 / 15 + 1 / 30)
    row = table.loc["yes"]
    assert row["odds_ratio"] == pytest.approx(4.0, rel=1e-9)
    assert row["se"] == pytest.approx(woolf, rel=1e-9)
    assert row["low95"] == pytest.approx(np.exp(np.log(4) - 1.959963985 * woolf), rel=1e-8)
    assert row["chi2"] == pytest.approx(row["z"] ** 2, rel=1e-9)
    assert row["p_variable"] == pytest.approx(row["p"], rel=1e-9)
    assert table.loc["no", "odds_ratio"] == 1.0
    assert np.isnan(table.loc["no", "p"])


def test_quartiles_of_a_number_are_compared(cohort):
    _, design, fit = cohort
    rows = design.frame[design.development & design.complete]
    model = fit.models["logistic"]
    table = logistic_table(model, rows)
    spline = table[(table["variable"] == "tumour_ml").to_numpy()]
    assert len(spline) == 1
    ends = np.quantile(rows["tumour_ml"], [0.25, 0.75])
    probe = rows.iloc[[0, 0]].assign(tumour_ml=ends)
    low, high = logit(model.probability(probe))
    assert spline["coefficient"].iloc[0] == pytest.approx(high - low, rel=1e-9)
    assert spline["df"].iloc[0] == 3
    age = table[(table["variable"] == "age_years").to_numpy()]
    assert age["level"].tolist()[0] == "per unit"
    assert age["z"].iloc[0] == pytest.approx(age["z"].iloc[1])


def test_optimism_is_that_of_a_bootstrap_by_hand(cohort):
    _, design, fit = cohort
    draws = 6
    table = optimism_table(design, fit, draws=draws, draws_trees=2, seed=9)
    rows = np.flatnonzero(design.development & design.complete)
    rng = np.random.default_rng(9)
    columns = pd.get_dummies(design.frame["subtype"]).to_numpy(float)[:, 1:]
    x = np.column_stack([columns, design.frame["age_years"] / 10 - 5])
    y = design.labels
    gaps = []
    for _ in range(draws):
        drawn = rng.choice(rows, rows.size)
        oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000).fit(x[drawn], y[drawn])
        inside, outside = (auc(y[r], oracle.decision_function(x[r])) for r in (drawn, rows))
        gaps.append(inside - outside)
    row = table.set_index(["model", "metric"]).loc[("reference", "auc")]
    assert row["optimism"] == pytest.approx(np.mean(gaps), abs=1e-4)
    assert row["corrected"] == pytest.approx(row["apparent"] - row["optimism"])
    assert row["draws"] == draws
    slopes = table[(table["metric"] == "slope").to_numpy()].set_index("model")["apparent"]
    # a maximum-likelihood model is calibrated on the rows that fitted it
    assert slopes["logistic"] == pytest.approx(1.0, abs=1e-6)


def test_pairs_are_compared_on_the_same_rows(cohort):
    table = comparison_table(cohort[2].predictions)
    aucs = auc_table(cohort[2].predictions).set_index(["split", "model"])["auc"]
    assert len(table) == 6
    for row in table.to_dict("records"):
        gap = aucs[row["split"], row["first"]] - aucs[row["split"], row["second"]]
        assert row["difference"] == pytest.approx(gap, abs=1e-12)
        assert (row["p"] < 0.05) == (row["low95"] > 0 or row["high95"] < 0)


def test_roc_points_enclose_the_auc(cohort):
    points = roc_table(cohort[2].predictions)
    aucs = auc_table(cohort[2].predictions).set_index(["split", "model"])["auc"]
    for key, rows in points.groupby(["split", "model"]):
        area = np.trapezoid(rows["true_positive_rate"], rows["false_positive_rate"])
        assert area == pytest.approx(aucs[key], abs=1e-12)


def test_shap_table_adds_up_to_the_score(cohort):
    _, design, fit = cohort
    table = shap_table(fit.models["xgboost"], design.frame)
    assert set(table["feature"]) == set(KINDS)
    total = table.groupby("subject")["contribution"].sum()
    score = fit.models["xgboost"].probability(design.frame)
    gap = logit(score) - total.loc[design.subjects].to_numpy()
    assert np.ptp(gap) < 1e-5
    lacking = table[(table["feature"] == "subtype") & table["value"].isna()]
    assert lacking["subject"].tolist() == ["s007"]
    ranked = importance_table(fit.models["xgboost"], design.frame, draws=50)
    assert ranked["mean_abs_shap"].is_monotonic_decreasing
    assert (ranked["low95"] < ranked["mean_abs_shap"]).all()


def test_shifted_probabilities_are_found_miscalibrated():
    rng = np.random.default_rng(3)
    odds = rng.normal(0, 1.2, 4000)
    labels = (rng.random(4000) < expit(odds)).astype(int)
    scores = {"reference": expit(odds), "logistic": expit(odds + 1), "xgboost": expit(2 * odds)}
    table = pd.DataFrame(
        {"subject": [f"{i:04d}" for i in range(4000)], "split": "development",
         "response": labels, **{f"score_{k}": v for k, v in scores.items()}}
    )  # fmt: skip
    found = calibration_table(table, draws=40, seed=1).set_index("model")
    assert found.loc["reference", "slope"] == pytest.approx(1.0, abs=0.1)
    assert found.loc["logistic", "in_the_large"] == pytest.approx(-1.0, abs=0.1)
    assert found.loc["xgboost", "slope"] == pytest.approx(0.5, abs=0.05)
    assert found.loc["reference", "ici"] < 0.02 < found.loc["logistic", "ici"]
    for name in ("slope", "intercept", "in_the_large", "brier", "ici", "e50", "e90"):
        assert (found[f"{name}_low95"] <= found[name]).all(), name
        assert (found[name] <= found[f"{name}_high95"]).all(), name
    assert found.loc["logistic", "slope_low95"] < 1 < found.loc["logistic", "slope_high95"]


def test_net_benefit_of_treating_all_is_known(cohort):
    rows = common_rows(cohort[2].predictions)
    share = rows.loc[rows["split"] == "test", "response"].mean()
    table = decision_tables(cohort[2].predictions, thresholds=[0.2, 0.4], draws=20)
    row = table[((table["split"] == "test") & (table["model"] == "all")).to_numpy()]
    expected = share - (1 - share) * np.array([0.25, 2 / 3])
    np.testing.assert_allclose(row["net_benefit"], expected, atol=1e-12)
    assert (table.loc[table["model"] == "none", "net_benefit"] == 0).all()


def headline(fit, design=None, thresholds=(0.2, 0.4)):
    rows = fit.predictions
    optimism = optimism_table(design, fit, draws=3, draws_trees=1) if design else None
    return headline_table(
        rows, auc_table(rows, optimism=optimism, draws=20), calibration_table(rows, draws=10),
        decision_tables(rows, draws=10), thresholds=thresholds, draws=20,
    )  # fmt: skip


def test_headline_has_a_row_per_model(cohort):
    _, design, fit = cohort
    table = headline(fit, design)
    assert table["model"].tolist() == list(MODELS)
    assert (table["evaluated_on"] == "test").all()
    assert table["n_development"].tolist() == [178, 178, 178]
    assert table["n_test"].tolist() == [59, 59, 59]
    assert np.isnan(table["p_vs_reference"].iloc[0])
    assert table["p_vs_reference"].iloc[1:].between(0, 1).all()
    for column in ("slope", "ici", "e50", "e90", "brier", "net_benefit_at_0.2",
                   "auc_corrected_development"):  # fmt: skip
        assert table[column].notna().all(), column
    with pytest.raises(ModelError, match=r"threshold 0.99 is not on the decision curve"):
        headline(fit, thresholds=(0.99,))


def test_without_test_rows_the_folds_judge():
    sheet = simulated(160).assign(split="development")
    design = designed(sheet)
    fit = fit_binary(design, n_folds=3, seed=1, options=QUICK)
    assert splits(fit.predictions) == ["development"]
    table = headline(fit, design)
    assert (table["evaluated_on"] == "cross-validation").all()
    assert (table["n_test"] == 0).all()
    np.testing.assert_array_equal(table["auc"], table["auc_cv_development"])
    assert (table["auc_apparent_development"] > table["auc_corrected_development"]).all()
    assert set(calibration_group_table(fit.predictions)["split"]) == {"development"}
    curves = calibration_smooth_table(fit.predictions)
    assert curves["observed"].between(0, 1).all()


def test_skew_decides_how_a_number_is_shown():
    rng = np.random.default_rng(1)
    assert skewed(rng.lognormal(0, 1, 200))
    assert not skewed(rng.normal(size=200))
    assert not skewed(np.array([1.0, np.nan, 1.0, 1.0]))

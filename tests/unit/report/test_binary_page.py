"""The page of a binary study from hand-made tables: what stands where, and what is left out."""

import re

import numpy as np
import pandas as pd
import pytest

from pipeline.report.binary_models import odds_rows
from pipeline.report.binary_page import binary_page
from pipeline.report.binary_patients import patient_table, study_flow
from pipeline.report.binary_reasons import covariate_kinds, swarm_rows
from pipeline.report.binary_results import BinaryResults
from pipeline.report.card import Card, Variable
from pipeline.report.page import render_page

NAN = float("nan")
MODELS = ("reference", "logistic", "xgboost")
CARD = Card(
    title="A study <of> tables",
    outcome_names=((1, "cure"), (0, "no cure")),
    models={"reference": "Small", "logistic": "Nomogram", "xgboost": "Trees"},
    patients=(Variable("age_years", "Age (years)", "continuous"),
              Variable("grade", "Grade", "categorical")),
    levels={"2": "high"},
    citation="Someone",
)  # fmt: skip


def limits(name, value):
    return {name: value, f"{name}_low95": value - 0.1, f"{name}_high95": value + 0.1}


def hand_made(test=True):
    split = ["development"] * 4 + ["test" if test else "development"] * 4
    subjects = pd.DataFrame(
        {
            "subject": [f"s{i}" for i in range(9)],
            "split": [*split, "development"],
            "response": [0, 1, 0, 1, 0, 1, 0, 1, NAN],
            "age_years": [40.0, 50, NAN, 60, 45, 55, 65, 70, 30],
            "grade": [1, 2, 1, 2, 1, 2, 1, 2, 1],
        }
    )
    predictions = subjects.drop(index=8).drop(columns=["age_years", "grade"])
    for at, model in enumerate(MODELS):
        predictions[f"score_{model}"] = np.linspace(0.2 + at / 20, 0.8, 8)
    predictions.loc[2, "score_logistic"] = NAN
    splits = ["development", "test"] if test else ["development"]
    pairs = [(s, m) for s in splits for m in MODELS]
    auc = pd.DataFrame(
        [
            {"split": s, "model": m, "n": 4, "responders": 2, "auc": 0.5 + 0.1 * at, "se": 0.1,
             "low95": 0.4, "high95": 0.9, "boot_low95": 0.4, "boot_high95": 0.9,
             "apparent": 0.8, "optimism": 0.05, "corrected": 0.75}
            for at, (s, m) in enumerate(pairs)
        ]
    )  # fmt: skip
    judged = splits[-1]
    headline = pd.DataFrame(
        [
            {"model": m, "evaluated_on": judged, "n_development": 3, "n_test": 4 * test,
             "responders_test": 2 * test, "responders_development": 2, "reference": "reference",
             "auc": 0.7, "auc_low95": 0.6, "auc_high95": 0.8,
             "p_vs_reference": NAN if m == "reference" else 0.0004,
             **limits("net_benefit_at_0.2", 0.1)}
            for m in MODELS
        ]
    )  # fmt: skip
    groups = [
        {"split": s, "model": m, "group": g, "n": 2, "events": 1, "predicted": g / 3,
         "observed": g / 3, "low95": 0.1, "high95": 0.9}
        for s, m in pairs if m != "reference" for g in (1, 2)
    ]  # fmt: skip
    measures = [
        {"split": s, "model": m, "n": 4, "events": 1, "ratio_observed_expected": 1.0, "emax": NAN,
         **{k: v for n in ("slope", "intercept", "in_the_large", "ici", "e50", "e90", "brier")
            for k, v in limits(n, NAN if m == "reference" else 0.2).items()}}
        for s, m in pairs
    ]  # fmt: skip
    odds = {"coefficient": 0.7, "se": 0.2, "odds_ratio": 2.0, "low95": 1.5, "high95": 3.0,
            "z": 3.5, "p": 0.001, "chi2": 12.0, "df": 1, "p_variable": 0.002}  # fmt: skip
    reference = odds | dict.fromkeys(("se", "low95", "high95", "z", "p"), NAN) | {"odds_ratio": 1.0}
    ramp = np.linspace(0, 1, 5)
    tables = {
        "predictions": predictions,
        "auc": auc,
        "headline": headline,
        "roc": pd.concat([
            pd.DataFrame({"split": s, "model": m, "false_positive_rate": ramp,
                          "true_positive_rate": ramp, "threshold": ramp}) for s, m in pairs
        ]),
        "comparison": pd.DataFrame([
            {"split": judged, "first": "logistic", "second": "reference", "metric": "auc",
             "difference": 0.1, "low95": 0.01, "high95": 0.2, "z": 2.0, "p": 0.04}
        ]),
        "calibration": pd.DataFrame(measures),
        "calibration_groups": pd.DataFrame(groups),
        "calibration_smooth": pd.DataFrame(columns=["split", "model", "predicted", "observed"]),
        "decision": pd.DataFrame([
            {"split": s, "model": m, "threshold": t, "net_benefit": 0.1, "low95": 0.0,
             "high95": 0.2} for s in splits for m in (*MODELS, "all", "none") for t in (0.1, 0.2)
        ]),
        "logistic": pd.DataFrame([
            {"variable": "grade", "level": "1", **reference},
            {"variable": "grade", "level": "2", **odds},
            {"variable": "age_years", "level": "per unit", **odds},
            {"variable": "age_years", "level": "60 vs 45", **odds},
        ]),
        "shap": pd.DataFrame({
            "subject": predictions["subject"].tolist() * 2,
            "feature": ["grade"] * 8 + ["age_years"] * 8,
            # as read back from a file: text, as some cells of the column are
            "value": [*"12121212", "40.0", "50.0", NAN, "60.0", "45.0", "55.0", "65.0", "70.0"],
            "contribution": [-0.5, 0.4] * 4 + list(np.linspace(-0.2, 0.2, 8)),
        }),
        "importance": pd.DataFrame({"feature": ["grade", "age_years"],
                                    "mean_abs_shap": [0.45, 0.1], "low95": [0.4, NAN],
                                    "high95": [0.5, NAN]}),
        "left_out": pd.DataFrame([
            {"subject": "s8", "split": "development", "reason": "no response",
             "left_out_of": "every model"},
            {"subject": "s2", "split": "development", "reason": "no age_years",
             "left_out_of": "logistic, comparisons"},
        ]),
        "table_one": pd.DataFrame([
            {"variable": "subjects", "level": "n", "all": "8", "cure": "4", "no cure": "4",
             "p": NAN, "p_test": NAN, "smd": NAN, "n": 8},
            {"variable": "age_years", "level": "mean (SD)", "all": "55 (10)", "cure": "59 (8)",
             "no cure": "50 (9)", "p": 0.2, "p_test": "t test", "smd": 0.9, "n": 7},
            {"variable": "age_years", "level": "missing", "all": "1 (12 %)", "cure": "0 (0 %)",
             "no cure": "1 (25 %)", "p": NAN, "p_test": NAN, "smd": NAN, "n": NAN},
            {"variable": "grade", "level": "1", "all": "4 (50 %)", "cure": "0 (0 %)",
             "no cure": "4 (100 %)", "p": 0.03, "p_test": "Fisher", "smd": NAN, "n": 8},
            {"variable": "grade", "level": "2", "all": "4 (50 %)", "cure": "4 (100 %)",
             "no cure": "0 (0 %)", "p": NAN, "p_test": NAN, "smd": NAN, "n": NAN},
        ]),
    }  # fmt: skip
    settings = {"covariates": "grade:categorical,age_years:continuous"}
    return BinaryResults("hand", CARD, subjects, tables, settings=settings)


def words_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_flow_adds_up_and_names_the_reasons():
    flow = study_flow(hand_made())
    assert (flow.total, flow.screened_out.count, flow.failed.count) == (9, 1, 1)
    assert flow.screened_out.reasons == (("no response", 1),)
    assert flow.failed.reasons == (("no age (years)", 1),)
    assert [(g.name, g.count, g.outcomes) for g in flow.analysed] == [
        ("development", 3, (("cure", 2), ("no cure", 1))),
        ("test", 4, (("cure", 2), ("no cure", 2))),
    ]


def test_page_has_every_part_and_the_readers_names():
    html = render_page(binary_page(hand_made()))
    words = words_of(html)
    for part in ("7 of 9", "A study &lt;of&gt; tables", "test AUC, Nomogram", "p &lt; 0.001",
                 "Who was analysed", "Coefficients of the nomogram", "Decision curves",
                 "Nomogram minus Small", "Trees", "t test", "How to cite"):  # fmt: skip
        assert part in words, part
    assert "age_years" not in words.replace("age_years:continuous", "")
    assert "nan" not in words.lower().split()


def test_without_test_rows_the_page_speaks_of_folds():
    words = words_of(render_page(binary_page(hand_made(test=False))))
    assert "cross-validated AUC, Nomogram" in words
    assert "held-out folds, as there are no test subjects" in words
    assert "scored once" not in words


def test_a_simulated_cohort_says_so():
    results = hand_made()
    marked = BinaryResults("hand", CARD, results.subjects, results.tables,
                           settings=results.settings, dataset={"simulated": True})  # fmt: skip
    assert "SIMULATED PATIENTS" in render_page(binary_page(marked))
    assert "SIMULATED" not in render_page(binary_page(results))


def test_rows_of_the_beeswarm():
    rows = swarm_rows(hand_made(), ["grade", "age_years"])
    assert [row.label for row in rows] == ["Grade", "high (n = 4)", "1 (n = 4)", "Age (years)"]
    assert rows[0].heading
    assert (rows[1].contributions == 0.4).all()
    assert np.isnan(rows[3].values).sum() == 1
    assert rows[3].values[0] == 40.0


def test_rows_of_the_odds_ratios():
    rows = odds_rows(hand_made())
    assert [(row.label, row.heading, row.note) for row in rows] == [
        ("Grade", True, ""),
        ("1", False, "reference"),
        ("high", False, ""),
        ("Age (years)", True, ""),
        ("60 vs 45 (quartiles)", False, ""),
    ]
    assert rows[0].p == pytest.approx(0.002)


def test_patient_table_keeps_counts_and_tests():
    results = hand_made()
    table = patient_table(results, results.tables["table_one"], "By outcome")
    assert list(table.rows[0])[:4] == ["Subjects, n", "8", "4", "4"]
    assert list(table.rows[1])[:2] == ["Age (years), mean (SD)", "55 (10)"]
    assert list(table.rows[1])[-3:] == ["0.20", "t test", "0.90"]
    assert table.rows[2][0] == "missing"
    assert table.rows[5][0] == "high"
    assert table.sub_rows == {2, 4, 5}


def test_kinds_come_from_the_settings():
    assert covariate_kinds({"covariates": "a:spline, b:categorical"}) == {
        "a": "spline",
        "b": "categorical",
    }
    assert covariate_kinds({}) == {}

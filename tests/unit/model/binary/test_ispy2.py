"""The study `ispy2` on its 680 real women: what is known of them must be found."""

import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.io import read_table, write_table
from pipeline.model.binary.design import build_binary_design, missing_table
from pipeline.model.binary.discrimination import auc_table, comparison_table
from pipeline.model.binary.fit import fit_binary
from pipeline.model.binary.importance import shap_table
from pipeline.model.binary.models import MODELS
from pipeline.model.binary.odds import logistic_table
from pipeline.model.binary.predictions import common_rows
from pipeline.model.roc import auc
from pipeline.studies.sheets import ispy2_sheets

pytestmark = pytest.mark.data

SEED = 20210322
STUDY = Path(__file__).parents[4] / "workflow/studies/ispy2.yaml"


@pytest.fixture(scope="module")
def study(medpipe_data, tmp_path_factory):
    with (medpipe_data / "ispy2/subjects.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    path = tmp_path_factory.mktemp("ispy2") / "subjects.tsv"
    write_table(path, pd.DataFrame([dict(row) for row in ispy2_sheets(rows).subjects]))
    settings = yaml.safe_load(STUDY.read_text(encoding="utf-8"))["studies"]["ispy2"]["binary"]
    design = build_binary_design(
        read_table(path),
        kinds=settings["covariates"],
        reference=settings["reference"],
        outcome=settings["outcome"],
    )
    start = time.perf_counter()
    fit = fit_binary(design, n_folds=settings["folds"], seed=SEED)
    return design, fit, time.perf_counter() - start


def test_who_is_analysed(study):
    design, fit, _ = study
    rows = common_rows(fit.predictions)
    assert len(fit.predictions) == 680
    assert rows["split"].value_counts().to_dict() == {"development": 548, "test": 128}
    assert rows.groupby("split")["response"].sum().to_dict() == {"development": 184, "test": 40}
    assert missing_table(design)["reason"].tolist() == ["no age_years"] * 2 + ["no tumour_ml"] * 2


def test_models_tell_something_and_nothing_incredible(study):
    # Receptor subtype is the known determinant; without images or drugs an AUC near 0.8 would
    # be a leak.
    table = auc_table(study[1].predictions, draws=50).set_index(["split", "model"])
    for key in [(s, m) for s in ("development", "test") for m in MODELS]:
        assert 0.58 < table.loc[key, "auc"] < 0.80, key
    assert (table["low95"] > 0.5).all()
    pairs = comparison_table(study[1].predictions).set_index(["split", "first", "second"])
    # tumour volume adds to subtype and age, in the folds that did not see the rows
    assert pairs.loc[("development", "logistic", "reference"), "p"] < 0.05


def test_response_by_subtype_is_that_of_the_trial(study):
    design, fit, _ = study
    frame = design.frame[design.development & design.complete]
    odds = logistic_table(fit.models["logistic"], frame).set_index("level")["odds_ratio"]
    assert odds["HR+/HER2-"] == 1.0  # the commonest, and the one that responds least
    assert odds["HR-/HER2+"] > odds["triple negative"] > 1
    assert odds["HR-/HER2+"] > odds["HR+/HER2+"] > 1


def test_shap_agrees_with_the_odds_ratios(study):
    design, fit, _ = study
    table = shap_table(fit.models["xgboost"], design.frame)
    means = table[table["feature"] == "subtype"].groupby("value")["contribution"].mean()
    assert means.idxmax() == "HR-/HER2+"
    assert means.idxmin() == "HR+/HER2-"
    volume = table[table["feature"] == "tumour_ml"].dropna(subset=["value"])
    size = volume["value"].to_numpy(dtype=float)
    small, large = (volume["contribution"][part].mean() for part in (size < 3, size > 60))
    assert small > 0 > large


def test_permuted_outcomes_give_chance(study):
    design, _, _ = study
    found = {name: [] for name in MODELS}
    for repeat in range(2):
        rng = np.random.default_rng(repeat)
        noise = replace(design, labels=rng.permutation(design.labels))
        rows = common_rows(fit_binary(noise, n_folds=5, seed=repeat).predictions)
        own = rows[rows["split"] == "development"]
        for name in MODELS:
            found[name].append(auc(own["response"], own[f"score_{name}"]))
    for name, values in found.items():
        assert np.mean(values) == pytest.approx(0.5, abs=0.05), name


def test_the_fit_takes_seconds(study):
    assert study[2] < 60

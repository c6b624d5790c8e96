"""`medpipe binary` on a small cohort: files, page, messages, and the same bytes again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from typer.testing import CliRunner

from cli.binary import app
from pipeline.errors import MedpipeError, ModelError, ReadError, SettingsError
from pipeline.io import read_table, write_table

COVARIATES = "subtype:categorical,age_years:continuous,tumour_ml:spline"
TABLES = ("auc", "calibration", "calibration_groups", "calibration_smooth", "comparison",
          "decision", "headline", "importance", "left_out", "logistic", "nomogram", "optimism",
          "predictions", "roc", "shap", "table_one", "table_one_split")  # fmt: skip


def cohort(count=120):
    rng = np.random.default_rng(8)
    subtype = rng.choice(["luminal", "basal"], count)
    size = rng.lognormal(2.5, 1, count).round(3)
    response = rng.random(count) < expit(1.5 * (subtype == "basal") - 0.7 * np.log(size / 12))
    frame = pd.DataFrame(
        {
            "subject": [f"{i:03d}" for i in range(count)],
            "split": np.where(np.arange(count) % 3 == 0, "test", "development"),
            "centre": "one",
            "response": response.astype(int),
            "subtype": subtype,
            "age_years": rng.normal(50, 10, count).round(1),
            "tumour_ml": size,
        }
    )
    frame.loc[4, "age_years"] = np.nan
    return frame


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, MedpipeError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def fit(folder: Path, out: Path, *options):
    return run(
        "fit", "--subjects", folder / "subjects.tsv", "--covariates", COVARIATES,
        "--reference", "subtype", "--folds", 3, "--bootstrap", 4, "--seed", 5, "--out", out,
        "--quiet", *options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("binary")
    write_table(folder / "subjects.tsv", cohort())
    fit(folder, folder / "results/demo/binary", "--out-table", folder / "results/demo_pcr.tsv")
    return folder


def test_every_table_is_written_with_its_origin(study):
    binary = study / "results/demo/binary"
    for name in (*TABLES, "models", "nomogram"):
        endings = {"models": (".json",), "nomogram": (".tsv", ".json", ".svg", ".png", ".html")}
        for ending in endings.get(name, (".tsv",)):
            assert (binary / f"{name}{ending}").stat().st_size > 0
            origin = json.loads((binary / f"{name}{ending}.prov.json").read_text())
            assert origin["seed"] == 5
            assert origin["settings"]["covariates"] == COVARIATES
    headline = read_table(study / "results/demo_pcr.tsv")
    assert headline["model"].tolist() == ["reference", "logistic", "xgboost"]
    assert headline["n_test"].tolist() == [40, 40, 40]
    predictions = read_table(binary / "predictions.tsv")
    assert predictions["subject"].tolist() == sorted(predictions["subject"])
    assert predictions.loc[predictions["subject"] == "004", "score_logistic"].isna().all()


def test_nomogram_reads_as_the_model_scores(study):
    # read the points of a subject off the table, add them, find the probability below the total
    binary = study / "results/demo/binary"
    ticks = read_table(binary / "nomogram.tsv")
    rows = read_table(binary / "predictions.tsv").merge(
        read_table(study / "subjects.tsv"), on=["subject", "split", "response"]
    )
    low = ticks[ticks["axis"] == "tumour_ml"]["value"].max()
    chosen = rows[(rows["split"] == "test") & (rows["tumour_ml"] < low)].head(5)
    axis = ticks[ticks["kind"] == "probability"].sort_values("total_points")
    for row in chosen.to_dict("records"):
        total = 0.0
        for name in ("age_years", "tumour_ml"):
            points = ticks[ticks["axis"] == name].sort_values("value")
            total += np.interp(row[name], points["value"], points["points"])
        level = ticks[(ticks["axis"] == "subtype") & (ticks["level"] == row["subtype"])]
        total += level["points"].iloc[0]
        odds = np.log(axis["probability"] / (1 - axis["probability"]))
        slope, start = np.polyfit(axis["total_points"], odds, 1)
        # the spline is read between ticks along a straight line, as a reader would
        assert expit(start + slope * total) == pytest.approx(row["score_logistic"], abs=0.03)


def test_same_inputs_same_bytes_in_any_order(study, tmp_path):
    write_table(tmp_path / "subjects.tsv", cohort().sample(frac=1, random_state=1))
    fit(tmp_path, tmp_path / "binary")
    for name in ("headline.tsv", "predictions.tsv", "models.json", "shap.tsv", "nomogram.svg"):
        again, first = tmp_path / "binary" / name, study / "results/demo/binary" / name
        assert again.read_bytes() == first.read_bytes(), name


def test_report_is_one_page_that_fetches_nothing(study):
    run("report", "--study-dir", study / "results/demo", "--subjects", study / "subjects.tsv",
        "--out-table", study / "results/copy.tsv")  # fmt: skip
    html = (study / "results/demo/report.html").read_text()
    assert 'href="binary/nomogram.html"' in html
    assert not [
        part for part in ("<script", "http://", "https://") if part in html.split("<body")[0]
    ]
    for words in ("Who was analysed", "119 of 120", "Why the trees decide", "Decision curves"):
        assert words in html
    copy, headline = study / "results/copy.tsv", study / "results/demo/binary/headline.tsv"
    assert copy.read_bytes() == headline.read_bytes()


def test_predict_gives_the_scores_of_the_test_rows(study, tmp_path):
    binary = study / "results/demo/binary"
    new = cohort().query("split == 'test'").drop(columns=["split", "centre", "response"])
    write_table(tmp_path / "new.tsv", new)
    run("predict", "--models", binary / "models.json", "--subjects", tmp_path / "new.tsv")
    scores = read_table(tmp_path / "new_scores.tsv")
    known = read_table(binary / "predictions.tsv").query("split == 'test'")
    for model in ("reference", "logistic", "xgboost"):
        np.testing.assert_array_equal(scores[f"score_{model}"], known[f"score_{model}"])


def test_wrong_flags_are_told(study, tmp_path):
    sheet = ("--subjects", study / "subjects.tsv", "--reference", "subtype", "--quiet")
    for text in ("age_years", "age_years:number", "a:spline,a:spline", ""):
        with pytest.raises(SettingsError, match="give column:kind once per column"):
            run("fit", *sheet, "--covariates", text, "--out", tmp_path)
    with pytest.raises(ModelError, match="there is no column grade"):
        run("fit", *sheet, "--covariates", "grade:categorical", "--out", tmp_path)
    with pytest.raises(ReadError, match=r"no headline\.tsv there; run `medpipe binary fit"):
        run("report", "--study-dir", tmp_path, "--subjects", study / "subjects.tsv")
    with pytest.raises(ReadError, match="no models of a binary study"):
        run("predict", "--models", study / "results/demo/binary/nomogram.json", "--subjects",
            study / "subjects.tsv")  # fmt: skip
    assert not list(tmp_path.iterdir())

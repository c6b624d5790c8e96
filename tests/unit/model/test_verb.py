"""`medpipe model` on small tables: files, messages, and the same bytes again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.model import app
from pipeline.errors import MedpipeError, ModelError, SettingsError
from pipeline.io import read_table, write_table
from pipeline.model.design import FEATURE_SETS

QUICK = ["--c-log2", "-5,10,5", "--gamma-log2=-12,3,5", "--max-features", "4", "--folds", "5"]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    names = [f"{i:03d}" for i in range(40)]
    response = np.arange(40) % 2
    features = pd.DataFrame({"subject": names, "followup_roi_empty": 0})
    for feature_set in FEATURE_SETS:
        for i in range(3):
            features[f"{feature_set}.f{i}"] = rng.normal(size=40) + response * (i == 0)
    features.loc[[3, 30], "followup.f0"] = np.nan
    subjects = pd.DataFrame(
        {
            "subject": names,
            "split": ["development"] * 24 + ["test"] * 16,
            "centre": "one",
            "response": response,
            "subtype": rng.choice(["luminal_a", "luminal_b", "her2", "basal"], 40),
        }
    )
    write_table(tmp_path / "features.tsv", features)
    write_table(tmp_path / "subjects.tsv", subjects)
    return tmp_path


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, MedpipeError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def _fit(folder: Path, name: str, *options: str) -> Path:
    out = folder / "model" / name
    _run("fit", "--features", folder / "features.tsv", "--subjects", folder / "subjects.tsv",
         "--out", out, "--quiet", *QUICK, *options)  # fmt: skip
    return out


def test_fit_compare_and_predict(tables):
    _fit(tables, "followup", "--feature-set", "followup")
    fusion = _fit(tables, "fusion_subtype", "--feature-set", "fusion", "--with-subtype")
    _fit(tables, "trees", "--feature-set", "followup", "--classifier", "xgboost")
    predictions = read_table(fusion / "predictions.tsv")
    assert predictions.columns.tolist() == [
        "subject", "split", "fold", "response", "score", "imputed",
    ]  # fmt: skip
    assert predictions.subject.tolist() == [f"{i:03d}" for i in range(40)]
    folds = [
        read_table(tables / "model" / name / "predictions.tsv").fold
        for name in ("followup", "fusion_subtype", "trees")
    ]
    assert folds[0].equals(folds[1])
    assert folds[0].equals(folds[2])
    selection = read_table(fusion / "selection.tsv")
    assert selection["rank"].tolist() == list(range(1, 13))
    record = json.loads((fusion / "model.json").read_text())
    assert record["features"] == selection.feature[selection.selected == 1].tolist()
    assert json.loads((fusion / "model.json.prov.json").read_text())["block"] == "model"

    paths = [tables / "model" / m / "predictions.tsv" for m in ("followup", "trees")]
    last = fusion / "predictions.tsv"
    _run("compare", "--predictions", paths[0], paths[1], last, "--bootstrap", 200,
         "--out", tables / "auc.tsv")  # fmt: skip
    auc = read_table(tables / "auc.tsv")
    assert auc.model.tolist() == ["followup", "trees", "fusion_subtype"]
    assert auc.p_vs_reference.notna().tolist() == [True, True, False]
    _run("compare", *paths, last, "--bootstrap", 200, "--out", tables / "again.tsv")
    assert (tables / "again.tsv").read_bytes() == (tables / "auc.tsv").read_bytes()

    _run("predict", "--model", fusion / "model.json", "--features", tables / "features.tsv",
         "--subjects", tables / "subjects.tsv")  # fmt: skip
    scores = read_table(tables / "features_scores.tsv")
    assert scores.score[24:].tolist() == predictions.score[24:].tolist()


def test_shuffled_tables_give_the_same_bytes(tables):
    first = _fit(tables, "one")
    for name in ("features.tsv", "subjects.tsv"):
        frame = read_table(tables / name)
        write_table(tables / name, frame.sample(frac=1, random_state=4))
    second = _fit(tables, "two")
    for name in ("predictions.tsv", "model.json", "selection.tsv", "cv.tsv"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_mistakes_name_the_file(tables):
    with pytest.raises(ModelError, match=r"features\.tsv: no column starts with 'pet\.'"):
        _fit(tables, "x", "--feature-set", "pet")
    with pytest.raises(ModelError, match=r"subjects\.tsv: column survival is missing"):
        _fit(tables, "x", "--outcome", "survival")
    with pytest.raises(SettingsError, match="--c-log2 = '1,2': three numbers"):
        _fit(tables, "x", "--c-log2", "1,2")
    with pytest.raises(ModelError, match="no predictions are named"):
        _run("compare")


def test_unstable_features_are_left_out(tables):
    names = [f"f{i}" for i in range(3)]
    verdicts = pd.DataFrame({"feature": names, "verdict": ["unstable", "high", "stable"]})
    write_table(tables / "stability.tsv", verdicts)
    for name, *options in (["followup"], ["trees", "--classifier", "xgboost"]):
        out = _fit(tables, name, "--feature-set", "followup", *options,
                   "--stability", str(tables / "stability.tsv"))  # fmt: skip
        record = json.loads((out / "model.json").read_text())
        assert record["training"]["stability"] == {"by": "table", "stable": 2, "of": 3}
        origin = json.loads((out / "model.json.prov.json").read_text())
        assert origin["settings"]["stability_threshold"] == 0.75
        assert "stability.tsv" in json.dumps(origin["inputs"])
    ranked = read_table(tables / "model/followup/selection.tsv")
    assert "followup.f0" not in set(ranked.loc[ranked["selected"] == 1, "feature"])

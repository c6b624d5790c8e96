"""`medpipe harmonise` on small tables: development rows alone decide."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.harmonise import app
from pipeline.errors import CohortError, MedpipeError, ModelError, SettingsError
from pipeline.io import read_table, write_table
from pipeline.model.harmonise import apply_combat, fit_combat


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    n = 40
    names = [f"{i:03d}" for i in range(n)]
    centre = np.where(np.arange(n) % 2 == 0, "east", "west")
    features = pd.DataFrame({"subject": names, "roi_empty": 0})
    for i in range(5):
        features[f"baseline.f{i}"] = rng.normal(size=n) + 2 * (centre == "east")
    subjects = pd.DataFrame(
        {
            "subject": names,
            "split": ["development"] * 28 + ["test"] * 12,
            "centre": np.where(np.arange(n) >= 36, "north", centre),
            "age_years": rng.normal(60, 9, n),
            "stage": rng.integers(1, 4, n),
        }
    )
    write_table(tmp_path / "t.tsv", features)
    write_table(tmp_path / "s.tsv", subjects)
    return tmp_path


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, MedpipeError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def _fit(folder: Path, *options: str) -> Path:
    _run("fit", "--features", folder / "t.tsv", "--subjects", folder / "s.tsv", "--quiet",
         "--feature-set", "baseline", "--out", folder / "combat.json", *options)  # fmt: skip
    return folder / "combat.json"


def _apply(folder: Path, *options: str) -> pd.DataFrame:
    _run("apply", "--combat", folder / "combat.json", "--features", folder / "t.tsv",
         "--subjects", folder / "s.tsv", "--out", folder / "out.tsv", *options)  # fmt: skip
    return read_table(folder / "out.tsv")


def test_fit_and_apply(tables):
    record = json.loads(_fit(tables, "--covariates", "age_years,stage:categorical").read_text())
    assert record["centres"] == ["east", "west"]
    assert record["counts"] == [14, 14]
    assert record["covariates"] == ["age_years", "stage=2", "stage=3"]
    out = _apply(tables, "--unseen", "keep")
    features, sheet = read_table(tables / "t.tsv"), read_table(tables / "s.tsv")
    assert out.columns.tolist() == features.columns.tolist()
    values = features.filter(like="baseline.").to_numpy()
    matrix = np.column_stack([sheet.age_years, sheet.stage == 2, sheet.stage == 3]).astype(float)
    fit = fit_combat(values[:28], sheet.centre[:28].tolist(), matrix[:28])
    expected = apply_combat(fit, values, sheet.centre.tolist(), matrix, unseen="keep")
    assert np.array_equal(out.filter(like="baseline.").to_numpy(), expected)
    assert np.array_equal(out.filter(like="baseline.").to_numpy()[36:], values[36:])
    provenance = json.loads((tables / "combat.json.prov.json").read_text())
    assert provenance["settings"]["covariates"]["age_years"] == "continuous"


def test_test_rows_and_row_order_change_no_byte_of_the_fit(tables):
    first = _fit(tables, "--covariates", "age_years").read_bytes()
    features, sheet = read_table(tables / "t.tsv"), read_table(tables / "s.tsv")
    features.loc[28:, "baseline.f1"] = 1e9
    sheet.loc[28:, "age_years"] = np.nan
    sheet.loc[30, "centre"] = "elsewhere"
    write_table(tables / "t.tsv", features.sample(frac=1, random_state=1))
    write_table(tables / "s.tsv", sheet.sample(frac=1, random_state=2))
    assert _fit(tables, "--covariates", "age_years").read_bytes() == first


def test_a_sheet_of_new_subjects_needs_no_split(tables):
    _fit(tables)
    before = _apply(tables, "--unseen", "pooled")
    sheet = read_table(tables / "s.tsv").drop(columns="split")
    write_table(tables / "s.tsv", sheet)
    assert _apply(tables, "--unseen", "pooled").equals(before)


def test_mistakes_name_the_table_and_the_subject(tables):
    _fit(tables, "--covariates", "stage")
    with pytest.raises(ModelError, match="subject 036: centre north has no development rows"):
        _apply(tables)
    features, sheet = read_table(tables / "t.tsv"), read_table(tables / "s.tsv")
    sheet.loc[39, "stage"] = 4
    write_table(tables / "s.tsv", sheet)
    with pytest.raises(ModelError, match=r"s\.tsv: column stage, subject 039"):
        _apply(tables, "--unseen", "keep")
    write_table(tables / "s.tsv", sheet.assign(split="train"))
    with pytest.raises(CohortError, match=r"40 problems(.|\n)*s\.tsv: column split, subject 000"):
        _fit(tables)
    write_table(tables / "s.tsv", sheet.assign(centre="one"))
    with pytest.raises(ModelError, match=r"two centres or more .*; they hold only one"):
        _fit(tables)
    write_table(tables / "s.tsv", sheet.assign(centre=[np.nan, *sheet.centre[1:]]))
    with pytest.raises(CohortError, match=r"s\.tsv: column centre, subject 000: empty"):
        _fit(tables)
    write_table(tables / "s.tsv", sheet[1:])
    with pytest.raises(CohortError, match=r"t\.tsv: column subject: 000 is not in .*s\.tsv"):
        _fit(tables)
    write_table(tables / "s.tsv", sheet)
    write_table(tables / "t.tsv", features.drop(columns=features.columns[2:]))
    with pytest.raises(ModelError, match=r"t\.tsv: no column with 'baseline\.'"):
        _fit(tables)
    with pytest.raises(ModelError, match=r"t\.tsv: column baseline\.f0 is missing and 4 more"):
        _apply(tables, "--unseen", "keep")
    with pytest.raises(SettingsError, match="--covariates stage:ordinal: kind 'ordinal'"):
        _fit(tables, "--covariates", "stage:ordinal")
    (tables / "combat.json").write_text(json.dumps({"kind": "combat", "schema": 1}))
    with pytest.raises(ModelError, match="the combat record is incomplete"):
        _apply(tables)


def test_a_sheet_without_development_rows_and_a_record_of_another_kind_are_told(tables):
    _fit(tables)
    (tables / "combat.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"combat\.json: no ComBat record; make one with"):
        _apply(tables)
    sheet = read_table(tables / "s.tsv")
    write_table(tables / "s.tsv", sheet.assign(split="test"))
    with pytest.raises(ModelError, match=r"s\.tsv: column split names no row development"):
        _fit(tables, "--covariates", "age_years")

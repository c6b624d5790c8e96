"""`medpipe nomogram` on the golden rows: files, numbers, messages, the same bytes again."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from cli.nomogram import nomogram
from pipeline.errors import CohortError, MedpipeError, ModelError, SettingsError
from pipeline.io import read_json, read_table, write_table
from pipeline.model.nomogram import Nomogram

GOLDEN = Path(__file__).parents[2] / "golden"
FILES = {"nomogram.tsv", "nomogram.json", "nomogram.svg", "nomogram.png", "nomogram.html",
         "model.json", "coefficients.tsv"}  # fmt: skip

app = typer.Typer()
app.command()(nomogram)


@pytest.fixture
def rows(tmp_path):
    frame = read_table(GOLDEN / "nomogram_rows.tsv")
    write_table(tmp_path / "subjects.tsv", frame)
    return frame


def _run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, MedpipeError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_cox_nomogram_has_the_numbers_of_rms(rows, tmp_path):
    out = tmp_path / "out"
    _run(tmp_path / "subjects.tsv", "--terms",
         "age:continuous,marker:spline,haemoglobin:continuous,nodes:continuous,stage:categorical",
         "--horizons", "36,60", "--name", "disease-free survival", "--label", "age=Age",
         "--unit", "age=years", "--out", out, "--quiet")  # fmt: skip
    assert {p.name for p in out.iterdir() if not p.name.endswith(".prov.json")} == FILES
    golden = json.loads((GOLDEN / "nomogram_cox.json").read_text(encoding="utf-8"))["full"]
    table = read_table(out / "nomogram.tsv")
    stage = table[table["axis"] == "stage"]
    assert stage["level"].tolist() == golden["axes"]["stage"]["values"]
    assert stage["points"].to_numpy() == pytest.approx(golden["axes"]["stage"]["points"], abs=1e-6)
    scale = table[table["axis"] == "survival_60m"]
    assert scale["total_points"].to_numpy() == pytest.approx(
        golden["axes"]["S60"]["total_points"], abs=1e-6
    )
    again = Nomogram.from_record(read_json(out / "nomogram.json"))
    assert again.model.n == 150
    fitted = read_table(out / "coefficients.tsv")
    assert fitted["coefficient"].to_numpy() == pytest.approx(golden["coefficients"], abs=1e-6)
    assert fitted["hazard_ratio"].to_numpy() == pytest.approx(np.exp(golden["coefficients"]))
    assert fitted["level"].tolist()[-3:] == ["II", "III", "IV"]
    assert (out / "nomogram.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "Age (years)" in (out / "nomogram.html").read_text(encoding="utf-8")


def test_only_complete_development_rows_are_fitted(rows, tmp_path):
    terms = ["--terms", "age:continuous,stage:categorical", "--outcome", "response", "--quiet"]
    _run(tmp_path / "subjects.tsv", *terms, "--out", tmp_path / "all")
    more = rows.head(40).assign(subject=[f"t{i}" for i in range(40)], split="test", age=999)
    holes = rows.head(2).assign(subject=["u0", "u1"], split="development", age=[None, 50.0],
                                response=[1.0, None])  # fmt: skip
    mixed = pd.concat([rows.assign(split="development"), more, holes]).sample(
        frac=1, random_state=3
    )
    write_table(tmp_path / "subjects.tsv", mixed)
    _run(tmp_path / "subjects.tsv", *terms, "--out", tmp_path / "mixed")
    for name in FILES:
        one, other = ((tmp_path / folder / name).read_bytes() for folder in ("all", "mixed"))
        assert one == other, name
    assert read_json(tmp_path / "mixed" / "model.json")["n"] == 150


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--terms", "age:linear"], "give name:kind"),
        (["--terms", "age:continuous,age:spline"], "age is there twice"),
        (["--terms", "weight:continuous"], "no column weight"),
        (["--terms", "age:continuous", "--horizons", "36,900"], "longest follow-up"),
        (["--terms", "age:continuous", "--outcome", "stage"], "column stage, subject s001"),
        (["--terms", "age:continuous", "--outcome", "nodes"], "neither 0 nor 1"),
        (["--terms", "stage:categorical", "--reference", "stage"], "give name=text"),
        (["--terms", "stage:categorical", "--reference", "stage=V"], "level 'V' does not occur"),
        (["--terms", "age:continuous", "--range", "age=9"], "two increasing numbers"),
    ],
)
def test_wrong_requests_are_explained(rows, tmp_path, options, message):
    with pytest.raises((ModelError, SettingsError), match=message):
        _run(tmp_path / "subjects.tsv", *options, "--out", tmp_path / "out", "--quiet")
    assert not (tmp_path / "out").exists()


def test_a_subject_twice_is_named(rows, tmp_path):
    write_table(tmp_path / "subjects.tsv", pd.concat([rows, rows.head(1)]))
    with pytest.raises(CohortError, match="subject s001 is there twice"):
        _run(tmp_path / "subjects.tsv", "--terms", "age:continuous", "--quiet")


def test_negative_times_are_named(rows, tmp_path):
    rows.loc[3, "time_months"] = -2
    write_table(tmp_path / "subjects.tsv", rows)
    with pytest.raises(CohortError, match="time_months, subject s004: -2 is no time"):
        _run(tmp_path / "subjects.tsv", "--terms", "age:continuous", "--quiet")


def test_left_out_subjects_are_counted_in_the_log(rows, tmp_path, caplog):
    write_table(tmp_path / "subjects.tsv", rows.assign(age=rows["age"].where(rows.index > 6)))
    with caplog.at_level(logging.INFO):
        _run(tmp_path / "subjects.tsv", "--terms", "age:continuous", "--out", tmp_path / "o")
    assert "143 of 150 development subjects are complete" in caplog.text

"""`medpipe cohort` on a small results folder."""

import logging

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.io import read_table, write_table
from pipeline.layout import cohort_file, feature_table
from pipeline.radiomics.dictionary import COLUMNS

TABLES = (("baseline", "dce"), ("followup", "dce"), ("followup", "jacobian"))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Results of three subjects; 009 has a follow-up too small, 2 no Jacobian."""
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    root = tmp_path / "results" / "nact"
    rng = np.random.default_rng(0)
    for subject in ("2", "007", "009"):
        for session, name in TABLES:
            if (subject, name) == ("2", "jacobian"):
                continue
            small = subject == "009" and session == "followup" and name == "dce"
            values = rng.uniform(1.0, 2.0, len(COLUMNS))
            if small:
                values[20:] = np.nan
            status = "too_small" if small else "ok"
            ids = {"subject": subject, "status": status, "reason": "few voxels" if small else ""}
            row = ids | dict(zip(COLUMNS, values, strict=True))
            write_table(feature_table(root, subject, session, name), pd.DataFrame([row]))
    included = pd.DataFrame({"subject": ["2", "009", "007"], "split": "test", "centre": "A"})
    write_table(cohort_file(root, "included.tsv"), included)
    return root


def run(root, *arguments):
    return CliRunner().invoke(app, ["cohort", str(root), *arguments], catch_exceptions=False)


def test_from_the_folder_to_three_tables(study):
    done = run(study)
    assert done.exit_code == 0
    assert done.stdout.startswith("2 subjects, 1 left out")
    features = read_table(study / "cohort/features.tsv")
    assert list(features["subject"]) == ["007", "009"]
    assert list(features["followup_roi_empty"]) == [0, 1]
    assert features.shape[1] == 410
    first = f"baseline.{COLUMNS[0]}", f"followup.{COLUMNS[0]}", f"deltarad.{COLUMNS[0]}"
    b, f, d = (features.loc[0, c] for c in first)
    assert d == (b - f) / b
    failures = read_table(study / "cohort/failures.tsv")
    assert failures["subject"].tolist() == ["2"]
    assert failures["stage"].tolist() == ["jacobian"]
    dictionary = read_table(study / "cohort/dictionary.tsv")
    assert dictionary["column"].tolist() == list(features.columns[2:])
    assert (study / "cohort/features.tsv.prov.json").is_file()


def test_the_order_of_the_sheet_changes_no_byte(study):
    names = ("features.tsv", "failures.tsv", "dictionary.tsv")
    run(study)
    before = [(study / "cohort" / n).read_bytes() for n in names]
    included = read_table(study / "cohort/included.tsv")
    write_table(study / "cohort/included.tsv", included.iloc[::-1])
    run(study)
    assert [(study / "cohort" / n).read_bytes() for n in names] == before


def test_other_sets_and_places(study, tmp_path):
    options = ["--set", "early=followup/dce", "--out", str(tmp_path / "x/f.tsv")]
    run(study, *options, "--set", "first=baseline/dce", "--delta", "change=first-early",
        "--may-vanish", "early")  # fmt: skip
    features = read_table(tmp_path / "x/f.tsv")
    assert list(features["subject"]) == ["007", "009", "2"]
    assert list(features.columns[:2]) == ["subject", "early_roi_empty"]
    assert features.shape[1] == 2 + 3 * 102
    assert (tmp_path / "x/failures.tsv").is_file()

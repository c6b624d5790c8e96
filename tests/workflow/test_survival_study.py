"""A survival study of a table through the graph: ends whole, twice the same, mistakes told."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.io import read_json, read_table, write_table

ROOT = Path(__file__).parents[2]
STUDIES = sorted(path.stem for path in (ROOT / "workflow/studies").glob("*.yaml"))
BIN = str(Path(sys.executable).parent)
TARGET = "results/nsclc_survival.tsv"


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--cores", "2", "--configfile", "config.yaml",
            "--workflow-profile", str(ROOT / "profiles/default"), *arguments,
        ],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "PATH": os.pathsep.join([BIN, os.environ["PATH"]])},
    )  # fmt: skip


def cohort(folder: Path, n: int = 120) -> None:
    """Write a table study whose hazard lies in two of fifteen features and in the N stage."""
    rng = np.random.default_rng(7)
    names = [f"{i:03d}" for i in range(1, n + 1)]
    values = rng.normal(size=(n, 15))
    stage = rng.integers(0, 4, size=n)
    hazard = 0.9 * values[:, 3] - 0.7 * values[:, 8] + 0.4 * stage
    times = 45 * rng.exponential(size=n) * np.exp(-hazard)
    ends = rng.uniform(12, 80, size=n)
    features = pd.DataFrame(
        100 + 9 * values, columns=[f"published.original_f{i}" for i in range(15)]
    )
    features.insert(0, "subject", names)
    subjects = pd.DataFrame(
        {
            "subject": names,
            "split": np.where(np.arange(n) < 80, "development", "test"),
            "centre": np.where(np.arange(n) < 80, "lung1", "lung2"),
            "time_months": np.round(np.minimum(times, ends), 2) + 0.01,
            "event": (times <= ends).astype(int),
            "age_years": rng.normal(65, 8, size=n),
            "t_stage": rng.integers(1, 5, size=n),
            "n_stage": stage,
        }
    )
    write_table(folder / "features.tsv", features)
    write_table(folder / "subjects.tsv", subjects)
    study = {
        "images": None,
        "subjects": "subjects.tsv",
        "features": "features.tsv",
        "survival": {"repeats": 1, "resamples": 5, "bootstrap": 40, "optimism": 4, "folds": 5},
    }
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"studies": {"nsclc": study}}), encoding="utf-8"
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survival")
    cohort(folder)
    done = snakemake(folder, "--", TARGET)
    logs = "\n".join(p.read_text("utf-8") for p in folder.glob("logs/**/*.log"))
    assert done.returncode == 0, done.stderr + logs
    return folder


def test_the_headline_has_the_three_models_and_finds_what_was_put_in(finished):
    table = read_table(finished / TARGET).set_index("model")
    assert set(table.index) == {"rad_score", "clinical", "combined"}
    assert (table["n_development"] == 80).all()
    assert (table["n_test"] == 40).all()
    assert table.loc["combined", "harrell_c_test"] > 0.65
    score = read_json(finished / "results/nsclc/survival/published/rad_score.json")
    chosen = {row["name"] for row in score["features"]}
    assert {"published.original_f3", "published.original_f8"} <= chosen


def test_every_result_of_the_arm_has_its_origin(finished):
    folder = finished / "results/nsclc/survival/published"
    made = {p.name for p in folder.iterdir() if not p.name.endswith(".prov.json")}
    assert {
        "model.json", "rad_score.json", "path.tsv", "selection.tsv", "km.tsv", "cox.tsv",
        "discrimination.tsv", "calibration_groups.tsv", "decision.tsv", "table_one.tsv",
        "optimism.tsv", "nomogram.tsv", "nomogram.json", "nomogram.svg", "nomogram.png",
        "nomogram.html", "report.html",
    } <= made  # fmt: skip
    assert [name for name in made if not (folder / f"{name}.prov.json").exists()] == []


def test_the_page_shows_every_section_and_needs_no_other_file(finished):
    page = (finished / "results/nsclc/survival/published/report.html").read_text("utf-8")
    for title in ("Rad-score", "Survival by risk group", "Nomogram", "Are the predicted"):
        assert title in page
    assert not re.search(r'(?:src|href)="https?:', page)


def test_a_second_run_executes_nothing(finished):
    done = snakemake(finished, "--", TARGET)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_second_folder_gives_the_same_bytes(finished, tmp_path):
    cohort(tmp_path)
    sheet = read_table(tmp_path / "subjects.tsv")
    write_table(tmp_path / "subjects.tsv", sheet.iloc[::-1])
    assert snakemake(tmp_path, "--", TARGET).returncode == 0
    for name in ("model.json", "predictions.tsv", "discrimination.tsv", "decision.tsv"):
        relative = Path("results/nsclc/survival/published") / name
        assert (tmp_path / relative).read_bytes() == (finished / relative).read_bytes(), name
    assert (tmp_path / TARGET).read_bytes() == (finished / TARGET).read_bytes()


def test_wrong_times_and_events_stop_the_parse_with_their_rows(tmp_path):
    cohort(tmp_path)
    sheet = read_table(tmp_path / "subjects.tsv").astype({"time_months": object, "event": object})
    sheet.loc[0, "time_months"] = -4.0
    sheet.loc[5, "event"] = 2
    write_table(tmp_path / "subjects.tsv", sheet)
    done = snakemake(tmp_path, "-n", "--", TARGET)
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "subjects.tsv:2: time_months '-4.0' is no time above 0" in told
    assert "subjects.tsv:7: event '2' is not 0 or 1" in told


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_a_card_and_a_rule_that_makes_its_target(study):
    settings = yaml.safe_load((ROOT / f"workflow/studies/{study}.yaml").read_text("utf-8"))
    target = settings["studies"][study]["target"]
    assert (ROOT / f"workflow/studies/{study}.md").is_file()
    rules = (ROOT / f"workflow/rules/studies/{study}.smk").read_text("utf-8")
    assert f'"{target}"' in rules
    assert f"rules/studies/{study}.smk" in (ROOT / "Snakefile").read_text("utf-8")


@pytest.mark.data
@pytest.mark.slow
def test_the_real_table_study_takes_less_than_two_minutes(tmp_path, medpipe_data):
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "sheets", "nsclc", str(medpipe_data / "nsclc"),
         "--out", str(tmp_path / "demo/nsclc")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (tmp_path / "config.yaml").write_text("device: cpu\n", encoding="utf-8")
    start = time.perf_counter()
    done = snakemake(tmp_path, "--", TARGET)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 120
    table = read_table(tmp_path / TARGET).set_index("model")
    assert table.loc["rad_score", "n_development"] > table.loc["rad_score", "n_test"] > 20

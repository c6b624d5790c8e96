"""The main study for real, on a small simulated cohort."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

MODELS = ["baseline", "followup", "deltarad", "jacobian", "fusion", "fusion_subtype"]


def finish(process: subprocess.Popen[str], folder: Path) -> str:
    process.wait(timeout=1500)
    output = (folder / "snakemake.log").read_text("utf-8")
    assert process.returncode == 0, output[-8000:]
    return output


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_cohort, configure, start) -> Path:
    """One complete run on two cores."""
    folder = tmp_path_factory.mktemp("run")
    configure(folder, small_cohort)
    finish(start(folder), folder)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    lines = path.read_text("utf-8").splitlines()
    header = lines[0].split("\t")
    return [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]


def test_the_table_has_the_six_models_of_the_card(finished):
    table = rows(finished / "results/nact_auc.tsv")
    assert [row["model"] for row in table] == MODELS
    for row in table:
        assert 0 <= float(row["auc_low95"]) <= float(row["auc"]) <= float(row["auc_high95"]) <= 1
        assert row["threshold_development"] != ""
    assert table[-1]["p_vs_reference"] == ""


def test_broken_subjects_leave_with_their_reason_and_the_study_ends(finished, small_cohort):
    faults = {row["subject"]: row["reason_class"] for row in rows(small_cohort / "faults.tsv")}
    excluded = rows(finished / "results/nact/cohort/exclusions.tsv")
    assert {row["subject"]: row["reason_class"] for row in excluded} == faults
    assert all(row["reason"] for row in excluded)
    page = (finished / "results/nact/report.html").read_text("utf-8")
    assert all(row["reason_class"] in page for row in excluded)


def test_a_second_run_executes_nothing_and_touches_nothing(finished, start):
    before = {p: p.stat().st_mtime_ns for p in (finished / "results").rglob("*")}
    assert "Nothing to be done" in finish(start(finished), finished)
    assert {p: p.stat().st_mtime_ns for p in (finished / "results").rglob("*")} == before


def test_every_result_has_its_origin(finished):
    results = [
        p
        for p in (finished / "results/nact").rglob("*")
        if p.name.endswith((".nii.gz", ".tsv", ".tfm"))
    ]
    assert len(results) > 100
    assert [p for p in results if not p.with_name(p.name + ".prov.json").exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("cores", [1, 8])
def test_any_core_count_and_a_shuffled_sheet_give_the_same_bytes(
    tmp_path, finished, small_cohort, configure, start, digests, cores
):
    shuffled = tmp_path / "shuffled"
    shutil.copytree(small_cohort, shuffled)
    for name in ("images.tsv", "subjects.tsv"):
        header, *lines = (shuffled / name).read_text("utf-8").splitlines()
        random.Random(cores).shuffle(lines)
        (shuffled / name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    configure(tmp_path / "run", shuffled)
    finish(start(tmp_path / "run", cores), tmp_path / "run")
    ours, theirs = digests(finished), digests(tmp_path / "run")
    # settings.json names the folder of the sheets, which differs here, and the report quotes it.
    for found in (ours, theirs):
        for name in ("nact/settings.json", "nact/report.html"):
            found.pop(name)
    assert ours == theirs


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path, finished, small_cohort, configure, start, digests
):
    configure(tmp_path, small_cohort)
    chance = random.Random(7)
    for _ in range(10):
        process = start(tmp_path)
        time.sleep(chance.uniform(1, 25))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    finish(start(tmp_path), tmp_path)
    assert digests(tmp_path) == digests(finished)
    assert not list((tmp_path / "results").rglob("*.tmp"))

"""The graph: dry runs on empty files, and what stops at parse time."""

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--cores", "1",
            "--workflow-profile", str(ROOT / "profiles/default"), *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip


def skeleton(folder: Path, n_subjects: int, *, screened: bool, phases: int = 3) -> Path:
    """Write sheets over empty images; `screened` also writes what the checkpoint would."""
    images = ["subject\tsession\tcontrast\timage\tmask\ttime_s"]
    subjects = ["subject\tsplit\tcentre\tresponse"]
    (folder / "scan").mkdir()
    for phase in range(phases):
        (folder / f"scan/{phase}.nii.gz").touch()
    for n in range(n_subjects):
        subjects.append(f"s{n:04d}\t{'test' if n % 3 == 0 else 'development'}\tx\t{n % 2}")
        for session in ("baseline", "followup"):
            for phase in range(phases):
                images.append(f"s{n:04d}\t{session}\tdce\tscan/{phase}.nii.gz\t\t{phase * 90}")
    (folder / "images.tsv").write_text("\n".join(images) + "\n", encoding="utf-8")
    (folder / "subjects.tsv").write_text("\n".join(subjects) + "\n", encoding="utf-8")
    config = {
        "studies": {"nact": {"images": "images.tsv", "subjects": "subjects.tsv", "truth": None}}
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    if screened:
        cohort = folder / "results/nact/cohort"
        cohort.mkdir(parents=True)
        rows = ["subject\tsplit\tcentre", *(f"s{n:04d}\ttest\tx" for n in range(n_subjects))]
        (cohort / "included.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        (cohort / "exclusions.tsv").write_text("subject\n", encoding="utf-8")
        (cohort / "screen.svg").touch()
    return folder / "tiny.yaml"


def planned(output: str) -> Counter[str]:
    """Return how often each rule would run, from the job statistics."""
    table = output.split("Job stats:")[1].split("total")[0]
    return Counter({m[1]: int(m[2]) for m in re.finditer(r"^(\w+)\s+(\d+)$", table, re.M)})


def test_the_main_study_plans_every_block_for_every_subject(tmp_path):
    config = skeleton(tmp_path, 3, screened=True)
    done = snakemake(tmp_path, "-n", "--configfile", str(config), "--", "results/nact_auc.tsv")
    assert done.returncode == 0, done.stderr + done.stdout
    jobs = planned(done.stdout + done.stderr)
    assert jobs["preprocess"] == jobs["segment"] == jobs["dce"] == jobs["radiomics_dce"] == 6
    assert jobs["register"] == jobs["radiomics_jacobian"] == jobs["report_subject"] == 3
    assert jobs["model"] == 12
    assert jobs["nact_auc"] == jobs["cohort"] == 1


def test_before_the_screen_only_the_screen_is_certain(tmp_path):
    config = skeleton(tmp_path, 3, screened=False)
    done = snakemake(tmp_path, "-n", "--configfile", str(config), "--", "results/nact_auc.tsv")
    assert done.returncode == 0, done.stderr + done.stdout
    assert planned(done.stdout + done.stderr)["screen"] == 1


def test_a_typo_in_the_settings_stops_the_parse(tmp_path):
    config = skeleton(tmp_path, 1, screened=False)
    done = snakemake(
        tmp_path, "-n", "--configfile", str(config),
        "--config", "studies={nact: {register: {max_step: 3}}}",
    )  # fmt: skip
    assert done.returncode != 0
    assert "studies.nact.register.max_step: no such setting" in done.stdout + done.stderr


def test_mistakes_in_the_sheets_stop_the_parse_all_at_once(tmp_path):
    config = skeleton(tmp_path, 2, screened=False)
    sheet = tmp_path / "subjects.tsv"
    sheet.write_text("subject\tsplit\tcentre\tresponse\ns0000\ttrain\tx\t2\n", encoding="utf-8")
    done = snakemake(tmp_path, "-n", "--configfile", str(config))
    assert done.returncode != 0
    assert "subjects.tsv:2: split 'train'" in done.stdout + done.stderr
    assert "subjects.tsv:2: response '2'" in done.stdout + done.stderr
    assert "images.tsv:8: subject 's0001' has no row" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_thousand_subjects_are_planned_within_a_minute(tmp_path):
    config = skeleton(tmp_path, 1000, screened=True)
    start = time.perf_counter()
    done = snakemake(
        tmp_path, "-n", "--quiet", "all", "--configfile", str(config), "--", "results/nact_auc.tsv"
    )
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start <= 60

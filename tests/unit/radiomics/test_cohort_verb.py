"""`medpipe radiomics-cohort`: same bytes always, rows with reasons, resume, killed processes."""

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from cli.radiomics_case import ImageJob, MaskJob, measure_case
from cli.radiomics_cohort import radiomics_cohort
from pipeline.errors import CohortError, SettingsError
from pipeline.io import read_table, write_volume
from pipeline.radiomics.cohort_run import Killed, run_jobs
from pipeline.radiomics.profile import ExtractionProfile
from pipeline.types import Volume

app = typer.Typer()
app.command()(radiomics_cohort)


@pytest.fixture
def cohort(make_case, tmp_path, monkeypatch):
    """Two images with three masks; a sheet of every good row."""
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    for seed in (1, 2):
        image, mask = make_case(seed, shape=(20, 19, 16), radius=4.0)
        write_volume(tmp_path / f"i{seed}.nii.gz", Volume(image.data.astype(np.int16), image.grid))
        labels = mask.data.astype(np.uint8)
        labels[11:][labels[11:] > 0] = 2
        write_volume(tmp_path / f"m{seed}.nii.gz", Volume(labels, mask.grid))
    write_sheet(tmp_path / "images.tsv", GOOD)
    return tmp_path


GOOD = (
    ("002", "base", "t1", "i2.nii.gz", "m2.nii.gz", ""),
    ("001", "base", "t1", "i1.nii.gz", "m1.nii.gz", "core=1,rim=2"),
    ("001", "base", "t1", "i1.nii.gz", "m2.nii.gz", "2"),
)


def write_sheet(path, rows):
    lines = ["subject\tsession\tcontrast\timage\tmask\tlabel", *map("\t".join, rows)]
    path.write_text("\n".join(lines) + "\n")


def run(folder, *arguments, sheet="images.tsv"):
    return CliRunner().invoke(
        app, [str(folder / sheet), *map(str, arguments)], catch_exceptions=False
    )


def test_cores_and_the_order_of_the_sheet_change_no_byte(cohort):
    write_sheet(cohort / "shuffled.tsv", GOOD[::-1])
    options = ("--images", "original,gradient", "--classes", "shape,firstorder,glcm", "--long")
    assert run(cohort, *options, "--out", cohort / "one.tsv").exit_code == 0
    two = run(cohort, *options, "--cores", 2, "--out", cohort / "two.tsv", sheet="shuffled.tsv")
    assert two.exit_code == 0
    assert (cohort / "one.tsv").read_bytes() == (cohort / "two.tsv").read_bytes()
    assert (cohort / "one_long.tsv").read_bytes() == (cohort / "two_long.tsv").read_bytes()
    table = read_table(cohort / "one.tsv")
    assert table["label"].tolist()[:3] == ["2", "core", "rim"]
    assert table["label_number"].tolist()[:3] == [2, 1, 2]
    assert list(table.columns[:9]) == [
        "subject", "session", "contrast", "kind", "image", "mask", "label", "label_number",
        "mask_sha256",
    ]  # fmt: skip
    assert table["mask_sha256"].str.len().tolist() == [64] * 4
    assert {"gradient_glcm_Contrast", "glcm_Contrast", "shape_Sphericity"} <= set(table.columns)
    long = read_table(cohort / "one_long.tsv")
    assert len(long) == 4 * (14 + 2 * (18 + 24))
    first = long[(long["image_type"] == "gradient") & (long["feature"] == "glcm_Contrast")].iloc[0]
    assert first["value"] == table["gradient_glcm_Contrast"][0]


def test_bad_input_has_rows_with_reasons_the_others_go_on_and_the_code_is_3(cohort, make_case):
    _, mask = make_case(1, shape=(20, 19, 16), radius=4.0)
    moved = replace(mask.grid, origin_mm=(-12.0, 3.0, 40.0))
    one = np.zeros_like(mask.data)
    one[3, 3, 3] = 1
    for name, volume in {
        "half": Volume(mask.data, moved),
        "empty": Volume(np.zeros_like(mask.data), mask.grid),
        "voxel": Volume(one, mask.grid),
        "far": Volume(mask.data, replace(mask.grid, origin_mm=(900.0, 3.0, 40.0))),
    }.items():
        write_volume(cohort / f"{name}.nii.gz", volume)
    (cohort / "cut.nii.gz").write_bytes((cohort / "m1.nii.gz").read_bytes()[:200])
    bad = [
        (name, "", "", "i1.nii.gz", f"{name}.nii.gz", "")
        for name in ("half", "empty", "voxel", "far", "cut")
    ]
    bad.append(("absent", "", "", "i1.nii.gz", "m1.nii.gz", "9"))
    bad.append(("torn", "", "", "cut.nii.gz", "m1.nii.gz", ""))
    write_sheet(cohort / "bad.tsv", [*bad, *GOOD])
    done = run(cohort, sheet="bad.tsv")
    assert done.exit_code == 3
    table = read_table(cohort / "features.tsv").set_index("subject")
    status = {
        "half": ("geometry_mismatch", "0.5 mm apart"),
        "empty": ("empty_roi", "the mask holds no voxel"),
        "voxel": ("too_small", "1 voxels within 1 x 1 x 1"),
        "far": ("geometry_mismatch", "mm"),
        "cut": ("unreadable", "cut.nii.gz"),
        "absent": ("label_absent", "no voxel has label 9; labels there: 1, 2"),
        "torn": ("unreadable", "cut.nii.gz"),
    }
    for subject, (expected, reason) in status.items():
        row = table.loc[subject]
        assert row["status"] == expected, row["reason"]
        assert reason in row["reason"]
        assert str(cohort) not in row["reason"]
        assert np.isnan(row["firstorder_Mean"])
        assert np.isnan(row["glcm_Contrast"])
        assert f"{subject}" in done.stderr
    assert "medpipe preprocess" in table.loc["half", "reason"]
    assert table.loc["002", "status"] == "ok"
    alone = run(cohort, "--out", cohort / "good.tsv")
    assert alone.exit_code == 0
    good = read_table(cohort / "good.tsv").set_index("subject")
    assert good.loc["002"].equals(table.loc["002"])


def test_a_second_run_measures_only_what_is_new_and_gives_the_same_bytes(cohort, monkeypatch):
    assert run(cohort).exit_code == 0
    before = (cohort / "features.tsv").read_bytes()
    work = cohort / "features.tsv.work"
    stamps = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    assert len(stamps) == 2
    torn = sorted(work.iterdir())[0]
    torn.write_text("{")  # a run that was killed while it wrote would leave no such file
    assert run(cohort).exit_code == 0
    assert (cohort / "features.tsv").read_bytes() == before
    after = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    assert {name for name in stamps if after[name] != stamps[name]} == {torn.name}
    assert run(cohort, "--bin-width", "10").exit_code == 0
    assert (cohort / "features.tsv").read_bytes() != before
    assert len(list(work.iterdir())) == 4


def test_rows_kept_on_disk_are_those_measured(cohort):
    masks = (MaskJob(cohort / "m1.nii.gz", {}),)
    job = ImageJob(cohort / "i1.nii.gz", masks, ExtractionProfile(), work=cohort / "w")
    first, again = measure_case(job), measure_case(job)
    assert len(list((cohort / "w").iterdir())) == 1
    assert first == again
    assert [row.label for row in first] == ["1", "2"]


def test_the_sheet_is_checked_whole_first(cohort):
    rows = [
        ("a b", "", "", "i1.nii.gz", "m1.nii.gz", ""),
        ("1", "", "", "none.nii.gz", "m1.nii.gz", "x"),
        ("2", "", "", "i1.nii.gz", "m1.nii.gz", ""),
        ("2", "", "", "i1.nii.gz", "m1.nii.gz", ""),
    ]
    write_sheet(cohort / "wrong.tsv", rows)
    with pytest.raises(CohortError) as caught:
        run(cohort, sheet="wrong.tsv")
    assert len(caught.value.problems) == 4
    assert "row 4" in caught.value.problems[-1]
    with pytest.raises(SettingsError, match="image type 'wavlet' is unknown"):
        run(cohort, "--images", "wavlet")


def square_or_die(number):
    """A job for processes: 3 kills its process, as a kernel without memory does."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def raises(number):
    raise SettingsError(f"job {number}")


def test_a_killed_process_takes_no_other_job_along():
    found = dict(run_jobs(list(range(8)), square_or_die, cores=2))
    assert isinstance(found.pop(3), Killed)
    assert found == {n: n**2 for n in range(8) if n != 3}


def test_an_error_of_a_job_reaches_the_caller():
    with pytest.raises(SettingsError, match="job 5"):
        list(run_jobs([5], raises, cores=1))


_DRIVER = """
import os, time
from pipeline.radiomics.cohort_run import run_jobs

def pid_then_sleep(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    list(run_jobs(["a.pid", "b.pid"], pid_then_sleep, cores=2))
"""


def test_processes_end_with_the_one_that_started_them(tmp_path):
    (tmp_path / "driver.py").write_text(_DRIVER)
    source = os.pathsep.join(path for path in sys.path if path)
    driver = subprocess.Popen(
        [sys.executable, "driver.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": source}
    )
    files = [tmp_path / "a.pid", tmp_path / "b.pid"]
    wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    workers = [int(file.read_text()) for file in files]
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in workers))


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import CohortError, MedpipeError, SettingsError
from pipeline.io import read_json, read_table, write_volume
from pipeline.types import Volume

FAST = ["--no-inverse-consistency", "--no-pictures", "--deformable", "none", "--quiet"]


def run(*arguments):
    return CliRunner().invoke(app, ["register-pairs", *map(str, arguments)])


def sheet(folder, rows, columns=("name", "fixed", "moving")):
    path = folder / "pairs.tsv"
    lines = ["\t".join(columns), *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def summary(folder):
    with (folder / "pairs_summary.tsv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def files(tmp_path, lesion_case):
    """The lesion and a constant image on every second voxel: quick to register."""
    case = lesion_case()
    thin = case.fixed.data[::2, ::2, ::2].shape
    grid = replace(case.fixed.grid, shape=thin, spacing_mm=(4.0, 4.0, 4.0))
    images = {
        "base": case.fixed.data[::2, ::2, ::2],
        "later": case.moving.data[::2, ::2, ::2],
        "flat": np.ones(thin),
    }
    for name, data in images.items():
        write_volume(tmp_path / f"{name}.nii.gz", Volume(data.astype(np.float32), grid))
    write_volume(tmp_path / "mask.nii.gz", Volume(case.mask[::2, ::2, ::2], grid))
    return tmp_path


def test_every_pair_is_registered_once_and_the_broken_one_is_told(files):
    columns = ("name", "fixed", "moving", "fixed_mask")
    table = sheet(
        files,
        [
            ("a", "base.nii.gz", "later.nii.gz", "mask.nii.gz"),
            ("b", "base.nii.gz", "flat.nii.gz", ""),
            ("c", "later.nii.gz", "base.nii.gz", ""),
        ],
        columns,
    )
    out = files / "out"
    done = run(table, "--out", out, *FAST)
    assert isinstance(done.exception, MedpipeError)
    assert "1 of 3 pairs were not registered" in str(done.exception)
    assert f"{table}:3: b: " in str(done.exception)
    found = summary(out)
    assert [row["status"] for row in found] == ["registered", "failed", "registered"]
    assert "flat.nii.gz is 1.0 in every voxel" in found[1]["reason"]
    metrics = read_json(out / "a/metrics.json")
    assert float(found[0]["mean_jacobian"]) == metrics["mean_jacobian"]
    assert float(found[0]["correlation_after"]) == metrics["correlation_after"]
    assert found[2]["mean_jacobian"] == ""
    assert not (out / "b").exists()

    before = stamps(out)
    assert isinstance(run(table, "--out", out, *FAST).exception, MedpipeError)
    assert stamps(out) == before


def changed(out, before):
    """Return the pairs that were computed anew.

    Told by the sidecars: each holds the age of the process in ms, so that none is written twice
    with the same bytes (a file whose bytes stay the same keeps its time stamp).
    """
    after = stamps(out)
    return {
        p.parent.name
        for p in after
        if p.name == "metrics.json.prov.json" and before.get(p) != after[p]
    }


def test_only_what_changed_is_registered_again(files):
    table = sheet(
        files, [("a", "base.nii.gz", "later.nii.gz"), ("b", "later.nii.gz", "base.nii.gz")]
    )
    out = files / "out"
    assert run(table, "--out", out, *FAST).exit_code == 0
    first = {name: (out / name / "displacement.nii.gz").read_bytes() for name in "ab"}

    before = stamps(out)
    (out / "a/warped.nii.gz").write_bytes(b"cut short")
    assert run(table, "--out", out, *FAST).exit_code == 0
    assert changed(out, before) == {"a"}
    assert (out / "a/displacement.nii.gz").read_bytes() == first["a"]

    before = stamps(out)
    assert run(table, "--out", out, *FAST, "--seed", "5").exit_code == 0
    assert changed(out, before) == {"a", "b"}

    image = (files / "later.nii.gz").read_bytes()
    sheet(files, [("a", "base.nii.gz", "later.nii.gz"), ("b", "mask.nii.gz", "base.nii.gz")])
    before = stamps(out)
    assert run(table, "--out", out, *FAST, "--seed", "5").exit_code == 0
    assert changed(out, before) == {"b"}
    assert (files / "later.nii.gz").read_bytes() == image


def test_a_pair_is_the_same_as_the_verb_for_one_makes_it(files):
    table = sheet(files, [("base.nii.gz", "later.nii.gz")], ("fixed", "moving"))
    done = run(table, "--out", files / "out", *FAST)
    assert done.exit_code == 0, done.output
    one = CliRunner().invoke(
        app,
        ["register", str(files / "base.nii.gz"), str(files / "later.nii.gz"), "--out",
         str(files / "one"), *FAST],
    )  # fmt: skip
    assert one.exit_code == 0, one.output
    for name in ("displacement.nii.gz", "inverse.nii.gz", "jacobian.nii.gz", "metrics.json"):
        batch = files / "out/later_to_base" / name
        assert batch.read_bytes() == (files / "one" / name).read_bytes(), name


def test_all_mistakes_of_the_table_are_told_at_once_and_nothing_is_computed(files):
    table = sheet(
        files,
        [
            ("a", "base.nii.gz", "nowhere.nii.gz", ""),
            ("A/b", "base.nii.gz", "later.nii.gz", "gone.nii.gz"),
            ("c", "base.nii.gz", "base.nii.gz", ""),
            ("C", "base.nii.gz", "later.nii.gz", ""),
            ("e", "", "later.nii.gz", ""),
        ],
        ("name", "fixed", "moving", "fixed_mask"),
    )
    done = run(table, "--out", files / "out")
    assert isinstance(done.exception, CohortError)
    text = str(done.exception)
    assert text.startswith("6 problems")
    for line, words in (
        (2, "moving 'nowhere.nii.gz' does not exist"),
        (3, "fixed_mask 'gone.nii.gz' does not exist"),
        (3, "name 'A/b' cannot name a folder"),
        (4, "fixed and moving are the same file"),
        (5, "name 'C' stands already in row 4"),
        (6, "fixed is empty"),
    ):
        assert f"{table}:{line}: {words}" in text
    assert not (files / "out").exists()


def test_a_table_without_pairs_or_columns_and_settings_that_do_not_exist(files):
    assert "no column 'moving'" in str(
        run(sheet(files, [("x",)], ("fixed",)), "--out", files).exception
    )
    assert "no pair below" in str(run(sheet(files, []), "--out", files).exception)
    table = sheet(files, [("a", "base.nii.gz", "later.nii.gz")])
    for flags in (("--engine", "nosuch"), ("--deformable", "nosuch")):
        done = run(table, "--out", files / "out", *flags)
        assert isinstance(done.exception, SettingsError)
    assert not (files / "out").exists()


def test_a_kill_leaves_whole_files_and_the_next_run_finishes(files):
    pairs = [(f"p{n}", "base.nii.gz", "later.nii.gz") for n in range(4)]
    table, out = sheet(files, pairs), files / "out"
    command = [sys.executable, "-m", "cli.main", "register-pairs", str(table), "--out", str(out)]
    process = subprocess.Popen([*command, *FAST], stdout=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while not (out / "p1/inverse.nii.gz").exists() and time.monotonic() < limit:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (out / "p0/pair.json").exists()
    assert not (out / "p3").exists()
    kept = (out / "p0/pair.json").stat().st_mtime_ns
    assert run(table, "--out", out, *FAST).exit_code == 0
    assert (out / "p0/pair.json").stat().st_mtime_ns == kept
    assert not list(out.rglob("*.tmp"))
    first = {p.name: p.read_bytes() for p in (out / "p0").glob("*.nii.gz")}
    for n in range(4):
        assert {p.name: p.read_bytes() for p in (out / f"p{n}").glob("*.nii.gz")} == first
    assert len(read_table(out / "pairs_summary.tsv")) == 4

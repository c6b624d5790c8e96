"""Fault test 1: a killed writer leaves the old file, the new one, or none."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import WriteError
from pipeline.io import atomic_path, write_bytes, write_text
from pipeline.io.atomic import remove_stale

#: Forks a child for each kill, so that imports are paid once. Half of the children die at an
#: exact byte of the temporary file (a file size limit, whose signal kills), half at a moment.
KILLER = """
import json, os, resource, signal, sys, time
from pathlib import Path
import numpy as np
import pandas as pd
from pipeline.io import write_json, write_table, write_volume
from pipeline.types import Geometry, Volume

kind, folder = sys.argv[1], Path(sys.argv[2])
rng = np.random.default_rng(7)
noise = rng.normal(size=(60, 60, 60)).astype(np.float32)
grid = Geometry(noise.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))

def write(path, shift):
    if kind == "image":
        write_volume(path, Volume(noise + np.float32(shift), grid))
    elif kind == "table":
        write_table(path, pd.DataFrame({"x": noise.ravel()[:15000].astype(float) + shift}))
    else:
        write_json(path, {"x": noise.ravel()[:15000].astype(float) + shift})

ending = {"image": ".nii.gz", "table": ".tsv", "json": ".json"}[kind]
clean = {}
for shift in (0, 1):
    start = time.perf_counter()
    write(folder / f"clean{shift}{ending}", shift)
    seconds = time.perf_counter() - start
    clean[shift] = (folder / f"clean{shift}{ending}").read_bytes()

outcomes = {"absent": 0, "old": 0, "new": 0, "broken": 0, "killed": 0, "left": 0}
for number in range(20):
    target = folder / f"run{number}" / f"result{ending}"
    if number % 2:
        target.parent.mkdir()
        target.write_bytes(clean[0])
    child = os.fork()
    if child == 0:
        if number < 10:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            size = int(rng.integers(1, len(clean[1])))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        write(target, 1)
        os._exit(0)
    if number >= 10:
        time.sleep(seconds * rng.uniform(0.0, 1.0))
        os.kill(child, signal.SIGKILL)
    outcomes["killed"] += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    found = target.read_bytes() if target.exists() else None
    name = {None: "absent", clean[0]: "old", clean[1]: "new"}.get(found, "broken")
    outcomes[name] += 1
    outcomes["broken"] += name == "absent" and number % 2
    write(target, 1)
    assert target.read_bytes() == clean[1]
    outcomes["left"] += len(list(target.parent.glob(".*"))) + len(list(target.parent.glob("*.tmp")))
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("kind", ["image", "table", "json"])
def test_kills_leave_the_old_file_the_new_one_or_none(tmp_path, kind):
    source = str(Path(__file__).parents[3] / "src")
    done = subprocess.run(
        [sys.executable, "-c", KILLER, kind, str(tmp_path)],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": source},
    )  # fmt: skip
    outcomes = json.loads(done.stdout)
    assert outcomes["absent"] + outcomes["old"] + outcomes["new"] == 20
    assert outcomes["broken"] == 0
    assert outcomes["left"] == 0
    assert outcomes["killed"] >= 10  # the test bites: every size limit kills


def test_the_same_bytes_leave_the_time_stamp_alone(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "same\n")
    os.utime(target, (1, 1))
    write_text(target, "same\n")
    assert target.stat().st_mtime == 1
    write_text(target, "other\n")
    assert target.stat().st_mtime > 1


def test_an_error_leaves_nothing(tmp_path):
    def fail():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_stale_files_go_and_busy_ones_stay(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        prefix, host, _ = temporary.name.rsplit(".", 2)
        machine, process, _ = host.split("-")
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        names = {
            "dead": f"{prefix}.{machine}-{dead.pid}-0.tmp",
            "reused": f"{prefix}.{machine}-{process}-999999.tmp",
            "alive": f"{prefix}.{machine}-{os.getppid()}-0.tmp",
            "elsewhere": f"{prefix}.00000000-{dead.pid}-0.tmp",
            "foreign": "notes.tmp",
        }
        for name in names.values():
            (tmp_path / name).write_text("x")
        remove_stale(tmp_path)
        left = {kind for kind, name in names.items() if (tmp_path / name).exists()}
        assert left == {"alive", "elsewhere", "foreign"}
        assert temporary.exists()
    assert (tmp_path / "a.txt").read_text() == "x"


def test_long_and_odd_names(tmp_path):
    for name in ("x" * 250, "ä" * 120, "-rf", "a b.tsv", "🧠.nii.gz"):
        write_bytes(tmp_path / name, b"1")
        assert (tmp_path / name).read_bytes() == b"1"


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")],
)
def test_refusals_of_the_disk_are_in_plain_words(tmp_path, code, words):
    def fail():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(WriteError, match=f"a.txt: .*{words}"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_something_in_the_way(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="in the way"):
        write_text(tmp_path / "file" / "a.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match="in the way"):
        write_text(tmp_path / "folder", "x")


def test_errors_of_other_files_pass_unchanged(tmp_path):
    def fail():
        with atomic_path(tmp_path / "a.txt"):
            Path("/no/such/input").read_text()

    with pytest.raises(FileNotFoundError):
        fail()

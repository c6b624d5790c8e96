"""Memory and disks that run out: a message with the flag to change, no traceback, no hang."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.io import write_volume
from pipeline.model_folder import save_model
from pipeline.segment.networks import build
from pipeline.segment.plan import Intensity, Plan
from pipeline.segment.predict import PredictSettings, predict
from pipeline.segment.shortage import is_shortage
from pipeline.types import Geometry, Volume
from tests.unit.segment.stub_network import Constant, make_model
from tests.unit.segment.training.phantom import write_sheet

ROOT = Path(__file__).parents[3]

#: Imports once, then forks a process for each command: {name: [megabytes of room or null, words]}.
#: The limit is real: the address space beyond what the process has already.
RUNNER = """
import json, os, re, resource, sys, time
import torch, numpy, pandas, scipy.ndimage, matplotlib.pyplot, safetensors.torch
torch.set_num_threads(1)
import torch._dynamo  # torch's optimisers load it
import cli.main, cli.segment, cli.segment_network, cli.train, cli.training_fold
import pipeline.io.images, pipeline.io.tensors, pipeline.io.nifti_write, pipeline.model_folder
import pipeline.provenance, pipeline.registration.tensors, pipeline.report.training_figure
import pipeline.segment.networks.densehighres3dnet, pipeline.segment.predict
import pipeline.segment.training.card, pipeline.segment.training.checkpoint
import pipeline.segment.training.sheet

jobs, place = json.load(sys.stdin), sys.argv[1]
results = {}
for name, (room, words) in jobs.items():
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        for number, stream in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{place}/{name}.{stream}", os.O_CREAT | os.O_WRONLY), number)
        sys.argv = ["medpipe", *words]
        if room is not None:
            status = open("/proc/self/status").read()
            size = int(re.search(r"VmSize:\\s+(\\d+)", status).group(1)) * 1024 + room * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
        code = 0
        try:
            cli.main.main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    results[name] = {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - started,
        "words": open(f"{place}/{name}.err").read(),
    }
print(json.dumps(results))
"""


@contextlib.contextmanager
def small_disk(folder, options):
    """Mount a small disk for a while; yield None where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "medpipe-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        done = None
    if done is None or done.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Run all commands; return what each said, how it ended and how long it took."""
    place = tmp_path_factory.mktemp("short")
    image, model, sheet = place / "image.nii.gz", place / "net", write_sheet(place / "data", 4)
    rng = np.random.default_rng(0)
    grid = Geometry((96, 96, 96), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    write_volume(image, Volume(rng.normal(0, 1, grid.shape).astype(np.float32), grid))
    network = build("densehighres3dnet", channels=1, classes=2, options={})
    plan = Plan(
        network="densehighres3dnet",
        labels={"a": 1},
        spacing_mm=(1.0, 1.0, 1.0),
        patch=(64, 64, 64),
        intensity=Intensity("image", 0.5, 99.5),
    )
    save_model(model, plan, network.state_dict(), {})
    with contextlib.ExitStack() as disks:
        full, small, frozen = (
            disks.enter_context(small_disk(place / name, options))
            for name, options in (("full", "size=16k"), ("small", "size=900k"),
                                  ("frozen", "size=1m,ro"))
        )  # fmt: skip
        small_image = f"{place}/data/images/s0.nii.gz"
        segment = ["segment", str(image), "--model", str(model), "--allow-empty", "--device", "cpu"]
        train = ["train", str(sheet), "--network", "densehighres3dnet", "--folds", "2", "--fold",
                 "0", "--iterations", "1", "--device", "cpu"]  # fmt: skip
        tiny = [*train, "--patch", "12,12,12"]
        jobs = {
            "segment": [40, [*segment, "--out", f"{place}/a.nii.gz"]],
            "train": [100, [*train, "--patch", "64,64,64", "--batch", "4", "--out", f"{place}/a"]],
            "segment_full": [None, [*segment[:1], small_image, *segment[2:], "--uncertainty",
                                    "--window", "24,24,24", "--out", f"{full}/a.nii.gz"]],
            "train_full": [None, [*tiny, "--out", f"{small}/a"]],
            "cache_full": [None, [*tiny, "--memory-gb", "0", "--out", f"{full}/b"]],
            "segment_frozen": [None, [*segment[:1], small_image, *segment[2:],
                                      "--window", "24,24,24", "--out", f"{frozen}/a.nii.gz"]],
            "train_frozen": [None, [*tiny, "--out", f"{frozen}/a"]],
        }  # fmt: skip
        if None in (full, small, frozen):
            jobs = {name: job for name, job in jobs.items() if job[0] is not None}
        done = subprocess.run(
            [sys.executable, "-c", RUNNER, str(place)],
            input=json.dumps(jobs), capture_output=True, text=True, check=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        left = {str(p.relative_to(place)) for p in place.rglob("*.tmp")}
        found = json.loads(done.stdout)
        return found | {"left": left, "masks": list(place.rglob("a.nii.gz"))}


@pytest.mark.parametrize(("name", "words"), [
    ("segment", ["image.nii.gz: out of memory", "--window 64,64,64"]),
    ("train", ["training: out of memory", "--batch or --patch", "--memory-gb"]),
    ("segment_full", ["a_entropy.nii.gz: the disk is full; free some space"]),
    ("train_full", ["the disk is full; free some space"]),
    ("cache_full", ["scratch file: the disk is full; free some space"]),
    ("segment_frozen", ["a.nii.gz: the disk is read-only; write to another folder"]),
    ("train_frozen", ["frozen/a/fold-0: the disk is read-only; write to another folder"]),
])  # fmt: skip
def test_what_ran_out_is_named_with_a_remedy(outcomes, name, words):
    if name not in outcomes:
        pytest.skip("a small disk cannot be mounted here")
    found = outcomes[name]
    assert found["code"] == 2, found["words"]
    assert "Traceback" not in found["words"]
    assert found["seconds"] < 30
    last = found["words"].strip().splitlines()[-1]
    assert last.startswith("error: ")
    for part in words:
        assert part in last


def test_nothing_half_written_stays(outcomes):
    assert outcomes["left"] == set()
    assert outcomes["masks"] == []


class Short(Constant):
    """A CPU that holds windows up to a size, in torch's words for it."""

    def __init__(self, most):
        super().__init__((0.0, 1.0, 0.0), divisor=(4, 4, 4))
        self.most = most

    def forward(self, x):
        if x.numel() > self.most:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 16777216 bytes. Error code 12"
            )
        return super().forward(x)


def image():
    grid = Geometry((20, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    return Volume(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid)


def test_the_cpu_tries_half_the_window_too_and_says_so():
    found = predict(image(), [make_model(Short(12**3), patch=(16, 16, 16))])
    assert (found.device, found.patch) == ("cpu", (12, 12, 12))  # a half, in fours
    told = "out of memory with windows of (20, 20, 20); tried again with windows of (12, 12, 12)"
    assert found.warnings[0] == f"cpu: {told}"
    with pytest.raises(RuntimeError, match="can't allocate"):
        predict(image(), [make_model(Short(4), patch=(16, 16, 16))])


def test_a_window_of_ones_own():
    model = make_model(Constant((0.0, 1.0, 0.0), divisor=(4, 4, 4)), patch=(16, 16, 16))
    found = predict(image(), [model], PredictSettings(window=(6, 8, 11)))
    assert found.patch == (8, 8, 12)
    assert (found.labels.data == 5).all()


@pytest.mark.parametrize(("error", "expected"), [
    (MemoryError(), True),
    (np._core._exceptions._ArrayMemoryError((9, 9), np.dtype("f8")), True),
    (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
    (RuntimeError("std::bad_alloc"), True),
    (RuntimeError("could not create a primitive"), True),
    (OSError(12, "Cannot allocate memory"), True),
    (ImportError("libx.so: failed to map segment from shared object"), True),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    (OSError(28, "No space left on device"), False),
    (ValueError("out of memory"), False),
])  # fmt: skip
def test_which_errors_are_a_lack_of_memory(error, expected):
    assert is_shortage(error) is expected

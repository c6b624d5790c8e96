"""TotalSegmentator's adapter, with a small package in the program's place.

The package has the functions of TotalSegmentator 2.18 that the adapter touches. The program with
its real weights (some GB) has not been run by a test.
"""

import importlib.util
import os
import sys
import time

import numpy as np
import pytest
import torch

from pipeline import model_adapters
from pipeline.errors import ReadError, SettingsError
from pipeline.geometry import same_grid
from pipeline.segment.predict import PredictSettings
from pipeline.types import Geometry, Volume

LIBS = """
from pathlib import Path
import os, shutil
def download_url_and_unpack(url, folder): Path(os.environ["CANARY"]).mkdir()
def download_model_with_license_and_unpack(name, folder): Path(os.environ["CANARY"]).mkdir()
def robust_rmtree(path): shutil.rmtree(path)
def download_pretrained_weights(task):
    folder = Path(os.environ["TOTALSEG_WEIGHTS_PATH"])
    if (folder / "Dataset001_old").exists(): robust_rmtree(folder / "Dataset001_old")
    if not (folder / "Dataset297_new").exists(): download_url_and_unpack("https://a", folder)
"""

API = """
import os, socket, urllib.request
from pathlib import Path
import nibabel, numpy, torch
from totalsegmentator.libs import download_pretrained_weights
def send_usage_stats(*_): Path(os.environ["CANARY"]).mkdir()
def totalsegmentator(source, target, ml, task, device, quiet):
    download_pretrained_weights(297)
    send_usage_stats()
    try:
        socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), timeout=5)
        Path(os.environ["CANARY"]).mkdir()
    except OSError:
        pass
    folder = Path(os.environ["TOTALSEG_WEIGHTS_PATH"]) / "Dataset297_new/t/fold_0"
    limit = torch.load(folder / "checkpoint_final.pth", weights_only=False)["limit"]
    image = nibabel.load(source)
    found = (image.get_fdata() > float(limit)).astype(numpy.uint8) * 2
    nibabel.save(nibabel.Nifti1Image(found, image.affine), target)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package, importable here and in the process that the adapter starts."""
    package = tmp_path / "site" / "totalsegmentator"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "libs.py").write_text(LIBS)
    (package / "python_api.py").write_text(API)
    (package / "map_to_binary.py").write_text('class_map = {"total": {1: "spleen", 2: "liver"}}')
    monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    monkeypatch.setenv("PORT", "9")
    return tmp_path


@pytest.fixture
def image():
    data = np.random.default_rng(0).normal(0, 100, (9, 8, 7)).astype(np.float32)
    direction = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    return Volume(data, Geometry(data.shape, (1.0, 1.5, 2.0), (1.0, 2.0, 3.0), direction))


def write_weights(folder, content):
    fold = folder / "Dataset297_new" / "t" / "fold_0"
    fold.mkdir(parents=True)
    torch.save(content, fold / "checkpoint_final.pth")
    (folder / "Dataset001_old").mkdir()
    return folder


def segment(folder, image, monkeypatch, **settings):
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(folder))
    return model_adapters.segment("totalsegmentator", image, PredictSettings(**settings))


def test_it_runs_offline_with_the_users_weights(installed, image, monkeypatch):
    folder = write_weights(installed / "weights", {"limit": np.float64(20.0)})
    outcome = segment(folder, image, monkeypatch)
    assert np.array_equal(outcome.prediction.labels.data, (image.data > 20) * 2)
    assert same_grid(outcome.prediction.labels.grid, image.grid)
    assert outcome.labels == {"spleen": 1, "liver": 2}
    assert outcome.prediction.volume_mm3["liver"] == 3.0 * np.count_nonzero(image.data > 20)
    assert outcome.prediction.warnings == ("no voxel of spleen was found",)
    assert list(outcome.weights) == ["Dataset297_new/t/fold_0/checkpoint_final.pth"]
    assert not (installed / "canary").exists()
    assert (folder / "Dataset001_old").exists()  # nothing of the user's is deleted


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_would_run_code(installed, image, monkeypatch):
    folder = write_weights(installed / "weights", {"limit": Evil(installed / "canary")})
    with pytest.raises(ReadError, match="TotalSegmentator failed"):
        segment(folder, image, monkeypatch)
    assert not (installed / "canary").exists()


def test_missing_weights_are_not_downloaded(installed, image, monkeypatch):
    (installed / "weights" / "Dataset001_old").mkdir(parents=True)
    with pytest.raises(ReadError, match=r"nothing is downloaded.*totalseg_download_weights -t"):
        segment(installed / "weights", image, monkeypatch)
    assert not (installed / "canary").exists()
    with pytest.raises(ReadError, match="holds no weights of TotalSegmentator"):
        segment(installed / "none", image, monkeypatch)


def test_a_killed_process_ends_the_command_at_once(installed, image, monkeypatch):
    folder = write_weights(installed / "weights", {"limit": 20.0})
    api = installed / "site/totalsegmentator/python_api.py"
    api.write_text(f"{API}    os.kill(os.getpid(), 9)\n")
    started = time.perf_counter()
    with pytest.raises(ReadError, match=r"was killed .*\(Killed\): .*memory runs out; crop"):
        segment(folder, image, monkeypatch)
    assert time.perf_counter() - started < 30


def test_not_installed(image, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pip install TotalSegmentator"):
        segment(tmp_path, image, monkeypatch)


def test_what_it_does_not_give(installed, image, monkeypatch):
    with pytest.raises(SettingsError, match="no uncertainty"):
        segment(installed, image, monkeypatch, uncertainty=True)
    with pytest.raises(SettingsError, match="windows of its own"):
        segment(installed, image, monkeypatch, window=(8, 8, 8))

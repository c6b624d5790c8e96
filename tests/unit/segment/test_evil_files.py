"""Fault tests 9 and 10 where a verb meets them: what could run never runs, what escapes stays in.

Models, archives and checkpoints by themselves: test_model_folder.py, io/test_checkpoints.py.
"""

import io
import os
import pickle
import stat
import time
import zipfile

import pytest
import torch
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import MedpipeError, ReadError
from pipeline.io import read_volume
from tests.unit.segment.test_model_folder import Evil, refused, zip_of
from tests.unit.segment.training.phantom import write_sheet

SMALL = ("--labels", "shell=1,core=2", "--network", "densehighres3dnet", "--patch", "12,12,12",
         "--folds", "2", "--fold", "0", "--iterations", "1")  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    path = write_sheet(tmp_path_factory.mktemp("data"), 4)
    run("train", path, "--out", path.parent / "none", *SMALL, "--plan")  # imports are paid here
    return path


def evil(path, kind):
    """Bytes that make `path` when they are loaded carelessly, or that are no weights at all."""
    if kind == "pickle":
        return pickle.dumps(Evil(path))
    if kind == "torch":
        buffer = io.BytesIO()
        torch.save({"features.0.weight": Evil(path)}, buffer)
        return buffer.getvalue()
    return b"\x10\0\0\0\0\0\0\0{"  # truncated safetensors


@pytest.mark.parametrize("kind", ["pickle", "torch", "truncated"])
def test_a_checkpoint_of_a_training_that_is_none(sheet, tmp_path, kind):
    made, out = tmp_path / "made", tmp_path / "out"
    (out / "fold-0").mkdir(parents=True)
    content = evil(made, kind)
    (out / "fold-0/checkpoint.safetensors").write_bytes(content)
    started = time.process_time()
    with pytest.raises(ReadError, match=r"checkpoint.safetensors: not a safetensors file"):
        run("train", sheet, "--out", out, *SMALL)
    assert time.process_time() - started < 2.0
    assert not made.exists()
    # it is left for its owner to look at, not overwritten
    assert (out / "fold-0/checkpoint.safetensors").read_bytes() == content


@pytest.mark.parametrize("kind", ["pickle", "torch", "truncated"])
def test_weights_to_start_from_that_are_none(sheet, tmp_path, kind):
    made, weights = tmp_path / "made", tmp_path / "vgg16.safetensors"
    weights.write_bytes(evil(made, kind))
    with pytest.raises(ReadError, match=r"vgg16.safetensors: not a safetensors file"):
        run("train", sheet, "--out", tmp_path / "out", *SMALL[:2], "--network", "psnet",
            "--option", "width=0.05", "--vgg16", weights, *SMALL[6:])  # fmt: skip
    assert not made.exists()


def test_a_zip_with_a_link_and_a_file_through_it(tmp_path):
    members = [("mine/link", b"/tmp"), ("mine/link/passwd", b"x")]
    attributes = {"mine/link": stat.S_IFLNK | 0o777}
    path = zip_of(tmp_path / "bad.zip", members, attributes=attributes)
    refused(path, tmp_path, "a link or a device")


@pytest.mark.parametrize("kind", [stat.S_IFBLK, stat.S_IFSOCK])
def test_more_devices_in_a_zip(tmp_path, kind):
    path = zip_of(tmp_path / "bad.zip", [("mine/disk", b"")], attributes={"mine/disk": kind})
    refused(path, tmp_path, "a link or a device")


@pytest.mark.parametrize("name", ["../outside.dcm", "/tmp/medpipe-outside.dcm", "a/1.dcm"])
def test_zipped_images_are_not_unpacked(tmp_path, name):
    """DICOM comes zipped from many archives: it is named, and nothing in it is touched."""
    folder = tmp_path / "deep" / "case"
    folder.mkdir(parents=True)
    path = folder / "scan.zip"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(name, b"x" * 1000)
    before = sorted(tmp_path.rglob("*"))
    for given in (path, folder):
        started = time.process_time()
        with pytest.raises(ReadError, match=r"zip archive; unpack it|holds no DICOM file"):
            read_volume(given)
        assert time.process_time() - started < 2.0
    with pytest.raises(MedpipeError):
        run("segment", path, "--out", tmp_path / "m.nii.gz")
    assert sorted(tmp_path.rglob("*")) == before
    assert not os.path.exists("/tmp/medpipe-outside.dcm")

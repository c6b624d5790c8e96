"""Checkpoints of torch.save: what is read, and that nothing in them runs."""

import os
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ReadError
from pipeline.io.checkpoints import read_checkpoint


class Evil:
    """Makes a file as soon as a pickle of it is loaded carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_tensors_plain_values_and_numpy_scalars_come_back(tmp_path):
    path = tmp_path / "a.pth"
    saved = {
        "network_weights": OrderedDict(w=torch.arange(6.0).reshape(2, 3)),
        "logging": {"loss": [np.float32(0.5), np.float64(0.25)], "epoch": np.int64(3)},
        "init_args": {"device": torch.device("cpu"), "fold": 0, "configuration": "3d_fullres"},
        "none": None,
    }
    torch.save(saved, path)
    found = read_checkpoint(path)
    assert torch.equal(found["network_weights"]["w"], saved["network_weights"]["w"])
    assert found["logging"] == saved["logging"]
    assert isinstance(found["logging"]["loss"][0], np.float32)
    assert found["init_args"]["configuration"] == "3d_fullres"


def test_the_names_that_numpy_1_gave_its_scalars_are_known(tmp_path):
    new, old = tmp_path / "new.pth", tmp_path / "old.pth"
    torch.save({"ema": np.float64(0.75)}, new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            if member.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(member.filename, content)
    assert read_checkpoint(old) == {"ema": 0.75}


def evil_zip(path, canary):
    torch.save({"state": Evil(canary)}, path)


def evil_beside_weights(path, canary):
    torch.save({"network_weights": {"w": torch.zeros(2)}, "logging": [Evil(canary)]}, path)


def evil_of_old_torch(path, canary):
    torch.save({"state": Evil(canary)}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("make", [evil_zip, evil_beside_weights, evil_of_old_torch])
def test_nothing_runs(tmp_path, make):
    path, canary = tmp_path / "evil.pth", tmp_path / "canary"
    make(path, canary)
    start = time.perf_counter()
    with pytest.raises(ReadError, match=r"evil\.pth"):
        read_checkpoint(path)
    assert time.perf_counter() - start < 2
    assert not canary.exists()


def test_the_message_names_what_would_run(tmp_path):
    evil_zip(tmp_path / "evil.pth", tmp_path / "canary")
    with pytest.raises(ReadError, match=r"GLOBAL posix\.mkdir"):
        read_checkpoint(tmp_path / "evil.pth")


def test_a_whole_network_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(ReadError, match=r"Linear.*save the state_dict alone"):
        read_checkpoint(tmp_path / "a.pt")


def write_archive(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_archives_that_are_no_checkpoints(tmp_path):
    path = tmp_path / "a.pt"
    write_archive(path, {"a/readme.txt": "x"})
    with pytest.raises(ReadError, match=r"no checkpoint of torch\.save"):
        read_checkpoint(path)
    write_archive(path, {"a/data.pkl": b"x", "a/constants.pkl": b"x", "a/code/a.py": ""})
    with pytest.raises(ReadError, match="TorchScript archive, which is a program"):
        read_checkpoint(path)
    write_archive(path, {"a/data.pkl": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ReadError, match="compressed members"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"PK\x03\x04" + bytes(100)])
def test_bytes_that_are_no_checkpoint(tmp_path, content):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(ReadError, match="not a checkpoint"):
        read_checkpoint(path)


def test_missing_and_folder(tmp_path):
    with pytest.raises(ReadError, match="no such file"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(ReadError, match="not a regular file"):
        read_checkpoint(tmp_path)


def test_damaged_bytes_are_always_a_read_error(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.arange(40.0), "s": np.float64(1.0)}, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        content[rng.integers(0, len(content))] ^= 1 << rng.integers(0, 8)
        path.write_bytes(content)
        try:
            read_checkpoint(Path(path))
        except ReadError:
            continue

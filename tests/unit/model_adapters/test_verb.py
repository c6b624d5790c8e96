"""`medpipe segment --model FOLDER` on the folder of another program."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import SettingsError
from pipeline.io import read_labels, write_volume
from pipeline.model_adapters import kind_of, nnunet
from pipeline.types import Geometry, Volume
from tests.unit.model_adapters import test_nnunet as made


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(nnunet, "_class", lambda name: made.Layer)
    return made.write(tmp_path / "results")


def test_a_folder_of_nnunet(tmp_path, folder):
    data = np.random.default_rng(2).normal(50, 20, made.SHAPE).astype(np.float32)
    path = tmp_path / "t1.nii.gz"
    write_volume(path, Volume(data, Geometry(made.SHAPE, made.SPACING, (0.0,) * 3, np.eye(3))))
    run("segment", path, "--model", folder)
    out = tmp_path / "t1_segmentation.nii.gz"
    truth = made.expected(data, made.checkpoint(made.weights(1))["network_weights"])
    assert np.array_equal(read_labels(out).data, truth)
    record = json.loads((tmp_path / "t1_segmentation.nii.gz.prov.json").read_text())
    (model,) = record["measured"]["models"]
    assert model["name"] == "results/fold_0/checkpoint_final.pth"
    assert len(model["weights_sha256"]) == 64
    assert [e["path"] for e in record["inputs"]] == ["t1.nii.gz", "dataset.json", "plans.json"]
    with pytest.raises(SettingsError, match="forms no ensemble with others"):
        run("segment", path, "--model", f"{folder},other")


def test_it_is_not_imported(folder):
    with pytest.raises(SettingsError, match=r"runs from its folder: `medpipe segment IMAGE"):
        run("models", "import", folder)


def test_kinds(tmp_path, folder):
    assert kind_of(folder) == "nnunet"
    assert kind_of(tmp_path) is None
    assert kind_of(tmp_path / "none") is None
    assert kind_of("hippocampus") is None
    assert kind_of("totalsegmentator:total_mr") == "totalsegmentator"
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    (tmp_path / "bundle" / "models").mkdir()
    assert kind_of(tmp_path / "bundle") == "monai"
    inside = tmp_path / "weights" / "Dataset291_a" / "nnUNetTrainer__p__3d_fullres"
    inside.mkdir(parents=True)
    (inside / "plans.json").touch()
    assert kind_of(tmp_path / "weights") == "totalsegmentator"

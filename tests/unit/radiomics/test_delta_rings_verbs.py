"""`medpipe delta` and `medpipe rings` from file to file."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from cli.delta import delta
from cli.radiomics import radiomics
from cli.rings import rings
from pipeline.errors import EmptyRegionError, SettingsError
from pipeline.io import read_table, read_volume, write_table, write_volume
from pipeline.types import Geometry, Volume

GRID = Geometry((30, 28, 16), (1.0, 1.0, 2.0), (-12.0, 4.0, 30.0), np.diag([1.0, -1.0, 1.0]))


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))


def run(verb, *arguments):
    app = typer.Typer()
    app.command()(verb)
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def masks(tmp_path):
    """Two lesions, 1 and 2, within a body that ends at i = 20."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[12:16, 12:16, 6:10] = 1
    labels[12:16, 18:20, 6:10] = 2
    body = np.zeros(GRID.shape, np.uint8)
    body[2:18] = 5
    body[18:20] = 6
    write_volume(tmp_path / "lesions.nii.gz", Volume(labels, GRID))
    write_volume(tmp_path / "body.nii.gz", Volume(body, GRID))
    return tmp_path


def test_rings_are_labels_with_names_beside_them(masks):
    out = masks / "rings.nii.gz"
    done = run(
        rings, masks / "lesions.nii.gz", "--at", "-1-0,0-3,3-6", "--label", 1,
        "--within", masks / "body.nii.gz", "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0
    assert "--labels rim_1_0mm=1,ring_0_3mm=2,ring_3_6mm=3" in done.stdout
    found, lesions = read_volume(out), read_volume(masks / "lesions.nii.gz").data
    assert set(np.unique(found.data)) == {0, 1, 2, 3}
    assert not found.data[lesions == 2].any()
    assert set(np.unique(found.data[lesions == 1])) == {0, 1}
    assert not found.data[20:].any()
    assert found.data[14, 11, 8] == 2
    table = read_table(masks / "rings.tsv")
    assert table["name"].tolist() == ["rim_1_0mm", "ring_0_3mm", "ring_3_6mm"]
    assert table["voxels"].tolist() == [int((found.data == n).sum()) for n in (1, 2, 3)]
    assert (table["volume_mm3"] == 2.0 * table["voxels"]).all()
    assert (table.loc[1:, "excluded"] > 0).all()
    assert table["outside_within"].iloc[2] > 0
    sidecar = json.loads((masks / "rings.nii.gz.prov.json").read_text())
    assert sidecar["settings"]["bands_mm"] == [[-1, 0], [0, 3], [3, 6]]
    assert [item["path"] for item in sidecar["inputs"]] == ["lesions.nii.gz", "body.nii.gz"]


def test_rings_go_on_to_radiomics(masks):
    done = run(rings, masks / "lesions.nii.gz", "--at", "-1-0,0-3", "--label", 1, "--quiet")
    options = done.stdout.split(": ")[1].split()
    image = np.random.default_rng(0).normal(100, 30, GRID.shape).astype(np.float32)
    write_volume(masks / "image.nii.gz", Volume(image, GRID))
    out = masks / "features.tsv"
    done = run(
        radiomics, masks / "image.nii.gz", masks / "lesions_rings.nii.gz", *options,
        "--classes", "shape,firstorder", "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0
    found, table = read_table(out), read_table(masks / "lesions_rings.tsv")
    assert found["label"].tolist() == table["name"].tolist() == ["rim_1_0mm", "ring_0_3mm"]
    np.testing.assert_allclose(found["shape_VoxelVolume_mm3"], table["volume_mm3"])


def test_organs_are_chosen_and_lesions_given(masks):
    lesion = read_volume(masks / "lesions.nii.gz")
    for number, name in ((1, "one"), (2, "two")):
        data = (lesion.data == number).astype(np.uint8)
        write_volume(masks / f"{name}.nii.gz", Volume(data, GRID))
    body = ["--within", masks / "body.nii.gz"]
    run(rings, masks / "one.nii.gz", *body, "--exclude", masks / "two.nii.gz")
    run(rings, masks / "lesions.nii.gz", *body, "--label", 1, "--out", masks / "same.nii.gz")
    first = read_volume(masks / "one_rings.nii.gz").data
    assert np.array_equal(first, read_volume(masks / "same.nii.gz").data)
    done = run(
        rings, masks / "one.nii.gz", *body, "--within-label", "5", "--out", masks / "5.nii.gz"
    )
    assert done.exit_code == 0
    assert not read_volume(masks / "5.nii.gz").data[18:].any()
    with pytest.raises(EmptyRegionError, match="no voxel has label 9"):
        run(rings, masks / "one.nii.gz", *body, "--within-label", "9")
    with pytest.raises(SettingsError, match="whole numbers"):
        run(rings, masks / "one.nii.gz", *body, "--within-label", "lung")
    with pytest.raises(SettingsError, match="needs --within"):
        run(rings, masks / "one.nii.gz", "--within-label", "5")


def test_a_ring_without_voxels_is_told(masks, caplog):
    done = run(rings, masks / "lesions.nii.gz", "--label", 1, "--at", "0-0.2,0.2-3")
    assert done.exit_code == 0
    assert "no voxel centre lies 0 to 0.2 mm" in caplog.text
    table = read_table(masks / "lesions_rings.tsv")
    assert table["status"].tolist() == ["empty", "ok"]
    assert "wider band" in table["reason"].iloc[0]


def test_delta_from_file_to_file(tmp_path):
    frame = pd.DataFrame({
        "subject": ["007", "007", "008"], "session": ["01", "02", "01"],
        "status": ["ok"] * 3, "reason": [""] * 3,
        "shape_MeshVolume_mm3": [200.0, 50.0, 10.0], "glcm_Contrast": [0.0, 1.0, 2.0],
    })  # fmt: skip
    write_table(tmp_path / "features.tsv", frame)
    done = run(delta, tmp_path / "features.tsv", "--from", "01", "--to", "02", "--mode", "percent",
               "--sign", "increase", "--out", tmp_path / "delta.tsv")  # fmt: skip
    assert done.exit_code == 3
    assert "no change: 008, 01 to 02: no session 02" in done.stderr
    found = read_table(tmp_path / "delta.tsv")
    assert found["subject"].tolist() == ["007", "008"]
    assert found["session_from"].tolist() == ["01", "01"]
    assert found["shape_MeshVolume_mm3"].iloc[0] == -75.0
    assert found["glcm_Contrast"].isna().all()
    assert found["status"].tolist() == ["incomplete", "failed"]
    sidecar = json.loads((tmp_path / "delta.tsv.prov.json").read_text())
    assert sidecar["settings"] == {
        "from": "01", "to": ["02"], "mode": "percent", "sign": "increase",
        "time": None, "per": None,
    }  # fmt: skip
    assert sidecar["measured"] == {"rows": 2, "incomplete": 1, "failed": 1}
    done = run(delta, tmp_path / "features.tsv", "--from", "01", "--quiet")
    assert (tmp_path / "features_delta.tsv").is_file()

"""`medpipe segment --model` and `medpipe models` on files."""

import json
import zipfile

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import EmptyRegionError, ReadError, SettingsError
from pipeline.geometry import index_to_world, same_grid
from pipeline.io import read_labels, read_mask, read_series, read_volume, write_volume
from pipeline.model_folder import save_model
from pipeline.segment import networks
from pipeline.types import Geometry, Volume
from tests.unit.io.test_dicom import AXES, CANARY, ORIGIN, SHAPE, STEP, Folder
from tests.unit.io.test_dicom_seg_write import enhanced
from tests.unit.io.test_dicom_seg_write import value as pixel_value
from tests.unit.segment.stub_network import Threshold, make_plan


def run(*arguments):
    """Run a verb; what it raises passes through."""
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture(autouse=True)
def installed(monkeypatch, tmp_path):
    """A folder of models with one stub in it, and nowhere else to look."""
    monkeypatch.setattr(
        networks, "build", lambda name, *, channels, classes, options: Threshold((0.0,) * 2)
    )
    root = tmp_path / "models"
    monkeypatch.setenv("MEDPIPE_MODELS", str(root))
    card = {
        "modality": "MR", "licence": "CC0-1.0", "metrics": {"dice": {"shell": 0.912}},
        "mirror_axes": [0, 1, 2],
    }  # fmt: skip
    weights = {"limits": torch.tensor([0.25, 0.75])}
    save_model(root / "stub", make_plan(), weights, card)
    return root


@pytest.fixture
def t1(tmp_path):
    grid = Geometry((20, 22, 18), (1.0, 1.0, 1.0), (-3.0, 8.0, 2.0), np.diag([-1.0, -1.0, 1.0]))
    depth = np.linalg.norm(np.moveaxis(np.indices(grid.shape), 0, -1) - [9, 12, 8], axis=-1)
    image = np.select([depth < 4, depth < 6.5], [1.0, 0.5], 0.0).astype(np.float32)
    path = tmp_path / "t1.nii.gz"
    write_volume(path, Volume(image, grid))
    return path


def sidecar(path):
    return json.loads(path.with_name(path.name + ".prov.json").read_text("utf-8"))


def test_a_model_by_name(t1, installed):
    done = run("segment", t1, "--model", "stub")
    out = t1.parent / "t1_segmentation.nii.gz"
    assert done.stdout.strip() == str(out)
    image, found = read_volume(t1), read_labels(out)
    assert same_grid(image.grid, found.grid)
    expected = np.select([image.data == 1.0, image.data == 0.5], [9, 5])
    assert np.array_equal(found.data, expected)
    record = sidecar(out)
    measured = record["measured"]
    assert measured["label_volume_mm3"] == {
        "shell": float((expected == 5).sum()), "core": float((expected == 9).sum()),
    }  # fmt: skip
    assert measured["volume_mm3"] == measured["voxels"] == np.count_nonzero(expected)
    assert measured["device"] == "cpu"
    assert measured["models"][0]["name"] == "stub"
    assert [entry["path"] for entry in record["inputs"]] == ["t1.nii.gz", "stub"]
    assert record["settings"]["overlap"] == 0.5


def test_options_reach_the_prediction(t1, tmp_path, installed):
    save_model(installed / "other", make_plan(), {"limits": torch.tensor([0.3, 0.6])}, {})
    out = tmp_path / "deep" / "mask.nii.gz"
    run("segment", t1, "--model", f"stub, {installed / 'other'}", "--out", out, "--uncertainty",
        "--mirror", "--overlap", 0.25, "--window", "9,9,10", "--largest-piece", "--piece-mm3", 5,
        "--hole-mm3", 3, "--threads", 1, "--device", "cpu")  # fmt: skip
    for name in ("entropy", "spread"):
        volume = read_volume(out.with_name(f"mask_{name}.nii.gz"))
        assert volume.data.max() > 0
        assert volume.data.max() < np.log(3) + 1e-5
        assert sidecar(out.with_name(f"mask_{name}.nii.gz"))["block"] == "segment"
    settings = sidecar(out)["settings"]
    assert settings["rules"] == {"largest_only": True, "minimum_mm3": 5.0, "hole_mm3": 3.0}
    assert settings["mirror"] is True
    assert settings["window"] == sidecar(out)["measured"]["window"] == [9, 9, 10]
    assert set(sidecar(out)["measured"]["label_volume_cv"]) == {"shell", "core"}


def test_same_bytes(t1, tmp_path):
    outs = [tmp_path / name / "mask.nii.gz" for name in ("a", "b")]
    for out in outs:
        run("segment", t1, "--model", "stub", "--out", out)
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_an_external_mask_still_wins(t1, tmp_path):
    drawn = tmp_path / "drawn.nii.gz"
    image = read_volume(t1)
    write_volume(drawn, Volume((image.data == 1.0).astype(np.uint8), image.grid))
    out = tmp_path / "out.nii.gz"
    run("segment", t1, "--model", "stub", "--mask", drawn, "--out", out)
    assert sidecar(out)["measured"]["method"] == "external"


def test_nothing_found(tmp_path, t1):
    image = read_volume(t1)
    dark = tmp_path / "dark.nii.gz"
    write_volume(dark, Volume(image.data * 0.1, image.grid))
    with pytest.raises(EmptyRegionError, match=r"stub finds none of shell, core.*--allow-empty"):
        run("segment", dark, "--model", "stub")
    assert run("segment", dark, "--model", "stub", "--allow-empty").exit_code == 0
    measured = sidecar(tmp_path / "dark_segmentation.nii.gz")["measured"]
    assert measured["status"] == "empty"
    assert measured["warnings"] == ["no voxel of shell, core was found"]


@pytest.mark.parametrize(("flags", "error", "words"), [
    (["--model", "absent"], ReadError, r"'absent': neither a folder nor installed.*stub"),
    (["--model", "stub", "--device", "tpu9"], SettingsError, r"--device tpu9"),
    (["--model", "stub", "--overlap", "1"], SettingsError, r"overlap 1 must"),
    (["--model", "stub", "--dicom-seg", "a.dcm"], SettingsError, r"refers to the slices"),
    (["--model", "stub", "--phase", "4"], SettingsError, r"--phase 4"),
    (["--model", "stub", "--piece-mm3", "-1"], SettingsError, r"minimum_mm3 -1"),
    (["--model", "stub", "--window", "8,8"], SettingsError, r"--window 8,8: give three"),
    (["--mirror", "--window", "8,8,8"], SettingsError, r"--mirror, --window: of networks alone"),
])  # fmt: skip
def test_flags_without_meaning(t1, flags, error, words):
    with pytest.raises(error, match=words):
        run("segment", t1, *flags)
    assert not (t1.parent / "t1_segmentation.nii.gz").exists()


def test_without_a_model_the_fitting_ones_are_named(t1, caplog):
    with caplog.at_level("INFO"):
        run("segment", t1, "--allow-empty")
    assert "models for this kind of image (MR): --model hippocampus, stub" in caplog.text
    assert sidecar(t1.parent / "t1_segmentation.nii.gz")["measured"]["method"] != "network"


@pytest.fixture
def series(tmp_path):
    """A DICOM series with a bright box in it."""
    folder = tmp_path / "series"
    folder.mkdir()
    written = Folder(folder)
    bright = np.zeros(SHAPE, np.int16)
    bright[1:5, 2:5, 1:4] = 1
    bright[2:4, 3:4, 2:3] = 2
    for k in (3, 0, 4, 2, 1):
        written.add(k, PixelData=bright[:, :, k].T.tobytes(), RescaleSlope=0.5, RescaleIntercept=0)
    return folder, bright


def test_dicom_in_and_dicom_seg_out(series, installed, tmp_path):
    folder, bright = series
    grid = read_volume(folder).grid
    plan = make_plan(spacing_mm=grid.spacing_mm)
    save_model(installed / "own", plan, {"limits": torch.tensor([0.25, 0.75])}, {})
    out, seg = tmp_path / "m.nii.gz", tmp_path / "m.dcm"
    run("segment", folder, "--model", "own", "--out", out, "--dicom-seg", seg)
    mask = read_labels(out)
    assert {int(v) for v in np.unique(mask.data)} == {0, 5, 9}
    for number, value in ((1, 5), (2, 9)):
        back = read_mask(seg, label=number, like=grid)
        assert np.array_equal(back.data > 0, mask.data == value)
        expected = index_to_world(grid, np.argwhere(bright == number)).mean(axis=0)
        centre = index_to_world(back.grid, np.argwhere(back.data)).mean(axis=0)
        np.testing.assert_allclose(centre, expected, atol=1e-3)
    first = seg.read_bytes()
    assert CANARY.encode() not in first + out.read_bytes()
    assert CANARY not in json.dumps(sidecar(seg))
    seg.unlink()
    run("segment", folder, "--model", "own", "--out", out, "--dicom-seg", seg)
    assert seg.read_bytes() == first


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_an_enhanced_image_in_and_dicom_seg_out(installed, tmp_path, modality):
    source, out, seg = tmp_path / "enhanced.dcm", tmp_path / "m.nii.gz", tmp_path / "m.dcm"
    enhanced(source, modality, phases=2)  # values: column + 10 row + 100 slice + 1000 phase
    grid = read_series(source).grid
    save_model(installed / "own", make_plan(spacing_mm=grid.spacing_mm),
               {"limits": torch.tensor([1150.0, 1350.0])}, {})  # fmt: skip
    run("segment", source, "--model", "own", "--phase", 1, "--out", out, "--dicom-seg", seg)
    mask = read_labels(out)
    k = np.indices(SHAPE)[2]
    assert np.array_equal(mask.data == 9, (k >= 4) | ((k == 3) & (pixel_value(1) > 1350)))
    for number, label in ((1, 5), (2, 9)):
        back = read_mask(seg, label=number)
        expected = ORIGIN + AXES @ (
            np.argwhere(mask.data == label).mean(axis=0) * [0.75, 1.5, STEP]
        )
        centre = index_to_world(back.grid, np.argwhere(back.data)).mean(axis=0)
        np.testing.assert_allclose(centre, expected, atol=1e-3)
    assert CANARY.encode() not in seg.read_bytes() + out.read_bytes()


def test_dicom_seg_of_a_lesion_without_a_network(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    written, rng = Folder(folder), np.random.default_rng(0)
    bright = (rng.normal(100, 5, (24, 24, 12))).astype(np.int16)
    bright[8:16, 7:15, 3:9] += 400
    for k in range(12):
        position = (ORIGIN + k * 2.0 * AXES[:, 2]).round(6).tolist()
        written.add(k, PixelData=bright[:, :, k].T.tobytes(), Columns=24, Rows=24,
                    PixelSpacing=[2.0, 2.0], ImagePositionPatient=position)  # fmt: skip
    out, seg = tmp_path / "m.nii.gz", tmp_path / "m.dcm"
    run("segment", folder, "--out", out, "--dicom-seg", seg)
    mask = read_mask(out)
    assert mask.data.sum() > 200
    assert np.array_equal(read_mask(seg, like=mask.grid).data, mask.data)
    assert sidecar(seg)["measured"]["method"] == "spatial fuzzy C-means"
    with pytest.raises(SettingsError, match="--mask brings one from elsewhere"):
        run("segment", folder, "--mask", out, "--dicom-seg", tmp_path / "n.dcm")


def test_dicom_seg_is_read_by_highdicom(series, installed, tmp_path):
    import highdicom as hd

    folder, bright = series
    save_model(installed / "own", make_plan(spacing_mm=read_volume(folder).grid.spacing_mm),
               {"limits": torch.tensor([0.25, 0.75])}, {})  # fmt: skip
    seg = tmp_path / "m.dcm"
    run("segment", folder, "--model", "own", "--out", tmp_path / "m.nii.gz", "--dicom-seg", seg)
    found = hd.seg.segread(seg)
    assert [s.SegmentLabel for s in found.SegmentSequence] == ["shell", "core"]
    assert found.PatientName == found.PatientID == ""
    volume = found.get_volume(combine_segments=True)
    assert np.count_nonzero(volume.array) == np.count_nonzero(bright)


def test_models_are_listed_shown_and_imported(installed, tmp_path):
    listed = run("models").stdout
    assert "stub" in listed
    for word in ("shell,core", "MR", "1x1x1", "2", "CC0-1.0", "dice shell 0.912"):
        assert word in listed
    (document,) = (d for d in json.loads(run("models", "--json").stdout) if d["name"] == "stub")
    assert document["plan"]["labels"] == {"shell": 5, "core": 9}
    assert json.loads(run("models", "show", "stub").stdout) == document
    archive = tmp_path / "new.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in (installed / "stub").iterdir():
            target.write(path, f"imported/{path.name}")
    assert run("models", "import", archive).stdout.strip() == str(installed / "imported")
    assert "imported" in run("models").stdout

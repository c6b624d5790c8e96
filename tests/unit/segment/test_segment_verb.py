"""`medpipe segment` on files."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import EmptyRegionError, ReadError, SettingsError
from pipeline.geometry import index_to_world, same_grid
from pipeline.io import read_mask, write_series, write_volume
from pipeline.types import Geometry, Volume


def run(*arguments):
    """Run the verb; what it raises passes through."""
    return CliRunner().invoke(app, ["segment", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def series_path(breast, tmp_path):
    series, _, _ = breast()
    path = tmp_path / "dce.nii.gz"
    write_series(path, series)
    return path


def sidecar(path):
    return json.loads(path.with_name(path.name + ".prov.json").read_text("utf-8"))


def test_nothing_to_configure(series_path, breast, dice):
    series, true, _ = breast()
    done = run(series_path)
    out = series_path.parent / "dce_segmentation.nii.gz"
    assert done.stdout.strip() == str(out)
    found = read_mask(out)
    assert same_grid(found.grid, series.grid)
    assert dice(found.data > 0, true) > 0.93
    measured = sidecar(out)["measured"]
    assert measured["status"] == "found"
    assert measured["seed_source"] == "peak"
    assert measured["volume_mm3"] == pytest.approx(found.data.sum() * 8.0)
    assert measured["steps"][-1]["volume_mm3"] == pytest.approx(measured["volume_mm3"])


def test_flags_reach_the_block_and_the_record(series_path, tmp_path, lesion_mm):
    out = tmp_path / "one" / "mask.nii.gz"
    seed = ",".join(map(str, lesion_mm))
    run(series_path, "--out", out, f"--seed-mm={seed}", "--phase", 1, "--clusters", 2,
        "--opening-mm", 2, "--method", "fcm")  # fmt: skip
    record = sidecar(out)
    assert record["settings"]["clusters"] == 2
    assert record["settings"]["opening_mm"] == 2.0
    assert record["settings"]["seed_mm"] == list(lesion_mm)
    assert record["measured"]["phase_time_s"] == 90.0
    assert record["measured"]["clusters"] == 2


def test_a_single_image(tmp_path, dice):
    grid = Geometry((40, 40, 40), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.diag([-1.0, -1.0, 1.0]))
    points = index_to_world(grid, np.moveaxis(np.indices(grid.shape), 0, -1))
    lesion = np.linalg.norm(points - [-36.0, -40.0, 44.0], axis=-1) <= 10.0
    image = 5.0 * lesion + np.random.default_rng(0).standard_normal(grid.shape)
    path = tmp_path / "t1.nii.gz"
    write_volume(path, Volume(image.astype(np.float32), grid))
    run(path)
    found = read_mask(tmp_path / "t1_segmentation.nii.gz")
    assert dice(found.data > 0, lesion) > 0.95
    assert same_grid(found.grid, grid)


def test_an_external_mask_wins_and_lands_on_the_grid(series_path, tmp_path, breast, lesion_mm):
    series, _, _ = breast()
    # a box drawn on a coarser, flipped grid
    grid = Geometry((20, 20, 20), (4.0, 4.0, 4.0), (40.0, 120.0, -20.0), np.diag([-1.0, -1.0, 1.0]))
    drawn = np.zeros(grid.shape, dtype=np.uint8)
    drawn[9:14, 11:16, 5:9] = 3
    drawn[0, 0, 0] = 1
    path, out = tmp_path / "drawn.nii.gz", tmp_path / "out.nii.gz"
    write_volume(path, Volume(drawn, grid))
    run(series_path, "--mask", path, "--label", 3, "--out", out)
    found = read_mask(out)
    assert same_grid(found.grid, series.grid)
    assert found.data.sum() * 8.0 == pytest.approx(100 * 64.0, rel=0.25)
    centres = index_to_world(series.grid, np.argwhere(found.data)).mean(axis=0)
    expected = index_to_world(grid, np.argwhere(drawn == 3)).mean(axis=0)
    np.testing.assert_allclose(centres, expected, atol=1.1)
    record = sidecar(out)
    assert record["measured"]["method"] == "external"
    assert [entry["path"] for entry in record["inputs"]] == ["dce.nii.gz", "drawn.nii.gz"]


def test_no_lesion_is_an_error_unless_allowed(tmp_path, breast, lesion_mm):
    series, _, _ = breast(radius_mm=0.0, necrotic=False)
    path, out = tmp_path / "followup.nii.gz", tmp_path / "mask.nii.gz"
    write_series(path, series)
    arguments = (path, "--out", out, "--seed-mm=" + ",".join(map(str, lesion_mm)))
    with pytest.raises(EmptyRegionError, match=r"followup.nii.gz: no lesion: .*--allow-empty"):
        run(*arguments)
    assert not out.exists()
    assert run(*arguments, "--allow-empty").exit_code == 0
    assert not read_mask(out).data.any()
    measured = sidecar(out)["measured"]
    assert measured["status"] == "empty"
    assert measured["reason"]
    assert measured["voxels"] == 0


def test_an_external_mask_off_the_image_is_empty(series_path, tmp_path):
    grid = Geometry((4, 4, 4), (2.0, 2.0, 2.0), (900.0, 0.0, 0.0), np.eye(3))
    path = tmp_path / "far.nii.gz"
    write_volume(path, Volume(np.ones(grid.shape, dtype=np.uint8), grid))
    with pytest.raises(EmptyRegionError, match=r"far.nii.gz holds no voxel inside the image"):
        run(series_path, "--mask", path)


def test_same_input_same_bytes(series_path, tmp_path):
    outs = [tmp_path / name / "mask.nii.gz" for name in ("a", "b")]
    run(series_path, "--out", outs[0])
    run(series_path, "--out", outs[1], "--threads", 2)
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seed-mm=1,2"], r"--seed-mm 1,2: give three numbers"),
        (["--seed-mm=a,b,c"], r"--seed-mm a,b,c"),
        (["--method", "net"], r"--method net: unknown; use one of fcm"),
        (["--feature", "t2"], r"--feature t2: unknown"),
        (["--fuzzifier", "1"], r"fuzzifier is 1.0, must be above 1"),
    ],
)
def test_flags_without_meaning(series_path, flags, words):
    with pytest.raises(SettingsError, match=words):
        run(series_path, *flags)


def test_a_missing_file(tmp_path):
    with pytest.raises(ReadError, match=r"absent.nii.gz"):
        run(tmp_path / "absent.nii.gz")

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import EmptyRegionError, GeometryError
from pipeline.io import read_table, read_volume, write_field, write_volume
from pipeline.registration.fields import affine_to_field
from pipeline.types import DisplacementField, Geometry, Volume

NAMES = ("jacobian.nii.gz", "jacobian_log.nii.gz", "statistics.tsv", "statistics.json")


def run(*arguments):
    return CliRunner().invoke(app, ["jacobian", *map(str, arguments), "--quiet"])


def scaled(grid: Geometry, *factors: float) -> DisplacementField:
    return affine_to_field(np.diag([*factors, 1.0]), grid)


@pytest.fixture
def files(grid, tmp_path):
    write_field(tmp_path / "u.nii.gz", scaled(grid, 1.1, 1.1, 1.1))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:5, 2:5, 2:5], labels[6, 6, 1:3] = 1, 4
    write_volume(tmp_path / "labels.nii.gz", Volume(labels, grid))
    return tmp_path


def test_ten_per_cent_larger_everywhere_and_in_each_label(files, grid):
    done = run(files / "u.nii.gz", "--mask", files / "labels.nii.gz")
    assert done.exit_code == 0, done.output
    folder = files / "u_jacobian"
    assert done.output.strip() == f"folds at 0.000% of the voxels: {folder}"
    np.testing.assert_allclose(read_volume(folder / "jacobian.nii.gz").data, 1.331, atol=1e-4)
    log = read_volume(folder / "jacobian_log.nii.gz").data
    np.testing.assert_allclose(log, np.log(1.331), atol=1e-4)
    table = read_table(folder / "statistics.tsv")
    assert list(table["region"]) == ["everywhere", "1", "4"]
    assert list(table["voxels"]) == [np.prod(grid.shape), 27, 2]
    np.testing.assert_allclose(table["mean"], 1.331, atol=1e-4)
    np.testing.assert_allclose(table["volume_mm3"], table["voxels"] * 4.5)
    np.testing.assert_allclose(table["moved_volume_mm3"], table["volume_mm3"] * 1.331, rtol=1e-4)
    rows = json.loads((folder / "statistics.json").read_text())["regions"]
    assert [row["region"] for row in rows] == ["everywhere", "1", "4"]
    assert rows[1]["mean_log"] == pytest.approx(np.log(1.331), abs=1e-4)
    assert all((folder / f"{name}.prov.json").is_file() for name in NAMES)


def test_folds_are_counted_and_have_no_logarithm(files, grid):
    write_field(files / "mirror.nii.gz", scaled(grid, -1.0, 1.0, 1.0))
    done = run(files / "mirror.nii.gz", "--out", files / "out")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "folds at 100.000%" in done.output
    assert np.isnan(read_volume(files / "out/jacobian_log.nii.gz", allow_nonfinite=True).data).all()
    row = json.loads((files / "out/statistics.json").read_text())["regions"][0]
    assert row["folding_fraction"] == 1
    assert row["mean"] == pytest.approx(-1, abs=1e-4)
    assert row["mean_log"] is None


def test_masks_of_another_grid_or_without_a_voxel_are_refused(files, grid):
    before = set(files.iterdir())
    other = Geometry(grid.shape, (2.0, 2.0, 2.0), grid.origin_mm, grid.direction)
    write_volume(files / "other.nii.gz", Volume(np.ones(grid.shape, np.uint8), other))
    write_volume(files / "empty.nii.gz", Volume(np.zeros(grid.shape, np.uint8), grid))
    done = run(files / "u.nii.gz", "--mask", files / "other.nii.gz")
    assert isinstance(done.exception, GeometryError)
    done = run(files / "u.nii.gz", "--mask", files / "empty.nii.gz")
    assert isinstance(done.exception, EmptyRegionError)
    assert set(files.iterdir()) == before | {files / "other.nii.gz", files / "empty.nii.gz"}

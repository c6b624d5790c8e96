import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import GeometryError, ImageError
from pipeline.io import read_affine, read_field, read_volume, write_series, write_volume
from pipeline.registration.fields import warp
from pipeline.types import Series, Volume

NAMES = ("displacement.nii.gz", "inverse.nii.gz", "warped.nii.gz", "jacobian.nii.gz",
         "affine.tfm", "metrics.json")  # fmt: skip
FAST = ["--no-inverse-consistency", "--quiet"]


def run(*arguments):
    return CliRunner().invoke(app, ["register", *map(str, arguments)], catch_exceptions=True)


@pytest.fixture
def files(tmp_path, lesion_case):
    case = lesion_case()
    for name, volume in (("base", case.fixed), ("later", case.moving)):
        write_volume(tmp_path / f"{name}.nii.gz", Volume(volume.data.astype(np.float32),
                                                         volume.grid))  # fmt: skip
    write_volume(tmp_path / "mask.nii.gz", Volume(case.mask, case.fixed.grid))
    return tmp_path


def test_writes_everything_beside_the_moving_image_and_repeats_its_bytes(files):
    arguments = [files / "base.nii.gz", files / "later.nii.gz", *FAST, "--fixed-mask",
                 files / "mask.nii.gz"]  # fmt: skip
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    folder = files / "later_to_base"
    assert done.output.strip().endswith(str(folder))
    metrics = json.loads((folder / "metrics.json").read_text())
    jacobian = read_volume(folder / "jacobian.nii.gz").data
    mask = read_volume(files / "mask.nii.gz").data > 0
    assert metrics["mean_jacobian"] == pytest.approx(jacobian[mask].mean(), rel=1e-5)
    field, moving = read_field(folder / "displacement.nii.gz"), read_volume(files / "later.nii.gz")
    warped = read_volume(folder / "warped.nii.gz").data
    again = warp(moving, field, outside=float(moving.data.min())).data
    assert np.median(np.abs(warped - again)) < 1e-3
    assert read_affine(folder / "affine.tfm").shape == (4, 4)
    assert all((folder / f"{name}.prov.json").is_file() for name in NAMES)
    assert run(*arguments, "--out", files / "again").exit_code == 0
    for name in NAMES:
        assert (folder / name).read_bytes() == (files / "again" / name).read_bytes(), name


def test_series_use_the_phase_nearest_to_the_time(files):
    base = read_volume(files / "base.nii.gz")
    data = np.stack([base.data[::-1], base.data, base.data * 0.5], axis=-1)
    write_series(files / "dce.nii.gz", Series(data, base.grid, (0.0, 170.0, 400.0)))
    done = run(files / "dce.nii.gz", files / "base.nii.gz", *FAST, "--deformable", "none",
               "--out", files / "out")  # fmt: skip
    assert done.exit_code == 0, done.output
    metrics = json.loads((files / "out/metrics.json").read_text())
    assert metrics["fixed_time_s"] == 170.0
    assert "moving_time_s" not in metrics
    assert metrics["correlation_after"] > 0.99


def test_bad_input_writes_nothing(files):
    base = read_volume(files / "base.nii.gz")
    write_volume(files / "flat.nii.gz", Volume(np.ones_like(base.data), base.grid))
    write_volume(files / "small.nii.gz", Volume(base.data[:20] > 300, base.grid.__class__(
        (20, *base.grid.shape[1:]), base.grid.spacing_mm, base.grid.origin_mm,
        base.grid.direction)))  # fmt: skip
    flat = run(files / "base.nii.gz", files / "flat.nii.gz", "--out", files / "out")
    assert isinstance(flat.exception, ImageError)
    mask = run(files / "base.nii.gz", files / "later.nii.gz", "--fixed-mask",
               files / "small.nii.gz", "--out", files / "out")  # fmt: skip
    assert isinstance(mask.exception, GeometryError)
    assert not (files / "out").exists()

"""What two grids differ by: in mm, in words, and with a command that works."""

import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

from cli.preprocess import preprocess
from pipeline.errors import GeometryError
from pipeline.geometry import same_grid
from pipeline.grid_difference import check_same_grid, describe_difference, grid_difference
from pipeline.io import read_volume, write_volume
from pipeline.types import Geometry, Volume

GRID = Geometry((40, 36, 24), (1.0, 0.8, 3.0), (-12.0, 5.0, 40.0), np.eye(3))
NAMES = ("image.nii.gz", "mask.nii.gz")
HALF_TURN = np.diag([-1.0, -1.0, 1.0])


def turned(degrees):
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


def told(**changes):
    return describe_difference(GRID, replace(GRID, **changes), NAMES)


def test_a_half_voxel_shift():
    text = told(origin_mm=(-11.5, 5.0, 41.5))
    assert "lie up to 1.58 mm apart" in text
    assert "shifted by 0.5, 0, 1.5 mm along i, j, k: 0.5, 0, 0.5 voxels" in text
    assert "half-voxel shift" in text


def test_the_shift_is_along_the_axes_of_the_image_not_of_the_room():
    oblique = replace(GRID, direction=turned(30))
    moved = np.asarray(GRID.origin_mm) + turned(30) @ [0.0, 0.4, 0.0]
    found = grid_difference(oblique, replace(oblique, origin_mm=tuple(moved)))
    np.testing.assert_allclose(found.shift_mm, [0, 0.4, 0], atol=1e-12)
    np.testing.assert_allclose(found.shift_voxels, [0, 0.5, 0], atol=1e-12)
    assert found.turned_deg == pytest.approx(0, abs=1e-6)


def test_flips_with_and_without_their_origin():
    flip = np.diag([-1.0, 1.0, 1.0])
    text = told(direction=flip, origin_mm=(27.0, 5.0, 40.0))
    assert "axis i runs the other way" in text
    assert "the same box with its axes flipped" in text
    text = told(direction=flip)
    assert "origin that was left behind" in text
    assert "before resampling" in text


def test_swapped_axes_keep_their_spacing():
    text = told(shape=(24, 36, 40), spacing_mm=(3.0, 0.8, 1.0), direction=np.eye(3)[:, [2, 1, 0]])
    assert "(40, 36, 24) voxels, mask.nii.gz has (24, 36, 40)" in text
    assert "axes i, j, k run along k, j, i" in text
    assert "the same box" in text
    assert "spacing" not in text


def test_ras_taken_for_lps():
    text = told(direction=HALF_TURN, origin_mm=(12.0, -5.0, 40.0))
    assert "a header in RAS that was taken for LPS" in text
    assert "axes i and j run the other way" in text


def test_another_spacing():
    text = told(spacing_mm=(1.0, 0.8, 1.0), shape=(40, 36, 72), origin_mm=(-12.0, 5.0, 39.0))
    assert "spacing 1, 0.8, 3 mm against 1, 0.8, 1 mm, a difference of 0, 0, -2 mm" in text
    assert "the same field of view at another spacing" in text
    assert "of another field of view" in told(spacing_mm=(1.0, 0.8, 2.5))


def test_another_size():
    assert "missing at the far end" in told(shape=(40, 36, 20))
    assert "cropped or padded by whole voxels" in told(
        shape=(40, 36, 20), origin_mm=(-12.0, 5.0, 46.0)
    )
    assert "moved by whole voxels" in told(origin_mm=(-12.0, 5.0, 46.0))


@pytest.mark.parametrize(
    ("degrees", "said"),
    [(10.0, "slices lie at another angle"), (0.02, "a direction that was rounded")],
)
def test_a_rotated_direction(degrees, said):
    text = told(direction=turned(degrees))
    assert f"axes turned by {degrees:g} degrees" in text
    assert said in text


def test_rounding_is_no_other_series_and_a_distant_box_is():
    assert "rounded when the header was written" in told(origin_mm=(-12.003, 5.0, 40.0))
    assert "0.0005" in told(spacing_mm=(1.0005, 0.8, 3.0))
    assert "rounded when the header was written" in told(spacing_mm=(1.0005, 0.8, 3.0))
    assert "patient or table that moved" in told(origin_mm=(-12.2, 5.0, 40.0))
    assert "do not overlap" in told(origin_mm=(-12.0, 5.0, 900.0))


def test_words_are_no_paths():
    text = describe_difference(GRID, replace(GRID, shape=(1, 1, 1)), ("the image", "the mask"))
    assert "medpipe preprocess OTHER --like IMAGE --as-mask" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"origin_mm": (-11.5, 5.4, 41.5)},
        {"direction": np.diag([-1.0, 1.0, 1.0]), "origin_mm": (27.0, 5.0, 40.0)},
        {"spacing_mm": (1.0, 0.8, 1.5), "shape": (40, 36, 48)},
        {"shape": (40, 36, 20)},
        {"direction": turned(10)},
    ],
)
def test_the_command_that_is_told_brings_the_mask_onto_the_image(tmp_path, changes):
    image, mask = tmp_path / "an image.nii.gz", tmp_path / "mask.nii.gz"
    other = replace(GRID, **changes)
    labels = np.zeros(other.shape, np.uint8)
    labels[10:30, 8:28, 5:15] = 3
    write_volume(image, Volume(np.ones(GRID.shape, np.float32), GRID))
    write_volume(mask, Volume(labels, other))
    with pytest.raises(GeometryError) as raised:
        check_same_grid(read_volume(image).grid, read_volume(mask).grid, (str(image), str(mask)))
    command = re.search("`(medpipe preprocess .* --as-mask)`", str(raised.value)).group(1)
    _, _, source, _, like, _ = shlex.split(command)
    preprocess([tmp_path / source], like=tmp_path / like, as_mask=True)
    found = read_volume(tmp_path / "mask_preprocessed.nii.gz")
    assert same_grid(found.grid, GRID)
    assert set(np.unique(found.data)) == {0, 3}
    volume = np.count_nonzero(found.data) * GRID.voxel_volume_mm3
    wanted = np.count_nonzero(labels) * other.voxel_volume_mm3
    assert volume == pytest.approx(wanted, rel=0.1)

"""Fault test 7: each odd geometry gets a named verdict; 48 orientations keep their places."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import GeometryError, ReadError
from pipeline.geometry import from_sitk, grid_difference_mm, index_to_world
from pipeline.io import read_mask, read_volume, write_volume
from pipeline.types import Geometry, Volume

DATA = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
NAN = float("nan")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"pixdim": (1, NAN, 3, 4, 0, 0, 0, 0)}, "spacing .nan, 3, 4. mm"),
        ({"pixdim": (1, 0, 3, 4, 0, 0, 0, 0)}, "spacing .0, 3, 4. mm"),
        ({"pixdim": (1, -2, 3, 4, 0, 0, 0, 0)}, "spacing .-2, 3, 4. mm"),
        ({"pixdim": (1, 1e6, 3, 4, 0, 0, 0, 0)}, r"spacing .1e\+06, 3, 4. mm"),
        ({"pixdim": (1, 1e-5, 3, 4, 0, 0, 0, 0)}, "spacing .1e-05, 3, 4. mm"),
        ({"pixdim": (1, 1, 1, 1, 0, 0, 0, 0)}, "pixdim says 1 x 1 x 1 mm, the sform 2 x 3 x 4"),
        ({"srow": (2, 0.5, 0, 10, 0, 2.958, 0, 20, 0, 0, 4, 30)}, "sheared.*80.4.*gantry"),
        ({"srow": (2, 0, 0, NAN, 0, 3, 0, 20, 0, 0, 4, 30)}, "origin .nan"),
        ({"srow": (2, 0, 0, 1e9, 0, 3, 0, 20, 0, 0, 4, 30)}, r"origin .-1e\+09"),
        ({"srow": (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)}, "spacing .0, 0, 0. mm"),
        ({"sform_code": 0, "qform_code": 1, "quatern": (1.0, 1.0, 0.0)}, "squared length 2"),
    ],
)  # fmt: skip
def test_refused(tmp_path, raw_nifti, fields, reason):
    path = tmp_path / "odd.nii.gz"
    path.write_bytes(raw_nifti(DATA, compress=True, **fields))
    with pytest.raises(GeometryError, match=reason) as error:
        read_volume(path)
    assert str(path) in str(error.value)


def read(tmp_path, content):
    path = tmp_path / "odd.nii"
    path.write_bytes(content)
    return read_volume(path), from_sitk(sitk.ReadImage(str(path)))


def test_no_pose_at_all_is_logged(tmp_path, raw_nifti, caplog):
    found, _ = read(tmp_path, raw_nifti(DATA, sform_code=0, qform_code=0))
    assert found.grid.spacing_mm == (2.0, 3.0, 4.0)
    assert np.array_equal(found.grid.direction, np.diag([-1.0, -1.0, 1.0]))
    assert "do not trust left and right" in caplog.text


@pytest.mark.parametrize(("sform", "winner"), [(1, "sform"), (2, "qform")])
def test_poses_that_disagree_are_told_in_mm(tmp_path, raw_nifti, caplog, sform, winner):
    content = raw_nifti(DATA, sform_code=sform, qform_code=1, qoffset=(15.0, 20.0, 30.0))
    found, theirs = read(tmp_path, content)
    assert f"corners up to 5 mm apart: the {winner} is used" in caplog.text
    assert grid_difference_mm(found.grid, theirs.grid) < 1e-5


def test_poses_that_agree_say_nothing(tmp_path, raw_nifti, caplog):
    content = raw_nifti(DATA, qform_code=1, qoffset=(10.0, 20.0, 30.0))
    found, theirs = read(tmp_path, content)
    assert caplog.text == ""
    assert grid_difference_mm(found.grid, theirs.grid) < 1e-5


def test_a_sheared_sform_gives_way_to_the_qform(tmp_path, raw_nifti, caplog):
    rows = (2, 0.5, 0, 10, 0, 2.958, 0, 20, 0, 0, 4, 30)
    content = raw_nifti(DATA, srow=rows, qform_code=1, qoffset=(11.0, 20.0, 30.0))
    found, theirs = read(tmp_path, content)
    assert "the qform is used" in caplog.text
    assert found.grid.origin_mm == (-11.0, -20.0, 30.0) == theirs.grid.origin_mm


def test_a_broken_qform_gives_way_to_the_sform(tmp_path, raw_nifti, caplog):
    found, _ = read(tmp_path, raw_nifti(DATA, qform_code=1, quatern=(1.0, 1.0, 1.0)))
    assert "the sform is used" in caplog.text
    assert found.grid.origin_mm == (-10.0, -20.0, 30.0)


@pytest.mark.parametrize(("cosine", "message"), [(5e-5, ""), (1e-3, "straightened")])
def test_small_shear_is_straightened(tmp_path, raw_nifti, caplog, cosine, message):
    rows = (2, 3 * cosine, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30)
    path = tmp_path / "odd.nii"
    path.write_bytes(raw_nifti(DATA, srow=rows))
    direction = read_volume(path).grid.direction
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    assert message in caplog.text
    assert bool(caplog.text) == bool(message)


def test_left_handed_axes_are_ordinary(tmp_path, raw_nifti):
    rows = (-2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30)
    found, theirs = read(tmp_path, raw_nifti(DATA, srow=rows))
    assert np.linalg.det(found.grid.direction) == pytest.approx(-1)
    assert grid_difference_mm(found.grid, theirs.grid) < 1e-5


def test_four_dimensions(tmp_path, raw_nifti, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "odd.nii"
    path.write_bytes(raw_nifti(DATA[..., np.newaxis]))
    assert read_volume(path).data.shape == DATA.shape
    assert "4-D file with a single image" in caplog.text
    path.write_bytes(raw_nifti(np.stack([DATA, DATA], axis=-1)))
    with pytest.raises(ReadError, match="2 x 3 x 4 x 2 where one 3-D image is needed"):
        read_volume(path)


def test_single_slices(tmp_path, raw_nifti, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "odd.nii"
    path.write_bytes(raw_nifti(DATA[:, :, :1]))
    assert read_volume(path).grid.shape == (2, 3, 1)
    assert "a single slice" in caplog.text
    flat = raw_nifti(DATA[:, :, 0], sform_code=0, pixdim=(1, 2, 3, 0, 0, 0, 0, 0))
    path.write_bytes(flat)
    assert read_volume(path).grid.spacing_mm == (2.0, 3.0, 1.0)
    assert "1 mm is assumed" in caplog.text


def test_metres_and_micrometres(tmp_path, raw_nifti):
    for units, factor in ((1, 1000.0), (3, 0.001)):
        size = tuple(v / factor for v in (2, 3, 4))
        rows = tuple(v / factor for v in (2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30))
        content = raw_nifti(DATA, units=units, pixdim=(1, *size, 0, 0, 0, 0), srow=rows)
        found, theirs = read(tmp_path, content)
        np.testing.assert_allclose(found.grid.spacing_mm, (2, 3, 4), rtol=1e-6)
        assert grid_difference_mm(found.grid, theirs.grid) < 1e-4


@pytest.mark.parametrize(
    ("line", "new", "reason"),
    [
        ("ElementSpacing", "ElementSpacing = 0 1 1", "spacing .0, 1, 1. mm"),
        ("ElementSpacing", "ElementSpacing = -1 1 1", "spacing .-1, 1, 1. mm"),
        ("ElementSpacing", "ElementSpacing = nan 1 1", "spacing .nan, 1, 1. mm"),
        ("TransformMatrix", "TransformMatrix = 1 0 0 0.6 0.8 0 0 0 1", "sheared.*53.13"),
        ("TransformMatrix", "TransformMatrix = 1 0 0 0 2 0 0 0 1", "lengths 1, 2, 1 instead of 1"),
        ("Offset", "Offset = inf 0 0", "origin .inf"),
    ],
)
def test_metaimage_refused(tmp_path, volume, line, new, reason):
    path = tmp_path / "odd.mha"
    write_volume(path, volume)
    head, mark, body = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    lines = [new if t.startswith(line) else t for t in head.decode().splitlines()]
    path.write_bytes("\n".join(lines).encode() + b"\n" + mark + body)
    with pytest.raises(GeometryError, match=reason):
        read_volume(path)


@pytest.mark.parametrize(
    ("line", "new", "reason"),
    [
        ("space directions", "space directions: (0,0,0) (0,1,0) (0,0,1)", "spacing .0, 1, 1. mm"),
        ("space directions", "space directions: (1,0,0) (1,1,0) (0,0,1)", "sheared"),
        ("space directions", "spacing: 1 1 1", "voxel size is unknown"),
        ("space:", "space: scanner-xyz", "left and right"),
        ("space origin", "space origin: (nan,0,0)", "origin .nan"),
    ],
)
def test_nrrd_refused(tmp_path, volume, line, new, reason):
    path = tmp_path / "odd.nrrd"
    write_volume(path, volume)
    head, _, body = path.read_bytes().partition(b"\n\n")
    lines = [new if t.startswith(line) else t for t in head.decode().splitlines()]
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + body)
    with pytest.raises(GeometryError, match=reason):
        read_volume(path)


@pytest.mark.parametrize(("space", "signs"), [("RAS", (-1, -1, 1)), ("LAS", (1, -1, 1))])
def test_nrrd_frames(tmp_path, volume, space, signs):
    path = tmp_path / "frame.nrrd"
    write_volume(path, volume)
    names = {"RAS": b"right-anterior-superior", "LAS": b"left-anterior-superior"}
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", names[space]))
    found = read_volume(path)
    np.testing.assert_allclose(found.grid.origin_mm, np.array(signs) * volume.grid.origin_mm)
    theirs = from_sitk(sitk.ReadImage(str(path)))
    assert grid_difference_mm(found.grid, theirs.grid) < 1e-9


def orientations():
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            yield np.eye(3)[:, list(order)] * np.array(signs)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_mask_centroid_survives_all_48_orientations(tmp_path, ending):
    data = np.zeros((9, 10, 11), np.uint8)
    data[1:4, 2, 3:9] = data[6, 7, 1] = 1
    seen = 0
    for number, direction in enumerate(orientations()):
        grid = Geometry(data.shape, (0.7, 1.3, 2.9), (-31.7, 45.2, 7.3), direction)
        path = tmp_path / f"mask{number}{ending}"
        write_volume(path, Volume(data, grid))
        ours, theirs = read_mask(path), from_sitk(sitk.ReadImage(str(path)))
        truth = index_to_world(grid, np.argwhere(data).mean(axis=0))
        for found in (ours, theirs):
            centroid = index_to_world(found.grid, np.argwhere(found.data).mean(axis=0))
            assert np.abs(centroid - truth).max() < 1e-3, direction
        assert grid_difference_mm(ours.grid, theirs.grid) < 1e-3
        seen += 1
    assert seen == 48

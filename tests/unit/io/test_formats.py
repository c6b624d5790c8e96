"""Every format both ways, against SimpleITK and nibabel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import GeometryError, ReadError, WriteError
from pipeline.geometry import (
    field_from_sitk,
    from_sitk,
    grid_difference_mm,
    index_to_world,
    to_sitk,
)
from pipeline.io import (
    read_field,
    read_mask,
    read_series,
    read_volume,
    write_field,
    write_series,
    write_volume,
)
from pipeline.types import DisplacementField, Geometry, Series, Volume

DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32",
          "float64")  # fmt: skip


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".nhdr", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_what_simpleitk_writes(tmp_path, oblique, rng, ending, compressed, dtype):
    data = (rng.integers(0, 100, oblique.shape)).astype(dtype)
    path = tmp_path / f"image{ending}"
    sitk.WriteImage(to_sitk(Volume(data, oblique)), str(path), compressed)
    found = read_volume(path)
    assert found.data.dtype == dtype
    assert np.array_equal(found.data, data)
    assert grid_difference_mm(found.grid, oblique) < 1e-5


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_simpleitk_reads_what_we_write(tmp_path, oblique, rng, ending, dtype):
    data = rng.integers(0, 100, oblique.shape).astype(dtype)
    path = tmp_path / f"image{ending}"
    write_volume(path, Volume(data, oblique))
    found = from_sitk(sitk.ReadImage(str(path)))
    assert found.data.dtype == ("float32" if dtype == "float64" else dtype)
    assert np.array_equal(found.data, data)
    assert grid_difference_mm(found.grid, oblique) < 1e-5
    assert np.array_equal(read_volume(path).data, data)


def test_order_in_memory_does_not_change_the_file(tmp_path, oblique, rng):
    data = rng.normal(size=oblique.shape).astype(np.float32)
    write_volume(tmp_path / "c.nii.gz", Volume(np.ascontiguousarray(data), oblique))
    write_volume(tmp_path / "f.nii.gz", Volume(np.asfortranarray(data), oblique))
    write_volume(tmp_path / "big.nii.gz", Volume(data.astype(">f4"), oblique))
    one = (tmp_path / "c.nii.gz").read_bytes()
    assert one == (tmp_path / "f.nii.gz").read_bytes() == (tmp_path / "big.nii.gz").read_bytes()
    assert one[3] == 0  # no name in the gzip header
    assert one[4:8] == b"\0\0\0\0"  # no time


def test_agrees_with_nibabel_on_scaled_big_endian(tmp_path, raw_nifti, rng):
    stored = rng.integers(-500, 500, (4, 5, 6)).astype(np.int16)
    path = tmp_path / "scaled.nii.gz"
    path.write_bytes(raw_nifti(stored, order=">", compress=True, slope=0.25, inter=-3.0))
    found = read_volume(path)
    assert found.data.dtype == np.float32
    assert np.array_equal(found.data, stored * 0.25 - 3.0)
    assert np.array_equal(found.data, nib.load(path).get_fdata())


def test_agrees_with_nibabel_on_nifti_2(tmp_path, oblique, rng):
    data = rng.normal(size=oblique.shape)
    affine = np.diag([-0.7, -1.5, 2.25, 1.0])
    nib.Nifti2Image(data, affine).to_filename(tmp_path / "two.nii.gz")
    found = read_volume(tmp_path / "two.nii.gz")
    assert np.array_equal(found.data, data)
    np.testing.assert_allclose(found.grid.spacing_mm, (0.7, 1.5, 2.25), rtol=1e-12)
    np.testing.assert_allclose(found.grid.direction, np.eye(3), atol=1e-12)


def test_no_scaling_keeps_the_stored_type(tmp_path, raw_nifti):
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for slope, inter in ((1.0, 0.0), (0.0, 5.0), (float("nan"), 0.0)):
        path = tmp_path / "plain.nii"
        path.write_bytes(raw_nifti(data, slope=slope, inter=inter))
        assert read_volume(path).data.dtype == np.int16


def test_stored_types_on_writing(tmp_path, oblique):
    for given, stored in (("bool", "uint8"), ("float64", "float32"), ("float16", "float32")):
        write_volume(tmp_path / "a.nii.gz", Volume(np.ones(oblique.shape, given), oblique))
        assert read_volume(tmp_path / "a.nii.gz").data.dtype == stored
    with pytest.raises(WriteError, match="complex128"):
        write_volume(tmp_path / "a.nii.gz", Volume(np.ones(oblique.shape, complex), oblique))
    with pytest.raises(WriteError, match=r"\.nii\.gz"):
        write_volume(tmp_path / "a.png", Volume(np.ones(oblique.shape), oblique))
    with pytest.raises(GeometryError, match="does not fill"):
        write_volume(tmp_path / "a.nii.gz", Volume(np.ones((2, 2, 2)), oblique))


def test_content_decides_over_name(tmp_path, volume):
    write_volume(tmp_path / "a.nrrd", volume)
    (tmp_path / "a.nrrd").rename(tmp_path / "a.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").data, volume.data)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"PK\x03\x04....", "zip archive"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"hello world", "known kind"),
    ],
)
def test_foreign_files_are_named(tmp_path, content, reason):
    path = tmp_path / "scan"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=reason) as error:
        read_volume(path)
    assert str(path) in str(error.value)


def test_missing_file_and_header_pair(tmp_path, raw_nifti):
    with pytest.raises(ReadError, match="no such file"):
        read_volume(tmp_path / "none.nii.gz")
    data = np.zeros((2, 2, 2), np.uint8)
    (tmp_path / "a.hdr").write_bytes(raw_nifti(data, magic=b"ni1\0"))
    with pytest.raises(ReadError, match="pair"):
        read_volume(tmp_path / "a.hdr")
    (tmp_path / "b.nii").write_bytes(raw_nifti(data, magic=b"\0\0\0\0"))
    with pytest.raises(ReadError, match="ANALYZE"):
        read_volume(tmp_path / "b.nii")
    (tmp_path / "c.nii").write_bytes(raw_nifti(data, datatype=128))
    with pytest.raises(ReadError, match="type 128"):
        read_volume(tmp_path / "c.nii")


def test_pipes_and_unreadable_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    with pytest.raises(ReadError, match="not a regular file"):
        read_volume(tmp_path / "pipe.nii.gz")
    (tmp_path / "circle.nii").symlink_to(tmp_path / "circle.nii")
    with pytest.raises(ReadError, match="circle"):
        read_volume(tmp_path / "circle.nii")


def test_readers_load_only_what_they_need():
    heavy = {"SimpleITK", "nibabel", "pandas", "pydicom", "scipy", "torch", "highdicom"}
    code = (
        "import sys; from pipeline.io import read_volume, read_json, read_affine, write_volume;"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


def test_nan_is_counted_and_can_be_let_in(tmp_path, oblique):
    data = np.zeros(oblique.shape, np.float32)
    data[1, 2, 3], data[4, 5, 6] = np.nan, np.inf
    write_volume(tmp_path / "nan.nii.gz", Volume(data, oblique))
    with pytest.raises(ReadError, match="2 of 504 voxels are NaN"):
        read_volume(tmp_path / "nan.nii.gz")
    let_in = read_volume(tmp_path / "nan.nii.gz", allow_nonfinite=True)
    assert np.array_equal(let_in.data, data, equal_nan=True)


def test_masks(tmp_path, oblique):
    labels = np.zeros(oblique.shape, np.float32)
    labels[1:3], labels[4] = 1, 2
    write_volume(tmp_path / "m.nii.gz", Volume(labels, oblique))
    everything = read_mask(tmp_path / "m.nii.gz")
    assert everything.data.dtype == np.uint8
    assert np.array_equal(everything.data, labels > 0)
    assert np.array_equal(read_mask(tmp_path / "m.nii.gz", label=2).data, labels == 2)
    with pytest.raises(Exception, match="no voxel has label 3; labels there: 0, 1, 2"):
        read_mask(tmp_path / "m.nii.gz", label=3)
    labels[5] = 0.5
    write_volume(tmp_path / "m.nii.gz", Volume(labels, oblique))
    with pytest.raises(ReadError, match="72 voxels are not whole numbers"):
        read_mask(tmp_path / "m.nii.gz")


def test_series_keeps_its_times_to_the_bit(tmp_path, oblique, rng):
    times = (0.0, 90.1, 180.0 / 7)
    series = Series(rng.normal(size=(*oblique.shape, 3)).astype(np.float32), oblique, times)
    path = tmp_path / "s.nii.gz"
    write_series(path, series)
    found = read_series(path)
    assert found.time_s == times
    assert np.array_equal(found.data, series.data)
    with pytest.raises(ReadError, match=r"4-D .* one 3-D image .*--phase"):
        read_volume(path)
    other = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(other), series.data.transpose(3, 2, 1, 0))
    stored = nib.load(path).header.extensions[0]
    assert json.loads(stored.get_content()) == {"time_s": list(times)}


def test_series_of_one_and_steps(tmp_path, raw_nifti, oblique, rng):
    one = Series(rng.normal(size=(*oblique.shape, 1)).astype(np.float32), oblique, (12.5,))
    write_series(tmp_path / "one.nii.gz", one)
    assert read_series(tmp_path / "one.nii.gz").time_s == (12.5,)
    data = np.zeros((2, 3, 4, 5), np.float32)
    path = tmp_path / "steps.nii"
    path.write_bytes(raw_nifti(data, pixdim=(1, 2, 3, 4, 2500, 0, 0, 0), units=2 + 16))
    assert read_series(path).time_s == (0.0, 2.5, 5.0, 7.5, 10.0)
    path.write_bytes(raw_nifti(data, pixdim=(1, 2, 3, 4, 1, 0, 0, 0)))
    with pytest.raises(ReadError, match="times of its 5 images are not in the header"):
        read_series(path)
    assert read_series(path, time_s=[0, 1, 2, 3, 4]).time_s == (0.0, 1.0, 2.0, 3.0, 4.0)
    with pytest.raises(ReadError, match="2 times for 5 images"):
        read_series(path, time_s=[0, 1])


def test_field_means_the_same_to_simpleitk(tmp_path, oblique, rng):
    field = DisplacementField(rng.normal(size=(*oblique.shape, 3)), oblique)
    write_field(tmp_path / "f.nii.gz", field, precision="float64")
    ours, theirs = read_field(tmp_path / "f.nii.gz"), sitk.ReadImage(str(tmp_path / "f.nii.gz"))
    assert np.array_equal(ours.data, field.data)
    assert np.array_equal(field_from_sitk(theirs).data, field.data)
    index = (3, 4, 5)
    point = index_to_world(oblique, index)
    moved = sitk.DisplacementFieldTransform(theirs).TransformPoint(point.tolist())
    np.testing.assert_allclose(moved, point + field.data[index], atol=1e-5)
    write_field(tmp_path / "f.nii.gz", field)
    assert read_field(tmp_path / "f.nii.gz").data.dtype == np.float32


def test_reads_a_field_that_simpleitk_wrote_and_no_other_vector(tmp_path, volume, rng):
    image = sitk.GetImageFromArray(rng.normal(size=(3, 4, 5, 3)), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "f.nii.gz"))
    assert np.array_equal(
        read_field(tmp_path / "f.nii.gz").data,
        sitk.GetArrayFromImage(image).transpose(2, 1, 0, 3),
    )
    write_volume(tmp_path / "v.nii.gz", volume)
    with pytest.raises(ReadError, match="not a displacement field"):
        read_field(tmp_path / "v.nii.gz")


def test_a_long_axis_goes_to_another_format(tmp_path):
    grid = Geometry((40000, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    data = np.arange(40000, dtype=np.int32).reshape(grid.shape)
    with pytest.raises(GeometryError, match=r"write \.nrrd"):
        write_volume(tmp_path / "long.nii.gz", Volume(data, grid))
    write_volume(tmp_path / "long.nrrd", Volume(data, grid))
    assert np.array_equal(read_volume(tmp_path / "long.nrrd").data, data)

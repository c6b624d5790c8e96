"""Fields of every format and linear transforms of every kind mean what they mean to SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import ReadError
from pipeline.io import read_affine, read_field, write_affine

CENTRE = (10.0, -20.0, 30.0)


def euler(zyx: bool) -> sitk.Transform:
    transform = sitk.Euler3DTransform(CENTRE, 0.3, -0.2, 0.7, (1.0, 2.0, 3.0))
    transform.SetComputeZYX(zyx)
    return transform


def similarity() -> sitk.Transform:
    transform = sitk.Similarity3DTransform()
    transform.SetCenter(CENTRE)
    transform.SetRotation((1.0, 2.0, 3.0), 0.5)
    transform.SetScale(1.2)
    transform.SetTranslation((3.0, 4.0, 5.0))
    return transform


def affine() -> sitk.Transform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((1.1, 0.2, 0.0, -0.1, 0.9, 0.3, 0.05, 0.0, 1.2))
    transform.SetCenter(CENTRE)
    transform.SetTranslation((3.0, 4.0, 5.0))
    return transform


LINEAR = {
    "affine": affine(),
    "euler": euler(False),
    "euler_zyx": euler(True),
    "versor": sitk.VersorRigid3DTransform((0.1, 0.2, -0.3, np.sqrt(0.86)), (1.0, 2.0, 3.0), CENTRE),
    "similarity": similarity(),
    "translation": sitk.TranslationTransform(3, (1.0, 2.0, 3.0)),
}


@pytest.mark.parametrize("ending", ["tfm", "txt", "mat"])
@pytest.mark.parametrize("name", sorted(LINEAR))
def test_linear_transforms_move_points_as_simpleitk_does(tmp_path, name, ending):
    path = tmp_path / f"t.{ending}"
    sitk.WriteTransform(LINEAR[name], str(path))
    matrix = read_affine(path)
    point = np.array([5.0, 6.0, 7.0])
    expected = LINEAR[name].TransformPoint(point.tolist())
    np.testing.assert_allclose(matrix[:3, :3] @ point + matrix[:3, 3], expected, rtol=1e-12)
    write_affine(tmp_path / "again.tfm", matrix)
    again = sitk.ReadTransform(str(tmp_path / "again.tfm")).TransformPoint(point.tolist())
    np.testing.assert_allclose(again, expected, rtol=1e-12)


def test_other_kinds_are_named(tmp_path):
    both = sitk.CompositeTransform([affine(), euler(False)])
    sitk.WriteTransform(both, str(tmp_path / "c.tfm"))
    with pytest.raises(ReadError, match=r"Composite.*one by one"):
        read_affine(tmp_path / "c.tfm")
    sitk.WriteTransform(sitk.ScaleTransform(3, (1.0, 2.0, 3.0)), str(tmp_path / "s.mat"))
    with pytest.raises(ReadError, match="holds ScaleTransform_double_3_3"):
        read_affine(tmp_path / "s.mat")


def test_damaged_mat_files_are_refused(tmp_path):
    path = tmp_path / "a.mat"
    sitk.WriteTransform(affine(), str(path))
    whole = path.read_bytes()
    for size in (21, 60, len(whole) - 1, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(ReadError, match=r"damaged|holds"):
            read_affine(path)
    # Rows and columns whose product is far beyond the file, or negative.
    for rows in (1 << 30, -3):
        path.write_bytes(whole[:4] + rows.to_bytes(4, "little", signed=True) + whole[8:])
        with pytest.raises(ReadError, match="damaged"):
            read_affine(path)


@pytest.mark.parametrize("ending", ["nii.gz", "mha", "mhd", "nrrd", "nhdr"])
def test_fields_of_every_format(tmp_path, oblique, rng, ending):
    data = rng.normal(size=(*oblique.shape, 3)).astype(np.float32)
    image = sitk.GetImageFromArray(data.transpose(2, 1, 0, 3), isVector=True)
    image.SetSpacing(oblique.spacing_mm)
    image.SetOrigin(oblique.origin_mm)
    image.SetDirection(oblique.direction.ravel().tolist())
    path = tmp_path / f"f.{ending}"
    for compressed in (True, False):
        sitk.WriteImage(image, str(path), compressed)
        found = read_field(path)
        np.testing.assert_array_equal(found.data, data)
        np.testing.assert_allclose(found.grid.direction, oblique.direction, atol=1e-6)
        np.testing.assert_allclose(found.grid.origin_mm, oblique.origin_mm, atol=1e-4)
        np.testing.assert_allclose(found.grid.spacing_mm, oblique.spacing_mm, atol=1e-6)


@pytest.mark.parametrize("ending", ["nii.gz", "mha", "nrrd"])
@pytest.mark.parametrize("shape", [(6, 5, 4, 2), (6, 5, 4), (6, 5, 2), (1, 5, 4, 3)])
def test_what_is_no_3d_field_is_refused(tmp_path, rng, shape, ending):
    path = tmp_path / f"f.{ending}"
    data = rng.normal(size=shape)
    sitk.WriteImage(sitk.GetImageFromArray(data, isVector=shape[-1] < 4), str(path))
    with pytest.raises(ReadError, match="field"):
        read_field(path)


def test_nrrd_vectors_in_another_frame_are_refused(tmp_path, rng):
    image = sitk.GetImageFromArray(rng.normal(size=(4, 5, 6, 3)), isVector=True)
    path = tmp_path / "f.nrrd"
    sitk.WriteImage(image, str(path))
    raw = path.read_bytes()
    turned = raw.replace(b"left-posterior-superior", b"right-anterior-superior")
    path.write_bytes(turned)
    with pytest.raises(ReadError, match="do not run"):
        read_field(path)
    frame = b"measurement frame: (-1,0,0) (0,1,0) (0,0,1)\nendian:"
    path.write_bytes(raw.replace(b"endian:", frame, 1))
    with pytest.raises(ReadError, match="do not run"):
        read_field(path)

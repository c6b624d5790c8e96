import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from pipeline.errors import GeometryError
from pipeline.geometry import empty_like, field_to_sitk, from_sitk, index_to_world, to_sitk
from pipeline.io import read_field, write_field
from pipeline.registration import sampling
from pipeline.registration.fields import (
    affine_to_field,
    apply_to_points,
    compose,
    displacement_at,
    grid_points,
    invert,
    nearest_affine,
    reaches,
    warp,
    warp_labels,
)
from pipeline.types import DisplacementField, Geometry, Volume

MATRIX = np.array([[1.1, 0.1, 0, 3], [-0.1, 0.95, 0.05, -2], [0, 0.02, 0.9, 1], [0, 0, 0, 1.0]])


def bump(grid: Geometry, *, height_mm: float = 3.0, width_mm: float = 8.0) -> DisplacementField:
    points = grid_points(grid)
    centre = index_to_world(grid, (np.array(grid.shape) - 1) / 2)
    weight = np.exp(-np.sum((points - centre) ** 2, -1) / (2 * width_mm**2))
    return DisplacementField(height_mm * weight[..., None] * np.array([0.6, -0.64, 0.48]), grid)


@pytest.fixture
def larger(grid) -> Geometry:
    return Geometry((24, 22, 20), (2.0, 2.0, 2.5), grid.origin_mm, grid.direction)


def test_affine_to_points_and_back(grid):
    field = affine_to_field(MATRIX, grid)
    points = index_to_world(grid, np.random.default_rng(0).uniform(0, 6, (20, 3)))
    expected = points @ MATRIX[:3, :3].T + MATRIX[:3, 3]
    np.testing.assert_allclose(apply_to_points(field, points), expected, atol=1e-9)
    np.testing.assert_allclose(nearest_affine(field), MATRIX, atol=1e-9)


def test_composition_of_affine_maps(grid):
    first = np.eye(4)
    first[:3, 3] = [0.5, -0.4, 0.7]
    wide = Geometry((60, 60, 60), (1.0, 1.0, 1.0), (-60.0, -30.0, -25.0), np.eye(3))
    found = compose(affine_to_field(first, grid), affine_to_field(MATRIX, wide))
    inside = apply_to_points(affine_to_field(first, grid), grid_points(grid))
    index = (inside - wide.origin_mm).reshape(-1, 3)
    assert index.min() >= 0
    assert index.max() <= 59
    expected = affine_to_field(MATRIX @ first, grid)
    np.testing.assert_allclose(found.data, expected.data, atol=1e-9)


def test_inverse_undoes_the_field_within_a_tenth_of_a_voxel(larger):
    field = bump(larger)
    found = invert(field)
    there_and_back = compose(found.field, field).data[found.inside]
    assert np.linalg.norm(there_and_back, axis=-1).max() < 0.1 * 2.0
    assert np.linalg.norm(there_and_back, axis=-1).max() < 0.01  # what it reaches
    assert found.residual_mm[found.inside].max() < 0.01


def test_steep_fields_are_inverted_too():
    grid = Geometry((30, 30, 30), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    offset = grid_points(grid) - 29.0
    square = np.sum(offset**2, axis=-1, keepdims=True) / 16.0**2
    field = DisplacementField(-0.8 * np.exp(-square) * offset, grid)  # volume falls to 1 %
    found = invert(field)
    assert found.residual_mm[found.inside].max() < 0.1 * 2.0
    assert np.mean(found.residual_mm[found.inside]) < 0.002


def test_inverse_of_an_affine_map_on_another_grid(larger):
    moving = Geometry((10, 11, 9), (3.0, 2.0, 4.0), larger.origin_mm, np.eye(3))
    found = invert(affine_to_field(MATRIX, larger), moving)
    expected = affine_to_field(np.linalg.inv(MATRIX), moving)
    assert found.inside.any()
    difference = (found.field.data - expected.data)[found.inside]
    assert np.abs(difference).max() < 0.01


def test_itk_makes_the_same_image_of_the_stored_field(larger, tmp_path):
    rng = np.random.default_rng(1)
    moving = Volume(rng.normal(100, 20, larger.shape).astype(np.float32), larger)
    field = bump(larger)
    write_field(tmp_path / "u.nii.gz", field)
    ours = warp(moving, read_field(tmp_path / "u.nii.gz"))
    stored = sitk.ReadImage(str(tmp_path / "u.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(stored)
    image = sitk.Resample(to_sitk(moving), empty_like(larger), transform, sitk.sitkLinear, 0.0,
                          sitk.sitkFloat32)  # fmt: skip
    difference = np.abs(ours.data - from_sitk(image).data)
    # NIfTI holds the origin and direction as float32: points move by 1e-6 of a voxel.
    assert np.mean(difference > 1e-2) < 1e-3
    assert np.median(difference) < 1e-4


def test_warp_pulls_the_image_along_u(larger):
    shift = np.zeros((*larger.shape, 3)) + larger.direction[:, 0] * 2 * larger.spacing_mm[0]
    data = np.random.default_rng(2).uniform(size=larger.shape)
    warped = warp(Volume(data, larger), DisplacementField(shift, larger), outside=-5.0)
    np.testing.assert_allclose(warped.data[:-2], data[2:], atol=1e-5)
    assert (warped.data[-1] == -5).all()


def test_labels_keep_type_and_values(larger):
    labels = (np.indices(larger.shape)[0] // 6 * 3).astype(np.uint8)
    warped = warp_labels(Volume(labels, larger), bump(larger))
    assert warped.data.dtype == np.uint8
    assert set(np.unique(warped.data)) <= set(np.unique(labels))


def test_unknown_interpolation_is_refused(grid):
    volume = Volume(np.ones(grid.shape), grid)
    with pytest.raises(GeometryError, match="use one of"):
        warp(volume, field=bump(grid), interpolation="cubic")


def test_sitk_vectors_are_in_world_axes(grid):
    field = affine_to_field(MATRIX, grid)
    transform = sitk.DisplacementFieldTransform(field_to_sitk(field))
    point = index_to_world(grid, np.array([3.0, 4.0, 2.0]))
    np.testing.assert_allclose(
        transform.TransformPoint(point.tolist()), apply_to_points(field, point), atol=1e-9
    )


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_beyond_the_grid_the_border_goes_on(grid, precision):
    data = np.random.default_rng(6).normal(size=(*grid.shape, 3)).astype(precision)
    field = DisplacementField(data, grid)
    index = np.random.default_rng(7).uniform(-5, 14, (200, 3))
    expected = [ndimage.map_coordinates(np.float64(data[..., c]), index.T, order=1, mode="nearest")
                for c in range(3)]  # fmt: skip
    found = displacement_at(field, index_to_world(grid, index))
    tolerance = 1e-12 if precision == np.float64 else 2e-5
    np.testing.assert_allclose(found, np.stack(expected, axis=-1), atol=tolerance)


def test_arrays_that_torch_cannot_hold_are_read_all_the_same(larger):
    field = bump(larger)
    points = index_to_world(larger, np.random.default_rng(8).uniform(2, 18, (20, 3)))
    frozen = DisplacementField(field.data.copy(), larger)
    frozen.data.setflags(write=False)
    backwards = np.ascontiguousarray(field.data[::-1])[::-1]
    for other in (frozen, DisplacementField(backwards, larger)):
        np.testing.assert_array_equal(
            displacement_at(other, points), displacement_at(field, points)
        )


def test_float32_fields_stay_float32_and_invert_as_well(larger):
    field = bump(larger)
    single = DisplacementField(field.data.astype(np.float32), larger)
    found = invert(single)
    assert found.field.data.dtype == np.float32
    assert compose(single, single).data.dtype == np.float32
    assert found.residual_mm[found.inside].max() < 0.01
    difference = np.abs(found.field.data - invert(field).field.data)[found.inside]
    assert difference.max() < 0.005


@pytest.mark.parametrize("points", [1, 1000])
def test_slabs_of_any_thickness_give_the_same(larger, monkeypatch, points):
    field = bump(larger)
    moving = Volume(np.random.default_rng(9).normal(size=larger.shape), larger)

    def results():
        inverse = invert(field)
        return (
            inverse.field.data, inverse.inside, inverse.residual_mm, compose(field, field).data,
            warp(moving, field).data, warp(moving, field, interpolation="bspline3").data,
            reaches(field, larger), affine_to_field(MATRIX, larger).data,
        )  # fmt: skip

    whole = results()
    monkeypatch.setattr(sampling, "_SLAB_POINTS", points)
    for found, expected in zip(results(), whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("bspline3", sitk.sitkBSpline), ("hamming", sitk.sitkHammingWindowedSinc),
     ("blackman", sitk.sitkBlackmanWindowedSinc)],
)  # fmt: skip
def test_other_interpolations_are_itks(larger, name, kind):
    moving = Volume(np.random.default_rng(1).normal(100, 20, larger.shape), larger)
    field = bump(larger)
    ours = warp(moving, field, interpolation=name, outside=-3.0)
    image = sitk.Cast(to_sitk(moving), sitk.sitkFloat32)
    transform = sitk.DisplacementFieldTransform(field_to_sitk(field))
    theirs = sitk.Resample(image, empty_like(larger), transform, kind, -3.0, sitk.sitkFloat32)
    np.testing.assert_allclose(ours.data, from_sitk(theirs).data, atol=1e-3)


def test_reaches_is_the_field_of_view(larger):
    shift = np.zeros((*larger.shape, 3)) + larger.direction[:, 0] * 2.4 * larger.spacing_mm[0]
    found = reaches(DisplacementField(shift, larger), larger)
    assert found[:-2].all()
    assert not found[-2:].any()

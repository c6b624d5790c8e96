import numpy as np
import pytest
from scipy import ndimage

from pipeline.errors import EmptyRegionError, GeometryError
from pipeline.geometry import index_to_world
from pipeline.registration import sampling
from pipeline.registration.fields import affine_to_field, grid_points, invert
from pipeline.registration.jacobian import (
    folding_fraction,
    jacobian_determinant,
    jacobian_map,
    jacobian_statistics,
    log_jacobian,
)
from pipeline.types import DisplacementField, Geometry


def scaling(factor: float, centre: np.ndarray) -> np.ndarray:
    matrix = np.eye(4) * factor
    matrix[3, 3] = 1
    matrix[:3, 3] = centre * (1 - factor)
    return matrix


def test_no_and_constant_displacement_keep_volume(grid):
    zero = np.zeros((*grid.shape, 3))
    np.testing.assert_allclose(jacobian_determinant(zero, grid), 1, atol=1e-12)
    np.testing.assert_allclose(
        jacobian_determinant(np.add(zero, [3.0, -7.0, 1.5]), grid), 1, atol=1e-12
    )


@pytest.mark.parametrize(("factor", "volume"), [(1.1, 1.331), (0.8, 0.512)])
def test_scaling_is_exact_in_every_direction_and_at_the_border(grid, factor, volume):
    centre = index_to_world(grid, np.array(grid.shape) / 2)
    field = affine_to_field(scaling(factor, centre), grid)
    np.testing.assert_allclose(jacobian_determinant(field.data, grid), volume, atol=1e-10)


def test_a_sheared_affine_map_is_exact(grid):
    matrix = np.eye(4)
    matrix[:3, :3] = [[1.2, 0.3, -0.1], [0.05, 0.9, 0.2], [-0.2, 0.1, 1.05]]
    field = affine_to_field(matrix, grid)
    expected = np.linalg.det(matrix[:3, :3])
    np.testing.assert_allclose(jacobian_determinant(field.data, grid), expected, atol=1e-10)


def test_rotation_keeps_volume(grid):
    a = 0.6
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    field = affine_to_field(matrix, grid)
    np.testing.assert_allclose(jacobian_determinant(field.data, grid), 1, atol=1e-10)


def test_mirror_folds_everywhere(grid):
    points = grid_points(grid)
    field = np.zeros_like(points)
    field[..., 0] = -2 * points[..., 0]
    determinant = jacobian_determinant(field, grid)
    np.testing.assert_allclose(determinant, -1, atol=1e-10)
    assert folding_fraction(determinant) == 1
    assert np.isnan(log_jacobian(determinant)).all()


def test_mirror_along_a_grid_axis_is_minus_one(grid):
    for axis in grid.direction.T:
        matrix = np.eye(4)
        matrix[:3, :3] -= 2 * np.outer(axis, axis)
        field = affine_to_field(matrix, grid)
        np.testing.assert_allclose(jacobian_determinant(field.data, grid), -1, atol=1e-10)


def test_inverse_has_the_reciprocal_volume_ratio(grid):
    fine = Geometry((32, 30, 28), (1.0, 1.2, 1.5), grid.origin_mm, grid.direction)
    points = grid_points(fine)
    centre = index_to_world(fine, (np.array(fine.shape) - 1) / 2)
    offset = points - centre
    weight = np.exp(-np.sum(offset**2, axis=-1, keepdims=True) / 2 / 9.0**2)
    there = DisplacementField(-0.3 * weight * offset, fine)
    back = invert(there)
    forward = jacobian_map(there).data
    # J of the inverse at y is 1 / J of the map at the preimage of y.
    at = (points + back.field.data).reshape(-1, 3)
    index = ((at - fine.origin_mm) @ fine.direction / fine.spacing_mm).T
    expected = 1 / ndimage.map_coordinates(forward, index, order=1, mode="nearest")
    found = jacobian_map(back.field).data.ravel()
    # Voxels on the border have one-sided differences and preimages beyond the grid.
    inner = np.zeros(fine.shape, bool)
    inner[3:-3, 3:-3, 3:-3] = True
    error = np.abs(np.log(found * 1.0 / expected))[inner.ravel()]
    assert forward.min() < 0.4
    assert error.mean() < 0.005
    assert error.max() < 0.05


@pytest.mark.parametrize("points", [1, 130])
def test_slabs_of_any_thickness_give_the_same(grid, monkeypatch, points):
    field = np.random.default_rng(4).normal(size=(*grid.shape, 3))
    whole = jacobian_determinant(field, grid)
    monkeypatch.setattr(sampling, "_SLAB_POINTS", points)
    np.testing.assert_array_equal(jacobian_determinant(field, grid), whole)


def test_quadratic_field_is_exact_up_to_the_border():
    grid = Geometry((6, 5, 4), (0.9, 0.9, 6.0), (3.0, 1.0, -9.0), np.eye(3))
    points = grid_points(grid)
    field = 0.01 * points**2
    expected = np.prod(1 + 0.02 * points, axis=-1)
    np.testing.assert_allclose(jacobian_determinant(field, grid), expected, atol=1e-10)


def test_sine_field_within_a_thousandth():
    grid = Geometry((48, 40, 36), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    x, y, z = np.moveaxis(grid_points(grid), -1, 0)
    w = 2 * np.pi / 40
    field = np.stack([0.8 * np.sin(w * y), 0.8 * np.sin(w * z), 0.8 * np.sin(w * x)], axis=-1)
    a, b, c = (0.8 * w * np.cos(w * v) for v in (y, z, x))
    expected = 1 + a * b * c  # rows (1 a 0), (0 1 b), (c 0 1)
    assert np.abs(jacobian_determinant(field, grid) - expected).max() < 1e-3


@pytest.mark.parametrize(("spacing", "most"), [((1.6, 1.6, 1.6), 1e-4), ((0.9, 0.9, 6.0), 4e-3)])
def test_a_lesion_of_known_change_on_fine_and_on_thick_voxels(spacing, most):
    """T(x) = x (1 - a exp(-(r/R)^2)): (1-e)^2 ((1-e) + 2 e (r/R)^2), R = 14 mm."""
    shape = tuple(int(56 / s) + 1 for s in spacing)
    origin = tuple(-s * (n - 1) / 2 for s, n in zip(spacing, shape, strict=True))
    grid = Geometry(shape, spacing, origin, np.eye(3))
    points = grid_points(grid)
    squared = np.sum((points / 14.0) ** 2, axis=-1)
    e = 0.3 * np.exp(-squared)
    expected = (1 - e) ** 2 * ((1 - e) + 2 * e * squared)
    found = jacobian_determinant(-e[..., None] * points, grid)
    inside = squared < 1
    assert found[inside].mean() == pytest.approx(expected[inside].mean(), abs=most)


def test_statistics_count_folds_and_implausible_ratios():
    determinant = np.ones((4, 4, 4))
    determinant[0, 0, 0], determinant[0, 0, 1], determinant[0, 0, 2] = -0.5, 0.01, 7.0
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0] = True
    found = jacobian_statistics(determinant, mask)
    assert (found.voxels, found.minimum, found.maximum) == (4, -0.5, 7.0)
    assert found.mean == pytest.approx((-0.5 + 0.01 + 7 + 1) / 4)
    assert found.folding_fraction == 0.25
    assert found.implausible_fraction == 0.75
    assert np.isnan(found.mean_log)
    assert folding_fraction(determinant) == 1 / 64


def test_bad_input_is_named():
    grid = Geometry((5, 5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    with pytest.raises(GeometryError, match="give the field with the grid"):
        jacobian_determinant(np.zeros((5, 5, 4, 3)), grid)
    flat = Geometry((5, 5, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    with pytest.raises(GeometryError, match="needs 3 voxels"):
        jacobian_determinant(np.zeros((5, 5, 1, 3)), flat)
    with pytest.raises(EmptyRegionError, match="mask is empty"):
        jacobian_statistics(np.ones((3, 3, 3)), np.zeros((3, 3, 3), bool))
    with pytest.raises(GeometryError, match="mask of the fixed image"):
        jacobian_statistics(np.ones((3, 3, 3)), np.ones((3, 3, 4), bool))

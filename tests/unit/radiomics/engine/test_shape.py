"""Diameters, mesh and axes of regions of all sorts, against measuring every pair and cube."""

import numpy as np
import pytest
from radiomics import cShape
from scipy.spatial.distance import pdist

from pipeline.radiomics.engine.diameter import largest_distance
from pipeline.radiomics.engine.mesh import mesh_size
from pipeline.radiomics.engine.shape import principal_variances, shape

SPACING = (2.5, 0.8, 1.1)
K, J, I = np.indices((26, 28, 24)) - np.array([13, 14, 12])[:, None, None, None]  # noqa: E741
RNG = np.random.default_rng(8)

REGIONS = {
    "ball": I**2 + J**2 + K**2 <= 90,
    "box": (abs(I) < 6) & (abs(J) < 9) & (abs(K) < 4),
    "disc": (I**2 + J**2 < 90) & (K == 0),
    "tube": (I**2 + J**2 < 20) & (abs(K) < 11),
    "corner": (I + J + K < -12) & (I > -9) & (J > -11) & (K > -10),
    "noise": RNG.random(I.shape) < 0.2,
    "two balls": (I**2 + J**2 + K**2 < 16) | ((I - 9) ** 2 + (J - 8) ** 2 + (K - 7) ** 2 < 9),
    "line": (I == J) & (J == K),
    "voxel": (I == 0) & (J == 0) & (K == 0),
}


@pytest.mark.parametrize("inside", REGIONS.values(), ids=REGIONS)
def test_mesh_and_diameters_are_those_of_pyradiomics_routine(inside):
    area, volume, diameters = cShape.calculate_coefficients(np.pad(inside, 1), np.array(SPACING))
    found = shape(inside, SPACING)
    assert found["SurfaceArea"] == pytest.approx(area, rel=1e-12)
    assert found["MeshVolume"] == pytest.approx(volume, rel=1e-11)
    for name, value in zip(("Slice", "Column", "Row"), diameters, strict=False):
        assert found[f"Maximum2DDiameter{name}"] == pytest.approx(value, rel=1e-12)
    assert found["Maximum3DDiameter"] == pytest.approx(diameters[3], rel=1e-12)


def test_one_voxel_has_an_octahedron_as_mesh():
    area, volume = mesh_size(np.pad(np.ones((1, 1, 1), bool), 1), (1.0, 1.0, 1.0))
    assert area == pytest.approx(np.sqrt(3), rel=1e-12)
    assert volume == pytest.approx(1 / 6, rel=1e-14)


def test_a_closed_mesh_has_its_volume_anywhere():
    """PyRadiomics' mesh of a ragged region has holes, and its volume depends on where it lies."""
    near, far = np.zeros((2, 60, 60, 60), bool)
    ball = REGIONS["ball"]
    near[1:27, 1:29, 1:25] = ball
    far[33:59, 31:59, 35:59] = ball
    assert mesh_size(near, SPACING)[1] == mesh_size(far, SPACING)[1]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_largest_distance_is_that_of_all_pairs(dimensions, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, [1.0, 9.0, 0.3][:dimensions], (400, dimensions))
    group = rng.integers(0, 7, 400)
    expected = max(pdist(points[group == g]).max() for g in range(7))
    assert largest_distance(points, group) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("flat", [False, True])
def test_many_points_at_one_distance_from_the_centre(flat):
    """None can be left out beforehand: the hull, where there is one, has to serve."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(3000, 3))
    points[:, 2] *= not flat
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    whole = np.zeros(len(points), int)
    assert largest_distance(points, whole) == pytest.approx(pdist(points).max(), rel=1e-14)


def test_a_group_of_one_point_has_no_diameter():
    assert largest_distance(np.array([[1.0, 2.0], [5.0, 5.0]]), np.array([3, 9])) == 0.0


def test_axes_of_a_box_and_of_an_oblique_plane():
    """n steps of d mm: variance d² (n² - 1) / 12."""
    box = np.ones((4, 6, 8), bool)
    expected = [d**2 * (n**2 - 1) / 12 for n, d in zip(box.shape, SPACING, strict=True)]
    np.testing.assert_allclose(principal_variances(box, SPACING), sorted(expected), rtol=1e-13)
    plane = K + J == 0
    found = principal_variances(plane, (1.0, 1.0, 1.0))
    assert 0.0 <= found[0] < 1e-12 * found[2]
    assert principal_variances(np.ones((1, 5, 7), bool), SPACING)[0] == 0.0

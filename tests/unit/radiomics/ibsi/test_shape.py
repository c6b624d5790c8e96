"""Mesh, enclosing bodies and spatial autocorrelation on bodies whose answer is known."""

import numpy as np
import pytest
from radiomics import cShape
from scipy.special import eval_legendre

from pipeline.radiomics.ibsi.bodies import ellipsoid_area, smallest_box, smallest_ellipsoid
from pipeline.radiomics.ibsi.mesh import mesh_volume_area
from pipeline.radiomics.ibsi.morphology import morphology
from pipeline.radiomics.ibsi.spatial import moran_geary
from pipeline.radiomics.ibsi.surface import diameter_mm, surface

CUBE = (1.0, 1.0, 1.0)


def ball(radius: float) -> np.ndarray:
    size = 2 * int(radius) + 5
    return (((np.indices((size,) * 3) - size // 2) ** 2).sum(axis=0)) <= radius**2


def loose(seed: int = 0) -> np.ndarray:
    """Voxels thrown at random: every ambiguous cube of the 256 occurs."""
    return np.random.default_rng(seed).random((9, 8, 7)) < 0.45


def test_the_mesh_of_a_voxel_is_an_octahedron():
    volume, area = mesh_volume_area(np.ones((1, 1, 1), dtype=bool), (1.0, 1.0, 1.0))
    assert volume == pytest.approx(1 / 6)
    assert area == pytest.approx(np.sqrt(3))
    # Half axes 1, 1.5 and 2 mm: four thirds of their product, eight equal triangles.
    volume, area = mesh_volume_area(np.ones((1, 1, 1), dtype=bool), (2.0, 3.0, 4.0))
    assert volume == pytest.approx(4 / 3 * 1.0 * 1.5 * 2.0)
    assert area == pytest.approx(4 * np.sqrt((1 * 1.5) ** 2 + (1 * 2) ** 2 + (1.5 * 2) ** 2))


def test_the_mesh_of_a_box_is_the_box_with_its_edges_cut():
    n = 10
    volume, area = mesh_volume_area(np.ones((n, n, n), dtype=bool), CUBE)
    # Each edge loses a prism of section 1/8; a corner is a pyramid instead of a cube of 1/8.
    assert volume == pytest.approx(n**3 - 12 * (n - 1) / 8 - 8 * (1 / 8 - 1 / 48))
    triangle = np.sqrt(3) / 4 * 0.5
    assert area == pytest.approx(6 * (n - 1) ** 2 + 12 * (n - 1) * np.sqrt(0.5) + 8 * triangle)


def test_the_mesh_of_a_ball_has_its_volume_and_that_of_pyradiomics():
    inside = ball(12.5)
    volume, area = mesh_volume_area(inside, CUBE)
    assert volume == pytest.approx(4 / 3 * np.pi * 12.5**3, rel=0.01)
    theirs = cShape.calculate_coefficients(np.pad(inside, 1), np.ones(3))
    assert (area, volume) == pytest.approx(theirs[:2], rel=1e-9)


def test_the_mesh_is_closed_so_its_volume_does_not_depend_on_the_place():
    inside = loose()
    here = mesh_volume_area(inside, CUBE)
    far = mesh_volume_area(np.pad(inside, ((60, 2), (0, 0), (7, 1))), CUBE)
    assert far == pytest.approx(here, rel=1e-12)
    theirs = [cShape.calculate_coefficients(np.pad(inside, n), np.ones(3))[1] for n in (1, 61)]
    assert abs(theirs[0] - theirs[1]) > 1  # what the dictionary says of PyRadiomics' mesh


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirrored_and_turned_regions_have_the_same_mesh(axis):
    inside, spacing = loose(1), np.array([0.7, 1.0, 2.2])
    mesh = mesh_volume_area(inside, tuple(spacing))
    assert mesh_volume_area(np.flip(inside, axis), tuple(spacing)) == pytest.approx(mesh)
    order = np.roll([0, 1, 2], axis)
    turned = mesh_volume_area(inside.transpose(order), tuple(spacing[order]))
    assert turned == pytest.approx(mesh)


def test_the_complement_of_a_hole_is_its_mesh_inside_out():
    hollow = np.ones((7, 7, 7), dtype=bool)
    hollow[3, 3, 3] = False
    full = mesh_volume_area(np.ones((7, 7, 7), dtype=bool), CUBE)
    volume, area = mesh_volume_area(hollow, CUBE)
    assert volume == pytest.approx(full[0] - 1 / 6)
    assert area == pytest.approx(full[1] + np.sqrt(3))


def printed_series(a: float, b: float, c: float) -> float:
    """The manual's series with scipy's Legendre polynomials."""
    alpha, beta = np.sqrt(1 - b**2 / a**2), np.sqrt(1 - c**2 / a**2)
    x = (alpha**2 + beta**2) / (2 * alpha * beta)
    n = np.arange(21)
    return 4 * np.pi * a * b * np.sum((alpha * beta) ** n / (1 - 4 * n**2) * eval_legendre(n, x))


def test_ellipsoid_area_is_the_printed_series():
    assert ellipsoid_area(np.array([3.0, 3.0, 3.0])) == pytest.approx(4 * np.pi * 9)
    assert ellipsoid_area(np.zeros(3)) == 0.0
    for axes in ([5.0, 4.0, 3.0], [9.0, 2.0, 1.0], [6.0, 5.9, 0.5]):
        found = ellipsoid_area(np.array(axes[::-1]))
        assert found == pytest.approx(printed_series(*axes), rel=1e-9)
    near_ball = ellipsoid_area(np.array([1.0, 1.0, 0.99]))
    oblate = 2 * np.pi * (1 + 0.99**2 / np.sqrt(1 - 0.99**2) * np.arctanh(np.sqrt(1 - 0.99**2)))
    assert near_ball == pytest.approx(oblate, rel=0.01)


def rotation(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


def test_the_smallest_box_finds_a_turned_box():
    corners = np.array(np.meshgrid([0, 4.0], [0, 2.0], [0, 7.0])).reshape(3, -1).T
    turn = rotation(4)
    normals = turn.T  # those of its faces
    assert sorted(smallest_box(corners @ turn.T, normals)) == pytest.approx([2.0, 4.0, 7.0])


def test_the_smallest_ellipsoid_of_a_box_and_of_points_on_an_ellipsoid():
    corners = np.array(np.meshgrid([-1, 1.0], [-2, 2.0], [-3, 3.0])).reshape(3, -1).T
    axes = smallest_ellipsoid(corners @ rotation(1).T + 50.0)
    np.testing.assert_allclose(np.sort(axes), np.sqrt(3) * np.array([1, 2, 3]), rtol=1e-5)
    points = np.random.default_rng(0).normal(size=(2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    axes = smallest_ellipsoid(points * [2.0, 5.0, 9.0])
    np.testing.assert_allclose(np.sort(axes), [2, 5, 9], rtol=0.01)


def test_surface_of_a_box(make_region):
    inside = np.zeros((9, 9, 9), dtype=bool)
    inside[1:4, 2:7, 1:8] = True  # 3 x 5 x 7 voxels of 2 x 1 x 0.5 mm
    body = surface(inside, (2.0, 1.0, 0.5))
    assert np.ptp(body.points_mm, axis=0) == pytest.approx([6.0, 5.0, 3.5])
    assert body.hull_volume_mm3 == pytest.approx(body.volume_mm3)
    assert body.hull_area_mm2 == pytest.approx(body.area_mm2)
    gaps = np.linalg.norm(body.points_mm[:, None] - body.points_mm[None], axis=2)
    assert diameter_mm(body.corners_mm, block=7) == pytest.approx(gaps.max())


def test_morphology_of_a_ball(make_region):
    inside = ball(14.5)
    image = np.where(inside, 5.0, -1.0)
    found = morphology(make_region(image, inside))
    assert found["com"] == pytest.approx(0.0, abs=1e-9)
    assert found["integ_int"] == pytest.approx(5 * found["volume"])
    assert found["pca_elongation"] == pytest.approx(1.0)
    assert found["pca_flatness"] == pytest.approx(1.0)
    assert found["pca_maj_axis"] == pytest.approx(4 * 14.5 / np.sqrt(5), rel=0.01)
    assert found["vol_dens_conv_hull"] == pytest.approx(1.0, abs=0.05)
    assert found["vol_dens_aabb"] == pytest.approx(np.pi / 6, rel=0.06)
    assert found["vol_dens_mvee"] == pytest.approx(1.0, abs=0.1)
    assert found["vol_dens_aee"] == pytest.approx((np.sqrt(5) / 2) ** 3, rel=0.02)
    assert found["asphericity"] == pytest.approx(found["sph_dispr"] - 1)
    assert found["sphericity"] == pytest.approx(1 / found["sph_dispr"])
    assert found["comp_2"] == pytest.approx(found["sphericity"] ** 3)
    assert found["comp_1"] == pytest.approx(np.sqrt(found["comp_2"]) / (6 * np.pi))


def test_the_centre_of_intensity_is_shifted_by_the_heavy_side(make_region):
    image = np.zeros((2, 1, 1))
    image[0], image[1] = 3.0, 1.0  # centre of mass at 0.25 of a voxel, of the region at 0.5
    assert morphology(make_region(image, spacing_mm=(4.0, 1.0, 1.0)))["com"] == pytest.approx(1.0)


def pairs(image: np.ndarray, counted: np.ndarray, spacing) -> tuple[float, float]:
    """Moran's I and Geary's C by the n² pairs of their definition."""
    at, x = np.argwhere(counted) * np.asarray(spacing), image[counted]
    distance = np.linalg.norm(at[:, None] - at[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    w, d = 1 / distance, x - x.mean()
    moran = len(x) / w.sum() * (w * np.outer(d, d)).sum() / (d**2).sum()
    gap = (x[:, None] - x[None]) ** 2
    return moran, (len(x) - 1) / (2 * w.sum()) * (w * gap).sum() / (d**2).sum()


@pytest.mark.parametrize("max_voxels", [2**24, 2000, 1])
def test_transforms_give_the_sums_over_all_pairs(max_voxels):
    rng = np.random.default_rng(6)
    counted = rng.random((6, 9, 5)) < 0.6
    image = rng.normal(1000.0, 30.0, counted.shape)
    spacing = (0.7, 1.1, 2.3)
    found = moran_geary(image, counted, spacing, max_voxels=max_voxels)
    assert found == pytest.approx(pairs(image, counted, spacing), rel=1e-9)


def test_two_voxels_are_as_unlike_as_can_be():
    image = np.array([0.0, 1.0]).reshape(2, 1, 1)
    counted = np.ones(image.shape, dtype=bool)
    assert moran_geary(image, counted, CUBE) == pytest.approx((-1.0, 1.0))
    assert np.isnan(moran_geary(np.ones((2, 1, 1)), counted, CUBE)).all()

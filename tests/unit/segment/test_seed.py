"""Seeds in mm, and the peak: a blob, not the brightest voxel."""

import numpy as np
import pytest

from pipeline.errors import EmptyRegionError, GeometryError
from pipeline.geometry import index_to_world
from pipeline.segment.seed import blob_peak, seed_box, seed_voxel
from pipeline.types import Geometry

#: Axes that run along z, -x, y: LPS (10, 20, 30) is the centre of voxel (0, 0, 0).
TURNED = Geometry(
    (10, 20, 30), (1.0, 2.0, 0.5), (10.0, 20.0, 30.0),
    np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
)  # fmt: skip


def test_voxel_of_a_point_on_turned_axes():
    # i: z from 30; j: x from 10 downwards in steps of 2; k: y from 20 in steps of 0.5
    assert seed_voxel(TURNED, (4.0, 22.6, 37.2)) == (7, 3, 5)
    assert seed_voxel(TURNED, (11.0, 19.75, 29.5)) == (0, 0, 0)


def test_a_seed_outside_names_both_in_mm():
    words = (
        r"seed \(12.0, 22.0, 33.0\) mm lies outside the image, which reaches "
        r"x -29.0 to 11.0 mm, y 19.8 to 34.8 mm, z 29.5 to 39.5 mm \(LPS\)"
    )
    with pytest.raises(GeometryError, match=words):
        seed_voxel(TURNED, (12.0, 22.0, 33.0))


@pytest.mark.parametrize("seed", [(1.0, 2.0), (1.0, 2.0, float("nan"))])
def test_a_seed_that_is_no_point(seed):
    with pytest.raises(GeometryError, match="three finite numbers"):
        seed_voxel(TURNED, seed)


def test_box_in_mm_is_cut_at_the_border():
    assert seed_box(TURNED, (5, 1, 20), 6.0) == (slice(2, 9), slice(0, 4), slice(14, 27))


def cube(size=40, spacing=2.0):
    return Geometry((size,) * 3, (spacing,) * 3, (0.0, 0.0, 0.0), np.eye(3))


def ball(grid, centre_mm, radius_mm):
    points = index_to_world(grid, np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.linalg.norm(points - np.asarray(centre_mm), axis=-1) <= radius_mm


@pytest.mark.parametrize("radius", [5.0, 9.0, 15.0, 22.0])
def test_peak_of_a_ball_is_its_centre(radius):
    grid = cube()
    peak = blob_peak(ball(grid, (36.0, 40.0, 44.0), radius).astype(float), grid)
    assert np.linalg.norm(index_to_world(grid, peak) - [36.0, 40.0, 44.0]) < 0.25 * radius


def test_peak_is_the_dim_lesion_not_the_bright_vessel_skin_or_spike():
    grid = cube()
    rng = np.random.default_rng(0)
    image = 0.1 * rng.standard_normal(grid.shape)
    lesion = ball(grid, (30.0, 40.0, 44.0), 8.0)
    image += lesion
    image[:, 30, 10:12] = 4.0  # vessel
    image[3, :, :] = 4.0  # skin
    image[20, 8, 30] = 30.0  # one hot voxel
    assert lesion[blob_peak(image, grid)]


def test_peak_stays_within_the_mask_and_off_the_border():
    grid = cube()
    image = 3.0 * ball(grid, (14.0, 40.0, 40.0), 9.0) + ball(grid, (52.0, 40.0, 40.0), 9.0)
    within = np.zeros(grid.shape, dtype=bool)
    assert blob_peak(image, grid)[0] < 12
    within[20:] = True
    assert ball(grid, (52.0, 40.0, 40.0), 3.0)[blob_peak(image, grid, within)]
    assert ball(grid, (52.0, 40.0, 40.0), 3.0)[blob_peak(image, grid, border_mm=20.0)]


def test_a_slope_towards_something_outside_is_no_peak():
    grid = cube()
    image = 5.0 * ball(grid, (20.0, 40.0, 40.0), 12.0)
    within = np.zeros(grid.shape, dtype=bool)
    within[18:] = True  # begins on the flank of the ball
    with pytest.raises(EmptyRegionError, match="no bright blob of 3 to 12 mm"):
        blob_peak(image, grid, within)


def test_peak_is_found_on_fine_and_on_flat_grids():
    fine = Geometry((75, 70, 66), (0.7, 0.9, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    peak = blob_peak(ball(fine, (25.0, 30.0, 35.0), 8.0).astype(float), fine)
    assert np.linalg.norm(index_to_world(fine, peak) - [25.0, 30.0, 35.0]) < 2.5
    flat = Geometry((40, 40, 6), (2.0, 2.0, 8.0), (0.0, 0.0, 0.0), np.eye(3))
    peak = blob_peak(ball(flat, (40.0, 36.0, 24.0), 12.0).astype(float), flat)
    assert np.linalg.norm(index_to_world(flat, peak) - [40.0, 36.0, 24.0]) < 4.0


def test_a_constant_image_has_no_peak():
    with pytest.raises(EmptyRegionError, match="give a seed in mm"):
        blob_peak(np.full((20, 20, 20), 7.0), cube(20))

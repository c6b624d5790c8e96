"""Steps on hand-built masks, with sizes in mm3 worked by hand on voxels that are not cubes."""

import numpy as np
import pytest

from pipeline.errors import EmptyRegionError
from pipeline.segment.postprocess import (
    component_at,
    fill_holes,
    open_by_ball,
    regain_edges,
    roundness,
    step_size,
    within_mm,
)
from pipeline.types import Geometry

SPACING = (1.0, 2.0, 4.0)


def test_size_in_mm3():
    grid = Geometry((5, 5, 5), SPACING, (0.0, 0.0, 0.0), np.eye(3))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[1:3, 1:4, 2] = True
    found = step_size("drawn", mask, grid)
    assert (found.step, found.voxels, found.volume_mm3) == ("drawn", 6, 48.0)


def two_blobs():
    mask = np.zeros((12, 8, 6), dtype=bool)
    mask[1:3, 1:4, 1:3] = True
    mask[7:11, 4:7, 2:5] = True
    return mask


def test_component_is_that_of_the_seed_whatever_its_size():
    mask = two_blobs()
    small = component_at(mask, (1, 1, 1), SPACING, reach_mm=1.0)
    large = component_at(mask, (8, 5, 3), SPACING, reach_mm=1.0)
    assert small.sum() == 12
    assert large.sum() == 36
    assert not (small & large).any()


def test_voxels_that_touch_by_a_corner_belong_together():
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    assert component_at(mask, (0, 0, 0), SPACING, reach_mm=1.0).sum() == 3


def test_a_seed_beside_takes_the_nearest_in_mm_not_in_voxels():
    mask = np.zeros((12, 5, 5), dtype=bool)
    mask[5, 2, 2] = True  # 3 voxels of 1 mm from the seed
    mask[2, 2, 3] = True  # 1 voxel of 4 mm
    found = component_at(mask, (2, 2, 2), SPACING, reach_mm=10.0)
    assert found[5, 2, 2]
    assert not found[2, 2, 3]


def test_of_equally_near_components_the_larger():
    mask = np.zeros((9, 3, 3), dtype=bool)
    mask[1, 1, 1] = True
    mask[7:9, 1, 1] = True
    for seed_first in (mask, mask[::-1]):
        found = component_at(seed_first, (4, 1, 1), (1.0, 1.0, 1.0), reach_mm=3.0)
        assert found.sum() == 2


def test_nothing_within_reach_says_how_far():
    with pytest.raises(EmptyRegionError, match=r"within 3 mm .*nearest lies 7.0 mm away"):
        component_at(two_blobs(), (0, 2, 1), (7.0, 7.0, 7.0), reach_mm=3.0)
    with pytest.raises(EmptyRegionError, match="there is none at all"):
        component_at(np.zeros((3, 3, 3), dtype=bool), (1, 1, 1), SPACING, reach_mm=3.0)


def test_cavities_are_filled_and_tunnels_only_plane_by_plane():
    shell = np.zeros((7, 7, 7), dtype=bool)
    shell[1:6, 1:6, 1:6] = True
    shell[2:5, 2:5, 2:5] = False
    assert fill_holes(shell).sum() == 125
    tunnel = np.zeros((7, 7, 7), dtype=bool)
    tunnel[1:6, 1:6, 1:6] = True
    tunnel[3, 3, :] = False
    assert fill_holes(tunnel).sum() == 120
    for turned in (tunnel, tunnel.transpose(2, 0, 1), tunnel.transpose(1, 2, 0)):
        assert fill_holes(turned, planewise=True).sum() == 125


def test_opening_cuts_a_tail_and_keeps_the_block():
    mask = np.zeros((16, 12, 8), dtype=bool)
    mask[1:10, 2:8, 2:5] = True  # 9 x 12 x 12 mm
    mask[10:16, 4, 3] = True  # 6 mm long, one voxel thick
    opened = open_by_ball(mask, SPACING, radius_mm=2.5)
    assert not opened[11:].any()
    assert opened[2:9, 3:7, 2:5].all()
    assert not (opened & ~mask).any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.7, 0.7, 2.0)])
def test_opening_reads_mm(spacing):
    # of two balls, the one smaller than the opening goes, on any grid
    shape = tuple(int(40 / mm) for mm in spacing)
    points = np.moveaxis(np.indices(shape), 0, -1) * spacing
    small = np.linalg.norm(points - [8, 8, 10], axis=-1) <= 3.0
    large = np.linalg.norm(points - [26, 26, 20], axis=-1) <= 9.0
    opened = open_by_ball(small | large, spacing, radius_mm=4.5)
    assert not (opened & small).any()
    assert 0.85 * large.sum() < (opened & large).sum() <= large.sum()


def test_opening_of_what_is_thin_leaves_nothing():
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, :] = True
    assert not open_by_ball(mask, (1.0, 1.0, 1.0), radius_mm=2.0).any()


def test_edges_come_back_and_a_stump_of_the_tail():
    mask = np.zeros((16, 12, 8), dtype=bool)
    mask[1:10, 2:8, 2:5] = True
    mask[10:16, 4, 3] = True
    opened = open_by_ball(mask, SPACING, radius_mm=2.5)
    regained = regain_edges(opened, mask, SPACING, reach_mm=2.5)
    assert regained[1:10, 2:8, 2:5].all()
    tail = regained[10:, 4, 3]
    assert tail[:2].all()
    assert not tail[3:].any()


def test_distance_is_in_mm():
    mask = np.zeros((21, 21, 21), dtype=bool)
    mask[10, 10, 10] = True
    near = within_mm(mask, SPACING, 4.0)
    assert near[14, 10, 10]
    assert near[10, 12, 10]
    assert near[10, 10, 11]
    assert not near[15, 10, 10]
    assert not near[10, 13, 10]
    assert not near[10, 10, 12]
    # lattice points of (i, 2 j, 4 k) within a ball of 4: counted by hand, 9 + 2 (2 + 4 + 1) + 2
    ijk = np.moveaxis(np.indices(mask.shape), 0, -1) - 10
    assert near.sum() == (np.linalg.norm(ijk * SPACING, axis=-1) <= 4.0).sum()
    assert not within_mm(np.zeros_like(mask), SPACING, 4.0).any()


def test_roundness_of_a_ball_a_box_and_a_thread():
    spacing = (0.5, 1.0, 0.8)
    points = np.moveaxis(np.indices((60, 40, 40)), 0, -1) * spacing
    ball = np.linalg.norm(points - [15.0, 18.0, 15.0], axis=-1) <= 10.0
    assert roundness(ball, spacing) == pytest.approx(1.0, abs=0.02)
    long = np.linalg.norm((points - [15.0, 18.0, 15.0]) / [14.0, 7.0, 7.0], axis=-1) <= 1.0
    assert roundness(long, spacing) == pytest.approx(0.25, abs=0.01)  # 7 * 7 / 14^2
    one = np.zeros((5, 5, 5), dtype=bool)
    one[2, 2, 2] = True
    # a cube: edge^3 / (4/3 pi (5/12)^1.5 edge^3)
    assert roundness(one, (2.0, 2.0, 2.0)) == pytest.approx(0.8876, abs=1e-4)
    thread = np.zeros((40, 5, 5), dtype=bool)
    thread[:, 2, 2] = True
    assert roundness(thread, (1.0, 1.0, 1.0)) < 0.01

"""Slices, letters, outlines and colours, against positions that are known in the world."""

import itertools

import numpy as np
import pytest

from pipeline.geometry import index_to_world, world_to_index
from pipeline.report import overlays
from pipeline.report.overlays import PLANES, cut_plane
from pipeline.types import Geometry, Volume

#: All 48 ways to store a volume along the world axes.
DIRECTIONS = [
    np.eye(3)[:, list(order)] * np.array(signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
LETTERS = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
#: Step in mm along world L, P, S that moves a point to the right / down in the picture.
RIGHT = {"axial": (12, 0, 0), "coronal": (12, 0, 0), "sagittal": (0, 12, 0)}
DOWN = {"axial": (0, 12, 0), "coronal": (0, 0, -12), "sagittal": (0, 0, -12)}


def marked(grid, point):
    data = np.zeros(grid.shape)
    data[tuple(np.rint(world_to_index(grid, point)).astype(int))] = 1.0
    return data


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_radiological_orientation_of_every_storage_order(builders, direction, plane):
    grid = builders["grid"](direction)
    cut = cut_plane(grid, plane, (0.0, 0.0, 0.0))
    edges = cut.edges
    assert (edges.left, edges.right, edges.top, edges.bottom) == LETTERS[plane]
    middle = np.array(cut.centre_mm)
    for step, axis in ((RIGHT[plane], 0), (DOWN[plane], 1)):
        row, column = np.argwhere(cut.of(marked(grid, step)))[0]
        place = np.array([column + 0.5, row + 0.5]) * cut.pixel_mm
        moved = place - middle
        assert moved[axis] == pytest.approx(12, abs=2.5)
        assert abs(moved[1 - axis]) <= 2.5


@pytest.mark.parametrize("direction", DIRECTIONS[::7])
def test_pixel_size_is_that_of_the_axis_shown(builders, direction):
    grid = builders["grid"](direction)
    for plane in PLANES:
        cut = cut_plane(grid, plane, (0.0, 0.0, 0.0))
        one = index_to_world(grid, cut.index[3, 4])
        right = index_to_world(grid, cut.index[3, 5]) - one
        down = index_to_world(grid, cut.index[4, 4]) - one
        assert np.linalg.norm(right) == pytest.approx(cut.pixel_mm[0])
        assert np.linalg.norm(down) == pytest.approx(cut.pixel_mm[1])
        assert np.argmax(np.abs(right)) == np.argmax(np.abs(RIGHT[plane]))
        assert right @ np.array(RIGHT[plane]) > 0
        assert down @ np.array(DOWN[plane]) > 0


def test_oblique_edges_carry_two_letters():
    angle = np.deg2rad(30)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    cut = cut_plane(Geometry((9, 9, 9), (1, 1, 1), (0, 0, 0), turn), "axial", (0, 0, 0))
    assert (cut.edges.left, cut.edges.right) == ("RA", "LP")
    assert (cut.edges.top, cut.edges.bottom) == ("AL", "PR")


def test_a_point_outside_takes_the_nearest_slice(builders):
    grid = builders["grid"]()
    cut = cut_plane(grid, "axial", (0.0, 0.0, 1e4))
    assert set(cut.index[..., 2].ravel()) == {grid.shape[2] - 1}


def test_other_grid_is_sampled_where_it_lies(builders):
    grid = builders["grid"]()
    other = Geometry((50, 50, 50), (1.5, 1.5, 1.5), (-37.0, -37.0, -37.0), np.diag([1.0, 1.0, 1.0]))
    points = index_to_world(other, np.moveaxis(np.indices(other.shape), 0, -1))
    volume = Volume(points @ np.array([1.0, 10.0, 100.0]), other)
    cut = cut_plane(grid, "coronal", (0.0, 0.0, 0.0))
    found = cut.of_other(volume)
    expected = index_to_world(grid, cut.index) @ np.array([1.0, 10.0, 100.0])
    inside = np.isfinite(found)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)
    shifted = cut.of_other(volume, shift_mm=(0.0, 2.0, 0.0))
    np.testing.assert_allclose((shifted - found)[inside], 20.0, atol=1e-2)


def test_centre_is_a_voxel_of_a_crescent(builders):
    grid = builders["grid"]()
    x, y = np.indices(grid.shape)[:2] - np.array([20, 18])[:, None, None, None]
    radius = np.hypot(x, y)
    crescent = (radius > 8) & (radius < 12) & (x > -4)
    point = overlays.centre_mm(crescent, grid)
    assert crescent[tuple(np.rint(world_to_index(grid, point)).astype(int))]


def test_centre_and_extent_of_an_empty_mask(builders):
    grid = builders["grid"]()
    empty = np.zeros(grid.shape, dtype=bool)
    np.testing.assert_allclose(overlays.centre_mm(empty, grid), 0, atol=1e-9)
    assert overlays.extent_mm(empty, grid) == 0


def test_extent_is_the_longest_side_in_mm(builders):
    mask = np.zeros((40, 36, 32), dtype=bool)
    mask[3:9, 5:16, 7:12] = True  # 12 mm, 16.5 mm, 12.5 mm
    assert overlays.extent_mm(mask, builders["grid"]()) == pytest.approx(16.5)


def test_outline_separates_inside_from_outside():
    rng = np.random.default_rng(3)
    mask = rng.random((12, 9)) > 0.5
    segments = overlays.outline(mask)
    padded = np.pad(mask, 1)
    for (x0, y0), (x1, y1) in segments.astype(int):
        if x0 == x1:  # upright: pixels left and right of it
            row = min(y0, y1) + 1
            pair = padded[row, x0], padded[row, x0 + 1]
        else:
            column = min(x0, x1) + 1
            pair = padded[y0, column], padded[y0 + 1, column]
        assert pair[0] != pair[1]
    changes = (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()
    assert len(segments) == changes


def test_outline_of_a_box_has_its_perimeter():
    mask = np.zeros((10, 12), dtype=bool)
    mask[2:5, 3:9] = True
    segments = overlays.outline(mask)
    assert np.abs(np.diff(segments, axis=1)).sum() == 2 * (3 + 6)
    assert segments[..., 0].min() == 3
    assert segments[..., 0].max() == 9
    assert segments[..., 1].min() == 2
    assert segments[..., 1].max() == 5


def test_outline_at_the_border_is_closed():
    assert len(overlays.outline(np.ones((4, 5), dtype=bool))) == 2 * (4 + 5)
    assert len(overlays.outline(np.zeros((4, 5), dtype=bool))) == 0


def test_colour_scale_is_logarithmic_about_one():
    place = overlays.jacobian_position([0.25, 0.5, 1.0, 2.0, 4.0, 1e-9, 1e9])
    np.testing.assert_allclose(place, [0, 0.25, 0.5, 0.75, 1, 0, 1], atol=1e-12)
    assert np.isnan(overlays.jacobian_position([0.0, -0.2])).all()


def test_grey_window_and_missing_pixels():
    pixels = np.array([[0.0, 50.0], [100.0, np.nan]])
    grey = overlays.grey(pixels, (0.0, 100.0))
    assert grey[..., 0].tolist() == [[0, 128], [255, 0]]
    low, high = overlays.window([np.full((4, 4), 7.0)])
    assert high > low
    assert overlays.window([np.full((3, 3), np.nan)]) == (0.0, 1.0)


def test_blend_mixes_by_opacity():
    under = np.full((1, 3, 3), 100, dtype=np.uint8)
    out = overlays.blend(under, np.ones((1, 3, 3)), np.array([[0.0, 0.5, 1.0]]))
    assert out[0, :, 0].tolist() == [100, 178, 255]


@pytest.mark.parametrize("direction", DIRECTIONS[::5])
def test_displacement_in_the_picture_follows_the_world(builders, direction):
    grid = builders["grid"](direction)
    expected = {"axial": (3, -2, 5), "coronal": (3, -5, -2), "sagittal": (-2, -5, 3)}
    for plane, (right, down, upright) in expected.items():
        cut = cut_plane(grid, plane, (0.0, 0.0, 0.0))
        vectors = np.broadcast_to([3.0, -2.0, 5.0], cut.index.shape)
        moved = overlays.along_picture_mm(cut, vectors)
        np.testing.assert_allclose(moved[2, 3], (right, down))
        normal = overlays.through_plane_mm(cut, (3.0, -2.0, 5.0))
        assert np.abs(normal).sum() == pytest.approx(abs(upright))


def test_carried_points_move_by_the_displacement(builders):
    grid = builders["grid"]()
    cut = cut_plane(grid, "axial", (0.0, 0.0, 0.0))
    rows, columns = cut.index.shape[:2]
    x = (np.arange(columns) + 0.5) * cut.pixel_mm[0]
    moved = np.stack(
        [np.broadcast_to(0.1 * x, (rows, columns)), np.full((rows, columns), -1.5)], -1
    )
    points = np.array([[10.0, 12.0], [33.0, 20.5]])
    np.testing.assert_allclose(
        overlays.carried_mm(points, moved, cut), points * [1.1, 1] - [0, 1.5]
    )


def test_grid_lines_lie_every_few_millimetres(builders):
    cut = cut_plane(builders["grid"](), "axial", (0.0, 0.0, 0.0))
    lines = overlays.grid_lines_mm(cut, step_mm=6.0)
    rows, columns = cut.index.shape[:2]
    assert len(lines) == -(-rows // 4) + -(-columns // 3)  # 1.5 mm and 2 mm pixels
    assert lines[1][0, 1] - lines[0][0, 1] == pytest.approx(6.0)

"""Checkerboard, carried grid and convergence: what is drawn where, against known maps."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.registration.engine import Trace
from pipeline.report import overlays
from pipeline.report import registration_figures as figures
from pipeline.report.convergence_figure import convergence_png
from pipeline.report.panels import sheet_png
from pipeline.types import DisplacementField, Geometry, Volume

TURN = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1.0]])
DIRECTIONS = [np.eye(3), np.diag([-1.0, -1.0, 1.0]), np.eye(3)[[2, 0, 1]], TURN]
#: Shape 40 x 36 x 32 of 2 x 1.5 x 2.5 mm, middle at the origin: from the builders.
CENTRE = np.array([4.0, -3.0, 5.0])


def points(grid):
    ijk = np.moveaxis(np.indices(grid.shape), 0, -1)
    return (ijk * np.array(grid.spacing_mm)) @ grid.direction.T + np.array(grid.origin_mm)


def ramp(at):
    """Brightness that is linear in space: interpolation is exact."""
    return 200.0 + at @ np.array([1.0, -0.7, 0.4])


def ball(grid, radius=9.0):
    inside = np.linalg.norm(points(grid) - CENTRE, axis=-1) < radius
    return Volume(inside.astype(np.uint8), grid)


def affine_matrix():
    matrix = np.eye(4)
    matrix[:3, :3] = TURN.T @ np.diag([1.1, 0.95, 1.0])
    matrix[:3, 3] = (30.0, -12.0, 7.0)
    return matrix


def apply(matrix, at):
    return at @ matrix[:3, :3].T + matrix[:3, 3]


def is_tinted(picture):
    return picture[..., 0].astype(int) - picture[..., 2] > 20


def test_four_squares_meet_at_the_region_and_measure_the_same_in_mm(builders):
    grid = builders["grid"]()
    flat = Volume(np.where(ball(grid, 30.0).data, 200.0, 0.2 * ramp(points(grid))), grid)
    view = figures.view_of(flat, ball(grid))
    sheet = figures.checkerboard_sheet(view, flat, flat, flat)
    for cut, panel in zip(view.cuts, sheet.panels[1], strict=True):
        rows, columns = panel.picture.shape[:2]
        high, wide = np.array(cut.index.shape[:2]) * cut.pixel_mm[::-1] / (rows, columns)
        row, column = (int(v) for v in np.array(cut.centre_mm[::-1]) / (high, wide))
        tinted = is_tinted(panel.picture)
        quarters = tinted[row - 2, column - 3], tinted[row - 2, column + 2]
        assert quarters == (False, True)
        assert (tinted[row + 2, column - 3], tinted[row + 2, column + 2]) == (True, False)
        across = np.flatnonzero(np.diff(tinted[row - 2, column - 150 : column + 150].astype(int)))
        down = np.flatnonzero(np.diff(tinted[row - 100 : row + 100, column + 2].astype(int)))
        square = 2 * view.half_mm / 8
        np.testing.assert_allclose(np.diff(across) * wide, square, atol=2 * wide)
        np.testing.assert_allclose(np.diff(down) * high, square, atol=2 * high)


def largest_step(panel):
    """Return the largest step between neighbouring pixels, the tint taken off."""
    picture = panel.picture.astype(float)
    tinted = is_tinted(panel.picture)[..., None]
    grey = np.where(tinted, picture / [1.0, 0.86, 0.62], picture)[..., 1]
    bright = (grey > 60) & (grey < 200)
    return np.abs(np.diff(grey, axis=1))[bright[:, 1:] & bright[:, :-1]].max()


def test_edges_run_on_after_registration_only(builders):
    grid = builders["grid"]()
    at = points(grid)
    fixed, moving = Volume(ramp(at), grid), Volume(ramp(at + np.array([9.0, 0.0, 0.0])), grid)
    view = figures.view_of(fixed, ball(grid))
    before, after = figures.checkerboard_sheet(view, fixed, moving, fixed).panels
    assert largest_step(before[0]) > 8
    assert largest_step(after[0]) < 5


def test_a_smaller_field_of_view_makes_no_step_in_brightness(builders):
    grid = builders["grid"]()
    fixed = Volume(ramp(points(grid)), grid)
    padded = fixed.data.copy()
    padded[points(grid)[..., 1] > 8.0] = -1000.0
    view = figures.view_of(fixed, ball(grid))
    _, after = figures.checkerboard_sheet(view, fixed, fixed, Volume(padded, grid)).panels
    assert largest_step(after[0]) < 5


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_affine_map_leaves_the_carried_grid_straight(builders, direction):
    grid = builders["grid"](direction)
    at, matrix = points(grid), affine_matrix()
    fixed = Volume(ramp(at), grid)
    # a moving image on a wide grid of its own that shows the fixed one through the affine map
    wide = Geometry((90, 90, 90), (2.0, 2.0, 2.0), (-70.0, -110.0, -90.0), np.eye(3))
    moving = Volume(ramp(apply(np.linalg.inv(matrix), points(wide))), wide)
    change = figures.Change(
        Volume(np.ones(grid.shape), grid), DisplacementField(apply(matrix, at) - at, grid), matrix
    )
    view = figures.view_of(fixed, ball(grid))
    panels = figures.grid_row(view, moving, change)
    for cut, panel in zip(view.cuts, panels, strict=True):
        expected = overlays.grid_lines_mm(cut, step_mm=figures.grid_step_mm(view))
        for line, plain in zip(panel.lines, expected, strict=True):
            np.testing.assert_allclose(line, plain, atol=1e-9)
        seen = figures._aligned(cut, moving, change, view.mask)
        np.testing.assert_allclose(seen, cut.of(fixed.data), atol=1e-3)


def test_a_shrinking_map_carries_the_grid_together(builders):
    grid = builders["grid"](np.diag([-1.0, -1.0, 1.0]))
    at, matrix = points(grid), affine_matrix()
    moved = apply(matrix, CENTRE + 0.8 * (at - CENTRE))
    change = figures.Change(
        Volume(np.full(grid.shape, 0.512), grid), DisplacementField(moved - at, grid), matrix
    )
    view = figures.view_of(Volume(ramp(at), grid), ball(grid))
    for cut, panel in zip(view.cuts, figures.grid_row(view, Volume(ramp(at), grid), change),
                          strict=True):  # fmt: skip
        plain = overlays.grid_lines_mm(cut, step_mm=figures.grid_step_mm(view))
        gaps = [
            np.linalg.norm(lines[1] - lines[0], axis=1).mean() for lines in (panel.lines, plain)
        ]
        assert gaps[0] / gaps[1] == pytest.approx(0.8, rel=1e-6)


def test_without_a_region_the_body_is_cut_in_its_middle(builders):
    grid = builders["grid"](TURN)
    body = np.where(np.linalg.norm(points(grid) - [6.0, 2.0, -4.0], axis=-1) < 22.0, 100.0, 0.0)
    noise = np.random.default_rng(1).normal(0, 2, grid.shape)
    view = figures.view_of(Volume(body + noise, grid), None)
    assert view.half_mm is None
    axial, coronal, sagittal = (cut.index for cut in view.cuts)
    ijk = (sagittal[0, 0, 0], coronal[0, 0, 1], axial[0, 0, 2])
    np.testing.assert_allclose(points(grid)[ijk], [6.0, 2.0, -4.0], atol=2.5)


def test_without_a_region_the_place_that_changed_most_is_cut(builders):
    grid = builders["grid"](TURN)
    at = points(grid)
    body = Volume(np.where(np.linalg.norm(at, axis=-1) < 40.0, 100.0, 0.0), grid)
    jacobian = np.ones(grid.shape)
    jacobian[np.linalg.norm(at - [6.0, 2.0, -4.0], axis=-1) < 6.0] = 0.6
    jacobian[0, 0, 0] = -3.0  # a fold in the air
    axial, coronal, sagittal = (
        cut.index for cut in figures.view_of(body, None, Volume(jacobian, grid)).cuts
    )
    ijk = (sagittal[0, 0, 0], coronal[0, 0, 1], axial[0, 0, 2])
    np.testing.assert_allclose(at[ijk], [6.0, 2.0, -4.0], atol=2.5)


def test_the_jacobian_is_strong_inside_the_region_and_blue_where_it_shrinks(builders):
    grid = builders["grid"]()
    fixed = Volume(ramp(points(grid)), grid)
    view = figures.view_of(fixed, ball(grid))
    panels = figures.jacobian_row(view, fixed, Volume(np.full(grid.shape, 0.5), grid))
    for cut, panel in zip(view.cuts, panels, strict=True):
        inside = cut.of(view.mask.data) > 0
        blue = panel.picture[..., 2].astype(int) - panel.picture[..., 0]
        assert blue[inside].min() > 2 * blue[~inside].max() > 0


def test_a_map_that_is_drawn_twice_gives_the_same_bytes(builders):
    grid = builders["grid"]()
    at = points(grid)
    image = Volume(ramp(at), grid)
    change = figures.Change(Volume(np.full(grid.shape, 1.2), grid),
                            DisplacementField(0.1 * at, grid), np.eye(4))  # fmt: skip
    view = figures.view_of(image, None)
    drawn = [
        (sheet_png(figures.checkerboard_sheet(view, image, image, image)),
         sheet_png(figures.change_sheet(view, image, image, change)))
        for _ in range(2)
    ]  # fmt: skip
    assert drawn[0] == drawn[1]


def trace(start, end, steps=20):
    energy = np.linspace(start, end, steps + 1)
    return Trace("deformable", 3.2, tuple(energy.tolist()), "converged")


def curve_ends(content):
    """Return the rows at the left and the right end of the curve of a single level."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    curve = np.abs(pixels - [0, 114, 178]).max(axis=-1) < 60
    columns = np.flatnonzero(curve.any(axis=0))
    return [np.flatnonzero(curve[:, c]).mean() for c in (columns[0], columns[-1])]


@pytest.mark.parametrize("ends", [(0.4, 0.1), (-0.3, -0.9), (1e-9, 1e-12)])
def test_an_energy_that_falls_is_drawn_falling(ends):
    left, right = curve_ends(convergence_png([trace(*ends)]))
    assert right - left > 100  # of 130 pixels
    left, right = curve_ends(convergence_png([trace(*ends[::-1])]))
    assert left - right > 100


def test_levels_fill_rows_of_four_and_repeat_their_bytes():
    traces = [trace(0.4, 0.1 * n) for n in range(5)]
    one, two = (Image.open(io.BytesIO(convergence_png(t))) for t in (traces[:4], traces))
    assert two.height - one.height == 196
    assert convergence_png(traces) == convergence_png(traces)


def test_a_level_without_a_step_or_with_no_energy_is_drawn():
    convergence_png([Trace("rigid", 4.0, (0.0,), "0 steps"), trace(0.0, 0.0)])

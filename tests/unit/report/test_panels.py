"""What is drawn lies where it should: outline on the border, right aspect, colour bar centred."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.report import overlays, panels
from pipeline.report.overlays import cut_plane
from pipeline.report.panels import Panel, Sheet, sheet_png
from pipeline.report.registration_figures import colour_jacobian
from pipeline.types import Geometry

GRID = Geometry((30, 20, 16), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), np.eye(3))


def drawn(sheet, width_px=600):
    image = Image.open(io.BytesIO(sheet_png(sheet, width_px=width_px)))
    return np.asarray(image.convert("RGB")).astype(int)


def is_yellow(pixels):
    return (pixels[..., 0] > 180) & (pixels[..., 1] > 140) & (pixels[..., 2] < 110)


def one_panel(plane, mask, **options):
    cut = cut_plane(GRID, plane, (14.0, 18.0, 21.0))
    pixels = cut.of(mask)
    picture = overlays.grey(pixels, (0.0, 3.0))  # inside is dark grey, outside black
    panel = Panel(cut, picture, [overlays.outline_mm(cut, pixels > 0)])
    return cut, Sheet([[panel]], ["T"], ["r"], **options)


@pytest.mark.parametrize("plane", overlays.PLANES)
def test_outline_is_drawn_on_the_border_of_the_mask(plane):
    mask = np.zeros(GRID.shape)
    mask[8:19, 6:13, 4:10] = 1
    cut, sheet = one_panel(plane, mask)
    pixels = drawn(sheet)
    inside = np.abs(pixels - 85).max(axis=-1) <= 6  # the grey of the mask
    rows, columns = np.nonzero(is_yellow(pixels))
    top, bottom = np.flatnonzero(inside.sum(1) > 40)[[0, -1]]
    left, right = np.flatnonzero(inside.sum(0) > 40)[[0, -1]]
    assert rows.min() == pytest.approx(top, abs=2.5)
    assert rows.max() == pytest.approx(bottom, abs=2.5)
    assert columns.min() == pytest.approx(left, abs=2.5)
    assert columns.max() == pytest.approx(right, abs=2.5)
    width_mm = (cut.of(mask) > 0).any(0).sum() * cut.pixel_mm[0]
    height_mm = (cut.of(mask) > 0).any(1).sum() * cut.pixel_mm[1]
    ratio = (columns.max() - columns.min()) / (rows.max() - rows.min())
    assert ratio == pytest.approx(width_mm / height_mm, rel=0.03)


def test_no_yellow_without_a_mask():
    _, sheet = one_panel("axial", np.zeros(GRID.shape))
    assert not is_yellow(drawn(sheet)).any()


def test_window_is_centred_on_the_point():
    mask = np.zeros(GRID.shape)
    mask[14, 9, 7] = 1
    _, sheet = one_panel("coronal", mask, half_mm=10.0)
    rows, columns = np.nonzero(is_yellow(drawn(sheet, 626)))
    # 26 px of row title, then 600 px for 20 mm; the voxel is 1 mm by 3 mm
    assert columns.mean() == pytest.approx(26 + 300, abs=3)
    assert np.ptp(columns) == pytest.approx(30, abs=4)
    assert np.ptp(rows) == pytest.approx(90, abs=4)


@pytest.mark.parametrize(
    ("wanted", "window", "length", "expected"),
    [(50, 20, 100, 50), (3, 20, 100, 10), (99, 20, 100, 90), (3, 120, 100, 50)],
)
def test_a_window_stays_inside_the_slice(wanted, window, length, expected):
    assert panels._middle(wanted, window, length) == expected


def test_rows_of_thin_slices_keep_room_for_their_title():
    thin = Geometry((200, 200, 3), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    cut = cut_plane(thin, "coronal", (0.0, 0.0, 0.0))
    panel = Panel(cut, np.zeros((*cut.index.shape[:2], 3), np.uint8))
    assert len(drawn(Sheet([[panel], [panel]], ["t"], ["a", "b"]))) > 2 * 72


def test_all_panels_of_a_sheet_share_one_scale():
    cuts = [cut_plane(GRID, plane, (14.0, 18.0, 21.0)) for plane in overlays.PLANES]
    white = [Panel(c, np.full((*c.index.shape[:2], 3), 90, np.uint8)) for c in cuts]
    pixels = drawn(Sheet([white], ["a", "b", "c"], ["r"]), 900)
    columns = (np.abs(pixels - 90).max(-1) <= 3).sum(0) > 20
    edges = np.flatnonzero(np.diff(np.pad(columns, 1).astype(int)))
    widths = np.diff(edges)[::2]
    np.testing.assert_allclose(widths / widths[0], [1, 1, 40 / 30], rtol=0.02)


def test_unchanged_volume_is_the_middle_of_the_colours():
    ramp = panels.jacobian_ramp(257)
    middle = ramp[128]
    assert np.ptp(middle) < 0.01
    assert middle.min() > 0.94
    assert ramp[0, 2] > ramp[0, 0] + 0.2  # shrinkage is blue
    assert ramp[-1, 0] > ramp[-1, 2] + 0.2  # growth is red


def test_jacobian_colours_of_known_ratios():
    under = np.zeros((1, 5, 3), dtype=np.uint8)
    ratios = np.array([[0.25, 0.5, 1.0, 4.0, -0.1]])
    out = colour_jacobian(under, ratios, np.ones((1, 5)))
    ramp = np.rint(panels.jacobian_ramp(1025) * 255)
    for column, place in enumerate((0, 256, 512, 1024)):
        np.testing.assert_allclose(out[0, column], ramp[place], atol=1)
    np.testing.assert_allclose(out[0, 4], np.array(overlays.FOLD_COLOUR) * 255, atol=1)


def test_colour_bar_has_one_in_the_middle():
    cut = cut_plane(GRID, "axial", (14.0, 18.0, 21.0))
    panel = Panel(cut, np.zeros((*cut.index.shape[:2], 3), np.uint8))
    pixels = drawn(Sheet([[panel]], ["t"], ["r"], colour_bar="ratio"), 600)
    bar = pixels[:, 600 - 82 + 8]  # through the bar
    coloured = np.flatnonzero(np.ptp(bar, axis=-1) > 12)
    middle = (coloured[0] + coloured[-1]) // 2
    assert bar[middle].min() > 235
    assert bar[coloured[-1], 2] > bar[coloured[-1], 0]  # blue below: shrinkage
    assert bar[coloured[0], 0] > bar[coloured[0], 2]


def test_a_missing_picture_says_so():
    panel = Panel(overlays.EMPTY_CUT, None, message="no image")
    pixels = drawn(Sheet([[panel]], ["t"], ["r"]), 300)
    assert (np.abs(pixels - [238, 241, 244]).max(-1) <= 2).mean() > 0.5


def test_same_sheet_same_bytes():
    mask = np.zeros(GRID.shape)
    mask[8:19, 6:13, 4:10] = 1
    _, sheet = one_panel("axial", mask, smooth=True)
    assert sheet_png(sheet) == sheet_png(sheet)

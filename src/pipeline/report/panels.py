"""Sheets of image panels: one scale in mm for all, anatomical letters, outlines, colour bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.report.canvas import INK, SOFT, house_style, new_figure, to_png
from pipeline.report.overlays import JACOBIAN_LIMIT, Cut, Lines, Rgb, jacobian_position

#: Mask outlines: yellow stands out from grey and from both ends of the Jacobian colours.
OUTLINE_COLOUR = "#ffd400"
GRID_COLOUR = "#7ad7ff"
#: Blue shrinks, red grows, white is unchanged; blue against red suits colour-blind readers.
JACOBIAN_COLOURS = "RdBu_r"

_GAP_PX, _TITLE_PX, _SIDE_PX, _BAR_PX = 6, 22, 26, 96
#: A row of thin slices is still high enough for its title.
_LOWEST_PX = 72
_LETTER = {"color": "white", "fontsize": 8, "fontweight": "bold"}


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a sheet.

    Attributes
    ----------
    cut : Cut
        Which voxels the pixels show; gives size, letters and centre.
    picture : (R, C, 3) uint8 array or None
        None leaves the place empty, with `message` in it.
    outlines : sequence of (n, 2, 2) arrays
        Segments in mm, from `overlays.outline_mm` or `overlays.carried_mm`.
    lines : sequence of (n, 2) arrays
        Further lines in mm, from `overlays.grid_lines`.
    message : str
        What is missing.
    """

    cut: Cut
    picture: Rgb | None
    outlines: Sequence[Lines] = ()
    lines: Sequence[Lines] = ()
    message: str = ""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Panels in rows and columns.

    Attributes
    ----------
    panels : rows of Panel
        All rows equally long.
    titles : sequence of str
        One per column.
    row_titles : sequence of str
        One per row.
    half_mm : float, optional
        Show only this much to each side of the cut's point. Default: the whole slice.
    colour_bar : str
        Draw the scale of the Jacobian colours and write this beside it.
    smooth : bool
        Interpolate between voxels; otherwise every voxel is a square.
    """

    panels: Sequence[Sequence[Panel]]
    titles: Sequence[str]
    row_titles: Sequence[str]
    half_mm: float | None = None
    colour_bar: str = ""
    smooth: bool = False


def sheet_png(sheet: Sheet, *, width_px: int = 1160) -> bytes:
    """Return the sheet as a PNG; all panels share one scale, shown by a bar of some mm."""
    widths = [max(_size(row[c], sheet)[0] for row in sheet.panels) for c in _columns(sheet)]
    heights = [max(_size(panel, sheet)[1] for panel in row) for row in sheet.panels]
    bar = _BAR_PX if sheet.colour_bar else 0
    room = width_px - _SIDE_PX - bar - _GAP_PX * (len(widths) - 1)
    px_per_mm = room / sum(widths)
    heights = [max(height, _LOWEST_PX / px_per_mm) for height in heights]
    height_px = _TITLE_PX + round(sum(heights) * px_per_mm) + _GAP_PX * (len(heights) - 1) + 2
    with house_style():
        figure = new_figure(width_px, height_px)
        y = float(height_px - _TITLE_PX)
        for number, row in enumerate(sheet.panels):
            x = float(_SIDE_PX)
            tall = heights[number] * px_per_mm
            for column, panel in enumerate(row):
                wide = widths[column] * px_per_mm
                box = (x / width_px, (y - tall) / height_px, wide / width_px, tall / height_px)
                axes = figure.add_axes(box)
                _draw(axes, panel, (widths[column], heights[number]), smooth=sheet.smooth)
                if number == 0:
                    axes.set_title(sheet.titles[column], pad=5, fontsize=9)
                x += wide + _GAP_PX
            _row_title(figure, sheet.row_titles[number], (y - tall / 2) / height_px, width_px)
            y -= tall + _GAP_PX
        _scale_bar(figure.axes[0])
        if bar:
            _colour_bar(figure, 1 - (bar - 14) / width_px, width_px, sheet.colour_bar)
        return to_png(figure, true_colour=bool(bar) or sheet.smooth)


def _columns(sheet: Sheet) -> range:
    return range(len(sheet.titles))


def _size(panel: Panel, sheet: Sheet) -> tuple[float, float]:
    """Return width and height of a panel in mm: its slice, or the window where that is less."""
    rows, columns = panel.cut.index.shape[:2]
    side = float("inf") if sheet.half_mm is None else 2 * sheet.half_mm
    return min(columns * panel.cut.pixel_mm[0], side), min(rows * panel.cut.pixel_mm[1], side)


def _draw(axes: Any, panel: Panel, place_mm: tuple[float, float], *, smooth: bool) -> None:
    """Draw one panel in the middle of its place."""
    axes.set_facecolor("black" if panel.picture is not None else "#eef1f4")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    rows, columns = panel.cut.index.shape[:2]
    wide, tall = columns * panel.cut.pixel_mm[0], rows * panel.cut.pixel_mm[1]
    x = _middle(panel.cut.centre_mm[0], place_mm[0], wide)
    y = _middle(panel.cut.centre_mm[1], place_mm[1], tall)
    axes.set_xlim(x - place_mm[0] / 2, x + place_mm[0] / 2)
    axes.set_ylim(y + place_mm[1] / 2, y - place_mm[1] / 2)
    if panel.picture is None:
        axes.text(0.5, 0.5, panel.message, transform=axes.transAxes, ha="center", va="center",
                  color=SOFT)  # fmt: skip
        return
    axes.imshow(panel.picture, extent=(0, wide, tall, 0), aspect="auto",
                interpolation="bicubic" if smooth else "nearest")  # fmt: skip
    axes.set_autoscale_on(False)
    _draw_lines(axes, panel)
    _letters(axes, panel.cut)


def _middle(wanted: float, window: float, slice_: float) -> float:
    """Return the middle of a window near the wanted one that shows no more border than needed."""
    if window >= slice_:
        return slice_ / 2
    return min(max(wanted, window / 2), slice_ - window / 2)


def _draw_lines(axes: Any, panel: Panel) -> None:
    from matplotlib.collections import LineCollection

    for segments in panel.outlines:
        axes.add_collection(
            LineCollection(
                list(segments), colors=OUTLINE_COLOUR, linewidths=1.1, capstyle="projecting"
            ),
            autolim=False,
        )
    if panel.lines:
        axes.add_collection(
            LineCollection(panel.lines, colors=GRID_COLOUR, linewidths=0.7, alpha=0.9),
            autolim=False,
        )


def _letters(axes: Any, cut: Cut) -> None:
    places = (
        (0.015, 0.5, cut.edges.left, "left", "center"),
        (0.985, 0.5, cut.edges.right, "right", "center"),
        (0.5, 0.985, cut.edges.top, "center", "top"),
        (0.5, 0.015, cut.edges.bottom, "center", "bottom"),
    )
    for x, y, letter, across, along in places:
        axes.text(x, y, letter, ha=across, va=along, transform=axes.transAxes, **_LETTER)


def _row_title(figure: Any, title: str, y: float, width_px: int) -> None:
    figure.text(8 / width_px, y, title, rotation=90, ha="center", va="center", fontsize=9,
                fontweight="bold", color=INK)  # fmt: skip


def _scale_bar(axes: Any) -> None:
    """Draw a bar of a round length in the lower left corner."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    length = max(mm for mm in (1, 2, 5, 10, 20, 50) if mm <= max(1.0, (right - left) / 4))
    x, y = left + 0.04 * (right - left), bottom + 0.06 * (top - bottom)
    axes.plot([x, x + length], [y, y], color="white", linewidth=2.2, solid_capstyle="butt")
    axes.text(x, y + 0.02 * (top - bottom), f"{length} mm", va="bottom", ha="left", **_LETTER)


def _colour_bar(figure: Any, left: float, width_px: int, label: str) -> None:
    """Draw the scale of the Jacobian colours: 1 in the middle, halves and doubles alike."""
    axes = figure.add_axes((left, 0.08, 16 / width_px, 0.8))
    ramp = jacobian_ramp(256)[:, None, :]
    axes.imshow(ramp, extent=(0, 1, 0, 1), origin="lower", aspect="auto")
    ticks = [JACOBIAN_LIMIT**power for power in (-1, -0.5, 0, 0.5, 1)]
    axes.set_yticks(jacobian_position(ticks), [f"{tick:g}" for tick in ticks])
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(label, fontsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def jacobian_ramp(steps: int) -> Any:
    """Return the Jacobian colours (steps, 3), 0 to 1, from the smallest to the largest ratio."""
    import matplotlib as mpl

    return mpl.colormaps[JACOBIAN_COLOURS](np.linspace(0, 1, steps))[:, :3]

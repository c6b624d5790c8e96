"""What moves the score of boosted trees: every row as a point (beeswarm), and the means as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LINE,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILION,
    house_style,
    new_figure,
    to_svg,
)

Values = npt.NDArray[np.float64]

#: Colours of the levels of a category, in turn.
LEVEL_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)

#: Between blue (low) and vermilion (high), dark enough on white.
_MIDDLE = "#a78aa0"
#: The colour scale ends at these shares of the values: one giant leaves the others their colours.
_SCALE_ENDS = (0.05, 0.95)
#: Width of the kernel that spreads points, as a share of the width of the axis.
_KERNEL = 0.012
#: Half the height of a full swarm, in rows.
_HALF_HEIGHT = 0.40
_ROW_PX = 62
#: The points are one picture inside the SVG, at this many dots per inch.
_POINTS_DPI = 220


@dataclass(frozen=True, eq=False)
class Swarm:
    """One row of a beeswarm.

    Attributes
    ----------
    label : str
        Name of the feature, with its unit.
    contributions : (n,) float array
        SHAP values in log odds.
    values : (n,) float array, optional
        The feature as measured, for the colour; NaN where missing. Without it the points take
        `colour`.
    colour : str, optional
        Colour of a level of a category.
    heading : bool
        A line of text without points, above the levels of a category.
    indent : bool
        A level of the heading above.
    """

    label: str
    contributions: Values
    values: Values | None = None
    colour: str | None = None
    heading: bool = False
    indent: bool = False


@dataclass(frozen=True)
class Bar:
    """Mean absolute contribution of one feature, with its interval."""

    label: str
    value: float
    low: float = float("nan")
    high: float = float("nan")


def beeswarm_figure(rows: Sequence[Swarm], *, outcome: str, width_px: int = 860) -> bytes:
    """Return an SVG with a row of points per feature, or per level of a category.

    Parameters
    ----------
    rows : sequence of Swarm
        From top to bottom.
    outcome : str
        What a higher score means, for the axis.
    width_px : int
        Width on the page.
    """
    heights = [0.62 if row.heading else 1.0 for row in rows]
    height_px = round(_ROW_PX * max(sum(heights), 1.0)) + 74
    with house_style():
        figure = new_figure(width_px, height_px)
        figure.set_dpi(_POINTS_DPI)
        left, bottom = 200 / width_px, 58 / height_px
        axes = figure.add_axes((left, bottom, 0.865 - left, 1 - 10 / height_px - bottom))
        low, high = _limits(rows)
        centres = np.cumsum(heights) - np.array(heights) / 2
        for at, row in zip(centres.tolist(), rows, strict=True):
            _draw_swarm(axes, at, row, high - low)
        axes.axvline(0.0, color=SOFT, linewidth=1.0, zorder=1)
        axes.set(xlim=(low, high), ylim=(max(sum(heights), 1.0), 0.0))
        _label_rows(axes, centres, rows)
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(f"SHAP value (log odds; to the right: {outcome} more likely)")
        if any(row.values is not None for row in rows):
            _colour_bar(figure, rows, height_px)
        return to_svg(figure)


def importance_figure(bars: Sequence[Bar], *, width_px: int = 568) -> bytes:
    """Return an SVG of mean absolute contributions with their intervals, the first on top."""
    height_px = 66 + 40 * max(len(bars), 1)
    with house_style():
        figure = new_figure(width_px, height_px)
        left, bottom = 200 / width_px, 50 / height_px
        axes = figure.add_axes((left, bottom, 0.84 - left, 1 - bottom - 6 / height_px))
        text = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8.5}
        for at, bar in enumerate(bars):
            axes.barh(at, bar.value, color=BLUE, alpha=0.78, height=0.56, zorder=2)
            if np.isfinite([bar.low, bar.high]).all():
                axes.plot([bar.low, bar.high], [at, at], color=INK, linewidth=1.4,
                          solid_capstyle="butt", zorder=3)  # fmt: skip
                axes.plot([bar.low, bar.high], [at, at], color=INK, linestyle="none", marker="|",
                          markersize=7, markeredgewidth=1.4, zorder=3)  # fmt: skip
            axes.text(1.03, at, f"{bar.value:.2f}", fontweight="bold", **text)
        axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
        axes.set_ylim(len(bars) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.axvline(0.0, color=SOFT, linewidth=1.0, zorder=3)
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        ends = [v for bar in bars for v in (bar.value, bar.high) if np.isfinite(v)]
        axes.set_xlim(0.0, 1.04 * max([*ends, 1e-9]))
        axes.set_xlabel("Mean |SHAP value| (log odds)")
        return to_svg(figure)


def spread(contributions: Values, width: float) -> Values:
    """Return a sideways place in [-1, 1] for each point, so that neighbours part.

    The places follow van der Corput's sequence along the sorted values, times the local density
    over the largest: no random number is drawn, and the outline of the swarm is the density.

    Parameters
    ----------
    contributions : (n,) float array
        Places along the axis.
    width : float
        Width of the axis in the same unit.
    """
    if contributions.size == 0:
        return np.empty(0)
    order = np.argsort(contributions, kind="stable")
    ordered = contributions[order]
    reach = _KERNEL * width if width > 0 else 1.0
    distance = (ordered[:, np.newaxis] - ordered) / reach
    density = np.exp(-0.5 * distance**2).sum(axis=1)
    # a handful of points needs no full height: eight at one place fill a quarter of it
    share = density / max(float(density.max()), 32.0)
    places = np.empty(contributions.size)
    places[order] = (2 * _van_der_corput(ordered.size) - 1) * share
    return places


def _van_der_corput(count: int) -> Values:
    """Return the first numbers of van der Corput's sequence in base 2, from 1/2."""
    bits = max(count.bit_length(), 1)
    numbers = np.arange(1, count + 1)
    places = np.zeros(count)
    for bit in range(bits):
        places += ((numbers >> bit) & 1) / 2.0 ** (bit + 1)
    return places


def _limits(rows: Sequence[Swarm]) -> tuple[float, float]:
    found = np.concatenate([row.contributions for row in rows] + [np.zeros(1)])
    margin = 0.05 * max(float(np.ptp(found)), 0.1)
    return float(found.min()) - margin, float(found.max()) + margin


def _draw_swarm(axes: Any, at: float, row: Swarm, width: float) -> None:
    if row.heading or row.contributions.size == 0:
        return
    axes.axhline(at, color=LINE, linewidth=0.8, zorder=0)
    places = at + _HALF_HEIGHT * spread(row.contributions, width)
    look: dict[str, Any] = {"s": 11, "linewidths": 0.25, "rasterized": True, "zorder": 3}
    if row.values is None:
        axes.scatter(row.contributions, places, color=row.colour or BLUE, edgecolors="white",
                     **look)  # fmt: skip
        return
    known = np.isfinite(row.values)
    axes.scatter(
        row.contributions[known], places[known], c=scaled(row.values)[known], cmap=_colours(),
        vmin=0.0, vmax=1.0, edgecolors="white", **look,
    )  # fmt: skip
    hollow = look | {"linewidths": 1.0, "s": 16, "zorder": 4}
    axes.scatter(row.contributions[~known], places[~known], facecolors="white", edgecolors=GREY,
                 **hollow)  # fmt: skip


def scaled(values: Values) -> Values:
    """Return values on [0, 1] between their 5 % and 95 % quantiles; NaN stays NaN."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return np.full(values.shape, np.nan)
    low, high = np.quantile(known, _SCALE_ENDS)
    if high <= low:
        low, high = known.min(), known.max()
    if high <= low:
        return np.where(np.isfinite(values), 0.5, np.nan)
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0))


def _colours() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("low_high", [BLUE, _MIDDLE, VERMILION])


def _label_rows(axes: Any, centres: Values, rows: Sequence[Swarm]) -> None:
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for at, row in zip(centres.tolist(), rows, strict=True):
        style = {"fontsize": 8.5} if row.indent else {"fontweight": "bold"}
        axes.annotate(row.label, (0.0, at), xytext=(-10, 0), textcoords="offset points",
                      xycoords=axes.get_yaxis_transform(), annotation_clip=False,
                      ha="right", va="center", **style)  # fmt: skip


def _colour_bar(figure: Any, rows: Sequence[Swarm], height_px: int) -> None:
    from matplotlib.lines import Line2D

    height = min(150, height_px - 110)
    bottom = (height_px - 40 - height) / height_px
    axes = figure.add_axes((0.905, bottom, 0.014, height / height_px))
    axes.imshow(np.linspace(1, 0, 128)[:, np.newaxis], cmap=_colours(), aspect="auto",
                extent=(0, 1, 0, 1))  # fmt: skip
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([0.06, 0.94], ["low", "high"])
    axes.tick_params(axis="y", length=0)
    axes.set_title("Value", fontsize=9.0, fontweight="normal", loc="left", pad=8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if any(row.values is not None and not np.isfinite(row.values).all() for row in rows):
        mark = Line2D([], [], linestyle="none", marker="o", markersize=4.5,
                      markerfacecolor="white", markeredgecolor=GREY, label="missing")  # fmt: skip
        figure.legend(handles=[mark], loc="upper left", handletextpad=0.1, borderpad=0,
                      bbox_to_anchor=(0.893, bottom - 10 / height_px))  # fmt: skip

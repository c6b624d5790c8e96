"""Figures of numbers: ROC curves, forest plot, box plots, agreement, histogram. All SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report.canvas import (
    BLACK,
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

#: One colour and dash for each curve of a figure, the reference last; cycled when more.
CURVE_STYLES = (
    (SKY, "-"), (BLUE, "--"), (ORANGE, "-"), (GREEN, "-."), (PURPLE, "--"), (BLACK, "-"),
)  # fmt: skip
GROUP_COLOURS = (BLUE, VERMILION)


@dataclass(frozen=True, eq=False)
class Curve:
    """An ROC curve, its label and its operating points.

    Attributes
    ----------
    label : str
        Legend entry.
    false_positive_rate, true_positive_rate : (t,) float arrays
        From (0, 0) to (1, 1).
    points : sequence of (name, sensitivity, specificity)
        Operating points to mark.
    """

    label: str
    false_positive_rate: Values
    true_positive_rate: Values
    points: Sequence[tuple[str, float, float]] = ()


@dataclass(frozen=True, eq=False)
class Line:
    """Measured points joined by a line."""

    label: str
    x: Values
    y: Values
    colour: str


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, and a published one to compare with."""

    label: str
    value: float
    low: float
    high: float
    published: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of one box, split into named parts that are drawn with different markers."""

    label: str
    parts: Sequence[tuple[str, Values]]

    @property
    def values(self) -> Values:
        """All finite values."""
        return np.concatenate([v[np.isfinite(v)] for _, v in self.parts] or [np.empty(0)])


def roc_figure(
    curves: Sequence[Curve], *, positive: str, width_px: int = 568, height_px: int = 640
) -> bytes:
    """Return ROC curves with the operating points marked."""
    with house_style():
        figure = new_figure(width_px, height_px)
        side = width_px - 96
        axes = figure.add_axes(
            (70 / width_px, (height_px - side - 14) / height_px, side / width_px, side / height_px)
        )
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, zorder=1)
        markers: dict[str, Any] = {}
        for number, curve in enumerate(curves):
            _draw_curve(axes, curve, _style(number, len(curves)), markers)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel(f"1 - specificity (share of the others called {positive})")
        axes.set_ylabel(f"Sensitivity (share of the {positive}s found)")
        handles = [*axes.get_lines()[1 : 1 + len(curves)], *markers.values()]
        figure.legend(handles=handles, loc="lower center", ncols=2, handlelength=2.6,
                      columnspacing=1.4)  # fmt: skip
        return to_svg(figure)


def _style(number: int, count: int) -> tuple[str, str, float]:
    """Return colour, dash and width; the last curve is the reference and stands out."""
    if number == count - 1:
        return (*CURVE_STYLES[-1], 2.6)
    return (*CURVE_STYLES[number % (len(CURVE_STYLES) - 1)], 1.6)


def _draw_curve(
    axes: Any, curve: Curve, style: tuple[str, str, float], markers: dict[str, Any]
) -> None:
    from matplotlib.lines import Line2D

    colour, dash, width = style
    line = Line2D(
        curve.false_positive_rate, curve.true_positive_rate, color=colour, linestyle=dash,
        linewidth=width, label=curve.label,
    )  # fmt: skip
    axes.add_line(line)
    for number, (name, sensitivity, specificity) in enumerate(curve.points):
        shape, fill = ("o", colour) if number == 0 else ("s", "white")
        look: dict[str, Any] = {"marker": shape, "markersize": 7, "linestyle": "none"}
        look["markerfacecolor"] = fill
        axes.plot([1 - specificity], [sensitivity], markeredgecolor=colour, zorder=5, **look)
        neutral = {**look, "markerfacecolor": GREY if number == 0 else "white"}
        markers.setdefault(name, Line2D([], [], markeredgecolor=GREY, label=name, **neutral))


def forest_figure(
    rows: Sequence[Estimate], *, axis: str, no_effect: float = 0.5, width_px: int = 568,
    height_px: int = 640,
) -> bytes:  # fmt: skip
    """Return estimates with intervals, each with its published value as a hollow marker."""
    with house_style():
        figure = new_figure(width_px, height_px)
        axes = figure.add_axes((0.27, 0.13, 0.45, 0.82))
        axes.axvline(no_effect, color=SOFT, linewidth=1, linestyle=":")
        for number, row in enumerate(rows):
            _draw_estimate(axes, number, row, _style(number, len(rows))[0])
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(axis)
        low, high = _forest_limits(rows, no_effect)
        axes.set_xlim(low, high)
        _forest_legend(axes, any(row.published for row in rows))
        return to_svg(figure)


def _draw_estimate(axes: Any, y: int, row: Estimate, colour: str) -> None:
    text = {"transform": axes.get_yaxis_transform(), "va": "center"}
    shift = 0.13 if row.published else 0.0
    axes.plot([row.low, row.high], [y - shift] * 2, color=colour, linewidth=2.2)
    axes.plot([row.value], [y - shift], marker="o", markersize=8, color=colour)
    label = f"{row.value:.3f} ({row.low:.2f}–{row.high:.2f})"  # noqa: RUF001
    axes.text(1.03, y - shift, label, fontweight="bold", fontsize=8.5, **text)
    if row.published:
        value, low, high = row.published
        axes.plot([low, high], [y + shift] * 2, color=SOFT, linewidth=1.2, linestyle="--")
        axes.plot([value], [y + shift], marker="D", markersize=6.5, markerfacecolor="white",
                  markeredgecolor=SOFT, markeredgewidth=1.4)  # fmt: skip
        label = f"{value:.3f} ({low:.2f}–{high:.2f})"  # noqa: RUF001
        axes.text(1.03, y + shift, label, color=SOFT, fontsize=8.5, **text)


def _forest_limits(rows: Sequence[Estimate], no_effect: float) -> tuple[float, float]:
    ends = [no_effect] + [v for row in rows for v in (row.low, row.high)]
    ends += [v for row in rows if row.published for v in row.published]
    finite = [v for v in ends if np.isfinite(v)]
    margin = 0.04 * max(max(finite) - min(finite), 0.1)
    return min(finite) - margin, max(finite) + margin


def _forest_legend(axes: Any, published: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=INK, marker="o", markersize=7, label="found here, 95 % CI")]
    if published:
        handles.append(
            Line2D([], [], color=SOFT, linestyle="--", marker="D", markerfacecolor="white",
                   label="published, 95 % CI")
        )  # fmt: skip
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)


def box_figure(
    samples: Sequence[Sample], *, title: str, axis: str, note: str, pairs: bool = False,
    width_px: int = 376, height_px: int = 380,
) -> bytes:  # fmt: skip
    """Return box plots (median, quartiles, 1.5 IQR) with every value drawn.

    With `pairs`, boxes 1 and 2, 3 and 4 ... hold the same subjects, joined by lines.
    """
    with house_style():
        figure = new_figure(width_px, height_px)
        axes = figure.add_axes(
            (
                70 / width_px,
                66 / height_px,
                (width_px - 84) / width_px,
                (height_px - 122) / height_px,
            )
        )
        for number, sample in enumerate(samples):
            _draw_box(axes, number, sample, GROUP_COLOURS[(number // (2 if pairs else 1)) % 2])
        if pairs:
            _join_pairs(axes, samples)
        axes.set_xticks(range(len(samples)), [s.label for s in samples], fontsize=8.5)
        axes.set_xlim(-0.6, len(samples) - 0.4)
        axes.set_ylabel(axis)
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="x", length=0)
        figure.text(0.015, 1 - 12 / height_px, title, fontsize=9.5, fontweight="bold", va="top")
        figure.text(0.015, 1 - 32 / height_px, note, fontsize=8.5, color=SOFT, va="top")
        return to_svg(figure)


def _draw_box(axes: Any, at: int, sample: Sample, colour: str) -> None:
    values = sample.values
    if values.size == 0:
        axes.text(at, 0.5, "no value", transform=axes.get_xaxis_transform(), ha="center")
        return
    line = {"color": INK, "linewidth": 1.1}
    axes.boxplot(
        [values], positions=[at], widths=0.5, showfliers=False, patch_artist=True,
        boxprops={"facecolor": colour, "alpha": 0.25, "edgecolor": INK, "linewidth": 1.1},
        medianprops={"color": INK, "linewidth": 2}, whiskerprops=line, capprops=line,
        manage_ticks=False,
    )  # fmt: skip
    for number, (_, part) in enumerate(sample.parts):
        finite = part[np.isfinite(part)]
        axes.plot(
            at + _jitter(finite), finite, linestyle="none", marker="o" if number == 0 else "^",
            markersize=4.5, markerfacecolor=colour if number == 0 else "white",
            markeredgecolor=colour, markeredgewidth=0.9, alpha=0.9, zorder=3,
        )  # fmt: skip


def _jitter(values: Values) -> Values:
    """Return sideways shifts that follow the rank, so that drawing needs no random numbers."""
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.asarray((rank * 0.6180339887 % 1.0 - 0.5) * 0.34)


def _join_pairs(axes: Any, samples: Sequence[Sample]) -> None:
    for at in range(0, len(samples) - 1, 2):
        first = np.concatenate([v for _, v in samples[at].parts])
        second = np.concatenate([v for _, v in samples[at + 1].parts])
        for a, b in zip(first, second, strict=True):
            axes.plot([at + 0.25, at + 0.75], [a, b], color=GREY, linewidth=0.5, alpha=0.6)


def agreement_figure(
    true: Values, found: Values, *, axis: str, band: float = 0.05, width_px: int = 568,
    height_px: int = 520,
) -> bytes:  # fmt: skip
    """Return found against true values with the identity line and a relative band."""
    with house_style():
        figure = new_figure(width_px, height_px)
        axes = figure.add_axes((0.13, 0.12, 0.83, 0.84))
        values = np.concatenate([true, found])
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        margin = 0.06 * max(high - low, 0.05)
        ends = np.array([low - margin, high + margin])
        axes.fill_between(ends, ends * (1 - band), ends * (1 + band), color=GREEN, alpha=0.18,
                          linewidth=0, label=f"within {100 * band:g} %")  # fmt: skip
        axes.plot(ends, ends, color=SOFT, linewidth=1, label="identity")
        inside = np.abs(found - true) <= band * np.abs(true)
        for chosen, colour, marker, name in (
            (inside, GREEN, "o", "inside"), (~inside, VERMILION, "X", "outside"),
        ):  # fmt: skip
            axes.plot(true[chosen], found[chosen], linestyle="none", marker=marker, color=colour,
                      markeredgecolor="white", markersize=7,
                      label=f"{name} (n = {int(chosen.sum())})")  # fmt: skip
        axes.set(xlim=tuple(ends), ylim=tuple(ends), aspect="equal")
        axes.set_xlabel(f"True {axis}")
        axes.set_ylabel(f"Found {axis}")
        axes.legend(loc="upper left")
        return to_svg(figure)


def histogram_figure(
    values: Values, *, axis: str, counted: str, edges: Values, title: str,
    lines: Sequence[tuple[float, str, str]] = (), log2: bool = False, width_px: int = 568,
    height_px: int = 520,
) -> bytes:  # fmt: skip
    """Return a histogram with vertical lines (value, colour, label); ends take what is beyond."""
    with house_style():
        figure = new_figure(width_px, height_px)
        axes = _titled_axes(figure, title, width_px, height_px)
        finite = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
        axes.hist(finite, bins=edges, color=BLUE, alpha=0.5, edgecolor="white", linewidth=0.5)
        if log2:
            axes.set_xscale("log", base=2)
            ticks = 2.0 ** np.arange(np.ceil(np.log2(edges[0])), np.log2(edges[-1]) + 0.5)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlim(float(edges[0]), float(edges[-1]))
        dashes = ("-", "--", ":")
        for number, (value, colour, label) in enumerate(lines):
            axes.axvline(value, color=colour, linewidth=2, linestyle=dashes[number % 3],
                         label=label)  # fmt: skip
        axes.set_xlabel(axis)
        axes.set_ylabel(counted)
        if lines:
            axes.legend(loc="upper left")
        return to_svg(figure)


def curve_figure(
    lines: Sequence[Line], *, x_axis: str, y_axis: str, title: str, width_px: int = 568,
    height_px: int = 330,
) -> bytes:  # fmt: skip
    """Return lines with a marker at every measured point."""
    with house_style():
        figure = new_figure(width_px, height_px)
        axes = _titled_axes(figure, title, width_px, height_px)
        for number, line in enumerate(lines):
            axes.plot(line.x, line.y, color=line.colour, marker="os^D"[number % 4], markersize=5,
                      linewidth=1.8, label=line.label)  # fmt: skip
        axes.set_xlabel(x_axis)
        axes.set_ylabel(y_axis)
        axes.grid(color=LINE, linewidth=0.6)
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right")
        return to_svg(figure)


def _titled_axes(figure: Any, title: str, width_px: int, height_px: int) -> Any:
    figure.text(0.015, 1 - 8 / height_px, title, fontsize=9.5, fontweight="bold", va="top")
    left, bottom = 74 / width_px, 52 / height_px
    return figure.add_axes((left, bottom, 0.97 - left, 1 - 36 / height_px - bottom))


def bar_figure(names: Sequence[str], values: Values, *, axis: str, width_px: int = 860) -> bytes:
    """Return level bars, the first on top."""
    height_px = 70 + 24 * max(len(names), 1)
    with house_style():
        figure = new_figure(width_px, height_px)
        bottom = 46 / height_px
        axes = figure.add_axes((0.46, bottom, 0.51, 1 - bottom - 8 / height_px))
        axes.barh(range(len(names)), values, color=BLUE, alpha=0.75, height=0.66)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(axis)
        return to_svg(figure)

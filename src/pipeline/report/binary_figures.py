"""Forest plots of a binary study: odds ratios by variable, and AUCs by model and split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.report.canvas import BLUE, GREY, INK, LINE, SOFT, house_style, new_figure, to_svg
from pipeline.report.text import p_value

_TICKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
#: An interval that leaves this range ends in an arrow.
_LIMITS = (0.02, 50.0)
_ROW_PX, _TOP_PX, _BOTTOM_PX = 30, 34, 64
_LABEL_PX, _NUMBERS_PX = 250, 320


@dataclass(frozen=True)
class Odds:
    """One row of the forest plot.

    Attributes
    ----------
    label : str
        Level, or what is compared.
    ratio, low, high, p : float
        Odds ratio with its 95 % interval; NaN in a heading.
    heading : bool
        The name of a variable, with the p value of all its rows in `p`.
    note : str
        What stands where the numbers would be, as "reference".
    """

    label: str
    ratio: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    heading: bool = False
    note: str = ""


def odds_figure(rows: Sequence[Odds], *, outcome: str, width_px: int = 860) -> bytes:
    """Return an SVG of odds ratios.

    Parameters
    ----------
    rows : sequence of Odds
        From top to bottom, each variable under its heading.
    outcome : str
        What an odds ratio above 1 makes more likely, for the axis.
    width_px : int
        Width on the page.
    """
    height_px = _TOP_PX + _BOTTOM_PX + _ROW_PX * max(len(rows), 1)
    with house_style():
        figure = new_figure(width_px, height_px)
        axes = figure.add_axes(
            (
                _LABEL_PX / width_px,
                _BOTTOM_PX / height_px,
                (width_px - _LABEL_PX - _NUMBERS_PX) / width_px,
                1 - (_TOP_PX + _BOTTOM_PX) / height_px,
            )
        )
        low, high = _limits(rows)
        axes.set_xscale("log")
        ticks = [tick for tick in _TICKS if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(xlim=(low, high), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.axvline(1.0, color=SOFT, linewidth=1, linestyle=":")
        axes.set_xlabel(f"Odds ratio, log axis\n(right of 1: {outcome} more likely)")
        for at, row in enumerate(rows):
            y_px = _TOP_PX + _ROW_PX * (at + 0.5)
            _write_row(figure, row, y_px, width_px, height_px)
            _draw_row(axes, at, row, (low, high))
        _write_heads(figure, width_px, height_px)
        return to_svg(figure)


@dataclass(frozen=True)
class AreaPair:
    """AUCs of one model, each as (value, low, high): on test rows, and held out; None for none."""

    label: str
    test: tuple[float, float, float] | None
    held_out: tuple[float, float, float] | None


def areas_figure(rows: Sequence[AreaPair], *, width_px: int = 860) -> bytes:
    """Return an SVG of AUCs with intervals: filled on test rows, hollow in cross-validation."""
    from matplotlib.lines import Line2D

    height_px = 40 + 48 * max(len(rows), 1) + 46
    with house_style():
        figure = new_figure(width_px, height_px)
        axes = figure.add_axes(
            (
                _LABEL_PX / width_px,
                46 / height_px,
                (width_px - _LABEL_PX - 210) / width_px,
                1 - 86 / height_px,
            )
        )
        found = [pair for row in rows for pair in (row.test, row.held_out) if pair]
        ends = [0.5, *(v for pair in found for v in pair if np.isfinite(v))]
        axes.set(xlim=(min(ends) - 0.02, max(ends) + 0.02), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        axes.axvline(0.5, color=SOFT, linewidth=1, linestyle=":")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("AUC (dotted: 0.5, no better than chance)")
        for at, row in enumerate(rows):
            y_px = 40 + 48 * (at + 0.5)
            figure.text(8 / width_px, 1 - y_px / height_px, row.label, va="center",
                        fontweight="bold")  # fmt: skip
            for area, shift, hollow in ((row.test, -0.15, False), (row.held_out, 0.15, True)):
                if area is not None:
                    _draw_area(axes, at + shift, area, hollow)
        handles = [
            Line2D([], [], color=BLUE, marker="o", markersize=7, linewidth=2.2, label="test"),
            Line2D([], [], color=GREY, marker="o", markerfacecolor="white", markersize=6.5,
                   label="development, held out"),
        ]  # fmt: skip
        figure.legend(handles=handles, loc="upper left", ncols=2,
                      bbox_to_anchor=((_LABEL_PX - 8) / width_px, 1.0))  # fmt: skip
        return to_svg(figure)


def _draw_area(axes: Any, y: float, area: tuple[float, float, float], hollow: bool) -> None:
    value, low, high = area
    colour = GREY if hollow else BLUE
    axes.plot([low, high], [y, y], color=colour, linewidth=1.4 if hollow else 2.2)
    axes.plot([value], [y], marker="o", markersize=6.5 if hollow else 7.5,
              markerfacecolor="white" if hollow else colour, markeredgecolor=colour,
              markeredgewidth=1.4)  # fmt: skip
    axes.text(1.03, y, f"{value:.3f} ({low:.2f}–{high:.2f})",  # noqa: RUF001
              transform=axes.get_yaxis_transform(), va="center", fontsize=8.5,
              color=SOFT if hollow else INK)  # fmt: skip


def _limits(rows: Sequence[Odds]) -> tuple[float, float]:
    ends = [v for row in rows for v in (row.low, row.high, row.ratio) if np.isfinite(v) and v > 0]
    low, high = 0.8 * min([*ends, 0.5]), 1.25 * max([*ends, 2.0])
    return max(low, _LIMITS[0]), min(high, _LIMITS[1])


def _write_heads(figure: Any, width_px: int, height_px: int) -> None:
    look = {"fontsize": 8.5, "fontweight": "bold", "va": "center"}
    y = 1 - 16 / height_px
    left = width_px - _NUMBERS_PX
    figure.text((left + 20) / width_px, y, "Odds ratio (95 % CI)", **look)
    figure.text((left + 238) / width_px, y, "p", ha="right", **look)
    figure.text((left + 310) / width_px, y, "p, all", ha="right", **look)


def _write_row(figure: Any, row: Odds, y_px: float, width_px: int, height_px: int) -> None:
    y, left = 1 - y_px / height_px, width_px - _NUMBERS_PX
    look: dict[str, Any] = {"va": "center", "fontsize": 8.5}
    if row.heading:
        figure.text(8 / width_px, y, row.label, va="center", fontweight="bold")
        figure.text((left + 310) / width_px, y, p_value(row.p), ha="right", **look)
        return
    figure.text(24 / width_px, y, row.label, **look)
    if not np.isfinite(row.low):
        figure.text((left + 20) / width_px, y, row.note, color=SOFT, **look)
        return
    numbers = f"{row.ratio:.2f} ({row.low:.2f}–{row.high:.2f})"  # noqa: RUF001
    figure.text((left + 20) / width_px, y, numbers, **look)
    figure.text((left + 238) / width_px, y, p_value(row.p), ha="right", color=SOFT, **look)


def _draw_row(axes: Any, at: int, row: Odds, limits: tuple[float, float]) -> None:
    if row.heading or not np.isfinite(row.ratio):
        return
    if not np.isfinite(row.low):
        axes.plot([row.ratio], [at], marker="o", markersize=6.5, markerfacecolor="white",
                  markeredgecolor=GREY, markeredgewidth=1.4)  # fmt: skip
        return
    ends = np.clip([row.low, row.high], *limits)
    axes.plot(ends, [at, at], color=BLUE, linewidth=2.2)
    for end, value, marker in ((ends[0], row.low, "<"), (ends[1], row.high, ">")):
        if end != value:
            axes.plot([end], [at], marker=marker, markersize=6, color=BLUE, clip_on=False)
    if limits[0] <= row.ratio <= limits[1]:
        axes.plot([row.ratio], [at], marker="o", markersize=7.5, color=BLUE)

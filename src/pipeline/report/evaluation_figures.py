"""Figures of an evaluation: Bland-Altman plots, and box plots of many structures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.bland_altman import BlandAltman
from pipeline.report.canvas import BLUE, SOFT, VERMILION, house_style, new_figure
from pipeline.report.charts import SMALL_PT, grid, heading, place, plain, shorten, slim_svg
from pipeline.report.figures import Sample, box_figure
from pipeline.report.text import number

Values = npt.NDArray[np.float64]

#: Boxes of one figure, and from how many on it takes the whole width.
MOST_BOXES, _WIDE_FROM = 12, 5
HALF_PX, FULL_PX = 568, 1160
#: What is beside the boxes, and a letter of a name below them.
_BESIDE_PX, _LETTER_PX = 84, 7.0
#: Cases beyond the limits of agreement that are named.
_MOST_NAMES = 6


def score_figures(
    scores: Sequence[tuple[str, Values]], *, title: str, axis: str
) -> list[tuple[bytes, int]]:
    """Return box plots with every case drawn, and their widths in pixels; several when needed.

    Parameters
    ----------
    scores : sequence of (str, (n,) array)
        Structure and its values.
    title, axis : str
        Heading, and what is measured.
    """
    longest = max((len(name) for name, _ in scores), default=0)
    fits = longest <= _letters(HALF_PX, len(scores))
    width = HALF_PX if fits and len(scores) < _WIDE_FROM else FULL_PX
    parts = [scores[n : n + MOST_BOXES] for n in range(0, len(scores), MOST_BOXES)]
    return [
        (
            box_figure(
                [_sample(name, values, _letters(width, len(part))) for name, values in part],
                title=title if len(parts) == 1 else f"{title} ({number} of {len(parts)})",
                axis=axis,
                note="",
                width_px=width,
                height_px=360,
            ),
            width,
        )
        for number, part in enumerate(parts, start=1)
    ]


def _letters(width_px: int, boxes: int) -> int:
    """Return how many letters of a name have room below each box, a gap between two names."""
    return max(6, int((width_px - _BESIDE_PX) / max(boxes, 1) / _LETTER_PX) - 2)


def _sample(name: str, values: Values, letters: int) -> Sample:
    finite = values[np.isfinite(values)]
    short = plain(shorten(name, letters))
    return Sample(f"{short}\n(n = {finite.size})", [("", finite)])


def bland_altman_figure(
    reference_ml: Values,
    prediction_ml: Values,
    subjects: Sequence[str],
    found: BlandAltman,
    *,
    title: str,
    width_px: int = HALF_PX,
    height_px: int = 400,
) -> bytes:
    """Return volume differences over their means, with bias, limits and their intervals.

    Parameters
    ----------
    reference_ml, prediction_ml : (n,) float arrays
        Volumes.
    subjects : sequence of str
        Names of the cases, written beside points beyond the limits of agreement.
    found : BlandAltman
        Of the same cases.
    title : str
        Heading: the structure.
    """
    means, differences = (reference_ml + prediction_ml) / 2, prediction_ml - reference_ml
    with house_style():
        figure = new_figure(width_px, height_px)
        top = heading(figure, title, "Bands: 95 % intervals of the bias and of the limits")
        axes = place(figure, 74, top, 112, 52)
        axes.axhline(0, color=SOFT, linewidth=0.8, linestyle=":")
        lines = (
            (found.bias, found.bias_low, found.bias_high, BLUE, "-", "bias"),
            (found.lower, found.lower_low, found.lower_high, VERMILION, "--", "-1.96 SD"),
            (found.upper, found.upper_low, found.upper_high, VERMILION, "--", "+1.96 SD"),
        )
        for value, low, high, colour, dash, name in lines:
            _draw_level(axes, value, (low, high), colour, dash, name)
        beyond = (differences < found.lower) | (differences > found.upper)
        for chosen, marker, fill in ((~beyond, "o", BLUE), (beyond, "D", "white")):
            axes.plot(means[chosen], differences[chosen], linestyle="none", marker=marker,
                      markersize=5, markerfacecolor=fill, markeredgecolor=BLUE, alpha=0.9,
                      zorder=3)  # fmt: skip
        _name_points(axes, means, differences, subjects, beyond)
        axes.margins(x=0.08, y=0.12)
        grid(axes)
        axes.set_xlabel("Mean of predicted and reference volume (mL)")
        axes.set_ylabel("Predicted - reference volume (mL)")
        return slim_svg(figure)


def _draw_level(
    axes: Any, value: float, ends: tuple[float, float], colour: str, dash: str, name: str
) -> None:
    if not np.isfinite(value):
        return
    if np.isfinite(ends).all():
        axes.axhspan(*ends, color=colour, alpha=0.12, linewidth=0)
    axes.axhline(value, color=colour, linewidth=1.4, linestyle=dash)
    axes.text(1.02, value, f"{name}\n{number(value, 2)} mL", transform=axes.get_yaxis_transform(),
              va="center", fontsize=SMALL_PT, color=colour)  # fmt: skip


def _name_points(
    axes: Any, means: Values, differences: Values, subjects: Sequence[str], beyond: Any
) -> None:
    order = np.argsort(-np.abs(np.where(beyond, differences, 0.0)), kind="stable")
    for n in order[: min(_MOST_NAMES, int(beyond.sum()))]:
        axes.annotate(plain(shorten(subjects[n], 18)), (means[n], differences[n]), xytext=(5, 4),
                      textcoords="offset points", fontsize=SMALL_PT, color=SOFT)  # fmt: skip

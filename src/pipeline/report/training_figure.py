"""How a training went: the loss, and the Dice of each class at the validations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILION,
    house_style,
    new_figure,
    to_png,
)  # fmt: skip
from pipeline.report.charts import grid, heading, pixels, place, shorten, spread, write

if TYPE_CHECKING:
    from pipeline.segment.training.loop import Record

_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
#: More classes than colours share the grey, and only their mean is named.
_HEIGHT_PX = 330
_NAME_LETTERS = 22


def training_png(
    history: Sequence["Record"],
    labels: Sequence[str],
    *,
    title: str,
    best_iteration: int = 0,
    width_px: int = 1000,
) -> bytes:
    """Return two panels: the loss between validations, and the mean Dice of each class.

    Parameters
    ----------
    history : sequence of Record
        At least one.
    labels : sequence of str
        Names of the foreground classes.
    title : str
    best_iteration : int
        Where the weights that are kept come from; 0 when the last ones are.
    width_px : int
    """
    with house_style():
        figure = new_figure(width_px, _HEIGHT_PX)
        top = heading(figure, title, _note(history, best_iteration))
        half = width_px / 2
        axes = place(figure, 64, top + 30, half + 20, 48)
        _draw_loss(axes, history)
        axes = place(figure, half + 56, top + 30, 150, 48)
        if any(record.dice for record in history):
            _draw_dice(figure, axes, history, labels, best_iteration)
        else:
            axes.set_axis_off()
            write(figure, half + 56, top + 60, "No validation cases: every subject trains.",
                  color=SOFT)  # fmt: skip
        return to_png(figure)


def _note(history: Sequence["Record"], best_iteration: int) -> str:
    last = history[-1]
    text = f"{last.iteration:,} iterations in {last.seconds / 60:.1f} minutes"
    best = next((r for r in history if r.iteration == best_iteration), None)
    if best is None:
        return text
    return f"{text}; kept: iteration {best.iteration:,}, mean Dice {best.score:.3f}"


def _draw_loss(axes: Any, history: Sequence["Record"]) -> None:
    """Draw each loss in its own colour: rounds of several losses do not share a scale."""
    names = list(dict.fromkeys(record.loss_name for record in history))
    for name, colour in zip(names, _COLOURS, strict=False):
        values = [r.loss if r.loss_name == name else np.nan for r in history]
        axes.plot(_iterations(history), values, color=colour, linewidth=1.6, marker="o",
                  markersize=2.5, label=name)  # fmt: skip
    axes.set_title("Training loss, mean since the last validation", fontsize=9)
    _finish(axes)
    if len(names) > 1:
        axes.legend(loc="upper right")
    else:
        axes.set_ylabel(names[0])


def _draw_dice(
    figure: Any, axes: Any, history: Sequence["Record"], labels: Sequence[str], best_iteration: int
) -> None:
    """Draw a curve for each class, named beside its end, and where the kept weights come from."""
    curves = np.array([record.dice for record in history], dtype=np.float64)
    many = len(labels) > len(_COLOURS)
    for number in range(len(labels)):
        colour = GREY if many else _COLOURS[number]
        axes.plot(_iterations(history), curves[:, number], color=colour, linewidth=1.0 if many
                  else 1.6, marker="o", markersize=2.5)  # fmt: skip
    if best_iteration:
        axes.axvline(best_iteration, color=SOFT, linewidth=1.0, linestyle=(0, (3, 2)))
    axes.set_title("Dice at the validations", fontsize=9)
    known = curves[np.isfinite(curves)]
    low = float(np.clip(np.percentile(known, 5) - 0.05, 0.0, 0.9)) if known.size else 0.0
    axes.set_ylim(low, 1.0)
    _finish(axes)
    if many:
        mean = [record.score for record in history]
        axes.plot(_iterations(history), mean, color=INK, linewidth=2.0)
        ends, names, colours = np.array([mean[-1]]), ["mean"], [INK]
    else:
        ends = np.nan_to_num(curves[-1], nan=low)
        names, colours = list(labels), list(_COLOURS)
    box = axes.get_position()
    _, height = pixels(figure)
    gap = 15 / (box.height * height) * (1.0 - low)
    places = spread(np.clip(ends, low, 1.0), gap, low, 1.0)
    for end, at, name, colour in zip(ends, places, names, colours, strict=False):
        text = f"{shorten(name, _NAME_LETTERS)} {end:.3f}"
        axes.annotate(text, (1.03, at), xycoords=("axes fraction", "data"), color=colour,
                      fontsize=8.5, va="center", annotation_clip=False)  # fmt: skip


def _finish(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlim(left=0)
    axes.set_xlabel("Iteration")
    grid(axes)


def _iterations(history: Sequence["Record"]) -> list[int]:
    return [record.iteration for record in history]

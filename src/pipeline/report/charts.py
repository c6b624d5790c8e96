"""What the figures of the survival page share: places in pixels, headings, ticks, labels."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report.canvas import LINE, SOFT, to_svg
from pipeline.report.text import p_value

Values = npt.NDArray[np.float64]

#: Steps of a time axis that readers know by heart.
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 36, 60, 120, 240)
_MOST_TICKS = 7
#: Font sizes of a heading and what stands below it, in points.
TITLE_PT, NOTE_PT, SMALL_PT = 9.5, 8.5, 8.0

#: Coordinates with more digits than a screen can show; sizes below 1 are scales and stay exact.
_LONG_NUMBER = re.compile(rb"(?<![\w.#])-?[1-9]\d*\.\d{3,}(?![\w.])")
_FEATURE_SET = re.compile(r"^[A-Za-z]\w*\.(?=[A-Za-z])")
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_SPACE = re.compile(rb"\s*\n\s*")


def slim_svg(figure: Any) -> bytes:
    """Return the figure as SVG at half the size: a page holds dozens of them.

    Coordinates are rounded to a hundredth of a point, comments and indentation left out, names
    of letters shortened. Nothing that is drawn moves by more than that.
    """
    svg = _COMMENT.sub(b"", to_svg(figure))
    svg = _LONG_NUMBER.sub(lambda found: b"%.2f" % float(found.group()), svg)
    svg = svg.replace(b"DejaVuSans-", b"g")
    return _SPACE.sub(b" ", svg).replace(b"> <", b"><") + b"\n"


def place(figure: Any, left: float, top: float, right: float, bottom: float, **options: Any) -> Any:
    """Return axes that lie so many pixels from each edge of the figure."""
    width, height = pixels(figure)
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(box, **options)


def pixels(figure: Any) -> tuple[float, float]:
    """Return width and height of a figure in pixels of the page."""
    width, height = figure.get_size_inches()
    return 100 * float(width), 100 * float(height)


def heading(figure: Any, title: str, note: str = "", handles: Sequence[Any] = ()) -> float:
    """Write a title, a line of small print and a legend; return how many pixels they take.

    All three stand above the axes, where no curve can run through them.
    """
    width, height = pixels(figure)
    write(figure, 8, 8, title, fontsize=TITLE_PT, fontweight="bold", va="top")
    used = 28.0
    if note:
        write(figure, 8, used, note, fontsize=NOTE_PT, color=SOFT, va="top")
        used += 20 * (1 + note.count("\n"))
    if handles:
        figure.legend(
            handles=list(handles), loc="upper left", bbox_to_anchor=(2 / width, 1 - used / height),
            ncols=len(handles), handlelength=2.2, columnspacing=1.4, borderaxespad=0,
        )  # fmt: skip
        used += 24
    return used + 6


def write(figure: Any, x_px: float, y_px: float, text: str, **look: Any) -> Any:
    """Write plain text so many pixels from the left and from the top."""
    width, height = pixels(figure)
    return figure.text(x_px / width, 1 - y_px / height, plain(text), **look)


def plain(text: str) -> str:
    """Return text that matplotlib draws as it is: a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def feature_name(name: str, letters: int = 44) -> str:
    """Return a feature's name without its set and class of image, cut when too long.

    All features of an arm are of one set, so ``published.original_glcm_Idn`` is ``glcm_Idn``.
    """
    return shorten(_FEATURE_SET.sub("", name).removeprefix("original_"), letters)


def shorten(text: str, letters: int) -> str:
    """Return a text cut in the middle when it is too long."""
    if len(text) <= letters:
        return text
    tail = (letters - 1) // 2
    return f"{text[: letters - 1 - tail]}…{text[-tail:]}"


def month_ticks(end_months: float) -> Values:
    """Return ticks from 0 by whole months, half years or years, at most eight of them."""
    step = next((s for s in _MONTH_STEPS if end_months / s <= _MOST_TICKS), None)
    size = float(step or np.ceil(end_months / _MOST_TICKS / 120) * 120)
    return np.asarray(np.arange(0.0, end_months + 1e-9, size), dtype=np.float64)


def grid(axes: Any, along: str = "both") -> None:
    """Draw the light grid of the house behind everything else."""
    axes.grid(axis=along, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)


def p_text(value: Any) -> str:
    """Return "p < 0.001" or "p = 0.03"."""
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def spread(targets: Values, gap: float, low: float, high: float) -> Values:
    """Return places near `targets`, in the same order, at least `gap` apart within the limits.

    Parameters
    ----------
    targets : (n,) float array
        Where each label would like to be.
    gap : float
        Smallest distance; reduced when the labels would not fit.
    low, high : float
        Limits of the places.
    """
    count = len(targets)
    if count == 0:
        return np.empty(0)
    gap = min(gap, (high - low) / max(count - 1, 1))
    order = np.argsort(targets, kind="stable")
    steps = gap * np.arange(count)
    # Without their gaps the places only have to rise: neighbours that clash share their mean.
    blocks: list[list[float]] = []
    for value in np.asarray(targets, dtype=np.float64)[order] - steps:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    rising = np.concatenate([np.full(len(block), np.mean(block)) for block in blocks])
    found = np.empty(count)
    found[order] = np.clip(rising, low, high - steps[-1]) + steps
    return found

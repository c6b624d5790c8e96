"""A figure of the house style, and its bytes: the same figure gives the same bytes."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

#: Colours that remain apart for colour-blind readers (Okabe and Ito).
BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
BLUE, VERMILION, PURPLE, GREY = "#0072b2", "#d55e00", "#cc79a7", "#7f8c96"
INK, SOFT, LINE = "#1b2733", "#55636f", "#d7dee4"

#: Pixels of the page per inch of a figure: 9 pt letters then look as large as table text.
_PX_PER_INCH = 100
_PNG_DPI = 100
#: Level 9 takes six times as long for a tenth less.
_PNG_LEVEL = 7

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "medpipe",
    "svg.fonttype": "path",
    "path.simplify": True,
    "axes.unicode_minus": True,
}


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Draw and save inside this block, whatever the user's own matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(width_px: int, height_px: int) -> Any:
    """Return an empty figure that fills `width_px` x `height_px` of the page."""
    return Figure(figsize=(width_px / _PX_PER_INCH, height_px / _PX_PER_INCH))


def to_svg(figure: Any) -> bytes:
    """Return the figure as SVG without a date."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def to_png(figure: Any, *, true_colour: bool = False) -> bytes:
    """Return the figure as a PNG.

    A palette of 256 colours suits grey squares, at half the size; smooth pictures and colour
    scales need `true_colour`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(_PNG_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    if not true_colour:
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()

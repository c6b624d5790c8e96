"""The figure of a nomogram: points on top, an axis per variable, total points, probabilities."""

import functools
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from pipeline.model.nomogram import Nomogram, NomogramModel, Probability, VariableAxis
from pipeline.report.canvas import INK, LINE, SOFT, house_style, new_figure, to_svg

Scale = Literal["probability", "percent"]

_TICK_PT, _LABEL_PT = 8.0, 9.5
_PX_PER_PT = 100 / 72
#: Pixels between neighbouring tick labels, and the height of a line of them.
_GAP, _TIER = 7.0, 15.0
_MAJOR, _MINOR = 6.0, 3.5
#: Ticks nearer than this many pixels run together.
_CLOSEST = 4.0
_MARGIN = 14.0
#: Letters of a variable's name in a line, and the widest column of names, in pixels.
_WRAP, _MOST_LABEL = 26, 300.0
#: Guides through the variables, lighter than an axis.
_GUIDE = "#e8edf1"


@dataclass(frozen=True)
class Tick:
    """A tick: where it lies and what is written at it.

    Attributes
    ----------
    at : float
        Points, or total points.
    text : str
        Label; empty for none.
    tier : int
        Line of the label: 0 just below the axis, 1 and more further down, -1 above.
    x : float
        Middle of the label in pixels from the left.
    up : bool
        Drawn above the axis (the falling branch of a bent effect).
    """

    at: float
    text: str
    tier: int
    x: float
    up: bool = False


@dataclass(frozen=True)
class Row:
    """An axis in the figure.

    Attributes
    ----------
    key : str
        Name of the variable; "points", "total", "linear" or "probability-36".
    title : tuple of str
        Lines of its name.
    y : float
        Height of the axis in pixels from the top.
    low, high : float
        Ends of the axis in points (or total points).
    ticks, minor : tuples
        Ticks with labels, and positions of small ticks.
    total : bool
        Lies on the scale of the total points.
    strong : bool
        Drawn heavier: points and total points.
    """

    key: str
    title: tuple[str, ...]
    y: float
    low: float
    high: float
    ticks: tuple[Tick, ...]
    minor: tuple[float, ...] = ()
    total: bool = False
    strong: bool = False


@dataclass(frozen=True)
class Layout:
    """Where everything lies, in pixels from the left and the top.

    Attributes
    ----------
    width, height : float
        Of the figure.
    left, right : float
        Ends of the scales: 0 and `score` points, 0 and `most` total points.
    score, most : float
        Points and total points at `right`.
    rows : tuple of Row
        From top to bottom.
    """

    width: float
    height: float
    left: float
    right: float
    score: float
    most: float
    rows: tuple[Row, ...]

    def x(self, at: float, *, total: bool = False) -> float:
        """Return where points (or total points) lie."""
        return self.left + (self.right - self.left) * at / (self.most if total else self.score)


def nomogram_figure(
    nomogram: Nomogram,
    *,
    media: Literal["svg", "png"] = "svg",
    width_px: int = 820,
    dpi: int = 300,
    scale: Scale = "probability",
    linear_predictor: bool = False,
) -> bytes:
    """Return the figure of a nomogram.

    Parameters
    ----------
    nomogram : Nomogram
        The axes.
    media : {"svg", "png"}
        Kind of file.
    width_px : int
        Width at 100 pixels per inch: 820 is 8.2 inches, 208 mm. The height follows the axes.
    dpi : int
        Dots per inch of a PNG.
    scale : {"probability", "percent"}
        0.9 or 90%.
    linear_predictor : bool
        Add the axis of the linear predictor.
    """
    layout = nomogram_layout(
        nomogram, width_px=width_px, scale=scale, linear_predictor=linear_predictor
    )
    with house_style():
        figure = new_figure(round(layout.width), round(layout.height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
        axes.set_axis_off()
        _draw_guides(axes, layout)
        for row in layout.rows:
            _draw_row(axes, layout, row)
        return to_svg(figure) if media == "svg" else _to_png(figure, dpi)


def nomogram_layout(
    nomogram: Nomogram,
    *,
    width_px: int = 820,
    scale: Scale = "probability",
    linear_predictor: bool = False,
) -> Layout:
    """Return where the axes, ticks and labels of the figure lie; no two labels overlap."""
    titles = [_wrap(axis.term.title) for axis in nomogram.variables]
    below = [_wrap(t) for t in _lower_titles(nomogram, linear_predictor)]
    widest = max(text_px(line, _LABEL_PT) for lines in [*titles, *below] for line in lines)
    left = _MARGIN + min(widest, _MOST_LABEL) + 26
    frame = Layout(
        width=float(width_px),
        height=0.0,
        left=left,
        right=width_px - _MARGIN - 14,
        score=nomogram.score,
        most=nomogram.total_points[-1],
        rows=(),
    )
    rows = [_ruler(frame, "points", "Points", _round_ticks(nomogram.score), total=False)]
    rows += [
        _variable_row(frame, nomogram, axis, lines)
        for axis, lines in zip(nomogram.variables, titles, strict=True)
    ]
    rows.append(_ruler(frame, "total", "Total points", nomogram.total_points, total=True))
    rows += _lower_rows(frame, nomogram, below[1:], scale, linear_predictor)
    return _stack(frame, rows)


def probability_title(
    model: NomogramModel, horizon: float, probability: Probability = "survival"
) -> str:
    """Return what a probability axis shows: "3-year disease-free survival probability"."""
    outcome = model.outcome.strip()
    if model.kind == "logistic":
        return f"Probability of {outcome or 'the outcome'}"
    time = f"{horizon / 12:g}-year" if horizon % 12 == 0 else f"{horizon:g}-month"
    if probability == "event":
        return f"{time} event probability" + (f" ({outcome})" if outcome else "")
    return f"{time} {outcome or 'survival'} probability"


@functools.lru_cache(maxsize=4096)
def text_px(text: str, size_pt: float) -> float:
    """Return the width of a line of text in pixels of the figure."""
    if not text.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans")
    text = text.replace("$", r"\$")  # a price, not a formula
    return float(TextPath((0, 0), text, size=size_pt, prop=font).get_extents().width * _PX_PER_PT)


def number_text(value: float) -> str:
    """Return a tick value without noise digits, with a true minus sign."""
    text = f"{0.0 if abs(value) < 1e-12 else value:.10g}"
    return text.replace("-", "\N{MINUS SIGN}") if "e" not in text else text


def _lower_titles(nomogram: Nomogram, linear_predictor: bool) -> list[str]:
    titles = ["Total points"] + (["Linear predictor"] if linear_predictor else [])
    return titles + [
        probability_title(nomogram.model, axis.horizon, nomogram.probability)
        for axis in nomogram.probabilities
    ]


def _wrap(text: str) -> tuple[str, ...]:
    """Break a name at spaces; a long word after an underscore or before a capital."""
    pieces: list[str] = []
    for word in re.findall(r"\S+\s*", text):
        parts = [word]
        if len(word.strip()) > _WRAP:
            parts = re.findall(r".{1,26}", re.sub(r"(_|[a-z](?=[A-Z]))", r"\1\n", word))
        pieces += parts
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1] + piece.strip()) > _WRAP:
            lines.append("")
        lines[-1] += piece
    return tuple(line.strip() for line in lines)


def _round_ticks(score: float) -> tuple[float, ...]:
    return tuple(score * i / 10 for i in range(11))


def _ruler(frame: Layout, key: str, title: str, at: Sequence[float], *, total: bool) -> Row:
    # labels above the line, so that the guides hang from the ticks
    texts = [number_text(v) for v in at]
    xs = [frame.x(v, total=total) for v in at]
    placed = _thin(xs, texts, frame, tiers=(-1,))
    ticks = tuple(
        Tick(v, text if p else "", -1, p[1] if p else x, up=True)
        for v, text, x, p in zip(at, texts, xs, placed, strict=True)
    )
    minor = tuple(a + (b - a) * i / 5 for a, b in itertools.pairwise(at) for i in range(1, 5))
    dense = frame.x(minor[1], total=total) - frame.x(minor[0], total=total) < 4
    return Row(key, (title,), 0.0, at[0], at[-1], ticks, () if dense else minor, total, True)


def _variable_row(
    frame: Layout, nomogram: Nomogram, axis: VariableAxis, title: tuple[str, ...]
) -> Row:
    points = np.array(axis.points)
    xs = [frame.x(p) for p in axis.points]
    texts = [v if isinstance(v, str) else number_text(v) for v in axis.values]
    falling = _falling(points) if axis.term.kind == "spline" else np.zeros(points.size, bool)
    if axis.term.kind == "categorical":
        placed = _tiers(xs, texts, frame)
    elif falling.any():
        placed = _branches(xs, texts, falling, frame)
    else:
        placed = _thin(xs, texts, frame, tiers=(0, -1))
    ticks = tuple(
        Tick(p, text if at else "", at[0] if at else 0, at[1] if at else x, up=bool(bent))
        for p, text, x, at, bent in zip(axis.points, texts, xs, placed, falling, strict=True)
    )
    return Row(
        axis.term.name, title, 0.0, float(points.min()), float(points.max()),
        _readable(ticks, frame), _minor(frame, nomogram, axis),
    )  # fmt: skip


def _minor(frame: Layout, nomogram: Nomogram, axis: VariableAxis) -> tuple[float, ...]:
    """Return small ticks between those of a numeric axis, where there is room for them.

    They halve the steps of a straight effect. A bent one has four, so that the reader sees how
    unevenly the values lie; none when it turns, for they would not tell their branch.
    """
    if axis.term.kind == "categorical" or axis.term.values or _falling(np.array(axis.points)).any():
        return ()
    number = [a.term.name for a in nomogram.variables].index(axis.term.name)
    beta, parts = nomogram.model.parts()[number], 5 if axis.term.kind == "spline" else 2
    found: list[float] = []
    for low, high in itertools.pairwise(float(v) for v in axis.values):
        values = np.linspace(low, high, parts + 1)
        linear = axis.term.matrix(values) @ beta - min(axis.linear)
        points = linear * nomogram.points_per_unit
        steps = np.diff([frame.x(p) for p in points])
        if np.abs(steps).min() >= 2 * _CLOSEST and (np.sign(steps) == np.sign(steps[0])).all():
            found += points[1:-1].tolist()
    return tuple(found)


def _lower_rows(
    frame: Layout,
    nomogram: Nomogram,
    titles: Sequence[tuple[str, ...]],
    scale: Scale,
    linear_predictor: bool,
) -> list[Row]:
    scales: list[tuple[str, Sequence[float], list[str]]] = []
    if linear_predictor:
        texts = [number_text(v) for v in nomogram.linear_values]
        scales.append(("linear", nomogram.linear_points, texts))
    for axis in nomogram.probabilities:
        texts = [_probability_text(v, scale) for v in axis.values]
        scales.append((f"probability-{axis.horizon:g}", axis.total_points, texts))
    rows = []
    for title, (key, at, texts) in zip(titles, scales, strict=True):
        inside = [i for i, v in enumerate(at) if 0 <= v <= frame.most]
        shown, labels = [at[i] for i in inside], [texts[i] for i in inside]
        xs = [frame.x(v, total=True) for v in shown]
        placed = _thin(xs, labels, frame, tiers=(0, -1))
        ticks = tuple(
            Tick(v, text if p else "", p[0] if p else 0, p[1] if p else x)
            for v, text, x, p in zip(shown, labels, xs, placed, strict=True)
        )
        ends = (min(shown, default=0.0), max(shown, default=0.0))
        rows.append(Row(key, title, 0.0, *ends, _readable(ticks, frame, total=True), (), True))
    return rows


def _probability_text(value: float, scale: Scale) -> str:
    return number_text(value) if scale == "probability" else f"{number_text(100 * value)}%"


Placed = tuple[int, float] | None


def _thin(
    xs: Sequence[float], texts: Sequence[str], frame: Layout, *, tiers: tuple[int, ...]
) -> list[Placed]:
    """Place labels of a monotone axis: all below, else alternating, else every other one."""
    order = np.argsort(xs, kind="stable")
    ends = {0, len(xs) - 1}
    for step in (1, 2, 3, 4, 5, 0):  # 0: the ends alone
        kept = [int(i) for i in order if (int(i) % step == 0 if step else int(i) in ends)]
        for count in range(1, len(tiers) + 1):
            placed: list[Placed] = [None] * len(xs)
            for number, i in enumerate(kept):
                placed[i] = (tiers[number % count], _inside(xs[i], texts[i], frame))
            if _apart(placed, texts):
                return placed
    return [None] * len(xs)


def _tiers(xs: Sequence[float], texts: Sequence[str], frame: Layout) -> list[Placed]:
    """Place every label of a variable with levels, in as many lines as needed."""
    placed: list[Placed] = [None] * len(xs)
    for i in np.argsort(xs, kind="stable"):
        for tier in (0, -1, *range(1, len(xs) + 1)):
            placed[i] = (tier, _inside(xs[i], texts[i], frame))
            if _apart(placed, texts):
                break
    return placed


def _branches(
    xs: Sequence[float], texts: Sequence[str], falling: Any, frame: Layout
) -> list[Placed]:
    """Place labels of a bent effect: rising branch below, falling branch above."""
    placed: list[Placed] = [None] * len(xs)
    turns = [i for i in range(1, len(xs)) if falling[i] != falling[i - 1]]
    first = [0, len(xs) - 1, *turns, *(i - 1 for i in turns)]
    for i in dict.fromkeys([*first, *range(len(xs))]):
        placed[i] = (-1 if falling[i] else 0, _inside(xs[i], texts[i], frame))
        if not _apart(placed, texts):
            placed[i] = None
    return placed


def _readable(ticks: Sequence[Tick], frame: Layout, *, total: bool = False) -> tuple[Tick, ...]:
    """Leave out ticks without a label that would run together."""
    xs = np.array([frame.x(tick.at, total=total) for tick in ticks])
    away = np.abs(xs[:, np.newaxis] - xs) + np.where(np.eye(xs.size) > 0, np.inf, 0.0)
    near = away.min(axis=1, initial=np.inf)
    return tuple(t for t, gap in zip(ticks, near, strict=True) if t.text or gap >= _CLOSEST)


def _falling(points: Any) -> Any:
    """Tell which ticks lie on the smaller direction of a bent effect."""
    steps = np.sign(np.diff(points))
    steps = np.where(steps == 0, 1, steps)
    if (steps == steps[0]).all():
        return np.zeros(points.size, bool)
    # a tick belongs to the branch that leads to it; the first one to that which leaves it
    down = np.concatenate([steps[:1], steps]) < 0
    return down


def _inside(x: float, text: str, frame: Layout) -> float:
    half = text_px(text, _TICK_PT) / 2
    return float(np.clip(x, frame.left - 18 + half, max(frame.width - 6 - half, half)))


def _apart(placed: Sequence[Placed], texts: Sequence[str]) -> bool:
    boxes: dict[int, list[tuple[float, float]]] = {}
    for at, text in zip(placed, texts, strict=True):
        if at is not None:
            half = text_px(text, _TICK_PT) / 2
            boxes.setdefault(at[0], []).append((at[1] - half, at[1] + half))
    return all(
        other[0] - one[1] >= _GAP
        for line in boxes.values()
        for one, other in itertools.pairwise(sorted(line))
    )


def _stack(frame: Layout, rows: Sequence[Row]) -> Layout:
    """Give every row the height that its labels and its name need."""
    y, placed = 8.0, []
    for row in rows:
        tiers = [tick.tier for tick in row.ticks if tick.text]
        name = len(row.title) * 16 / 2
        above = max(_TIER + _MAJOR + 1 if min(tiers, default=0) < 0 else 4.0, name)
        under = max(_MAJOR + _TIER * (max(tiers, default=-1) + 1), name)
        if row.key == "total":
            y += 14
        y += above + 6
        placed.append(Row(row.key, row.title, y, *_rest(row)))
        y += under + 7
    return Layout(
        frame.width, float(np.ceil(y + 6)), frame.left, frame.right, frame.score, frame.most,
        tuple(placed),
    )  # fmt: skip


def _rest(row: Row) -> tuple[Any, ...]:
    return row.low, row.high, row.ticks, row.minor, row.total, row.strong


def _draw_guides(axes: Any, layout: Layout) -> None:
    top, total = layout.rows[0], next(r for r in layout.rows if r.key == "total")
    last = layout.rows[layout.rows.index(total) - 1]
    for tick in top.ticks:
        x = layout.x(tick.at)
        axes.plot([x, x], [top.y, last.y + 12], color=_GUIDE, linewidth=0.7, zorder=0)
    for tick in total.ticks:
        x = layout.x(tick.at, total=True)
        axes.plot([x, x], [total.y, layout.rows[-1].y + 12], color=_GUIDE, linewidth=0.7, zorder=0)
    middle = total.y - 40
    axes.plot([_MARGIN, layout.width - _MARGIN], [middle, middle], color=LINE, linewidth=0.8)


def _draw_row(axes: Any, layout: Layout, row: Row) -> None:
    weight = "bold" if row.strong else "normal"
    axes.text(
        layout.left - 24, row.y, "\n".join(row.title), ha="right", va="center",
        fontsize=_LABEL_PT, fontweight=weight, color=INK, linespacing=1.25, parse_math=False,
    )  # fmt: skip
    ends = [layout.x(v, total=row.total) for v in (row.low, row.high)]
    width = 1.2 if row.strong else 0.9
    axes.plot(ends, [row.y, row.y], color=INK, linewidth=width, solid_capstyle="butt")
    for at in row.minor:
        x = layout.x(at, total=row.total)
        end = row.y - _MINOR if row.strong else row.y + _MINOR
        axes.plot([x, x], [row.y, end], color=SOFT, linewidth=0.6)
    for tick in row.ticks:
        _draw_tick(axes, layout, row, tick)


def _draw_tick(axes: Any, layout: Layout, row: Row, tick: Tick) -> None:
    x = layout.x(tick.at, total=row.total)
    up = tick.up or (bool(tick.text) and tick.tier < 0)
    sign = -1 if up else 1
    axes.plot([x, x], [row.y, row.y + sign * _MAJOR], color=INK, linewidth=0.9)
    if not tick.text:
        return
    base = row.y + sign * (_MAJOR + 2)
    if tick.tier > 0:
        base += _TIER * tick.tier
        axes.plot([x, x], [row.y, base], color=SOFT, linewidth=0.5, zorder=1)
    # white behind the letters, so that the line of a lower label does not cross them
    axes.text(
        tick.x, base, tick.text, ha="center", va="bottom" if up else "top", zorder=3,
        fontsize=_TICK_PT, color=INK, fontweight="bold" if row.strong else "normal",
        parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6} if tick.tier >= 0 else None,
    )  # fmt: skip


def _to_png(figure: Any, dpi: int) -> bytes:
    """Return the figure as a PNG for print; `canvas.to_png` serves the screen."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()

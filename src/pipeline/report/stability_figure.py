"""The stability of features as a picture: intraclass correlations by class, with intervals."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    SOFT,
    VERMILION,
    house_style,
    new_figure,
    to_png,
)
from pipeline.report.charts import (
    feature_name,
    grid,
    heading,
    pixels,
    place,
    plain,
    shorten,
    slim_svg,
    write,
)

_COLOURS = {"high": GREEN, "stable": BLUE, "unstable": VERMILION, "unknown": GREY}

_WIDTH_PX, _COLUMNS = 1160, 3
_ROW_PX, _HEAD_PX, _FOOT_PX, _NAMES_PX, _GAP_PX = 13.0, 30.0, 30.0, 190.0, 14.0
#: Classes with more features than this are drawn without names, in thinner rows.
_MOST_NAMES, _THIN_PX = 40, 3.0
#: Letters of a name that have room.
_LETTERS, _NAME_PT = 32, 6.5


def stability_figure(
    table: pd.DataFrame,
    *,
    thresholds: tuple[float, float] = (0.75, 0.9),
    title: str = "Stability of the features",
    note: str = "",
    media: str = "svg",
) -> bytes:
    """Return the intraclass correlation of every feature, sorted within its class.

    Parameters
    ----------
    table : DataFrame
        Of `pipeline.radiomics.stability.table.stability_table`.
    thresholds : (float, float)
        Lower limits that the verdicts stand for; drawn as lines.
    title, note : str
        Heading and small print, the note in front of the counts.
    media : "svg" or "png"
        Kind of picture.
    """
    classes = [(str(name), part) for name, part in table.groupby("feature_class", sort=False)]
    heights = [_height(part) for _, part in classes]
    columns = _packed(heights)
    tallest = max((sum(heights[n] for n in column) for column in columns), default=0.0)
    with house_style():
        figure = new_figure(_WIDTH_PX, round(100 + tallest))
        top = heading(figure, title, _note(table, note), _legend(thresholds))
        for place_of, column in enumerate(columns):
            left, down = place_of * _WIDTH_PX / _COLUMNS, top
            for number in column:
                _draw_class(figure, *classes[number], (left, down, heights[number]), thresholds)
                down += heights[number]
        return to_png(figure) if media == "png" else slim_svg(figure)


def _height(part: pd.DataFrame) -> float:
    row = _ROW_PX if len(part) <= _MOST_NAMES else _THIN_PX
    return _HEAD_PX + row * len(part) + _FOOT_PX


def _packed(heights: list[float]) -> list[list[int]]:
    """Deal the classes over columns, each to the shortest so far, their order kept in each."""
    columns: list[list[int]] = [[] for _ in range(_COLUMNS)]
    used = [0.0] * _COLUMNS
    for number, height in enumerate(heights):
        shortest = used.index(min(used))
        columns[shortest].append(number)
        used[shortest] += height
    return columns


def _note(table: pd.DataFrame, note: str) -> str:
    kept = int(table["verdict"].isin(["high", "stable"]).sum())
    known = table["subjects"][table["subjects"] > 0]
    sizes = f"{known.min()} to {known.max()}" if known.nunique() > 1 else f"{known.max()}"
    counts = f"{kept} of {len(table)} features are stable"
    model = f"ICC({table['model'].iloc[0]}) with 95 % interval"
    subjects = f"{sizes} subjects" if known.size else "no subject with every rating"
    return "; ".join(part for part in (note, counts, model, subjects) if part)


def _legend(thresholds: tuple[float, float]) -> list[Any]:
    from matplotlib.lines import Line2D

    stable, high = thresholds
    texts = {
        "high": f"interval from {high:g}",
        "stable": f"interval from {stable:g}",
        "unstable": f"interval begins below {stable:g}",
        "unknown": "cannot be estimated",
    }
    looks: dict[str, Any] = {name: {"marker": "o"} for name in texts}
    looks["unknown"] = {"marker": "x", "linestyle": "none"}
    return [
        Line2D([], [], color=_COLOURS[name], markersize=4, label=text, **looks[name])
        for name, text in texts.items()
    ]


def _draw_class(
    figure: Any,
    name: str,
    part: pd.DataFrame,
    box: tuple[float, float, float],
    thresholds: tuple[float, float],
) -> None:
    left, top, height = box
    _, whole = pixels(figure)
    width = _WIDTH_PX / _COLUMNS
    bottom = whole - top - height + _FOOT_PX
    axes = place(
        figure, left + _NAMES_PX, top + _HEAD_PX, _WIDTH_PX - left - width + _GAP_PX, bottom
    )
    kept = int(part["verdict"].isin(["high", "stable"]).sum())
    write(figure, left + _NAMES_PX, top + 10, f"{name}: {kept} of {len(part)} stable",
          fontsize=8.5, fontweight="bold", va="top")  # fmt: skip
    rows = part.sort_values("icc", ascending=False, kind="stable", na_position="last")
    places = np.arange(len(rows))
    thin = len(rows) > _MOST_NAMES
    for verdict, colour in _COLOURS.items():
        chosen = (rows["verdict"] == verdict).to_numpy()
        if verdict == "unknown":
            axes.plot(np.zeros(chosen.sum()), places[chosen], linestyle="none", marker="x",
                      color=colour, markersize=3.2)  # fmt: skip
            continue
        low, value, high = (
            rows.loc[chosen, column].to_numpy(dtype=np.float64)
            for column in ("icc_low95", "icc", "icc_high95")
        )
        axes.hlines(places[chosen], np.maximum(low, -0.05), high, color=colour,
                    linewidth=0.6 if thin else 1.4)  # fmt: skip
        axes.plot(value, places[chosen], linestyle="none", marker="o", color=colour,
                  markersize=1.5 if thin else 3.2)  # fmt: skip
    for threshold in thresholds:
        axes.axvline(threshold, color=SOFT, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xlim(-0.05, 1.02)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 0.9, 1], ["0", "0.25", "0.5", "0.75", "0.9", "1"])
    axes.tick_params(axis="x", labelsize=7)
    grid(axes, "x")
    names = [] if thin else [plain(_short(text, name)) for text in rows["feature"]]
    axes.set_yticks(places if names else [], names, fontsize=_NAME_PT, color=INK)
    axes.tick_params(axis="y", length=0, pad=3)


def _short(feature: str, name: str) -> str:
    """Return the feature without its class, which stands above."""
    return shorten(feature_name(feature, 200).replace(f"{name}_", "", 1), _LETTERS)

"""Figures of a table of features: clusters of correlations, and strips of distributions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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
    to_png,
)
from pipeline.report.charts import SMALL_PT, heading, place, plain, shorten, slim_svg, spread, write
from pipeline.report.features_summary import FAR_OUT, FEWEST_OF_GROUP, FeatureSummary, Values
from pipeline.report.text import significant

FULL_PX = 1160
#: Colours of the classes; a class that is not named is black.
_CLASS_COLOURS = {"shape": BLUE, "firstorder": ORANGE, "glcm": GREEN, "glrlm": VERMILION,
                  "glszm": SKY, "gldm": PURPLE, "ngtdm": GREY}  # fmt: skip
#: Groups by colour and by mark: neither alone has to be told apart.
_GROUP_LOOKS = (
    (VERMILION, "o"),
    (GREEN, "s"),
    (ORANGE, "^"),
    (PURPLE, "D"),
    (INK, "v"),
    (SKY, "P"),
)
#: Side of the heat map, width of the strip of classes, height of a line of text, in pixels.
_MAP_PX, _STRIP_PX, _LINE_PX = 720, 12, 15
#: Up to so many features each has its name beside the map.
_MOST_NAMED = 48
#: The scale has steps of 0.1: a map of noise in all colours would make the page too large.
_STEPS = 21
#: Strips: robust z from -6 to 6, a quarter each; height of one in pixels.
_END, _BINS, _ROW_PX = 6.0, 48, 19


def correlation_map(summary: FeatureSummary) -> bytes:
    """Return the map of |rho| features by clusters as PNG, blue negative and vermilion positive.

    Beside it the names: of every feature where there is room, else of the largest clusters.
    """
    clusters, order = summary.clusters, summary.clusters.order
    rho = clusters.rho[np.ix_(order, order)]
    classes = [summary.features[summary.clustered[n]].feature_class for n in order]
    with house_style():
        figure = new_figure(FULL_PX, _MAP_PX + 150)
        top = heading(
            figure,
            "Spearman correlation of all features, neighbours alike",
            f"Squares: clusters in which any two features have |rho| of at least "
            f"{summary.threshold:g}. Bar at the left: class.",
            _class_handles(classes),
        )
        below = _MAP_PX + 150 - top - _MAP_PX
        strip = place(figure, 8, top, FULL_PX - 8 - _STRIP_PX, below)
        _draw_classes(strip, classes)
        left = 8 + _STRIP_PX + 4
        axes = place(figure, left, top, FULL_PX - left - _MAP_PX, below)
        shown = axes.imshow(
            rho,
            cmap=_diverging(),
            vmin=-1.05,
            vmax=1.05,
            interpolation="antialiased",
            interpolation_stage="data",
        )
        axes.set_facecolor(LINE)  # unknown correlations are not painted
        _bare(axes)
        _draw_squares(axes, clusters.cluster[order])
        _name_clusters(axes, summary, left + _MAP_PX)
        _colour_bar(figure, shown, left, below)
        return to_png(figure, true_colour=True)


def strip_figure(
    summary: FeatureSummary, chosen: Sequence[int], *, title: str, note: str, group: bool = True
) -> bytes:
    """Return a strip for each feature as SVG: how its values spread around the median.

    Parameters
    ----------
    summary : FeatureSummary
        Of the table.
    chosen : sequence of int
        Which features, from top to bottom.
    title, note : str
        Heading.
    group : bool
        Mark the medians of the groups.
    """
    groups = summary.groups if group else ()
    with house_style():
        head = 28 + 20 * bool(note) + 24 * bool(groups) + 6
        figure = new_figure(FULL_PX, int(head + 22 + _ROW_PX * len(chosen) + 44))
        top = heading(figure, title, note, _group_handles(groups)) + 22
        axes = place(figure, 320, top, 330, 44)
        axes.set_xlim(-_END - 0.25, _END + 0.25)
        axes.set_ylim(len(chosen) - 0.5, -0.5)
        shades = np.array([_histogram(summary.scores[:, n]) for n in chosen])
        axes.imshow(shades, cmap=_shades(), vmin=0, vmax=1, aspect="auto", interpolation="nearest",
                    extent=(-_END - 0.25, _END + 0.25, len(chosen) - 0.5, -0.5))  # fmt: skip
        for line in range(len(chosen) + 1):
            axes.axhline(line - 0.5, color="white", linewidth=2.0)
        for row, n in enumerate(chosen):
            _draw_row(axes, summary, n, row, groups)
        _finish_strips(axes, summary, chosen)
        return slim_svg(figure)


def _draw_row(axes: Any, summary: FeatureSummary, n: int, row: int, groups: Sequence[str]) -> None:
    scores = summary.scores[:, n]
    known = scores[np.isfinite(scores)]
    if known.size:
        low, high = np.quantile(known, (0.25, 0.75))
        axes.plot([low, high], [row, row], color=INK, linewidth=1.2, solid_capstyle="butt")
        axes.plot([0, 0], [row - 0.32, row + 0.32], color=INK, linewidth=1.6)
    for group, (colour, mark) in zip(groups, _GROUP_LOOKS, strict=False):
        own = scores[summary.rows_of(group)]
        own = own[np.isfinite(own)]
        if own.size >= FEWEST_OF_GROUP:
            at = float(np.clip(np.median(own), -_END, _END))
            axes.plot([at], [row], linestyle="none", marker=mark, markersize=5.0, zorder=4,
                      markerfacecolor=colour, markeredgecolor="white",
                      markeredgewidth=0.6)  # fmt: skip


def _finish_strips(axes: Any, summary: FeatureSummary, chosen: Sequence[int]) -> None:
    """Write names, ticks, and the numbers of each strip."""
    names = [plain(shorten(summary.names[n], 46)) for n in chosen]
    axes.set_yticks(range(len(chosen)), names, fontsize=SMALL_PT)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([-6, -4, -2, 0, 2, 4, 6], ["≤ -6", "-4", "-2", "0", "2", "4", "≥ 6"])
    axes.set_xlabel("Distance from the median, in robust standard deviations")
    for spine in axes.spines.values():
        spine.set_visible(False)
    transform = axes.get_yaxis_transform()
    columns = ((1.1, f"Beyond {FAR_OUT:g}"), (1.57, "Median (Q1 to Q3)"))
    for at, title in columns:
        axes.text(at, -0.75, title, transform=transform, ha="right", va="bottom",
                  fontsize=SMALL_PT, color=SOFT)  # fmt: skip
    for row, n in enumerate(chosen):
        texts = (str(_far_out(summary.scores[:, n])), _quartiles(summary.values[:, n]))
        for (at, _), text in zip(columns, texts, strict=True):
            axes.text(at, row, text, transform=transform, ha="right", va="center",
                      fontsize=SMALL_PT)  # fmt: skip


def _quartiles(values: Values) -> str:
    known = values[np.isfinite(values)]
    if known.size == 0:
        return "no value"
    low, middle, high = np.quantile(known, (0.25, 0.5, 0.75))
    return f"{significant(middle)} ({significant(low)} to {significant(high)})"


def _far_out(scores: Values) -> int:
    return int(np.count_nonzero(np.abs(scores[np.isfinite(scores)]) > FAR_OUT))


def _histogram(scores: Values) -> Values:
    """Return counts over the fullest bin's, as roots: single values stay visible."""
    known = np.clip(scores[np.isfinite(scores)], -_END, _END)
    edges = np.linspace(-_END - 0.25, _END + 0.25, _BINS + 3)
    counts = np.histogram(known, edges)[0].astype(np.float64)
    return np.asarray(np.sqrt(counts / max(counts.max(), 1.0)))


def _shades() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", ["#f4f7f9", "#b5d3e6", SKY, BLUE])


def _diverging() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    colours = [BLUE, "#8fbfdd", "white", "#efb389", VERMILION]
    return LinearSegmentedColormap.from_list("correlation", colours, N=_STEPS)


def _class_handles(classes: Sequence[str]) -> list[Any]:
    from matplotlib.patches import Patch

    known = [name for name in _CLASS_COLOURS if name in classes]
    handles = [Patch(color=_CLASS_COLOURS[name], label=name) for name in known]
    others = sorted(set(classes) - set(known))
    return handles + ([Patch(color=BLACK, label=", ".join(others))] if others else [])


def _group_handles(groups: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], linestyle="none", marker=mark, markersize=6, markerfacecolor=colour,
               markeredgecolor="white", label=plain(shorten(group, 24)))
        for group, (colour, mark) in zip(groups, _GROUP_LOOKS, strict=False)
    ]  # fmt: skip


def _draw_classes(axes: Any, classes: Sequence[str]) -> None:
    from matplotlib.colors import to_rgb

    colours = [[to_rgb(_CLASS_COLOURS.get(name, BLACK))] for name in classes]
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    _bare(axes)


def _draw_squares(axes: Any, cluster: Any) -> None:
    from matplotlib.patches import Rectangle

    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        if members.size > 1:
            low, side = members[0] - 0.5, members.size
            axes.add_patch(
                Rectangle((low, low), side, side, fill=False, edgecolor=INK, linewidth=0.8)
            )


def _name_clusters(axes: Any, summary: FeatureSummary, right_px: float) -> None:
    """Write names right of the map, with a line from each to its place."""
    labels = _labels(summary)
    if not labels:
        return
    count = len(summary.clusters.order)
    places = np.array(list(labels))
    at = spread(places, count * _LINE_PX / _MAP_PX, 0.0, count - 1.0)
    ends = count - 0.5, count * (1 + 26 / _MAP_PX)
    letters = int((FULL_PX - right_px - 34) / 6.4)
    for (y, text), own in zip(labels.items(), at, strict=True):
        axes.plot([ends[0], ends[1]], [y, own], color=SOFT, linewidth=0.6, clip_on=False)
        axes.text(ends[1] + count * 4 / _MAP_PX, own, plain(shorten(text, letters)), va="center",
                  fontsize=SMALL_PT, clip_on=False)  # fmt: skip
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)


def _labels(summary: FeatureSummary) -> Mapping[float, str]:
    """Return texts by the row of the map: every feature, or the largest clusters."""
    clusters, order = summary.clusters, summary.clusters.order
    names = [summary.names[place] for place in summary.clustered]
    if len(order) <= _MOST_NAMED:
        return {float(row): names[n] for row, n in enumerate(order)}
    by_size = []
    for number in np.unique(clusters.cluster):
        rows = np.flatnonzero(clusters.cluster[order] == number)
        chosen = names[order[rows[clusters.representative[order[rows]]][0]]]
        if rows.size > 1:
            by_size.append((rows.size, float(rows.mean()), f"{rows.size} like {chosen}"))
    largest = sorted(by_size, key=lambda item: (-item[0], item[1]))[: _MAP_PX // (_LINE_PX + 3)]
    return {middle: text for _, middle, text in sorted(largest, key=lambda item: item[1])}


def _colour_bar(figure: Any, shown: Any, left_px: float, below_px: float) -> None:
    height = below_px - 24
    bar = place(figure, left_px, _MAP_PX + 150 - height, FULL_PX - left_px - 300, height - 12)
    figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=[-1, -0.5, 0, 0.5, 1])
    bar.tick_params(labelsize=SMALL_PT)
    write(figure, left_px + 316, _MAP_PX + 150 - height + 6, "rho; grey: too few values in common",
          fontsize=SMALL_PT, color=SOFT, va="center")  # fmt: skip


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)

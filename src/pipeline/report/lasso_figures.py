"""Figures of a LASSO: cross-validated deviance, coefficient path, selection over resamples."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.canvas import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILION,
    house_style,
    new_figure,
)
from pipeline.report.charts import (
    NOTE_PT,
    SMALL_PT,
    feature_name,
    grid,
    heading,
    place,
    plain,
    slim_svg,
    spread,
)

#: Columns that mark a penalty, with its colour, dash and name; the used one is drawn last.
_MARKS = (
    ("is_min", GREEN, ":", "lowest"),
    ("is_1se", ORANGE, "-.", "1 SE"),
    ("is_used", VERMILION, "--", "used"),
)
_CURVES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_MOST_LABELS = 12
#: Both figures end this far (in log units) beyond the weakest penalty that is marked.
_BEYOND = 1.5


def lasso_deviance_figure(summary: pd.DataFrame, *, width_px: int = 568,
                          height_px: int = 420) -> bytes:  # fmt: skip
    """Return the cross-validated deviance against log lambda, one error bar each way.

    Parameters
    ----------
    summary : DataFrame
        Columns ``lambda``, ``n_selected``, ``cv_deviance``, ``cv_deviance_se``, ``is_min``,
        ``is_1se``, ``is_used``; a row per step of the path.
    """
    rows = _shown(summary)
    x = np.log(rows["lambda"].to_numpy(dtype=np.float64))
    y = rows["cv_deviance"].to_numpy(dtype=np.float64)
    se = rows["cv_deviance_se"].to_numpy(dtype=np.float64)
    seen = np.isfinite(y)
    with house_style():
        figure = new_figure(width_px, height_px)
        note = "Mean of the folds ± 1 standard error (SE); lowest is best"
        top = heading(figure, "Cross-validated deviance", note, _mark_handles(rows)) + 36
        axes = place(figure, 66, top, 16, 48)
        axes.errorbar(
            x[seen], y[seen], yerr=np.nan_to_num(se[seen]), fmt="o", markersize=3.5, color=BLUE,
            ecolor=GREY, elinewidth=0.8, capsize=1.5, capthick=0.8,
        )  # fmt: skip
        _draw_marks(axes, rows)
        _penalty_axis(axes, x)
        _count_axis(axes, rows, x)
        axes.set_ylabel("Partial-likelihood deviance")
        grid(axes, "y")
        return slim_svg(figure)


def lasso_path_figure(
    path: pd.DataFrame, summary: pd.DataFrame, *, width_px: int = 1160, height_px: int = 440
) -> bytes:
    """Return every coefficient against log lambda, with the names of the features used.

    Parameters
    ----------
    path : DataFrame
        Columns ``lambda``, ``feature``, ``coefficient``; the coefficients that are not zero.
    summary : DataFrame
        As for `lasso_deviance_figure`; gives the whole path and the marked penalties.
    """
    rows = _shown(summary)
    steps = rows["lambda"].to_numpy(dtype=np.float64)
    x = np.log(steps)
    curves = _curves(path, steps)
    with house_style():
        figure = new_figure(width_px, height_px)
        note = "Each line is a feature, per standard deviation; coloured: kept at the used penalty"
        top = heading(figure, "Coefficients along the path", note, _mark_handles(summary)) + 36
        axes = place(figure, 66, top, 350, 48)
        labelled = _labelled(path, summary, curves)
        for name, values in curves.items():
            if name not in labelled:
                axes.plot(x, values, color=GREY, linewidth=0.7, alpha=0.7)
        for at, name in enumerate(labelled):
            colour = _CURVES[at % len(_CURVES)]
            axes.plot(x, curves[name], color=colour, linewidth=2)
        axes.axhline(0, color=SOFT, linewidth=0.8)
        _draw_marks(axes, summary)
        _penalty_axis(axes, x)
        _count_axis(axes, rows, x)
        axes.set_ylabel("Coefficient (log hazard ratio)")
        grid(axes, "y")
        _label_ends(axes, {name: curves[name][-1] for name in labelled}, height_px - top - 48)
        return slim_svg(figure)


def selection_figure(selection: pd.DataFrame, *, top: int = 20, width_px: int = 568) -> bytes:
    """Return how often each feature was chosen over bootstrap resamples, the most often first.

    Parameters
    ----------
    selection : DataFrame
        Columns ``feature``, ``coefficient``, ``frequency`` (0 to 1).
    """
    from matplotlib.patches import Patch

    order = selection.assign(size=selection["coefficient"].abs()).sort_values(
        ["frequency", "size", "feature"], ascending=[False, False, True], kind="stable"
    )
    rows = order.head(top)
    kept = rows["coefficient"].fillna(0).to_numpy(dtype=np.float64) != 0
    share = 100 * rows["frequency"].to_numpy(dtype=np.float64)
    with house_style():
        figure = new_figure(width_px, 126 + 17 * max(len(rows), 1))
        handles = [Patch(color=BLUE, label="in the Rad-score"), Patch(color=GREY, label="not")]
        note = "Share of bootstrap resamples of the development subjects"
        above = heading(figure, "How often each feature is chosen", note, handles)
        axes = place(figure, 268, above, 46, 44)
        axes.barh(range(len(rows)), share, color=[BLUE if k else GREY for k in kept], height=0.7)
        for at, value in enumerate(share):
            axes.text(value + 1.5, at, f"{value:.0f} %", va="center", fontsize=SMALL_PT)
        names = [plain(feature_name(str(name), 36)) for name in rows["feature"]]
        axes.set_yticks(range(len(rows)), names, fontsize=SMALL_PT)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Resamples that chose it (%)")
        grid(axes, "x")
        return slim_svg(figure)


def _shown(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the steps to draw, strongest penalty first.

    Far beyond the marked penalties the deviance explodes and would flatten all the rest.
    """
    rows = summary.sort_values("lambda", ascending=False, kind="stable")
    marked = [value for column, *_ in _MARKS for value in _marked(rows, column)]
    if not marked:
        return rows
    end = min(marked) * np.exp(-_BEYOND)
    return rows[rows["lambda"].to_numpy(dtype=np.float64) >= end]


def _marked(summary: pd.DataFrame, column: str) -> list[float]:
    if column not in summary:
        return []
    chosen = summary[column].fillna(0).to_numpy(dtype=np.float64) == 1
    return [float(value) for value in summary.loc[chosen, "lambda"]]


def _mark_handles(summary: pd.DataFrame) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=colour, linestyle=dash, linewidth=1.6,
               label=f"{name}: λ {_marked(summary, column)[0]:.3g}")
        for column, colour, dash, name in _MARKS
        if _marked(summary, column)
    ]  # fmt: skip


def _draw_marks(axes: Any, summary: pd.DataFrame) -> None:
    """Draw the marked penalties; a wide line below a narrow one shows two at the same place."""
    for number, (column, colour, dash, _) in enumerate(_MARKS):
        for value in _marked(summary, column):
            axes.axvline(np.log(value), color=colour, linestyle=dash, linewidth=2.6 - 0.5 * number)


def _penalty_axis(axes: Any, x: Any) -> None:
    """Turn the axis round, so that the model grows to the right."""
    room = 0.02 * max(float(x.max() - x.min()), 0.1)
    axes.set_xlim(float(x.max()) + room, float(x.min()) - room)
    axes.set_xlabel("log λ (the penalty weakens to the right)")


def _count_axis(axes: Any, rows: pd.DataFrame, x: Any) -> None:
    """Write the number of features along the top."""
    upper = axes.twiny()
    upper.set_xlim(axes.get_xlim())
    logs = np.log(rows["lambda"].to_numpy(dtype=np.float64))
    wanted = np.linspace(x.max(), x.min(), 8)
    places = sorted({int(np.argmin(np.abs(logs - value))) for value in wanted})
    counts = rows["n_selected"].to_numpy(dtype=np.float64)
    upper.set_xticks(logs[places], [f"{counts[at]:.0f}" for at in places], fontsize=SMALL_PT)
    upper.tick_params(length=0, pad=1)
    upper.spines["top"].set_visible(False)
    upper.set_xlabel("Features in the model", fontsize=NOTE_PT, labelpad=3, color=SOFT)


def _curves(path: pd.DataFrame, steps: Any) -> dict[str, Any]:
    """Return feature -> coefficient at each step, 0 where the table has no row."""
    places = {float(value): at for at, value in enumerate(steps)}
    curves: dict[str, Any] = {}
    for feature, rows in path.groupby("feature", sort=True):
        values = np.zeros(len(steps))
        for penalty, coefficient in zip(rows["lambda"], rows["coefficient"], strict=True):
            at = places.get(float(penalty))
            if at is not None:
                values[at] = coefficient
        curves[str(feature)] = values
    return curves


def _labelled(path: pd.DataFrame, summary: pd.DataFrame, curves: dict[str, Any]) -> list[str]:
    """Return the features of the used step, the largest coefficients first."""
    used = _marked(summary, "is_used") or _marked(summary, "is_min")
    if not used:
        return sorted(curves, key=lambda name: (-abs(curves[name][-1]), name))[:_MOST_LABELS]
    # The used penalty may lie between two steps (a median of repeats): the nearest one speaks.
    penalties = np.unique(path["lambda"].to_numpy(dtype=np.float64))
    nearest = penalties[np.argmin(np.abs(np.log(penalties / used[0])))]
    rows = path[(path["lambda"] == nearest).to_numpy()]
    rows = rows.assign(size=rows["coefficient"].abs()).sort_values(
        ["size", "feature"], ascending=[False, True], kind="stable"
    )
    return [str(name) for name in rows["feature"] if str(name) in curves][:_MOST_LABELS]


def _label_ends(axes: Any, ends: dict[str, float], height_px: float) -> None:
    """Write names beside the ends of their curves, moved apart, each with a thin leader."""
    low, high = axes.get_ylim()
    edge = axes.get_xlim()[1]
    unit = (high - low) / height_px
    targets = np.array(list(ends.values()), dtype=np.float64)
    places = spread(targets, 15 * unit, low + 6 * unit, high - 6 * unit)
    for at, (name, end, y) in enumerate(zip(ends, targets, places, strict=True)):
        colour = _CURVES[at % len(_CURVES)]
        axes.annotate(
            plain(feature_name(name)), (edge, end), xytext=(18, (y - end) / unit * 0.72),
            textcoords="offset points", va="center", fontsize=SMALL_PT, color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0,
                        "shrinkB": 0, "relpos": (0, 0.5)},
        )  # fmt: skip

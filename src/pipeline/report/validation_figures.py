"""Figures that check a model, for survival at a time and for binary outcomes alike.

Calibration, decision curve and the agreement of features with a published table.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.report.canvas import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LINE,
    ORANGE,
    PURPLE,
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
    pixels,
    place,
    plain,
    slim_svg,
)

#: Colour and dash of each model in a decision curve, the headline model (the last) first.
_MODEL_LOOKS = ((VERMILION, "-"), (BLUE, "--"), (GREEN, "-."), (PURPLE, ":"), (ORANGE, "-"))
_DEFAULT_BINS = 20
#: Ratios beyond these are drawn at the edge, as arrows.
_RATIO_LIMITS = (0.25, 4.0)


def calibration_figure(
    groups: pd.DataFrame,
    smooth: pd.DataFrame | None = None,
    *,
    measures: Mapping[str, float] | None = None,
    label: str = "probability",
    title: str = "",
    note: str = "",
    predictions: npt.ArrayLike | None = None,
    observed: str = "",
    width_px: int = 372,
) -> bytes:
    """Return predicted against observed probabilities.

    Parameters
    ----------
    groups : DataFrame
        Columns ``predicted``, ``observed``, ``low95``, ``high95`` and perhaps ``corrected``
        (for optimism), a row per group of similar predictions, all from 0 to 1.
    smooth : DataFrame, optional
        Columns ``predicted``, ``observed``: the smooth calibration curve.
    measures : mapping, optional
        Names and values for the corner, such as ``{"ICI": 0.021, "E50": 0.018, "E90": 0.05}``.
    label : str
        What is predicted, for both axes ("survival at 24 months", "complete response").
    title, note : str
        Lines above the plot.
    predictions : array-like, optional
        Every subject's prediction, for the histogram along the bottom.
    observed : str
        How the observed value was made, e.g. "Kaplan-Meier"; shown on the axis.
    """
    shown = np.asarray(predictions if predictions is not None else [], dtype=np.float64)
    shown = shown[np.isfinite(shown)]
    strip = 46 if shown.size else 0
    handles = _calibration_handles(groups, smooth)
    legend_px = 19 * ((len(handles) + 1) // 2)
    with house_style():
        figure = new_figure(width_px, width_px + 62 + legend_px + strip + (20 if note else 0))
        top = heading(figure, title, note)
        below = 50 + legend_px
        axes = place(figure, 58, top, 14, below + strip)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
        _draw_calibration(axes, groups, smooth)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_ylabel(plain(f"Observed {label}" + (f" ({observed})" if observed else "")),
                        fontsize=NOTE_PT)  # fmt: skip
        grid(axes)
        _write_measures(axes, measures or {}, _upper_left_is_free(groups, smooth))
        lowest = _draw_histogram(figure, axes, shown, below, strip) if strip else axes
        lowest.set_xlabel(plain(f"Predicted {label}"), fontsize=NOTE_PT)
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.02, 0), ncols=2,
                      fontsize=SMALL_PT, handlelength=2, columnspacing=1.2)  # fmt: skip
        return slim_svg(figure)


def _has(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool(frame[column].notna().any())


def _calibration_handles(groups: pd.DataFrame, smooth: pd.DataFrame | None) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=BLUE, marker="o", markersize=5.5, label="group, 95 % interval"),
        Line2D([], [], color=SOFT, linestyle=":", label="perfect agreement"),
    ]
    if smooth is not None and not smooth.empty:
        handles.append(Line2D([], [], color=GREEN, linewidth=2, label="smooth curve"))
    if _has(groups, "corrected"):
        handles.append(
            Line2D([], [], color=VERMILION, marker="x", markersize=6.5, linestyle="none",
                   markeredgewidth=1.6, label="corrected for optimism")
        )  # fmt: skip
    return handles


def _draw_calibration(axes: Any, groups: pd.DataFrame, smooth: pd.DataFrame | None) -> None:
    if smooth is not None and not smooth.empty:
        curve = smooth.sort_values("predicted", kind="stable")
        axes.plot(curve["predicted"], curve["observed"], color=GREEN, linewidth=2)
    rows = groups.sort_values("predicted", kind="stable")
    x, y = (rows[name].to_numpy(dtype=np.float64) for name in ("predicted", "observed"))
    low, high = (rows[name].to_numpy(dtype=np.float64) for name in ("low95", "high95"))
    axes.vlines(x, low, high, color=BLUE, linewidth=1.3)
    axes.plot(x, y, marker="o", markersize=6, linestyle="none", color=BLUE,
              markeredgecolor="white", zorder=4)  # fmt: skip
    if _has(groups, "corrected"):
        axes.plot(x, rows["corrected"], marker="x", markersize=6.5, linestyle="none",
                  color=VERMILION, markeredgewidth=1.6, zorder=5)  # fmt: skip


def _upper_left_is_free(groups: pd.DataFrame, smooth: pd.DataFrame | None) -> bool:
    """Tell whether fewer points lie in the upper left than in the lower right."""
    frames = [groups] if smooth is None else [groups, smooth]
    rows = pd.concat([frame[["predicted", "observed"]] for frame in frames])
    x, y = (rows[name].to_numpy(dtype=np.float64) for name in ("predicted", "observed"))
    upper, lower = ((x < 0.3) & (y > 0.75)).sum(), ((x > 0.7) & (y < 0.25)).sum()
    return bool(upper <= lower)


def _write_measures(axes: Any, measures: Mapping[str, float], upper_left: bool) -> None:
    """Write the measures in the corner that the points leave free."""
    lines = [f"{name}  {value:.3f}" for name, value in measures.items() if np.isfinite(value)]
    if lines:
        x, y = (0.035, 0.965) if upper_left else (0.965, 0.035)
        axes.text(x, y, "\n".join(lines), transform=axes.transAxes,
                  va="top" if upper_left else "bottom", ha="left" if upper_left else "right",
                  fontsize=SMALL_PT, linespacing=1.5, zorder=6,
                  bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": LINE,
                        "boxstyle": "round,pad=0.35"})  # fmt: skip


def _draw_histogram(figure: Any, axes: Any, values: Any, below: float, strip: float) -> Any:
    height = pixels(figure)[1]
    box = axes.get_position()
    lower = figure.add_axes((box.x0, below / height, box.width, (strip - 8) / height), sharex=axes)
    lower.hist(values, bins=np.linspace(0, 1, _DEFAULT_BINS * 2 + 1), color=GREY, linewidth=0)
    lower.set_yticks([])
    lower.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelbottom=False)
    return lower


# --- decision curve -------------------------------------------------------------------------


def decision_figure(
    table: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    note: str = "",
    threshold: str = "Threshold probability",
    width_px: int = 568,
    height_px: int = 440,
) -> bytes:
    """Return net benefit against the threshold, with intervals as light bands.

    Parameters
    ----------
    table : DataFrame
        Columns ``model``, ``threshold``, ``net_benefit`` and perhaps ``low95``, ``high95``.
        Models "all" and "none" are the reference strategies.
    labels : mapping, optional
        Model to its name for readers; the last one here is the headline model.
    threshold : str
        Axis: of what the threshold is a probability.
    """
    names = dict(labels or {})
    models = _decision_models(table, names)
    with house_style():
        figure = new_figure(width_px, height_px)
        handles = _decision_handles(models, names)
        top = heading(figure, title, note) if title or note else 10
        axes = place(figure, 66, top, 16, 56 + 19 * ((len(handles) + 1) // 2))
        axes.axhline(0, color=BLACK, linewidth=1.1)
        _draw_net_benefit(axes, _of_model(table, "all"), SOFT, "-", 1.1, band=False)
        for model, (colour, dash) in zip(models, _decision_looks(len(models)), strict=True):
            _draw_net_benefit(axes, _of_model(table, model), colour, dash, 1.9)
        axes.set_xlim(float(table["threshold"].min()), float(table["threshold"].max()))
        axes.set_ylim(*_benefit_limits(table))
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlabel(plain(threshold))
        axes.set_ylabel("Net benefit (true positives per subject)")
        grid(axes)
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.06, 0), ncols=2,
                      handlelength=2.6)  # fmt: skip
        return slim_svg(figure)


def _decision_models(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    found = {str(name) for name in table["model"]} - {"all", "none"}
    known = [name for name in labels if name in found]
    return [*sorted(found - set(known)), *known]


def _decision_looks(count: int) -> list[tuple[str, str]]:
    return [_MODEL_LOOKS[(count - 1 - at) % len(_MODEL_LOOKS)] for at in range(count)]


def _decision_handles(models: Sequence[str], labels: Mapping[str, str]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, linestyle=dash, linewidth=1.9,
               label=plain(labels.get(model, model.replace("_", " "))))
        for model, (colour, dash) in zip(models, _decision_looks(len(models)), strict=True)
    ]  # fmt: skip
    return [
        *handles,
        Line2D([], [], color=SOFT, linewidth=1.1, label="treat all"),
        Line2D([], [], color=BLACK, linewidth=1.1, label="treat none"),
    ]


def _of_model(table: pd.DataFrame, model: str) -> pd.DataFrame:
    rows = table[(table["model"].astype(str) == model).to_numpy()]
    return rows.sort_values("threshold", kind="stable")


def _draw_net_benefit(
    axes: Any, rows: pd.DataFrame, colour: str, dash: str, width: float, *, band: bool = True
) -> None:
    x = rows["threshold"].to_numpy(dtype=np.float64)
    if band and _has(rows, "low95") and _has(rows, "high95"):
        low, high = (rows[name].to_numpy(dtype=np.float64) for name in ("low95", "high95"))
        axes.fill_between(x, low, high, color=colour, alpha=0.10, linewidth=0)
    axes.plot(x, rows["net_benefit"], color=colour, linestyle=dash, linewidth=width)


def _benefit_limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return limits that hold the models; "treat all" may leave below, where it is useless."""
    values = table["net_benefit"].to_numpy(dtype=np.float64)
    best = float(np.nanmax(np.r_[values, 0.01]))
    tops = table["high95"].to_numpy(dtype=np.float64) if _has(table, "high95") else values
    high = min(float(np.nanmax(np.r_[tops, best])), 1.4 * best)
    models = values[(table["model"].astype(str) != "all").to_numpy()]
    worst = float(np.nanmin(np.r_[models, 0.0]))
    return float(np.clip(1.1 * worst, -0.5 * best, -0.15 * best)), 1.06 * high


# --- agreement with a published table -------------------------------------------------------


#: What may be said of a feature, with its colour and marker.
AGREEMENT_KINDS = {
    "agrees": (GREEN, "o"),
    "same definition": (BLUE, "D"),
    "differs": (VERMILION, "X"),
    "no counterpart": (GREY, "x"),
}


def agreement_kinds(agreement: pd.DataFrame) -> list[str]:
    """Return the kind of `AGREEMENT_KINDS` of each row.

    "agrees" where the correlation is high enough; "same definition" where it is not, but subjects
    with the same region have the same value; "no counterpart" where nothing could be compared.
    """
    kinds = []
    for row in agreement.to_dict("records"):
        if _yes(row["agrees"]):
            kinds.append("agrees")
        elif _yes(row.get("same_definition")):
            kinds.append("same definition")
        else:
            kinds.append("differs" if row.get("n", 1) > 0 else "no counterpart")
    return kinds


def _yes(value: Any) -> bool:
    return str(value).lower() in ("1", "1.0", "true", "yes")


def feature_agreement_figure(agreement: pd.DataFrame, *, width_px: int = 1160) -> bytes:
    """Return rank correlation and median ratio of each feature with a published table.

    Parameters
    ----------
    agreement : DataFrame
        Columns ``feature``, ``n``, ``spearman``, ``median_ratio`` or ``ratio_median`` (ours over
        published), ``agrees`` and perhaps ``same_definition`` (yes or no); a row per feature.
    """
    from matplotlib.lines import Line2D

    rows = agreement.sort_values(
        ["spearman", "feature"], ascending=[False, True], kind="stable", na_position="last"
    )
    kinds = agreement_kinds(rows)
    row_px = 17
    with house_style():
        figure = new_figure(width_px, 130 + row_px * max(len(rows), 1))
        handles = [
            Line2D([], [], color=colour, marker=marker, markersize=5.5, linestyle="none",
                   label=f"{kind} ({kinds.count(kind)})")
            for kind, (colour, marker) in AGREEMENT_KINDS.items()
            if kind in kinds
        ]  # fmt: skip
        note = "One row per feature; equal features lie at 1 in both panels"
        top = heading(figure, "Our features against the published ones", note, handles)
        middle = (width_px - 300) // 2
        left = place(figure, 290, top, width_px - 290 - middle + 12, 46)
        right = place(figure, 290 + middle + 12, top, 22, 46)
        spearman = rows["spearman"].to_numpy(dtype=np.float64)
        ratio = rows["median_ratio" if "median_ratio" in rows else "ratio_median"]
        _draw_dots(left, spearman, kinds, None)
        _draw_dots(right, ratio.to_numpy(dtype=np.float64), kinds, _RATIO_LIMITS)
        names = [plain(feature_name(str(name))) for name in rows["feature"]]
        left.set_yticks(range(len(rows)), names, fontsize=SMALL_PT)
        left.set_xlim(float(np.nanmin(np.r_[spearman, 0.0])) - 0.03, 1.03)
        left.set_xlabel("Spearman correlation over the subjects")
        _ratio_axis(right)
        return slim_svg(figure)


def _draw_dots(
    axes: Any, values: Any, kinds: Sequence[str], limits: tuple[float, float] | None
) -> None:
    axes.axvline(1, color=SOFT, linewidth=1, linestyle=":")
    for y, (value, kind) in enumerate(zip(values, kinds, strict=True)):
        colour, marker = AGREEMENT_KINDS[kind]
        if not np.isfinite(value):
            axes.text(0.5, y, "no value", transform=axes.get_yaxis_transform(), fontsize=SMALL_PT,
                      color=SOFT, va="center", ha="center")  # fmt: skip
            continue
        x = value
        if limits is not None and not limits[0] <= value <= limits[1]:
            marker, x = ("<", limits[0]) if value < limits[0] else (">", limits[1])
        axes.plot([x], [y], marker=marker, markersize=5.5, color=colour, clip_on=False)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(range(len(values)), [""] * len(values))
    grid(axes)


def _ratio_axis(axes: Any) -> None:
    axes.set_xscale("log")
    axes.minorticks_off()
    ticks = (0.25, 0.5, 1.0, 2.0, 4.0)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(*_RATIO_LIMITS)
    axes.set_xlabel("Median ratio, ours / published (log axis; arrows: beyond the axis)")

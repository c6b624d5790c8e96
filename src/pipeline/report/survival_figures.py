"""Figures of a survival study: Kaplan-Meier, ROC at a time, cut-off, scores, hazard ratios."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.canvas import (
    BLUE,
    INK,
    LINE,
    ORANGE,
    SKY,
    SOFT,
    VERMILION,
    house_style,
    new_figure,
)
from pipeline.report.charts import (
    NOTE_PT,
    SMALL_PT,
    Values,
    grid,
    heading,
    month_ticks,
    pixels,
    place,
    plain,
    shorten,
    slim_svg,
    write,
)
from pipeline.report.figures import CURVE_STYLES
from pipeline.report.text import is_number, number, p_value

#: Colour and dash of each risk group, low first; further groups follow.
GROUP_LOOKS = ((BLUE, "-"), (VERMILION, "--"), (ORANGE, "-."), (INK, ":"))
_GROUP_ORDER = {"low": 0, "medium": 1, "middle": 1, "high": 2}

#: Hazard ratios beyond these are drawn as arrows.
_HAZARD_LIMITS = (0.05, 20.0)
_HAZARD_TICKS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 20.0)


# --- Kaplan-Meier ---------------------------------------------------------------------------


def risk_groups(km: pd.DataFrame) -> list[str]:
    """Return the groups of a table, low risk first, others by name."""
    names = {str(name) for name in km["group"]}
    return sorted(names, key=lambda name: (_GROUP_ORDER.get(name, 3), name))


def group_rows(km: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return the rows of one group by time."""
    rows = km[(km["group"].astype(str) == group).to_numpy()]
    return rows.sort_values("time_months", kind="stable")


def numbers_at_risk(rows: pd.DataFrame, ticks: Values) -> list[int]:
    """Return how many of one group are under observation just before each tick.

    That is the number at risk of the first row at or after the tick; 0 beyond the last row.
    """
    times = rows["time_months"].to_numpy(dtype=np.float64)
    counts = rows["at_risk"].to_numpy(dtype=np.float64)
    places = np.searchsorted(times, ticks, side="left")
    return [int(counts[at]) if at < len(counts) else 0 for at in places]


def survival_at(rows: pd.DataFrame, months: float) -> tuple[float, float, float]:
    """Return survival with its interval at a time; NaN beyond the last row of the group."""
    times = rows["time_months"].to_numpy(dtype=np.float64)
    if not times.size or months > times[-1]:
        return (float("nan"),) * 3
    before = rows[times <= months]
    if before.empty:
        return (1.0, 1.0, 1.0)
    last = before.iloc[-1]
    return float(last["survival"]), float(last["low95"]), float(last["high95"])


def km_figure(
    km: pd.DataFrame, *, title: str, note: str = "", end_months: float | None = None,
    endpoint: str = "Survival", width_px: int = 568, height_px: int = 500,
) -> bytes:  # fmt: skip
    """Return Kaplan-Meier curves of one split with bands, and the numbers at risk below.

    Parameters
    ----------
    km : DataFrame
        Columns ``group``, ``time_months``, ``at_risk``, ``events``, ``censored``, ``survival``,
        ``low95``, ``high95``; a row per group and time.
    title, note : str
        Lines above the plot; `note` is the place of the log-rank p and the hazard ratio.
    end_months : float, optional
        End of the time axis, so that two figures share it. Default: the last time.
    endpoint : str
        What survives, for the axis ("Disease-free survival").
    """
    groups = risk_groups(km)
    end = float(end_months or km["time_months"].max())
    with house_style():
        figure = new_figure(width_px, height_px)
        looks = dict(zip(groups, _looks(len(groups)), strict=True))
        top = heading(figure, title, note, [_km_handle(km, g, *looks[g]) for g in groups])
        axes = place(figure, 94, top, 18, 76 + 18 * len(groups))
        for group in groups:
            _draw_km(axes, group_rows(km, group), *looks[group])
        ticks = month_ticks(end)
        axes.set(xlim=(0, end * 1.015), ylim=(0, 1.03), xticks=ticks)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlabel("Months")
        axes.set_ylabel(plain(f"{endpoint} probability"))
        grid(axes, "y")
        _draw_at_risk(figure, axes, km, looks, ticks)
        return slim_svg(figure)


def _looks(count: int) -> list[tuple[str, str]]:
    return [GROUP_LOOKS[number % len(GROUP_LOOKS)] for number in range(count)]


def _km_handle(km: pd.DataFrame, group: str, colour: str, dash: str) -> Any:
    from matplotlib.lines import Line2D

    rows = group_rows(km, group)
    n, events = int(rows["at_risk"].max()), int(rows["events"].sum())
    label = plain(f"{group_name(group)} ({events} of {n} had the event)")
    return Line2D([], [], color=colour, linestyle=dash, linewidth=2, label=label)


def group_name(group: str) -> str:
    """Return a risk group in words."""
    return f"{group.capitalize()} risk" if group in _GROUP_ORDER else group


def _draw_km(axes: Any, rows: pd.DataFrame, colour: str, dash: str) -> None:
    time = np.r_[0.0, rows["time_months"].to_numpy(dtype=np.float64)]
    curve = np.r_[1.0, rows["survival"].to_numpy(dtype=np.float64)]
    low, high = (
        # No interval is defined once nobody is left; the last one is carried on.
        pd.Series(np.r_[1.0, rows[name].to_numpy(dtype=np.float64)]).ffill().to_numpy()
        for name in ("low95", "high95")
    )
    axes.fill_between(time, low, high, step="post", color=colour, alpha=0.14, linewidth=0)
    axes.step(time, curve, where="post", color=colour, linestyle=dash, linewidth=2)
    left = np.r_[False, rows["censored"].to_numpy(dtype=np.float64) > 0]
    axes.plot(time[left], curve[left], linestyle="none", marker="|", markersize=6, color=colour,
              markeredgewidth=1.1)  # fmt: skip


def _draw_at_risk(
    figure: Any, axes: Any, km: pd.DataFrame, looks: Mapping[str, tuple[str, str]], ticks: Values
) -> None:
    """Write the numbers at risk centred below the ticks of the time axis."""
    width, height = pixels(figure)
    box = axes.get_position()
    start, scale = box.x0 * width, box.width * width / axes.get_xlim()[1]
    top = (1 - box.y0) * height + 54
    write(figure, 8, top, "Number at risk", fontsize=SMALL_PT, color=SOFT, va="center")
    for line, (group, (colour, _)) in enumerate(looks.items(), start=1):
        y = top + 18 * line
        look = {"fontsize": SMALL_PT, "color": colour, "va": "center"}
        write(figure, 8, y, shorten(group_name(group), 12), fontweight="bold", **look)
        counts = numbers_at_risk(group_rows(km, group), ticks)
        for tick, count in zip(ticks, counts, strict=True):
            write(figure, start + scale * tick, y, str(count), ha="center", **look)


# --- ROC at a time, cut-off, scores ---------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TimeCurve:
    """One model's ROC curve at a time, from (0, 0) to (1, 1), and its legend entry."""

    label: str
    false_positive_rate: Values
    true_positive_rate: Values


def time_roc_figure(
    curves: Sequence[TimeCurve], *, title: str, months: float, width_px: int = 372
) -> bytes:
    """Return ROC curves at one time: those with the event by then against those without."""
    from matplotlib.lines import Line2D

    height_px = width_px + 44 + 19 * len(curves)
    with house_style():
        figure = new_figure(width_px, height_px)
        top = heading(figure, title)
        axes = place(figure, 56, top, 12, 56 + 19 * len(curves))
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, zorder=1)
        handles = []
        for at, curve in enumerate(curves):
            colour, dash = CURVE_STYLES[(at - len(curves)) % len(CURVE_STYLES)]
            look: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 1.9}
            order = np.lexsort((curve.true_positive_rate, curve.false_positive_rate))
            axes.plot(curve.false_positive_rate[order], curve.true_positive_rate[order], **look)
            handles.append(Line2D([], [], label=plain(curve.label), **look))
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_xlabel(f"1 - specificity at {months:g} months")
        axes.set_ylabel(f"Sensitivity at {months:g} months")
        grid(axes)
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.1, 0), handlelength=2.4)
        return slim_svg(figure)


def cutoff_figure(
    cutoffs: Values, statistic: Values, *, chosen: float, axis: str, title: str = "",
    note: str = "", width_px: int = 568, height_px: int = 360,
) -> bytes:  # fmt: skip
    """Return what each candidate cut-off would reach, with the chosen one marked."""
    order = np.argsort(cutoffs, kind="stable")
    x, y = cutoffs[order], statistic[order]
    with house_style():
        figure = new_figure(width_px, height_px)
        top = heading(figure, title or "Choice of the cut-off", note)
        axes = place(figure, 66, top, 16, 48)
        axes.step(x, y, where="mid", color=BLUE, linewidth=1.6)
        if np.isfinite(chosen) and x.size:
            best = float(y[np.argmin(np.abs(x - chosen))])
            axes.axvline(chosen, color=VERMILION, linewidth=1.4, linestyle="--")
            axes.plot([chosen], [best], marker="o", markersize=7, color=VERMILION)
            right = chosen > (x[0] + x[-1]) / 2
            axes.annotate(
                f"chosen: {chosen:.3f}", (chosen, best), xytext=(-9 if right else 9, 7),
                textcoords="offset points", ha="right" if right else "left", color=VERMILION,
                fontsize=NOTE_PT, fontweight="bold",
            )  # fmt: skip
        axes.margins(y=0.14)
        axes.set_xlabel("Rad-score")
        axes.set_ylabel(plain(axis))
        grid(axes)
        return slim_svg(figure)


def waterfall_figure(
    scores: Values, events: Values, *, cutoff: float, title: str, event: str = "event",
    width_px: int = 568, height_px: int = 330,
) -> bytes:  # fmt: skip
    """Return one bar per subject, sorted by score, starting at the cut-off.

    Bars above the line are at high risk, bars below at low risk; the colour says who had the
    event. A good score has the event colour above the line.
    """
    from matplotlib.patches import Patch

    order = np.lexsort((events, scores))
    base = cutoff if np.isfinite(cutoff) else 0.0
    looks = ((1, VERMILION, event), (0, SKY, "censored"))
    with house_style():
        figure = new_figure(width_px, height_px)
        handles = [
            Patch(color=colour, label=plain(f"{name} (n = {int((events == value).sum())})"))
            for value, colour, name in looks
        ]
        top = heading(figure, title, "", handles)
        axes = place(figure, 62, top, 16, 30)
        thick = 0.82 * (width_px - 78) / max(len(scores), 1) * 0.72
        for value, colour, _ in looks:
            at = np.flatnonzero(events[order] == value)
            axes.vlines(at, base, scores[order][at], color=colour, linewidth=thick)
        axes.axhline(base, color=INK, linewidth=1)
        axes.set_xlim(-1, max(len(scores), 1))
        axes.set_xticks([])
        axes.set_xlabel(f"{len(scores)} subjects, lowest score first")
        axes.set_ylabel("Rad-score")
        grid(axes, "y")
        return slim_svg(figure)


# --- hazard ratios --------------------------------------------------------------------------


@dataclass(frozen=True)
class Hazard:
    """One row of a forest plot: each estimate is (ratio, low, high, p), or None."""

    label: str
    univariable: tuple[float, float, float, float] | None = None
    multivariable: tuple[float, float, float, float] | None = None


def hazard_figure(rows: Sequence[Hazard], *, title: str, note: str = "",
                  width_px: int = 1160) -> bytes:  # fmt: skip
    """Return hazard ratios on a log axis, alone (hollow) and together (filled), with numbers."""
    from matplotlib.lines import Line2D

    row_px = 34
    height_px = 134 + row_px * len(rows) + (20 if note else 0)
    with house_style():
        figure = new_figure(width_px, height_px)
        handles = [
            Line2D([], [], color=SOFT, marker="D", markerfacecolor="white", linestyle="-",
                   label="univariable: the variable alone"),
            Line2D([], [], color=BLUE, marker="o", linestyle="-",
                   label="multivariable: adjusted for the others"),
        ]  # fmt: skip
        top = heading(figure, title, note, handles) + 30
        # The rows of the plot and of the text beside it have to share their height.
        axes = place(figure, 520, top, 212, height_px - top - row_px * len(rows))
        estimates = [e for row in rows for e in (row.univariable, row.multivariable) if e]
        low, high = _hazard_limits(estimates)
        axes.axvline(1, color=SOFT, linewidth=1, linestyle=":")
        _column_heads(figure, top - 12, width_px)
        for at, row in enumerate(rows):
            y_px = top + row_px * (at + 0.5)
            write(figure, 8, y_px, shorten(row.label, 38), va="center", fontsize=9)
            for estimate, shift, x_px, hollow in (
                (row.univariable, -0.14, 300, True),
                (row.multivariable, 0.14, width_px - 204, False),
            ):
                _write_hazard(figure, x_px, y_px, estimate)
                if estimate:
                    _draw_hazard(axes, at + shift, estimate, (low, high), hollow)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        _log_axis(axes, low, high)
        return slim_svg(figure)


def _column_heads(figure: Any, y_px: float, width_px: int) -> None:
    look = {"fontsize": NOTE_PT, "fontweight": "bold", "va": "center"}
    write(figure, 8, y_px, "Variable", **look)
    for x_px, name in ((300, "Univariable"), (width_px - 204, "Multivariable")):
        write(figure, x_px, y_px, f"{name} HR (95 % CI)", **look)
        write(figure, x_px + 198, y_px, "p", ha="right", **look)


def _write_hazard(figure: Any, x_px: float, y_px: float, found: Any) -> None:
    if found is None:
        write(figure, x_px, y_px, "–", va="center", color=SOFT)  # noqa: RUF001
        return
    ratio, low, high, p = found
    text = f"{number(ratio, 2)} ({number(low, 2)}–{number(high, 2)})"  # noqa: RUF001
    if not (is_number(low) and is_number(high)):
        text = "1 (reference)" if ratio == 1 else number(ratio, 2)
    write(figure, x_px, y_px, text, va="center", fontsize=NOTE_PT)
    write(figure, x_px + 198, y_px, p_value(p), va="center", ha="right", fontsize=NOTE_PT,
          color=SOFT)  # fmt: skip


def _draw_hazard(
    axes: Any, y: float, found: tuple[float, float, float, float], limits: tuple[float, float],
    hollow: bool,
) -> None:  # fmt: skip
    ratio, low, high, _ = found
    colour = SOFT if hollow else BLUE
    if ratio == 1 and not is_number(low):
        axes.plot([1], [y], marker="s", markersize=4, color=colour)
    if not all(is_number(v) and v > 0 for v in (ratio, low, high)):
        return
    ends = np.clip([low, high], *limits)
    axes.plot(ends, [y, y], color=colour, linewidth=1.4 if hollow else 2.2)
    for end, value, marker in ((ends[0], low, "<"), (ends[1], high, ">")):
        if end != value:
            axes.plot([end], [y], marker=marker, markersize=6, color=colour, clip_on=False)
    if limits[0] <= ratio <= limits[1]:
        axes.plot([ratio], [y], marker="D" if hollow else "o", markersize=6 if hollow else 7.5,
                  markerfacecolor="white" if hollow else colour, markeredgecolor=colour,
                  markeredgewidth=1.4)  # fmt: skip


def _hazard_limits(estimates: Sequence[tuple[float, float, float, float]]) -> tuple[float, float]:
    ends = np.array([1.0, *(v for e in estimates for v in e[:3] if is_number(v) and v > 0)])
    low, high = float(ends.min()) * 0.9, float(ends.max()) * 1.1
    return max(min(low, 0.5), _HAZARD_LIMITS[0]), min(max(high, 2.0), _HAZARD_LIMITS[1])


def _log_axis(axes: Any, low: float, high: float) -> None:
    axes.set_xscale("log")
    ticks = [tick for tick in _HAZARD_TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(low, high)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Hazard ratio, log axis (left of 1: longer survival; right of 1: shorter)")
    grid(axes, "x")


def hazard_rows(cox: pd.DataFrame, name: Callable[[str, str], str]) -> list[Hazard]:
    """Return the rows of a forest plot from one split of ``cox.tsv``, in the table's order."""
    found: dict[tuple[str, str], dict[str, tuple[float, float, float, float]]] = {}
    for row in cox.to_dict("records"):
        level = "" if pd.isna(row.get("level")) else str(row["level"])
        estimate = tuple(float(row[c]) for c in ("hazard_ratio", "low95", "high95", "p"))
        parts = found.setdefault((str(row["variable"]), level), {})
        parts[str(row["analysis"])] = (estimate[0], estimate[1], estimate[2], estimate[3])
    return [
        Hazard(name(*key), parts.get("univariable"), parts.get("multivariable"))
        for key, parts in found.items()
    ]

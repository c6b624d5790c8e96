"""Sections of a survival page that judge the models: discrimination, calibration, benefit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.page import Cell, Picture, Section, Table
from pipeline.report.survival_figures import TimeCurve, time_roc_figure
from pipeline.report.survival_results import SurvivalArm, SurvivalResults, missing, split_name
from pipeline.report.text import MISSING, interval, is_number, number, p_value
from pipeline.report.validation_figures import (
    AGREEMENT_KINDS,
    agreement_kinds,
    calibration_figure,
    decision_figure,
    feature_agreement_figure,
)

_SVG: Any = "image/svg+xml"
_THIRD, _SQUARE, _HALF, _FULL = 372, 460, 568, 1160
_METRICS = {
    "harrell_c": "Harrell's C",
    "uno_c": "Uno's C",
    "auc": "AUC",
    "brier": "Brier score",
    "ibs": "Integrated Brier score",
    "slope": "Calibration slope",
}
#: Metrics that stay in sight; the others can be opened.
_SHOWN = ("harrell_c", "uno_c", "auc")


def discrimination_section(results: SurvivalResults, arm: SurvivalArm) -> Section:
    """Return how well the models rank patients: C-indices, ROC curves, their differences."""
    title = "How well the models rank patients"
    frame = arm.table("discrimination")
    if frame is None:
        return missing(title, "discrimination")
    names = set(frame["metric"])
    others = [name for name in _METRICS if name in names and name not in _SHOWN]
    tables = [_metric_table(results, arm, [n for n in _SHOWN if n in names], "Discrimination")]
    if others:
        caption = "Error and calibration slope"
        tables.append(_metric_table(results, arm, others, caption, collapsed=True))
    comparison = arm.table("comparison")
    if comparison is not None:
        tables += _comparison_tables(results, comparison, arm.judged_on)
    return Section(
        title,
        "C-index: of two patients, how often does the one with the higher score have the event"
        " first? 0.5 is a coin, 1 is perfect. Apparent values are those of the patients who made"
        " the model and flatter it; corrected values have the expected optimism taken off; test"
        " values are those of patients the model never saw.",
        _roc_pictures(results, arm),
        tables,
    )


def _roc_pictures(results: SurvivalResults, arm: SurvivalArm) -> list[Picture]:
    split, pictures = arm.judged_on, []
    for t in arm.horizons:
        curves = []
        for model in arm.models("roc"):
            rows = arm.rows("roc", split=split, model=model, horizon_months=t)
            if rows is None:
                continue
            value = _auc_words(arm, split, model, t)
            curves.append(
                TimeCurve(f"{results.model(model)}  {value}".strip(),
                          rows["false_positive_rate"].to_numpy(dtype=np.float64),
                          rows["true_positive_rate"].to_numpy(dtype=np.float64))
            )  # fmt: skip
        if curves:
            title = f"ROC at {t:g} months, {split}"
            words = "; ".join(curve.label for curve in curves)
            pictures.append(
                Picture(time_roc_figure(curves, title=title, months=t, width_px=_width(arm)), _SVG,
                        f"{title}. AUC: {words}", "", _width(arm))
            )  # fmt: skip
    return pictures


def _width(arm: SurvivalArm) -> int:
    """Return the width of a square figure, so that the times of a split fill one row."""
    return _THIRD if len(arm.horizons) > 2 else _SQUARE


def _auc_words(arm: SurvivalArm, split: str, model: str, t: float) -> str:
    rows = arm.rows("discrimination", split=split, model=model, metric="auc", horizon_months=t)
    if rows is None:
        return ""
    row = rows.iloc[0]
    span = f" ({interval(row['low95'], row['high95'])})" if is_number(row["low95"]) else ""
    return f"{number(row['value'], 2)}{span}"


def _metric_table(
    results: SurvivalResults, arm: SurvivalArm, metrics: Sequence[str], caption: str, *,
    collapsed: bool = False,
) -> Table:  # fmt: skip
    """Return a row per metric, time and model: apparent, corrected, test."""
    rows: list[list[Cell]] = []
    strong, subs = set(), set()
    models = arm.models("discrimination")
    for metric, t in _metric_keys(arm, metrics):
        strong.add(len(rows))
        rows.append([_metric_name(metric, t), "", "", "", ""])
        for model in models:
            found = {s: _metric_row(arm, s, model, metric, t) for s in ("development", "test")}
            if not any(found.values()):
                continue
            subs.add(len(rows))
            development, test = found["development"], found["test"]
            rows.append([results.model(model), _value(development), _optimism(development),
                         number((development or {}).get("corrected")), _value(test)])  # fmt: skip
    return Table(
        caption,
        ["Model", "Apparent (95 % CI)", "Optimism", "Corrected", "Test (95 % CI)"],
        rows,
        groups=[("", 1), ("Development", 3), ("", 1)],
        sub_rows=frozenset(subs),
        strong_rows=frozenset(strong),
        note="Optimism: how much the whole model building gains on its own data, by bootstrap."
        " AUC at a time: those with the event by then against those still without."
        if not collapsed
        else "Brier score: mean squared error of the predicted probability, 0 is perfect; a model"
        " that says 50 % to everybody has 0.25. Slope: 1 is right, below 1 the predictions are too"
        " extreme.",
        collapsed=collapsed,
    )


def _metric_name(metric: str, months: Any) -> str:
    name = _METRICS.get(metric, metric.replace("_", " "))
    if not is_number(months):
        return name
    return f"{name} {'up to' if metric in ('uno_c', 'ibs') else 'at'} {months:g} months"


def _metric_keys(arm: SurvivalArm, metrics: Sequence[str]) -> list[tuple[str, float]]:
    keys = []
    for metric in metrics:
        rows = arm.rows("discrimination", metric=metric)
        assert rows is not None
        times = sorted({float(t) for t in rows["horizon_months"].dropna()})
        has_none = bool(rows["horizon_months"].isna().any())
        keys += [(metric, float("nan"))] if has_none or not times else []
        keys += [(metric, t) for t in times]
    return keys


def _metric_row(
    arm: SurvivalArm, split: str, model: str, metric: str, t: float
) -> dict[str, Any] | None:
    rows = arm.rows("discrimination", split=split, model=model, metric=metric)
    if rows is None:
        return None
    times = rows["horizon_months"]
    rows = rows[(times == t).to_numpy()] if is_number(t) else rows[times.isna().to_numpy()]
    return None if rows.empty else dict(rows.iloc[0])


def _value(row: dict[str, Any] | None) -> str:
    if row is None or not is_number(row["value"]):
        return MISSING
    span = interval(row["low95"], row["high95"])
    return number(row["value"]) + ("" if span == MISSING else f" ({span})")


def _optimism(row: dict[str, Any] | None) -> str:
    return f"{row['optimism']:+.3f}" if row and is_number(row["optimism"]) else MISSING


def _comparison_tables(results: SurvivalResults, frame: pd.DataFrame, split: str) -> list[Table]:
    """Return the comparisons that count, and all others to open."""
    counts = ((frame["split"] == split) & frame["metric"].isin(_SHOWN)).to_numpy()
    tables = []
    if counts.any():
        tables.append(_comparison_table(results, frame[counts], collapsed=False))
    if not counts.all():
        tables.append(_comparison_table(results, frame[~counts], collapsed=True))
    return tables


def _comparison_table(results: SurvivalResults, frame: pd.DataFrame, *, collapsed: bool) -> Table:
    rows = []
    for row in frame.to_dict("records"):
        metric = str(row["metric"])
        t = row.get("horizon_months")
        rows.append(
            [
                f"{results.model(str(row['first']))} against {results.model(str(row['second']))}",
                split_name(str(row["split"])),
                _metric_name(metric, t),
                f"{row['difference']:+.3f}" if is_number(row["difference"]) else MISSING,
                interval(row["low95"], row["high95"], 3),
                p_value(row["p"]),
            ]
        )
    return Table(
        "Further comparisons" if collapsed else "Does one model rank better than another?",
        ["Models", "Split", "Measure", "Difference", "95 % CI", "p"],
        rows,
        align="lllrrr",
        note="Difference: first minus second, on the same subjects. Of Brier scores the lower is"
        " better."
        if collapsed
        else "Difference: first minus second, on the same subjects.",
        collapsed=collapsed,
    )


# --- calibration ----------------------------------------------------------------------------


def calibration_section(results: SurvivalResults, arm: SurvivalArm) -> Section:
    """Return predicted against observed survival, drawn for the headline model."""
    title = "Are the predicted probabilities right?"
    frame = arm.table("calibration_groups")
    if frame is None:
        return missing(title, "calibration_groups")
    model = arm.models("calibration_groups")[-1]
    pictures = [
        picture
        for split in reversed(arm.splits or ["development"])
        for t in arm.horizons
        if (picture := _calibration_picture(results, arm, split, model, t)) is not None
    ]
    table = arm.table("calibration")
    return Section(
        title,
        f"Calibration of the model {results.model(model)}. Points on the dotted line: what was"
        " predicted is what happened. Points below it: fewer patients stayed without the event"
        " than predicted. The grey bars show how many patients had each prediction.",
        pictures,
        [] if table is None else [_calibration_table(results, table)],
    )


def _calibration_picture(
    results: SurvivalResults, arm: SurvivalArm, split: str, model: str, t: float
) -> Picture | None:
    key = {"split": split, "model": model, "horizon_months": t}
    groups = arm.rows("calibration_groups", **key)
    if groups is None:
        return None
    totals, predictions = arm.rows("calibration", **key), arm.rows("predictions", split=split)
    column = f"survival_{model}_{t:g}m"
    known = predictions is not None and column in predictions
    measures = {} if totals is None else {
        name.upper(): float(totals[name].iloc[0]) for name in ("ici", "e50", "e90")
        if name in totals
    }  # fmt: skip
    title = f"{t:g} months, {split}"
    return Picture(
        calibration_figure(
            groups, arm.rows("calibration_smooth", **key), measures=measures,
            label=f"survival at {t:g} months", title=title, observed="Kaplan-Meier",
            predictions=predictions[column] if predictions is not None and known else None,
            width_px=_width(arm),
        ),
        _SVG, f"Calibration at {title}: "
        + "; ".join(f"{number(p, 2)} predicted, {number(o, 2)} observed"
                    for p, o in zip(groups["predicted"], groups["observed"], strict=True)),
        "", _width(arm),
    )  # fmt: skip


def _calibration_table(results: SurvivalResults, frame: pd.DataFrame) -> Table:
    measures = [c for c in ("ici", "e50", "e90", "emax", "slope", "ratio_observed_expected")
                if c in frame]  # fmt: skip
    heads = {"ici": "ICI", "e50": "E50", "e90": "E90", "emax": "Emax", "slope": "Slope",
             "ratio_observed_expected": "Observed / expected"}  # fmt: skip
    rows = [
        [results.model(str(row["model"])), split_name(str(row["split"])),
         number(row["horizon_months"], 0), *(number(row[c]) for c in measures)]
        for row in frame.to_dict("records")
    ]  # fmt: skip
    return Table(
        "Calibration of every model",
        ["Model", "Split", "Months", *(heads[c] for c in measures)],
        rows,
        align="llr" + "r" * len(measures),
        note="Distance between predicted and observed probability: ICI mean, E50 median, E90 90th"
        " percentile, Emax largest. Slope: 1 is right, below 1 the predictions are too extreme."
        " Observed / expected: events; 1 is right.",
        collapsed=len(rows) > 8,
    )


# --- decision curves and agreement ----------------------------------------------------------


def decision_section(results: SurvivalResults, arm: SurvivalArm) -> Section:
    """Return decision curves of the split that counts."""
    title = "Would decisions get better?"
    frame = arm.table("decision")
    if frame is None:
        return missing(title, "decision")
    split = arm.judged_on
    labels = {model: results.model(model) for model in arm.models("decision")}
    width = _THIRD if len(arm.horizons) > 2 else _HALF
    pictures = []
    for t in arm.horizons:
        rows = arm.rows("decision", split=split, horizon_months=t)
        if rows is None:
            continue
        head = f"Decision curve at {t:g} months, {split}"
        pictures.append(
            Picture(decision_figure(rows, labels=labels, title=head, width_px=width,
                                    height_px=400 if width == _THIRD else 440,
                                    threshold=f"Threshold: risk of the event by {t:g} months"),
                    _SVG, f"{head}: net benefit of {', '.join(labels.values())}", "", width)
        )  # fmt: skip
    return Section(
        title,
        "Who is treated is everybody whose predicted risk reaches the threshold. Net benefit:"
        " patients rightly treated minus those wrongly treated, who weigh the more the higher the"
        " threshold. A model is of use where its line lies above both treating all and treating"
        " none. Bands: 95 % intervals.",
        pictures,
    )


def agreement_section(results: SurvivalResults, arm: SurvivalArm) -> Section | None:
    """Return our features against the published ones, and why some differ."""
    frame = arm.agreement
    if frame is None or frame.empty:
        return None
    kinds = agreement_kinds(frame)
    counts = {kind: kinds.count(kind) for kind in AGREEMENT_KINDS}
    known = len(frame) - counts["no counterpart"]
    words = (
        f"{counts['agrees']} of {known} features rank the patients as the values that another group"
        " published for the same scans."
    )
    if counts["same definition"]:
        words += (
            f" {counts['same definition']} more are defined alike: where the region is the same,"
            " so is the value; the regions of other patients differ."
        )
    table = _agreement_table(frame.assign(kind=kinds))
    figure = feature_agreement_figure(frame)
    return Section(
        "Our features against the published ones",
        f"{words} The table says why a feature differs.",
        [Picture(figure, _SVG, words, "", _FULL)],
        [table],
    )


def _agreement_table(frame: pd.DataFrame) -> Table:
    ratio = "median_ratio" if "median_ratio" in frame else "ratio_median"
    rows = [
        [str(row["feature"]), number(row.get("n"), 0), number(row["spearman"]),
         number(row[ratio]), str(row["kind"]),
         str(row["why"]) if isinstance(row.get("why"), str) else ""]
        for row in frame.sort_values("feature", kind="stable").to_dict("records")
    ]  # fmt: skip
    return Table(
        "Feature by feature",
        ["Feature", "n", "Spearman", "Median ratio", "Verdict", "What the numbers show"],
        rows,
        align="lrrrll",
        note="Spearman: do both rank the patients alike? Median ratio: ours over published.",
        collapsed=True,
    )

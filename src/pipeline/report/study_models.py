"""Sections of a study's page about its models: the headline table, ROC curves, trees, features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.model.roc import roc_curve
from pipeline.report.card import Card
from pipeline.report.figures import Curve, Estimate, bar_figure, forest_figure, roc_figure
from pipeline.report.page import Picture, Section, Table
from pipeline.report.results import StudyResults
from pipeline.report.text import MISSING, interval, number, p_value

_RATES = ("sensitivity", "specificity", "ppv", "npv")
_RATE_NAMES = ("Sens.", "Spec.", "PPV", "NPV")
_TREES = "xgboost_"
_TOP_FEATURES = 12


def models_section(results: StudyResults) -> Section:
    """Return the headline: ROC curves, forest plot, the table of all models."""
    title = "How well the models predict"
    frame, card = results.auc, results.card
    if frame is None or frame.empty:
        return Section(title, "Not shown: the table of AUCs is missing.")
    first = frame.iloc[0]
    positive = str(card.outcome_names[0][1])
    who = (
        f"{_count(first['n_test'])} test subjects ({_count(first['responders_test'])} {positive}s)"
    )
    return Section(
        title,
        f"Every model was selected, tuned and fitted on {_count(first['n_development'])}"
        f" development subjects and applied once to {who}.",
        [_roc(results, frame), _forest(frame, card)],
        [_headline(frame, card, who), _details(frame, card)],
        notes=_comparison_notes(results),
    )


def trees_section(results: StudyResults) -> Section | None:
    """Return boosted trees on the same folds, with the features they use most."""
    frame = results.xgboost_auc
    if frame is None or frame.empty:
        return None
    reference = str(frame.iloc[0]["reference"])
    pictures = []
    model = results.models.get(reference)
    if model is not None and model.selection is not None:
        pictures = [_top_features(model.selection, _plain(results.card, reference))]
    return Section(
        "Boosted trees on the same folds",
        "XGBoost in place of the support vector machine, on the same subjects and folds.",
        pictures,
        [_headline(frame, results.card, "the same test subjects", caption="Boosted trees")],
    )


def selection_section(results: StudyResults) -> Section | None:
    """Return which features each support vector machine uses."""
    rows: list[Sequence[str]] = []
    order = [] if results.auc is None else results.auc["model"].astype(str).tolist()
    for name in order:
        model = results.models.get(name)
        if model is None or model.selection is None:
            continue
        rows += _selected_rows(results.card.model(name), model.selection)
    if not rows:
        return None
    table = Table(
        "Features of the final models, best first",
        ["Model", "Rank", "Feature", "Chosen in folds"],
        rows,
        align="lrlr",
        note="Chosen in folds: share of the cross-validation folds whose own ranking and tuning"
        " kept the feature. A low share says that another sample would choose otherwise.",
    )
    return Section("Features that the models use", tables=[table], collapsed=True)


def _count(value: Any) -> str:
    return f"{int(value)}" if pd.notna(value) else MISSING


def _plain(card: Card, model: str) -> str:
    """Return the reader's name of a model, be it of trees or not."""
    return card.model(model.removeprefix(_TREES))


def _roc(results: StudyResults, frame: pd.DataFrame) -> Picture:
    curves = []
    for row in _reference_last(frame):
        model = results.models.get(str(row["model"]))
        if model is None:
            continue
        test = model.predictions[(model.predictions["split"] == "test").to_numpy()]
        test = test[test["response"].notna().to_numpy()]
        curve = roc_curve(test["response"], test["score"])
        curves.append(
            Curve(
                f"{results.card.model(str(row['model']))}  {row['auc']:.3f}",
                curve.false_positive_rate,
                curve.true_positive_rate,
                _operating_points(row) if row["model"] == row["reference"] else (),
            )
        )
    words = "; ".join(f"{c.label.strip()}" for c in curves)
    return Picture(
        roc_figure(curves, positive=str(results.card.outcome_names[0][1])),
        "image/svg+xml",
        f"ROC curves on the test subjects. AUC: {words}",
        "ROC curves on the test subjects; the legend gives the AUC. Markers: operating points of"
        " the reference model.",
        568,
    )


def _reference_last(frame: pd.DataFrame) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = frame.to_dict("records")
    return sorted(rows, key=lambda row: row["model"] == row["reference"])


def _operating_points(row: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    points = [
        ("threshold from development", row["sensitivity"], row["specificity"]),
        ("Youden on test", row["sensitivity_test_youden"], row["specificity_test_youden"]),
    ]
    return [point for point in points if np.isfinite(point[1:]).all()]


def _forest(frame: pd.DataFrame, card: Card) -> Picture:
    rows = [
        Estimate(card.model(str(row["model"])), row["auc"], row["auc_low95"], row["auc_high95"],
                 _published(card, str(row["model"])))
        for row in _reference_last(frame)
    ]  # fmt: skip
    caption = "AUC on the test subjects with DeLong's 95 % interval."
    if any(row.published for row in rows):
        caption += f" Hollow: published, {card.population}."
    words = "; ".join(f"{r.label} {r.value:.3f} ({r.low:.2f} to {r.high:.2f})" for r in rows)
    return Picture(
        forest_figure(rows, axis="AUC (dotted: 0.5, no better than chance)"), "image/svg+xml",
        f"Forest plot of the AUCs. {words}", caption, 568,
    )  # fmt: skip


def _published(card: Card, model: str) -> tuple[float, float, float] | None:
    if model not in card.published:
        return None
    value, half = card.published[model]
    return value, value - half, min(value + half, 1.0)


def _headline(frame: pd.DataFrame, card: Card, who: str, *, caption: str = "") -> Table:
    rows, strong = [], set()
    for at, row in enumerate(frame.to_dict("records")):
        if row["model"] == row["reference"]:
            strong.add(at)
        rows.append(
            [
                _plain(card, str(row["model"])),
                number(row["auc"]),
                interval(row["auc_low95"], row["auc_high95"]),
                "reference" if at in strong else p_value(row["p_vs_reference"]),
                number(row["threshold_development"], 2),
                *(number(row[rate], 2) for rate in _RATES),
                number(row["threshold_test_youden"], 2),
                *(number(row[f"{rate}_test_youden"], 2) for rate in _RATES),
            ]
        )
    return Table(
        f"{caption or 'Performance'} on {who}",
        ["Model", "AUC", "95 % CI", "p", *(["Threshold", *_RATE_NAMES] * 2)],
        rows,
        groups=[("", 4), ("Threshold from development", 5), ("Youden on test (optimistic)", 5)],
        strong_rows=frozenset(strong),
        note="CI and p (against the reference): DeLong. Threshold from development: largest Youden"
        " index of the held-out development scores, fixed before the test subjects were seen."
        " Youden on test: threshold chosen on the test subjects themselves, as published; it"
        " flatters every model.",
    )


def _details(frame: pd.DataFrame, card: Card) -> Table:
    rows = []
    for row in frame.to_dict("records"):
        known = _published(card, str(row["model"]))
        rows.append(
            [
                card.model(str(row["model"])),
                number(row["auc_se"]),
                interval(row["auc_low95"], row["auc_high95"], 3),
                interval(row["auc_boot_low95"], row["auc_boot_high95"], 3),
                p_value(row["p_vs_reference"]),
                p_value(row["p_bootstrap_vs_reference"]),
                number(row["auc_cv_development"]),
                f"{_count(row['tp'])} / {_count(row['fn'])} / {_count(row['tn'])}"
                f" / {_count(row['fp'])}",
                f"{known[0]:.3f} ({known[1]:.2f} to {known[2]:.2f})" if known else MISSING,
            ]
        )
    columns = ["Model", "SE", "95 % CI, DeLong", "95 % CI, bootstrap", "p, DeLong", "p, bootstrap",
               "AUC, development", "TP / FN / TN / FP", "Published AUC"]  # fmt: skip
    return Table(
        "The AUCs in detail",
        columns,
        rows,
        note="AUC, development: of the held-out cross-validation scores. TP, FN, TN, FP: at the"
        " threshold from development.",
    )


def _comparison_notes(results: StudyResults) -> list[str]:
    if not (results.simulated and results.card.published):
        return []
    return [
        "The published values come from patients, the values found here from simulated images:"
        " that they are near or far says nothing about breast cancer."
    ]


def _top_features(selection: pd.DataFrame, model: str) -> Picture:
    ranked = selection.sort_values("mean_abs_shap", ascending=False, kind="stable")
    top = ranked[ranked["mean_abs_shap"].to_numpy() > 0].head(_TOP_FEATURES)
    names = [str(name) for name in top["feature"]]
    return Picture(
        bar_figure(names, top["mean_abs_shap"].to_numpy(dtype=np.float64),
                   axis="Mean absolute SHAP value (log odds)"),
        "image/svg+xml",
        f"Features that move the score of {model} most: {', '.join(names)}",
        f"{model}: how far each feature moves the score of a development subject on average.",
        860,
    )  # fmt: skip


def _selected_rows(model: str, selection: pd.DataFrame) -> Sequence[Sequence[str]]:
    chosen = selection[selection["selected"].to_numpy() == 1]
    return [
        (model if at == 0 else "", number(row["rank"], 0), str(row["feature"]),
         f"{100 * row['selection_frequency']:.0f} %")
        for at, row in enumerate(chosen.to_dict("records"))
    ]  # fmt: skip

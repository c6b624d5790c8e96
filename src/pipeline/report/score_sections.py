"""Sections of a survival page about the Rad-score: its features, its cut-off."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.lasso_figures import (
    lasso_deviance_figure,
    lasso_path_figure,
    selection_figure,
)
from pipeline.report.page import Picture, Section, Table
from pipeline.report.survival_figures import cutoff_figure, waterfall_figure
from pipeline.report.survival_results import SurvivalArm, SurvivalResults, missing
from pipeline.report.text import is_number, number, percent, significant

_SVG: Any = "image/svg+xml"
_THIRD, _HALF, _FULL = 372, 568, 1160


def score_section(results: SurvivalResults, arm: SurvivalArm) -> Section:
    """Return which features make the Rad-score, and how sure their choice is."""
    title = "Rad-score"
    selection, summary = arm.table("selection"), arm.table("path_summary")
    if selection is None:
        return missing(title, "selection")
    size = selection["coefficient"].fillna(0).abs()
    kept = selection.assign(size=size)[(size > 0).to_numpy()].sort_values(
        ["size", "feature"], ascending=[False, True], kind="stable"
    )
    tables = [_score_table(kept)] if len(kept) else []
    return Section(title, _score_words(selection, kept, summary), _score_pictures(arm),
                   tables)  # fmt: skip


def _score_words(selection: pd.DataFrame, kept: pd.DataFrame, summary: pd.DataFrame | None) -> str:
    penalty = ""
    if summary is not None and (summary["is_used"] == 1).any():
        used = summary[(summary["is_used"] == 1).to_numpy()].iloc[0]
        rule = " (lowest deviance)" if used.get("is_min") == 1 else ""
        rule = " (one standard error rule)" if not rule and used.get("is_1se") == 1 else rule
        penalty = f" at λ = {used['lambda']:.3g}{rule}"
    if kept.empty:
        return (
            f"The LASSO kept no feature{penalty}: nothing in the features foretold the outcome"
            " well enough, and everybody has the same Rad-score."
        )
    return (
        f"The LASSO kept {len(kept)} of {len(selection)} features{penalty}. The Rad-score is the"
        " sum of their standardised values times the coefficients below. A feature that few"
        " resamples choose would be replaced by another one in another sample of patients."
    )


def _score_table(kept: pd.DataFrame) -> Table:
    rows = []
    for row in kept.to_dict("records"):
        rows.append(
            [
                str(row["feature"]),
                f"{row['coefficient']:+.4f}",
                percent(row.get("frequency")),
                significant(row.get("mean_raw"), 4),
                significant(row.get("sd_raw"), 4),
            ]
        )
    return Table(
        "Features of the Rad-score",
        ["Feature", "Coefficient", "Chosen in resamples", "Mean", "SD"],
        rows,
        note="Coefficient: log hazard ratio per standard deviation, shrunk by the LASSO. A plus"
        " sign: higher values go with more events. Mean and SD: raw values of the development"
        " subjects, with which every new value is standardised.",
    )


def _score_pictures(arm: SurvivalArm) -> list[Picture]:
    pictures = []
    summary, path = arm.table("path_summary"), arm.table("path")
    selection = arm.table("selection")
    if summary is not None and summary["cv_deviance"].notna().any():
        pictures.append(
            Picture(lasso_deviance_figure(summary), _SVG,
                    "Cross-validated deviance against the penalty",
                    "How well each penalty predicts subjects left out of the fit. Too strong a"
                    " penalty (left) misses the signal, too weak a one (right) fits noise; still"
                    " weaker ones are not drawn.", _HALF)
        )  # fmt: skip
    if selection is not None and selection.get("frequency", pd.Series()).notna().any():
        pictures.append(
            Picture(selection_figure(selection), _SVG,
                    "Share of bootstrap resamples that chose each feature",
                    "The 20 features that the LASSO chooses most often when patients are drawn"
                    " anew.", _HALF)
        )  # fmt: skip
    if summary is not None and path is not None:
        pictures.append(
            Picture(lasso_path_figure(path, summary), _SVG,
                    "Coefficients of the features along the penalty",
                    "Features enter one after the other as the penalty weakens.", _FULL)
        )  # fmt: skip
    return pictures


def cutoff_section(results: SurvivalResults, arm: SurvivalArm) -> Section | None:
    """Return how the cut-off was chosen and where every subject lies."""
    table, predictions = arm.table("cutoff"), arm.table("predictions")
    if table is None and predictions is None:
        return None
    cutoff = chosen_cutoff(arm)
    pictures = [] if table is None else _cutoff_pictures(table, cutoff)
    event = results.event_names[0]
    for split in arm.splits if predictions is not None and is_number(cutoff) else []:
        rows = arm.rows("predictions", split=split)
        if rows is None or "rad_score" not in rows:
            continue
        scores = rows["rad_score"].to_numpy(dtype=np.float64)
        seen = np.isfinite(scores)
        events = rows["event"].to_numpy(dtype=np.float64)[seen]
        pictures.append(
            Picture(
                waterfall_figure(scores[seen], events, cutoff=cutoff, event=event,
                                 title=f"Rad-score of each subject, {split}",
                                 width_px=_THIRD),
                _SVG, f"Rad-score of each subject, {split}, coloured by event",
                "Bars start at the cut-off; those above it are called high risk. A good score"
                " gathers the event colour there.", _THIRD,
            )
        )  # fmt: skip
    words = (
        f"Subjects with a Rad-score of {number(cutoff)} or more are called high risk. The cut-off"
        " was chosen on development subjects only and applied to the test subjects as it is."
    )
    if not is_number(cutoff):
        words = "No cut-off: without a feature everybody has the same Rad-score."
    return Section("Cut-off between low and high risk", words, pictures)


def chosen_cutoff(arm: SurvivalArm) -> float:
    """Return the cut-off of the table, or of the frozen score; NaN when neither is there."""
    rows = arm.rows("cutoff", chosen=1)
    if rows is not None:
        return float(rows[_cutoff_column(rows)].iloc[0])
    value = arm.rad_score.get("cutoff")
    value = value.get("value") if isinstance(value, Mapping) else value
    return float(value) if value is not None and is_number(value) else float("nan")


def _cutoff_column(frame: pd.DataFrame) -> str:
    return next(c for c in ("cutoff", "candidate", frame.columns[0]) if c in frame)


def _cutoff_pictures(table: pd.DataFrame, cutoff: float) -> list[Picture]:
    """Return the curve of the candidates; none when there was nothing to search (a median)."""
    by_roc = "youden" in table
    column = "youden" if by_roc else "statistic"
    axis = "Youden index" if by_roc else "Log-rank statistic"
    seen = table[table[column].notna()] if column in table else table.iloc[:0]
    if len(seen) < 2:
        return []
    picture = Picture(
        cutoff_figure(
            seen[_cutoff_column(table)].to_numpy(dtype=np.float64),
            seen[column].to_numpy(dtype=np.float64),
            chosen=cutoff, axis=axis, width_px=_THIRD, height_px=330,
            title=f"{axis} by cut-off, development",
        ),
        _SVG, f"{axis} against the cut-off; chosen {number(cutoff)}",
        "Sensitivity + specificity - 1 at each cut-off; the highest was chosen." if by_roc else
        "How far apart the two groups would live; the highest was chosen. Its p value has to be"
        " corrected for the search.", _THIRD,
    )  # fmt: skip
    return [picture]

"""The page of a study: who was analysed, what was found, what differs, where it comes from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import CohortError
from pipeline.report.closing_sections import card_sections, records_of_run, settings_sections
from pipeline.report.flow import Flow, count_flow, draw_flow, flow_in_words
from pipeline.report.page import Cell, Fact, Page, Picture, Section, Table, relative_link
from pipeline.report.results import StudyResults, session_name
from pipeline.report.study_groups import groups_section, patients_section, truth_section
from pipeline.report.study_models import models_section, selection_section, trees_section
from pipeline.report.text import MISSING, interval, number, significant


def study_page(results: StudyResults) -> Page:
    """Return the page; sections without data are left out, or say what is missing."""
    flow = _flow(results)
    sections = [
        _flow_section(flow, results),
        models_section(results),
        groups_section(results),
        truth_section(results),
        patients_section(results),
        trees_section(results),
        selection_section(results),
        _exclusions_section(results),
        _subjects_section(results),
        *card_sections(results.card, departures="Departures from the paper"),
        *settings_sections(
            records_of_run(results.settings, results.dataset, data="Simulated images")
        ),
    ]
    card = results.card
    return Page(
        title=card.title or f"Study {results.name}",
        subtitle=card.question,
        banner=_banner(results),
        facts=_facts(results, flow),
        sections=[section for section in sections if section is not None],
        footer="Made by medpipe; a research tool, not a medical device.",
    )


def study_flow_svg(results: StudyResults) -> str:
    """Return the flow diagram of the whole study as a standalone SVG."""
    return draw_flow(_flow(results))


def _banner(results: StudyResults) -> str:
    if not results.simulated:
        return ""
    return (
        "SIMULATED IMAGES: no patient was imaged. The numbers show that the program works; they"
        " say nothing about patients."
    )


def _facts(results: StudyResults, flow: Flow) -> list[Fact]:
    groups = flow.included if flow.analysed is None else flow.analysed
    facts = [Fact(f"{sum(g.count for g in groups)} of {flow.total}", "subjects analysed")]
    facts += [Fact(str(g.count), f"{g.name} subjects") for g in groups]
    frame = results.auc
    if frame is not None and not frame.empty:
        rows = frame[(frame["model"] == frame["reference"]).to_numpy()]
        for row in rows.to_dict("records"):
            span = interval(row["auc_low95"], row["auc_high95"])
            label = f"test AUC of {results.card.model(str(row['model']))} (95 % CI {span})"
            facts.append(Fact(number(row["auc"]), label))
    if results.truth is not None:
        scored = results.truth["relative_error"].dropna()
        near = int((scored.abs() <= 0.05).sum())
        facts.append(Fact(f"{near} of {len(scored)}", "mean Jacobians within 5 % of the truth"))
    return facts


def _flow(results: StudyResults) -> Flow:
    known = set(results.subjects["subject"])
    strangers = sorted(
        set(results.exclusions["subject"]).union(results.included["subject"]) - known
    )
    if strangers:
        raise CohortError(
            [f"subject {s!r} was screened but is not in the sheet; screen again" for s in strangers]
        )
    names = [(value, f"{name}s") for value, name in results.card.outcome_names]
    return count_flow(
        len(results.subjects),
        results.exclusions,
        results.included,
        failures=results.failures,
        analysed=results.analysed,
        outcome=results.card.outcome,
        outcome_names=names,
    )


def _flow_section(flow: Flow, results: StudyResults) -> Section:
    picture = Picture(
        draw_flow(flow).encode("utf-8"), "image/svg+xml", flow_in_words(flow), "", 860
    )
    notes = []
    if results.features is not None:
        for column in [c for c in results.features.columns if str(c).endswith("_roi_empty")]:
            count = int(results.features[column].sum())
            session = session_name(str(column).removesuffix("_roi_empty"))
            if count:
                notes.append(
                    f"Analysed without a region at {session} (complete response): {count}. Their"
                    f" features of that scan are imputed with the medians of the development set."
                )
    return Section("Who was analysed", "From the sheet to the analysis, with every reason.",
                   [picture], notes=notes)  # fmt: skip


def _exclusions_section(results: StudyResults) -> Section:
    rows: list[Sequence[Cell]] = []
    for frame in (results.exclusions, results.failures):
        if frame is None:
            continue
        for row in frame.to_dict("records"):
            kind = row.get("reason_class")
            kind = kind if isinstance(kind, str) else ""
            rows.append((str(row["subject"]), str(row["stage"]), kind, str(row["reason"])))
    title = "Who was left out, and why"
    if not rows:
        return Section(title, "Nobody: every subject of the sheet was analysed.")
    table = Table("Exclusions", ["Subject", "Stage", "Kind", "Reason"], rows, align="llll")
    return Section(title, tables=[table])


def _subjects_section(results: StudyResults) -> Section:
    card, features = results.card, results.features
    reference = None
    if results.auc is not None and not results.auc.empty:
        reference = str(results.auc.iloc[0]["reference"])
    model = results.models.get(reference) if reference else None
    scores = {} if model is None else _scores(model.predictions)
    threshold = _threshold(results.auc)
    frame = results.subjects[results.subjects["subject"].isin(results.included["subject"])]
    values = {} if features is None else features.set_index("subject").to_dict("index")
    rows: list[Sequence[Cell]] = []
    for row in frame.sort_values("subject").to_dict("records"):
        subject, found = str(row["subject"]), values.get(str(row["subject"]), {})
        score = scores.get(subject)
        rows.append(
            [
                relative_link(subject, *results.pages[subject])
                if subject in results.pages
                else subject,
                str(row["split"]),
                _outcome(row.get(card.outcome), results),
                number(found.get("jacobian.firstorder_Mean")),
                _millilitres(found.get("baseline.shape_MeshVolume_mm3")),
                _millilitres(found.get("followup.shape_MeshVolume_mm3")),
                significant(score),
                _call(score, threshold, results),
            ]
        )
    name = card.model(reference) if reference else "model"
    table = Table(
        "One page per subject: pictures of both visits, the registration and the Jacobian map",
        ["Subject", "Split", "Outcome", "Mean Jacobian", "Baseline (mL)", "Follow-up (mL)",
         f"Score, {name}", "Called"],
        rows,
        align="lllrrrrl",
        note="Scores of development subjects are held out: from the fold that did not see them.",
    )  # fmt: skip
    return Section("Subjects", tables=[table])


def _scores(predictions: pd.DataFrame) -> dict[str, float]:
    return dict(zip(predictions["subject"].astype(str), predictions["score"], strict=True))


def _threshold(frame: pd.DataFrame | None) -> float:
    if frame is None or frame.empty:
        return float("nan")
    rows = frame[(frame["model"] == frame["reference"]).to_numpy()]
    return float(rows["threshold_development"].iloc[0]) if len(rows) else float("nan")


def _outcome(value: Any, results: StudyResults) -> str:
    names = {v: name for v, name in results.card.outcome_names}
    return names.get(float(value), MISSING) if pd.notna(value) else MISSING


def _call(score: float | None, threshold: float, results: StudyResults) -> str:
    if score is None or not np.isfinite([score, threshold]).all():
        return MISSING
    (_, positive), (_, negative) = results.card.outcome_names[:2]
    return positive if score >= threshold else negative


def _millilitres(value: Any) -> str:
    return number(float(value) / 1000.0, 2) if pd.notna(value) else MISSING

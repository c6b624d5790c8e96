"""The page of a survival study: who, which score, what it tells, how far to trust it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from pipeline.errors import CohortError
from pipeline.report.charts import p_text
from pipeline.report.closing_sections import card_sections, records_of_run, settings_sections
from pipeline.report.flow import Flow, count_flow, draw_flow, flow_in_words
from pipeline.report.page import Cell, Fact, Page, Picture, Section, Table
from pipeline.report.score_sections import cutoff_section, score_section
from pipeline.report.survival_results import SurvivalArm, SurvivalResults
from pipeline.report.survival_sections import (
    cox_section,
    groups_section,
    log_rank_p,
    nomogram_section,
    patients_section,
)
from pipeline.report.text import interval, is_number, number
from pipeline.report.validation_sections import (
    agreement_section,
    calibration_section,
    decision_section,
    discrimination_section,
)

SectionMaker = Callable[[SurvivalResults, SurvivalArm], Section | None]

_COLUMNS = ["subject", "stage", "reason_class", "reason"]
#: Classes of subjects that no table of the cohort step explains.
_NOT_SCREENED = "not screened: no image listed"
_UNEXPLAINED = "no complete values for the models"


def survival_page(results: SurvivalResults) -> Page:
    """Return the page; sections without data are left out, or say what is missing."""
    sections: list[Section] = []
    for arm in results.arms:
        own = [made for make in _MAKERS if (made := make(results, arm)) is not None]
        if len(results.arms) > 1:
            name = results.card.levels.get(arm.name, arm.name.replace("_", " "))
            own = [replace(section, title=f"{section.title} ({name})") for section in own]
        sections += own
    card = results.card
    sections += card_sections(card, departures="Departures and choices")
    sections += settings_sections(records_of_run(results.settings, results.dataset, data="Data"))
    return Page(
        title=card.title or f"Study {results.name}",
        subtitle=card.question,
        banner=_banner(results),
        facts=_facts(results),
        sections=sections,
        footer="Made by medpipe; a research tool, not a medical device.",
    )


def survival_flow(results: SurvivalResults, arm: SurvivalArm) -> Flow:
    """Count who entered and who was analysed.

    The tables of the cohort step are used where the arm has them; an arm that starts from a
    table of features begins with the sheet. A subject without a prediction of the headline model
    left for want of complete values.

    Raises
    ------
    CohortError
        If a screened subject is not in the sheet, or the counts do not add up.
    """
    sheet, analysed = results.subjects, _analysed(arm)
    included, exclusions = arm.included, arm.exclusions
    if included is None or exclusions is None:
        included = sheet if analysed is None else _with_split(sheet, analysed)
        exclusions = pd.DataFrame(columns=_COLUMNS)
    known = set(sheet["subject"].astype(str))
    screened = set(exclusions["subject"].astype(str)).union(included["subject"].astype(str))
    strangers = sorted(screened - known)
    if strangers:
        raise CohortError(
            [f"subject {s!r} was screened but is not in the sheet; screen again" for s in strangers]
        )
    exclusions = _also(exclusions, sorted(known - screened), "screen", _NOT_SCREENED)
    if "split" not in included:
        included = _with_split(included, analysed)
    names = [(value, name) for value, name in results.card.outcome_names]
    failures = None if analysed is None else _failures(arm, included, analysed)
    return count_flow(len(sheet), exclusions, included, failures=failures, analysed=analysed,
                      outcome="event", outcome_names=names)  # fmt: skip


def _analysed(arm: SurvivalArm) -> pd.DataFrame | None:
    """Return subject, split and event of those whose outcome and score are known."""
    frame = arm.table("predictions")
    if frame is None:
        return None
    scores = [c for c in frame if c == "rad_score" or c.startswith("lp_")]
    # without a selected feature the clinical models say who was analysed
    known = [c for c in scores if frame[c].notna().any()][:1]
    if known:
        frame = frame[frame[known[0]].notna()]
    return frame[["subject", "split", "event"]].assign(subject=frame["subject"].astype(str))


def _with_split(frame: pd.DataFrame, analysed: pd.DataFrame | None) -> pd.DataFrame:
    """Return the rows with a split: that of the analysis, or "all" where nobody says."""
    if "split" in frame:
        return frame
    splits = {} if analysed is None else dict(
        zip(analysed["subject"], analysed["split"], strict=True)
    )  # fmt: skip
    given = [splits.get(str(subject), "not analysed") for subject in frame["subject"]]
    return frame.assign(split=given if splits else "all")


def _failures(arm: SurvivalArm, included: pd.DataFrame, analysed: pd.DataFrame) -> pd.DataFrame:
    """Return why each included subject without a score left."""
    told = pd.DataFrame(columns=_COLUMNS) if arm.failures is None else arm.failures
    gone = set(included["subject"].astype(str)) - set(analysed["subject"])
    # A subject may be listed by another arm's screen; only those who left here count.
    told = told[told["subject"].astype(str).isin(gone).to_numpy()]
    return _also(told, sorted(gone - set(told["subject"].astype(str))), "model", _UNEXPLAINED)


def _also(frame: pd.DataFrame, subjects: Sequence[str], stage: str, reason: str) -> pd.DataFrame:
    """Return the table with a row for each further subject."""
    if not subjects:
        return frame
    more = pd.DataFrame([(s, stage, reason, reason) for s in subjects], columns=_COLUMNS)
    return more if frame.empty else pd.concat([frame, more], ignore_index=True)


def _flow_section(results: SurvivalResults, arm: SurvivalArm) -> Section:
    flow = survival_flow(results, arm)
    picture = Picture(
        draw_flow(flow).encode("utf-8"), "image/svg+xml", flow_in_words(flow), "", 860
    )
    rows: list[Sequence[Cell]] = []
    analysed = _analysed(arm)
    done = set() if analysed is None else set(analysed["subject"])
    for frame in (arm.exclusions, arm.failures):
        for row in [] if frame is None else frame.to_dict("records"):
            if str(row["subject"]) in done:
                continue
            kind = row.get("reason_class")
            rows.append((str(row["subject"]), str(row.get("stage", "")),
                         kind if isinstance(kind, str) else "", str(row["reason"])))  # fmt: skip
    table = Table("Who was left out, and why", ["Subject", "Stage", "Kind", "Reason"], rows,
                  align="llll", collapsed=len(rows) > 10)  # fmt: skip
    return Section("Who was analysed", "From the sheet to the analysis, with every reason.",
                   [picture], [table] if rows else [])  # fmt: skip


_MAKERS: tuple[SectionMaker, ...] = (
    _flow_section,
    patients_section,
    score_section,
    cutoff_section,
    groups_section,
    cox_section,
    nomogram_section,
    discrimination_section,
    calibration_section,
    decision_section,
    agreement_section,
)


def _banner(results: SurvivalResults) -> str:
    if not results.simulated:
        return ""
    return (
        "SIMULATED PATIENTS: nobody lived or died behind these numbers. They show that the program"
        " works; they say nothing about patients."
    )


def _facts(results: SurvivalResults) -> list[Fact]:
    facts: list[Fact] = []
    for arm in results.arms:
        mark = "" if len(results.arms) == 1 else f" ({arm.name.replace('_', ' ')})"
        facts += [Fact(fact.value, fact.label + mark) for fact in _arm_facts(results, arm)]
    return facts


def _arm_facts(results: SurvivalResults, arm: SurvivalArm) -> list[Fact]:
    facts = []
    event = results.event_names[0]
    frame = arm.table("predictions")
    for split in arm.splits if frame is not None else []:
        rows = arm.rows("predictions", split=split)
        if rows is not None:
            count = f"{len(rows)}, {int(rows['event'].sum())} {event}"
            facts.append(Fact(count, f"{split} subjects"))
    split, models = arm.judged_on, arm.models("discrimination")
    found = arm.rows("discrimination", split=split, metric="harrell_c",
                     model=models[-1]) if models else None  # fmt: skip
    if found is not None:
        row = found.iloc[0]
        span = interval(row["low95"], row["high95"])
        label = f"C-index of {results.model(models[-1])}, {split} (95 % CI {span})"
        facts.append(Fact(number(row["value"]), label))
    p = log_rank_p(arm, split)
    if is_number(p):
        facts.append(Fact(p_text(p), f"log-rank test of low against high risk, {split}"))
    return facts

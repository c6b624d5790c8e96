"""The page of a binary study: who was analysed, what the models reach, why they decide so."""

from pipeline.report.binary_models import discrimination_section, nomogram_section
from pipeline.report.binary_patients import flow_section, patients_section, study_flow
from pipeline.report.binary_reasons import shap_section
from pipeline.report.binary_results import BinaryResults
from pipeline.report.binary_validity import calibration_section, decision_section
from pipeline.report.closing_sections import card_sections, settings_sections
from pipeline.report.page import Fact, Page
from pipeline.report.text import interval, number, p_value


def binary_page(results: BinaryResults) -> Page:
    """Return the page of a binary study."""
    card = results.card
    sections = [
        flow_section(results),
        discrimination_section(results),
        nomogram_section(results),
        calibration_section(results),
        decision_section(results),
        shap_section(results),
        patients_section(results),
        *card_sections(
            card,
            departures="What to keep in mind",
            not_reproduced="What is not used",
            cited="The data",
        ),
        *settings_sections(
            [
                ("Settings of this run", "Setting", results.settings),
                ("Found on the way", "Quantity", results.measured),
                ("Versions of the packages", "Package", results.versions),
            ]
        ),
    ]
    return Page(
        title=card.title or f"Study {results.name}",
        subtitle=card.question,
        banner=_banner(results),
        facts=_facts(results),
        sections=[section for section in sections if section is not None],
        footer="Made by medpipe; a research tool, not a medical device.",
    )


def _banner(results: BinaryResults) -> str:
    if not results.dataset.get("simulated"):
        return ""
    return (
        "SIMULATED PATIENTS: the numbers show that the program works; they say nothing about"
        " patients."
    )


def _facts(results: BinaryResults) -> list[Fact]:
    flow = study_flow(results)
    groups = flow.analysed or flow.included
    facts = [Fact(f"{sum(g.count for g in groups)} of {flow.total}", "subjects compared")]
    facts += [Fact(str(group.count), f"{group.name} subjects") for group in groups]
    name = "test AUC" if results.split == "test" else "cross-validated AUC"
    for row in results.tables["headline"].to_dict("records"):
        words = f"{name}, {results.model(str(row['model']))}"
        words += f" (95 % CI {interval(row['auc_low95'], row['auc_high95'])}"
        if row["model"] != row["reference"]:
            words += f"; p = {p_value(row['p_vs_reference'])}"
        facts.append(Fact(number(row["auc"]), words.replace("p = <", "p <") + ")"))
    return facts

"""The end of a study's page: the words of its card, then settings and versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.card import Card
from pipeline.report.page import Section, Table
from pipeline.report.text import flatten

#: Caption of a table, head of its first column, and what it lists.
Record = tuple[str, str, Mapping[str, Any]]


def card_sections(
    card: Card,
    *,
    departures: str,
    not_reproduced: str = "What is not reproduced",
    cited: str = "The study",
) -> list[Section]:
    """Return what the card has to say at the end of the page, and how to cite.

    Parameters
    ----------
    card : Card
        Card of the study; what it leaves empty has no section.
    departures, not_reproduced : str
        Titles of these two lists of the card.
    cited : str
        What the citation is of ("The data").
    """
    sections = []
    if card.departures:
        sections.append(Section(departures, notes=card.departures))
    if card.not_reproduced:
        sections.append(Section(not_reproduced, notes=card.not_reproduced))
    if card.citation:
        doi = f" doi:{card.doi}" if card.doi else ""
        lead = f"{cited}, and medpipe with its version (below):"
        sections.append(Section("How to cite", lead, notes=[card.citation + doi]))
    return sections


def records_of_run(
    settings: Mapping[str, Any], dataset: Mapping[str, Any], *, data: str
) -> list[Record]:
    """Return what settings.json and dataset.json say, for `settings_sections`.

    Parameters
    ----------
    settings, dataset : mapping
        The two files; empty when missing.
    data : str
        Caption of the table of the dataset.
    """
    resolved = settings.get("settings", {})
    if settings.get("seed") is not None:
        resolved = {"seed": settings["seed"], **resolved}
    return [
        ("Settings of this run", "Setting", resolved),
        (data, "Property", dataset),
        ("Versions of the blocks", "Block", settings.get("block_versions", {})),
        ("Versions of the packages", "Package", settings.get("versions", {})),
    ]


def settings_sections(records: Sequence[Record]) -> list[Section]:
    """Return the folded section of settings and versions; none when every record is empty."""
    tables = [
        Table(caption, [head, "Value"], list(flatten(record).items()), align="ll", narrow=True)
        for caption, head, record in records
        if record
    ]
    return [Section("Settings and versions", tables=tables, collapsed=True)] if tables else []

"""A study's card: what was published, what to show, what is not reproduced.

A card is a JSON file of `pipeline/report/cards`; a new study adds a file, not code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.errors import SettingsError


@dataclass(frozen=True)
class Variable:
    """A column of the subjects sheet for the patient table."""

    column: str
    label: str
    kind: Literal["continuous", "categorical"]


@dataclass(frozen=True)
class Comparison:
    """A feature to compare between the outcomes: one set, or two sets as pairs."""

    sets: tuple[str, ...]
    feature: str
    title: str
    axis: str
    found: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """What the report has to know of a study.

    Attributes
    ----------
    title, question, citation, doi : str
        Words for the page.
    outcome : str
        Column of the subjects sheet.
    outcome_names : sequence of (value, name)
        First the class that is predicted.
    models : mapping
        Name of a model in the tables to its name for readers.
    published : mapping
        Model to (AUC, half the width of its 95 % interval).
    population : str
        Whom the published values come from.
    patients : sequence of Variable
        Rows of the patient table.
    levels : mapping
        Names of categories for readers.
    comparisons : sequence of Comparison
        Box plots.
    departures, not_reproduced : sequence of str
        For the end of the page.
    """

    title: str
    question: str = ""
    citation: str = ""
    doi: str = ""
    outcome: str = "response"
    outcome_names: Sequence[tuple[float, str]] = ((1, "positive"), (0, "negative"))
    models: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    population: str = ""
    patients: Sequence[Variable] = ()
    levels: Mapping[str, str] = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()
    departures: Sequence[str] = ()
    not_reproduced: Sequence[str] = ()

    def model(self, name: str) -> str:
        """Return a model's name for readers."""
        return self.models.get(name, name.replace("_", " "))


def parse_card(record: Mapping[str, Any], *, source: str) -> Card:
    """Return the card of a JSON record.

    Raises
    ------
    SettingsError
        If a key is missing or unknown; names the file and the key.
    """
    known = {"title", "question", "citation", "doi", "outcome", "models", "published", "patients",
             "levels", "boxes", "pairs", "departures", "not_reproduced"}  # fmt: skip
    unknown = sorted(set(record) - known)
    if unknown:
        raise SettingsError(f"{source}: unknown key {unknown[0]!r}; a card has {sorted(known)}")
    try:
        return _card(record)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"{source}: {type(error).__name__} {error}; compare it with cards/nact.json"
        ) from error


def _card(record: Mapping[str, Any]) -> Card:
    outcome, published = record.get("outcome", {}), record.get("published", {})
    words = {key: str(record.get(key, "")) for key in ("question", "citation", "doi")}
    names = outcome.get("names", [[1, "positive"], [0, "negative"]])
    return Card(
        title=str(record["title"]),
        **words,
        outcome=outcome.get("column", "response"),
        outcome_names=tuple((float(value), str(name)) for value, name in names),
        models=dict(record.get("models", {})),
        published={m: (float(a), float(h)) for m, (a, h) in published.get("auc", {}).items()},
        population=published.get("population", ""),
        patients=tuple(Variable(**row) for row in record.get("patients", [])),
        levels=dict(record.get("levels", {})),
        comparisons=_comparisons(record),
        departures=tuple(record.get("departures", [])),
        not_reproduced=tuple(record.get("not_reproduced", [])),
    )


def _comparisons(record: Mapping[str, Any]) -> tuple[Comparison, ...]:
    single = [{**row, "sets": [row["set"]]} for row in record.get("boxes", [])]
    found = []
    for row in [*single, *record.get("pairs", [])]:
        texts = {key: row[key] for key in ("feature", "title", "axis")}
        found.append(
            Comparison(sets=tuple(row["sets"]), labels=tuple(row.get("labels", ())),
                       found=row.get("found", ""), **texts)
        )  # fmt: skip
    return tuple(found)

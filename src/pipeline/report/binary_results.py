"""What a binary study made, as its page needs it, and the words for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.report.card import Card

#: What the models are called where the card does not say.
_MODEL_NAMES = {
    "reference": "Reference (logistic)",
    "logistic": "Nomogram (logistic)",
    "xgboost": "Boosted trees (XGBoost)",
}

SPLIT_NAMES = {"development": "development, held out", "test": "test"}

SUBJECTS_OF = {"development": "held-out development subjects", "test": "test subjects"}


@dataclass(frozen=True, eq=False)
class BinaryResults:
    """Everything that the page of a binary study shows.

    Attributes
    ----------
    name : str
        Study.
    card : Card
        Words, names of models, columns and levels.
    subjects : DataFrame
        The sheet.
    tables : mapping of file stem to DataFrame
        The tables of ``results/<study>/binary``.
    nomogram : bytes
        Its figure as SVG; empty when there is none.
    nomogram_page : sequence of str
        Path of the interactive page relative to the report; empty when there is none.
    settings, versions, measured : mapping
        From the provenance of the headline table.
    dataset : mapping
        What the data say of themselves (``simulated``).
    """

    name: str
    card: Card
    subjects: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    nomogram: bytes = b""
    nomogram_page: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that counts: test rows where there are any."""
        return "test" if (self.tables["auc"]["split"] == "test").any() else "development"

    @property
    def positive(self) -> str:
        """Name of class 1."""
        return str(self.card.outcome_names[0][1])

    def rows(self, table: str, **wanted: str) -> pd.DataFrame:
        """Return the rows of a table that have these texts in these columns."""
        frame = self.tables[table]
        for column, value in wanted.items():
            frame = frame[(frame[column].astype(str) == value).to_numpy()]
        return frame

    def models(self) -> list[str]:
        """Return the models in the order of the tables."""
        return [str(name) for name in self.tables["headline"]["model"]]

    def label(self, column: str) -> str:
        """Return a column's name for readers."""
        known = {row.column: row.label for row in self.card.patients}
        return known.get(column, column.replace("_", " "))

    def model(self, name: str) -> str:
        """Return a model's name for readers."""
        return self.card.models.get(name, _MODEL_NAMES.get(name, name))

    def level(self, name: Any) -> str:
        """Return a level's name for readers."""
        return self.card.levels.get(str(name), str(name))


def level_name(value: Any) -> str:
    """Return a level as text; a whole number without a decimal point."""
    return f"{value:g}" if isinstance(value, float) else str(value)

"""What a survival study made, as its page needs it. No reading: the verb fills these records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.report.card import Card
from pipeline.report.page import Section

if TYPE_CHECKING:
    import pandas as pd

#: Tables of an arm, by the names of their files without the ending.
ARM_TABLES = (
    "path", "path_summary", "selection", "cutoff", "roc", "predictions", "km", "logrank", "cox",
    "schoenfeld", "discrimination", "comparison", "calibration", "calibration_groups",
    "calibration_smooth", "decision", "table_one", "table_one_development",
    "table_one_test", "headline",
)  # fmt: skip

#: Names of the models for readers; a card may give others. The last is the headline model.
MODEL_NAMES = {"rad_score": "Rad-score", "clinical": "Clinical", "combined": "Rad-score + clinical"}
SPLIT_NAMES = {"development": "Development", "test": "Test"}


@dataclass(frozen=True, eq=False)
class SurvivalArm:
    """One set of features and the models built on it; empty or None for what is missing.

    Attributes
    ----------
    name : str
        Name of the arm, as in the results folder.
    tables : mapping
        Name of `ARM_TABLES` to its table.
    rad_score : mapping
        The frozen score (scaler, coefficients, cut-off).
    nomogram_svg : bytes
        Figure of the nomogram.
    nomogram_points : DataFrame, optional
        Its table of points.
    nomogram_page : sequence of str
        Parts of the path of the interactive page, relative to this page.
    included, exclusions, failures : DataFrame, optional
        Of the cohort step, where the arm needed one.
    agreement : DataFrame, optional
        Features of this arm against published ones.
    """

    name: str
    tables: "Mapping[str, pd.DataFrame]" = field(default_factory=dict)
    rad_score: Mapping[str, Any] = field(default_factory=dict)
    nomogram_svg: bytes = b""
    nomogram_points: "pd.DataFrame | None" = None
    nomogram_page: Sequence[str] = ()
    included: "pd.DataFrame | None" = None
    exclusions: "pd.DataFrame | None" = None
    failures: "pd.DataFrame | None" = None
    agreement: "pd.DataFrame | None" = None

    def table(self, name: str) -> "pd.DataFrame | None":
        """Return a table, or None when it is missing or has no row."""
        frame = self.tables.get(name)
        return None if frame is None or frame.empty else frame

    def rows(self, name: str, **equal: Any) -> "pd.DataFrame | None":
        """Return the rows of a table with these values, or None when there are none."""
        frame = self.table(name)
        for column, value in equal.items():
            if frame is None or column not in frame:
                return None
            frame = frame[(frame[column] == value).to_numpy()]
        return None if frame is None or frame.empty else frame

    @property
    def splits(self) -> list[str]:
        """Splits that any table of results names, development first."""
        found: set[str] = set()
        for name in ("predictions", "km", "discrimination"):
            frame = self.table(name)
            if frame is not None and "split" in frame:
                found |= {str(value) for value in frame["split"]}
        return [name for name in SPLIT_NAMES if name in found]

    @property
    def judged_on(self) -> str:
        """The split that counts: test, or development when there is no other."""
        return (self.splits or ["test"])[-1]

    @property
    def horizons(self) -> list[float]:
        """Times in months at which the models are judged."""
        found: set[float] = set()
        for name in ("calibration_groups", "decision", "roc", "discrimination"):
            frame = self.table(name)
            if frame is not None and "horizon_months" in frame:
                found |= {float(value) for value in frame["horizon_months"].dropna()}
        return sorted(found)

    def models(self, name: str) -> list[str]:
        """Return the models of a table, the headline model last; strategies left out."""
        frame = self.table(name)
        found = set() if frame is None else {str(m) for m in frame["model"]} - {"all", "none"}
        known = [model for model in MODEL_NAMES if model in found]
        return [*sorted(found - set(known)), *known]


@dataclass(frozen=True, eq=False)
class SurvivalResults:
    """All that the page of a survival study shows.

    Attributes
    ----------
    name : str
        Name of the study.
    card : Card
        What was published and what to show.
    arms : sequence of SurvivalArm
        The first one leads; further ones follow below it.
    subjects : DataFrame
        The sheet.
    endpoint : str
        What survives ("Overall survival").
    settings, dataset : mapping
        settings.json of the study; dataset.json beside the sheets.
    """

    name: str
    card: Card
    arms: Sequence[SurvivalArm]
    subjects: "pd.DataFrame"
    endpoint: str = "Survival"
    settings: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether the patients are simulated."""
        return bool(self.dataset.get("simulated"))

    @property
    def event_names(self) -> tuple[str, str]:
        """Words for those with the event and those without."""
        names = {value: name for value, name in self.card.outcome_names}
        return names.get(1.0, "event"), names.get(0.0, "censored")

    def model(self, name: str) -> str:
        """Return a model's name for readers; a nomogram without a Rad-score is not called one."""
        features = [arm.rad_score["features"] for arm in self.arms if "features" in arm.rad_score]
        if name == "combined" and features and not any(features):
            return "Clinical terms of the nomogram"
        return self.card.models.get(name) or MODEL_NAMES.get(name) or name.replace("_", " ")

    def variable(self, name: str, level: str = "") -> str:
        """Return a variable, and a level of it, for readers."""
        labels = {v.column: v.label for v in self.card.patients}
        text = labels.get(name) or MODEL_NAMES.get(name) or name.replace("_", " ").capitalize()
        return f"{text}: {self.card.levels.get(level, level)}" if level else text

    def term(self, name: str) -> str:
        """Return a column of a model (``stage=III``) for readers."""
        variable, _, level = name.partition("=")
        return self.variable(variable, level)


def split_name(split: str) -> str:
    """Return a split in words."""
    return SPLIT_NAMES.get(split, split)


def missing(title: str, *names: str) -> Section:
    """Return a section that says which table it would need."""
    files = " and ".join(f"{name}.tsv" for name in names)
    return Section(title, f"Not shown: {files} is missing or has no row.")

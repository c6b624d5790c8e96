"""The rows of a split as its tables need them: outcome, variables, and what each model says."""

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.resampling import bootstrap_rows
from pipeline.model.survival.chain import MODELS, CoxModel, SurvivalModel
from pipeline.model.survival.design import SurvivalDesign
from pipeline.model.survival.outcome import Outcome

logger = logging.getLogger(__name__)

Found = TypeVar("Found")
Given = ParamSpec("Given")

#: The risk group as a variable of the Cox tables.
GROUP = "risk_group"


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of one split: their outcome, predictions and variables of the Cox tables."""

    split: str
    outcome: Outcome
    predictions: pd.DataFrame
    frame: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows of one split that one model could score, with the resamples that all models share.

    Attributes
    ----------
    risk : (n,) float array
        Log hazards.
    rows : (draws, n) int array
        Bootstrap resamples: equal for models that score the same subjects.
    """

    split: str
    model: str
    cox: CoxModel
    outcome: Outcome
    risk: Float
    subjects: tuple[str, ...]
    rows: Int

    def survival(self, months: float) -> Float:
        """Return the predicted survival probabilities at a time, (n,)."""
        return self.cox.survival(self.risk, months)

    def survival_at(self, months: Float) -> Float:
        """Return the predicted survival probabilities at times (t,), as (n, t)."""
        return np.column_stack([self.survival(float(t)) for t in months])

    def event_times(self, last: float) -> Float:
        """Return the distinct event times up to `last`."""
        times = np.unique(self.outcome.months[self.outcome.event])
        return times[times <= last]

    def keep(self, subjects: Collection[str]) -> "Scored":
        """Return the rows of some subjects, with resamples of their own."""
        kept = np.array([name in subjects for name in self.subjects])
        if kept.all():
            return self
        draws = len(self.rows)
        return Scored(
            self.split,
            self.model,
            self.cox,
            self.outcome.take(kept),
            self.risk[kept],
            tuple(name for name in self.subjects if name in subjects),
            bootstrap_rows(int(kept.sum()), draws, draws),
        )


def parts_of(design: SurvivalDesign, predictions: pd.DataFrame) -> Iterator[Part]:
    """Yield the development rows, then the test rows when there are any."""
    for split, rows in (("development", design.development), ("test", ~design.development)):
        if not rows.any():
            continue
        found = predictions.loc[rows].reset_index(drop=True)
        frame = design.covariates.loc[rows].assign(**{GROUP: found["risk_group"].to_numpy()})
        yield Part(split, design.outcome.take(rows), found, frame)


def scored_by(part: Part, model: SurvivalModel, draws: int, seed: int) -> Iterator[Scored]:
    """Yield what each model says of a split; too few rows or no event are told and left out."""
    if not part.outcome.event.any():
        logger.warning("%s: no event, so nothing can be validated there", part.split)
        return
    for name in MODELS:
        if name not in model.models:
            continue
        risk = part.predictions[f"lp_{name}"].to_numpy(dtype=np.float64)
        known: Bool = np.isfinite(risk)
        if known.sum() < 2 or not part.outcome.event[known].any():
            logger.warning("%s: too few complete rows for the model %s", part.split, name)
            continue
        yield Scored(
            part.split,
            name,
            model.models[name],
            part.outcome.take(known),
            risk[known],
            tuple(part.predictions.loc[known, "subject"]),
            bootstrap_rows(int(known.sum()), draws, seed),
        )


def attempt(
    what: str, function: Callable[Given, Found], *given: Given.args, **named: Given.kwargs
) -> Found | None:
    """Return what a function gives, or None and a warning when the rows do not allow it."""
    try:
        return function(*given, **named)
    except ModelError as error:
        logger.warning("%s: left out: %s", what, error)
        return None


def stack(tables: Any) -> pd.DataFrame:
    """Return tables one below the other, without the missing and the empty ones."""
    found = [table for table in tables if table is not None and len(table)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()

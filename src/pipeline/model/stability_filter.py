"""Leave unstable features out before selection: by a finished table, or by repeats in the fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pipeline.errors import CohortError, ModelError
from pipeline.model.arrays import Bool
from pipeline.radiomics.stability.icc import Model, icc
from pipeline.radiomics.stability.repeats import Repeats, collect_repeats
from pipeline.radiomics.stability.table import KEPT, STABLE


class StabilityFilter(Protocol):
    """Says which features may be selected by a model that these training subjects teach."""

    def keep(self, features: Sequence[str], subjects: Sequence[str]) -> Bool:
        """Return (p,) which features to keep, given the training subjects."""

    def describe(self) -> dict[str, Any]:
        """Return JSON types for the record of the model."""


@dataclass(frozen=True, eq=False)
class TableFilter:
    """Verdicts that are known beforehand, best from subjects that are no part of the study.

    Attributes
    ----------
    stable : mapping of str to bool
        Feature to verdict. ``set.feature`` of a model is also found as ``feature``.
    """

    stable: Mapping[str, bool]

    def keep(self, features: Sequence[str], subjects: Sequence[str]) -> Bool:
        """Return which features are stable; the training subjects do not matter."""
        names = _resolved(features, self.stable, "the stability table")
        return np.array([self.stable[name] for name in names], dtype=bool)

    def describe(self) -> dict[str, Any]:
        """Return what the filter is."""
        return {"by": "table", "stable": sum(self.stable.values()), "of": len(self.stable)}


@dataclass(frozen=True, eq=False)
class RepeatsFilter:
    """Verdicts from the repeated measurements of the training subjects alone.

    Attributes
    ----------
    repeats : Repeats
        Perturbations, scans or raters, of subjects of the study.
    model, unbalanced
        See `pipeline.radiomics.stability.icc.icc`.
    threshold : float
        Lower limit of the 95 % interval from which on a feature is kept.
    min_subjects : int
        Fewer training subjects with repeats are an error.
    """

    repeats: Repeats
    model: Model = "1,1"
    unbalanced: bool = False
    threshold: float = STABLE
    min_subjects: int = 5
    _places: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the features."""
        places = {name: at for at, name in enumerate(self.repeats.features)}
        object.__setattr__(self, "_places", places)

    def keep(self, features: Sequence[str], subjects: Sequence[str]) -> Bool:
        """Return which features are stable in the training subjects; a subject counts once."""
        names = _resolved(features, self._places, "the repeated measurements")
        training = set(map(str, subjects))
        rows = np.array([name in training for name in self.repeats.subjects], dtype=bool)
        found = {name for name in self.repeats.subjects if name in training}
        if len(found) < self.min_subjects:
            raise ModelError(
                f"{len(found)} of {len(training)} training subjects have repeated measurements;"
                f" at least {self.min_subjects} are needed to tell which features are stable:"
                " measure more, or give a stability table that was made elsewhere"
            )
        columns = [self._places[name] for name in names]
        values = self.repeats.values[rows][:, :, columns]
        low = icc(values, model=self.model, unbalanced=self.unbalanced).low
        with np.errstate(invalid="ignore"):
            return np.asarray(low >= self.threshold)

    def describe(self) -> dict[str, Any]:
        """Return what the filter is."""
        return {
            "by": "repeats of the training subjects",
            "icc": self.model,
            "threshold": self.threshold,
            "subjects": len(set(self.repeats.subjects)),
            "repeats": len(self.repeats.repeats),
        }


def stable_columns(
    chosen: StabilityFilter | None, features: Sequence[str], subjects: Sequence[str]
) -> Bool:
    """Return which features to keep, all of them without a filter.

    Raises
    ------
    ModelError
        A feature that the filter has not seen, or none that is stable.
    """
    if chosen is None:
        return np.ones(len(features), dtype=bool)
    kept = chosen.keep(features, subjects)
    if not kept.any():
        raise ModelError(
            f"none of {len(features)} features is stable in {len(set(subjects))} training subjects;"
            " look at the stability table, lower the threshold or measure more subjects"
        )
    return kept


def _resolved(features: Sequence[str], known: Mapping[str, Any], what: str) -> list[str]:
    """Return the names under which the features are known: as they are, or without their set."""
    names = [name if name in known else name.partition(".")[2] for name in features]
    absent = [f for f, name in zip(features, names, strict=True) if name not in known]
    if absent:
        shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        raise ModelError(
            f"{what}: {len(absent)} of {len(features)} features are not there ({shown}); a feature"
            " whose stability nobody measured is not taken for stable: measure it or leave it out"
        )
    return names


def stability_filter(
    table: pd.DataFrame,
    *,
    repeat_column: str | None = None,
    model: Model = "1,1",
    threshold: float = STABLE,
    unbalanced: bool = False,
    source: str = "the stability table",
) -> StabilityFilter:
    """Return the filter that a table stands for.

    Parameters
    ----------
    table : DataFrame
        Without `repeat_column` a stability table (``feature, verdict``): those that are "high" or
        "stable" are kept. With it, the repeated measurements themselves, of one session,
        contrast and kind.
    repeat_column, model, threshold, unbalanced
        See `collect_repeats` and `RepeatsFilter`; without `repeat_column` they are not used.
    source : str
        What messages call the table.

    Raises
    ------
    CohortError
        A column is missing, a feature stands twice, or the measurements are of several images.
    """
    if repeat_column is not None:
        groups = collect_repeats(table, repeat_column, source=source)
        if len(groups) > 1:
            found = "; ".join(" ".join(map(" ".join, group.condition)) for group in groups)
            raise CohortError([f"{source}: measurements of several images ({found}); keep one"])
        return RepeatsFilter(groups[0], model, unbalanced, threshold)
    for name in ("feature", "verdict"):
        if name not in table.columns:
            raise CohortError(
                [
                    f"{source}: column {name} is missing; give a table of `medpipe stability icc`,"
                    " or name the column of the repeats"
                ]
            )
    names = table["feature"].astype(str)
    if names.duplicated().any():
        twice = names[names.duplicated()].iloc[0]
        raise CohortError([f"{source}: feature {twice} stands twice; keep one image's features"])
    return TableFilter(dict(zip(names, table["verdict"].isin(KEPT), strict=True)))

"""Frozen models of a binary study: a logistic model with its terms, trees with their levels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Float
from pipeline.model.boosting import FrozenBoosting
from pipeline.model.explain import Shap, pool_columns, shap_contributions
from pipeline.model.logistic import LogisticFit
from pipeline.model.terms import Term, complete_rows, design_matrix, level_names

SCHEMA = 1

#: The models, in the order of every table; the others are compared with the first.
MODELS = ("reference", "logistic", "xgboost")


@dataclass(frozen=True, eq=False)
class FrozenLogistic:
    """A logistic model with its terms: levels, knots, coefficients."""

    terms: tuple[Term, ...]
    fit: LogisticFit

    def probability(self, frame: pd.DataFrame, *, source: str = "the subjects sheet") -> Float:
        """Return P(outcome = 1) of rows (n,); NaN where a covariate is missing."""
        found = np.full(len(frame), np.nan)
        whole = complete_rows(frame, [term.name for term in self.terms], source=source)
        if whole.any():
            matrix, _ = design_matrix(frame[whole], self.terms, source=source)
            found[whole] = self.fit.probability(matrix)
        return found

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types."""
        return {
            "schema": SCHEMA,
            "kind": "logistic_terms",
            "terms": [term.to_record() for term in self.terms],
            "fit": self.fit.to_record(),
        }


@dataclass(frozen=True, eq=False)
class FrozenTrees:
    """Boosted trees with the levels of their one-hot columns; missing values are let through.

    Attributes
    ----------
    numeric : tuple of str
        Columns read as numbers.
    levels : mapping
        Categorical column to its levels, each a 0/1 column.
    boosting : FrozenBoosting
        The trees.
    """

    numeric: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    boosting: FrozenBoosting

    def columns(
        self, frame: pd.DataFrame, *, source: str = "the subjects sheet"
    ) -> tuple[Float, Float]:
        """Return numbers (n, p) and one-hot columns (n, e) of rows; NaN where missing."""
        return tree_columns(frame, self.numeric, self.levels, source=source)

    def probability(self, frame: pd.DataFrame, *, source: str = "the subjects sheet") -> Float:
        """Return P(outcome = 1) of rows (n,)."""
        return self.boosting.scores(*self.columns(frame, source=source))

    def shap(self, frame: pd.DataFrame, *, source: str = "the subjects sheet") -> Shap:
        """Return the contribution of each covariate, the one-hot columns of one summed."""
        groups = {name: one_hot_names(name, levels) for name, levels in self.levels.items()}
        parts = shap_contributions(self.boosting, *self.columns(frame, source=source))
        return pool_columns(parts, groups)

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types."""
        return {
            "schema": SCHEMA,
            "kind": "boosted_terms",
            "numeric": list(self.numeric),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "model": self.boosting.to_record(),
        }


FrozenModel = FrozenLogistic | FrozenTrees


def model_from_record(record: Mapping[str, Any]) -> FrozenModel:
    """Return a model of a JSON record.

    Raises
    ------
    ModelError
        If the record is none of these models, of another schema, or incomplete.
    """
    kind, schema = record.get("kind"), record.get("schema")
    if kind not in ("logistic_terms", "boosted_terms") or schema != SCHEMA:
        raise ModelError(
            f"kind {kind!r}, schema {schema!r}: this is no model of a binary study of schema"
            f" {SCHEMA}; make it again with `medpipe binary fit`"
        )
    try:
        if kind == "logistic_terms":
            terms = tuple(Term.from_record(term) for term in record["terms"])
            return FrozenLogistic(terms, LogisticFit.from_record(record["fit"]))
        levels = {str(name): tuple(found) for name, found in record["levels"].items()}
        return FrozenTrees(
            tuple(record["numeric"]), levels, FrozenBoosting.from_record(record["model"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the {kind} model is incomplete ({error}); make it again with `medpipe binary fit`"
        ) from error


def tree_columns(
    frame: pd.DataFrame,
    numeric: Sequence[str],
    levels: Mapping[str, Sequence[str]],
    *,
    source: str = "the subjects sheet",
) -> tuple[Float, Float]:
    """Return numbers (n, p) and a 0/1 column per level (n, e); NaN where missing.

    Raises
    ------
    ModelError
        A category that the development rows do not have; names column and subject.
    """
    values = np.column_stack(
        [np.empty((len(frame), 0)), *(frame[n].to_numpy(dtype=np.float64) for n in numeric)]
    )
    blocks = [np.empty((len(frame), 0))]
    for name, known in levels.items():
        missing = ~complete_rows(frame, [name], source=source)
        cells = level_names(frame[name])
        for subject, cell, empty in zip(frame.index, cells, missing, strict=True):
            if not empty and cell not in known:
                raise ModelError(
                    f"{source}: column {name}, subject {subject}: {cell!r} is a category seen only"
                    f" in validation; development has {', '.join(known)}. Merge the category with"
                    " one of these, or leave the subject out"
                )
        block = np.array([[float(cell == level) for level in known] for cell in cells])
        block = block.reshape(len(frame), len(known))
        block[missing] = np.nan
        blocks.append(block)
    return values, np.hstack(blocks)


def one_hot_names(name: str, levels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the 0/1 columns of a category: ``subtype=basal``."""
    return tuple(f"{name}={level}" for level in levels)

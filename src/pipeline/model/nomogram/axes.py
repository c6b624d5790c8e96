"""The axes of a nomogram, as a table of ticks and as a record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import as_floats
from pipeline.model.nomogram.model import NomogramModel, Probability
from pipeline.model.terms import Term

SCHEMA = 1


@dataclass(frozen=True)
class VariableAxis:
    """The axis of a variable.

    Attributes
    ----------
    term : Term
        The variable.
    values : tuple of float or of str
        Ticks: values in the unit of the variable, or levels.
    linear : tuple of float
        Contribution of each tick to the linear predictor.
    points : tuple of float
        Points of each tick; 0 is the least contribution of any tick.
    """

    term: Term
    values: tuple[float, ...] | tuple[str, ...]
    linear: tuple[float, ...]
    points: tuple[float, ...]


@dataclass(frozen=True)
class ProbabilityAxis:
    """A probability axis.

    Attributes
    ----------
    horizon : float
        Months; 0 for a logistic model.
    values : tuple of float
        Probabilities at the ticks.
    total_points : tuple of float
        Where they lie.
    """

    horizon: float
    values: tuple[float, ...]
    total_points: tuple[float, ...]


@dataclass(frozen=True)
class Nomogram:
    """The axes of a nomogram.

    Attributes
    ----------
    model : NomogramModel
        What it shows.
    score : float
        Points that the widest variable spans.
    probability : {"survival", "event"}
        What the probability axes of a Cox model show.
    points_per_unit : float
        Points per unit of linear predictor.
    origin : float
        Linear predictor at 0 total points.
    variables : tuple of VariableAxis
        In the order of the terms.
    total_points : tuple of float
        Ticks of the total points.
    linear_values, linear_points : tuples of float
        Ticks of the linear predictor, and the total points where they lie.
    probabilities : tuple of ProbabilityAxis
        One per horizon.
    """

    model: NomogramModel
    score: float
    probability: Probability
    points_per_unit: float
    origin: float
    variables: tuple[VariableAxis, ...]
    total_points: tuple[float, ...]
    linear_values: tuple[float, ...]
    linear_points: tuple[float, ...]
    probabilities: tuple[ProbabilityAxis, ...]

    def table(self) -> pd.DataFrame:
        """Return every tick in rows.

        Columns: axis, kind (variable, total_points, linear_predictor, probability), level
        (categorical) or value (number), points (variables), total_points (the others),
        horizon_months and probability.
        """
        rows: list[dict[str, Any]] = []
        for axis in self.variables:
            key = "level" if axis.term.kind == "categorical" else "value"
            for value, points in zip(axis.values, axis.points, strict=True):
                rows.append(
                    {"axis": axis.term.name, "kind": "variable", key: value, "points": points}
                )
        for total in self.total_points:
            rows.append({"axis": "total_points", "kind": "total_points", "total_points": total})
        for value, total in zip(self.linear_values, self.linear_points, strict=True):
            rows.append({"axis": "linear_predictor", "kind": "linear_predictor", "value": value,
                         "total_points": total})  # fmt: skip
        for scale in self.probabilities:
            months = scale.horizon or float("nan")
            name = f"{self.probability}_{scale.horizon:g}m" if scale.horizon else "risk"
            for value, total in zip(scale.values, scale.total_points, strict=True):
                rows.append({"axis": name, "kind": "probability", "total_points": total,
                             "horizon_months": months, "probability": value})  # fmt: skip
        columns = ["axis", "kind", "level", "value", "points", "total_points", "horizon_months",
                   "probability"]  # fmt: skip
        table = pd.DataFrame(rows).reindex(columns=columns)
        return table.astype(dict.fromkeys(columns[3:], float))

    def to_record(self) -> dict[str, Any]:
        """Return the nomogram as JSON types; floats keep every bit."""
        return {
            "schema": SCHEMA,
            "kind": "nomogram",
            "model": self.model.to_record(),
            "score": self.score,
            "probability": self.probability,
            "points_per_unit": self.points_per_unit,
            "origin": self.origin,
            "variables": [
                {"name": a.term.name, "values": list(a.values), "linear": list(a.linear),
                 "points": list(a.points)}
                for a in self.variables
            ],
            "total_points": list(self.total_points),
            "linear_values": list(self.linear_values),
            "linear_points": list(self.linear_points),
            "probabilities": [
                {"months": a.horizon, "values": list(a.values),
                 "total_points": list(a.total_points)}
                for a in self.probabilities
            ],
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Nomogram":
        """Return the nomogram of a JSON record; ModelError when it is none or incomplete."""
        if record.get("kind") != "nomogram" or record.get("schema") != SCHEMA:
            raise ModelError(
                f"kind {record.get('kind')!r}, schema {record.get('schema')!r}: this is no nomogram"
                f" of schema {SCHEMA}; make it again with `medpipe nomogram`"
            )
        try:
            return _from_record(record)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the nomogram is incomplete ({error}); make it again with `medpipe nomogram`"
            ) from error


def _from_record(record: Mapping[str, Any]) -> Nomogram:
    model = NomogramModel.from_record(record["model"])
    axes = []
    for term, axis in zip(model.terms, record["variables"], strict=True):
        named = term.kind == "categorical"
        values = tuple(str(v) for v in axis["values"]) if named else as_floats(axis["values"])
        axes.append(
            VariableAxis(term, values, as_floats(axis["linear"]), as_floats(axis["points"]))
        )
    return Nomogram(
        model=model,
        score=float(record["score"]),
        probability=record["probability"],
        points_per_unit=float(record["points_per_unit"]),
        origin=float(record["origin"]),
        variables=tuple(axes),
        total_points=as_floats(record["total_points"]),
        linear_values=as_floats(record["linear_values"]),
        linear_points=as_floats(record["linear_points"]),
        probabilities=tuple(
            ProbabilityAxis(
                float(a["months"]), as_floats(a["values"]), as_floats(a["total_points"])
            )
            for a in record["probabilities"]
        ),
    )

"""Frozen models: plain numbers in JSON that give the same scores again, and no pickle."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.errors import ModelError
from pipeline.model.arrays import Float
from pipeline.model.scaling import Scaler, standardise
from pipeline.model.svm_grid import squared_distances

#: Raised when the layout of the record changes.
SCHEMA = 1


class Frozen(Protocol):
    """What every frozen model offers."""

    @property
    def features(self) -> tuple[str, ...]:
        """Columns of the feature table that the model reads, in its order."""

    @property
    def extra_names(self) -> tuple[str, ...]:
        """Further columns (one-hot subtype), in its order; may be empty."""

    def scores(self, values: Float, extra: Float) -> Float:
        """Return one score per row (n,); higher means class 1."""

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types."""


@dataclass(frozen=True, eq=False)
class FrozenSvm:
    """A Gaussian support vector machine with its imputation and scaling.

    Attributes
    ----------
    features : tuple of k str
        Image features, best first.
    extra_names : tuple of e str
        Columns appended as they are.
    scaler : Scaler
        Medians, means and standard deviations (k,) of the development rows.
    support : (s, k + e) float array
        Standardised support vectors.
    dual : (s,) float array
        Their coefficients.
    intercept, gamma, cost : float
        ``score = sum dual exp(-gamma |x - support|^2) + intercept``.
    """

    features: tuple[str, ...]
    extra_names: tuple[str, ...]
    scaler: Scaler
    support: Float
    dual: Float
    intercept: float
    gamma: float
    cost: float

    def scores(self, values: Float, extra: Float) -> Float:
        """Return decision values (n,) of rows: features (n, k) as measured, extra (n, e)."""
        rows = np.hstack([standardise(self.scaler, values), extra])
        kernel = np.exp(-self.gamma * squared_distances(rows, self.support))
        return np.asarray((kernel * self.dual).sum(axis=1) + self.intercept)

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types; floats keep every bit."""
        return {
            "schema": SCHEMA,
            "kind": "svm",
            "kernel": "rbf",
            "features": list(self.features),
            "extra_names": list(self.extra_names),
            "median": self.scaler.median.tolist(),
            "mean": self.scaler.mean.tolist(),
            "sd": self.scaler.sd.tolist(),
            "support_vectors": self.support.tolist(),
            "dual_coefficients": self.dual.tolist(),
            "intercept": self.intercept,
            "gamma": self.gamma,
            "cost": self.cost,
        }


def from_record(record: Mapping[str, Any]) -> Frozen:
    """Return the model of a JSON record.

    Raises
    ------
    ModelError
        If the record is no model, of another schema, or lacks a field.
    """
    kind, schema = record.get("kind"), record.get("schema")
    if kind not in ("svm", "xgboost") or schema != SCHEMA:
        raise ModelError(
            f"kind {kind!r}, schema {schema!r}: this version reads svm and xgboost models of "
            f"schema {SCHEMA}; make the file again with `medpipe model fit`"
        )
    try:
        if kind == "svm":
            return _svm(record)
        from pipeline.model.boosting import FrozenBoosting

        return FrozenBoosting.from_record(record)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the {kind} model is incomplete ({error}); make it again with `medpipe model fit`"
        ) from error


def _svm(record: Mapping[str, Any]) -> FrozenSvm:
    def array(name: str) -> Float:
        return np.array(record[name], dtype=np.float64)

    model = FrozenSvm(
        features=tuple(record["features"]),
        extra_names=tuple(record["extra_names"]),
        scaler=Scaler(array("median"), array("mean"), array("sd")),
        support=array("support_vectors"),
        dual=array("dual_coefficients"),
        intercept=float(record["intercept"]),
        gamma=float(record["gamma"]),
        cost=float(record["cost"]),
    )
    width = len(model.features)
    if {model.scaler.median.shape, model.scaler.mean.shape, model.scaler.sd.shape} != {(width,)}:
        raise ValueError(f"{width} features but other numbers of medians, means or sds")
    if model.support.shape != (model.dual.size, width + len(model.extra_names)):
        raise ValueError(f"support vectors have shape {model.support.shape}")
    return model

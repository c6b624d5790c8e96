"""The Rad-score: a LASSO-Cox signature, frozen as JSON."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float
from pipeline.model.scaling import Scaler, fit_scaler, standardise

logger = logging.getLogger(__name__)

#: Layout of the record; raised when its meaning changes.
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class RadScore:
    """A linear predictor on z-scored features, frozen.

    Attributes
    ----------
    features : tuple of k str
        Selected features; none for an empty score, which is 0 everywhere.
    scaler : Scaler
        Median (for missing values), mean and population standard deviation of the development
        rows, for these features.
    coefficients : (k,) float array
        Log hazard ratio per standard deviation.
    penalty : float
        lambda at which they were selected.
    cutoff : float, optional
        Scores at or above it are high risk.
    details : mapping
        JSON values that tell how the score was made; not used in scoring.
    """

    features: tuple[str, ...]
    scaler: Scaler
    coefficients: Float
    penalty: float
    cutoff: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def score(
        self,
        values: Float,
        features: Sequence[str] | None = None,
        *,
        scaling: Literal["development", "per_cohort"] = "development",
    ) -> Float:
        """Return the Rad-score of rows: sum of coefficient times z-score, no intercept.

        Parameters
        ----------
        values : (n, p) float array
            Raw features. A missing value takes the median of the development rows.
        features : sequence of p str, optional
            Names of the columns; without them the columns are those of the score, in its order.
        scaling : {"development", "per_cohort"}
            Statistics of the development rows, or of the rows given. The second is what the
            colorectal paper says it did; it makes a patient's score depend on the others.

        Returns
        -------
        (n,) float array

        Raises
        ------
        ModelError
            A feature of the score that is missing from the columns.
        """
        chosen = self._choose(np.asarray(values, dtype=np.float64), features)
        scaler = fit_scaler(chosen) if scaling == "per_cohort" else self.scaler
        # summed row by row: a matrix product rounds by the number and layout of the rows
        terms = np.ascontiguousarray(standardise(scaler, chosen) * self.coefficients)
        return np.asarray(terms.sum(axis=1))

    def risk_group(self, score: npt.ArrayLike) -> Bool:
        """Return True for high risk: a score at or above the cut-off.

        A score equal to the cut-off is high risk, and is logged.
        """
        if self.cutoff is None:
            raise ModelError(
                "the Rad-score has no cut-off yet, so there are no risk groups; find one on the"
                " development rows and add it (with_cutoff)"
            )
        scores = np.asarray(score, dtype=np.float64)
        ties = int((scores == self.cutoff).sum())
        if ties:
            logger.info("%d scores equal the cut-off %.6g: high risk", ties, self.cutoff)
        return np.asarray(scores >= self.cutoff)

    def with_cutoff(self, cutoff: float) -> "RadScore":
        """Return the same score with a cut-off."""
        if not np.isfinite(cutoff):
            raise ModelError(f"cut-off {cutoff} is not a finite number")
        return replace(self, cutoff=float(cutoff))

    def to_record(self) -> dict[str, Any]:
        """Return the score as JSON values."""
        columns = {
            "median": self.scaler.median,
            "mean": self.scaler.mean,
            "sd": self.scaler.sd,
            "coefficient": self.coefficients,
        }
        lists = {name: column.tolist() for name, column in columns.items()}
        return {
            "kind": "rad_score",
            "schema": SCHEMA,
            "features": [
                {"name": name} | {key: lists[key][row] for key in lists}
                for row, name in enumerate(self.features)
            ],
            "lambda": float(self.penalty),
            "cutoff": self.cutoff,
            "details": dict(self.details),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "RadScore":
        """Return the score of a record.

        Raises
        ------
        ModelError
            If the record is of another kind or layout, or a part is missing or not a number.
        """
        if record.get("kind") != "rad_score" or record.get("schema") != SCHEMA:
            raise ModelError(
                f"this is no Rad-score of layout {SCHEMA} but kind {record.get('kind')!r}, schema"
                f" {record.get('schema')!r}; write it again with this version"
            )
        rows = _part(record, "features", "the record")
        names = tuple(str(_part(row, "name", "a feature")) for row in rows)
        columns = {
            key: np.array(
                [
                    _number(row, key, f"feature {name}")
                    for row, name in zip(rows, names, strict=True)
                ],
                dtype=np.float64,
            )
            for key in ("median", "mean", "sd", "coefficient")
        }
        cutoff = _part(record, "cutoff", "the record")
        return cls(
            features=names,
            scaler=Scaler(columns["median"], columns["mean"], columns["sd"]),
            coefficients=columns["coefficient"],
            penalty=_number(record, "lambda", "the record"),
            cutoff=None if cutoff is None else _number(record, "cutoff", "the record"),
            details=dict(_part(record, "details", "the record")),
        )

    def _choose(self, values: Float, features: Sequence[str] | None) -> Float:
        if features is None:
            if values.ndim != 2 or values.shape[1] != len(self.features):
                raise ModelError(
                    f"values of shape {values.shape} do not hold the {len(self.features)} features"
                    " of the Rad-score; name the columns, or give these features in this order"
                )
            return values
        place = {name: column for column, name in enumerate(features)}
        missing = [name for name in self.features if name not in place]
        if missing:
            raise ModelError(
                f"the feature table lacks {len(missing)} columns of the Rad-score, the first being"
                f" {missing[0]}; extract the features with the settings of the development set"
            )
        return values[:, [place[name] for name in self.features]]


def _part(record: Any, key: str, where: str) -> Any:
    if not isinstance(record, Mapping) or key not in record:
        raise ModelError(f"Rad-score: {where} lacks {key!r}; the file is incomplete, write it anew")
    return record[key]


def _number(record: Any, key: str, where: str) -> float:
    value = _part(record, key, where)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ModelError(f"Rad-score: {key!r} of {where} is {value!r}, not a finite number")
    return float(value)

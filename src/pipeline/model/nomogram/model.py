"""What a nomogram needs of a fitted model, whichever way it was fitted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, as_floats
from pipeline.model.terms import Term

ModelKind = Literal["cox", "logistic"]
Probability = Literal["survival", "event"]


@dataclass(frozen=True)
class Uncertainty:
    """Variance of the linear predictor: ``variance + (x - centre) V (x - centre)``.

    For Cox models "linear predictor" is the log cumulative hazard at the horizon, so that the
    variance includes that of the baseline.

    Attributes
    ----------
    variance : float
        Least variance, at `centre`.
    centre : tuple of k float
        Columns at which the prediction is surest.
    covariance : tuple of k tuples of k float
        V, the covariance of the coefficients.
    """

    variance: float
    centre: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def standard_error(self, matrix: npt.ArrayLike) -> Float:
        """Return standard errors (n,) of rows (n, k)."""
        away = np.atleast_2d(np.asarray(matrix, dtype=np.float64)) - np.array(self.centre)
        spread = np.einsum("ij,jk,ik->i", away, np.array(self.covariance), away)
        return np.asarray(np.sqrt(self.variance + spread))


@dataclass(frozen=True)
class NomogramModel:
    """What a nomogram needs of a fitted model.

    Attributes
    ----------
    kind : {"cox", "logistic"}
        ``S(t | x) = S0(t) ** exp(lp)`` or ``P = 1 / (1 + exp(-lp))``.
    terms : tuple of Term
        The variables, in the order of the coefficients.
    coefficients : tuple of k float
        Per column of the terms.
    intercept : float
        ``lp = intercept + x beta``; for Cox -centre beta.
    baseline : mapping of months to S0
        Cox: survival at lp = 0 for each horizon. Empty for logistic.
    outcome : str
        What the probability is of, for readers ("disease-free survival", "response").
    lp_low, lp_high : float
        Ends of the linear predictors of the development rows; NaN when unknown, the axes then
        run from the least to the largest sum of points.
    uncertainty : mapping of months to Uncertainty
        For intervals; the key of a logistic model is 0. Empty when unknown.
    n, events : int
        Development rows, and events among them; 0 when unknown.
    """

    kind: ModelKind
    terms: tuple[Term, ...]
    coefficients: tuple[float, ...]
    intercept: float
    baseline: Mapping[float, float] = field(default_factory=dict)
    outcome: str = ""
    lp_low: float = float("nan")
    lp_high: float = float("nan")
    uncertainty: Mapping[float, Uncertainty] = field(default_factory=dict)
    n: int = 0
    events: int = 0

    def __post_init__(self) -> None:
        width = sum(len(term.columns) for term in self.terms)
        if width != len(self.coefficients):
            raise ModelError(f"{len(self.coefficients)} coefficients for {width} columns of terms")
        for months, value in self.baseline.items():
            if not 0 < value < 1:
                raise ModelError(
                    f"the baseline survival at {months:g} months is {value:g}; a nomogram needs a"
                    " horizon after the first event and within the follow-up"
                )
        if (self.kind == "cox") != bool(self.baseline):
            raise ModelError("a Cox nomogram needs at least one horizon; a logistic one has none")

    @property
    def horizons(self) -> tuple[float, ...]:
        """Horizons in months, increasing; (0.0,) for a logistic model."""
        return tuple(sorted(self.baseline)) if self.kind == "cox" else (0.0,)

    def parts(self) -> list[Float]:
        """Return the coefficients of each term."""
        widths = np.cumsum([len(term.columns) for term in self.terms])[:-1]
        return list(np.split(np.array(self.coefficients, dtype=np.float64), widths))

    def linear_predictor(self, matrix: npt.ArrayLike) -> Float:
        """Return lp (n,) of rows (n, k)."""
        columns = np.asarray(matrix, dtype=np.float64)
        return np.asarray(columns @ np.array(self.coefficients) + self.intercept)

    def probability(
        self, lp: npt.ArrayLike, horizon: float | None = None, kind: Probability = "survival"
    ) -> Float:
        """Return the probability at linear predictors: risk, or survival to a horizon."""
        values = np.asarray(lp, dtype=np.float64)
        if self.kind == "logistic":
            return np.asarray(expit(values))
        log_survival = np.log(self.baseline[self.check_horizon(horizon)]) * np.exp(values)
        return np.asarray(np.exp(log_survival) if kind == "survival" else -np.expm1(log_survival))

    def check_horizon(self, horizon: float | None) -> float:
        """Return the horizon in months; ModelError when the model has none such."""
        if horizon is None and len(self.horizons) == 1:
            return self.horizons[0]
        if horizon not in self.horizons:
            raise ModelError(
                f"horizon {horizon}: the nomogram has {', '.join(f'{h:g}' for h in self.horizons)}"
                " months"
            )
        return float(horizon)

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types; floats keep every bit."""
        return {
            "kind": self.kind,
            "terms": [term.to_record() for term in self.terms],
            "columns": [name for term in self.terms for name in term.columns],
            "coefficients": list(self.coefficients),
            "intercept": self.intercept,
            "baseline": [{"months": h, "survival": s} for h, s in sorted(self.baseline.items())],
            "outcome": self.outcome,
            "lp_low": _or_none(self.lp_low),
            "lp_high": _or_none(self.lp_high),
            "uncertainty": [
                {"months": h, "variance": u.variance, "centre": list(u.centre),
                 "covariance": [list(row) for row in u.covariance]}
                for h, u in sorted(self.uncertainty.items())
            ],
            "n": self.n,
            "events": self.events,
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "NomogramModel":
        """Return the model of a JSON record."""
        return cls(
            kind=record["kind"],
            terms=tuple(Term.from_record(term) for term in record["terms"]),
            coefficients=as_floats(record["coefficients"]),
            intercept=float(record["intercept"]),
            baseline={float(b["months"]): float(b["survival"]) for b in record["baseline"]},
            outcome=str(record["outcome"]),
            lp_low=_or_nan(record["lp_low"]),
            lp_high=_or_nan(record["lp_high"]),
            uncertainty={
                float(u["months"]): Uncertainty(
                    float(u["variance"]),
                    as_floats(u["centre"]),
                    tuple(as_floats(row) for row in u["covariance"]),
                )
                for u in record["uncertainty"]
            },
            n=int(record["n"]),
            events=int(record["events"]),
        )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)

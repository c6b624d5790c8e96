"""Nomograms of Cox and logistic models: points, total points and probabilities.

The axes are those of ``rms::nomogram`` (R), tick by tick: the widest variable spans the full
score, total points run in round steps, and each probability axis maps total points back to the
probability of the model. A reader adds the points of the variables and reads the sum.
"""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, ndtri

from pipeline.errors import ModelError
from pipeline.model.arrays import Float
from pipeline.model.logistic import LogisticFit
from pipeline.model.survival.cox import CoxFit
from pipeline.model.survival.outcome import Outcome
from pipeline.model.terms import Term, design_matrix, level_names

logger = logging.getLogger(__name__)

SCHEMA = 1

#: A bend between two ticks of a spline's axis is told from this many points on.
_BEND = 1.0

#: Steps that an axis is cut into, about; ``nint`` of rms.
_STEPS = 10
#: Points of the line on which rms inverts a probability to a linear predictor.
_INVERSE_POINTS = 1000

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
            coefficients=_floats(record["coefficients"]),
            intercept=float(record["intercept"]),
            baseline={float(b["months"]): float(b["survival"]) for b in record["baseline"]},
            outcome=str(record["outcome"]),
            lp_low=_or_nan(record["lp_low"]),
            lp_high=_or_nan(record["lp_high"]),
            uncertainty={
                float(u["months"]): Uncertainty(
                    float(u["variance"]),
                    _floats(u["centre"]),
                    tuple(_floats(row) for row in u["covariance"]),
                )
                for u in record["uncertainty"]
            },
            n=int(record["n"]),
            events=int(record["events"]),
        )


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


def nomogram_model_of_cox(
    fit: CoxFit,
    terms: Sequence[Term],
    horizons: Sequence[float],
    *,
    matrix: npt.ArrayLike | None = None,
    outcome: Outcome | None = None,
    title: str = "survival",
) -> NomogramModel:
    """Return what a nomogram needs of a Cox model.

    Parameters
    ----------
    fit : CoxFit
        The model, whose columns are those of `terms`.
    terms : sequence of Term
        Its variables.
    horizons : sequence of float
        Months at which survival is read.
    matrix : (n, k) float array, optional
        Development rows: their linear predictors set the ends of the axes, as in rms.
    outcome : Outcome, optional
        Their times and events; with `matrix` they give the interval of each prediction.
    title : str
        What the probability is of ("disease-free survival").
    """
    _check_names(fit.names, terms)
    months = [float(h) for h in horizons]
    if outcome is not None and months and max(months) > outcome.months.max():
        raise ModelError(
            f"horizon {max(months):g} months: the longest follow-up is"
            f" {outcome.months.max():g} months; choose an earlier horizon"
        )
    uncertainty = {}
    if matrix is not None and outcome is not None:
        rows = np.asarray(matrix, dtype=np.float64)
        uncertainty = {h: _cox_uncertainty(fit, rows, outcome, h) for h in months}
    low, high = _range_of(None if matrix is None else fit.linear_predictor(np.asarray(matrix)))
    at_centre = fit.centre[np.newaxis, :]
    return NomogramModel(
        kind="cox",
        terms=tuple(terms),
        coefficients=_floats(fit.coefficients),
        intercept=-float(fit.centre @ fit.coefficients),
        baseline={h: float(fit.survival(at_centre, np.array([h]))[0, 0]) for h in months},
        outcome=title,
        lp_low=low,
        lp_high=high,
        uncertainty=uncertainty,
        n=fit.n,
        events=fit.events,
    )


def nomogram_model_of_logistic(
    fit: LogisticFit,
    terms: Sequence[Term],
    *,
    matrix: npt.ArrayLike | None = None,
    title: str = "response",
) -> NomogramModel:
    """Return what a nomogram needs of a logistic model.

    Parameters
    ----------
    fit : LogisticFit
        The model, whose columns are those of `terms`.
    terms : sequence of Term
        Its variables.
    matrix : (n, k) float array, optional
        Development rows: their linear predictors set the ends of the axes, as in rms.
    title : str
        What the probability is of.
    """
    _check_names(fit.names, terms)
    low, high = _range_of(None if matrix is None else fit.linear_predictor(matrix))
    inner, cross = fit.covariance[1:, 1:], fit.covariance[1:, 0]
    # complete the square in (1, x) V (1, x)
    centre = -np.linalg.solve(inner, cross)
    return NomogramModel(
        kind="logistic",
        terms=tuple(terms),
        coefficients=_floats(fit.coefficients),
        intercept=fit.intercept,
        outcome=title,
        lp_low=low,
        lp_high=high,
        uncertainty={
            0.0: Uncertainty(
                float(fit.covariance[0, 0] + cross @ centre),
                _floats(centre),
                tuple(_floats(row) for row in inner),
            )
        },
        n=fit.n,
        events=fit.events,
    )


def build_nomogram(
    model: NomogramModel,
    *,
    ranges: Mapping[str, Sequence[float]] | None = None,
    score: float = 100.0,
    probability: Probability = "survival",
    probability_at: Sequence[float] | None = None,
    linear_at: Sequence[float] | None = None,
) -> Nomogram:
    """Return the axes of a nomogram, equal to those of ``rms::nomogram``.

    Parameters
    ----------
    model : NomogramModel
        The model.
    ranges : mapping of variable to numbers, optional
        Two numbers: ends of the axis, whose ticks are round numbers. More: the ticks. Default:
        round numbers over the range in development, or every value when there are at most 10.
    score : float
        Points of the variable with the widest effect (``maxscale``).
    probability : {"survival", "event"}
        What a Cox model shows.
    probability_at : sequence of float, optional
        Ticks of the probability axes (``fun.at``). Default: round numbers.
    linear_at : sequence of float, optional
        Ticks of the linear predictor (``lp.at``). Default: round numbers over the development
        rows. Their ends also limit total points and probabilities.

    Raises
    ------
    ModelError
        No variable has an effect, or a range names no variable of the model.

    Notes
    -----
    ``points_j(v) = score (f_j(v) - min f_j) / max_k(max f_k - min f_k)`` with f_j(v) the
    contribution of variable j to the linear predictor and the extremes taken over the ticks.
    A probability tick is placed, as rms does it, by linear interpolation on 1000 points of the
    linear predictor, which moves it by less than 0.01 points; `probability_of` has no such
    error.

    The effect of a spline may turn between two ticks, where a reader of the axis would go
    wrong; a warning is logged when it does so by more than a point. Give more ticks there.
    """
    unknown = sorted(set(ranges or {}) - {term.name for term in model.terms})
    if unknown:
        raise ModelError(f"range for {unknown[0]}, which is no variable of the model")
    ticks = [_ticks(term, (ranges or {}).get(term.name)) for term in model.terms]
    linear = [
        term.matrix(values) @ beta
        for term, values, beta in zip(model.terms, ticks, model.parts(), strict=True)
    ]
    lows = np.array([part.min() for part in linear])
    widest = max(float(np.ptp(part)) for part in linear)
    if not widest > 0:
        raise ModelError("no variable of the model has an effect; there is nothing to draw")
    per_unit = score / widest
    origin = model.intercept + float(lows.sum())
    for term, values, beta in zip(model.terms, ticks, model.parts(), strict=True):
        _warn_of_bends(term, values, beta, per_unit)
    variables = tuple(
        VariableAxis(term, values, _floats(part), _floats((part - low) * per_unit))
        for term, values, part, low in zip(model.terms, ticks, linear, lows, strict=True)
    )
    at = np.array(linear_at if linear_at is not None else _linear_ticks(model, origin, linear))
    most = max(score, per_unit * float(at.max() - origin)) if len(linear) > 1 else score
    return Nomogram(
        model=model,
        score=score,
        probability=probability,
        points_per_unit=per_unit,
        origin=origin,
        variables=variables,
        total_points=pretty(0.0, most, _STEPS),
        linear_values=_floats(at),
        linear_points=_floats((at - origin) * per_unit),
        probabilities=tuple(
            _probability_axis(model, h, probability, at, origin, per_unit, probability_at)
            for h in model.horizons
        ),
    )


def points_of(
    nomogram: Nomogram, frame: pd.DataFrame, *, source: str = "the subjects sheet"
) -> pd.DataFrame:
    """Return points of subjects: a column per variable and total_points.

    A value beyond the axis has points beyond it; see `outside_of`.
    """
    terms = nomogram.model.terms
    points = pd.DataFrame(index=frame.index)
    for axis, term, beta in zip(nomogram.variables, terms, nomogram.model.parts(), strict=True):
        columns, _ = design_matrix(frame, [term], source=source)
        points[term.name] = (columns @ beta - min(axis.linear)) * nomogram.points_per_unit
    points["total_points"] = points.to_numpy().sum(axis=1)
    return points


def outside_of(nomogram: Nomogram, frame: pd.DataFrame) -> pd.DataFrame:
    """Tell which cells lie outside the values of the development rows."""
    outside = pd.DataFrame(index=frame.index)
    for term in nomogram.model.terms:
        if term.kind == "categorical":
            outside[term.name] = [v not in term.levels for v in level_names(frame[term.name])]
        else:
            values = frame[term.name].to_numpy(dtype=np.float64)
            outside[term.name] = ~((values >= term.low) & (values <= term.high))
    return outside


def probability_of(
    nomogram: Nomogram, total_points: npt.ArrayLike, horizon: float | None = None
) -> Float:
    """Return the probability at total points, exactly.

    Parameters
    ----------
    nomogram : Nomogram
        The axes.
    total_points : array
        Sums of points.
    horizon : float, optional
        Months; may be left out when there is one horizon, or for a logistic model.
    """
    lp = nomogram.origin + np.asarray(total_points, dtype=np.float64) / nomogram.points_per_unit
    return nomogram.model.probability(lp, horizon, nomogram.probability)


def predict(
    nomogram: Nomogram,
    frame: pd.DataFrame,
    horizon: float | None = None,
    *,
    level: float = 0.95,
    source: str = "the subjects sheet",
) -> pd.DataFrame:
    """Return the probability of subjects with its interval: probability, low, high.

    The interval is that of the mean of such patients, normal on the scale of the linear
    predictor (log odds; log cumulative hazard, "log-log" in R's survfit). NaN when the model
    carries no covariance.
    """
    model = nomogram.model
    months = model.check_horizon(horizon)
    matrix, _ = design_matrix(frame, model.terms, source=source)
    lp = model.linear_predictor(matrix)
    known = model.uncertainty.get(months)
    half = np.full(lp.size, np.nan)
    if known is not None:
        half = float(ndtri((1 + level) / 2)) * known.standard_error(matrix)
    ends = [model.probability(lp + s * half, months, nomogram.probability) for s in (-1, 1)]
    return pd.DataFrame(
        {
            "probability": model.probability(lp, months, nomogram.probability),
            "low": np.minimum(*ends),
            "high": np.maximum(*ends),
        },
        index=frame.index,
    )


def pretty(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return round numbers that cover [low, high] in about `count` steps, as R's ``pretty``.

    The step is 1, 2, 5 or 10 times a power of ten; larger steps are favoured a little (biases
    1.5 and 2.75), and there are at least ``count // 3`` steps.

    References
    ----------
    Becker, Chambers and Wilks, The New S Language (1988); R's documentation of ``pretty``.
    """
    bias, bias5, rounding, least = 1.5, 2.75, 1e-10, count // 3
    extent, cell = high - low, max(abs(low), abs(high))
    tiny = 1 + (1 / (1 + bias) if bias5 >= 1.5 * bias + 0.5 else 1.5 / (1 + bias5))
    if extent == 0 and high == 0:
        cell, small = 1.0, True
    else:
        small = bool(extent < cell * tiny * max(1, count) * np.finfo(float).eps * 3)
    if small:
        cell = (9 + cell / 10 if cell > 10 else cell) * 0.75
        cell = cell / least if least > 1 else cell
    else:
        cell = extent / count if count > 1 else extent
    unit = _round_step(cell, bias, bias5)
    first, last = np.floor(low / unit + rounding), np.ceil(high / unit - rounding)
    while first * unit > low + rounding * unit:
        first -= 1
    while last * unit < high - rounding * unit:
        last += 1
    first, last = _at_least(int(first), int(last), least, low, high)
    return _even(first * unit, last * unit, last - first)


def _round_step(cell: float, bias: float, bias5: float) -> float:
    base = 10.0 ** np.floor(np.log10(cell))
    unit = base
    for factor, weight in ((2, bias), (5, bias5), (10, bias)):
        if not factor * base - cell < weight * (cell - unit):
            break
        unit = factor * base
    return float(unit)


def _at_least(first: int, last: int, least: int, low: float, high: float) -> tuple[int, int]:
    missing = least - (last - first)
    if missing <= 0:
        return first, last
    if low == 0 and first == 0 and high != 0:
        return first, last + missing
    if high == 0 and last == 0 and low != 0:
        return first - missing, last
    more, less = missing // 2 + missing % 2, missing // 2
    return (first - more, last + less) if first >= 0 else (first - less, last + more)


def _even(low: float, high: float, steps: int) -> tuple[float, ...]:
    by = (high - low) / steps
    values = [low + i * by for i in range(steps + 1)]
    values[-1] = high
    return tuple(0.0 if abs(v) < 1e-14 * by else float(v) for v in values)


def _ticks(term: Term, asked: Sequence[float] | None) -> tuple[float, ...] | tuple[str, ...]:
    if term.kind == "categorical":
        if asked is not None:
            raise ModelError(f"range for {term.name}, which has levels; its axis shows them all")
        return term.levels
    if asked is not None:
        values = _floats(asked)
        if len(values) < 2 or not np.isfinite(values).all() or not values[0] < values[-1]:
            raise ModelError(f"range for {term.name}: {list(asked)}; give two increasing numbers")
        return pretty(*values, _STEPS) if len(values) == 2 else values
    if term.values:
        return term.values
    if not (np.isfinite(term.low) and np.isfinite(term.high)):
        raise ModelError(f"{term.name} has no range; give one, or fit the terms on the data")
    return pretty(term.low, term.high, _STEPS)


def _warn_of_bends(
    term: Term, values: tuple[float, ...] | tuple[str, ...], beta: Float, per_unit: float
) -> None:
    if term.kind != "spline":
        return
    for low, high in itertools.pairwise(float(v) for v in values):
        between = term.matrix(np.linspace(low, high, 41)) @ beta * per_unit
        ends = between[[0, -1]]
        beyond = max(between.max() - ends.max(), ends.min() - between.min())
        if beyond > _BEND:
            logger.warning(
                "the axis of %s turns between its ticks %g and %g, by %.1f points; give ticks"
                " there (ranges), so that the axis can be read", term.name, low, high, beyond,
            )  # fmt: skip


def _linear_ticks(model: NomogramModel, origin: float, linear: list[Float]) -> tuple[float, ...]:
    low, high = model.lp_low, model.lp_high
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = origin, origin + float(sum(np.ptp(part) for part in linear))
    return pretty(low, high, _STEPS)


def _probability_axis(
    model: NomogramModel,
    horizon: float,
    kind: Probability,
    linear_at: Float,
    origin: float,
    per_unit: float,
    asked: Sequence[float] | None,
) -> ProbabilityAxis:
    def of(lp: npt.ArrayLike) -> Float:
        return model.probability(lp, horizon, kind)

    ends = of(np.array([linear_at.min(), linear_at.max()]))
    ticks = np.array(asked if asked is not None else pretty(ends.min(), ends.max(), _STEPS))
    line = np.linspace(linear_at.min(), linear_at.max(), _INVERSE_POINTS)
    # saturated ends repeat a probability: one point each, in their middle
    curve, which = np.unique(of(line), return_inverse=True)
    middle = np.bincount(which, weights=line) / np.bincount(which)
    inside = (ticks >= curve[0]) & (ticks <= curve[-1])
    lp = np.interp(ticks[inside], curve, middle)
    return ProbabilityAxis(horizon, _floats(ticks[inside]), _floats((lp - origin) * per_unit))


def _cox_uncertainty(fit: CoxFit, matrix: Float, outcome: Outcome, horizon: float) -> Uncertainty:
    """Return the variance of the log cumulative hazard at a horizon.

    With D the risk sum at each event (reduced for ties as Efron's likelihood is), the variance
    of log H(t | x) is ``sum D^-2 / H^2 + (x - m) V (x - m)``, m the mean of the risk sets
    weighted by the steps 1 / D of the hazard H (Tsiatis, Ann. Stat. 9 (1981) 93, as in
    Therneau and Grambsch, Modeling Survival Data (2000), section 10.2.3).
    """
    away = matrix - fit.centre
    weight = np.exp(away @ fit.coefficients)
    hazard, spread, mean = 0.0, 0.0, np.zeros(away.shape[1])
    times = np.unique(outcome.months[outcome.event & (outcome.months <= horizon)])
    for time in times:
        risk = outcome.months >= time
        now = outcome.event & (outcome.months == time)
        sums = weight[risk] @ np.column_stack([np.ones(risk.sum()), away[risk]])
        tied = weight[now] @ np.column_stack([np.ones(now.sum()), away[now]])
        deaths = int(now.sum())
        share = np.arange(deaths) / deaths if fit.ties == "efron" else np.zeros(deaths)
        left = sums - share[:, np.newaxis] * tied
        step = 1 / left[:, 0]
        hazard += float(step.sum())
        spread += float((step**2).sum())
        mean += (left[:, 1:] * step[:, np.newaxis] ** 2).sum(axis=0)
    if not hazard > 0:
        raise ModelError(f"horizon {horizon:g} months: no event by then; choose a later one")
    return Uncertainty(
        spread / hazard**2,
        _floats(fit.centre + mean / hazard),
        tuple(_floats(row) for row in fit.covariance),
    )


def _check_names(names: Sequence[str], terms: Sequence[Term]) -> None:
    wanted = tuple(name for term in terms for name in term.columns)
    if tuple(names) != wanted:
        raise ModelError(
            f"the model has columns {', '.join(names)} but the terms have {', '.join(wanted)};"
            " give the terms that the model was fitted with"
        )


def _range_of(lp: Float | None) -> tuple[float, float]:
    return (float("nan"), float("nan")) if lp is None else (float(lp.min()), float(lp.max()))


def _from_record(record: Mapping[str, Any]) -> Nomogram:
    model = NomogramModel.from_record(record["model"])
    axes = []
    for term, axis in zip(model.terms, record["variables"], strict=True):
        named = term.kind == "categorical"
        values = tuple(str(v) for v in axis["values"]) if named else _floats(axis["values"])
        axes.append(VariableAxis(term, values, _floats(axis["linear"]), _floats(axis["points"])))
    return Nomogram(
        model=model,
        score=float(record["score"]),
        probability=record["probability"],
        points_per_unit=float(record["points_per_unit"]),
        origin=float(record["origin"]),
        variables=tuple(axes),
        total_points=_floats(record["total_points"]),
        linear_values=_floats(record["linear_values"]),
        linear_points=_floats(record["linear_points"]),
        probabilities=tuple(
            ProbabilityAxis(float(a["months"]), _floats(a["values"]), _floats(a["total_points"]))
            for a in record["probabilities"]
        ),
    )


def _floats(values: npt.ArrayLike) -> tuple[float, ...]:
    return tuple(float(v) for v in np.asarray(values, dtype=np.float64))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)

"""Place the ticks of a nomogram as ``rms::nomogram`` does."""

import itertools
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, as_floats
from pipeline.model.nomogram.axes import Nomogram, ProbabilityAxis, VariableAxis
from pipeline.model.nomogram.model import NomogramModel, Probability
from pipeline.model.nomogram.ticks import pretty
from pipeline.model.terms import Term

logger = logging.getLogger(__name__)

#: A bend between two ticks of a spline's axis is told from this many points on.
_BEND = 1.0

#: Steps that an axis is cut into, about; ``nint`` of rms.
_STEPS = 10

#: Points of the line on which rms inverts a probability to a linear predictor.
_INVERSE_POINTS = 1000


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
        VariableAxis(term, values, as_floats(part), as_floats((part - low) * per_unit))
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
        linear_values=as_floats(at),
        linear_points=as_floats((at - origin) * per_unit),
        probabilities=tuple(
            _probability_axis(model, h, probability, at, origin, per_unit, probability_at)
            for h in model.horizons
        ),
    )


def _ticks(term: Term, asked: Sequence[float] | None) -> tuple[float, ...] | tuple[str, ...]:
    if term.kind == "categorical":
        if asked is not None:
            raise ModelError(f"range for {term.name}, which has levels; its axis shows them all")
        return term.levels
    if asked is not None:
        values = as_floats(asked)
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
    return ProbabilityAxis(horizon, as_floats(ticks[inside]), as_floats((lp - origin) * per_unit))

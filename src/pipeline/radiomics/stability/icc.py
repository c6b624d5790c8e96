"""Intraclass correlations of many features at once, with their intervals.

Single ratings: ICC(1,1), ICC(2,1) and ICC(3,1) of Shrout and Fleiss 1979 (doi:10.1037/0033-2909.
86.2.420), which McGraw and Wong 1996 (doi:10.1037/1082-989X.1.1.30) call ICC(1), ICC(A,1) and
ICC(C,1). Intervals are those of the F distribution given there.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import f as f_distribution

from pipeline.errors import SettingsError
from pipeline.radiomics.stability.mean_squares import Count, Float, MeanSquares, mean_squares

Model = Literal["1,1", "2,1", "3,1"]
MODELS: tuple[Model, ...] = ("1,1", "2,1", "3,1")


@dataclass(frozen=True, eq=False)
class Icc:
    """Intraclass correlations, an entry of each array per feature.

    Attributes
    ----------
    model : {"1,1", "2,1", "3,1"}
        What was asked for.
    value, low, high : (p,) float arrays
        Estimate and limits; NaN where it cannot be estimated (fewer than two subjects, or a
        feature that is constant).
    subjects : (p,) int array
        Subjects used.
    left_out : (p,) int array
        Subjects left out, since a rating is missing (unbalanced: all are, or it is the only
        one).
    ratings : (p,) float array
        Ratings per subject; when they are not as many for each, the n0 of the analysis of
        variance.
    within_sd : (p,) float array
        Standard deviation of repeated ratings of one subject: root of the mean square within
        subjects (model 1,1 and 2,1) or of the residual (3,1, without what raters differ by).
    mean : (p,) float array
        Grand mean.
    """

    model: Model
    value: Float
    low: Float
    high: Float
    subjects: Count
    left_out: Count
    ratings: Float
    within_sd: Float
    mean: Float


def icc(
    ratings: npt.ArrayLike,
    *,
    model: Model = "1,1",
    level: float = 0.95,
    unbalanced: bool = False,
) -> Icc:
    """Return how much of the variance lies between subjects, feature by feature.

    Parameters
    ----------
    ratings : (n, k) or (n, k, p) array
        n subjects, k ratings of each (raters, perturbations, scans), p features. NaN and
        infinite values are missing. A subject with a missing rating of a feature is left out of
        that feature, unless `unbalanced`.
    model : {"1,1", "2,1", "3,1"}
        "1,1": ratings of a subject have no order (perturbations). "2,1": absolute agreement of
        raters who stand for others. "3,1": consistency of these very raters, whose constant
        differences do not count.
    level : float
        Coverage of the interval.
    unbalanced : bool
        Model "1,1" alone: keep every subject with two ratings or more. The interval is then that
        of Thomas and Hultquist (Ann Stat 1978;6:582), on the harmonic mean of the numbers of
        ratings.

    Raises
    ------
    SettingsError
        An unknown model, a level outside 0 to 1, fewer than two ratings, or `unbalanced` with
        a two-way model.
    """
    values = np.asarray(ratings, dtype=np.float64)
    values = values[..., np.newaxis] if values.ndim == 2 else values
    _check(values, model, level, unbalanced)
    found = mean_squares(values, unbalanced=unbalanced)
    with np.errstate(divide="ignore", invalid="ignore"):
        if model == "1,1":
            value, low, high = _one_way(found, level)
        elif model == "2,1":
            value, low, high = _agreement(found, level)
        else:
            value, low, high = _consistency(found, level)
    unknown = ~np.isfinite(value)
    return Icc(
        model=model,
        value=np.where(unknown, np.nan, value),
        low=np.where(unknown, np.nan, low),
        high=np.where(unknown, np.nan, high),
        subjects=found.subjects,
        left_out=len(values) - found.subjects,
        ratings=found.ratings,
        within_sd=np.sqrt(found.residual if model == "3,1" else found.within),
        mean=found.mean,
    )


def _check(values: Float, model: str, level: float, unbalanced: bool) -> None:
    if model not in MODELS:
        raise SettingsError(f"ICC model {model!r} is unknown; choose one of {', '.join(MODELS)}")
    if not 0 < level < 1:
        raise SettingsError(f"level {level:g} of the interval must lie between 0 and 1")
    if unbalanced and model != "1,1":
        raise SettingsError(
            f"ICC({model}) needs all ratings of a subject; unbalanced goes with 1,1"
        )
    if values.ndim != 3 or values.shape[1] < 2:
        raise SettingsError(
            f"ratings of shape {values.shape}: an ICC needs subjects, two ratings or more, features"
        )


def _one_way(found: MeanSquares, level: float) -> tuple[Float, Float, Float]:
    value = (found.between - found.within) / (found.between + (found.ratings - 1) * found.within)
    # balanced: harmonic mean and n0 are k, and the mean square of the means is that between
    ratio = found.between_means / found.within
    low, high = _limits(ratio, found.harmonic, found.subjects - 1, found.within_df, level)
    return value, low, high


def _consistency(found: MeanSquares, level: float) -> tuple[Float, Float, Float]:
    value = (found.between - found.residual) / (
        found.between + (found.ratings - 1) * found.residual
    )
    rows = found.subjects - 1
    ratio = found.between / found.residual
    low, high = _limits(ratio, found.ratings, rows, rows * (found.ratings - 1), level)
    return value, low, high


def _limits(
    ratio: Float, ratings: Float, rows: Float | Count, rest: Float, level: float
) -> tuple[Float, Float]:
    """Return the limits that belong to an F ratio of subjects over error."""
    tail = (1 + level) / 2
    least = ratio / _quantile(tail, rows, rest)
    most = ratio * _quantile(tail, rest, rows)
    return _of_ratio(least, ratings), _of_ratio(most, ratings)


def _of_ratio(ratio: Float, ratings: Float) -> Float:
    # without any error the ratio is infinite and the correlation 1
    return np.where(np.isinf(ratio), 1.0, (ratio - 1) / (ratio + ratings - 1))


def _agreement(found: MeanSquares, level: float) -> tuple[Float, Float, Float]:
    n, k = found.subjects.astype(np.float64), found.ratings
    rows, columns, error = found.between, found.raters, found.residual
    value = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    # Satterthwaite's degrees of freedom of the mixture of raters and error, at the estimate
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    df = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    tail = (1 + level) / 2
    mixture = k * columns + (k * n - k - n) * error
    f_low, f_high = _quantile(tail, n - 1, df), _quantile(tail, df, n - 1)
    low = n * (rows - f_low * error) / (f_low * mixture + n * rows)
    high = n * (f_high * rows - error) / (mixture + n * f_high * rows)
    perfect = value == 1
    return value, np.where(perfect, 1.0, low), np.where(perfect, 1.0, high)


def _quantile(tail: float, first: Float | Count, second: Float | Count) -> Float:
    known = (first > 0) & (second > 0)
    return np.asarray(
        f_distribution.ppf(tail, np.where(known, first, np.nan), np.where(known, second, np.nan))
    )

"""Mean squares of ratings by subject and rater, of many features at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Count = npt.NDArray[np.int64]
Known = npt.NDArray[np.bool_]

#: Share of a sum of squares that is rounding.
_NOTHING = 1e-24


@dataclass(frozen=True, eq=False)
class MeanSquares:
    """The analysis of variance behind the intraclass correlations; an entry per feature.

    Attributes
    ----------
    subjects : (p,) int array
        Subjects used.
    ratings : (p,) float array
        Ratings per subject; n0 = (N - sum k_i^2 / N) / (n - 1) when they differ.
    harmonic : (p,) float array
        Harmonic mean of the numbers of ratings.
    between : (p,) float array
        Mean square between subjects.
    between_means : (p,) float array
        Variance of the subjects' means times `harmonic`: equal to `between` when balanced.
    within : (p,) float array
        Mean square within subjects, and `within_df` its degrees of freedom.
    raters, residual : (p,) float arrays
        Mean squares of raters and of what is left; NaN when unbalanced.
    mean : (p,) float array
        Grand mean.
    """

    subjects: Count
    ratings: Float
    harmonic: Float
    between: Float
    between_means: Float
    within: Float
    within_df: Float
    raters: Float
    residual: Float
    mean: Float


def mean_squares(values: Float, *, unbalanced: bool = False) -> MeanSquares:
    """Return the mean squares of (n, k, p) ratings; see `pipeline.radiomics.stability.icc.icc`.

    Sums run over deviations from the mean, so that a feature of 10^12 keeps its digits. A feature
    whose deviations are rounding errors (below 10^-12 of its size) is constant: mean squares 0.
    """
    known = np.asarray(np.isfinite(values))
    enough = np.asarray(known.sum(axis=1) >= 2 if unbalanced else known.all(axis=1))
    known = known & enough[:, np.newaxis, :]
    counts = known.sum(axis=1).astype(np.float64)  # (n, p) ratings of each subject
    subjects = enough.sum(axis=0).astype(np.int64)
    total = counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=(0, 1)) / total
        centred = np.where(known, values - mean, 0.0)
        centred = _without_rounding(centred, mean)
        own = np.where(enough, centred.sum(axis=1) / counts, 0.0)  # (n, p) means of subjects
        grand = centred.sum(axis=(0, 1)) / total
        inside = np.where(known, centred - own[:, np.newaxis, :], 0.0)
        within_ss = (inside**2).sum(axis=(0, 1))
        within_ss = np.where(within_ss < _NOTHING * (centred**2).sum(axis=(0, 1)), 0.0, within_ss)
        between = (counts * (own - grand) ** 2).sum(axis=0) / (subjects - 1)
        harmonic = subjects / np.where(enough, 1 / counts, 0.0).sum(axis=0)
        centre = own.sum(axis=0) / subjects
        means = np.where(enough, own - centre, 0.0)
        raters, residual = _two_way(centred, own, grand, subjects, enough, unbalanced)
        return MeanSquares(
            subjects=subjects,
            ratings=(total - (counts**2).sum(axis=0) / total) / (subjects - 1),
            harmonic=harmonic,
            between=between,
            between_means=harmonic * (means**2).sum(axis=0) / (subjects - 1),
            within=within_ss / (total - subjects),
            within_df=total - subjects,
            raters=raters,
            residual=residual,
            mean=mean,
        )


def _without_rounding(centred: Float, mean: Float) -> Float:
    constant = np.abs(centred).max(axis=(0, 1), initial=0.0) <= 1e-12 * np.abs(mean)
    return np.where(constant, 0.0, centred)


def _two_way(
    centred: Float, own: Float, grand: Float, subjects: Count, enough: Known, unbalanced: bool
) -> tuple[Float, Float]:
    """Return the mean squares of raters and of the residual; every subject has all ratings."""
    if unbalanced:
        nothing = np.full(centred.shape[2], np.nan)
        return nothing, nothing
    k = centred.shape[1]
    columns = centred.sum(axis=0) / subjects  # (k, p) means of raters
    rest = centred - own[:, np.newaxis, :] - columns + grand
    rest_ss = (np.where(enough[:, np.newaxis, :], rest, 0.0) ** 2).sum(axis=(0, 1))
    rest_ss = np.where(rest_ss < _NOTHING * (centred**2).sum(axis=(0, 1)), 0.0, rest_ss)
    raters = subjects * ((columns - grand) ** 2).sum(axis=0) / (k - 1)
    return raters, rest_ss / (np.maximum(subjects - 1, 0) * (k - 1))

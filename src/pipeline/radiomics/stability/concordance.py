"""Lin's concordance correlation of two measurements, of many features at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from pipeline.errors import SettingsError
from pipeline.radiomics.stability.mean_squares import Float


@dataclass(frozen=True, eq=False)
class Concordance:
    """Concordance correlations and their limits, (p,) float arrays; `subjects` counts the pairs."""

    value: Float
    low: Float
    high: Float
    subjects: npt.NDArray[np.int64]


def concordance(pairs: npt.ArrayLike, *, level: float = 0.95) -> Concordance:
    """Return how closely two measurements of n subjects lie to the line of identity.

    Parameters
    ----------
    pairs : (n, 2) or (n, 2, p) array
        Both measurements of p features; a subject that lacks one is left out of that feature.
    level : float
        Coverage of the interval: Fisher's z with Lin's standard error.

    Notes
    -----
    Lin 1989 (doi:10.2307/2532051), moments divided by n, with the standard error as corrected in
    2000. NaN with fewer than three pairs, or where both measurements are constant.
    """
    values = np.asarray(pairs, dtype=np.float64)
    values = values[..., np.newaxis] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[1] != 2:
        raise SettingsError(f"measurements of shape {values.shape}: concordance needs pairs")
    known = np.asarray(np.isfinite(values).all(axis=1))
    n = known.sum(axis=0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known[:, np.newaxis], values, 0.0).sum(axis=0) / n  # (2, p)
        centred = np.where(known[:, np.newaxis], values - mean, 0.0)
        first, second = (centred**2).sum(axis=0) / n
        covariance = (centred[:, 0] * centred[:, 1]).sum(axis=0) / n
        shift = mean[0] - mean[1]
        value = 2 * covariance / (first + second + shift**2)
        error = _standard_error(value, covariance / np.sqrt(first * second),
                                shift / (first * second) ** 0.25, n)  # fmt: skip
        z, wide = np.arctanh(value), norm.ppf((1 + level) / 2) * error
        low, high = np.tanh(z - wide), np.tanh(z + wide)
    few = n < 3
    value = np.where(few, np.nan, value)
    exact = value >= 1.0 - 1e-15
    return Concordance(
        value=value,
        low=np.where(exact, 1.0, np.where(few, np.nan, low)),
        high=np.where(exact, 1.0, np.where(few, np.nan, high)),
        subjects=known.sum(axis=0).astype(np.int64),
    )


def _standard_error(value: Float, pearson: Float, shift: Float, n: Float) -> Float:
    """Return the standard error of the z-transformed concordance."""
    rest = 1 - value**2
    variance = (
        (1 - pearson**2) * value**2 / (rest * pearson**2)
        + 2 * value**3 * (1 - value) * shift**2 / (pearson * rest**2)
        - value**4 * shift**4 / (2 * pearson**2 * rest**2)
    ) / (n - 2)
    return np.sqrt(variance)

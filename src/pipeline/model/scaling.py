"""Median imputation and z-scores, fitted on training rows alone."""

from dataclasses import dataclass

import numpy as np

from pipeline.model.arrays import Bool, Float, Int

#: A feature varies when its standard deviation exceeds this fraction of its mean.
_CONSTANT = 1e-12


@dataclass(frozen=True, eq=False)
class Scaler:
    """Statistics of the training rows, each of shape (n_features,).

    Attributes
    ----------
    median : array
        Median of the finite values; replaces a missing value.
    mean, sd : arrays
        Mean and (population) standard deviation after imputation. `sd` is 0 for a constant
        feature, whose z-score is 0 everywhere.
    """

    median: Float
    mean: Float
    sd: Float

    def take(self, columns: Int) -> "Scaler":
        """Return the statistics of some columns, in the given order."""
        return Scaler(self.median[columns], self.mean[columns], self.sd[columns])


def fit_scaler(values: Float) -> Scaler:
    """Fit medians, means and standard deviations.

    Parameters
    ----------
    values : (n, p) float array
        Training rows. NaN and infinite values count as missing.
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    finite[:, np.isnan(finite).all(axis=0)] = 0.0
    median = np.nanmedian(finite, axis=0)
    filled = np.where(np.isnan(finite), median, finite)
    mean = filled.mean(axis=0)
    sd = filled.std(axis=0)
    sd[sd <= _CONSTANT * np.maximum(np.abs(mean), np.finfo(float).tiny)] = 0.0
    return Scaler(median, mean, sd)


def standardise(scaler: Scaler, values: Float) -> Float:
    """Return z-scores (n, p) of rows with the statistics of the training rows."""
    filled = np.where(np.isfinite(values), values, scaler.median)
    inverse = np.divide(1.0, scaler.sd, out=np.zeros_like(scaler.sd), where=scaler.sd > 0)
    return np.asarray((filled - scaler.mean) * inverse)


def usable(values: Float) -> Bool:
    """Tell which columns have a finite value and vary; the others carry nothing to learn."""
    return np.asarray(fit_scaler(values).sd > 0)

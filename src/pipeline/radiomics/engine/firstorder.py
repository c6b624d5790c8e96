"""First-order statistics of a region's intensities."""

import numpy as np

from pipeline.radiomics.engine.emphasis import EPSILON
from pipeline.radiomics.engine.levels import Ints
from pipeline.types import Array1D


def firstorder(
    values: Array1D, counts: Ints, voxel_volume_mm3: float, shift: float = 0.0
) -> dict[str, float]:
    """Return the 18 features.

    Parameters
    ----------
    values : (N,) float array
        Intensities.
    counts : (n,) int array
        Voxels of each grey level that occurs.
    voxel_volume_mm3 : float
        Volume of a voxel.
    shift : float
        Added before squaring.
    """
    ordered = np.sort(values)
    p10, p25, p50, p75, p90 = (_percentile(ordered, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9))
    robust = ordered[np.searchsorted(ordered, p10) : np.searchsorted(ordered, p90, "right")]
    share = counts / counts.sum()
    shifted = values + shift if shift else values
    energy = float((shifted**2).sum())
    mean = values.mean()
    from_mean = values - mean
    squared = from_mean**2
    variance = squared.mean()
    scale = variance if variance != 0 else 1.0  # a flat region has skewness and kurtosis 0
    return {
        "10Percentile": p10,
        "90Percentile": p90,
        "Energy": energy,
        "Entropy": float(-(share * np.log2(share + EPSILON)).sum()),
        "InterquartileRange": p75 - p25,
        "Kurtosis": float((squared**2).mean() / scale**2),
        "Maximum": float(ordered[-1]),
        "MeanAbsoluteDeviation": float(np.abs(from_mean).mean()),
        "Mean": float(mean),
        "Median": p50,
        "Minimum": float(ordered[0]),
        "Range": float(ordered[-1] - ordered[0]),
        "RobustMeanAbsoluteDeviation": _mean_deviation(robust),
        "RootMeanSquared": float(np.sqrt(energy / len(values))),
        "Skewness": float((squared * from_mean).mean() / scale**1.5),
        "TotalEnergy": energy * voxel_volume_mm3,
        "Uniformity": float((share**2).sum()),
        "Variance": float(variance),
    }


def _mean_deviation(values: Array1D) -> float:
    """Return the mean distance from the mean; two voxels have none between the percentiles."""
    return float(np.abs(values - values.mean()).mean()) if len(values) else float("nan")


def _percentile(ordered: Array1D, quantile: float) -> float:
    """Return a quantile of sorted values by linear interpolation, rounding as numpy does."""
    position = (len(ordered) - 1) * quantile
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    part = position - below
    low, high = float(ordered[below]), float(ordered[above])
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)

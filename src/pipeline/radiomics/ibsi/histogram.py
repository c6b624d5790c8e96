"""Features of the histogram of grey levels (IBSI ZVCW)."""

import numpy as np

from pipeline.radiomics.ibsi.discretise import Levels
from pipeline.radiomics.ibsi.intensity import statistics
from pipeline.types import Array1D


def histogram(levels: Levels) -> dict[str, float]:
    """Return the 23 features of the intensity histogram, by the stem of their tags."""
    found = statistics(levels.level.astype(np.float64))
    kept = {name: value for name, value in found.items() if name not in ("energy", "rms")}
    count = np.bincount(levels.level, minlength=levels.count + 1)[1:].astype(np.float64)
    share = count / count.sum()
    occupied = share[share > 0]
    gradient = _gradient(count)
    return kept | {
        "mode": _mode(count, found["mean"]),
        "entropy": float(-np.sum(occupied * np.log2(occupied))) + 0.0,
        "uniformity": float(np.sum(share**2)),
        "max_grad": float(gradient.max()),
        "max_grad_g": float(gradient.argmax() + 1),
        "min_grad": float(gradient.min()),
        "min_grad_g": float(gradient.argmin() + 1),
    }


def _mode(count: Array1D, mean: float) -> float:
    """Return the most frequent level; of several the nearest to the mean, then the lowest."""
    candidates = np.flatnonzero(count == count.max()) + 1.0
    return float(candidates[np.argmin(np.abs(candidates - mean))])


def _gradient(count: Array1D) -> Array1D:
    """Return half the difference of the two neighbours; at the ends that to the one."""
    if len(count) == 1:
        return np.zeros(1)
    return np.asarray(np.gradient(count))

"""Local intensity: means over a ball of 1 cm³ (IBSI 9ST6)."""

import numpy as np
from scipy.signal import oaconvolve

from pipeline.radiomics.ibsi.prepare import PEAK_RADIUS_MM, Region
from pipeline.types import Array3D


def peaks(region: Region) -> dict[str, float]:
    """Return the local and the global intensity peak, by the stem of their tags.

    The ball is centred on a voxel of the region and holds every voxel of the image, of the
    region or not, whose centre lies within 6.2 mm. The local peak is that of the voxel with the
    highest intensity (of several the highest peak), the global one the highest of all.
    """
    means = _ball_means(region)[region.intensity]
    values = region.values
    return {
        "peak_loc": float(means[values == values.max()].max()),
        "peak_glob": float(means.max()),
    }


def _ball_means(region: Region) -> Array3D:
    known = np.isfinite(region.image)
    ball = _ball(region.spacing_mm)
    # The sums are taken about the mean of the region: rounding is then of the size of its spread.
    middle = float(region.values.mean())
    total = oaconvolve(np.where(known, region.image - middle, 0.0), ball, mode="same")
    number = np.round(oaconvolve(known.astype(np.float64), ball, mode="same"))
    return np.asarray(middle + total / np.maximum(number, 1.0))


def _ball(spacing_mm: tuple[float, float, float]) -> Array3D:
    reach = [int(PEAK_RADIUS_MM / step) for step in spacing_mm]
    axes = [np.arange(-n, n + 1) * step for n, step in zip(reach, spacing_mm, strict=True)]
    i, j, k = np.meshgrid(*axes, indexing="ij")
    return np.asarray(i**2 + j**2 + k**2 <= PEAK_RADIUS_MM**2, dtype=np.float64)

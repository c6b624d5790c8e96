"""How nnU-Net and MONAI bundles normalise: pure functions of float32 arrays."""

import numpy as np

from pipeline.errors import ImageError
from pipeline.types import Array3D, Mask3D


def standardised(data: Array3D, where: Mask3D | None = None) -> Array3D:
    """Return (x - mean) / SD over the voxels where asked; the others keep their values.

    Raises
    ------
    ImageError
        If these voxels are none or constant.
    """
    inside = data if where is None else data[where]
    mean = float(inside.mean(dtype=np.float64)) if inside.size else 0.0
    sd = float(inside.std(dtype=np.float64)) if inside.size else 0.0
    if not sd > 1e-9 * max(1.0, abs(mean)):
        raise ImageError(
            f"segmentation: the standard deviation is {sd:g} around {mean:g}; a constant image "
            "cannot be segmented. Give another image"
        )
    found = (data.astype(np.float32) - np.float32(mean)) / np.float32(sd)
    return found if where is None else np.where(where, found, data.astype(np.float32))


def ranged(
    data: Array3D, source: tuple[float, float], target: tuple[float, float], *, clip: bool
) -> Array3D:
    """Return values with one interval brought linearly onto another, clipped to it if asked.

    Raises
    ------
    ImageError
        If the source interval is empty, as that of a constant image.
    """
    (low, high), (to_low, to_high) = source, target
    if not high > low:
        raise ImageError(
            f"segmentation: intensities from {low:g} to {high:g} cannot be scaled; a constant "
            "image cannot be segmented. Give another image"
        )
    scale = (to_high - to_low) / (high - low)
    found = (data.astype(np.float32) - np.float32(low)) * np.float32(scale) + np.float32(to_low)
    return np.clip(found, min(target), max(target)) if clip else found


def shifted(data: Array3D, low: float, high: float, mean: float, sd: float) -> Array3D:
    """Return values clipped to an interval, less a mean, over a standard deviation."""
    clipped = np.clip(data.astype(np.float32), np.float32(low), np.float32(high))
    return (clipped - np.float32(mean)) / np.float32(max(sd, 1e-8))

"""Intensities that differ between visits: uptake, coil gain, scanner. Matched, then compared."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.types import Array3D, Mask3D

Array = npt.NDArray[np.float64]

#: Local contrast below this part of the whole image's is taken for noise.
_NOISE_PART = 0.1
#: Local gain stays within this factor of the gain of the whole image.
_GAIN_FACTOR = 2.0
_TRUNCATE = 3.0


def match_globally(fixed: Array, moved: Array, weight: Array) -> tuple[float, float]:
    """Return slope and offset so that slope * moved + offset is nearest to `fixed`."""
    total = weight.sum()
    if total <= 0:
        return 1.0, 0.0
    mean_fixed, mean_moved = (weight * fixed).sum() / total, (weight * moved).sum() / total
    spread = (weight * (moved - mean_moved) ** 2).sum()
    shared = (weight * (moved - mean_moved) * (fixed - mean_fixed)).sum()
    slope = float(shared / spread) if spread > 0 else 1.0
    return slope, float(mean_fixed - slope * mean_moved)


def match_locally(
    fixed: Array, moved: Array, weight: Array, sigma_voxels: tuple[float, ...], contrast: float
) -> tuple[Array, Array]:
    """Return slope and offset at each voxel from a Gaussian window around it.

    Parameters
    ----------
    fixed, moved : (I, J, K) arrays
        The fixed image and the moving image warped onto it.
    weight : (I, J, K) array
        0 outside the moving image's field of view.
    sigma_voxels : three floats
        SD of the window along each axis, in voxels.
    contrast : float
        SD of the whole fixed image. Where a window holds a tenth of it or less, noise would
        decide; the slope there goes to that of the whole image.

    Notes
    -----
    The residual that is left is the one that local correlation (Cachier et al. 2003, "iconic
    feature based nonrigid registration") minimises: a lesion that takes up less contrast at
    the second visit differs by a local slope, not by its size.
    """
    whole = _not_flat(match_globally(fixed, moved, weight)[0])
    smooth = _Smoother(weight, sigma_voxels)
    mean_fixed, mean_moved = smooth(fixed), smooth(moved)
    ridge = (_NOISE_PART * contrast) ** 2
    shared = smooth(moved * fixed) - mean_moved * mean_fixed
    spread = smooth(moved * moved) - mean_moved**2
    slope = (shared + ridge * whole) / (np.maximum(spread, 0.0) + ridge)
    low, high = sorted((whole / _GAIN_FACTOR, whole * _GAIN_FACTOR))
    slope = np.clip(slope, low, high)
    return slope, mean_fixed - slope * mean_moved


class _Smoother:
    """Weighted Gaussian mean around each voxel."""

    def __init__(self, weight: Array, sigma_voxels: tuple[float, ...]) -> None:
        self._weight, self._sigma = weight, sigma_voxels
        self._total = self._filter(weight) + 1e-6

    def __call__(self, values: Array) -> Array:
        return np.asarray(self._filter(self._weight * values) / self._total)

    def _filter(self, values: Array) -> Any:
        return ndimage.gaussian_filter(values, self._sigma, mode="nearest", truncate=_TRUNCATE)


def _not_flat(slope: float) -> float:
    return slope if abs(slope) > 1e-3 else 1.0


def foreground(image: Array3D) -> Mask3D:
    """Return the body: minimum cross-entropy threshold, largest part, holes filled per slice.

    Parameters
    ----------
    image : (I, J, K) array
        Any modality with a dark surround.
    """
    import SimpleITK as sitk

    low, high = np.percentile(image, (0.5, 99.5))
    if not high > low:
        low, high = image.min(), image.max()
    clipped = np.clip(image, low, high).astype(np.float32)
    chooser = sitk.LiThresholdImageFilter()
    chooser.Execute(sitk.GetImageFromArray(clipped))
    found = ndimage.binary_opening(clipped > chooser.GetThreshold())
    labels, count = ndimage.label(found)
    if count == 0:
        return np.ones(image.shape, dtype=np.bool_)
    body = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    flat = np.ones((3, 3), dtype=bool)
    for axis in range(3):
        structure = np.expand_dims(flat, axis)
        body = ndimage.binary_fill_holes(body, structure=structure)
    return np.asarray(body, dtype=np.bool_)


def correlation(first: Array3D, second: Array3D, mask: Mask3D) -> float | None:
    """Return Pearson's correlation of two images inside a mask; None when it is not defined."""
    one, two = (np.asarray(v[mask], dtype=np.float64) for v in (first, second))
    if one.size < 2 or one.std() == 0 or two.std() == 0:
        return None
    return float(np.corrcoef(one, two)[0, 1])

"""Intensity normalisation: what is fitted is a small frozen record, applied afterwards.

Every method ends in the same thing, a piecewise linear map of intensities. Fitting it on one
image (z-score, percentiles), on a set of training images (Nyúl) or on nothing (CT window) is
apart from applying it, so that a test image can never change what was fitted.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ImageError, SettingsError
from pipeline.preprocess.checks import check_finite, region_of
from pipeline.types import Array3D, Array4D, Mask3D

#: Percentiles of Nyúl's landmarks: both ends of the histogram and its deciles.
NYUL_PERCENTILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)

#: Ends of the standard scale that Nyúl's landmarks live on.
NYUL_SCALE = (0.0, 100.0)


@dataclass(frozen=True)
class IntensityMap:
    """A rising piecewise linear map of intensities.

    Attributes
    ----------
    source : floats, rising
        Intensities of the image.
    target : floats
        What they become. Beyond the ends the first and last pieces go on.
    clip : bool
        Keep results within the first and last target instead.
    """

    source: tuple[float, ...]
    target: tuple[float, ...]
    clip: bool = False


@dataclass(frozen=True)
class NyulStandard:
    """The standard histogram learned from training images.

    Attributes
    ----------
    percentile : floats
        Which percentiles of the tissue are landmarks.
    landmark : floats
        Where they lie on the standard scale, averaged over the training images.
    """

    percentile: tuple[float, ...]
    landmark: tuple[float, ...]


def apply_map(data: Array4D, intensities: IntensityMap) -> Array4D:
    """Return the float32 array with every intensity mapped."""
    source = np.asarray(intensities.source)
    target = np.asarray(intensities.target)
    values = np.asarray(data, dtype=np.float64)
    out = np.interp(values, source, target)
    if not intensities.clip:
        slope = np.diff(target) / np.diff(source)
        below, above = values < source[0], values > source[-1]
        out[below] = target[0] + slope[0] * (values[below] - source[0])
        out[above] = target[-1] + slope[-1] * (values[above] - source[-1])
    return np.asarray(out, dtype=np.float32)


def fit_zscore(data: Array3D, *, mask: Mask3D | None = None) -> IntensityMap:
    """Return the map to mean 0 and standard deviation 1 (population) over the mask or image."""
    values = _values(data, mask, "z-score")
    mean, deviation = float(values.mean()), float(values.std())
    if not deviation > 1e-9 * max(1.0, abs(mean)):
        raise ImageError(
            f"z-score: the standard deviation is {deviation:g} around {mean:g}; a constant "
            "image cannot be scaled. Give another mask, or --normalise none"
        )
    return IntensityMap((mean, mean + deviation), (0.0, 1.0))


def fit_percentile(
    data: Array3D,
    *,
    mask: Mask3D | None = None,
    percentiles: tuple[float, float] = (1.0, 99.0),
    clip: bool = True,
) -> IntensityMap:
    """Return the map of two percentiles of the mask or image to 0 and 1, clipped there."""
    _check_percentiles(percentiles)
    low, high = (float(v) for v in np.percentile(_values(data, mask, "percentile"), percentiles))
    if not high > low:
        raise ImageError(
            f"percentile: percentiles {percentiles[0]:g} and {percentiles[1]:g} are both "
            f"{low:g}; the image is nearly constant. Give a mask of the tissue, or others"
        )
    return IntensityMap((low, high), (0.0, 1.0), clip=clip)


def ct_window(*, centre_hu: float, width_hu: float) -> IntensityMap:
    """Return the map of a CT window to 0..1, clipped at both ends."""
    if not width_hu > 0:
        raise SettingsError(f"CT window: width_hu {width_hu:g} must be above 0 HU")
    half = width_hu / 2.0
    return IntensityMap((centre_hu - half, centre_hu + half), (0.0, 1.0), clip=True)


def fit_nyul(
    images: Sequence[Array3D],
    *,
    masks: Sequence[Mask3D | None] | None = None,
    percentiles: tuple[float, ...] = NYUL_PERCENTILES,
) -> NyulStandard:
    """Learn the standard histogram from training images.

    Parameters
    ----------
    images : arrays
        Training images; nothing else may take part.
    masks : bool arrays or None, optional
        Tissue of each image. Default: what lies above the image's mean.
    percentiles : floats, rising
        Landmarks.

    Returns
    -------
    NyulStandard
        Source: Nyúl, Udupa, Zhang 2000, New variants of a method of MRI scale
        standardization.

    Raises
    ------
    SettingsError
        If there is no image, or not a mask (or None) for each.
    ImageError
        If an image is constant between its outer landmarks.
    """
    _check_percentiles(percentiles)
    regions = list(masks) if masks is not None else [None] * len(images)
    if not images or len(regions) != len(images):
        raise SettingsError(
            f"Nyúl: {len(images)} training images and {len(regions)} masks; give at least one "
            "image, and a mask (or none) for each"
        )
    first, last = NYUL_SCALE
    scaled = []
    for number, (image, mask) in enumerate(zip(images, regions, strict=True)):
        found = _landmarks(image, mask, percentiles)
        if not found[-1] > found[0]:
            raise ImageError(
                f"Nyúl: training image {number} is {found[0]:g} from its first to its last "
                "landmark; leave the constant image out"
            )
        scaled.append(first + (found - found[0]) / (found[-1] - found[0]) * (last - first))
    mean = np.mean(scaled, axis=0)
    return NyulStandard(tuple(percentiles), tuple(float(v) for v in mean))


def nyul_map(data: Array3D, standard: NyulStandard, *, mask: Mask3D | None = None) -> IntensityMap:
    """Return the map of one image onto a standard that was learned before.

    Landmarks of the image that fall together (a flat stretch of its histogram) become one,
    at the mean of their standard places.
    """
    found = _landmarks(data, mask, standard.percentile)
    source, group = np.unique(found, return_inverse=True)
    if len(source) < 2:
        raise ImageError(
            f"Nyúl: the image is {found[0]:g} at every landmark; a constant image cannot be "
            "mapped. Give another mask, or --normalise none"
        )
    target = np.bincount(group, weights=standard.landmark) / np.bincount(group)
    return IntensityMap(tuple(float(v) for v in source), tuple(float(v) for v in target))


def _landmarks(
    data: Array3D, mask: Mask3D | None, percentiles: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    values = _values(data, mask, "Nyúl")
    tissue = values if mask is not None else values[values > values.mean()]
    return np.asarray(np.percentile(tissue if tissue.size else values, percentiles))


def _values(data: Array3D, mask: Mask3D | None, what: str) -> npt.NDArray[Any]:
    check_finite(data, what)
    return np.asarray(data[region_of(mask, data.shape, what)], dtype=np.float64)


def _check_percentiles(percentiles: Sequence[float]) -> None:
    rising = all(a < b for a, b in itertools.pairwise(percentiles))
    if len(percentiles) < 2 or not rising or percentiles[0] < 0 or percentiles[-1] > 100:
        raise SettingsError(
            f"percentiles {list(percentiles)} must rise, from 0 at the least to 100 at the most"
        )

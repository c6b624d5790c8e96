"""Noise of an image: how much there is, and more of it."""

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.stats import norm

from pipeline.errors import SettingsError
from pipeline.types import Volume

#: Coiflet 1: low-pass taps in closed form, and the high-pass filter that mirrors them.
_LOW_PASS = np.array(
    [1 - 7**0.5, 5 + 7**0.5, 14 + 2 * 7**0.5, 14 - 2 * 7**0.5, 1 - 7**0.5, -3 + 7**0.5]
) / (16 * 2**0.5)
_HIGH_PASS = _LOW_PASS * np.array([1, -1, 1, -1, 1, -1])

#: Median of |x| for a normal x of standard deviation 1 (0.6745).
_MEDIAN_OF_NORMAL = float(norm.ppf(0.75))

#: Responses up to this share of the image's range come from constant padding.
_NOTHING = 1e-9


def estimate_noise(image: Volume) -> float:
    """Return the standard deviation of the noise, in intensity units.

    The image is high-pass filtered along both axes of its slices (the finer two spacings) by
    coiflet 1, whose filter keeps the variance of white noise; what remains is noise, and its
    median absolute value over 0.6745 its standard deviation (Chang et al. 2000,
    doi:10.1109/83.862633, as in Zwanenburg et al. 2019, doi:10.1038/s41598-018-36938-4).

    Parameters
    ----------
    image : Volume
        Best a crop round the region: outside of the patient there may be no noise.

    Returns
    -------
    float
        0 for a constant image. Noise that interpolation or reconstruction smoothed is
        underestimated.
    """
    taps = _HIGH_PASS
    response = image.data.astype(np.float64)
    spread = float(np.ptp(response)) if response.size else 0.0
    axes = [int(axis) for axis in np.argsort(image.grid.spacing_mm, kind="stable")[:2]]
    for axis in axes:
        response = ndimage.convolve1d(response, taps, axis=axis, mode="reflect")
        # a reflected edge is not noise
        if response.shape[axis] > 2 * taps.size:
            inner = range(taps.size // 2, response.shape[axis] - taps.size // 2)
            response = response.take(inner, axis=axis)
    size = np.abs(response)
    silent = size <= _NOTHING * spread
    beside = silent
    for axis in axes:
        beside = ndimage.maximum_filter1d(beside, 2 * taps.size + 1, axis=axis, mode="nearest")
    # where padding begins, the filter sees a part of the noise only
    heard = size[~beside] if not beside.all() else size[~silent]
    return float(np.median(heard)) / _MEDIAN_OF_NORMAL if heard.size else 0.0


def add_noise(image: Volume, sd: float, rng: np.random.Generator) -> Volume:
    """Return the image with white normal noise of standard deviation `sd` added to it.

    `sd` is in intensity units; with 0 the image comes back as it is, else as float32 (float64
    where it is that already).
    """
    if not 0 <= sd < np.inf:
        raise SettingsError(f"noise of standard deviation {sd:g}: give a number of 0 or more")
    if sd == 0:
        return image
    dtype = np.result_type(image.data.dtype, np.float32)
    noisy = image.data + sd * rng.standard_normal(image.data.shape)
    return replace(image, data=noisy.astype(dtype))

"""Maps of a contrast series: subtraction, early enhancement, signal enhancement ratio.

S0 is the last image at or before injection (``time_s <= 0``).
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import GeometryError, SettingsError
from pipeline.preprocess.checks import check_finite, region_of
from pipeline.types import Array3D, Mask3D, Series, Volume

PhaseRule = Literal["max-mean", "third", "nearest-time"]

#: When the phase is chosen by time: where most breast cancers have reached their peak.
PEAK_TIME_S = 180.0

#: Background of a published map of percent enhancement (Breast-MRI-NACT-Pilot): voxels
#: whose S0 is at most 60 % of the 95th percentile of the region around the breast.
PUBLISHED_FLOOR_FRACTION = 0.6

#: Our own default is lower: dark but real tissue keeps its value, only air loses it.
FLOOR_FRACTION = 0.2


@dataclass(frozen=True)
class PhaseChoice:
    """Which time point was taken as the post-contrast image, and why.

    Attributes
    ----------
    index : int
        Time point of the series, counted from 0.
    time_s : float
        Its time after injection.
    rule : str
        The rule that chose it.
    asked : str
        The rule that was asked for; differs from `rule` when that one could not be used.
    reason : str
        Why `rule` differs from `asked`; empty when it does not.
    pre_index : int
        Time point of S0.
    mean_enhancement : floats
        Mean of phase - S0 in the ROI for each phase after S0; empty without a ROI.
    """

    index: int
    time_s: float
    rule: PhaseRule
    asked: PhaseRule
    reason: str
    pre_index: int
    mean_enhancement: tuple[float, ...]


def pre_contrast_index(series: Series) -> int:
    """Return the time point of S0, the last one with ``time_s <= 0``.

    Raises
    ------
    SettingsError
        If no image was taken before injection, or none after S0.
    """
    _check_times(series)
    before = [index for index, time in enumerate(series.time_s) if time <= 0]
    if not before:
        raise SettingsError(
            f"no image at or before injection: times are {list(series.time_s)} s. The image "
            "before contrast must have time_s 0 or less; set the times with --time-s"
        )
    if before[-1] == len(series.time_s) - 1:
        raise SettingsError(
            f"no image after injection: times are {list(series.time_s)} s. "
            "Set the times with --time-s"
        )
    return before[-1]


def choose_phase(
    series: Series,
    roi: Mask3D | None,
    *,
    rule: PhaseRule = "max-mean",
    time_s: float = PEAK_TIME_S,
) -> PhaseChoice:
    """Choose the post-contrast image from which S0 is subtracted.

    Parameters
    ----------
    series : Series
        Contrast series; times rise.
    roi : (I, J, K) bool array or None
        Tumour.
    rule : {"max-mean", "third", "nearest-time"}
        "max-mean": greatest mean of phase - S0 in the ROI (the earlier phase wins a tie);
        "third": third phase after contrast; "nearest-time": closest to `time_s`.
    time_s : float
        Used by "nearest-time", and when the asked rule cannot be used: "max-mean" without a
        voxel in the ROI, "third" with fewer than three phases.

    Returns
    -------
    PhaseChoice
        The choice with its reason.
    """
    if rule not in ("max-mean", "third", "nearest-time"):
        raise SettingsError(f"phase rule {rule!r} is unknown; use max-mean, third, nearest-time")
    pre = pre_contrast_index(series)
    posts = range(pre + 1, len(series.time_s))
    means: tuple[float, ...] = ()
    if roi is not None and roi.any():
        region = region_of(roi, series.grid.shape, "phase choice")
        inside = series.data[region].astype(np.float64)
        means = tuple(float((inside[:, index] - inside[:, pre]).mean()) for index in posts)
    used, reason, index = rule, "", pre + 1
    if rule == "max-mean" and means:
        index = posts[int(np.argmax(means))]
    elif rule == "third" and len(posts) >= 3:
        index = posts[2]
    else:
        used = "nearest-time"
        index = min(posts, key=lambda n: (abs(series.time_s[n] - time_s), n))
        if rule == "max-mean":
            reason = f"the ROI is empty; took the phase nearest to {time_s:g} s"
        elif rule == "third":
            reason = f"only {len(posts)} phases after contrast; took the nearest to {time_s:g} s"
    return PhaseChoice(index, series.time_s[index], used, rule, reason, pre, means)


def subtraction(series: Series, choice: PhaseChoice) -> Volume:
    """Return phase - S0 as float32; negative where the signal fell."""
    after = _image(series, choice.index)
    return Volume((after - _image(series, choice.pre_index)).astype(np.float32), series.grid)


def s0_floor(
    series: Series, *, region: Mask3D | None = None, fraction: float = FLOOR_FRACTION
) -> float:
    """Return the S0 at and below which a ratio to S0 means nothing.

    Parameters
    ----------
    series : Series
        Contrast series.
    region : (I, J, K) bool array, optional
        Where the breast is; its bounding box counts. Default: the whole image.
    fraction : float
        Part of the 95th percentile of S0, from 0 up to below 1.

    Returns
    -------
    float
        ``fraction`` x 95th percentile of S0, in the units of the image.
    """
    if not 0 <= fraction < 1:
        raise SettingsError(f"floor fraction {fraction:g} must be from 0 up to below 1")
    pre = series.data[..., pre_contrast_index(series)]
    check_finite(pre, "S0")
    if region is not None:
        where = np.nonzero(region_of(region, series.grid.shape, "S0 floor"))
        pre = pre[tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in where)]
    return fraction * float(np.percentile(pre, 95))


def early_enhancement(series: Series, *, floor: float, index: int | None = None) -> Volume:
    """Return the early enhancement 100 (S1 - S0) / S0 in percent, float32.

    Parameters
    ----------
    series : Series
        Contrast series.
    floor : float
        Voxels with S0 at or below it (and those with S0 <= 0) become 0.
    index : int, optional
        Time point of S1. Default: the first after S0.

    Returns
    -------
    Volume
        Percent. One bias field shared by all phases cancels.
    """
    pre = pre_contrast_index(series)
    early, base = _image(series, pre + 1 if index is None else index), _image(series, pre)
    return Volume(_ratio(100.0 * (early - base), base, floor), series.grid)


def signal_enhancement_ratio(
    series: Series, *, floor: float, early: int | None = None, late: int | None = None
) -> Volume:
    """Return the signal enhancement ratio (S1 - S0) / (S2 - S0), float32.

    Above 1 the contrast agent washes out, below 1 it still comes in.

    Parameters
    ----------
    series : Series
        Contrast series with at least two phases after S0.
    floor : float
        Voxels with S0 at or below it become 0.
    early, late : int, optional
        Time points of S1 and S2. Default: the first after S0 and the last.

    Returns
    -------
    Volume
        0 as well where S2 is at or below S0: without late enhancement there is no ratio.

    Raises
    ------
    SettingsError
        If S1 and S2 are the same time point.
    """
    pre = pre_contrast_index(series)
    first = pre + 1 if early is None else early
    last = len(series.time_s) - 1 if late is None else late
    if first == last:
        raise SettingsError(
            f"signal enhancement ratio: early and late are both time point {first} "
            f"({series.time_s[first]:g} s); it needs two phases after contrast"
        )
    base = _image(series, pre)
    ratio = _ratio(_image(series, first) - base, _image(series, last) - base, 0.0)
    return Volume(np.where(base > floor, ratio, np.float32(0.0)), series.grid)


def _ratio(above: Array3D, below: Array3D, floor: float) -> Array3D:
    """Return above / below as float32, 0 where `below` is at or under the floor (or 0)."""
    out = np.zeros(below.shape)
    np.divide(above, below, out=out, where=below > max(floor, 0.0))
    return out.astype(np.float32)


def _image(series: Series, index: int) -> Array3D:
    if not 0 <= index < series.data.shape[3]:
        raise SettingsError(
            f"time point {index} is not in the series; it has 0 to {series.data.shape[3] - 1}"
        )
    check_finite(series.data[..., index], f"time point {index}")
    return np.asarray(series.data[..., index], dtype=np.float64)


def _check_times(series: Series) -> None:
    times = series.time_s
    if len(times) != series.data.shape[3]:
        raise GeometryError(
            f"the series has {series.data.shape[3]} images and {len(times)} times; "
            "give one time per image with --time-s"
        )
    if not np.isfinite(times).all() or any(b < a for a, b in itertools.pairwise(times)):
        raise SettingsError(
            f"times {list(times)} s must not fall from image to image; put the images in the order "
            "they were taken"
        )

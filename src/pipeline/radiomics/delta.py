"""Change of features between two visits; positive is a decrease."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.types import Array1D

Mode = Literal["relative", "absolute", "log_ratio"]

#: A baseline closer to 0 than this has no relative change.
SMALLEST_BASELINE = 1e-9


def delta(
    baseline: npt.ArrayLike, followup: npt.ArrayLike, *, mode: Mode = "relative"
) -> npt.NDArray[np.float64]:
    """Return how much features fell from baseline to follow-up.

    Parameters
    ----------
    baseline, followup : arrays of one shape
        The same features at both visits; NaN where missing.
    mode : {"relative", "absolute", "log_ratio"}
        ``(b - f) / b`` (deltaRAD of Fan et al. 2021, doi:10.3389/fmolb.2021.622219),
        ``b - f`` in the feature's unit, or ``ln(b / f)``.

    Returns
    -------
    float array of the same shape
        0 is no change. NaN where a value is missing, where the baseline lies within
        `SMALLEST_BASELINE` of 0 (relative, log ratio), or where the two have no common sign
        (log ratio).
    """
    first: Array1D = np.asarray(baseline, dtype=np.float64)
    second: Array1D = np.asarray(followup, dtype=np.float64)
    if mode == "absolute":
        return first - second
    usable = np.abs(first) >= SMALLEST_BASELINE
    divisor = np.where(usable, first, np.nan)
    if mode == "relative":
        return (first - second) / divisor
    ratio = second / divisor
    return -np.log(np.where(ratio > 0, ratio, np.nan))

"""Agreement of two measurements of the same cases: bias and limits of agreement."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

_Z = 1.96


@dataclass(frozen=True)
class BlandAltman:
    """Bias and limits of agreement; NaN below two cases.

    Attributes
    ----------
    n : int
        Cases.
    bias, bias_low, bias_high : float
        Mean difference (second minus first) and its confidence limits.
    sd : float
        Standard deviation of the differences.
    lower, lower_low, lower_high : float
        Lower limit of agreement, bias - 1.96 sd, and its confidence limits.
    upper, upper_low, upper_high : float
        Upper limit of agreement.
    """

    n: int
    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float


def bland_altman(
    first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95
) -> BlandAltman:
    """Return bias and 95 % limits of agreement of paired measurements.

    Parameters
    ----------
    first, second : (n,) arrays
        Measurements of the same cases; pairs with a missing value are left out.
    level : float
        Of the confidence intervals.

    Notes
    -----
    Intervals are t intervals with n - 1 degrees of freedom; the variance of a limit is
    sd² (1/n + 1.96² / (2 (n - 1))). Bland and Altman, Stat Methods Med Res 8 (1999) 135.
    """
    one, two = (np.asarray(v, dtype=np.float64) for v in (first, second))
    difference = (two - one)[np.isfinite(one) & np.isfinite(two)]
    n = difference.size
    undefined = float("nan")
    bias = float(difference.mean()) if n else undefined
    if n < 2:
        return BlandAltman(n, bias, *[undefined] * 9)
    sd = float(difference.std(ddof=1))
    t = float(stats.t.ppf((1 + level) / 2, n - 1))
    around_bias = t * sd / math.sqrt(n)
    around_limit = t * sd * math.sqrt(1 / n + _Z**2 / (2 * (n - 1)))
    lower, upper = bias - _Z * sd, bias + _Z * sd
    return BlandAltman(
        n=n,
        bias=bias,
        bias_low=bias - around_bias,
        bias_high=bias + around_bias,
        sd=sd,
        lower=lower,
        lower_low=lower - around_limit,
        lower_high=lower + around_limit,
        upper=upper,
        upper_low=upper - around_limit,
        upper_high=upper + around_limit,
    )

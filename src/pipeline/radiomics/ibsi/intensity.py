"""Statistics of a list of intensities (IBSI UHIW), and of their grey levels alike."""

import numpy as np

from pipeline.types import Array1D


def statistics(values: Array1D) -> dict[str, float]:
    """Return the 18 features of intensity-based statistics, by the stem of their tags.

    Parameters
    ----------
    values : (n,) floats
        Intensities, or grey levels; energy and root mean square belong to intensities only.

    Notes
    -----
    Moments are those of the population (divided by n). Kurtosis is 0 for a normal distribution.
    Percentiles are interpolated between the two nearest of the sorted values. What divides by 0
    is NaN; a constant has skewness and kurtosis 0.
    """
    mean = float(values.mean())
    # The mean of equal numbers may be off by rounding: it must not make a spread.
    spread = values - mean if np.ptp(values) > 0 else np.zeros(len(values))
    variance = float(np.mean(spread**2))
    p10, p25, median, p75, p90 = (float(v) for v in np.percentile(values, [10, 25, 50, 75, 90]))
    robust = values[(values >= p10) & (values <= p90)]
    energy = float(np.sum(values**2))
    return {
        "mean": mean,
        "var": variance,
        "skew": _moment(spread, 3, variance),
        "kurt": _moment(spread, 4, variance) - 3.0 if variance > 0 else 0.0,
        "median": median,
        "min": float(values.min()),
        "p10": p10,
        "p90": p90,
        "max": float(values.max()),
        "iqr": p75 - p25,
        "range": float(np.ptp(values)),
        "mad": float(np.mean(np.abs(spread))),
        "rmad": _deviation(robust),
        "medad": float(np.mean(np.abs(values - median))),
        "cov": _ratio(np.sqrt(variance), mean),
        "qcod": _ratio(p75 - p25, p75 + p25),
        "energy": energy,
        "rms": float(np.sqrt(energy / len(values))),
    }


def _deviation(values: Array1D) -> float:
    """Return the mean distance from the mean; two intensities have none between percentiles."""
    return float(np.mean(np.abs(values - values.mean()))) if len(values) else float("nan")


def _moment(spread: Array1D, order: int, variance: float) -> float:
    if variance <= 0.0:
        return 0.0
    return float(np.mean(spread**order) / variance ** (order / 2.0))


def _ratio(above: float, below: float) -> float:
    return float(above) / below if below != 0 else float("nan")

"""Features of the intensity-volume histogram (IBSI P88C)."""

from dataclasses import dataclass

import numpy as np

from pipeline.radiomics.ibsi.discretise import discretise
from pipeline.radiomics.ibsi.prepare import Region
from pipeline.radiomics.ibsi.settings import IbsiSettings
from pipeline.types import Array1D

#: A fraction that should be equal to a percentage shall not miss it by rounding.
_ROUNDING = 1e-12

#: Whole numbers over a wider range than this are taken as they occur.
_MAX_STEPS = 10**6


@dataclass(frozen=True, eq=False)
class _Curve:
    """Intensities, how far each lies in their range, and the share of voxels at or above it."""

    intensity: Array1D
    fraction: Array1D
    volume: Array1D


def volume_histogram(region: Region, settings: IbsiSettings) -> dict[str, float]:
    """Return the 7 features of the intensity-volume histogram, by the stem of their tags.

    V_x is the share of voxels at or above x % of the range of intensities; I_x the lowest
    intensity that at most x % of the voxels reach. The range is that of the re-segmentation
    where one is set. With a bin width the intensities are the centres of the bins, with a bin
    count their numbers.
    """
    curve = _curve(region, settings)
    v10, v90 = _volume_at(curve, 0.1), _volume_at(curve, 0.9)
    i10, i90 = _intensity_at(curve, 0.1), _intensity_at(curve, 0.9)
    return {
        "v10": v10,
        "v90": v90,
        "i10": i10,
        "i90": i90,
        "diff_v10_v90": v10 - v90,
        "diff_i10_i90": i10 - i90,
        "auc": float(np.trapezoid(curve.volume, curve.fraction)),
    }


def _curve(region: Region, settings: IbsiSettings) -> _Curve:
    values = region.values
    low = float(values.min()) if np.isnan(region.bounds[0]) else region.bounds[0]
    high = float(values.max()) if np.isnan(region.bounds[1]) else region.bounds[1]
    if settings.volume_bin_count is not None:
        found = discretise(values, width=None, count=settings.volume_bin_count)
        return _at(found.level.astype(np.float64), np.arange(1.0, found.count + 1))
    if settings.volume_bin_width is not None:
        width = settings.volume_bin_width
        found = discretise(values, width=width, count=None, lowest=low)
        count = max(found.count, int(np.ceil((high - low) / width - _ROUNDING)))
        centres = low + (np.arange(count) + 0.5) * width
        return _at(np.asarray(centres[found.level - 1]), np.asarray(centres))
    if high - low <= _MAX_STEPS and (values == np.round(values)).all():
        return _at(values, np.arange(np.ceil(low), np.floor(high) + 1))
    return _at(values, np.unique(np.append(values, [low, high])))


def _at(values: Array1D, intensity: Array1D) -> _Curve:
    below = np.searchsorted(np.sort(values), intensity, side="left")
    span = intensity[-1] - intensity[0]
    fraction = (intensity - intensity[0]) / span if span > 0 else np.zeros(len(intensity))
    return _Curve(intensity, fraction, 1.0 - below / len(values))


def _volume_at(curve: _Curve, fraction: float) -> float:
    reached = curve.volume[curve.fraction >= fraction - _ROUNDING]
    return float(reached.max()) if len(reached) else 0.0


def _intensity_at(curve: _Curve, volume: float) -> float:
    """Return the lowest intensity of few enough voxels; the highest one where none is."""
    few = curve.intensity[curve.volume <= volume + _ROUNDING]
    return float(few.min()) if len(few) else float(curve.intensity[-1])

"""Intensities to grey levels, counted from 1 (IBSI 4R0B; K15C: fixed number, Q3RU: fixed width)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import SettingsError
from pipeline.radiomics.ibsi.settings import MAX_LEVELS
from pipeline.types import Array1D


@dataclass(frozen=True, eq=False)
class Levels:
    """Grey levels of some intensities.

    Attributes
    ----------
    level : (n,) int array
        From 1.
    count : int
        How many levels there are: the highest.
    """

    level: npt.NDArray[np.int64]
    count: int


def discretise(
    values: Array1D, *, width: float | None, count: int | None, lowest: float = np.nan
) -> Levels:
    """Return the grey levels of intensities.

    Parameters
    ----------
    values : (n,) floats
        Intensities that count, at least one.
    width : float or None
        Of a level; 1 when neither is given.
    count : int or None
        Number of levels from the lowest to the highest intensity; the highest belongs to the last.
    lowest : float
        Where levels of fixed width begin; NaN stands for the lowest intensity.

    Raises
    ------
    SettingsError
        There would be more than `MAX_LEVELS`.
    """
    low, high = float(values.min()), float(values.max())
    if count is not None:
        if high == low:
            return Levels(np.ones(len(values), dtype=np.int64), 1)
        level = np.floor(count * (values - low) / (high - low)).astype(np.int64) + 1
        return Levels(np.minimum(level, count), count)
    step = 1.0 if width is None else width
    origin = low if np.isnan(lowest) else lowest
    if (high - origin) / step >= MAX_LEVELS:
        raise SettingsError(
            f"intensities from {origin:g} to {high:g} make {(high - origin) / step:,.0f} grey "
            f"levels of width {step:g}, more than {MAX_LEVELS:,}; choose a larger bin width, or a "
            "bin count"
        )
    level = np.floor((values - origin) / step).astype(np.int64) + 1
    return Levels(level, int(level.max()))

"""Neighbouring grey tone difference matrix: voxels against the mean of their neighbours."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.engine.directions import Directions
from pipeline.radiomics.engine.levels import LevelMap
from pipeline.types import Array1D


def ngtdm(levels: LevelMap, directions: Directions) -> dict[str, float]:
    """Return the 5 features (Amadasun and King 1989, doi:10.1109/21.44046).

    Parameters
    ----------
    levels : LevelMap
        The region.
    directions : Directions
        To the neighbours.
    """
    level = levels.occupied.astype(np.float64)
    difference = difference_from_neighbours(levels, directions)
    by_level = np.bincount(levels.ranks, weights=difference)[1:]
    voxels = float(len(levels.voxels))
    share = levels.counts / voxels
    pairs = len(level) * (len(level) - 1)
    weighted = share * by_level
    apart = np.abs(level[:, None] - level)
    together = share[:, None] + share
    spread = np.abs((level * share)[:, None] - level * share).sum()
    total = by_level.sum()
    contrast = (share[:, None] * share * apart**2).sum() * total / voxels
    complexity = (apart * (weighted[:, None] + weighted) / together).sum() / voxels
    strength = (together * apart**2).sum()
    busyness = weighted.sum()
    coarseness = 1.0 / busyness if busyness != 0 else 1e6
    return {
        "Busyness": float(busyness / spread) if spread != 0 else 0.0,
        "Coarseness": float(coarseness),
        "Complexity": float(complexity),
        "Contrast": float(contrast / pairs) if pairs else 0.0,
        "Strength": float(strength / total) if total != 0 else 0.0,
    }


def difference_from_neighbours(levels: LevelMap, directions: Directions) -> Array1D:
    """Return each voxel's distance from its neighbours' mean level; 0 without neighbours."""
    most = 2 * len(directions.steps)
    true = np.concatenate([[0], levels.occupied])
    flat = true.astype(np.min_scalar_type(most * levels.highest))[levels.flat]
    inside = (levels.flat != 0).astype(np.min_scalar_type(most))
    total, number = np.zeros_like(flat), np.zeros_like(inside)
    for offset in (abs(offset) for offset in directions.offsets(levels)):
        _add_both_ways(total, flat, offset)
        _add_both_ways(number, inside, offset)
    beside = number[levels.voxels]
    own = flat[levels.voxels].astype(np.float64)
    difference: Array1D = np.abs(own - total[levels.voxels] / np.maximum(beside, 1))
    difference[beside == 0] = 0.0
    return difference


def _add_both_ways(total: npt.NDArray[Any], part: npt.NDArray[Any], offset: int) -> None:
    total[:-offset] += part[offset:]
    total[offset:] += part[:-offset]

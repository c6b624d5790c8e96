"""Grey-level dependence matrix: how many neighbours of a voxel have about its level."""

import numpy as np

from pipeline.radiomics.engine.directions import Directions
from pipeline.radiomics.engine.emphasis import SizeEntries, emphases
from pipeline.radiomics.engine.levels import Ints, LevelMap

_NAMES = {
    "SmallDependenceEmphasis": "small",
    "LargeDependenceEmphasis": "large",
    "GrayLevelNonUniformity": "level_nonuniformity",
    "DependenceNonUniformity": "size_nonuniformity",
    "DependenceNonUniformityNormalized": "size_nonuniformity_normalised",
    "GrayLevelVariance": "level_variance",
    "DependenceVariance": "size_variance",
    "DependenceEntropy": "entropy",
    "LowGrayLevelEmphasis": "low",
    "HighGrayLevelEmphasis": "high",
    "SmallDependenceLowGrayLevelEmphasis": "small_low",
    "SmallDependenceHighGrayLevelEmphasis": "small_high",
    "LargeDependenceLowGrayLevelEmphasis": "large_low",
    "LargeDependenceHighGrayLevelEmphasis": "large_high",
}


def gldm(levels: LevelMap, directions: Directions, alpha: float = 0.0) -> dict[str, float]:
    """Return the 14 features (Sun et al. 1983, doi:10.1016/0734-189X(83)90032-4).

    Parameters
    ----------
    levels : LevelMap
        The region.
    directions : Directions
        To the neighbours.
    alpha : float
        Largest difference in level of a dependent neighbour.
    """
    dependent = dependent_neighbours(levels, directions, alpha)
    most = 2 * len(directions.steps) + 1
    table = np.bincount(
        (levels.ranks.astype(np.int64) - 1) * most + dependent,
        minlength=len(levels.occupied) * most,
    ).reshape(-1, most)
    rank, number = np.nonzero(table)
    # A voxel counts as a neighbour of itself: the sizes begin with 1.
    entries = SizeEntries(
        np.zeros(len(rank), np.intp),
        levels.occupied[rank],
        number + 1,
        table[rank, number].astype(np.float64),
    )
    found = emphases(entries)
    return {name: float(found[key][0]) for name, key in _NAMES.items()}


def dependent_neighbours(levels: LevelMap, directions: Directions, alpha: float) -> Ints:
    """Return, for each voxel of the region, the number of its dependent neighbours."""
    flat = levels.flat
    number = np.zeros(len(flat), np.min_scalar_type(2 * len(directions.steps)))
    if alpha >= 1:
        # What lies outside the region is further from every level than alpha.
        true = np.concatenate([[-np.ceil(alpha) - 1], levels.occupied]).astype(np.int32)
        flat = true[flat]
    for offset in (abs(offset) for offset in directions.offsets(levels)):
        if alpha >= 1:
            alike = np.abs(flat[:-offset] - flat[offset:]) <= alpha
        else:
            alike = flat[:-offset] == flat[offset:]
        number[:-offset] += alike
        number[offset:] += alike
    found: Ints = number[levels.voxels]
    return found

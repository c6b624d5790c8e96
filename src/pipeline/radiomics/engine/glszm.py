"""Grey-level size-zone matrix: sizes of connected zones of equal level."""

import numpy as np

from pipeline.radiomics.engine.directions import Directions
from pipeline.radiomics.engine.emphasis import SizeEntries, emphases
from pipeline.radiomics.engine.levels import Ints, LevelMap

_NAMES = {
    "SmallAreaEmphasis": "small",
    "LargeAreaEmphasis": "large",
    "GrayLevelNonUniformity": "level_nonuniformity",
    "GrayLevelNonUniformityNormalized": "level_nonuniformity_normalised",
    "SizeZoneNonUniformity": "size_nonuniformity",
    "SizeZoneNonUniformityNormalized": "size_nonuniformity_normalised",
    "ZonePercentage": "percentage",
    "GrayLevelVariance": "level_variance",
    "ZoneVariance": "size_variance",
    "ZoneEntropy": "entropy",
    "LowGrayLevelZoneEmphasis": "low",
    "HighGrayLevelZoneEmphasis": "high",
    "SmallAreaLowGrayLevelEmphasis": "small_low",
    "SmallAreaHighGrayLevelEmphasis": "small_high",
    "LargeAreaLowGrayLevelEmphasis": "large_low",
    "LargeAreaHighGrayLevelEmphasis": "large_high",
}


def glszm(levels: LevelMap, directions: Directions) -> dict[str, float]:
    """Return the 16 features (Thibault et al. 2009).

    Parameters
    ----------
    levels : LevelMap
        The region.
    directions : Directions
        To direct neighbours.
    """
    found = emphases(size_zones(levels, directions))
    return {name: float(found[key][0]) for name, key in _NAMES.items()}


def size_zones(levels: LevelMap, directions: Directions) -> SizeEntries:
    """Return how many zones have each level and size."""
    zone = zones(levels, directions)
    sizes = np.bincount(zone)
    ranks = np.zeros(len(sizes), np.int64)
    ranks[zone] = levels.ranks
    beyond = int(sizes.max()) + 1
    cell, count = np.unique((ranks * beyond + sizes)[sizes > 0], return_counts=True)
    level = levels.occupied[cell // beyond - 1]
    return SizeEntries(np.zeros(len(cell), np.intp), level, cell % beyond, count.astype(np.float64))


def zones(levels: LevelMap, directions: Directions) -> Ints:
    """Return, for each voxel of the region, a number that the voxels of its zone share.

    Runs along the fastest axis are zones to begin with; each further direction then joins those
    that it links.
    """
    flat = levels.flat
    inside = flat != 0
    offsets = {abs(offset) for offset in directions.offsets(levels)}
    starts = np.ones(len(flat), dtype=bool)
    if 1 in offsets:
        np.not_equal(flat[1:], flat[:-1], out=starts[1:])
    zone: Ints = np.cumsum(starts, dtype=np.int32) - np.int32(1)
    parent = np.arange(zone[-1] + 1, dtype=np.int32)
    for offset in sorted(offsets - {1}, reverse=True):
        linked = flat[:-offset] == flat[offset:]
        linked &= inside[offset:]
        # Two runs that lie side by side are linked by each of their voxels: the first will do.
        linked &= starts[:-offset] | starts[offset:]
        linked &= zone[:-offset] != zone[offset:]
        at = np.flatnonzero(linked)
        if at.size:
            _join(parent, zone[at], zone[at + offset])
            zone = parent[zone]
    return zone[levels.voxels]


def _join(parent: Ints, one: Ints, other: Ints) -> None:
    """Let zones that are linked have the same root, and point to it."""
    linked = np.concatenate([one, other])
    low, high = np.minimum(one, other), np.maximum(one, other)
    while low.size:
        # Of several links of a zone one is kept; the others still differ in the next round.
        # Only the higher root moves, always to a lower one: no circle can arise.
        parent[high] = low
        _flatten(parent, np.concatenate([low, high]))
        low, high = parent[low], parent[high]
        apart = low != high
        low, high = np.minimum(low, high)[apart], np.maximum(low, high)[apart]
    _flatten(parent, linked)


def _flatten(parent: Ints, nodes: Ints) -> None:
    """Let nodes, and what they point to, point to their root."""
    above = parent[nodes]
    while True:
        higher = parent[above]
        if np.array_equal(higher, above):
            return
        parent[nodes] = above = higher

"""A voxel and all its neighbours: tone difference (IBSI IPET) and dependence (REK0)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.ibsi.emphasis import emphasis
from pipeline.radiomics.ibsi.entries import (
    Integers,
    beside,
    collect,
    directions,
    mean_of_filled,
)
from pipeline.radiomics.ibsi.settings import Dimension
from pipeline.types import Array1D, Array3D

#: Stem of the tag -> name in `emphasis`.
DEPENDENCE_TAGS = {
    "lde": "small",
    "hde": "large",
    "lgce": "low",
    "hgce": "high",
    "ldlge": "small_low",
    "ldhge": "small_high",
    "hdlge": "large_low",
    "hdhge": "large_high",
    "glnu": "levels",
    "glnu_norm": "levels_norm",
    "dcnu": "second",
    "dcnu_norm": "second_norm",
    "dc_perc": "percentage",
    "gl_var": "levels_var",
    "dc_var": "second_var",
    "dc_entr": "entropy",
    "dc_energy": "energy",
}

#: Coarseness of a region without any difference: IBSI's limit.
MAX_COARSENESS = 1e6


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """What surrounds each voxel of a region.

    Attributes
    ----------
    level : (n,) int array
        Grey level of the voxel.
    alike, number : (n,) int arrays
        Neighbours of the region with the same level, and all of them.
    tone : (n,) float array
        Mean level of the neighbours; NaN without any.
    slice : (n,) int array
        Slice of the voxel; 0 in 3-D.
    slices : int
        How many there are.
    """

    level: Integers
    alike: Integers
    number: Integers
    tone: Array1D
    slice: Integers
    slices: int


def neighbourhood(levels: Array3D, *, in_slice: bool) -> Neighbourhood:
    """Return what surrounds each voxel: 8 neighbours in a slice, or 26."""
    alike = np.zeros(levels.shape, dtype=np.int64)
    number = np.zeros(levels.shape, dtype=np.int64)
    total = np.zeros(levels.shape, dtype=np.int64)
    half = directions(in_slice=in_slice)
    for step in [*half, *((-i, -j, -k) for i, j, k in half)]:
        here, there = beside(levels, step)
        beside(alike, step)[0][...] += (here == there) & (there > 0)
        beside(number, step)[0][...] += there > 0
        beside(total, step)[0][...] += there
    inside = levels > 0
    count = number[inside]
    tone = np.where(count > 0, total[inside] / np.maximum(count, 1), np.nan)
    plane = np.nonzero(inside)[2] if in_slice else np.zeros(len(count), dtype=np.int64)
    slices = levels.shape[2] if in_slice else 1
    return Neighbourhood(levels[inside].astype(np.int64), alike[inside], count, tone, plane, slices)


def dependence(around: Neighbourhood, dimension: Dimension) -> dict[str, float]:
    """Return the 17 features of neighbouring grey level dependence, by stem of their tags.

    A voxel depends on itself and on the neighbours of the same level (coarseness 0).
    """
    group, groups = _grouped(around, dimension)
    matrices = collect(group, around.level, around.alike + 1, groups)
    voxels = np.bincount(group, minlength=groups).astype(np.float64)
    values = mean_of_filled(emphasis(matrices, voxels))
    return {f"{tag}_{dimension}": values[name] for tag, name in DEPENDENCE_TAGS.items()}


def tone_difference(around: Neighbourhood, dimension: Dimension) -> dict[str, float]:
    """Return the 5 features of neighbourhood grey tone difference, by stem of their tags.

    Voxels without a neighbour in the region are left out.
    """
    group, groups = _grouped(around, dimension)
    known = around.number > 0
    rows = [_tones(around, known & (group == at)) for at in range(groups)]
    found = mean_of_filled({name: np.array([row[name] for row in rows]) for name in rows[0]})
    return {f"{name}_{dimension}": value for name, value in found.items()}


def _grouped(around: Neighbourhood, dimension: Dimension) -> tuple[Integers, int]:
    if dimension == "2D":
        return around.slice, around.slices
    return np.zeros_like(around.slice), 1


def _tones(around: Neighbourhood, chosen: npt.NDArray[np.bool_]) -> dict[str, float]:
    names = ("coarseness", "contrast", "busyness", "complexity", "strength")
    level = around.level[chosen]
    if len(level) == 0:
        return dict.fromkeys(names, float("nan"))
    occupied, where = np.unique(level, return_inverse=True)
    difference = np.bincount(where, weights=np.abs(level - around.tone[chosen]))
    share = np.bincount(where) / len(level)
    value = occupied.astype(np.float64)
    gap = value[:, None] - value[None, :]
    weighted = value * share
    busy = float(np.sum(np.abs(weighted[:, None] - weighted[None, :])))
    both = share[:, None] + share[None, :]
    mixed = share * difference
    coarse = float(mixed.sum())
    spread = float(np.sum(share[:, None] * share[None, :] * gap**2))
    number, total = len(value), float(difference.sum())
    return {
        "coarseness": min(1.0 / coarse, MAX_COARSENESS) if coarse > 0 else MAX_COARSENESS,
        "contrast": spread / (number * (number - 1)) * total / len(level) if number > 1 else 0.0,
        "busyness": coarse / busy if busy > 0 else 0.0,
        "complexity": float(np.sum(np.abs(gap) * (mixed[:, None] + mixed[None, :]) / both))
        / len(level),
        "strength": float(np.sum(both * gap**2)) / total if total > 0 else 0.0,
    }

"""Grey level co-occurrence (IBSI LFYI): which levels lie side by side."""

import numpy as np

from pipeline.radiomics.ibsi.entries import (
    Entries,
    aggregations,
    beside,
    collect,
    directions,
    joined,
    mean_of_filled,
    per_group,
)
from pipeline.radiomics.ibsi.settings import Dimension
from pipeline.types import Array1D, Array3D


def cooccurrence(levels: Array3D, count: int, dimension: Dimension) -> dict[str, float]:
    """Return the 25 features in both aggregations, by the stem of their tags.

    Parameters
    ----------
    levels : (I, J, K) ints
        Grey levels from 1; 0 outside the region.
    count : int
        Number of grey levels.
    dimension : {"2D", "2_5D", "3D"}
        Which matrices become one: see `aggregations`.
    """
    slices, steps, entries = _pairs(levels, in_slice=dimension != "3D")
    return {
        f"{name}_{dimension}_{way}": value
        for way, group_of in aggregations(dimension, slices, steps).items()
        for name, value in mean_of_filled(features(entries.merged(group_of), count)).items()
    }


def features(matrices: Entries, levels: int) -> dict[str, Array1D]:
    """Return each feature of each matrix; NaN for an empty one.

    The matrices are symmetric. A matrix of a single level has correlation 1 and both measures
    of information correlation 0.
    """
    total = matrices.sums(matrices.count)
    safe = np.where(total > 0, total, 1.0)
    i, j = matrices.i.astype(np.float64), matrices.j.astype(np.float64)
    p = matrices.count / safe[matrices.group]
    mean = matrices.sums(p * i)
    centred_i, centred_j = i - mean[matrices.group], j - mean[matrices.group]
    gap, both = np.abs(i - j), centred_i + centred_j
    variance = matrices.sums(p * centred_i**2)
    difference = matrices.sums(p * gap)
    unequal = gap > 0
    found = {
        "joint_max": _largest(matrices, p),
        "joint_avg": mean,
        "joint_var": variance,
        "joint_entr": matrices.sums(_information(p)),
        "diff_avg": difference,
        "diff_var": matrices.sums(p * (gap - difference[matrices.group]) ** 2),
        "diff_entr": _marginal_entropy(matrices, p, np.abs(matrices.i - matrices.j)),
        "sum_avg": 2.0 * mean,
        "sum_var": matrices.sums(p * both**2),
        "sum_entr": _marginal_entropy(matrices, p, matrices.i + matrices.j),
        "energy": matrices.sums(p**2),
        "contrast": matrices.sums(p * gap**2),
        "dissimilarity": difference,
        "inv_diff": matrices.sums(p / (1.0 + gap)),
        "inv_diff_norm": matrices.sums(p / (1.0 + gap / levels)),
        "inv_diff_mom": matrices.sums(p / (1.0 + gap**2)),
        "inv_diff_mom_norm": matrices.sums(p / (1.0 + (gap / levels) ** 2)),
        "inv_var": matrices.sums(np.where(unequal, p / np.where(unequal, gap, 1.0) ** 2, 0.0)),
        "corr": _over(matrices.sums(p * centred_i * centred_j), variance, otherwise=1.0),
        "auto_corr": matrices.sums(p * i * j),
        "clust_tend": matrices.sums(p * both**2),
        "clust_shade": matrices.sums(p * both**3),
        "clust_prom": matrices.sums(p * both**4),
    }
    found |= _information_correlation(matrices, p, found["joint_entr"])
    return {name: np.where(total > 0, values, np.nan) for name, values in found.items()}


def _pairs(levels: Array3D, *, in_slice: bool) -> tuple[int, int, Entries]:
    """Return the symmetric matrices of each slice (one in 3-D) and direction, slice first."""
    steps = directions(in_slice=in_slice)
    slices = levels.shape[2] if in_slice else 1
    number = np.broadcast_to(np.arange(levels.shape[2]) if in_slice else 0, levels.shape)
    found = []
    for at, step in enumerate(steps):
        here, there = beside(levels, step)
        kept = (here > 0) & (there > 0)
        group = beside(number, step)[0][kept] * len(steps) + at
        one_way = collect(group, here[kept], there[kept], slices * len(steps))
        found.append(_mirrored(one_way))
    return slices, len(steps), joined(found)


def _mirrored(one_way: Entries) -> Entries:
    """Return the matrices plus their transposes."""
    twice = np.concatenate((one_way.group, one_way.group))
    i = np.concatenate((one_way.i, one_way.j))
    j = np.concatenate((one_way.j, one_way.i))
    return collect(twice, i, j, one_way.groups, np.concatenate((one_way.count, one_way.count)))


def _information(p: Array1D) -> Array1D:
    """Return -p log2 p, 0 for an empty cell."""
    return -p * np.log2(np.where(p > 0, p, 1.0)) + 0.0


def _marginal_entropy(matrices: Entries, p: Array1D, value: Array3D) -> Array1D:
    width = int(value.max(initial=0)) + 1
    shares = per_group(matrices.group * width + value, p, matrices.groups * width)
    return np.asarray(_information(shares).reshape(matrices.groups, width).sum(axis=1))


def _largest(matrices: Entries, p: Array1D) -> Array1D:
    largest = np.zeros(matrices.groups)
    np.maximum.at(largest, matrices.group, p)
    return largest


def _over(above: Array1D, below: Array1D, *, otherwise: float) -> Array1D:
    sound = below > 1e-12
    return np.where(sound, above / np.where(sound, below, 1.0), otherwise)


def _information_correlation(matrices: Entries, p: Array1D, joint: Array1D) -> dict[str, Array1D]:
    """Return both measures.

    The matrices being symmetric, HXY1 = HXY2 = 2 HX, the entropy that independent neighbours
    would have.
    """
    own = _marginal_entropy(matrices, p, matrices.i)
    shared = np.maximum(2.0 * own - joint, 0.0)
    return {
        "info_corr1": _over(-shared, own, otherwise=0.0) + 0.0,
        "info_corr2": np.sqrt(1.0 - np.exp(-2.0 * shared)),
    }

"""The features that runs, zones, distances and dependence counts share.

Grey level run length, size zone, distance zone and neighbouring dependence matrices count
elements by grey level i and by a second number j. Their features have the same formulas.
"""

import numpy as np

from pipeline.radiomics.ibsi.entries import Entries, Integers, per_group
from pipeline.types import Array1D


def emphasis(matrices: Entries, voxels: Array1D) -> dict[str, Array1D]:
    """Return the 17 features of each matrix, NaN for an empty one.

    Parameters
    ----------
    matrices : Entries
        Elements by grey level i and second number j.
    voxels : (groups,) floats
        Number of voxels that each matrix could have counted.

    Returns
    -------
    dict of str to (groups,) floats
        small, large: emphasis of j; low, high: of i; their four combinations; the
        non-uniformities of i ("levels") and j ("second"), plain and "_norm"; "percentage";
        "levels_var", "second_var", "entropy", "energy".
    """
    total = matrices.sums(matrices.count)
    safe = np.where(total > 0, total, 1.0)
    p = matrices.count / safe[matrices.group]
    i2, j2 = matrices.i.astype(np.float64) ** 2, matrices.j.astype(np.float64) ** 2
    by_level = _squared_margin(matrices, matrices.i)
    by_second = _squared_margin(matrices, matrices.j)
    found = {
        "small": matrices.sums(p / j2),
        "large": matrices.sums(p * j2),
        "low": matrices.sums(p / i2),
        "high": matrices.sums(p * i2),
        "small_low": matrices.sums(p / (i2 * j2)),
        "small_high": matrices.sums(p * i2 / j2),
        "large_low": matrices.sums(p * j2 / i2),
        "large_high": matrices.sums(p * i2 * j2),
        "levels": by_level / safe,
        "levels_norm": by_level / safe**2,
        "second": by_second / safe,
        "second_norm": by_second / safe**2,
        "percentage": total / np.where(voxels > 0, voxels, 1.0),
        "levels_var": _variance(matrices, p, matrices.i.astype(np.float64)),
        "second_var": _variance(matrices, p, matrices.j.astype(np.float64)),
        "entropy": matrices.sums(-p * np.log2(p)) + 0.0,
        "energy": matrices.sums(p**2),
    }
    return {name: np.where(total > 0, values, np.nan) for name, values in found.items()}


def _squared_margin(matrices: Entries, number: Integers) -> Array1D:
    """Return the sum of the squared sums along one of the two numbers."""
    found, where = np.unique(number, return_inverse=True)
    width = max(len(found), 1)
    key = matrices.group * width + where
    margin = per_group(key, matrices.count, matrices.groups * width)
    return np.asarray((margin.reshape(matrices.groups, width) ** 2).sum(axis=1))


def _variance(matrices: Entries, p: Array1D, number: Array1D) -> Array1D:
    mean = matrices.sums(p * number)
    return matrices.sums(p * (number - mean[matrices.group]) ** 2)

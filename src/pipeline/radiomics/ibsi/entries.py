"""Sparse texture matrices, many at once: what all families of texture share.

A matrix counts how often a grey level i meets a second number j (the level of a neighbour, a
run length, a zone size, a distance, a number of alike neighbours). Many of them, one per slice
and direction, are kept as one list of the cells that are not 0, and merged by summing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.ibsi.settings import Dimension
from pipeline.types import Array1D, Array3D

Integers = npt.NDArray[np.int64]

#: Cells up to which counting in a dense table is faster than sorting.
_DENSE_CELLS = 2**24


@dataclass(frozen=True, eq=False)
class Entries:
    """Cells of `groups` matrices that are not 0.

    Attributes
    ----------
    group, i, j : (n,) int arrays
        Which matrix, which row (grey level, from 1), which column (from 1).
    count : (n,) floats
        What stands there.
    groups : int
        How many matrices there are; some may be empty.
    """

    group: Integers
    i: Integers
    j: Integers
    count: Array1D
    groups: int

    def merged(self, group_of: Integers) -> "Entries":
        """Return the matrices summed: matrix g goes into ``group_of[g]``."""
        groups = int(group_of.max()) + 1
        return collect(group_of[self.group], self.i, self.j, groups, self.count)

    def sums(self, weights: Array1D) -> Array1D:
        """Return the sum of `weights` over the cells of each matrix; (groups,)."""
        return per_group(self.group, weights, self.groups)


def collect(
    group: Integers, i: Integers, j: Integers, groups: int, count: Array1D | None = None
) -> Entries:
    """Return the matrices of a list of events, equal ones counted together."""
    if len(group) == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return Entries(nothing, nothing, nothing, np.zeros(0), groups)
    rows, columns = int(i.max()) + 1, int(j.max()) + 1
    key = (group * rows + i) * columns + j
    if groups * rows * columns <= max(_DENSE_CELLS, 4 * len(key)):
        table = np.bincount(key, weights=count)
        cells = np.flatnonzero(table)
        number = table[cells].astype(np.float64)
    else:
        cells, where = np.unique(key, return_inverse=True)
        number = np.bincount(where, weights=count).astype(np.float64)
    return Entries(
        cells // (rows * columns), cells // columns % rows, cells % columns, number, groups
    )


def joined(parts: Sequence[Entries]) -> Entries:
    """Return matrices that were collected apart, no two parts sharing one."""
    group, i, j, count = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("group", "i", "j", "count")
    )
    return Entries(group, i, j, count, parts[0].groups)


def per_group(group: Integers, weights: Array1D, groups: int) -> Array1D:
    """Return the sum of weights in each group."""
    return np.bincount(group, weights=weights, minlength=groups).astype(np.float64)


def mean_of_filled(features: dict[str, Array1D]) -> dict[str, float]:
    """Return each feature's mean over the matrices that are not empty (the others are NaN)."""
    found = {}
    for name, values in features.items():
        known = values[~np.isnan(values)]
        found[name] = float(known.mean()) if len(known) else float("nan")
    return found


def shifted(size: int, step: int) -> tuple[slice, slice]:
    """Return the slices of an axis that put each voxel beside the one `step` farther on."""
    return slice(max(0, -step), size - max(0, step)), slice(max(0, step), size + min(0, step))


def beside(data: Array3D, step: tuple[int, int, int]) -> tuple[Array3D, Array3D]:
    """Return views of the voxels that have a neighbour at `step`, and of these neighbours."""
    pairs = [shifted(size, s) for size, s in zip(data.shape, step, strict=True)]
    return data[tuple(p[0] for p in pairs)], data[tuple(p[1] for p in pairs)]


def aggregations(dimension: Dimension, slices: int, steps: int) -> dict[str, Integers]:
    """Return which matrices become one, for the two ways of a dimension.

    Parameters
    ----------
    dimension : {"2D", "2_5D", "3D"}
        "2D": features averaged over slices and directions ("avg"), or the directions of a slice
        merged ("comb"). "2_5D": slices merged for each direction ("avg"), or everything
        ("comb"). "3D": features averaged over directions, or their matrices merged.
    slices, steps : int
        Number of slices (1 in 3-D) and of directions; matrices are counted slice first.

    Returns
    -------
    dict of str to (slices * steps,) int array
        The new number of each matrix.
    """
    each = np.arange(slices * steps)
    of_slice, of_step, one = each // steps, each % steps, np.zeros_like(each)
    return {
        "2D": {"avg": each, "comb": of_slice},
        "2_5D": {"avg": of_step, "comb": one},
        "3D": {"avg": each, "comb": one},
    }[dimension]


def directions(*, in_slice: bool) -> list[tuple[int, int, int]]:
    """Return half of the steps to the neighbours: 4 in a slice (i, j), else 13."""
    reach = (0,) if in_slice else (-1, 0, 1)
    steps = [(i, j, k) for k in reach for j in (-1, 0, 1) for i in (-1, 0, 1)]
    return [step for step in steps if step[::-1] > (0, 0, 0)]

"""Features of matrices that count things by grey level and size: runs, zones, dependences."""

from dataclasses import dataclass

import numpy as np

from pipeline.radiomics.engine.levels import Ints
from pipeline.types import Array1D

#: PyRadiomics adds it inside logarithms.
EPSILON = float(np.spacing(1))


@dataclass(frozen=True, eq=False)
class SizeEntries:
    """The occupied cells of one or more such matrices.

    Attributes
    ----------
    matrix : (E,) int array
        Which matrix a cell belongs to.
    level, size : (E,) int arrays
        Grey level and size of a cell, from 1.
    count : (E,) float array
        What it holds.
    matrices : int
        How many there are; those without a cell have NaN as features.
    """

    matrix: Ints
    level: Ints
    size: Ints
    count: Array1D
    matrices: int = 1

    def merged(self, weights: Array1D) -> "SizeEntries":
        """Return the weighted sum of the matrices."""
        key, where = np.unique(
            np.stack([self.level, self.size]).astype(np.int64), axis=1, return_inverse=True
        )
        count = np.bincount(where.ravel(), weights=self.count * weights[self.matrix])
        matrix = np.zeros(len(count), np.intp)
        return SizeEntries(matrix, key[0], key[1], count.astype(np.float64, copy=False))


def emphases(entries: SizeEntries) -> dict[str, Array1D]:
    """Return each feature's value for each matrix.

    Names are those of the reference manual in short: "small_high" is the emphasis of small
    sizes at high levels (IBSI, Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145).
    """
    matrix, count = entries.matrix, entries.count
    level, size = entries.level.astype(np.float64), entries.size.astype(np.float64)

    def total(weighted: Array1D) -> Array1D:
        return np.bincount(matrix, weighted, entries.matrices).astype(np.float64, copy=False)

    number = total(count)
    number = np.where(number == 0, np.nan, number)
    share = count / number[matrix]
    level_2, size_2 = level**2, size**2
    by_level = _squares(entries, entries.level)
    by_size = _squares(entries, entries.size)
    mean_level, mean_size = total(share * level), total(share * size)
    return {
        "small": total(count / size_2) / number,
        "large": total(count * size_2) / number,
        "low": total(count / level_2) / number,
        "high": total(count * level_2) / number,
        "small_low": total(count / (level_2 * size_2)) / number,
        "small_high": total(count * level_2 / size_2) / number,
        "large_low": total(count * size_2 / level_2) / number,
        "large_high": total(count * level_2 * size_2) / number,
        "level_nonuniformity": by_level / number,
        "level_nonuniformity_normalised": by_level / number**2,
        "size_nonuniformity": by_size / number,
        "size_nonuniformity_normalised": by_size / number**2,
        "level_variance": total(share * (level - mean_level[matrix]) ** 2),
        "size_variance": total(share * (size - mean_size[matrix]) ** 2),
        "entropy": -total(share * np.log2(share + EPSILON)),
        "percentage": number / total(count * size),
    }


def _squares(entries: SizeEntries, by: Ints) -> Array1D:
    """Return, for each matrix, the sum of the squares of its marginal."""
    present, column = np.unique(by, return_inverse=True)
    cell = entries.matrix * len(present) + column
    cells = entries.matrices * len(present)
    marginal = np.bincount(cell, weights=entries.count, minlength=cells)
    squares: Array1D = (marginal.reshape(entries.matrices, len(present)) ** 2).sum(axis=1)
    return squares

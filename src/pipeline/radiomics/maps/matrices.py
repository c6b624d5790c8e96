"""Small count matrices of the levels that occur in windows."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.radiomics.maps.sorting import sort_columns

#: Numbers in the matrices that are handled together: what a processor's cache can hold.
_CACHED = 1 << 19


def by_size(sizes: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (size, members): windows with the same number of levels, not too many at once."""
    for size in torch.unique(sizes).tolist():
        members = torch.nonzero(sizes == size).squeeze(1)
        for some in members.split(max(_CACHED // size**2, 64)):
            yield int(size), some


def pair_counts(ends: Tensor, codes: Tensor, size: int, bits: int) -> Tensor:
    """Return how often each two levels are neighbours: symmetric (size, size, B), pairs once.

    Parameters
    ----------
    ends, codes : (E, B) and (M, B) int tensors
        Levels at the ends of pairs, ascending, and codes of the pairs.
    size : int
        Number of distinct levels in each window.
    bits : int
        Of the codes.
    """
    levels = _distinct(ends, size)
    low, high = torch.triu_indices(size, size, device=levels.device)
    first, second = levels[low], levels[high]
    wanted = ((second - first) << bits) + (first + second)
    counts, equal = torch.zeros_like(wanted), torch.empty_like(wanted)
    for row in codes:
        counts += torch.eq(wanted, row, out=equal)
    matrix = torch.empty((size, size, counts.shape[1]), dtype=torch.float64, device=counts.device)
    matrix[low, high] = matrix[high, low] = counts.double()
    return matrix


def _distinct(ends: Tensor, size: int) -> Tensor:
    """Return the distinct entries (size, B) of ascending columns."""
    repeated = torch.empty_like(ends)
    repeated[0] = 0
    torch.eq(ends[1:], ends[:-1], out=repeated[1:])
    limit = torch.iinfo(ends.dtype).max
    return sort_columns(ends.masked_fill(repeated.bool(), limit))[:size]

"""Sort short columns side by side, and count the runs of equal entries.

A window has few pairs of voxels. Their grey levels as codes, one column per window, are sorted by
a network of fixed comparisons; equal codes then lie together, and no matrix of all pairs of levels
is needed. The same steps for each column suit vector units and GPUs.
"""

from functools import cache

import torch
from torch import Tensor


@cache
def comparators(count: int) -> tuple[tuple[int, int], ...]:
    """Return the comparisons that sort `count` entries: Batcher's odd-even merge sort.

    Source: K. E. Batcher, Sorting networks and their applications, AFIPS 1968.
    """
    pairs = []
    size = 1
    while size < count:
        step = size
        while step >= 1:
            for first in range(step % size, count - step, 2 * step):
                for low in range(first, min(first + step, count - step)):
                    if low // (2 * size) == (low + step) // (2 * size):
                        pairs.append((low, low + step))
            step //= 2
        size *= 2
    return tuple(pairs)


def sort_columns(entries: Tensor) -> Tensor:
    """Return the columns of (M, B) integers in ascending order; overwrites `entries`."""
    rows = list(entries.unbind(0))
    spare = torch.empty_like(rows[0])
    for low, high in comparators(len(rows)):
        torch.minimum(rows[low], rows[high], out=spare)
        torch.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]
    return torch.stack(rows)


def run_lengths(ordered: Tensor, limit: int) -> Tensor:
    """Return the length of each run of equal entries, at its last entry; 0 elsewhere.

    Parameters
    ----------
    ordered : (M, B) int tensor
        Ascending columns.
    limit : int
        Entries from here on stand for nothing; their runs count 0.
    """
    same = torch.empty_like(ordered)
    same[0] = 0
    torch.eq(ordered[1:], ordered[:-1], out=same[1:])
    lengths = torch.ones_like(ordered)
    rows, repeats = lengths.unbind(0), same.unbind(0)
    for row in range(1, len(rows)):
        torch.mul(rows[row - 1], repeats[row], out=rows[row]).add_(1)
    lengths[:-1] *= same[1:].bitwise_xor_(1)
    lengths *= torch.lt(ordered, limit, out=same)
    return lengths


def add_up(rows: Tensor) -> Tensor:
    """Return the sum of the first axis, in the type of the entries: row by row, the fastest way."""
    total = rows[0].clone()
    for row in rows[1:].unbind(0):
        total += row
    return total


def positive(rows: Tensor) -> Tensor:
    """Return how many entries of each column are above 0."""
    return add_up(torch.gt(rows, 0, out=torch.empty_like(rows)))

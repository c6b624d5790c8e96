"""Tables of -p log2 p for counts: entropies by looking up and adding."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from pipeline.radiomics.maps.sorting import add_up

#: What PyRadiomics adds to p within the logarithm.
EPSILON = float(np.spacing(1))


@cache
def entropy_table(largest: int, cells: int, device: torch.device) -> Tensor:
    """Return -cells * p log2(p + eps) with p = count / (cells * total), by total, then count.

    Parameters
    ----------
    largest : int
        Highest total; a row has ``largest + 1`` entries, the first (count 0) being 0.
    cells : int
        Cells of the matrix that share the count equally: 2 for unlike levels in a symmetrical
        matrix.
    device : torch.device
        Where it is looked up.
    """
    count = np.arange(largest + 1, dtype=np.float64)
    total = np.maximum(count, 1)[:, None]
    share = np.minimum(count / (cells * total), 1.0)
    return torch.from_numpy(-cells * share * np.log2(share + EPSILON)).ravel().to(device)


def entropy(lengths: Tensor, rows: Tensor, table: Tensor) -> Tensor:
    """Return the entropy (B,) of columns whose runs have these lengths (M, B).

    Parameters
    ----------
    lengths : (M, B) int tensor
        Length of each run once, else 0.
    rows : (B,) int32 tensor
        Where the row of the column's total starts in the table.
    table : tensor
        Of `entropy_table`.
    """
    index = lengths.to(torch.int32, copy=True).add_(rows)
    return add_up(table.index_select(0, index.ravel()).view(lengths.shape))

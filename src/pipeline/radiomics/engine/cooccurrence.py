"""Counts of pairs of grey levels, on the CPU with numpy or on a GPU with torch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.engine.levels import LevelMap


def cooccurrences(
    levels: LevelMap, offsets: Sequence[int], device: str | None = None
) -> npt.NDArray[np.int64]:
    """Return how often a level meets another one a fixed step away.

    Parameters
    ----------
    levels : LevelMap
        The region.
    offsets : sequence of int
        Flat steps.
    device : str, optional
        A device of torch; numpy without. Counts are whole: they agree to the last one.

    Returns
    -------
    (A, n, n) int array
        ``[a, r, s]``: voxels of rank r + 1 whose neighbour along step a has rank s + 1.
    """
    n = len(levels.occupied)
    if device is None:
        dtype = np.min_scalar_type(n * (n + 1))
        codes = (levels.ranks.astype(dtype) - dtype.type(1)) * dtype.type(n + 1)
        found = _count(levels.flat, levels.voxels, codes, offsets, n, np.bincount)
    else:
        found = _count_on(device, levels, offsets, n)
    # Column 0 holds the neighbours outside the region. A negative step was taken backwards.
    tables = found.reshape(-1, n, n + 1)[:, :, 1:]
    for table, offset in zip(tables, offsets, strict=True):
        if offset < 0:
            table[:] = table.T.copy()
    return tables


def _count(
    flat: Any,
    voxels: Any,
    codes: Any,
    offsets: Sequence[int],
    n: int,
    bincount: Callable[..., Any],
) -> npt.NDArray[np.int64]:
    found = np.empty((len(offsets), n * (n + 1)), dtype=np.int64)
    for row, offset in zip(found, offsets, strict=True):
        counted = bincount(codes + flat[abs(offset) :].take(voxels), minlength=len(row))
        row[:] = counted if isinstance(counted, np.ndarray) else counted.cpu().numpy()
    return found


def _count_on(
    device: str, levels: LevelMap, offsets: Sequence[int], n: int
) -> npt.NDArray[np.int64]:
    import torch

    flat, voxels, ranks = (
        torch.from_numpy(part.astype(np.int64)).to(device)
        for part in (levels.flat, levels.voxels, levels.ranks)
    )
    return _count(flat, voxels, (ranks - 1) * (n + 1), offsets, n, torch.bincount)

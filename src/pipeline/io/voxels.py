"""Voxels from a byte stream: sized, read, put into native byte order, scaled, checked."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ReadError
from pipeline.io.limits import check_declared
from pipeline.io.sources import Source

_SLAB_BYTES = 1 << 26


def read_voxels(
    source: Source, shape: tuple[int, ...], dtype: "np.dtype[Any]", *, max_bytes: int
) -> npt.NDArray[Any]:
    """Return the voxels that follow in `source`, first axis fastest, in native byte order.

    Parameters
    ----------
    source : Source
        Stands on the first voxel.
    shape : tuple of int
        All positive. The first axis is the fastest in the file.
    dtype : numpy dtype
        Type and byte order in the file.
    max_bytes : int
        Cap on the declared size, checked before anything is allocated.

    Raises
    ------
    ReadError
        Oversized, truncated, corrupt, or more bytes than declared.
    """
    declared = math.prod(shape) * dtype.itemsize
    check_declared(source.path, declared, source.capacity, max_bytes)
    try:
        buffer = np.empty(declared, dtype=np.uint8)
    except MemoryError as error:
        raise ReadError(
            f"{source.path}: no memory for its {declared:,} bytes of voxels; use a machine with "
            "more memory, or crop or resample the image first"
        ) from error
    source.fill(buffer.data)
    source.finish()
    voxels: npt.NDArray[Any] = buffer.view(dtype)
    if not dtype.isnative:
        voxels = voxels.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return voxels.reshape(shape, order="F")


def rescale(voxels: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """Return slope * voxels + intercept; the array itself when that changes nothing.

    Integers of up to 16 bits and float32 give float32 (computed in float64), others float64.
    """
    if slope == 1.0 and intercept == 0.0:
        return voxels
    small = voxels.dtype.itemsize <= 2 or voxels.dtype == np.float32
    scaled = np.empty(voxels.shape, dtype=np.float32 if small else np.float64, order="F")
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is counted by check_finite
        for part in _slabs(voxels):
            scaled[part] = voxels[part].astype(np.float64) * slope + intercept
    return scaled


def check_finite(path: Path, voxels: npt.NDArray[Any]) -> None:
    """Raise ReadError, with the count, when float voxels hold NaN or infinity."""
    if not np.issubdtype(voxels.dtype, np.floating):
        return
    bad = sum(int(np.count_nonzero(~np.isfinite(voxels[part]))) for part in _slabs(voxels))
    if bad:
        raise ReadError(
            f"{path}: {bad:,} of {voxels.size:,} voxels are NaN or infinite; fill them at the "
            "source (for example with the background value) before going on"
        )


def _slabs(voxels: npt.NDArray[Any]) -> list[tuple[Any, ...]]:
    """Return index tuples that cut the last axis into pieces of at most 64 MiB."""
    thickness = max(1, _SLAB_BYTES * voxels.shape[-1] // max(1, voxels.size * 8))
    starts = range(0, voxels.shape[-1], thickness)
    return [(..., slice(start, start + thickness)) for start in starts]

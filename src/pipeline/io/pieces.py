"""Voxels out, as bytes in pieces: same voxels, same bytes, little memory."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.io.atomic import atomic_path

#: A third of the time of zlib's default 6, for under 1 % more bytes (measured on CT and on floats).
_LEVEL = 4
_SLAB_VOXELS = 1 << 20
_WINDOW_BITS = {"gzip": 31, "zlib": 15}


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write `pieces` one after another into `path`, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)


def deflated(
    pieces: Iterable[bytes], container: Literal["gzip", "zlib"] = "gzip"
) -> Iterator[bytes]:
    """Yield one compressed stream; gzip without file name or time stamp."""
    engine = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS[container])
    for piece in pieces:
        yield engine.compress(piece)
    yield engine.flush()


def voxel_bytes(voxels: npt.NDArray[Any]) -> Iterator[bytes]:
    """Yield the voxels (I, J, K, ...) little-endian, first axis fastest, some MB at a time."""
    little = voxels.dtype.newbyteorder("<")
    step = max(1, _SLAB_VOXELS // (voxels.shape[0] * voxels.shape[1]))
    for index in np.ndindex(voxels.shape[:2:-1]):
        image = voxels[(..., *index[::-1])]
        for start in range(0, image.shape[2], step):
            yield image[:, :, start : start + step].astype(little, copy=False).tobytes(order="F")

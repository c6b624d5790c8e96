"""Arrays that are put aside on disk while a process lives, and paged in as they are read."""

import mmap
import tempfile
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.io.atomic import refusals_told

Scalar = TypeVar("Scalar", bound=np.generic)


def put_aside(array: npt.NDArray[Scalar], folder: Path) -> npt.NDArray[Scalar]:
    """Return a read-only map of the array's bytes in a nameless file, gone with the process.

    Parameters
    ----------
    array : array
        In C order on disk and in what is returned.
    folder : Path
        On a disk with room for it.

    Raises
    ------
    WriteError
        The disk is full or read-only, or the folder is not ours.
    """
    with refusals_told(folder / "scratch file"), tempfile.TemporaryFile(dir=folder) as scratch:
        scratch.write(np.ascontiguousarray(array).data)
        scratch.flush()
        view = mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(view, dtype=array.dtype).reshape(array.shape)

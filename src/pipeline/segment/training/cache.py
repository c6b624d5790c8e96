"""Prepared images and classes, kept in memory up to a limit and in a scratch file beyond it."""

import logging
import mmap
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.segment.network_grid import network_grid, prepare, prepare_labels
from pipeline.segment.plan import Plan
from pipeline.types import Volume

_LOG = logging.getLogger(__name__)

#: Foreground voxels of each class that can be the centre of a patch.
_CENTRES = 5000

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case as the network sees it.

    Attributes
    ----------
    name : str
    image : (I, J, K) float32 array
    classes : (I, J, K) uint8 array
    centres : tuple of (n, 3) int arrays
        Voxels of each foreground class that occurs, evenly thinned.
    """

    name: str
    image: npt.NDArray[np.float32]
    classes: npt.NDArray[np.uint8]
    centres: tuple[npt.NDArray[np.intp], ...]


class Cache:
    """Room for prepared cases.

    Arrays beyond the limit go to nameless files: the system pages them in and out, and they are
    gone when the process is, however it ends.

    Parameters
    ----------
    limit_bytes : int
        What may stay in memory.
    folder : Path
        Where the scratch files lie; on a disk with room for the rest.
    """

    def __init__(self, limit_bytes: int, folder: Path) -> None:
        self._left = limit_bytes
        self._folder = folder
        self._told = False

    def keep(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return the array, or a map of its bytes on disk when the memory is used up."""
        if array.nbytes <= self._left:
            self._left -= array.nbytes
            return array
        if not self._told:
            _LOG.info("memory limit reached: further images lie in %s meanwhile", self._folder)
            self._told = True
        with tempfile.TemporaryFile(dir=self._folder) as scratch:
            scratch.write(np.ascontiguousarray(array).data)
            scratch.flush()
            view = mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(view, dtype=array.dtype).reshape(array.shape)


def prepare_case(name: str, image: Volume, mask: Volume, plan: Plan, cache: Cache) -> Prepared:
    """Return one case on the network's grid, its arrays kept by `cache`."""
    ready = prepare(image, plan)
    classes = prepare_labels(mask, network_grid(image.grid, plan.spacing_mm), plan)
    return Prepared(
        name,
        cache.keep(np.ascontiguousarray(ready.data, dtype=np.float32)),
        cache.keep(np.ascontiguousarray(classes, dtype=np.uint8)),
        _centres(classes, plan.classes),
    )


def _centres(classes: npt.NDArray[Any], count: int) -> tuple[npt.NDArray[np.intp], ...]:
    found = []
    for number in range(1, count):
        flat = np.flatnonzero(classes == number)
        if flat.size:
            thinned = flat[:: max(1, -(-flat.size // _CENTRES))]
            found.append(np.stack(np.unravel_index(thinned, classes.shape), axis=1))
    return tuple(found)

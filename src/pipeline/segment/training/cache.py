"""Prepared images and classes, kept in memory up to a limit and put aside beyond it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
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
Aside = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


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

    Parameters
    ----------
    limit_bytes : int
        What may stay in memory.
    put_aside : callable
        Takes an array beyond the limit and returns one with the same values that needs no memory
        of its own, such as a map of a file.
    """

    def __init__(self, limit_bytes: int, put_aside: Aside) -> None:
        self._left = limit_bytes
        self._put_aside = put_aside
        self._told = False

    def keep(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return the array, or what takes its place when the memory is used up."""
        if array.nbytes <= self._left:
            self._left -= array.nbytes
            return array
        if not self._told:
            _LOG.info("memory limit reached: further images lie on disk meanwhile")
            self._told = True
        return self._put_aside(array)


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

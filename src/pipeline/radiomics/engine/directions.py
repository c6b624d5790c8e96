"""Steps from a voxel to its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from radiomics import cMatrices

from pipeline.radiomics.engine.levels import Ints, LevelMap
from pipeline.radiomics.engine.settings import Weighting
from pipeline.types import Array1D

_NORMS: dict[str, Any] = {"manhattan": 1, "euclidean": 2, "infinity": np.inf}


@dataclass(frozen=True, eq=False)
class Directions:
    """One of each pair of opposite steps.

    Attributes
    ----------
    steps : (A, 3) int array
        In voxels along k, j, i.
    """

    steps: Ints

    def offsets(self, levels: LevelMap) -> list[int]:
        """Return the steps in the flat layout; a negative one is the opposite of a positive."""
        return [int(offset) for offset in self.steps @ levels.strides]

    def lengths_mm(self, spacing_mm: Sequence[float], weighting: Weighting) -> Array1D | None:
        """Return the length of each step by a norm; None where the norm weighs all alike.

        Parameters
        ----------
        spacing_mm : (3,) floats
            Along k, j, i.
        weighting : str
            Name of the norm.
        """
        if weighting not in _NORMS:
            return None
        lengths: Array1D = np.linalg.norm(
            self.steps * np.asarray(spacing_mm), _NORMS[weighting], axis=1
        )
        return lengths


def directions(
    shape: Sequence[int], distances: Sequence[int], flat_axis: int | None = None
) -> Directions:
    """Return the directions that fit into a region's box, in PyRadiomics' order and sense.

    Parameters
    ----------
    shape : (3,) ints
        Voxels of the box along k, j, i.
    distances : sequence of int
        Largest step along an axis, in voxels.
    flat_axis : int, optional
        Axis of (k, j, i) along which no step goes.
    """
    reach = [n for axis, n in enumerate(shape) if axis != flat_axis]
    if min(distances) >= max(reach):
        return Directions(np.zeros((0, 3), dtype=np.int64))
    steps: npt.NDArray[np.int64] = cMatrices.generate_angles(
        np.asarray(shape), np.asarray(distances), False, flat_axis is not None, flat_axis or 0
    ).astype(np.int64)
    return Directions(steps)

"""How well one map agrees with another, published one."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import EmptyRegionError
from pipeline.grid_difference import check_same_grid
from pipeline.types import Volume


@dataclass(frozen=True)
class Agreement:
    """Agreement of a map with a reference over the voxels where the reference is not 0.

    Attributes
    ----------
    voxels : int
        Number of voxels compared.
    correlation : float
        Pearson's r.
    largest_difference, median_difference : float
        Of the absolute differences, in the units of the maps.
    """

    voxels: int
    correlation: float
    largest_difference: float
    median_difference: float


def measure_agreement(found: Volume, reference: Volume) -> Agreement:
    """Compare two maps on one grid where the reference is defined (not 0).

    Raises
    ------
    GeometryError
        When the maps lie on different grids.
    EmptyRegionError
        When fewer than two voxels of the reference differ from 0.
    """
    check_same_grid(reference.grid, found.grid, ("the reference", "the map"))
    defined = reference.data != 0
    if np.count_nonzero(defined) < 2:
        raise EmptyRegionError("the reference is 0 everywhere; is it the right map?")
    ours = found.data[defined].astype(np.float64)
    theirs = reference.data[defined].astype(np.float64)
    differences = np.abs(ours - theirs)
    return Agreement(
        voxels=int(ours.size),
        correlation=float(np.corrcoef(ours, theirs)[0, 1]),
        largest_difference=float(differences.max()),
        median_difference=float(np.median(differences)),
    )

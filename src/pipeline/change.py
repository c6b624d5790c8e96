"""Change of a region between two visits: by its masks, and by the Jacobian map inside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import EmptyRegionError
from pipeline.grid_difference import check_same_grid
from pipeline.types import Volume


@dataclass(frozen=True)
class Change:
    """Two measures of the same change.

    Attributes
    ----------
    first_voxels, last_voxels : int
        Size of the region at each visit.
    first_volume_mm3, last_volume_mm3 : float
        The same in mm³, as the headers have it.
    volume_ratio : float
        Last volume over first volume, by the masks.
    mean_jacobian : float
        Mean det J inside the first mask: the ratio that the registration found.
    folded_fraction : float
        Share of the first mask's voxels with det J of 0 or less.
    """

    first_voxels: int
    last_voxels: int
    first_volume_mm3: float
    last_volume_mm3: float
    volume_ratio: float
    mean_jacobian: float
    folded_fraction: float


def measure_change(jacobian: Volume, first_mask: Volume, last_mask: Volume) -> Change:
    """Compare the Jacobian map inside a region with the ratio of the region's volumes.

    Parameters
    ----------
    jacobian : Volume
        det J on the grid of the first visit: last volume over first volume.
    first_mask : Volume
        The region at the first visit, on the same grid.
    last_mask : Volume
        The region at the last visit, on its own grid.

    Raises
    ------
    EmptyRegionError
        When the first mask is empty.
    GeometryError
        When the first mask does not lie on the map's grid.
    """
    check_same_grid(jacobian.grid, first_mask.grid, ("the Jacobian map", "the first mask"))
    inside = first_mask.data.astype(bool)
    if not inside.any():
        raise EmptyRegionError("the mask of the first visit is empty; there is nothing to compare")
    values = jacobian.data[inside].astype(np.float64)
    first, last = int(inside.sum()), int(np.count_nonzero(last_mask.data))
    first_mm3 = first * first_mask.grid.voxel_volume_mm3
    last_mm3 = last * last_mask.grid.voxel_volume_mm3
    return Change(
        first_voxels=first,
        last_voxels=last,
        first_volume_mm3=first_mm3,
        last_volume_mm3=last_mm3,
        volume_ratio=last_mm3 / first_mm3,
        mean_jacobian=float(values.mean()),
        folded_fraction=float((values <= 0).mean()),
    )


def rank_correlation(changes: Sequence[Change]) -> float | None:
    """Return Spearman's rho of mean Jacobian and volume ratio; None below three subjects."""
    from scipy.stats import spearmanr

    if len(changes) < 3:
        return None
    found = [c.mean_jacobian for c in changes]
    return float(spearmanr(found, [c.volume_ratio for c in changes]).statistic)

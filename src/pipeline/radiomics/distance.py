"""Signed distances in mm from the surface of a region, on anisotropic grids."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from pipeline.types import Array3D, Mask3D

Edge = Literal["surface", "centres"]


def signed_distance_mm(
    region: Mask3D, spacing_mm: tuple[float, float, float], *, edge: Edge = "surface"
) -> npt.NDArray[np.float64]:
    """Return the distance of each voxel centre from a region; negative inside.

    Parameters
    ----------
    region : (I, J, K) bool array
        With voxels inside.
    spacing_mm : (3,) floats
        Along i, j, k.
    edge : {"surface", "centres"}
        "centres": the Euclidean distance to the nearest centre of a voxel on the other side, the
        distance of a dilation with a ball. It is too long, as the surface lies before that
        centre: by 6 % of the volume of a ring of 3 mm around a ball of 10 mm at 1 mm spacing, by
        20 % with slices of 3 mm. "surface" takes the mean of that distance and the one to the
        nearest point half-way between neighbours on both sides, which is too short by as much: it
        is right to 1.5 % at 1 mm and to 5 % with slices of 3 mm.

    Returns
    -------
    (I, J, K) float array
        In mm; inf (or -inf) where there is no other side.

    Notes
    -----
    Exact Euclidean distance transform of scipy (Maurer et al. 2003, doi:10.1109/TPAMI.2003.1177156)
    on the anisotropic grid, and on three grids refined along one axis for the points between.
    """
    if region.all():
        return np.full(region.shape, -np.inf)
    outward = distance_transform_edt(~region, sampling=spacing_mm)
    inward = distance_transform_edt(region, sampling=spacing_mm)
    if edge == "surface":
        between = _distance_to_midpoints(region, spacing_mm)
        outward, inward = (outward + between) / 2, (inward + between) / 2
    return np.asarray(np.where(region, -inward, outward), dtype=np.float64)


def _distance_to_midpoints(region: Mask3D, spacing_mm: Sequence[float]) -> Array3D:
    """Return the distance to the nearest point half-way between two voxels on either side."""
    nearest = np.full(region.shape, np.inf)
    for axis in range(3):
        crossed = np.diff(region, axis=axis)
        if not crossed.any():
            continue
        # Every second plane of the refined grid lies half-way between two planes of voxels.
        shape = [2 * n - 1 if a == axis else n for a, n in enumerate(region.shape)]
        steps = [s / 2 if a == axis else s for a, s in enumerate(spacing_mm)]
        elsewhere = np.ones(shape, dtype=np.bool_)
        elsewhere[_every_second(axis, start=1)] = ~crossed
        found = distance_transform_edt(elsewhere, sampling=steps)[_every_second(axis, start=0)]
        np.minimum(nearest, found, out=nearest)
    return nearest


def _every_second(axis: int, *, start: int) -> tuple[slice, ...]:
    return tuple(slice(start, None, 2) if a == axis else slice(None) for a in range(3))

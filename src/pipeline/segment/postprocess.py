"""What makes a region of a foreground: one component, opened, filled; its size at each step."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import EmptyRegionError
from pipeline.types import Geometry, Mask3D

Spacing = tuple[float, float, float]

#: Voxels that touch by a face, an edge or a corner belong together.
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class StepSize:
    """Size of the region after one step."""

    step: str
    voxels: int
    volume_mm3: float


def step_size(step: str, mask: Mask3D, grid: Geometry) -> StepSize:
    """Return the size of a mask in voxels and mm³ under the name of a step."""
    voxels = int(np.count_nonzero(mask))
    return StepSize(step, voxels, round(voxels * grid.voxel_volume_mm3, 6))


def component_at(
    foreground: Mask3D, seed: tuple[int, int, int], spacing_mm: Spacing, *, reach_mm: float
) -> Mask3D:
    """Return the component (26 neighbours) that holds the seed, or the nearest one.

    Parameters
    ----------
    foreground : (I, J, K) bool array
        Voxels of the target cluster.
    seed : ijk
        Seed voxel.
    spacing_mm : (3,) floats
        Distance between voxels along i, j, k.
    reach_mm : float
        A seed beside the foreground takes the component whose nearest voxel centre lies
        within this distance.

    Raises
    ------
    EmptyRegionError
        If nothing lies within reach.
    """
    labels, count = ndimage.label(foreground, _TOUCHING)
    if count and labels[seed]:
        return np.asarray(labels == labels[seed])
    voxels = np.argwhere(foreground)
    apart = np.linalg.norm((voxels - np.asarray(seed)) * np.asarray(spacing_mm), axis=1)
    nearest = float(apart.min()) if count else float("inf")
    if nearest > reach_mm:
        where = f"the nearest lies {nearest:.1f} mm away" if count else "there is none at all"
        raise EmptyRegionError(
            f"no foreground within {reach_mm:g} mm of the seed ({where}); move the seed or widen "
            "the reach"
        )
    # of equally near components the larger, so that the answer does not hang on voxel order
    tied = labels[tuple(voxels[apart <= nearest + 1e-9].T)]
    sizes = np.bincount(labels.ravel())
    return np.asarray(labels == max(set(tied.tolist()), key=lambda label: (sizes[label], -label)))


def fill_holes(mask: Mask3D, *, planewise: bool = False) -> Mask3D:
    """Return the mask with enclosed cavities filled.

    Parameters
    ----------
    mask : (I, J, K) bool array
        One region.
    planewise : bool
        Also fill what is enclosed within a plane of any of the three axes, such as a tunnel.
    """
    filled = np.asarray(ndimage.binary_fill_holes(mask))
    if not planewise:
        return filled
    planes = [filled]
    for axis in range(3):
        flat = np.ones((3, 3, 3), dtype=bool) & ndimage.generate_binary_structure(3, 1)
        flat[tuple(slice(0, 3, 2) if a == axis else slice(None) for a in range(3))] = False
        planes.append(ndimage.binary_fill_holes(filled, structure=flat))
    return np.asarray(np.logical_or.reduce(planes))


def open_by_ball(mask: Mask3D, spacing_mm: Spacing, *, radius_mm: float) -> Mask3D:
    """Return what a ball of `radius_mm` can reach inside the mask: thin attachments go.

    Distances run between voxel centres in mm, so the shape of the voxels does not matter.
    Beyond the border of the array counts as background. Opening never adds a voxel.
    """
    padded = np.pad(mask, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=spacing_mm)
    kept = depth > radius_mm
    if not kept.any():
        return np.zeros_like(mask)
    away = ndimage.distance_transform_edt(~kept, sampling=spacing_mm)
    return np.asarray(((away <= radius_mm) & padded)[1:-1, 1:-1, 1:-1])


def detach(
    region: Mask3D, seed: tuple[int, int, int], spacing_mm: Spacing, *, radius_mm: float
) -> Mask3D:
    """Return the region without attachments thinner than twice `radius_mm`.

    The opened piece at (or nearest to) the seed stays; a region that the ball cannot enter
    at all stays whole, so that a small lesion does not vanish.
    """
    opened = open_by_ball(region, spacing_mm, radius_mm=radius_mm)
    if not opened.any():
        return region
    return component_at(opened, seed, spacing_mm, reach_mm=float("inf"))


def within_mm(mask: Mask3D, spacing_mm: Spacing, distance_mm: float) -> Mask3D:
    """Return the voxels whose centre lies within `distance_mm` of a voxel of the mask."""
    away: npt.NDArray[np.float64] = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    return np.asarray(away <= distance_mm)

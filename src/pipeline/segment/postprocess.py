"""What makes a region of a foreground: one component, opened, filled; its size at each step."""

import math
from dataclasses import dataclass

import numpy as np
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


def regain_edges(
    opened: Mask3D, foreground: Mask3D, spacing_mm: Spacing, *, reach_mm: float
) -> Mask3D:
    """Return an opened mask with the foreground within reach of it.

    Gives back the corners that opening rounds off, a stump of what it cut off, and necks
    shorter than twice the reach between pieces that are one.
    """
    return np.asarray(within_mm(opened, spacing_mm, reach_mm) & foreground)


def roundness(mask: Mask3D, spacing_mm: Spacing) -> float:
    """Return the volume over that of a ball as long as the mask: 1 for a ball, 0 for a thread.

    The length is that of an ellipsoid with the same largest second moment.
    """
    spacing = np.asarray(spacing_mm)
    points = np.argwhere(mask) * spacing
    moments = np.cov(points.T, bias=True) + np.diag(spacing**2 / 12.0)  # of the voxels themselves
    radius = np.sqrt(5.0 * np.linalg.eigvalsh(moments)[-1])
    return float(len(points) * spacing.prod() / (4.0 / 3.0 * np.pi * radius**3))


def within_mm(mask: Mask3D, spacing_mm: Spacing, distance_mm: float) -> Mask3D:
    """Return the voxels whose centre lies within `distance_mm` of a voxel of the mask."""
    near = np.zeros_like(mask)
    if not mask.any():
        return near
    box = box_round(mask, spacing_mm, distance_mm)
    near[box] = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm) <= distance_mm
    return near


def box_round(mask: Mask3D, spacing_mm: Spacing, margin_mm: float) -> tuple[slice, slice, slice]:
    """Return the slices ijk of the box that holds a mask, not empty, and a margin in mm."""
    i, j, k = (
        slice(max(0, int(at.min()) - pad), int(at.max()) + pad + 1)
        for at, pad in zip(
            np.nonzero(mask), (math.ceil(margin_mm / mm) for mm in spacing_mm), strict=True
        )
    )
    return i, j, k

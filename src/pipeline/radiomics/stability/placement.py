"""The same anatomy on a grid that was moved or turned: what another position would have shown."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import SettingsError
from pipeline.geometry import index_to_world, world_to_index
from pipeline.grid_difference import check_same_grid
from pipeline.preprocess.grids import align, spaced_grid
from pipeline.preprocess.kernels import Interpolation
from pipeline.preprocess.resample import resample
from pipeline.radiomics.stability.crop import (
    Box,
    box_grid,
    crop_image,
    crop_mask,
    region_box,
    wider,
)
from pipeline.types import Geometry, Volume

#: Around the axis that the slices are stacked along, or around a direction (x, y, z) in LPS.
Axis = Literal["slice"] | tuple[float, float, float]

#: Voxels that the interpolation sees: a cubic B-spline forgets what lies farther to 1 in 10^7.
_SUPPORT = 12

#: Positions this close to a voxel's centre, in voxels, are there.
_ON_CENTRE = 1e-6


@dataclass(frozen=True)
class Placement:
    """How the sampling grid is moved against the anatomy.

    Attributes
    ----------
    translation_voxels : (3,) floats
        Of the anatomy along the grid's axes i, j, k.
    angle_deg : float
        Of the anatomy round the region's middle, right-handed.
    axis : "slice" or (3,) floats
        Axis of rotation; any length but 0.
    """

    translation_voxels: tuple[float, float, float] = (0.0, 0.0, 0.0)
    angle_deg: float = 0.0
    axis: Axis = "slice"


def translate(
    image: Volume, mask: Volume, shift_voxels: tuple[float, float, float]
) -> tuple[Volume, Volume]:
    """Return both moved by a shift along i, j, k, cropped round the region; see `place`."""
    return place(image, mask, Placement(translation_voxels=shift_voxels))


def rotate(
    image: Volume, mask: Volume, angle_deg: float, *, axis: Axis = "slice"
) -> tuple[Volume, Volume]:
    """Return both turned by an angle round the region's middle, cropped; see `place`."""
    return place(image, mask, Placement(angle_deg=angle_deg, axis=axis))


def place(
    image: Volume,
    mask: Volume,
    placement: Placement,
    *,
    spacing_mm: float | None = None,
    interpolation: Interpolation = "bspline3",
    margin_mm: float = 0.0,
) -> tuple[Volume, Volume]:
    """Return image and mask as the moved anatomy is sampled, cropped round the region.

    Rotation, translation and a new spacing are one interpolation. The grid that comes back lies
    where the voxels were taken from, so both still fit the patient.

    Parameters
    ----------
    image, mask : Volume
        On one grid; the mask is not 0 inside the region.
    placement : Placement
        Translation and rotation. The middle of the rotation is the voxel centre next to the
        region's centre of mass: a right angle on a grid with equal spacings interpolates nothing.
    spacing_mm : float, optional
        Also bring both onto this isotropic grid, as `regrid` does; translations then count its
        voxels. None keeps the spacing.
    interpolation : Interpolation
        Of the image, without limits to the result. The mask is interpolated linearly; what is
        half inside or more belongs to the region, as with IBSI.
    margin_mm : float
        Surroundings to keep on each side. Beyond the field of view the image's edge is repeated.

    Returns
    -------
    (Volume, Volume)
        Where every point falls onto a voxel (no perturbation, whole voxels, right angles), the
        image's own values in its own type; else float32 or float64. The mask is boolean.

    Raises
    ------
    EmptyRegionError
        The region has no voxel, or none is left on the new grid.
    """
    check_same_grid(image.grid, mask.grid, ("the image", "the mask"))
    target, source = plan(mask, placement, spacing_mm=spacing_mm, margin_mm=margin_mm)
    return sample(
        crop_image(image, source), crop_mask(mask, source), target, interpolation=interpolation
    )


def plan(
    mask: Volume, placement: Placement, *, spacing_mm: float | None = None, margin_mm: float = 0.0
) -> tuple[Geometry, Box]:
    """Return the grid on which a placement samples, and the box of voxels which that takes."""
    box = region_box(mask)
    lattice = mask.grid if spacing_mm is None else spaced_grid(mask.grid, spacing_mm)
    moved = _moved(lattice, placement, _middle(lattice, mask, box))
    i, j, k = (math.ceil(margin_mm / s) for s in moved.spacing_mm)
    outline = _cover(box_grid(mask.grid, box), moved, widen=1.0)
    target = box_grid(moved, wider(outline, (i, j, k)))
    source = _cover(target, mask.grid, widen=0.0)
    return target, wider(source, (_SUPPORT, _SUPPORT, _SUPPORT))


def sample(
    image: Volume, mask: Volume, target: Geometry, *, interpolation: Interpolation = "bspline3"
) -> tuple[Volume, Volume]:
    """Return image and mask (boolean) interpolated on a grid; see `place`."""
    if _falls_on_voxels(image.grid, target):
        return resample(image, target, kind="nearest"), resample(mask, target, kind="nearest")
    weights = replace(mask, data=mask.data.astype(np.float32))
    share = resample(weights, target, kind="linear", anti_alias=False, clamp="none")
    inside = replace(share, data=share.data >= 0.5 - _ON_CENTRE)
    region_box(inside)  # tells when nothing is left
    picture = resample(image, target, kind=interpolation, anti_alias=False, clamp="none")
    return picture, inside


def slice_axis(grid: Geometry) -> int:
    """Return the axis that slices are stacked along: the coarsest, k when all are equal."""
    spacing = np.round(grid.spacing_mm, 6)
    return int(np.flatnonzero(spacing == spacing.max())[-1])


def _middle(lattice: Geometry, mask: Volume, box: Box) -> npt.NDArray[np.float64]:
    """Return the point (LPS, mm) of the lattice next to the region's centre of mass."""
    region = crop_mask(mask, box)
    centre = index_to_world(region.grid, np.argwhere(region.data).mean(axis=0))
    # halves to even would depend on where the region lies
    return index_to_world(lattice, np.floor(world_to_index(lattice, centre) + 0.5))


def _moved(lattice: Geometry, placement: Placement, middle: npt.NDArray[np.float64]) -> Geometry:
    """Return the lattice moved the other way round, which moves the anatomy against it."""
    back = _rotation(placement, lattice).T
    direction = back @ lattice.direction
    shift = direction @ (np.asarray(placement.translation_voxels) * lattice.spacing_mm)
    origin = middle + back @ (np.asarray(lattice.origin_mm) - middle) - shift
    x, y, z = (float(v) for v in origin)
    return replace(lattice, origin_mm=(x, y, z), direction=direction)


def _rotation(placement: Placement, lattice: Geometry) -> npt.NDArray[np.float64]:
    """Return the rotation matrix (LPS) of an angle round an axis (Rodrigues)."""
    if placement.angle_deg == 0:
        return np.eye(3)
    if placement.axis == "slice":
        axis = lattice.direction[:, slice_axis(lattice)]
    else:
        axis = np.asarray(placement.axis, dtype=np.float64)
    length = float(np.linalg.norm(axis))
    if not 0 < length < np.inf:
        raise SettingsError(f"axis of rotation {placement.axis}: give a direction, e.g. 0, 0, 1")
    x, y, z = axis / length
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.deg2rad(placement.angle_deg)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _cover(inner: Geometry, lattice: Geometry, *, widen: float) -> Box:
    """Return the box of the lattice that covers a grid, and `widen` of its voxels more."""
    ends = np.array([(-widen, n - 1 + widen) for n in inner.shape])
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T
    points = world_to_index(lattice, index_to_world(inner, corners))
    low = np.floor(points.min(axis=0) + _ON_CENTRE).astype(int)
    high = np.ceil(points.max(axis=0) - _ON_CENTRE).astype(int)
    a, b, c = (int(v) for v in low)
    d, e, f = (int(v) for v in high)
    return (a, b, c), (d, e, f)


def _falls_on_voxels(source: Geometry, target: Geometry) -> bool:
    aligned = align(source, target)
    return aligned is not None and all(
        bool(np.all(np.abs(at - np.round(at)) <= _ON_CENTRE)) for at in aligned.position
    )

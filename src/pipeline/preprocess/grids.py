"""Grids: another spacing over the same field of view, and how one grid lies on another.

Convention of `spaced_grid`: the centre of the field of view stays where it is, and each axis
gets the fewest voxels that still cover its old extent (edge to edge). This is the "align grid
centres" of the Image Biomarker Standardisation Initiative. Where the old extent is no multiple
of the new spacing, the surplus (less than one new voxel) is shared by both ends; every new
voxel centre lies inside the old field of view.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.errors import SettingsError
from pipeline.geometry import index_to_world
from pipeline.types import Array1D, Geometry

#: More voxels than any scanner makes: a spacing in the wrong unit, not a wish.
MAX_VOXELS = 2**31

#: Axes count as parallel when no voxel is off by more than this fraction of a voxel.
_ALIGNED_VOXELS = 1e-4


@dataclass(frozen=True, eq=False)
class AlignedMap:
    """How a target grid lies on a source grid whose axes it shares.

    Attributes
    ----------
    order : (3,) ints
        Source axis a runs along target axis ``order[a]``.
    position : three float arrays
        Along each source axis, where the target's voxels sit, in source voxels.
    ratio : (3,) floats
        Target spacing over source spacing along each source axis.
    """

    order: tuple[int, ...]
    position: tuple[Array1D, ...]
    ratio: tuple[float, ...]


def spaced_grid(grid: Geometry, spacing_mm: float | tuple[float, float, float]) -> Geometry:
    """Return a grid of another spacing over the same field of view.

    Parameters
    ----------
    grid : Geometry
        The grid to replace.
    spacing_mm : float or three floats
        New distance between voxel centres, in mm: one number for an isotropic grid.

    Returns
    -------
    Geometry
        ``ceil(extent / spacing)`` voxels along each axis, centred on the old grid.

    Raises
    ------
    SettingsError
        If a spacing is not above 0 or asks for more than 2^31 voxels.
    """
    wanted = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), (3,))
    if not (np.isfinite(wanted).all() and (wanted > 0).all()):
        raise SettingsError(f"spacing_mm {spacing_mm} must be above 0 mm")
    extent = np.asarray(grid.shape) * np.asarray(grid.spacing_mm)
    # A spacing that divides the extent must not win a voxel by rounding.
    count = np.maximum(1, np.ceil(extent / wanted - 1e-6)).astype(int)
    if math.prod(int(n) for n in count) > MAX_VOXELS:
        raise SettingsError(
            f"spacing_mm {spacing_mm} makes {count.tolist()} voxels of a field of view of "
            f"{np.round(extent, 1).tolist()} mm, more than {MAX_VOXELS}; choose a larger spacing"
        )
    centre = index_to_world(grid, (np.asarray(grid.shape) - 1) / 2.0)
    x, y, z = (float(v) for v in centre - grid.direction @ ((count - 1) / 2.0 * wanted))
    i, j, k = (int(n) for n in count)
    a, b, c = (float(s) for s in wanted)
    return Geometry((i, j, k), (a, b, c), (x, y, z), grid.direction)


def align(source: Geometry, target: Geometry) -> AlignedMap | None:
    """Return how the target's axes run along the source's; None for grids at an angle."""
    step = (source.direction.T @ target.direction) * np.asarray(target.spacing_mm)
    step = step / np.asarray(source.spacing_mm)[:, None]  # [source axis, target axis]
    order = tuple(int(axis) for axis in np.abs(step).argmax(axis=1))
    if sorted(order) != [0, 1, 2]:
        return None
    along = np.zeros((3, 3), dtype=np.bool_)
    along[range(3), order] = True
    drift = np.where(along, 0.0, np.abs(step)) @ (np.asarray(target.shape) - 1)
    if drift.max() > _ALIGNED_VOXELS:
        return None
    shift = source.direction.T @ (np.asarray(target.origin_mm) - np.asarray(source.origin_mm))
    start = shift / np.asarray(source.spacing_mm)
    # Rounding to 1e-9 voxel: a point meant to sit on a sample shall hit it.
    position = tuple(
        np.round(start[a] + step[a, order[a]] * np.arange(target.shape[order[a]]), 9)
        for a in range(3)
    )
    return AlignedMap(order, position, tuple(abs(float(step[a, order[a]])) for a in range(3)))

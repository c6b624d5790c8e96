"""The surface mesh of a region: its volume, its area, and the points it passes through.

Every point of the mesh is the midpoint of a voxel inside and a neighbour outside.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from pipeline.radiomics.ibsi.mesh import mesh_volume_area
from pipeline.types import Array3D, Mask3D

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed surface.

    Attributes
    ----------
    volume_mm3, area_mm2 : float
        Of the mesh.
    points_mm : (n, 3) floats
        Its points, along the axes of the grid from the centre of voxel (0, 0, 0).
    hull_volume_mm3, hull_area_mm2 : float
        Of the convex hull of the points.
    corners_mm : (m, 3) floats
        The points that are corners of the hull.
    normals : (f, 3) floats
        Unit normals of its faces, each direction once.
    """

    volume_mm3: float
    area_mm2: float
    points_mm: Points
    hull_volume_mm3: float
    hull_area_mm2: float
    corners_mm: Points
    normals: Points


def surface(inside: Mask3D, spacing_mm: tuple[float, float, float]) -> Surface:
    """Return the surface of a mask that is not empty."""
    volume, area = mesh_volume_area(inside, spacing_mm)
    points = _midpoints(np.pad(inside, 1)) * np.asarray(spacing_mm)
    try:
        hull = ConvexHull(points)
    except QhullError:  # a spread below rounding: spacings that differ by many orders
        nothing = np.empty((0, 3))
        return Surface(volume, area, points, np.nan, np.nan, points, nothing)
    return Surface(
        volume_mm3=volume,
        area_mm2=area,
        points_mm=points,
        hull_volume_mm3=float(hull.volume),
        hull_area_mm2=float(hull.area),
        corners_mm=points[hull.vertices],
        normals=_directions(hull.equations[:, :3]),
    )


def diameter_mm(corners_mm: Points, *, block: int = 1024) -> float:
    """Return the largest distance between two points."""
    longest = 0.0
    for start in range(0, len(corners_mm), block):
        gap = corners_mm[start : start + block, None] - corners_mm[None]
        longest = max(longest, float(np.einsum("abc,abc->ab", gap, gap).max()))
    return float(np.sqrt(longest))


def _midpoints(padded: Array3D) -> Points:
    """Return the midpoints of neighbours in and out of a mask padded by 1, in voxels."""
    found = []
    for axis in range(3):
        change = np.diff(padded.astype(np.int8), axis=axis) != 0
        at = np.argwhere(change).astype(np.float64)
        at[:, axis] += 0.5
        found.append(at)
    return np.concatenate(found) - 1.0


def _directions(normals: Points) -> Points:
    """Return each direction once; opposite ones are the same."""
    first = np.argmax(np.abs(normals) > 1e-9, axis=1)
    sign = np.sign(normals[np.arange(len(normals)), first])
    return np.asarray(np.unique(np.round(normals * sign[:, None], 6), axis=0))

"""Size and shape of a region."""

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.engine.diameter import largest_distance
from pipeline.radiomics.engine.mesh import mesh_size
from pipeline.types import Array1D, Mask3D

#: Axis of (k, j, i) along which a plane's position is fixed.
_PLANES = (("Slice", 0), ("Column", 1), ("Row", 2))


def shape(inside: Mask3D, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Return the 14 features.

    Parameters
    ----------
    inside : (K, J, I) bool array
        True in the region.
    spacing_mm : (3,) floats
        Along k, j, i.
    """
    padded = np.pad(inside, 1)
    area, volume = mesh_size(padded, spacing_mm)
    least, minor, major = principal_variances(inside, spacing_mm)
    found = {
        "Elongation": _ratio(minor, major),
        "Flatness": _ratio(least, major),
        "LeastAxisLength": 4 * float(np.sqrt(least)),
        "MajorAxisLength": 4 * float(np.sqrt(major)),
        "MeshVolume": volume,
        "MinorAxisLength": 4 * float(np.sqrt(minor)),
        "Sphericity": (36 * np.pi * volume**2) ** (1 / 3) / area,
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume if volume else float("nan"),
        "VoxelVolume": int(np.count_nonzero(inside)) * float(np.prod(spacing_mm)),
    }
    return found | diameters(padded, spacing_mm)


def _ratio(smaller: float, larger: float) -> float:
    return float(np.sqrt(smaller / larger)) if larger > 0 else float("nan")


def principal_variances(inside: Mask3D, spacing_mm: tuple[float, float, float]) -> Array1D:
    """Return the variances (mm²) of the voxel centres along their principal axes, ascending.

    From sums of whole numbers, which are exact: a flat region has a least variance of 0.
    """
    n = int(np.count_nonzero(inside))
    index = [np.arange(length) for length in inside.shape]
    planes = {
        (0, 1): inside.sum(axis=2), (0, 2): inside.sum(axis=1), (1, 2): inside.sum(axis=0),
    }  # fmt: skip
    lines = [planes[0, 1].sum(axis=1), planes[0, 1].sum(axis=0), planes[0, 2].sum(axis=0)]
    first = [int(line @ at) for line, at in zip(lines, index, strict=True)]
    covariance = np.zeros((3, 3))
    for a in range(3):
        for b in range(a, 3):
            second = index[a] @ planes[a, b] @ index[b] if a < b else lines[a] @ index[a] ** 2
            # In Python's whole numbers, which do not overflow.
            exact = (n * int(second) - first[a] * first[b]) / n**2
            covariance[a, b] = covariance[b, a] = exact * spacing_mm[a] * spacing_mm[b]
    variances = np.linalg.eigvalsh(covariance).astype(np.float64)
    return np.maximum(variances, 0.0)  # an oblique plane's may round to just below


def diameters(padded: Mask3D, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Return the largest distances (mm) between vertices of the mesh, in planes and in 3-D.

    A vertex lies half way between a voxel of the region and a direct neighbour outside; planes
    lie through the centres of voxels and half way between them.
    """
    vertices = surface_vertices(padded)
    points = vertices * (np.asarray(spacing_mm) / 2)
    found = {}
    for name, axis in _PLANES:
        others = [other for other in range(3) if other != axis]
        plane = vertices[:, axis]
        found[f"Maximum2DDiameter{name}"] = largest_distance(points[:, others], plane)
    whole = np.zeros(len(points), dtype=np.int16)
    return found | {"Maximum3DDiameter": largest_distance(points, whole)}


def surface_vertices(padded: Mask3D) -> npt.NDArray[np.int16]:
    """Return the vertices of the mesh, (V, 3) along k, j, i in half voxels."""
    found = []
    for axis in range(3):
        before = np.take(padded, range(padded.shape[axis] - 1), axis=axis)
        after = np.take(padded, range(1, padded.shape[axis]), axis=axis)
        vertices = 2 * np.argwhere(before != after).astype(np.int16)
        vertices[:, axis] += 1
        found.append(vertices)
    return np.concatenate(found)

"""Displacement fields at work: compose them, and warp images and labels by them.

A field on the fixed grid maps the fixed point x to the moving point x + u(x). Points beyond the
grid take the displacement of its nearest border voxel.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.geometry import empty_like, field_to_sitk, from_sitk, index_to_world, to_sitk
from pipeline.registration.inverse import Inverse, invert, nearest_affine
from pipeline.registration.sampling import (
    FieldSampler,
    apply_to_points,
    displacement_at,
    grid_points,
    lies_inside,
    slab_points,
    slabs,
)
from pipeline.types import DisplacementField, Geometry, Mask3D, Volume

__all__ = [
    "INTERPOLATIONS",
    "Interpolation",
    "Inverse",
    "affine_to_field",
    "apply_to_points",
    "compose",
    "displacement_at",
    "grid_points",
    "invert",
    "nearest_affine",
    "reaches",
    "warp",
    "warp_labels",
]

Interpolation = Literal[
    "linear", "bspline3", "nearest", "hamming", "cosine", "welch", "lanczos", "blackman"
]

#: Name -> interpolator of SimpleITK. The last five are sincs of radius 5 in that window.
INTERPOLATIONS: dict[str, str] = {
    "linear": "sitkLinear",
    "bspline3": "sitkBSplineResamplerOrder3",
    "nearest": "sitkNearestNeighbor",
    "hamming": "sitkHammingWindowedSinc",
    "cosine": "sitkCosineWindowedSinc",
    "welch": "sitkWelchWindowedSinc",
    "lanczos": "sitkLanczosWindowedSinc",
    "blackman": "sitkBlackmanWindowedSinc",
}


def affine_to_field(
    matrix: npt.ArrayLike, grid: Geometry, *, precision: npt.DTypeLike = np.float64
) -> DisplacementField:
    """Return u(x) = A x - x on a grid, for a (4, 4) matrix in LPS mm."""
    values = np.asarray(matrix, dtype=np.float64)
    change = (values[:3, :3] - np.eye(3)).T
    data = np.empty((*grid.shape, 3), dtype=precision)
    for part in slabs(grid):
        points = slab_points(grid, part)
        moved = points.reshape(-1, 3) @ change + values[:3, 3]
        data[:, :, part] = moved.reshape(points.shape)
    return DisplacementField(data, grid)


def compose(first: DisplacementField, then: DisplacementField) -> DisplacementField:
    """Return the field of x -> then(first(x)) on the grid and in the type of `first`.

    Notes
    -----
    Exact at the voxel centres of `first`; see `pipeline.registration.chain` for more than two
    maps, affine ones, inverses, and for the error between the centres.
    """
    displacement = FieldSampler(then)
    kind = first.data.dtype if first.data.dtype == np.float32 else np.float64
    data = np.empty(first.data.shape, dtype=kind)
    for part in slabs(first.grid):
        u = np.asarray(first.data[:, :, part], dtype=np.float64)
        middle = slab_points(first.grid, part) + u
        data[:, :, part] = u + displacement(middle.reshape(-1, 3)).reshape(u.shape)
    return DisplacementField(data, first.grid)


def reaches(field: DisplacementField, image: Geometry) -> Mask3D:
    """Return where x + u(x) lies in the field of view of an image on the grid `image`."""
    found = np.empty(field.grid.shape, dtype=np.bool_)
    for part in slabs(field.grid):
        moved = slab_points(field.grid, part) + field.data[:, :, part]
        found[:, :, part] = lies_inside(image, moved, margin=0.5)
    return found


def warp(
    moving: Volume,
    field: DisplacementField,
    *,
    interpolation: Interpolation = "linear",
    outside: float = 0.0,
) -> Volume:
    """Return the moving image on the grid of the field: value at x is moving(x + u(x)).

    Parameters
    ----------
    moving : Volume
        Image or labels.
    field : DisplacementField
        Fixed point to moving point, affine part included.
    interpolation : Interpolation
        "nearest" for labels: their type and values are kept. Else float32. B-spline and the
        sincs overshoot at sharp edges.
    outside : float
        Value where x + u(x) lies beyond the moving image.

    Notes
    -----
    ITK's own resampler, so that ITK, ANTs and Slicer make the same image of the same field. It
    goes slab by slab: ITK holds fields in float64.
    """
    import SimpleITK as sitk

    if interpolation not in INTERPOLATIONS:
        raise GeometryError(
            f"interpolation {interpolation!r}: use one of {', '.join(INTERPOLATIONS)}"
        )
    image = to_sitk(moving)
    if interpolation != "nearest":
        image = sitk.Cast(image, sitk.sitkFloat32)
    pixel = image.GetPixelID()
    if interpolation == "bspline3":  # once for all slabs
        image = sitk.BSplineDecomposition(sitk.Cast(image, sitk.sitkFloat64), 3)
    kind = getattr(sitk, INTERPOLATIONS[interpolation])
    stored = sitk.GetArrayViewFromImage(sitk.Image([1, 1, 1], pixel)).dtype
    result = np.empty(field.grid.shape, dtype=stored)
    for part in slabs(field.grid):
        piece = _piece(field, part)
        transform = sitk.DisplacementFieldTransform(field_to_sitk(piece))
        result[:, :, part] = from_sitk(
            sitk.Resample(image, empty_like(piece.grid), transform, kind, outside, pixel)
        ).data
    return Volume(result, field.grid)


def warp_labels(labels: Volume, field: DisplacementField) -> Volume:
    """Return labels on the grid of the field, by nearest neighbour; background outside is 0."""
    return warp(labels, field, interpolation="nearest")


def _piece(field: DisplacementField, part: slice) -> DisplacementField:
    """Return the slab `part` of a field as a field of its own."""
    vectors = field.data[:, :, part]
    corner = index_to_world(field.grid, (0, 0, part.start))
    i, j, k = vectors.shape[:3]
    grid = Geometry(
        (i, j, k),
        field.grid.spacing_mm,
        (float(corner[0]), float(corner[1]), float(corner[2])),
        field.grid.direction,
    )
    return DisplacementField(vectors, grid)

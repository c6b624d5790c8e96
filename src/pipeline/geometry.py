"""Grids: points to voxels and back, comparison in millimetres, and the bridge to SimpleITK."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.types import DisplacementField, Geometry, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

#: Two grids are the same when no corner moves by more than this fraction of a voxel.
SAME_GRID_VOXELS = 1e-3


def index_to_world(grid: Geometry, index: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return LPS points in mm, shape (..., 3), of (fractional) voxel indices ijk (..., 3)."""
    scaled = np.asarray(index, dtype=np.float64) * np.asarray(grid.spacing_mm)
    return np.asarray(scaled @ grid.direction.T + np.asarray(grid.origin_mm))


def world_to_index(grid: Geometry, point_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return fractional voxel indices ijk (..., 3) of LPS points in mm (..., 3)."""
    shifted = np.asarray(point_mm, dtype=np.float64) - np.asarray(grid.origin_mm)
    return np.asarray((shifted @ grid.direction) / np.asarray(grid.spacing_mm))


def corners_mm(grid: Geometry) -> npt.NDArray[np.float64]:
    """Return the LPS positions (8, 3) of the centres of the eight corner voxels."""
    ends = np.array([(0, n - 1) for n in grid.shape])
    return index_to_world(grid, np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T)


def grid_difference_mm(first: Geometry, second: Geometry) -> float:
    """Return the largest distance in mm between equal corners; inf when the shapes differ."""
    if first.shape != second.shape:
        return float("inf")
    return float(np.linalg.norm(corners_mm(first) - corners_mm(second), axis=1).max())


def same_grid(first: Geometry, second: Geometry) -> bool:
    """Tell whether two grids agree to a thousandth of the smallest voxel edge."""
    limit = SAME_GRID_VOXELS * min(*first.spacing_mm, *second.spacing_mm)
    return grid_difference_mm(first, second) <= limit


def flip_ras_lps(affine: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return an affine (4, 4) or world vectors (..., 3) turned from RAS to LPS, or back.

    The first two world axes change sign; the index axes stay.
    """
    values = np.array(affine, dtype=np.float64)
    if values.shape == (4, 4):
        values[:2] *= -1.0
    else:
        values[..., :2] *= -1.0
    return values


def to_sitk(volume: Volume) -> "sitk.Image":
    """Return a SimpleITK image on the same grid (ijk array becomes its zyx view)."""
    import SimpleITK as sitk

    data = volume.data.astype(np.uint8) if volume.data.dtype == np.bool_ else volume.data
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    return _set_grid(image, volume.grid)


def from_sitk(image: "sitk.Image") -> Volume:
    """Return a volume (ijk array, LPS grid) from a 3-D scalar SimpleITK image."""
    import SimpleITK as sitk

    data = np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    return Volume(data, grid_of_sitk(image))


def field_to_sitk(field: DisplacementField) -> "sitk.Image":
    """Return a SimpleITK vector image (float64, mm along LPS) of a displacement field."""
    import SimpleITK as sitk

    zyx = np.ascontiguousarray(field.data.transpose(2, 1, 0, 3).astype(np.float64))
    return _set_grid(sitk.GetImageFromArray(zyx, isVector=True), field.grid)


def field_from_sitk(image: "sitk.Image") -> DisplacementField:
    """Return a displacement field from a 3-D SimpleITK vector image in mm along LPS."""
    import SimpleITK as sitk

    data = np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0, 3))
    return DisplacementField(data, grid_of_sitk(image))


def grid_of_sitk(image: "sitk.Image") -> Geometry:
    """Return the grid of a 3-D SimpleITK image."""
    i, j, k = (int(n) for n in image.GetSize())
    return Geometry(
        shape=(i, j, k),
        spacing_mm=_triple(image.GetSpacing()),
        origin_mm=_triple(image.GetOrigin()),
        direction=np.array(image.GetDirection(), dtype=np.float64).reshape(3, 3),
    )


def empty_like(grid: Geometry) -> "sitk.Image":
    """Return a SimpleITK image of zeros on `grid`, for use as a resampling reference."""
    import SimpleITK as sitk

    return _set_grid(sitk.Image(list(grid.shape), sitk.sitkUInt8), grid)


def _set_grid(image: Any, grid: Geometry) -> Any:
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction.ravel().tolist())
    return image


def _triple(values: Any) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c

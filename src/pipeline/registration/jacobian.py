"""The Jacobian determinant of a displacement field, in world axes, and what it says.

SimpleITK 2.5's own filter leaves out the direction of the image (ITK issue 5358): a field that
scales by 1.1 gets 0.891 where the direction is diag(-1, -1, 1). This one is exact for every
linear map on every grid.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import EmptyRegionError, GeometryError
from pipeline.registration.sampling import slabs
from pipeline.types import Array3D, Array4D, DisplacementField, Geometry, Mask3D, Volume

#: Volume ratios outside these bounds are clipped before features are computed on the map.
PLAUSIBLE_RATIOS = (0.05, 5.0)
#: Fewest voxels along an axis for second-order differences up to the border.
FEWEST_VOXELS = 3
#: Weights of f(x + m h) - f(x - m h), m = 1, 2, ..., in h f'(x): the fourth and the sixth order.
_CENTRAL = ((8 / 12, -1 / 12), (45 / 60, -9 / 60, 1 / 60))
_REACH = len(_CENTRAL[-1])


def jacobian_determinant(field_mm: Array4D, grid: Geometry) -> Array3D:
    """Return the local volume ratio of x -> x + u(x), fixed to moving.

    Parameters
    ----------
    field_mm : (I, J, K, 3) float array
        Displacement u in mm along world axes (LPS).
    grid : Geometry
        Grid of the fixed image: shape, spacing in mm, 3x3 direction.

    Returns
    -------
    (I, J, K) float64 array
        det(I + du/dx): moving volume over fixed volume; 0 or less folds.

    Raises
    ------
    GeometryError
        If the field does not lie on `grid`, or an axis has fewer than 3 voxels.

    Notes
    -----
    The volume that the three moved voxel edges span, over the voxel's own: the edges carry the
    direction of the grid (ITK issue 5358). Differences are central, of sixth order: those of
    second order take a lesion of five voxels across for 3 % less shrunk than it is. Towards the
    borders they are of fourth and second order, and one-sided in the last voxel. It goes slab by
    slab, so that no array of all nine derivatives is held.
    """
    if field_mm.shape != (*grid.shape, 3):
        raise GeometryError(
            f"the field has shape {field_mm.shape}, the grid {grid.shape}; "
            "give the field with the grid that it was made on"
        )
    if min(grid.shape) < FEWEST_VOXELS:
        raise GeometryError(
            f"a Jacobian needs {FEWEST_VOXELS} voxels along each axis, the field has {grid.shape}; "
            "register 3-D images"
        )
    result = np.empty(grid.shape, dtype=np.float64)
    last = grid.shape[2]
    for part in slabs(grid):
        # Some slices more on each side make the differences along k whole.
        start, end = max(part.start - _REACH, 0), min(part.stop + _REACH, last)
        vectors = np.moveaxis(field_mm[:, :, start:end], -1, 0).astype(np.float64, order="C")
        inner = slice(part.start - start, part.stop - start)
        result[:, :, part] = _determinant(vectors, grid, inner)
    return result


def _determinant(
    vectors: npt.NDArray[np.float64], grid: Geometry, inner: slice
) -> npt.NDArray[np.float64]:
    """Return det(I + du/dx) in slices `inner` of a slab; `vectors` are (3, I, J, k) along LPS."""
    edges = []
    for axis in range(3):
        part = vectors if axis == 2 else vectors[..., inner]
        edge = _derivative(part, grid.spacing_mm[axis], axis + 1)
        if axis == 2:
            edge = edge[..., inner]
        edges.append(edge + grid.direction[:, axis, None, None, None])
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = edges
    volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return np.asarray(volume / np.linalg.det(grid.direction))


def _derivative(
    values: npt.NDArray[np.float64], spacing_mm: float, axis: int
) -> npt.NDArray[np.float64]:
    """Return the derivative per mm along an axis of three voxels or more."""
    result = np.asarray(np.gradient(values, spacing_mm, axis=axis, edge_order=2))
    found, line = np.moveaxis(result, axis, 0), np.moveaxis(values, axis, 0)
    for weights in _CENTRAL:
        reach, count = len(weights), len(line) - 2 * len(weights)
        if count <= 0:
            break
        found[reach : reach + count] = sum(
            weight / spacing_mm * (line[reach + m :][:count] - line[reach - m :][:count])
            for m, weight in enumerate(weights, start=1)
        )
    return result


def jacobian_map(field: DisplacementField) -> Volume:
    """Return `jacobian_determinant` of a field as a volume on its grid."""
    return Volume(jacobian_determinant(field.data, field.grid), field.grid)


def log_jacobian(determinant: Array3D) -> Array3D:
    """Return ln J: 0 where volume is kept, symmetric for swap; NaN where the map folds."""
    values = np.asarray(determinant, dtype=np.float64)
    return np.log(values, out=np.full(values.shape, np.nan), where=values > 0)


@dataclass(frozen=True)
class JacobianStatistics:
    """The map inside a region.

    Attributes
    ----------
    voxels : int
        Size of the region.
    mean, sd, minimum, median, maximum : float
        Of the volume ratio J; the mean is the volume of the region's image over its own.
    p05, p95 : float
        Percentiles of J.
    mean_log : float
        Mean of ln J; NaN when a voxel folds.
    folding_fraction : float
        Share of voxels with J of 0 or less.
    implausible_fraction : float
        Share of voxels with J outside `PLAUSIBLE_RATIOS`; features see them clipped.
    """

    voxels: int
    mean: float
    sd: float
    minimum: float
    median: float
    maximum: float
    p05: float
    p95: float
    mean_log: float
    folding_fraction: float
    implausible_fraction: float


def folding_fraction(determinant: Array3D, mask: Mask3D | None = None) -> float:
    """Return the share of voxels (of the mask) with a determinant of 0 or less."""
    return float(np.mean(_inside(determinant, mask) <= 0))


def jacobian_statistics(determinant: Array3D, mask: Mask3D | None = None) -> JacobianStatistics:
    """Return the statistics of a Jacobian map, inside a mask or everywhere.

    Raises
    ------
    EmptyRegionError
        If the mask holds no voxel.
    GeometryError
        If the mask has another shape.
    """
    values = _inside(determinant, mask)
    low, high = PLAUSIBLE_RATIOS
    p05, median, p95 = (float(p) for p in np.percentile(values, (5, 50, 95)))
    return JacobianStatistics(
        voxels=int(values.size),
        mean=float(values.mean()),
        sd=float(values.std()),
        minimum=float(values.min()),
        median=median,
        maximum=float(values.max()),
        p05=p05,
        p95=p95,
        mean_log=float(log_jacobian(values).mean()),
        folding_fraction=float(np.mean(values <= 0)),
        implausible_fraction=float(np.mean((values < low) | (values > high))),
    )


def _inside(determinant: Array3D, mask: Mask3D | None) -> npt.NDArray[np.float64]:
    values = np.asarray(determinant, dtype=np.float64)
    if mask is None:
        return values.ravel()
    if mask.shape != values.shape:
        raise GeometryError(
            f"the mask has {mask.shape} voxels, the Jacobian map {values.shape}; "
            "give the mask of the fixed image"
        )
    inside: npt.NDArray[np.float64] = values[mask.astype(bool)]
    if inside.size == 0:
        raise EmptyRegionError("the mask is empty: there is no voxel to take a mean Jacobian of")
    return inside

"""Points of a grid slab by slab, and a displacement field read between its voxel centres.

Work goes slab by slab, so that the memory beyond the result does not grow with the image.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.types import DisplacementField, Geometry

Array = npt.NDArray[np.float64]

#: Points worked on at once: some tens of MB of arrays of their coordinates.
_SLAB_POINTS = 1 << 18


def slabs(grid: Geometry) -> Iterator[slice]:
    """Yield slices of the third axis that together cover a grid, some 260,000 points each."""
    i, j, k = grid.shape
    step = max(1, _SLAB_POINTS // (i * j))
    for start in range(0, k, step):
        yield slice(start, min(start + step, k))


def slab_points(grid: Geometry, part: slice) -> Array:
    """Return the LPS positions (I, J, k, 3) in mm of the voxel centres of one slab."""
    i, j, k = (np.arange(n, dtype=np.float64)[:, None] for n in grid.shape)
    along_i, along_j, along_k = (grid.direction * np.asarray(grid.spacing_mm)).T
    plane = (i * along_i)[:, None] + j * along_j
    return np.asarray(plane[:, :, None] + (k[part] * along_k + np.asarray(grid.origin_mm)))


def grid_points(grid: Geometry) -> Array:
    """Return the LPS positions (I, J, K, 3) in mm of all voxel centres."""
    return slab_points(grid, slice(0, grid.shape[2]))


class FieldSampler:
    """Reads u(x) anywhere: linear between voxel centres, beyond the grid as at its border.

    Parameters
    ----------
    field : DisplacementField
        Is not copied when its vectors are float32 or float64. Positions are held in the same
        type: in float32 they are good to a hundred-thousandth of a voxel.
    """

    def __init__(self, field: DisplacementField) -> None:
        import torch

        data = np.asarray(field.data)
        if data.dtype not in (np.float32, np.float64):
            data = data.astype(np.float64)
        if min(data.strides) < 0 or not data.flags.writeable:  # torch takes neither
            data = data.copy()
        self._vectors = torch.from_numpy(data).permute(3, 0, 1, 2)[None]
        # World to the positions that grid_sample wants: -1 and 1 at the outermost centres, the
        # last array axis first.
        grid = field.grid
        reach = np.maximum(np.asarray(grid.shape) - 1, 1) / 2
        scaled = grid.direction / (np.asarray(grid.spacing_mm) * reach)
        self._matrix = np.ascontiguousarray(scaled[:, ::-1])
        self._offset = -np.asarray(grid.origin_mm) @ self._matrix - 1.0

    def __call__(self, points_mm: Array) -> Array:
        """Return u in mm (LPS) at points (n, 3), as float64 (n, 3)."""
        import torch

        position = torch.from_numpy(points_mm @ self._matrix + self._offset)
        found = torch.nn.functional.grid_sample(
            self._vectors,
            position.to(self._vectors.dtype)[None, None, None],
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return np.ascontiguousarray(found[0, :, 0, 0].numpy().T, dtype=np.float64)


def displacement_at(field: DisplacementField, points_mm: npt.ArrayLike) -> Array:
    """Return u in mm (LPS) at points (..., 3), linear between voxel centres."""
    points = np.asarray(points_mm, dtype=np.float64)
    return FieldSampler(field)(points.reshape(-1, 3)).reshape(points.shape)


def apply_to_points(field: DisplacementField, points_mm: npt.ArrayLike) -> Array:
    """Return x + u(x) for LPS points (..., 3) in mm."""
    return np.asarray(points_mm, dtype=np.float64) + displacement_at(field, points_mm)


def lies_inside(grid: Geometry, points_mm: Array, *, margin: float = 1e-3) -> npt.NDArray[np.bool_]:
    """Tell which points (..., 3) lie within the outermost voxel centres, give or take `margin`.

    Parameters
    ----------
    grid : Geometry
        Any grid.
    points_mm : (..., 3) array
        LPS positions.
    margin : float
        Voxels beyond the outermost centres; the default allows for round-off. With 0.5 the
        field of view of an image is meant.
    """
    points = points_mm.reshape(-1, 3) - np.asarray(grid.origin_mm)
    index = points @ (grid.direction / np.asarray(grid.spacing_mm))
    ends = np.asarray(grid.shape) - 1
    within = np.all((index >= -margin) & (index <= ends + margin), axis=1)
    return np.asarray(within.reshape(points_mm.shape[:-1]), dtype=np.bool_)

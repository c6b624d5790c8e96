"""Slices of a volume as a radiologist expects them, with outlines and colours. Arrays only.

A displayed slice has the patient's right on the left, anterior or superior on top, whatever
the order and sign of the array axes: pixels are fetched by voxel index, nothing is flipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.geometry import index_to_world, world_to_index
from pipeline.preprocess.orientation import canonical_move
from pipeline.types import Array3D, Geometry, Mask3D, Volume

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")

Pixels = npt.NDArray[np.float64]
Rgb = npt.NDArray[np.uint8]
Lines = npt.NDArray[np.float64]

#: World axis (0 L, 1 P, 2 S) and sign along increasing columns and increasing rows.
_LAYOUT = {
    "axial": ((0, 1), (1, 1)),
    "coronal": ((0, 1), (2, -1)),
    "sagittal": ((1, 1), (2, -1)),
}
_POSITIVE, _NEGATIVE = "LPS", "RAI"
#: A second letter is shown when an edge is turned by more than this: sin(22.5 degrees).
_OBLIQUE = 0.38

#: Colours of the Jacobian map saturate at this volume ratio, and at its inverse.
JACOBIAN_LIMIT = 4.0
#: Colour of points where the map folds (ratio of 0 or less).
FOLD_COLOUR = (0.0, 0.62, 0.45)


_IDENTITY = np.eye(4)


@dataclass(frozen=True)
class Edges:
    """Anatomical letters at the four edges of a displayed slice."""

    left: str
    right: str
    top: str
    bottom: str


@dataclass(frozen=True, eq=False)
class Cut:
    """Which voxel is shown at which pixel.

    Attributes
    ----------
    grid : Geometry
        Grid of the volume that is cut.
    index : (R, C, 3) int array
        Voxel ijk of each pixel, rows from the top.
    pixel_mm : (width, height)
        Size of a pixel.
    centre_mm : (x, y)
        Where the cut's point lies, from the upper left corner of the picture.
    edges : Edges
        What is where.
    """

    grid: Geometry
    index: npt.NDArray[np.int64]
    pixel_mm: tuple[float, float]
    centre_mm: tuple[float, float]
    edges: Edges

    def of(self, data: Array3D) -> Pixels:
        """Return the pixels (R, C) of an array (I, J, K) on the grid of the cut."""
        i, j, k = np.moveaxis(self.index, -1, 0)
        return np.asarray(data[i, j, k], dtype=np.float64)

    def of_other(
        self,
        volume: Volume,
        *,
        shift_mm: npt.ArrayLike = 0.0,
        matrix: npt.ArrayLike = _IDENTITY,
    ) -> Pixels:
        """Return the pixels (R, C) of a volume on another grid, linear; NaN outside it.

        The plane is first moved by `shift_mm` (3,), an LPS vector, then taken to the volume's
        own world by `matrix` (4, 4).
        """
        linear = np.asarray(matrix, dtype=np.float64)
        points = index_to_world(self.grid, self.index) + np.asarray(shift_mm)
        points = points @ linear[:3, :3].T + linear[:3, 3]
        where = np.moveaxis(world_to_index(volume.grid, points), -1, 0)
        data = np.asarray(volume.data, dtype=np.float32)
        pixels = ndimage.map_coordinates(data, where, order=1, cval=np.nan, output=np.float64)
        return np.asarray(pixels)


#: Stands in for a slice of an image that does not exist.
EMPTY_CUT = Cut(
    Geometry((1, 1, 1), (40.0, 40.0, 40.0), (0.0, 0.0, 0.0), np.eye(3)),
    np.zeros((1, 1, 3), dtype=np.int64),
    (40.0, 40.0),
    (20.0, 20.0),
    Edges("", "", "", ""),
)


def cut_plane(grid: Geometry, plane: Plane, at_mm: npt.ArrayLike) -> Cut:
    """Return the slice of a grid through a point.

    Parameters
    ----------
    grid : Geometry
        Grid to cut.
    plane : {"axial", "coronal", "sagittal"}
        The array plane nearest to it is shown.
    at_mm : (3,) floats
        LPS point; outside the grid the nearest slice is taken.
    """
    move = canonical_move(grid)
    (column_world, column_sign), (row_world, row_sign) = _LAYOUT[plane]
    column, row = move.order[column_world], move.order[row_world]
    along_column = -column_sign if move.flip[column_world] else column_sign
    along_row = -row_sign if move.flip[row_world] else row_sign
    limit = np.array(grid.shape) - 1
    voxel = np.clip(np.rint(world_to_index(grid, at_mm)).astype(np.int64), 0, limit)
    columns = _run(grid.shape[column], along_column)
    rows = _run(grid.shape[row], along_row)
    index = np.broadcast_to(voxel, (rows.size, columns.size, 3)).copy()
    index[..., column] = columns[None, :]
    index[..., row] = rows[:, None]
    width, height = grid.spacing_mm[column], grid.spacing_mm[row]
    x = float(np.flatnonzero(columns == voxel[column])[0] + 0.5) * width
    y = float(np.flatnonzero(rows == voxel[row])[0] + 0.5) * height
    rightwards = grid.direction[:, column] * along_column
    downwards = grid.direction[:, row] * along_row
    edges = Edges(_letters(-rightwards), _letters(rightwards),
                  _letters(-downwards), _letters(downwards))  # fmt: skip
    return Cut(grid, index, (width, height), (x, y), edges)


def centre_mm(mask: Mask3D, grid: Geometry) -> npt.NDArray[np.float64]:
    """Return the LPS point (3,) of the mask voxel nearest to its centre of mass.

    A voxel of the mask, since the centre of mass of a crescent lies outside it. The middle of
    the grid for an empty mask.
    """
    voxels = np.argwhere(mask)
    if voxels.size == 0:
        return index_to_world(grid, (np.array(grid.shape) - 1) / 2)
    offsets = (voxels - voxels.mean(axis=0)) * np.asarray(grid.spacing_mm)
    distance = (offsets**2).sum(axis=1)
    nearest = index_to_world(grid, voxels[distance <= distance.min() + 1e-6])
    # Ties are broken in the world, so that the storage order of the file does not matter.
    return np.asarray(nearest[np.lexsort(np.round(nearest.T, 6))[0]])


def extent_mm(mask: Mask3D, grid: Geometry) -> float:
    """Return the longest side of the mask's bounding box in mm; 0 for an empty mask."""
    voxels = np.argwhere(mask)
    if voxels.size == 0:
        return 0.0
    return float(((np.ptp(voxels, axis=0) + 1) * np.asarray(grid.spacing_mm)).max())


def outline(mask: npt.NDArray[np.bool_]) -> Lines:
    """Return the border of a pixel mask (R, C) as segments (n, 2, 2) of (x, y) in pixels.

    Segments run along pixel edges, so they enclose exactly the pixels of the mask.
    """
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    row, x = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    y, column = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    upright = np.stack([np.stack([x, row], -1), np.stack([x, row + 1], -1)], 1)
    level = np.stack([np.stack([column, y], -1), np.stack([column + 1, y], -1)], 1)
    return np.concatenate([upright, level]).astype(np.float64)


def window(
    pixels: Sequence[Pixels], percent: tuple[float, float] = (5.0, 99.7)
) -> tuple[float, float]:
    """Return the grey window (black, white) that suits all given pictures together."""
    finite = np.concatenate([p[np.isfinite(p)] for p in pixels] or [np.zeros(1)])
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, percent))
    return low, high if high > low else low + 1.0


def grey(pixels: Pixels, black_white: tuple[float, float]) -> Rgb:
    """Return a grey picture (R, C, 3); what is missing (NaN) is black."""
    black, white = black_white
    level = np.clip((np.nan_to_num(pixels, nan=black) - black) / (white - black), 0.0, 1.0)
    return np.repeat(np.rint(level * 255).astype(np.uint8)[..., None], 3, axis=2)


def jacobian_position(jacobian: npt.ArrayLike, *, limit: float = JACOBIAN_LIMIT) -> Pixels:
    """Return where volume ratios lie on the colour scale: 0.5 for 1, log scale, clipped.

    Halving and doubling lie equally far from the middle. Ratios of 0 or less give NaN.
    """
    ratio = np.asarray(jacobian, dtype=np.float64)
    safe = np.where(ratio > 0, ratio, np.nan)
    return np.asarray(np.clip(0.5 + 0.5 * np.log2(safe) / np.log2(limit), 0.0, 1.0))


def blend(under: Rgb, colours: Pixels, opacity: Pixels) -> Rgb:
    """Return `colours` (R, C, 3; 0 to 1) laid over a picture with an opacity (R, C)."""
    share = opacity[..., None]
    mixed = (1.0 - share) * under.astype(np.float64) + share * colours * 255.0
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def outline_mm(cut: Cut, mask: npt.NDArray[np.bool_]) -> Lines:
    """Return the border of a pixel mask (R, C) as segments (n, 2, 2) in picture mm."""
    return np.asarray(outline(mask) * np.asarray(cut.pixel_mm))


def carried_mm(points_mm: Lines, moved_mm: Pixels, cut: Cut) -> Lines:
    """Return points of the picture (..., 2) after an in-plane displacement (R, C, 2), linear."""
    where = np.moveaxis(points_mm / np.asarray(cut.pixel_mm) - 0.5, -1, 0)[::-1]
    steps = [
        ndimage.map_coordinates(moved_mm[..., axis], where, order=1, mode="nearest")
        for axis in (0, 1)
    ]
    return np.asarray(points_mm + np.stack(steps, axis=-1))


def grid_lines_mm(cut: Cut, *, step_mm: float) -> list[Lines]:
    """Return the lines (n, 2) of a regular grid in picture mm, with a point at every pixel."""
    rows, columns = cut.index.shape[:2]
    width, height = cut.pixel_mm
    x, y = np.meshgrid((np.arange(columns) + 0.5) * width, (np.arange(rows) + 0.5) * height)
    points = np.stack([x, y], axis=-1)
    down, across = max(1, round(step_mm / height)), max(1, round(step_mm / width))
    return [*points[::down], *points.transpose(1, 0, 2)[::across]]


def along_picture_mm(cut: Cut, vectors_mm: Pixels) -> Pixels:
    """Return LPS vectors (R, C, 3) as parts (R, C, 2) to the right and down in the picture."""
    right, down, _ = _unit_steps(cut)
    return np.stack([vectors_mm @ right, vectors_mm @ down], axis=-1)


def through_plane_mm(cut: Cut, vector_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the part (3,) of an LPS vector that stands upright on the picture."""
    _, _, normal = _unit_steps(cut)
    return np.asarray(normal * (np.asarray(vector_mm) @ normal))


def _unit_steps(cut: Cut) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the LPS unit vectors of one pixel to the right, one down, and of the normal."""
    corner = cut.index[0, 0]
    steps = (cut.index[0, -1] - corner, cut.index[-1, 0] - corner)
    right, down = (cut.grid.direction @ np.sign(step).astype(np.float64) for step in steps)
    return right, down, np.cross(right, down)


def _run(length: int, sign: int) -> npt.NDArray[np.int64]:
    order = np.arange(length, dtype=np.int64)
    return order if sign > 0 else order[::-1]


def _letters(vector: npt.NDArray[np.float64]) -> str:
    """Return the letter of the main world direction, and a second one when oblique."""
    order = np.argsort(-np.abs(vector), kind="stable")
    chosen = [int(order[0])] + [int(a) for a in order[1:] if abs(vector[a]) > _OBLIQUE]
    return "".join((_POSITIVE if vector[a] > 0 else _NEGATIVE)[a] for a in chosen)

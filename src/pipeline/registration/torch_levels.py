"""Levels of a pair of images for the affine stage: points in the fixed image, a coarser moving one.

Millimetres are LPS. A map is kept as a (4, 4) matrix of `Level`'s unit frame, whose origin is the
middle of the fixed image and whose unit is half its diagonal, so that a change of 0.01 in any
entry moves the corners by about as much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import EmptyRegionError
from pipeline.geometry import corners_mm, index_to_world
from pipeline.registration.tensors import (
    as_tensor,
    sample,
    separable,
    slopes,
    voxel_to_world,
)
from pipeline.types import Array1D, Geometry, Mask3D, Volume

Matrix = npt.NDArray[np.float64]

#: Intensities are clipped to these percentiles, so that metal or a bright vessel does not rule.
CLIP = (0.2, 99.8)
#: SD of the smoothing of a level, in parts of its voxel. Below 0.75 the noise that is left
#: depends on where between voxels the image is sampled, and half a voxel off looks best.
_BLUR = 0.8
#: The moving image's lattice is so much finer than the points: what lies between is linear.
_FINER = 2.0
_BOX_MARGIN = 2
#: More values than this part may be at the minimum only if it is padding.
_MOST_AT_MINIMUM = 0.99


@dataclass(frozen=True, eq=False)
class Source:
    """An image on the device, scaled to 0 to 1, and where it may be compared.

    Attributes
    ----------
    values : (I, J, K) tensor
        Clipped and scaled intensities.
    mask : (I, J, K) tensor or None
        1 where the image is compared.
    grid : Geometry
        The grid of both.
    """

    values: torch.Tensor
    mask: torch.Tensor | None
    grid: Geometry


@dataclass(frozen=True, eq=False)
class Level:
    """What the images look like at one distance of sample points.

    Attributes
    ----------
    voxel_mm : float
        Distance of the sample points; more along axes that are coarser.
    points : (n, 3) tensor
        Sample points of the fixed image in the unit frame.
    fixed : (n,) tensor
        Its intensities there.
    weight : (n,) tensor
        Above 0.
    moving : (4, A, B, C) tensor
        The moving image and its derivatives per voxel of this level.
    moving_weight : (A, B, C) tensor or None
        Where the moving image is compared.
    to_index : (4, 4) array
        Unit frame to indices of `moving`.
    frame : (4, 4) array
        Unit frame to LPS mm.
    corners : (8, 3) array
        The fixed image's corners in the unit frame.
    """

    voxel_mm: float
    points: torch.Tensor
    fixed: torch.Tensor
    weight: torch.Tensor
    moving: torch.Tensor
    moving_weight: torch.Tensor | None
    to_index: Matrix
    frame: Matrix
    corners: Matrix

    @property
    def unit_mm(self) -> float:
        """Length of the frame's unit."""
        return float(self.frame[0, 0])

    def look(self, matrix: Matrix) -> tuple[torch.Tensor, torch.Tensor]:
        """Return moved intensities and weights (n,) under a map of the unit frame."""
        index = self._index(matrix)
        return sample(self.moving[0], index), self._weight(index)

    def look_closely(self, matrix: Matrix) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return moved intensities, weights, and derivatives (n, 3) in the unit frame."""
        index = self._index(matrix)
        found = sample(self.moving, index)
        turn = torch.as_tensor(self.to_index[:3, :3], dtype=torch.float32, device=index.device)
        return found[0], self._weight(index), found[1:].T @ turn

    def _index(self, matrix: Matrix) -> torch.Tensor:
        whole = torch.as_tensor(self.to_index @ matrix, dtype=torch.float32,
                                device=self.points.device)  # fmt: skip
        return torch.addmm(whole[:3, 3], self.points, whole[:3, :3].T)

    def _weight(self, index: torch.Tensor) -> torch.Tensor:
        """Return the weight, which falls to 0 over the last voxel of the field of view."""
        ends = torch.tensor(self.moving.shape[1:], device=index.device) - 0.5
        within = (index + 0.5).clamp(0, 1) * (ends - index).clamp(0, 1)
        weight = self.weight * within.prod(dim=1)
        if self.moving_weight is not None:
            weight = weight * sample(self.moving_weight, index)
        return weight


def prepare(
    volume: Volume,
    mask: Mask3D | None,
    device: torch.device,
    *,
    clip: tuple[float, float] = CLIP,
) -> Source:
    """Return an image cut to the box of its mask, clipped and scaled by what lies in the mask.

    Raises
    ------
    EmptyRegionError
        When the mask has no voxel.
    """
    data, grid = np.asarray(volume.data), volume.grid
    seen = data.ravel()
    if mask is not None:
        if not mask.any():
            raise EmptyRegionError(
                "the mask of where to compare has no voxel: check that its values are above 0 "
                "where the images are to be compared, or leave it out"
            )
        box = _box(mask)
        seen = data[mask]
        data, mask = data[box], mask[box]
        start = index_to_world(grid, [part.start for part in box])
        origin_mm = (float(start[0]), float(start[1]), float(start[2]))
        grid = Geometry(data.shape, grid.spacing_mm, origin_mm, grid.direction)
    seen = _unpadded(seen[:: max(1, seen.size // 1_000_000)])
    low, high = np.percentile(seen, clip)
    if not high > low:
        low, high = float(seen.min()), float(seen.max())
    values = ((as_tensor(data, device) - low) / max(high - low, 1e-30)).clamp_(0, 1)
    return Source(values, None if mask is None else as_tensor(mask, device), grid)


def _unpadded(values: Array1D) -> Array1D:
    """Return the values without those at the very minimum where they are many.

    Scanners fill what they did not see with one value, far below anything in the patient.
    """
    rest = values[values > values.min()]
    return rest if 2 <= len(rest) < _MOST_AT_MINIMUM * len(values) else values


def _box(mask: Mask3D) -> tuple[slice, slice, slice]:
    """Return the box of a mask, `_BOX_MARGIN` voxels wider on every side within the image."""
    found = []
    for axis, count in enumerate(mask.shape):
        others = tuple(a for a in range(3) if a != axis)
        at = np.flatnonzero(mask.any(axis=others))
        found.append(slice(max(at[0] - _BOX_MARGIN, 0), min(at[-1] + 1 + _BOX_MARGIN, count)))
    return found[0], found[1], found[2]


def unit_frame(grid: Geometry) -> Matrix:
    """Return the (4, 4) matrix from the unit frame to LPS mm."""
    corner = np.asarray(grid.shape) - 1
    half = 0.5 * grid.direction @ (corner * np.asarray(grid.spacing_mm))
    frame = np.eye(4)
    frame[:3, :3] *= np.linalg.norm(half)
    frame[:3, 3] = np.asarray(grid.origin_mm) + half
    return frame


def make_level(fixed: Source, moving: Source, voxel_mm: float) -> Level:
    """Return both images smoothed alike, the fixed one at points every `voxel_mm`."""
    positions = lattice(fixed.grid, voxel_mm)
    values, weight = _shrunk(fixed, positions, voxel_mm)
    frame = unit_frame(fixed.grid)
    to_frame = np.linalg.inv(frame) @ voxel_to_world(fixed.grid)
    places = torch.stack(
        torch.meshgrid(*(torch.as_tensor(p, device=values.device) for p in positions),
                       indexing="ij"), dim=-1)  # fmt: skip
    turn = torch.as_tensor(to_frame, device=values.device)
    points = (places @ turn[:3, :3].T + turn[:3, 3]).float()
    kept = weight > 0
    moving_positions = lattice(moving.grid, voxel_mm, finer=_FINER)
    image, seen = _shrunk(moving, moving_positions, voxel_mm)
    steps = [p[1] - p[0] for p in moving_positions]
    to_voxel = np.linalg.inv(voxel_to_world(moving.grid)) @ frame
    return Level(
        voxel_mm=voxel_mm,
        points=points[kept],
        fixed=values[kept],
        weight=weight[kept],
        moving=torch.cat([image[None], slopes(image)]),
        moving_weight=None if moving.mask is None else seen,
        to_index=np.diag([*(1 / step for step in steps), 1.0]) @ to_voxel,
        frame=frame,
        corners=(corners_mm(fixed.grid) - frame[:3, 3]) / frame[0, 0],
    )


def landscape(source: Source, voxel_mm: float) -> tuple[Matrix, Matrix, Matrix]:
    """Return points (n, 3) in LPS mm, intensities (n,) above those of the border, and weights."""
    positions = lattice(source.grid, voxel_mm)
    found = _shrunk(source, positions, voxel_mm)
    values, weight = (part.cpu().numpy().astype(np.float64) for part in found)
    border = np.ones(values.shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    index = np.stack(np.meshgrid(*positions, indexing="ij"), axis=-1).reshape(-1, 3)
    above = values - np.median(values[border])
    return index_to_world(source.grid, index), above.ravel(), weight.ravel()


def lattice(grid: Geometry, voxel_mm: float, *, finer: float = 1.0) -> list[Matrix]:
    """Return fractional indices along each axis, from end to end.

    They are `voxel_mm`, or one voxel where that is more, divided by `finer` apart, or less.
    """
    steps = (max(voxel_mm / spacing, 1.0) / finer for spacing in grid.spacing_mm)
    return [
        np.linspace(0, n - 1, max(int(np.ceil((n - 1) / step - 1e-6)) + 1, 2))
        for n, step in zip(grid.shape, steps, strict=True)
    ]


def smallest_voxel(grid: Geometry, most_points: int) -> float:
    """Return the voxel size in mm with which a lattice has `most_points` or hardly more."""
    low, high = min(grid.spacing_mm), max(grid.spacing_mm) * max(grid.shape)
    if np.prod(grid.shape) <= most_points:
        return low
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        if np.prod([len(p) for p in lattice(grid, middle)]) > most_points:
            low = middle
        else:
            high = middle
    return high


def _shrunk(
    source: Source, positions: Sequence[Matrix], voxel_mm: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return smoothed values and weights (A, B, C), both of what lies in the mask alone."""
    one, two, three = (
        _gaussian(n, _BLUR * max(voxel_mm / spacing, 1.0), at, source.values.device)
        for n, spacing, at in zip(source.grid.shape, source.grid.spacing_mm, positions, strict=True)
    )
    matrices = (one, two, three)
    if source.mask is None:
        values = separable(source.values, matrices)
        return values, torch.ones_like(values)
    seen = separable(source.mask, matrices)
    values = separable(source.values * source.mask, matrices) / seen.clamp(min=1e-6)
    weight = (2 * seen - 1).clamp(min=0)
    # A mask thinner than the smoothing has no such inner part.
    return values, weight if bool(weight.any()) else seen


def _gaussian(count: int, sigma: float, at: Matrix, device: torch.device) -> torch.Tensor:
    """Return the matrix (positions, count) of a Gaussian mean around fractional indices."""
    weights = np.exp(-0.5 * ((at[:, None] - np.arange(count)) / sigma) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return torch.as_tensor(weights, dtype=torch.float32, device=device)

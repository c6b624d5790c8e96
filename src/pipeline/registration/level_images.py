"""Both images of a level of the diffeomorphic stage, sampled, and their derivatives.

Positions are mm along the axes of the fixed grid. The moving image is looked at through a
displacement of the flow's nodes, and what pulls at its voxels is gathered back onto those nodes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import make_interp_spline

from pipeline.registration.comparison import Comparison, Fitted, Measure
from pipeline.registration.tensors import (
    Matrices,
    gaussian_matrix,
    inside,
    sample,
    separable,
    slopes,
    transposed,
)
from pipeline.registration.torch_levels import Source
from pipeline.registration.velocity import Flow
from pipeline.types import Geometry

Matrix = npt.NDArray[np.float64]
Item = TypeVar("Item")

#: SD of the smoothing of both images, in voxels of the level. With less, the noise that is left
#: depends on where between voxels the moving image is sampled, and everything drifts to where it
#: is least. More costs accuracy at sharp edges.
_BLUR = 0.5
#: The moving image's lattice is so much finer than the voxels: what lies between is linear.
_FINER = 2.0
#: Order of the six entries of a symmetric 3x3 matrix.
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    Attributes
    ----------
    voxel_mm : three floats
        Distance of the sample points along the fixed axes.
    knot_mm : float
        Distance of the lattice's coefficients; half of the level's before, or the same.
    bending_mm : float
        Weight of bending against a misfit of the fixed image's SD, as a length.
    measure : {"ssd", "lncc", "mi"}
        See `Comparison`.
    window_mm : float
        SD of the window in which "lncc" matches.
    robust_per_mm : float
        Bending |D2 v| whose weight is 1 in the robust penalty; 0 for the plain one.
    """

    voxel_mm: tuple[float, float, float]
    knot_mm: float
    bending_mm: float
    measure: Measure
    window_mm: float = 0.0
    robust_per_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class Look:
    """The moving image seen through a velocity."""

    moved: torch.Tensor  # (I, J, K)
    weight: torch.Tensor
    slope: torch.Tensor  # (3, I, J, K), per voxel of the moving lattice


@dataclass(frozen=True, eq=False)
class LevelImages:
    """Both images of one level, sampled."""

    fixed: Source
    moving: Source
    affine: Matrix
    level: Level
    flow: Flow
    comparison: Comparison = field(init=False)
    volume_mm3: float = field(init=False)
    to_voxels: Matrices = field(init=False)
    pooling: Matrices = field(init=False)
    turn: torch.Tensor = field(init=False)  # mm along the fixed axes -> moving lattice
    start: torch.Tensor = field(init=False)  # (I, J, K, 3)
    image: torch.Tensor = field(init=False)  # (4, ...): the moving image and its slopes
    seen: torch.Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        level, grid = self.level, self.fixed.grid
        ticks = _ticks(grid, level.voxel_mm)
        fixed, weight = _fixed_image(self.fixed, ticks, level.voxel_mm)
        image, seen, steps = _moving_image(self.moving, grid, level.voxel_mm)
        turn, start = _index_map(grid, self.moving.grid, self.affine, steps)
        lines = [torch.as_tensor(t, dtype=torch.float32, device=fixed.device) for t in ticks]
        to_index = torch.as_tensor(turn, dtype=torch.float32, device=fixed.device)
        origin = torch.as_tensor(start, dtype=torch.float32, device=fixed.device)
        window = None
        if level.window_mm > 0:
            window = three(
                gaussian_matrix(n, level.window_mm / v, device=fixed.device)
                for n, v in zip(fixed.shape, level.voxel_mm, strict=True)
            )
        found = {
            "comparison": Comparison(fixed, weight, level.measure, window),
            "volume_mm3": float(weight.sum()) * float(np.prod(level.voxel_mm)),
            "to_voxels": self.flow.to_points(ticks),
            "pooling": self.flow.pooling(ticks),
            "turn": to_index,
            "start": torch.stack(torch.meshgrid(*lines, indexing="ij"), -1) @ to_index.T + origin,
            "image": torch.cat([image[None], slopes(image)]),
            "seen": seen,
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def look(self, moved_mm: torch.Tensor) -> Look:
        """Return the moving image under a displacement (3, A, B, C) of the flow's nodes."""
        turned = torch.einsum("rc,cijk->rijk", self.turn, moved_mm)
        index = self.start + separable(turned, self.to_voxels).movedim(0, -1)
        weight = self.comparison.weight * inside(index, self.image.shape[1:])
        if self.seen is not None:
            weight = weight * sample(self.seen, index)
        found = sample(self.image, index)
        return Look(found[0], weight, found[1:])

    def unexplained(self, moved_mm: torch.Tensor) -> float:
        """Return the part of the fixed image's variance that is left under a displacement."""
        look = self.look(moved_mm)
        return self.comparison.fit(look.moved, look.weight).unexplained(look.moved, look.weight)

    def derivatives(self, fitted: Fitted, look: Look) -> tuple[torch.Tensor, torch.Tensor]:
        """Return dE/du (3, A, B, C) at the nodes and the six second-order terms there."""
        first, second = fitted.terms(look.moved, look.weight)
        scale = self.volume_mm3 / max(float(look.weight.sum(dtype=torch.float64)), 1e-30)
        pushed = separable((scale * first) * look.slope, transposed(self.to_voxels))
        force = torch.einsum("rc,rijk->cijk", self.turn, pushed)
        along = torch.einsum("rc,rijk->cijk", self.turn, look.slope)
        curved = scale * second
        pairs = torch.stack([curved * along[a] * along[b] for a, b in _PAIRS])
        return force, separable(pairs, self.pooling)


def _ticks(grid: Geometry, voxel_mm: tuple[float, float, float]) -> list[Matrix]:
    """Return sample positions in mm along each fixed axis, centred on the image."""
    found = []
    for count, spacing, voxel in zip(grid.shape, grid.spacing_mm, voxel_mm, strict=True):
        end = spacing * (count - 1)
        number = int(np.floor(end / voxel + 1e-6)) + 1
        found.append((end - (number - 1) * voxel) / 2 + voxel * np.arange(number, dtype=np.float64))
    return found


def _fixed_image(
    source: Source, ticks: Sequence[Matrix], voxel_mm: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the fixed image smoothed at the sample points, and where it is compared."""
    device = source.values.device
    matrices = three(
        gaussian_matrix(n, _BLUR * v / s, at=t / s, device=device)
        for n, s, v, t in zip(
            source.grid.shape, source.grid.spacing_mm, voxel_mm, ticks, strict=True
        )
    )
    values = separable(source.values, matrices)
    if source.mask is None:
        return values, torch.ones_like(values)
    return values, _well_inside(separable(source.mask, matrices))


def _moving_image(
    source: Source, fixed: Geometry, voxel_mm: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor | None, list[float]]:
    """Return the moving image smoothed alike on a finer lattice, its mask, and the lattice's steps.

    The steps are in voxels of the image. Between its voxels the lattice follows cubic splines.
    """
    across = (source.grid.direction.T @ fixed.direction) ** 2
    wanted = np.sqrt(across @ np.square(voxel_mm))
    smooth, plain, steps = [], [], []  # the mask is smoothed too, but not by splines
    for count, spacing, voxel in zip(
        source.grid.shape, source.grid.spacing_mm, wanted.tolist(), strict=True
    ):
        number = int(np.ceil((count - 1) * _FINER * spacing / max(voxel, spacing) - 1e-6)) + 1
        at = np.linspace(0, count - 1, max(number, 4))
        voxels = np.arange(count)
        spline = make_interp_spline(voxels, np.eye(count), k=3)(at)
        sigma = _BLUR * voxel / spacing
        smooth.append(spline @ gaussian_matrix(count, sigma).double().numpy())
        plain.append(gaussian_matrix(count, sigma, at=at).double().numpy())
        steps.append(float(at[1] - at[0]))
    device = source.values.device

    def on_device(arrays: Sequence[Matrix]) -> Matrices:
        return three(torch.as_tensor(a, dtype=torch.float32, device=device) for a in arrays)

    image = separable(source.values, on_device(smooth))
    seen = None
    if source.mask is not None:
        seen = _well_inside(separable(source.mask, on_device(plain)))
    return image, seen, steps


def _well_inside(smoothed: torch.Tensor) -> torch.Tensor:
    """Return the weight of a smoothed mask: 0 where half or more comes from outside it.

    Smoothing carries a lesion that is left out over the border of its mask.
    """
    return (2 * smoothed - 1).clamp(min=0, max=1)


def _index_map(
    fixed: Geometry, moving: Geometry, affine: Matrix, steps: Sequence[float]
) -> tuple[Matrix, Matrix]:
    """Return Q (3, 3), q0 (3,): lattice index = q0 + Q p, p in mm along the fixed axes."""
    to_index = (moving.direction / (np.asarray(moving.spacing_mm) * np.asarray(steps))).T
    turn = to_index @ affine[:3, :3] @ fixed.direction
    origin = affine[:3, :3] @ np.asarray(fixed.origin_mm) + affine[:3, 3]
    return turn, to_index @ (origin - np.asarray(moving.origin_mm))


def three(items: Iterable[Item]) -> tuple[Item, Item, Item]:
    """Return three items as a tuple of three, one per axis."""
    one, two, last = items
    return one, two, last

"""The torch engine: rigid, affine, then diffeomorphic; the same code on the CPU and on CUDA."""

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from pipeline.errors import SettingsError
from pipeline.registration.diffeomorphic import estimate_velocity
from pipeline.registration.engine import Estimate, Pair, RegistrationSettings
from pipeline.registration.level_images import Level
from pipeline.registration.sampling import slab_points, slabs
from pipeline.registration.tensors import as_tensor, pick_device
from pipeline.registration.torch_affine import align
from pipeline.registration.torch_levels import CLIP, Source, prepare
from pipeline.types import DisplacementField, Geometry, Mask3D, Volume

Matrix = npt.NDArray[np.float64]

_LOG = logging.getLogger(__name__)

#: Distance of the finest knots, unless it is less than so many voxels: what one or two voxels
#: say is noise and the way they were sampled.
_GRID_MM, _KNOT_VOXELS = 6.0, 3.0
_BENDING_MM = 1.0
#: Each coarser lattice bends so much less freely.
_STIFFER = 3.0**0.5
#: No level has fewer voxels between two knots, but for the finest voxels themselves.
_LEAST_VOXELS = 1.85


class _Step(NamedTuple):
    """A level: voxels and knots in parts of the finest, the window in parts of the narrowest."""

    voxels: int
    knots: int
    window: float
    stiffer: int


#: The finest lattice starts on voxels of twice the size, at an eighth of the cost, with a plain
#: penalty: the robust one would hold a faint lesion where it is. Local matching finds its way with
#: a wide window first.
_PLAN = (_Step(4, 4, 0.0, 2), _Step(2, 2, 2.0, 1), _Step(2, 1, 2.0, 0), _Step(1, 1, 1.0, 0))


def estimate(pair: Pair, settings: RegistrationSettings) -> Estimate:
    """Return the map from fixed to moving; see `Engine`."""
    if settings.deformable not in ("auto", "diffeomorphic", "none"):
        raise SettingsError(
            f"deformable {settings.deformable!r} belongs to the engine simpleitk; "
            "use --engine simpleitk, or diffeomorphic or none"
        )
    device = pick_device(settings.device)
    fixed_compare, moving_compare = _compared(pair, settings)
    start = align(
        pair.fixed,
        pair.moving,
        device=device,
        metric=settings.affine_metric,
        fixed_compare=fixed_compare,
        moving_compare=moving_compare,
        align_centres=settings.align_centres,
    )
    grid, traces = pair.fixed.grid, start.traces
    warnings: tuple[str, ...] = ()
    along_axes = np.zeros((*grid.shape, 3), dtype=np.float32)
    if settings.deformable != "none":
        found = estimate_velocity(
            _source(pair.fixed, fixed_compare, device, settings),
            _source(pair.moving, moving_compare, device, settings),
            start.matrix,
            plan_levels(grid, settings),
            settings.reach_mm,
        )
        along_axes = found.displacement(grid)
        traces += found.traces
        if found.repairs:
            warnings = (
                f"the velocity was made stiffer {found.repairs} times where it came near folding",
            )
    field = _whole_map(grid, along_axes, start.matrix)
    return Estimate(start.matrix, field, {**start.log, "device": device.type}, warnings, traces)


def plan_levels(grid: Geometry, settings: RegistrationSettings) -> list[Level]:
    """Return the pyramid of `_PLAN`.

    The finest voxel is the grid's own, or larger so that an image holds `most_voxels` at most.
    """
    volume_mm3 = float(np.prod(grid.shape)) * grid.voxel_volume_mm3
    finest = max(min(grid.spacing_mm), (volume_mm3 / settings.most_voxels) ** (1 / 3))
    mean_mm = float(np.prod(_voxel(grid, finest))) ** (1 / 3)
    knot_mm = settings.grid_mm or max(_GRID_MM, _KNOT_VOXELS * mean_mm)
    window_mm = settings.match_window_mm if settings.metric == "lncc" else 0.0
    return [
        Level(
            voxel_mm=_voxel(
                grid, max(finest, min(step.voxels * finest, step.knots * knot_mm / _LEAST_VOXELS))
            ),
            knot_mm=step.knots * knot_mm,
            bending_mm=(settings.bending_mm or _BENDING_MM) * _STIFFER**step.stiffer,
            measure=settings.metric,
            window_mm=step.window * window_mm,
            robust_per_mm=settings.robust_per_mm * _GRID_MM / knot_mm if step.voxels == 1 else 0.0,
        )
        for step in _PLAN
    ]


def _voxel(grid: Geometry, size_mm: float) -> tuple[float, float, float]:
    a, b, c = (max(size_mm, spacing) for spacing in grid.spacing_mm)
    return a, b, c


def _compared(pair: Pair, settings: RegistrationSettings) -> tuple[Mask3D | None, Mask3D | None]:
    """Return where each image is compared, or None for everywhere."""
    fixed, moving = (
        None if mask is None else np.asarray(mask.data > 0, dtype=np.bool_)
        for mask in (pair.fixed_compare, pair.moving_compare)
    )
    if settings.compare_within == "mask" and pair.fixed_mask is not None:
        outside = ~pair.fixed_mask.data.astype(bool)
        distance = ndimage.distance_transform_edt(outside, sampling=pair.fixed_mask.grid.spacing_mm)
        near = np.asarray(distance <= settings.mask_margin_mm, dtype=np.bool_)
        fixed = near if fixed is None else fixed & near
    return fixed, moving


def _source(
    volume: Volume, mask: Mask3D | None, device: torch.device, settings: RegistrationSettings
) -> Source:
    """Return the whole image, scaled; only a histogram needs its extremes clipped."""
    clip = CLIP if settings.metric == "mi" else (0.0, 100.0)
    scaled = prepare(volume, None, device, clip=clip)
    return scaled if mask is None else replace(scaled, mask=as_tensor(mask, device))


def _whole_map(
    grid: Geometry, along_axes: npt.NDArray[np.float32], affine: Matrix
) -> DisplacementField:
    """Return A (x + D v) - x in LPS mm, float32, from v along the fixed axes."""
    data = np.empty((*grid.shape, 3), dtype=np.float32)
    for part in slabs(grid):
        points = slab_points(grid, part)
        moved = points + along_axes[:, :, part].astype(np.float64) @ grid.direction.T
        data[:, :, part] = moved @ affine[:3, :3].T + affine[:3, 3] - points
    return DisplacementField(data, grid)

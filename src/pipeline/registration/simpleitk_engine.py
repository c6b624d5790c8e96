"""The reference engine: rigid and affine by SimpleITK, then B-splines or diffeomorphic demons."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import SettingsError
from pipeline.registration import demons
from pipeline.registration.affine import align
from pipeline.registration.engine import Estimate, Pair, RegistrationSettings
from pipeline.registration.fields import grid_points
from pipeline.registration.freeform import Pass, estimate_field
from pipeline.types import DisplacementField, Geometry, Mask3D, Volume

Array = npt.NDArray[np.float64]

_GRID_MM = 8.0
_BENDING_MM = 0.55
#: Each pass bends three times more freely than the one before.
_FREER = 3.0


def estimate(pair: Pair, settings: RegistrationSettings) -> Estimate:
    """Return the map from fixed to moving; see `Engine`."""
    region = _region(pair, settings)
    fixed, moving = _as_float(pair.fixed), _as_float(pair.moving)
    start = align(fixed, moving, seed=settings.seed, metric=settings.affine_metric, mask=region)
    log: dict[str, Any] = dict(start.log)
    warnings: tuple[str, ...] = ()
    along_axes = np.zeros((*fixed.grid.shape, 3))
    kind = "bspline" if settings.deformable == "auto" else settings.deformable
    if kind == "diffeomorphic":
        raise SettingsError(
            "deformable 'diffeomorphic' belongs to the engine torch; "
            "use --engine torch, or bspline or demons"
        )
    if kind == "demons":
        along_axes, log["deformable_steps"] = demons.estimate_field(fixed, moving, start.matrix)
    elif kind == "bspline":
        found = estimate_field(
            fixed,
            moving,
            start.matrix,
            passes=plan_passes(fixed.grid, settings),
            reach_mm=settings.reach_mm,
            weight=None if region is None else region.astype(np.float64),
        )
        along_axes = found.field_mm
        log["passes"] = [asdict(report) for report in found.reports]
        log["deformable_steps"] = sum(report.steps for report in found.reports)
        repairs = sum(report.repairs for report in found.reports)
        if repairs:
            warnings = (f"the spline was made stiffer {repairs} times where it came near folding",)
    return Estimate(start.matrix, _whole_map(fixed.grid, along_axes, start.matrix), log, warnings)


def plan_passes(grid: Geometry, settings: RegistrationSettings) -> list[Pass]:
    """Return the pyramid: voxels of 4, 2 and 1 times the finest, knots likewise.

    The finest voxel is the grid's own, or larger so that an image holds `most_voxels` at most.
    The finest knots are used twice: with a wide window of intensity matching, which finds the
    way, then with a narrow one, which is not misled by uptake that differs.
    """
    volume_mm3 = float(np.prod(grid.shape)) * grid.voxel_volume_mm3
    finest = max(min(grid.spacing_mm), (volume_mm3 / settings.most_voxels) ** (1 / 3))
    knots, window = settings.grid_mm or _GRID_MM, settings.match_window_mm
    bending = (settings.bending_mm or _BENDING_MM) ** 2
    plan = ((4, 4, 0.0, 3), (2, 2, 2 * window, 2), (1, 1, 2 * window, 1), (1, 1, window, 0))
    return [
        Pass(
            voxel_mm=_voxel(grid, voxel * finest),
            knot_mm=knot * knots,
            window_mm=match,
            bending_mm2=bending * _FREER**stiffer,
        )
        for voxel, knot, match, stiffer in plan
    ]


def _voxel(grid: Geometry, size_mm: float) -> tuple[float, float, float]:
    a, b, c = (max(size_mm, spacing) for spacing in grid.spacing_mm)
    return a, b, c


def _whole_map(grid: Geometry, along_axes: Array, affine: Array) -> DisplacementField:
    """Return A (x + D v) - x in LPS mm from v along the fixed axes."""
    points = grid_points(grid)
    moved = points + along_axes @ grid.direction.T
    return DisplacementField(moved @ affine[:3, :3].T + affine[:3, 3] - points, grid)


def _region(pair: Pair, settings: RegistrationSettings) -> Mask3D | None:
    """Return where to compare: the mask and a margin around it, or None for everywhere."""
    if pair.fixed_compare is not None:
        return np.asarray(pair.fixed_compare.data > 0, dtype=np.bool_)
    if settings.compare_within == "image" or pair.fixed_mask is None:
        return None
    outside = ~pair.fixed_mask.data.astype(bool)
    distance = ndimage.distance_transform_edt(outside, sampling=pair.fixed_mask.grid.spacing_mm)
    return np.asarray(distance <= settings.mask_margin_mm, dtype=np.bool_)


def _as_float(volume: Volume) -> Volume:
    return Volume(np.asarray(volume.data, dtype=np.float64), volume.grid)

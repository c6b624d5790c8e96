"""How good a registration is: likeness, volume change, folds, and does the inverse invert."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.registration.fields import Inverse, affine_to_field, reaches, warp
from pipeline.registration.jacobian import folding_fraction, jacobian_statistics
from pipeline.registration.matching import correlation, foreground
from pipeline.registration.sampling import FieldSampler, slab_points, slabs
from pipeline.types import DisplacementField, Mask3D, Volume

if TYPE_CHECKING:
    from pipeline.registration.engine import Estimate, Pair

#: Less of the body than this inside the moving image's field of view is worth a warning.
_LEAST_OVERLAP = 0.8
#: Correlations that differ by less are the same.
_SAME_CORRELATION = 1e-3
#: An inverse that misses by more than this part of a voxel is worth a warning.
_INVERSE_WITHIN = 0.1


def measure(pair: "Pair", found: "Estimate", inverse: Inverse, jacobian: Volume) -> dict[str, Any]:
    """Return the metrics that need one registration only."""
    body = foreground(pair.fixed.data)
    seen = covered(found.displacement, pair.moving)
    residual = inverse.residual_mm[inverse.inside]
    metrics: dict[str, Any] = {
        **_likeness(pair, found, body),
        "overlap_fraction": float(seen[body].mean()),
        "folding_fraction": folding_fraction(jacobian.data),
        "minimum_jacobian": float(jacobian.data.min()),
        "inverse_residual_mean_mm": float(residual.mean()) if residual.size else None,
        "inverse_residual_max_mm": float(residual.max()) if residual.size else None,
        **_inside_mask(pair, jacobian),
    }
    limit = _INVERSE_WITHIN * min(pair.fixed.grid.spacing_mm)
    metrics["warnings"] = _warnings(metrics, limit)
    return metrics


def covered(field: DisplacementField, moving: Volume) -> Mask3D:
    """Return where x + u(x) lies inside the moving image's field of view."""
    return reaches(field, moving.grid)


def inverse_consistency(
    fixed: Volume, forward: DisplacementField, backward: DisplacementField
) -> tuple[Volume, dict[str, Any]]:
    """Return |u_f(x) + u_b(x + u_f(x))| in mm as a map, and its mean and p95 over the fixed body.

    Parameters
    ----------
    fixed : Volume
        The fixed image; its body is where the error is taken.
    forward : DisplacementField
        Fixed to moving, on the fixed grid.
    backward : DisplacementField
        Moving to fixed, on the moving grid, found on its own. Points that the forward map
        sends off this grid have no backward displacement and are left out.
    """
    error = consistency_map(forward, backward)
    volume = Volume(error, forward.grid)
    mask = foreground(fixed.data) & reaches(forward, backward.grid)
    values = error[mask]
    if values.size == 0:
        return volume, {"inverse_consistency_mean_mm": None, "inverse_consistency_p95_mm": None}
    return volume, {
        "inverse_consistency_mean_mm": float(values.mean()),
        "inverse_consistency_p95_mm": float(np.percentile(values, 95)),
    }


def consistency_map(
    forward: DisplacementField, backward: DisplacementField
) -> npt.NDArray[np.float32]:
    """Return the distance in mm between each fixed point and its image there and back."""
    back = FieldSampler(backward)
    error = np.empty(forward.grid.shape, dtype=np.float32)
    for part in slabs(forward.grid):
        u = np.asarray(forward.data[:, :, part], dtype=np.float64)
        moved = slab_points(forward.grid, part) + u
        there_and_back = u + back(moved.reshape(-1, 3)).reshape(u.shape)
        error[:, :, part] = np.linalg.norm(there_and_back, axis=-1)
    return error


def _likeness(pair: "Pair", found: "Estimate", body: Mask3D) -> dict[str, float | None]:
    grid = pair.fixed.grid
    matrices = {"before": np.eye(4), "affine": found.affine, "after": None}
    likeness = {}
    for name, matrix in matrices.items():
        # One field at a time, and in float32: three at once would be the peak of the memory.
        field = found.displacement
        if matrix is not None:
            field = affine_to_field(matrix, grid, precision=np.float32)
        seen = body & covered(field, pair.moving)
        moved = warp(pair.moving, field).data
        likeness[f"correlation_{name}"] = correlation(pair.fixed.data, moved, seen)
    return likeness


def _inside_mask(pair: "Pair", jacobian: Volume) -> dict[str, Any]:
    mask = pair.fixed_mask
    if mask is None or not np.any(mask.data):
        return {}
    found = asdict(jacobian_statistics(jacobian.data, mask.data.astype(bool)))
    result = {f"jacobian_{name}_in_mask": value for name, value in found.items()}
    result["mean_jacobian"] = found["mean"]
    if pair.moving_mask is not None:
        size = float(np.count_nonzero(mask.data)) * mask.grid.voxel_volume_mm3
        later = float(np.count_nonzero(pair.moving_mask.data))
        result["volume_ratio"] = later * pair.moving_mask.grid.voxel_volume_mm3 / size
    return result


def _warnings(metrics: dict[str, Any], inverse_limit_mm: float) -> list[str]:
    found = []
    if metrics["overlap_fraction"] < _LEAST_OVERLAP:
        found.append(
            f"only {metrics['overlap_fraction']:.0%} of the body lies inside the moving image"
        )
    if metrics["folding_fraction"] > 0:
        found.append(f"the map folds at {metrics['folding_fraction']:.2%} of the voxels")
    before, after = metrics["correlation_affine"], metrics["correlation_after"]
    if before is not None and after is not None and abs(after) < abs(before) - _SAME_CORRELATION:
        found.append(f"the deformable stage lowers the correlation, {before:.3f} to {after:.3f}")
    residual = metrics["inverse_residual_max_mm"]
    if residual is not None and residual > inverse_limit_mm:
        found.append(f"the inverse misses by up to {residual:.2g} mm")
    return found

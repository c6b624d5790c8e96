"""Scores of a real pair's registration, whatever the engine: from its field and the files.

No true displacement is known here. What is known: landmarks, labels drawn on both images, the
volumes of a lesion, and that nothing moved much between the phases of one series.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.demo.score import dice
from pipeline.io import read_field, read_volume
from pipeline.registration.fields import affine_to_field, apply_to_points, warp, warp_labels
from pipeline.registration.jacobian import jacobian_determinant
from pipeline.registration.matching import correlation
from pipeline.registration.quality import consistency_map, covered
from pipeline.types import DisplacementField, Mask3D, Volume
from scripts.registration_bench.real_pairs import Points, PreparedPair

_HISTOGRAM_BINS = 32


def score(pair: PreparedPair, field: Path, backward: Path | None = None) -> dict[str, float]:
    """Return the scores of one run, flat, units in the names.

    Parameters
    ----------
    pair : PreparedPair
        The pair's files.
    field : Path
        Displacement on the fixed grid, mm along LPS: x -> x + u(x) in the moving image.
    backward : Path, optional
        The field that the same engine finds with the roles exchanged.
    """
    forward = read_field(field)
    moving, fixed = read_volume(pair.moving), read_volume(pair.fixed)
    regions = read_volume(pair.fixed_region), read_volume(pair.moving_region)
    inside = regions[0].data > 0
    found = {
        **volume_change(forward, *regions),
        **likeness(fixed, moving, forward, inside),
        **label_agreement(*regions, forward, pair.labels),
    }
    if pair.fixed_points_mm is not None and pair.moving_points_mm is not None:
        found |= landmark_errors(forward, pair.fixed_points_mm, pair.moving_points_mm)
    if backward is not None:
        found |= consistency(forward, read_field(backward), inside)
    return found


def landmark_errors(
    field: DisplacementField, fixed_mm: Points, moving_mm: Points
) -> dict[str, float]:
    """Return the distances between x + u(x) and the moving landmarks (n, 3), before and after.

    The affine map that fits the landmarks themselves best (least squares) is what no affine
    registration can beat by much; it is reported beside them.
    """
    design = np.column_stack([fixed_mm, np.ones(len(fixed_mm))])
    fitted = design @ np.linalg.lstsq(design, moving_mm, rcond=None)[0]
    ends = {"before": fixed_mm, "best_affine": fitted, "after": apply_to_points(field, fixed_mm)}
    found = {}
    for when, points in ends.items():
        error = np.linalg.norm(points - moving_mm, axis=1)
        found[f"landmark_median_{when}_mm"] = float(np.median(error))
        found[f"landmark_mean_{when}_mm"] = float(error.mean())
        found[f"landmark_max_{when}_mm"] = float(error.max())
    return found


def volume_change(
    field: DisplacementField, fixed_region: Volume, moving_region: Volume
) -> dict[str, float]:
    """Return what the Jacobian says inside the fixed region, and the ratio of the two volumes.

    ``folding_fraction`` is the share of the region's voxels with det J of 0 or less,
    ``folding_fraction_image`` that of all voxels. The mean of abs ln J leaves folds out.
    """
    determinant = jacobian_determinant(field.data, field.grid)
    inside = fixed_region.data > 0
    values = determinant[inside]
    kept = values[values > 0]
    first = np.count_nonzero(inside) * fixed_region.grid.voxel_volume_mm3
    last = np.count_nonzero(moving_region.data) * moving_region.grid.voxel_volume_mm3
    return {
        "mean_jacobian": float(values.mean()),
        "volume_ratio": float(last / first),
        "min_jacobian": float(values.min()),
        "mean_abs_log_jacobian": float(np.abs(np.log(kept)).mean()) if kept.size else np.nan,
        "folding_fraction": float((values <= 0).mean()),
        "folding_fraction_image": float((determinant <= 0).mean()),
    }


def label_agreement(
    fixed: Volume, moving: Volume, field: DisplacementField, labels: dict[str, int]
) -> dict[str, float]:
    """Return Dice and HD95 of each structure before any registration and after the field.

    The moving labels come onto the fixed grid by the nearest voxel. A structure that is lost
    has an HD95 of infinity.
    """
    found = {}
    still = affine_to_field(np.eye(4), fixed.grid)
    for when, displacement in (("before", still), ("after", field)):
        warped = warp_labels(moving, displacement).data
        for name, label in labels.items():
            masks = fixed.data == label, warped == label
            found[f"dice_{name}_{when}"] = dice(*masks)
            found[f"hd95_{name}_{when}_mm"] = hd95_mm(*masks, fixed.grid.spacing_mm)
    return found


def hd95_mm(first: Mask3D, second: Mask3D, spacing_mm: tuple[float, float, float]) -> float:
    """Return the 95 % Hausdorff distance in mm: the larger of its two directions.

    One direction: of the distances from each surface voxel of a mask to the nearest surface voxel
    of the other, the 95th percentile (linear). A surface voxel has one of its six neighbours
    outside the mask; beyond the grid counts as outside.
    """
    if not first.any() or not second.any():
        return float("inf")
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    distance = [ndimage.distance_transform_edt(~s, sampling=spacing_mm) for s in surfaces]
    ways = distance[1][surfaces[0]], distance[0][surfaces[1]]
    return float(max(np.percentile(way, 95) for way in ways))


def likeness(
    fixed: Volume, moving: Volume, field: DisplacementField, inside: Mask3D
) -> dict[str, float]:
    """Return correlation and mutual information of the images in the fixed region.

    Only voxels count that have a partner inside the moving image.
    """
    found = {}
    still = affine_to_field(np.eye(4), fixed.grid)
    for when, displacement in (("before", still), ("after", field)):
        where = inside & covered(displacement, moving)
        warped = warp(moving, displacement).data
        value = correlation(fixed.data, warped, where)
        found[f"correlation_{when}"] = float("nan") if value is None else value
        found[f"mutual_information_{when}_nats"] = mutual_information_nats(
            fixed.data[where], warped[where]
        )
    return found


def mutual_information_nats(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Return the mutual information of two (n,) arrays: joint histogram of 32 x 32 bins.

    The bins hold equally many values each, so that the scale of neither image matters.
    """
    codes = _rank_bins(first) * _HISTOGRAM_BINS + _rank_bins(second)
    joint = np.bincount(codes, minlength=_HISTOGRAM_BINS**2).reshape(_HISTOGRAM_BINS, -1)
    share = joint / codes.size
    apart = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    filled = share > 0
    return float((share[filled] * np.log(share[filled] / apart[filled])).sum())


def _rank_bins(values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    edges = np.quantile(values, np.linspace(0, 1, _HISTOGRAM_BINS + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


def consistency(
    forward: DisplacementField, backward: DisplacementField, inside: Mask3D
) -> dict[str, float]:
    """Return the distance from each point of the region to itself, there and back.

    Points that the forward map sends off the backward field's grid are left out.
    """
    where = inside & covered(forward, Volume(backward.data[..., 0], backward.grid))
    error = consistency_map(forward, backward)[where]
    return {
        "inverse_consistency_mean_mm": float(error.mean()),
        "inverse_consistency_p95_mm": float(np.percentile(error, 95)),
    }

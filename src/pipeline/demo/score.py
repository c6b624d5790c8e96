"""How near the study came to the truth of the simulation, subject by subject."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from pipeline.geometry import index_to_world, world_to_index
from pipeline.types import DisplacementField, Geometry, Mask3D, Volume

#: Mean Jacobians within this relative distance of the truth count as recovered.
RECOVERED_WITHIN = 0.05


@dataclass(frozen=True, eq=False)
class Truth:
    """What the simulation knows of one subject.

    Attributes
    ----------
    mean_jacobian : float
        Over the true tumour at baseline.
    mask_baseline, mask_followup : Volume
        True tumour, each on its acquisition grid.
    displacement : DisplacementField
        T(x) - x on the baseline acquisition grid.
    """

    mean_jacobian: float
    mask_baseline: Volume
    mask_followup: Volume
    displacement: DisplacementField


@dataclass(frozen=True, eq=False)
class Found:
    """What the study computed for one subject, on its own grids.

    Attributes
    ----------
    jacobian : Volume
        Jacobian map on the preprocessed baseline grid.
    mask_baseline, mask_followup : Volume
        Segmented tumour, each on its preprocessed grid.
    displacement : DisplacementField
        Field on the preprocessed baseline grid.
    """

    jacobian: Volume
    mask_baseline: Volume
    mask_followup: Volume
    displacement: DisplacementField


@dataclass(frozen=True)
class Score:
    """Found against true, one subject. An empty mask gives NaN for the means over it.

    Attributes
    ----------
    true_mean_jacobian : float
        Of the simulation.
    mean_jacobian : float
        Found map over the found baseline mask: what the study reports.
    mean_jacobian_in_true_mask : float
        Found map over the true baseline mask: the registration alone.
    relative_error, relative_error_in_true_mask : float
        Found over true, minus 1.
    dice_baseline, dice_followup : float
        Overlap of the found and the true mask, on the grid of the found one.
    field_error_mm : float
        Mean distance between the found and the true T(x) over the true baseline mask.
    """

    true_mean_jacobian: float
    mean_jacobian: float
    mean_jacobian_in_true_mask: float
    relative_error: float
    relative_error_in_true_mask: float
    dice_baseline: float
    dice_followup: float
    field_error_mm: float


def score_subject(truth: Truth, found: Found) -> Score:
    """Return the errors of one subject.

    Raises
    ------
    ValueError
        If the found map and the found baseline mask differ in shape.
    """
    if found.jacobian.data.shape != found.mask_baseline.data.shape:
        raise ValueError(
            f"Jacobian map {found.jacobian.data.shape} and baseline mask "
            f"{found.mask_baseline.data.shape} must lie on one grid; rerun the registration"
        )
    true_here = nearest_on(truth.mask_baseline, found.jacobian.grid) > 0
    mean = _mean(found.jacobian.data, found.mask_baseline.data > 0)
    mean_true_mask = _mean(found.jacobian.data, true_here)
    true_followup = nearest_on(truth.mask_followup, found.mask_followup.grid) > 0
    return Score(
        true_mean_jacobian=truth.mean_jacobian,
        mean_jacobian=mean,
        mean_jacobian_in_true_mask=mean_true_mask,
        relative_error=mean / truth.mean_jacobian - 1.0,
        relative_error_in_true_mask=mean_true_mask / truth.mean_jacobian - 1.0,
        dice_baseline=dice(found.mask_baseline.data > 0, true_here),
        dice_followup=dice(found.mask_followup.data > 0, true_followup),
        field_error_mm=field_error_mm(found.displacement, truth.displacement, true_here),
    )


def dice(first: Mask3D, second: Mask3D) -> float:
    """Return twice the overlap over the sum of two masks (I, J, K); 1 when both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / total if total else 1.0


def nearest_on(volume: Volume, grid: Geometry) -> npt.NDArray[np.float64]:
    """Return the values of the nearest voxels at the points of another grid; 0 outside."""
    ijk = np.moveaxis(np.indices(grid.shape, dtype=np.float64), 0, -1)
    index = np.rint(world_to_index(volume.grid, index_to_world(grid, ijk))).astype(np.int64)
    inside = np.all((index >= 0) & (index < np.asarray(volume.data.shape)), axis=-1)
    values = np.zeros(grid.shape)
    values[inside] = volume.data[tuple(index[inside].T)]
    return values


def field_error_mm(found: DisplacementField, true: DisplacementField, where: Mask3D) -> float:
    """Return the mean distance in mm between two fields at the voxels of the found field's grid.

    Parameters
    ----------
    found, true : DisplacementField
        Fields in mm along LPS; the true one is sampled linearly.
    where : (I, J, K) mask
        On the grid of `found`.
    """
    ijk = np.argwhere(where).astype(np.float64)
    if not len(ijk):
        return float("nan")
    index = world_to_index(true.grid, index_to_world(found.grid, ijk)).T
    expected = np.stack(
        [ndimage.map_coordinates(true.data[..., c].astype(np.float64), index, order=1,
                                 mode="nearest") for c in range(3)], axis=-1
    )  # fmt: skip
    return float(np.linalg.norm(found.data[where] - expected, axis=1).mean())


def summarise(table: pd.DataFrame) -> dict[str, float]:
    """Return the headline numbers of a table of scores.

    Parameters
    ----------
    table : DataFrame
        One row per subject with the columns of `Score`; rows without a score hold NaN.

    Returns
    -------
    dict
        subjects scored, share with the mean Jacobian within 5 % of the truth (over the found and
        over the true mask), median Dice per session, median field error in mm.
    """
    scored = table.dropna(subset=["dice_baseline"])
    count = len(scored)

    def share(column: str) -> float:
        return float((scored[column].abs() <= RECOVERED_WITHIN).mean()) if count else float("nan")

    return {
        "subjects": count,
        "share_within_5_percent": share("relative_error"),
        "share_within_5_percent_in_true_mask": share("relative_error_in_true_mask"),
        "median_dice_baseline": float(scored["dice_baseline"].median()),
        "median_dice_followup": float(scored["dice_followup"].median()),
        "median_field_error_mm": float(scored["field_error_mm"].median()),
    }


def _mean(values: npt.NDArray[np.float64], where: Mask3D) -> float:
    return float(values[where].mean(dtype=np.float64)) if where.any() else float("nan")

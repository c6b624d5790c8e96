"""Volumes and overlap of two masks, with 0/0 left undefined."""

from dataclasses import dataclass

import numpy as np

from pipeline.types import Mask3D


@dataclass(frozen=True)
class Overlap:
    """Volumes and overlap of a prediction with its reference; NaN for 0/0 and x/0.

    Attributes
    ----------
    reference_ml, prediction_ml : float
        Volumes.
    volume_difference_ml : float
        Prediction minus reference.
    dice_3d : float
        2 |R and P| / (|R| + |P|).
    jaccard : float
        |R and P| / |R or P|.
    rvd_percent : float
        100 (|R| / |P| - 1), the sign of Tian et al. 2018: positive when the prediction is too
        small. Many challenges print the opposite sign.
    sensitivity, precision : float
        |R and P| over |R| and over |P|.
    """

    reference_ml: float
    prediction_ml: float
    volume_difference_ml: float
    dice_3d: float
    jaccard: float
    rvd_percent: float
    sensitivity: float
    precision: float


def measure_overlap(reference: Mask3D, prediction: Mask3D, voxel_volume_mm3: float) -> Overlap:
    """Return volumes and overlap of two masks of one shape.

    Two empty masks give NaN throughout, for nothing was to be found. When one is empty, Dice
    and Jaccard are 0 by their formulae.
    """
    both = int(np.count_nonzero(reference & prediction))
    r, p = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    ml = voxel_volume_mm3 / 1000.0
    return Overlap(
        reference_ml=r * ml,
        prediction_ml=p * ml,
        volume_difference_ml=(p - r) * ml,
        dice_3d=ratio(2 * both, r + p),
        jaccard=ratio(both, r + p - both),
        rvd_percent=100.0 * (ratio(r, p) - 1.0),
        sensitivity=ratio(both, r),
        precision=ratio(both, p),
    )


def ratio(part: float, whole: float) -> float:
    """Return part over whole; NaN when the whole is 0."""
    return part / whole if whole else float("nan")

"""Agreement slice by slice, as the lung tumour report (DenseHighRes3DNet) prints it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.overlap import ratio
from pipeline.evaluation.surface import boundary, directed_distances
from pipeline.preprocess.orientation import canonical_move
from pipeline.types import Geometry, Mask3D

Plane = Literal["axial", "coronal", "sagittal"]
Outcome = Literal["tp", "fn", "fp"]
Float = npt.NDArray[np.float64]

#: World axis (0 L, 1 P, 2 S) that stands upright on each plane.
_NORMAL: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class SliceMeasures:
    """One slice in which the reference or the prediction has a voxel.

    Attributes
    ----------
    index : int
        Along the array axis, from 0.
    outcome : {"tp", "fn", "fp"}
        Both have voxels in the slice, the reference alone, the prediction alone. Two masks that
        share a slice but no pixel are a true positive with a Dice of 0.
    dice : float
        Of the slice; NaN for a false positive slice, which has no reference.
    msd_mm, hd95_mm : float
        As `Surface.msd_mm` and `Surface.hd95_mean_mm`, within the slice; true positives only.
    """

    index: int
    outcome: Outcome
    dice: float
    msd_mm: float
    hd95_mm: float


@dataclass(frozen=True)
class SliceSummary:
    """The slices of one case together; NaN where no slice counts.

    Attributes
    ----------
    dice_2d_mean, dice_2d_q1, dice_2d_median, dice_2d_q3 : float
        Over the slices with reference (true positive or false negative).
    tp_slices, fn_slices, fp_slices : int
        Counts.
    tp_dice_2d, tp_msd_2d_mm, tp_hd95_2d_mm : float
        Means over the true positive slices.
    """

    dice_2d_mean: float
    dice_2d_q1: float
    dice_2d_median: float
    dice_2d_q3: float
    tp_slices: int
    fn_slices: int
    fp_slices: int
    tp_dice_2d: float
    tp_msd_2d_mm: float
    tp_hd95_2d_mm: float


def slice_axis(grid: Geometry, plane: Plane) -> int:
    """Return the array axis along which slices of a plane follow one another."""
    return canonical_move(grid).order[_NORMAL[plane]]


def measure_slices(
    reference: Mask3D,
    prediction: Mask3D,
    spacing_mm: Sequence[float],
    *,
    axis: int,
    first: int = 0,
) -> tuple[SliceMeasures, ...]:
    """Return the measures of every slice that is not empty in both masks.

    Parameters
    ----------
    reference, prediction : (I, J, K) bool arrays
        Masks, or the same part of both.
    spacing_mm : (3,) floats
        Voxel edges.
    axis : int
        Array axis that the slices are cut across.
    first : int
        Index in the whole image of the first slice given.
    """
    in_plane = [a for a in range(3) if a != axis]
    edges_mm = [spacing_mm[a] for a in in_plane]
    # The boundary within a slice: its neighbours above and below do not count.
    stacks = [
        np.moveaxis(m, axis, 0)
        for mask in (reference, prediction)
        for m in (mask, boundary(mask, in_plane))
    ]
    masks, outlines = stacks[::2], stacks[1::2]
    counts = [m.sum(axis=(1, 2)) for m in (*masks, masks[0] & masks[1])]
    return tuple(
        _measure_slice(n + first, (int(r), int(p), int(both)), (outlines[0][n], outlines[1][n]),
                       edges_mm)
        for n, (r, p, both) in enumerate(zip(*counts, strict=True))
        if r or p
    )  # fmt: skip


def _measure_slice(
    index: int,
    counts: tuple[int, int, int],
    outlines: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    edges_mm: Sequence[float],
) -> SliceMeasures:
    r, p, both = counts
    undefined = float("nan")
    if not r:
        return SliceMeasures(index, "fp", undefined, undefined, undefined)
    if not p:
        return SliceMeasures(index, "fn", 0.0, undefined, undefined)
    a, b = directed_distances(*outlines, edges_mm)
    return SliceMeasures(
        index,
        "tp",
        dice=ratio(2 * both, r + p),
        msd_mm=float(a.mean() + b.mean()) / 2,
        hd95_mm=float(np.percentile(a, 95) + np.percentile(b, 95)) / 2,
    )


def summarise_slices(slices: Sequence[SliceMeasures]) -> SliceSummary:
    """Return the slices of one case together."""
    counts = {kind: sum(s.outcome == kind for s in slices) for kind in ("tp", "fn", "fp")}
    found = [s for s in slices if s.outcome == "tp"]
    dice = np.array([s.dice for s in slices if s.outcome != "fp"])
    undefined = float("nan")
    q1, median, q3 = np.percentile(dice, (25, 50, 75)).tolist() if dice.size else [undefined] * 3
    return SliceSummary(
        dice_2d_mean=_mean(dice.tolist()),
        dice_2d_q1=q1,
        dice_2d_median=median,
        dice_2d_q3=q3,
        tp_slices=counts["tp"],
        fn_slices=counts["fn"],
        fp_slices=counts["fp"],
        tp_dice_2d=_mean([s.dice for s in found]),
        tp_msd_2d_mm=_mean([s.msd_mm for s in found]),
        tp_hd95_2d_mm=_mean([s.hd95_mm for s in found]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")

"""Slice by slice: hand-worked Dice and distances, outcomes, and the plane of oblique grids."""

import math

import numpy as np
import pytest

from pipeline.evaluation.slices import measure_slices, slice_axis, summarise_slices
from tests.unit.evaluation.masks import SPACING, box, grid


def test_two_boxes_have_hand_worked_slices():
    # 9 x 7 pixels moved by 2 along i: 7 x 7 shared. Slices 4-5 missed, 6-8 in both, 9-10 too many.
    reference, prediction = box((5, 5, 4), (14, 12, 9)), box((7, 5, 6), (16, 12, 11))
    slices = measure_slices(reference, prediction, SPACING, axis=2)
    assert [s.index for s in slices] == [4, 5, 6, 7, 8, 9, 10]
    assert [s.outcome for s in slices] == ["fn"] * 2 + ["tp"] * 3 + ["fp"] * 2
    dice = 2 * 49 / 126
    found = summarise_slices(slices)
    assert (found.tp_slices, found.fn_slices, found.fp_slices) == (3, 2, 2)
    assert found.dice_2d_mean == pytest.approx(3 * dice / 5)  # a missed slice counts as 0
    assert found.dice_2d_q1 == 0
    assert found.dice_2d_median == pytest.approx(dice)
    assert found.tp_dice_2d == pytest.approx(dice)
    # Beyond the shared pixels lie the columns i = 5, 6 of R, 1 mm and 0.5 mm from P's edge.
    assert 0 < found.tp_msd_2d_mm < 1
    assert found.tp_hd95_2d_mm == pytest.approx(1.0)


def test_distances_stay_within_the_slice_and_average_the_two_directions():
    # A row of 21 pixels 1.5 mm apart against its first pixel: means 15 and 0, 95 % at 28.5 and 0.
    # The slice above holds the whole row in both: no way round through it.
    reference, prediction = box((3, 2, 2), (4, 23, 4)), box((3, 2, 2), (4, 3, 3))
    prediction |= box((3, 2, 3), (4, 23, 4))
    first, second = measure_slices(reference, prediction, SPACING, axis=2)
    assert first.msd_mm == pytest.approx(7.5)
    assert first.hd95_mm == pytest.approx(14.25)
    assert (second.msd_mm, second.hd95_mm, second.dice) == (0, 0, 1)


def test_the_first_index_shifts_all():
    mask = box((0, 0, 1), (2, 2, 3))
    assert [s.index for s in measure_slices(mask, mask, SPACING, axis=2, first=30)] == [31, 32]


def test_disjoint_masks_of_one_slice_are_a_true_positive_without_overlap():
    (one,) = measure_slices(
        box((0, 0, 0), (2, 2, 1)), box((5, 0, 0), (7, 2, 1)), (1.0, 1.0, 1.0), axis=2
    )
    assert (one.outcome, one.dice, one.msd_mm) == ("tp", 0, 4.5)


def test_no_slice_gives_counts_of_0_and_nothing_else():
    nothing = box((0, 0, 0), (0, 0, 0))
    found = summarise_slices(measure_slices(nothing, nothing, SPACING, axis=1))
    assert (found.tp_slices, found.fn_slices, found.fp_slices) == (0, 0, 0)
    assert math.isnan(found.dice_2d_mean)
    assert math.isnan(found.dice_2d_q3)
    assert math.isnan(found.tp_hd95_2d_mm)


def test_the_plane_follows_the_patient_not_the_array():
    # Array axes run to S, L and A: axial slices follow one another along the first.
    turned = grid(direction=np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]]))
    assert [slice_axis(turned, p) for p in ("sagittal", "coronal", "axial")] == [1, 2, 0]
    assert [slice_axis(grid(), p) for p in ("sagittal", "coronal", "axial")] == [0, 1, 2]

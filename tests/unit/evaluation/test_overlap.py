"""Volumes and overlap against hand-worked boxes and SimpleITK."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.evaluation.overlap import measure_overlap
from tests.unit.evaluation.masks import blobs, box


def test_shifted_boxes_have_the_hand_worked_values():
    # 10 x 6 x 4 = 240 voxels; moved by (2, 1, 0) they share 8 x 5 x 4 = 160.
    found = measure_overlap(box((4, 4, 4), (14, 10, 8)), box((6, 5, 4), (16, 11, 8)), 2.25)
    assert found.dice_3d == pytest.approx(2 * 160 / 480)
    assert found.jaccard == pytest.approx(160 / 320)
    assert found.reference_ml == pytest.approx(240 * 2.25 / 1000)
    assert found.volume_difference_ml == 0
    assert found.rvd_percent == 0
    assert found.sensitivity == found.precision == pytest.approx(2 / 3)


def test_rvd_has_the_sign_of_the_psnet_card():
    # The card: |manual| = 104.1, |automatic| = 100 gives +4.1.
    manual, automatic = np.zeros(2000, dtype=bool), np.zeros(2000, dtype=bool)
    manual[:1041], automatic[:1000] = True, True
    found = measure_overlap(manual, automatic, 1.0)
    assert found.rvd_percent == pytest.approx(4.1)
    assert found.volume_difference_ml == pytest.approx(-0.041)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_simpleitk(seed):
    reference, prediction = blobs(seed)
    filter_ = sitk.LabelOverlapMeasuresImageFilter()
    filter_.Execute(*(sitk.GetImageFromArray(m.astype(np.uint8)) for m in (reference, prediction)))
    found = measure_overlap(reference, prediction, 1.0)
    assert found.dice_3d == pytest.approx(filter_.GetDiceCoefficient(), abs=1e-12)
    assert found.jaccard == pytest.approx(filter_.GetJaccardCoefficient(), abs=1e-12)
    assert 1 - found.precision == pytest.approx(filter_.GetFalseDiscoveryRate(1), abs=1e-12)
    assert 1 - found.sensitivity == pytest.approx(filter_.GetFalseNegativeError(1), abs=1e-12)


def test_two_empty_masks_are_undefined():
    nothing = np.zeros((3, 3, 3), dtype=bool)
    found = measure_overlap(nothing, nothing, 1.0)
    values = (found.dice_3d, found.jaccard, found.rvd_percent, found.sensitivity, found.precision)
    assert all(map(math.isnan, values))
    assert found.reference_ml == found.prediction_ml == 0


def test_one_empty_mask_gives_0_and_never_infinity():
    something, nothing = box((0, 0, 0), (2, 2, 2)), box((0, 0, 0), (0, 0, 0))
    missed, invented = (
        measure_overlap(something, nothing, 1.0),
        measure_overlap(nothing, something, 1.0),
    )
    assert missed.dice_3d == invented.dice_3d == 0
    assert math.isnan(missed.rvd_percent)
    assert math.isnan(missed.precision)
    assert invented.rvd_percent == -100
    assert math.isnan(invented.sensitivity)

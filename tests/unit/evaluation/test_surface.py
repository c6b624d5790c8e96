"""Distances between surfaces: hand-worked planes, boxes and balls, scipy, SimpleITK, MONAI."""

import math

import numpy as np
import pytest
from scipy import ndimage

from pipeline.evaluation.surface import boundary, directed_distances, measure_surface
from tests.unit.evaluation.masks import SHAPE, SPACING, ball, blobs, box


def measure(reference, prediction, spacing=SPACING, tolerance_mm=2.0):
    return measure_surface(reference, prediction, spacing, tolerance_mm=tolerance_mm)


@pytest.mark.parametrize("seed", [1, 2])
def test_boundary_is_the_mask_minus_its_erosion(seed):
    mask, _ = blobs(seed)
    eroded = ndimage.binary_erosion(mask, border_value=0)
    assert np.array_equal(boundary(mask), mask & ~eroded)
    flat = ndimage.generate_binary_structure(3, 1)
    flat[:, :, [0, 2]] = False
    assert np.array_equal(boundary(mask, (0, 1)), mask & ~ndimage.binary_erosion(mask, flat))


def test_the_outside_of_the_grid_is_background():
    assert np.count_nonzero(boundary(np.ones((4, 5, 6), dtype=bool))) == 120 - 2 * 3 * 4


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_lie_as_far_apart_as_their_distance_in_mm(axis):
    first, second = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    np.moveaxis(first, axis, 0)[5], np.moveaxis(second, axis, 0)[12] = True, True
    found = measure(first, second)
    for value in (found.hausdorff_mm, found.hd95_max_mm, found.hd95_mean_mm, found.asd_mm,
                  found.msd_mm):  # fmt: skip
        assert value == pytest.approx(7 * SPACING[axis])
    assert found.surface_dice == 0


def test_a_line_of_voxels_and_one_voxel_tell_the_definitions_apart():
    # R: 21 voxels in a row, 1.5 mm apart. P: the first of them. Distances of R: 0, 1.5, ... 30;
    # of P: 0. Every voxel is a boundary voxel.
    reference, prediction = box((3, 2, 2), (4, 23, 3)), box((3, 2, 2), (4, 3, 3))
    found = measure(reference, prediction, tolerance_mm=3.0)
    assert found.hausdorff_mm == 30
    assert found.hd95_max_mm == pytest.approx(28.5)
    assert found.hd95_mean_mm == pytest.approx(28.5 / 2)
    assert found.asd_mm == pytest.approx(315 / 22)
    assert found.msd_mm == pytest.approx(15 / 2)
    assert found.surface_dice == pytest.approx((3 + 1) / 22)  # 0, 1.5, 3 of R, 0 of P


def test_a_box_that_is_longer_by_two_slices():
    # R: k = 4..8, P: k = 4..10, both 9 x 7 in plane. Farthest of P: the middle of its end face,
    # 2 slices of 3 mm beyond R's; farthest of R: the middle of its own end face, to P's end face
    # (6 mm) or to the sides that both share (3 voxels of 1.5 mm, 4 of 0.5 mm = 2 mm).
    reference, prediction = box((5, 5, 4), (14, 12, 9)), box((5, 5, 4), (14, 12, 11))
    a, b = directed_distances(boundary(reference), boundary(prediction), SPACING)
    assert a.max() == pytest.approx(2.0)
    assert b.max() == pytest.approx(6.0)
    assert measure(reference, prediction).hausdorff_mm == pytest.approx(6.0)


@pytest.mark.parametrize("spacing", [(0.4, 0.5, 0.8), (0.2, 0.25, 0.4)])
def test_concentric_balls_lie_apart_by_the_difference_of_their_radii(spacing):
    shape = tuple(round(24 / s) for s in spacing)
    inner, outer = (ball((12.0, 12.0, 12.0), radius, shape, spacing) for radius in (7.0, 10.0))
    found = measure(inner, outer, spacing)
    # A boundary voxel lies up to a voxel inside its ball: on average half an edge, of the two
    # surfaces alike.
    assert found.asd_mm == pytest.approx(3.0, abs=max(spacing) / 2)
    assert found.msd_mm == pytest.approx(3.0, abs=max(spacing) / 2)
    assert found.hausdorff_mm == pytest.approx(3.0, abs=max(spacing))
    assert measure(inner, outer, spacing, 3.0 + max(spacing)).surface_dice == 1
    assert measure(inner, outer, spacing, 3.0 - max(spacing)).surface_dice == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_tree_gives_the_distances_of_the_distance_transform(seed):
    surfaces = [boundary(mask) for mask in blobs(seed)]
    found = directed_distances(*surfaces, SPACING)
    for own, other, distances in zip(surfaces, surfaces[::-1], found, strict=True):
        expected = ndimage.distance_transform_edt(~other, sampling=SPACING)[own]
        np.testing.assert_allclose(distances, expected, atol=1e-12)


def test_symmetric_and_zero_for_equal_masks():
    reference, prediction = blobs(4)
    assert measure(reference, prediction) == measure(prediction, reference)
    same = measure(reference, reference)
    assert same.hausdorff_mm == same.asd_mm == same.msd_mm == 0
    assert same.surface_dice == 1


def test_hausdorff_equals_simpleitk_for_boxes_apart():
    # SimpleITK measures to the filled mask; apart, the nearest voxel is one of its boundary.
    import SimpleITK as sitk

    reference, prediction = box((2, 3, 4), (9, 12, 9)), box((20, 15, 12), (35, 30, 20))
    images = [sitk.GetImageFromArray(m.astype(np.uint8).T) for m in (reference, prediction)]
    for image in images:
        image.SetSpacing(SPACING)
    filter_ = sitk.HausdorffDistanceImageFilter()
    filter_.Execute(*images)
    found = measure(reference, prediction)
    assert found.hausdorff_mm == pytest.approx(filter_.GetHausdorffDistance(), rel=1e-6)


def test_the_tolerance_includes_distances_that_only_rounding_makes_larger():
    # 7 slices of 0.3 mm are 2.1 mm, in floating point a little more.
    first, second = np.zeros((4, 4, 12), dtype=bool), np.zeros((4, 4, 12), dtype=bool)
    first[:, :, 1], second[:, :, 8] = True, True
    assert measure(first, second, (1.0, 1.0, 0.3), 2.1).surface_dice == 1


def test_an_empty_mask_leaves_distances_undefined():
    something, nothing = box((0, 0, 0), (2, 2, 2)), box((0, 0, 0), (0, 0, 0))
    for pair in ((something, nothing), (nothing, something)):
        found = measure(*pair)
        assert math.isnan(found.hausdorff_mm)
        assert math.isnan(found.msd_mm)
        assert found.surface_dice == 0
    assert math.isnan(measure(nothing, nothing).surface_dice)


# MONAI's own call is deprecated by MONAI.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.slow  # importing MONAI takes most of it
def test_equals_monai():
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    for seed in (1, 2, 3):
        reference, prediction = blobs(seed)
        y, y_pred = (
            torch.from_numpy(np.stack([~m, m])[None].astype(np.float32))
            for m in (reference, prediction)
        )
        options = {"include_background": False, "spacing": list(SPACING)}
        found = measure(reference, prediction, tolerance_mm=1.7)
        for percentile, ours in ((None, found.hausdorff_mm), (95, found.hd95_max_mm)):
            theirs = compute_hausdorff_distance(y_pred, y, percentile=percentile, **options)
            assert ours == pytest.approx(float(theirs), rel=1e-6)
        asd = compute_average_surface_distance(y_pred, y, symmetric=True, **options)
        assert found.asd_mm == pytest.approx(float(asd), rel=1e-6)
        nsd = compute_surface_dice(y_pred, y, class_thresholds=[1.7], **options)
        assert found.surface_dice == pytest.approx(float(nsd), rel=1e-6)

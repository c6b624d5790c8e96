"""One case: labels, grids, empty masks, and the place to look at."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import GeometryError
from pipeline.evaluation.case import measure_case
from pipeline.evaluation.disagreement import largest_disagreement
from pipeline.evaluation.overlap import measure_overlap
from pipeline.evaluation.structures import Structure
from pipeline.evaluation.surface import measure_surface
from pipeline.types import Geometry, Volume
from tests.unit.evaluation.masks import SPACING, blobs, box, grid

ONE, TWO, NINE = (Structure(str(n), (n,)) for n in (1, 2, 9))


def labelled(*masks):
    data = np.zeros(masks[0].shape, np.uint8)
    for value, mask in enumerate(masks, start=1):
        data[mask & (data == 0)] = value
    return Volume(data, grid())


def test_labels_are_measured_apart_as_if_each_stood_in_the_whole_image():
    (r1, p1), (r2, p2) = blobs(1), blobs(2)
    reference, prediction = labelled(r1, r2), labelled(p1, p2)
    found = measure_case(reference, prediction, tolerance_mm=1.0)
    assert list(found.structures) == [ONE, TWO]
    assert found.reference_labels == found.prediction_labels == {1, 2}
    for structure, measures in found.structures.items():
        masks = [structure.of(volume.data) for volume in (reference, prediction)]
        assert measures.overlap == measure_overlap(*masks, grid().voxel_volume_mm3)
        whole = measure_surface(*masks, SPACING, tolerance_mm=1.0)
        assert vars(measures.surface) == pytest.approx(vars(whole), rel=1e-12)
        assert measures.note == ""


def test_the_storage_order_of_the_array_does_not_matter():
    reference, prediction = blobs(3)
    order, flip = (2, 0, 1), (slice(None, None, -1), slice(None), slice(None))
    turned = grid(
        tuple(reference.shape[a] for a in order),
        tuple(SPACING[a] for a in order),
        np.eye(3)[:, order] @ np.diag([-1, 1, 1]),
    )
    plain = measure_case(*(Volume(m.astype(np.uint8), grid()) for m in (reference, prediction)))
    moved = measure_case(
        *(
            Volume(m.astype(np.uint8).transpose(order)[flip], turned)
            for m in (reference, prediction)
        )
    )
    one, other = plain.structures[ONE], moved.structures[ONE]
    assert vars(one.overlap) == pytest.approx(vars(other.overlap), rel=1e-12)
    assert vars(one.surface) == pytest.approx(vars(other.surface), rel=1e-12)
    backwards = [replace(s, index=23 - s.index) for s in other.slices][::-1]
    assert [s.outcome for s in one.slices] == [s.outcome for s in backwards]
    assert [s.dice for s in one.slices] == [s.dice for s in backwards]


def test_every_way_to_be_empty_has_an_outcome_and_a_note():
    here, there = box((2, 2, 2), (6, 6, 6)), box((20, 20, 12), (24, 24, 16))
    found = measure_case(
        labelled(here), Volume(labelled(there).data * 2, grid()), [ONE, TWO, NINE]
    ).structures
    missed, invented, absent = (found[s] for s in (ONE, TWO, NINE))
    assert missed.note == "not predicted, 0.144 mL in the reference: Dice is 0, no distance or RVD"
    assert missed.overlap.dice_3d == 0
    assert {s.outcome for s in missed.slices} == {"fn"}
    assert invented.note.startswith("not in the reference, 0.144 mL predicted")
    assert {s.outcome for s in invented.slices} == {"fp"}
    assert "in neither mask" in absent.note
    assert math.isnan(absent.overlap.dice_3d)
    assert absent.overlap.reference_ml == 0
    for one in (missed, invented, absent):
        values = [*vars(one.overlap).values(), *vars(one.surface).values()]
        assert not np.isinf(values).any()
        assert math.isnan(one.surface.hausdorff_mm)


def test_another_grid_is_refused_with_the_difference():
    mask = labelled(box((2, 2, 2), (6, 6, 6)))
    moved = replace(mask, grid=replace(mask.grid, origin_mm=(-12.0, 5.0, 41.5)))
    with pytest.raises(GeometryError, match=r"corners of a.nii and b.nii lie up to 1.5 mm apart"):
        measure_case(mask, moved, names=("a.nii", "b.nii"))
    smaller = Volume(mask.data[:-1], replace(mask.grid, shape=(39, 36, 24)))
    with pytest.raises(GeometryError, match=r"a.nii has \(40, 36, 24\) voxels"):
        measure_case(mask, smaller, names=("a.nii", "b.nii"))


def test_the_largest_disagreement_is_the_thick_of_the_largest_piece():
    # Missing: a slab one voxel thick with 81 voxels. Too many: a cube of 125 voxels.
    reference = box((5, 5, 4), (14, 14, 10))
    prediction = box((6, 5, 4), (14, 14, 10)) | box((25, 25, 12), (30, 30, 17))
    voxel = largest_disagreement(reference, prediction, grid(spacing=(1.0, 1.0, 1.0)))
    assert voxel.tolist() == [27, 27, 14]


def test_equal_masks_are_shown_in_their_middle_and_empty_ones_in_the_grid_s():
    mask, nothing = box((10, 10, 10), (15, 15, 15)), box((0, 0, 0), (0, 0, 0))
    isotropic = Geometry(mask.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    assert largest_disagreement(mask, mask, isotropic).tolist() == [12, 12, 12]
    assert largest_disagreement(nothing, nothing, isotropic).tolist() == [19, 17, 11]

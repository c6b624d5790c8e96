"""Labels to regions, and which regions are filtered together."""

import numpy as np
import pytest

from pipeline.errors import SettingsError
from pipeline.radiomics.groups import common, grouped, within
from pipeline.radiomics.regions import region_of, regions_of
from pipeline.types import Geometry, Volume


def labelled(dtype, numbers=(2, 9)):
    data = np.zeros((12, 10, 8), dtype=dtype)
    data[1:4, 2:5, 3:6] = numbers[0]
    data[0:2, 7:10, 0:1] = numbers[1]
    return Volume(data, Geometry(data.shape, (1.0, 1.0, 1.0), (0, 0, 0), np.eye(3)))


@pytest.mark.parametrize(
    ("dtype", "numbers"), [(np.uint8, (2, 9)), (np.int64, (2, 9)), (np.float32, (2, 70000))]
)
def test_labels_are_cropped_to_their_boxes(dtype, numbers):
    volume = labelled(dtype, numbers)
    first, second = regions_of(volume, volume.grid)
    assert (first.number, second.number) == numbers
    assert (first.name, second.name) == tuple(map(str, numbers))
    assert first.box == np.s_[1:4, 2:5, 3:6]
    assert second.box == np.s_[0:2, 7:10, 0:1]
    assert first.inside.all()
    assert (first.border_voxels, second.border_voxels) == (0, 6)


def test_names_their_order_and_labels_that_are_absent():
    volume = labelled(np.int16)
    node, none, tumour = regions_of(volume, volume.grid, {"node": 9, "none": 4, "tumour": 2})
    assert (node.name, none.name, tumour.name) == ("node", "none", "tumour")
    assert none.box is None
    assert none.reason == "no voxel has label 4; labels there: 2, 9"
    with pytest.raises(SettingsError, match="background"):
        regions_of(volume, volume.grid, {"air": 0})


def test_every_voxel_that_is_not_0_is_one_region():
    volume = labelled(np.int16)
    region = region_of(volume, volume.grid)
    assert region.box == np.s_[0:4, 2:10, 0:6]
    assert int(region.inside.sum()) == int((volume.data != 0).sum())
    assert region.border_voxels == 6


def test_near_regions_share_a_box_and_far_ones_do_not():
    near = [np.s_[10:20, 10:20, 10:20], np.s_[22:30, 10:20, 10:20]]
    far = np.s_[190:199, 190:199, 190:199]
    groups = list(grouped([near[0], far, near[1]], (5, 5, 5), (200, 200, 200)))
    assert [places for places, _ in groups] == [[0, 2], [1]]
    assert groups[0][1] == common(*near) == np.s_[10:30, 10:20, 10:20]
    assert within(near[1], groups[0][1]) == np.s_[12:20, 0:10, 0:10]
    whole = list(grouped([near[0], far], (300, 300, 300), (200, 200, 200)))
    assert len(whole) == 1  # each would need the whole image


def test_large_regions_are_not_joined_into_one_that_memory_does_not_hold():
    boxes = [np.s_[0:300, 0:300, 0:300], np.s_[250:500, 0:300, 0:300]]
    assert len(list(grouped(boxes, (40, 40, 40), (512, 512, 300)))) == 2


def test_the_cost_of_groups_is_never_more_than_that_of_single_boxes():
    rng = np.random.default_rng(0)
    shape, reach = (80, 80, 80), (4, 4, 4)
    for _ in range(20):
        starts = rng.integers(0, 60, (8, 3))
        boxes = [tuple(slice(int(a), int(a) + 10) for a in start) for start in starts]
        groups = list(grouped(boxes, reach, shape))
        assert sorted(place for places, _ in groups for place in places) == list(range(8))

        def cost(box):
            return np.prod([min(80, p.stop + 4) - max(0, p.start - 4) for p in box])

        assert sum(cost(box) for _, box in groups) <= sum(map(cost, boxes))

"""Labels: what a text names, and where labels lie."""

import numpy as np
import pytest

from pipeline.errors import ImageError, SettingsError
from pipeline.evaluation.structures import Structure, joint_box, label_boxes, parse_structures


def test_a_text_names_labels_unions_and_everything():
    found = parse_structures("anterior=1, core=3+1,all=any")
    assert found == (
        Structure("anterior", (1,)), Structure("core", (1, 3)), Structure("all", ()),
    )  # fmt: skip
    assert [s.label for s in found] == ["1", "1+3", "any"]
    labels = np.array([0, 1, 2, 3])
    assert [s.of(labels).tolist() for s in found] == [
        [False, True, False, False], [False, True, False, True], [False, True, True, True],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["1", "a=", "=1", "a=0", "a=x", "a=1+", "a=-1", "a=70000", ""])
def test_a_text_that_names_no_label_is_refused(text):
    with pytest.raises(SettingsError, match=r"write name=1, name=1\+2 or name=any"):
        parse_structures(text)


def test_a_name_given_twice_is_refused():
    with pytest.raises(SettingsError, match="'a' stands twice"):
        parse_structures("a=1,a=2")


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.int64])
def test_boxes_hold_each_label(kind):
    labels = np.zeros((6, 7, 8), kind)
    labels[1:3, 2, 3:5] = 2
    labels[4, 6, 7] = 5
    boxes = label_boxes(labels, name="m")
    assert boxes == {
        2: (slice(1, 3), slice(2, 3), slice(3, 5)), 5: (slice(4, 5), slice(6, 7), slice(7, 8)),
    }  # fmt: skip
    assert joint_box(Structure("s", (2, 5)), boxes) == (slice(1, 5), slice(2, 7), slice(3, 8))
    assert joint_box(Structure("s", (2,)), {}, boxes) == boxes[2]
    assert joint_box(Structure("all", ()), boxes) == (slice(1, 5), slice(2, 7), slice(3, 8))
    assert joint_box(Structure("s", (3,)), boxes) is None


@pytest.mark.parametrize("value", [-1, 70_000])
def test_an_image_that_is_no_mask_is_refused(value):
    with pytest.raises(ImageError, match=r"scan.nii: labels run from .*is this a mask"):
        label_boxes(np.array([[[0, value]]]), name="scan.nii")

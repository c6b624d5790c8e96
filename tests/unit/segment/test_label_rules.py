"""Pieces and holes in mm³, label by label."""

import numpy as np
import pytest

from pipeline.errors import SettingsError
from pipeline.segment.label_rules import LabelRules, apply_rules


def two_labels():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[1:6, 1:6, 1:6] = 5  # 125 voxels
    labels[3, 3, 3] = 0  # a hole of one
    labels[8:10, 8:10, 8:10] = 5  # 8 voxels
    labels[10, 10, 10] = 5  # touches by its corner: 9 together
    labels[1, 10, 1] = 9
    return labels


def test_nothing_asked_nothing_done():
    labels = two_labels()
    assert apply_rules(labels, 1.0, LabelRules()) is labels


def test_small_pieces_go_in_mm3():
    labels = two_labels()
    kept = apply_rules(labels, 2.0, LabelRules(minimum_mm3=18.0))  # 9 voxels of 2 mm³: stays
    assert (kept == 5).sum() == 124 + 9
    assert not (kept == 9).any()
    kept = apply_rules(labels, 2.0, LabelRules(minimum_mm3=18.1))
    assert (kept == 5).sum() == 124


def test_the_largest_piece_of_each_label():
    kept = apply_rules(two_labels(), 1.0, LabelRules(largest_only=True))
    assert (kept == 5).sum() == 124
    assert (kept == 9).sum() == 1


def test_holes_up_to_a_size_are_filled_but_never_another_label():
    labels = two_labels()
    assert apply_rules(labels, 2.0, LabelRules(hole_mm3=1.9))[3, 3, 3] == 0
    assert apply_rules(labels, 2.0, LabelRules(hole_mm3=2.0))[3, 3, 3] == 5
    labels[3, 3, 3] = 9
    assert apply_rules(labels, 2.0, LabelRules(hole_mm3=2.0))[3, 3, 3] == 9


def test_what_is_removed_can_leave_a_hole_to_fill():
    labels = two_labels()
    labels[3, 3, 3] = 9
    rules = LabelRules(minimum_mm3=2.0, hole_mm3=5.0)
    assert apply_rules(labels, 1.0, rules)[3, 3, 3] == 5


def test_rules_without_meaning():
    with pytest.raises(SettingsError, match="minimum_mm3 -1"):
        LabelRules(minimum_mm3=-1)

"""Two measures of the same change, and agreement with a published map."""

import numpy as np
import pytest

from pipeline.agreement import measure_agreement
from pipeline.change import measure_change, rank_correlation
from pipeline.errors import EmptyRegionError
from pipeline.types import Geometry, Volume


def grid(spacing=1.0):
    return Geometry((4, 4, 4), (spacing,) * 3, (0.0, 0.0, 0.0), np.eye(3))


def volume(data, spacing=1.0):
    return Volume(np.asarray(data), grid(spacing))


def test_change_by_hand():
    jacobian = np.full((4, 4, 4), 9.0)
    jacobian[0] = 0.5
    jacobian[0, 0, 0] = -0.5
    first, last = np.zeros((4, 4, 4)), np.zeros((4, 4, 4))
    first[0] = 1
    last[0, :2, :2] = 1
    change = measure_change(volume(jacobian), volume(first), volume(last, spacing=2.0))
    assert (change.first_voxels, change.last_voxels) == (16, 4)
    assert change.volume_ratio == pytest.approx(4 * 8 / 16)
    assert change.mean_jacobian == pytest.approx((15 * 0.5 - 0.5) / 16)
    assert change.folded_fraction == pytest.approx(1 / 16)
    with pytest.raises(EmptyRegionError):
        measure_change(volume(jacobian), volume(np.zeros((4, 4, 4))), volume(last))


def test_rank_correlation_needs_three_subjects():
    def at(ratio, jacobian):
        size = np.ones((4, 4, 4))
        last = np.zeros((4, 4, 4))
        last.flat[: int(64 * ratio)] = 1
        return measure_change(volume(size * jacobian), volume(size), volume(last))

    assert rank_correlation([at(0.5, 0.5), at(0.25, 0.4)]) is None
    assert rank_correlation([at(0.25, 0.3), at(0.5, 0.4), at(0.75, 0.9)]) == pytest.approx(1.0)
    assert rank_correlation([at(0.25, 0.9), at(0.5, 0.4), at(0.75, 0.3)]) == pytest.approx(-1.0)


def test_agreement_counts_only_where_the_reference_is_defined():
    reference = np.zeros((4, 4, 4))
    reference[0, 0] = [1.0, 2.0, 3.0, 4.0]
    found = np.full((4, 4, 4), 77.0)
    found[0, 0] = [1.5, 2.5, 3.5, 5.5]
    result = measure_agreement(volume(found), volume(reference))
    assert result.voxels == 4
    assert result.correlation == pytest.approx(
        np.corrcoef([1.5, 2.5, 3.5, 5.5], [1, 2, 3, 4])[0, 1]
    )
    assert (result.largest_difference, result.median_difference) == (1.5, 0.5)

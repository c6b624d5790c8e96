import numpy as np
import pandas as pd
import pytest

from pipeline.demo.score import (
    Found,
    Truth,
    dice,
    field_error_mm,
    nearest_on,
    score_subject,
    summarise,
)
from pipeline.types import DisplacementField, Geometry, Volume


@pytest.fixture
def truth(siemens):
    return Truth(
        mean_jacobian=siemens.mean_jacobian,
        mask_baseline=siemens.baseline.mask,
        mask_followup=siemens.followup.mask,
        displacement=siemens.displacement,
    )


def test_a_perfect_result_has_no_error(siemens, truth):
    found = Found(
        jacobian=siemens.jacobian,
        mask_baseline=siemens.baseline.mask,
        mask_followup=siemens.followup.mask,
        displacement=siemens.displacement,
    )
    score = score_subject(truth, found)
    assert (score.dice_baseline, score.dice_followup) == (1.0, 1.0)
    assert score.field_error_mm == pytest.approx(0.0, abs=1e-9)
    # Voxels against the fine lattice of the truth: the quadrature error of one mask.
    assert score.relative_error == pytest.approx(0.0, abs=0.03)
    assert score.relative_error == score.relative_error_in_true_mask


def test_an_empty_mask_scores_without_numbers(siemens, truth):
    nothing = Volume(np.zeros_like(siemens.baseline.mask.data), siemens.baseline.mask.grid)
    score = score_subject(
        truth, Found(siemens.jacobian, nothing, siemens.followup.mask, siemens.displacement)
    )
    assert np.isnan(score.mean_jacobian)
    assert np.isnan(score.relative_error)
    assert score.dice_baseline == 0.0
    assert score.mean_jacobian_in_true_mask > 0


def test_maps_on_two_grids_are_refused(siemens, aurora, truth):
    with pytest.raises(ValueError, match="must lie on one grid"):
        score_subject(
            truth,
            Found(
                siemens.jacobian, aurora.baseline.mask, aurora.followup.mask, siemens.displacement
            ),
        )


def test_dice_of_shifted_boxes():
    first, second = np.zeros((10, 10, 10), bool), np.zeros((10, 10, 10), bool)
    first[2:6, 2:6, 2:6] = True
    second[4:8, 2:6, 2:6] = True
    assert dice(first, second) == 0.5
    assert dice(np.zeros_like(first), np.zeros_like(first)) == 1.0


def test_nearest_follows_flipped_axes():
    data = np.arange(24.0).reshape(2, 3, 4)
    plain = Geometry((2, 3, 4), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), np.eye(3))
    flipped = Geometry((2, 3, 4), (1.0, 2.0, 3.0), (1.0, 4.0, 0.0), np.diag([-1.0, -1.0, 1.0]))
    np.testing.assert_array_equal(nearest_on(Volume(data, plain), flipped), data[::-1, ::-1])
    outside = Geometry((2, 3, 4), (1.0, 2.0, 3.0), (99.0, 0.0, 0.0), np.eye(3))
    assert not nearest_on(Volume(data + 1, plain), outside).any()


def test_the_field_error_is_in_millimetres():
    grid = Geometry((4, 4, 4), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    still = DisplacementField(np.zeros((4, 4, 4, 3)), grid)
    moved = DisplacementField(np.broadcast_to([3.0, 0.0, 4.0], (4, 4, 4, 3)).copy(), grid)
    everywhere = np.ones(grid.shape, bool)
    assert field_error_mm(moved, still, everywhere) == 5.0
    assert np.isnan(field_error_mm(moved, still, ~everywhere))


def test_the_summary_counts_scored_subjects_only():
    table = pd.DataFrame(
        {
            "relative_error": [0.04, -0.06, np.nan],
            "relative_error_in_true_mask": [0.0, 0.05, np.nan],
            "dice_baseline": [0.8, 0.9, np.nan],
            "dice_followup": [0.7, 0.9, np.nan],
            "field_error_mm": [0.1, 0.3, np.nan],
        }
    )
    found = summarise(table)
    assert found["subjects"] == 2
    assert found["share_within_5_percent"] == 0.5
    assert found["share_within_5_percent_in_true_mask"] == 1.0
    assert found["median_dice_baseline"] == pytest.approx(0.85)
    assert found["median_field_error_mm"] == pytest.approx(0.2)

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pipeline.io import read_volume
from pipeline.registration.fields import affine_to_field
from pipeline.types import DisplacementField, Geometry, Volume
from scripts.registration_bench import real_scores, results
from scripts.registration_bench.real_pairs import PAIRS, prepare
from scripts.registration_bench.real_table import real_table, volume_ranks

DATA = Path(os.environ.get("MEDPIPE_DATA", Path(__file__).parents[4] / "shared/data"))

#: x runs against i: a field that is read along the wrong axis moves labels the wrong way.
GRID = Geometry((12, 10, 8), (2.0, 1.0, 3.0), (5.0, -7.0, 11.0), np.diag([-1.0, 1.0, 1.0]))


def constant(vector_mm) -> DisplacementField:
    return DisplacementField(np.full((*GRID.shape, 3), vector_mm, dtype=float), GRID)


def box(low, high, value=1) -> Volume:
    data = np.zeros(GRID.shape, dtype=np.uint8)
    data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = value
    return Volume(data, GRID)


def test_planes_lie_as_far_apart_as_they_are():
    first, second = np.zeros((2, 9, 9, 9), dtype=bool)
    first[:, :, 1], second[:, :, 6] = True, True
    assert real_scores.hd95_mm(first, second, (1.0, 1.0, 2.5)) == pytest.approx(12.5)


def test_the_worse_of_the_two_directions_counts():
    first, second = np.zeros((2, 15, 3, 3), dtype=bool)
    first[2, 1, 1] = True
    second[[2, 12], 1, 1] = True
    # From the second mask: 0 and 10 voxels, whose 95th percentile is 9.5; from the first: 0.
    for pair in ((first, second), (second, first)):
        assert real_scores.hd95_mm(*pair, (2.0, 1.0, 1.0)) == pytest.approx(19.0)


def test_hd95_agrees_with_all_distances_taken_one_by_one():
    rng = np.random.default_rng(1)
    spacing = np.array([0.7, 1.0, 3.0])
    masks = rng.random((2, 8, 7, 6)) < 0.1  # so thin that every voxel lies on the surface
    points = [np.argwhere(mask) * spacing for mask in masks]
    apart = cdist(*points)
    expected = max(np.percentile(apart.min(axis=axis), 95) for axis in (0, 1))
    assert real_scores.hd95_mm(*masks, tuple(spacing)) == pytest.approx(expected)


def test_a_lost_structure_is_infinitely_far():
    mask = box((2, 2, 2), (4, 4, 4)).data > 0
    assert real_scores.hd95_mm(mask, np.zeros_like(mask), (1.0, 1.0, 1.0)) == np.inf


def test_labels_come_back_when_the_field_undoes_the_shift():
    fixed, moving = box((2, 2, 2), (6, 8, 6)), box((4, 2, 2), (8, 8, 6))
    # Two voxels further along i are 4 mm towards -x.
    found = real_scores.label_agreement(fixed, moving, constant((-4.0, 0.0, 0.0)), {"box": 1})
    assert found["dice_box_before"] == pytest.approx(0.5)
    assert found["hd95_box_before_mm"] == pytest.approx(4.0)
    assert found["dice_box_after"] == 1.0
    assert found["hd95_box_after_mm"] == 0.0


def test_landmark_errors_by_hand():
    fixed = np.array([[-1.0, -5.0, 13.0], [-3.0, -2.0, 20.0], [1.0, -4.0, 17.0]])
    moving = fixed + np.array([[1.0, 2.0, 2.0], [1.0, 3.0, 2.0], [1.0, 5.0, 6.0]])
    found = real_scores.landmark_errors(constant((1.0, 2.0, 2.0)), fixed, moving)
    assert found["landmark_median_after_mm"] == pytest.approx(1.0)
    assert found["landmark_mean_after_mm"] == pytest.approx(2.0)
    assert found["landmark_max_after_mm"] == pytest.approx(5.0)
    assert found["landmark_median_before_mm"] == pytest.approx(np.sqrt(14.0))


def test_the_best_affine_leaves_nothing_of_an_affine_motion():
    rng = np.random.default_rng(2)
    fixed = rng.normal(scale=20.0, size=(9, 3))
    moving = fixed @ (np.eye(3) + 0.1 * rng.normal(size=(3, 3))).T + (3.0, -30.0, 1.0)
    found = real_scores.landmark_errors(constant((0.0, 0.0, 0.0)), fixed, moving)
    assert found["landmark_max_best_affine_mm"] == pytest.approx(0.0, abs=1e-9)
    assert found["landmark_median_before_mm"] > 20.0


def test_volume_change_of_a_scaling_by_a_tenth():
    region, larger = box((3, 3, 2), (5, 5, 4)), box((2, 2, 2), (6, 5, 4))
    found = real_scores.volume_change(
        affine_to_field(np.diag([1.1, 1.1, 1.1, 1]), GRID), region, larger
    )
    assert found["mean_jacobian"] == pytest.approx(1.331)
    assert found["min_jacobian"] == pytest.approx(1.331)
    assert found["mean_abs_log_jacobian"] == pytest.approx(3 * np.log(1.1))
    assert found["folding_fraction"] == 0
    assert found["volume_ratio"] == 3.0


def test_a_mirrored_axis_folds_everywhere():
    found = real_scores.volume_change(
        affine_to_field(np.diag([-1.0, 1, 1, 1]), GRID), *[box((3, 3, 2), (5, 5, 4))] * 2
    )
    assert found["folding_fraction"] == found["folding_fraction_image"] == 1.0


def test_mutual_information_of_equal_and_of_unrelated_values():
    values = np.arange(32 * 32.0)
    assert real_scores.mutual_information_nats(values, -(values**3)) == pytest.approx(np.log(32))
    unrelated = np.tile(np.arange(32.0), 32)  # every bin of one meets every bin of the other once
    assert real_scores.mutual_information_nats(values, unrelated) == pytest.approx(0.0, abs=1e-12)


def test_likeness_sees_the_shift_undone():
    data = np.random.default_rng(3).normal(size=GRID.shape)
    fixed, moving = Volume(data, GRID), Volume(np.roll(data, 2, axis=0), GRID)
    inside = box((0, 1, 1), (8, 9, 7)).data > 0
    found = real_scores.likeness(fixed, moving, constant((-4.0, 0.0, 0.0)), inside)
    assert abs(found["correlation_before"]) < 0.2
    assert found["correlation_after"] == pytest.approx(1.0)


def test_there_and_back_misses_by_what_was_added():
    inside = box((3, 3, 2), (6, 6, 5)).data > 0
    found = real_scores.consistency(constant((2.0, 1.0, -3.0)), constant((-1.7, -0.6, 3.0)), inside)
    assert found["inverse_consistency_mean_mm"] == pytest.approx(0.5)
    assert found["inverse_consistency_p95_mm"] == pytest.approx(0.5)


def lesion(engine, ratio, jacobian):
    return {
        "engine": engine, "study": "glioma_longitudinal", "fixed": "a", "moving": "b",
        "masked": 0, "wall_s": 1.0, "cpu_s": 2.0, "peak_mib": 3.0, "volume_ratio": ratio,
        "mean_jacobian": jacobian, "correlation_before": 0.1, "correlation_after": 0.9,
        "folding_fraction": 0.0, "folding_fraction_image": 0.0,
    }  # fmt: skip


def test_ranks_and_table_of_the_lesions(tmp_path):
    rows = [lesion("one", r, j) for r, j in ((1.2, 1.1), (0.5, 0.6), (0.9, 0.4), (2.0, 1.7))]
    assert volume_ranks(rows) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    failed = {"engine": "other", "study": "glioma_longitudinal", "masked": 0, "error": "no"}
    for number, row in enumerate([*rows, failed]):
        results.add(tmp_path / "pairs.tsv", {"pair": str(number)}, row)
    text = real_table(results.load(tmp_path / "pairs.tsv"))
    assert "| one | 4 | 0.800 | 0.60 (0.50), 0.40 (0.90), 1.10 (1.20), 1.70 (2.00) | 0.100" in text
    assert "| other | failed: no |" in text


@pytest.mark.data
def test_prepared_pairs_hold_what_is_known_of_them(tmp_path):
    if not DATA.is_dir():
        pytest.skip(f"no real images in {DATA}; set MEDPIPE_DATA")
    lungs = prepare(PAIRS[0], DATA, tmp_path)
    assert read_volume(lungs.fixed).data.min() == -1024
    still = DisplacementField(
        np.zeros((2, 2, 2, 3)), Geometry((2, 2, 2), (1,) * 3, (0,) * 3, np.eye(3))
    )
    found = real_scores.landmark_errors(still, lungs.fixed_points_mm, lungs.moving_points_mm)
    assert found["landmark_median_before_mm"] == pytest.approx(34.82, abs=0.01)
    assert found["landmark_median_best_affine_mm"] == pytest.approx(2.43, abs=0.01)
    for pair in PAIRS[8:10]:
        heads = prepare(pair, DATA, tmp_path)
        assert set(np.unique(read_volume(heads.fixed_region).data)) == {0, *heads.labels.values()}
        image = read_volume(heads.moving).data
        assert (image.min(), image.max()) == (0, 1000)

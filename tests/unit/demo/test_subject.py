from dataclasses import replace

import numpy as np
import pytest

from pipeline.demo.anatomy import skin_depth, tissue_fractions
from pipeline.demo.kinetics import TISSUES
from pipeline.demo.plan import draw_plan
from pipeline.demo.protocols import PROTOCOLS, acquisition_grid
from pipeline.demo.subject import simulate_subject
from pipeline.geometry import corners_mm, index_to_world, world_to_index

SEED = 20210322


@pytest.fixture(params=["siemens", "aurora"])
def subject(request):
    return request.getfixturevalue(request.param)


def grid_points(grid):
    return index_to_world(grid, np.moveaxis(np.indices(grid.shape), 0, -1)).reshape(-1, 3)


def test_acquisitions_follow_the_table(siemens, aurora):
    assert siemens.baseline.series.time_s == (0.0, 90.0, 133.5, 177.0, 220.5, 264.0)
    assert aurora.baseline.series.time_s == (0.0, 120.0, 245.0, 371.0)
    full = acquisition_grid(PROTOCOLS["siemens_3t"], (0.0, 0.0, 0.0), full_resolution=True)
    assert full.spacing_mm == (0.9375, 0.9375, 2.2)
    assert siemens.baseline.series.grid.spacing_mm == (1.875, 1.875, 2.2)
    np.testing.assert_allclose(corners_mm(full).mean(axis=0), 0.0, atol=1e-9)


def test_images_are_stored_as_int16_with_room(subject):
    for visit in (subject.baseline, subject.followup):
        data = visit.series.data
        assert data.dtype == np.int16
        assert data.min() >= 0
        assert 600 < data.max() < 4000


def test_the_jacobian_is_that_of_the_displacement(subject):
    field, grid = subject.displacement.data, subject.displacement.grid
    along_axes = field @ grid.direction
    rows = [np.gradient(along_axes[..., c], *grid.spacing_mm, edge_order=2) for c in range(3)]
    gradient = np.moveaxis(np.asarray(rows), (0, 1), (-2, -1))
    coarse = np.linalg.det(np.eye(3) + gradient)
    # Central differences over 2 mm voxels: a check of frame and sign, not of the last digit.
    assert np.abs(coarse - subject.jacobian.data).mean() < 2e-3
    inside = subject.baseline.mask.data
    assert np.corrcoef(coarse[inside], subject.jacobian.data[inside])[0, 1] > 0.99


def test_the_jacobian_equals_finite_differences(subject):
    points = grid_points(subject.jacobian.grid)[::37]
    step = 1e-3
    columns = [
        (subject.mapping.forward(points + step * e) - subject.mapping.forward(points - step * e))
        / (2 * step)
        for e in np.eye(3)
    ]
    expected = np.linalg.det(np.stack(columns, axis=-1))
    assert np.abs(subject.jacobian.data.ravel()[::37] - expected).max() < 1e-3


def test_the_map_is_a_diffeomorphism_with_its_inverse(subject):
    assert subject.jacobian.data.min() > 0
    points = grid_points(subject.jacobian.grid)[::11]
    back = subject.mapping.inverse(subject.mapping.forward(points))
    assert np.abs(back - points).max() < 1e-8


def test_volumes_agree_with_the_masks_and_the_mean_jacobian(subject):
    for visit, volume in (
        (subject.baseline, subject.volume_baseline_mm3),
        (subject.followup, subject.volume_followup_mm3),
    ):
        counted = visit.mask.data.sum() * visit.mask.grid.voxel_volume_mm3
        assert counted == pytest.approx(volume, rel=0.04)
    ratio = subject.volume_followup_mm3 / subject.volume_baseline_mm3
    assert ratio == pytest.approx(subject.mean_jacobian, rel=1e-9)
    on_grid = subject.jacobian.data[subject.baseline.mask.data].mean()
    assert on_grid == pytest.approx(subject.mean_jacobian, rel=0.03)
    assert subject.mean_jacobian == pytest.approx(subject.plan.mean_jacobian, rel=0.02)


def test_tumour_enhances_more_than_the_rest(subject):
    series, mask = subject.baseline.series.data.astype(float), subject.baseline.mask.data
    gain = series[..., 2] - series[..., 0]
    assert gain[mask].mean() > 250
    breast = (series[..., 0] > 100) & ~mask
    assert gain[mask].mean() > 4 * gain[breast].mean()


def test_the_seed_lies_in_the_tumour_of_its_visit(subject):
    for visit in (subject.baseline, subject.followup):
        index = np.rint(world_to_index(visit.mask.grid, visit.seed_mm)).astype(int)
        assert visit.mask.data[tuple(index)]


def test_the_tumour_keeps_clear_of_the_border(subject):
    for visit in (subject.baseline, subject.followup):
        places = np.argwhere(visit.mask.data)
        assert places.min() >= 2
        assert (places.max(axis=0) <= np.array(visit.mask.grid.shape) - 3).all()


def test_fractions_are_fractions(siemens, rng):
    points = grid_points(siemens.jacobian.grid)
    fractions = tissue_fractions(siemens.anatomy, points, blur_mm=0.8)
    total = fractions.sum(axis=1)
    assert fractions.min() >= 0
    assert total.max() < 1.05
    depth = skin_depth(siemens.anatomy, siemens.anatomy.to_local(points))
    assert total[depth > 4].min() > 0.9
    assert total[depth < -4].max() < 1e-3
    middle = siemens.anatomy.lesion.centre_mm[None]
    assert tissue_fractions(siemens.anatomy, middle, blur_mm=0.8)[0, TISSUES.index("lesion")] > 0.99


def test_local_axes_return_to_the_world(aurora, rng):
    points = rng.uniform(-50, 50, (20, 3))
    back = aurora.anatomy.to_world(aurora.anatomy.to_local(points))
    np.testing.assert_allclose(back, points, atol=1e-12)


def test_the_same_seed_gives_the_same_subject(siemens):
    plan = next(p for p in draw_plan(SEED, size=114) if p.subject == "001")
    again = simulate_subject(plan, seed=SEED)
    np.testing.assert_array_equal(again.followup.series.data, siemens.followup.series.data)
    np.testing.assert_array_equal(again.displacement.data, siemens.displacement.data)
    other = simulate_subject(replace(plan), seed=SEED + 1)
    assert not np.array_equal(other.baseline.series.data, siemens.baseline.series.data)

"""Between an image's own grid and the network's."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from pipeline.errors import GeometryError, ImageError
from pipeline.geometry import from_sitk, index_to_world, same_grid, to_sitk
from pipeline.preprocess.orientation import AxisMove, move_data, move_grid
from pipeline.segment.network_grid import back_to_image, network_grid, prepare, prepare_labels
from pipeline.segment.plan import Intensity
from pipeline.types import Geometry, Volume
from tests.unit.segment.stub_network import AS_IS, make_plan

MOVES = [
    AxisMove(order, flip)
    for order in itertools.permutations(range(3))
    for flip in itertools.product((False, True), repeat=3)
]
TURN = Rotation.from_euler("xyz", [12, -9, 20], degrees=True).as_matrix()


def canonical(direction=None, spacing=(1.0, 1.0, 1.0), shape=(9, 10, 11)):
    data = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    direction = np.eye(3) if direction is None else direction
    return Volume(data, Geometry(shape, spacing, (-4.0, 7.0, 30.0), direction))


@pytest.mark.parametrize("direction", [np.eye(3), TURN], ids=["straight", "oblique"])
def test_voxels_are_only_moved_where_the_spacing_is_the_plans(direction):
    volume = canonical(direction, (1.0004, 1.0, 0.9995))
    for move in MOVES:
        moved = Volume(move_data(volume.data, move), move_grid(volume.grid, move))
        found = prepare(moved, make_plan())
        assert np.array_equal(found.data, volume.data)
        assert same_grid(found.grid, volume.grid)
        back = back_to_image(found.data, found.grid, moved.grid)
        assert np.array_equal(back, moved.data)


def test_intensities_do_not_hang_on_the_orientation():
    volume = canonical()
    plan = make_plan(intensity=Intensity("image", 2.0, 98.0))
    expected = prepare(volume, plan).data
    low, high = np.percentile(volume.data, (2, 98))
    clipped = np.clip(volume.data, low, high)
    by_hand = (clipped - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(expected, by_hand, atol=1e-5)
    for move in MOVES:
        moved = Volume(move_data(volume.data, move), move_grid(volume.grid, move))
        assert prepare(moved, plan).data.tobytes() == expected.tobytes()


def test_dataset_intensities_equal_hand_worked_values():
    volume = Volume(np.array([-2000, -1000, 50, 400], np.int16).reshape(4, 1, 1),
                    Geometry((4, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)))  # fmt: skip
    found = prepare(volume, make_plan(intensity=Intensity("dataset", -1000, 300, 50, 100)))
    assert found.data.ravel().tolist() == [-10.5, -10.5, 0.0, 2.5]
    assert found.data.dtype == np.float32


def test_the_grid_covers_the_same_box_and_stays_oblique():
    grid = Geometry((40, 30, 20), (0.5, 1.5, 3.0), (0.0, 0.0, 0.0), TURN @ np.diag([-1, -1, 1]))
    found = network_grid(grid, (1.0, 1.0, 2.0))
    assert found.shape == (20, 45, 30)
    np.testing.assert_allclose(found.direction, TURN, atol=1e-12)
    centres = [index_to_world(g, (np.array(g.shape) - 1) / 2) for g in (grid, found)]
    np.testing.assert_allclose(*centres, atol=1e-9)


def test_smooth_images_are_interpolated_as_simpleitks_spline_does():
    shape, grid = (40, 36, 24), Geometry((40, 36, 24), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), TURN)
    i, j, k = np.indices(shape)
    smooth = np.sin(i / 4.0) + np.cos(j / 5.0) + np.sin(k / 4.0 + 1.0)
    volume = Volume(smooth.astype(np.float32), grid)
    found = prepare(volume, make_plan(spacing_mm=(0.8, 1.0, 1.5)))
    theirs = from_sitk(sitk.Resample(
        to_sitk(volume), to_sitk(Volume(np.zeros(found.grid.shape, np.float32), found.grid)),
        sitk.Transform(), sitk.sitkBSpline, 0.0,
    )).data  # fmt: skip
    core = (slice(4, -4),) * 3
    np.testing.assert_allclose(found.data[core], theirs[core], atol=0.02)


def test_coarser_grids_keep_the_mean_and_are_not_aliased():
    shape = (64, 8, 8)
    stripes = np.where(np.arange(64) % 2, 100.0, -100.0)[:, None, None] * np.ones(shape)
    grid = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    found = prepare(Volume(stripes + 7.0, grid), make_plan(spacing_mm=(4.0, 1.0, 1.0)))
    assert found.data.shape == (16, 8, 8)
    np.testing.assert_allclose(found.data[3:-3], 7.0, atol=2.0)


def test_labels_are_voted_for_and_none_is_invented():
    grid = Geometry((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), TURN)
    radius = np.linalg.norm(np.moveaxis(np.indices(grid.shape), 0, -1) - 19.5, axis=-1)
    mask = np.select([radius < 8, radius < 14], [9, 5]).astype(np.int16)  # 9 touches 5 only
    plan = make_plan(spacing_mm=(1.6, 0.8, 2.0))
    target = network_grid(grid, plan.spacing_mm)
    found = prepare_labels(Volume(mask, grid), target, plan)
    assert found.dtype == np.uint8
    assert found.shape == target.shape
    ball = 4.0 / 3.0 * np.pi
    for number, true_mm3 in ((1, ball * (14.0**3 - 8.0**3)), (2, ball * 8.0**3)):
        volume = (found == number).sum() * target.voxel_volume_mm3
        assert volume == pytest.approx(true_mm3, rel=0.02)
        centre = index_to_world(target, np.argwhere(found == number)).mean(axis=0)
        np.testing.assert_allclose(centre, index_to_world(grid, [19.5] * 3), atol=1e-6)
    # across the border of core (2) and background (0) there is no shell (1) in a mask without it
    core = Volume(np.where(mask == 9, 9, 0), grid)
    assert set(np.unique(prepare_labels(core, target, plan))) == {0, 2}


def test_class_numbers_come_back_by_vote():
    grid = Geometry((30, 30, 30), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.diag([1.0, -1.0, -1.0]))
    mask = np.zeros(grid.shape, np.uint8)
    mask[6:18, 8:20, 10:22] = 9
    plan = make_plan(spacing_mm=(1.5, 1.5, 1.5))
    target = network_grid(grid, plan.spacing_mm)
    classes = prepare_labels(Volume(mask, grid), target, plan)
    back = back_to_image(classes, target, grid, labels=True)
    assert back.shape == grid.shape
    assert ((back == 2) != (mask == 9)).mean() < 0.02
    assert set(np.unique(back)) == {0, 2}


def test_values_come_back_linearly():
    grid = Geometry((12, 12, 12), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    target = network_grid(grid, (1.0, 1.0, 1.0))
    plane = index_to_world(target, np.moveaxis(np.indices(target.shape), 0, -1))
    values = plane @ np.array([0.5, -1.0, 2.0])
    expected = index_to_world(grid, np.moveaxis(np.indices(grid.shape), 0, -1)) @ [0.5, -1.0, 2.0]
    back = back_to_image(values, target, grid)
    np.testing.assert_allclose(back[1:-1, 1:-1, 1:-1], expected[1:-1, 1:-1, 1:-1], atol=1e-4)


def test_what_cannot_be_prepared():
    volume = canonical()
    broken = volume.data.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ImageError, match="NaN"):
        prepare(Volume(broken, volume.grid), make_plan())
    flat = make_plan(intensity=Intensity("image", 0.0, 100.0))
    with pytest.raises(ImageError, match="constant"):
        prepare(Volume(np.full(volume.grid.shape, 3.0), volume.grid), flat)
    shifted = Geometry(volume.grid.shape, volume.grid.spacing_mm, (-3.5, 7.0, 30.0), np.eye(3))
    mask = Volume(np.zeros(volume.grid.shape, np.uint8), shifted)
    with pytest.raises(GeometryError, match="the mask"):
        prepare_labels(mask, network_grid(volume.grid, (1.0, 1.0, 1.0)), make_plan())


def test_the_stub_plan_changes_no_intensity():
    assert prepare(canonical(), make_plan(intensity=AS_IS)).data.tobytes() == (
        canonical().data.tobytes()
    )

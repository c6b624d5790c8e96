"""Noise, placement and outlines with known answers."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import EmptyRegionError, GeometryError, SettingsError
from pipeline.geometry import index_to_world, world_to_index
from pipeline.preprocess.resample import resample
from pipeline.radiomics.regrid import regrid
from pipeline.radiomics.stability.crop import crop_image, crop_mask, region_box, wider
from pipeline.radiomics.stability.noise import add_noise, estimate_noise
from pipeline.radiomics.stability.outline import grow, randomise_contour
from pipeline.radiomics.stability.placement import Placement, place, rotate, slice_axis, translate
from pipeline.types import Geometry, Volume


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- noise


@pytest.mark.parametrize("sd", [0.5, 12.0])
def test_noise_that_was_put_in_is_estimated(grid, sd):
    i, j, k = np.indices(grid.shape)
    smooth = 100 + 0.4 * i - 0.2 * j + 5 * np.sin(k / 3)  # slow within a slice
    noisy = Volume(smooth + rng().normal(0, sd, grid.shape), grid)
    assert estimate_noise(noisy) == pytest.approx(sd, rel=0.03)
    assert estimate_noise(Volume(smooth, grid)) < 0.01


def test_padding_is_not_counted_as_silence(grid):
    data = np.zeros(grid.shape)
    data[:25] = rng().normal(0, 3, (25, *grid.shape[1:]))
    assert estimate_noise(Volume(data, grid)) == pytest.approx(3, rel=0.1)
    assert estimate_noise(Volume(np.zeros(grid.shape), grid)) == 0.0


def test_noise_is_estimated_within_the_slices(grid):
    along = replace(grid, spacing_mm=(5.0, 1.0, 1.0))
    data = rng().normal(0, 2, grid.shape) + 50 * (np.arange(40) % 2)[:, None, None]
    assert slice_axis(along) == 0
    assert estimate_noise(Volume(data, along)) == pytest.approx(2, rel=0.05)
    assert estimate_noise(Volume(data, grid)) == pytest.approx(2, rel=0.05)  # constant along j
    assert slice_axis(grid) == slice_axis(replace(grid, spacing_mm=(1.0, 1.0, 1.0))) == 2


def test_added_noise_has_its_spread_and_is_drawn_by_the_seed(lesion):
    image, _ = lesion
    noisy = add_noise(image, 7.0, rng(3))
    difference = noisy.data.astype(float) - image.data
    assert difference.std() == pytest.approx(7, rel=0.02)
    assert abs(difference.mean()) < 0.15
    assert noisy.data.dtype == np.float32
    np.testing.assert_array_equal(noisy.data, add_noise(image, 7.0, rng(3)).data)
    assert not np.array_equal(noisy.data, add_noise(image, 7.0, rng(4)).data)
    assert add_noise(image, 0.0, rng()) is image
    whole = Volume(image.data.astype(np.int16), image.grid)
    assert add_noise(whole, 0.3, rng()).data.dtype == np.float32
    with pytest.raises(SettingsError, match="-1"):
        add_noise(image, -1.0, rng())


def test_the_filter_is_that_of_pywavelets():
    import pywt

    from pipeline.radiomics.stability.noise import _HIGH_PASS

    theirs = np.asarray(pywt.Wavelet("coif1").dec_hi)
    assert min(np.abs(_HIGH_PASS - theirs).max(), np.abs(_HIGH_PASS + theirs).max(),
               np.abs(_HIGH_PASS[::-1] - theirs).max(), np.abs(_HIGH_PASS[::-1] + theirs).max()
               ) < 1e-12  # fmt: skip


# --- placement


def test_no_perturbation_is_the_identity(lesion):
    image, mask = lesion
    for where in (Placement(), Placement(angle_deg=0.0, axis=(1.0, 2.0, 3.0))):
        picture, region = place(image, mask, where, margin_mm=3)
        low = np.round(world_to_index(image.grid, picture.grid.origin_mm)).astype(int)
        high = low + picture.data.shape - 1
        box = tuple(low.tolist()), tuple(high.tolist())
        np.testing.assert_array_equal(picture.data, crop_image(image, box).data)
        np.testing.assert_array_equal(region.data, crop_mask(mask, box).data)
        assert region.data.sum() == mask.data.sum()
        assert picture.data.dtype == image.data.dtype


def test_translation_by_a_voxel_is_a_shift(lesion):
    image, mask = lesion
    still, _ = translate(image, mask, (0, 0, 0))
    for axis in range(3):
        shift = [0.0, 0.0, 0.0]
        shift[axis] = 1.0
        moved, region = translate(image, mask, tuple(shift))
        # the voxel that was at index n is now seen at n + 1, so the grid begins a voxel earlier
        step = np.asarray(moved.grid.origin_mm) - np.asarray(still.grid.origin_mm)
        assert np.abs(np.round(step / image.grid.spacing_mm)).max() <= 1
        where = world_to_index(image.grid, moved.grid.origin_mm)
        np.testing.assert_allclose(where, np.round(where), atol=1e-9)
        np.testing.assert_array_equal(moved.data[region.data], image.data[mask.data])


def test_a_shift_by_part_of_a_voxel_interpolates_what_lies_there():
    grid = Geometry((30, 30, 30), (1.0, 2.0, 1.5), (10.0, -4.0, 2.0), np.eye(3))
    i, j, k = np.indices(grid.shape)
    image = Volume(3.0 * i - 2.0 * j + 0.5 * k, grid)  # linear: every interpolation is exact
    inside = np.zeros(grid.shape, dtype=bool)
    inside[8:20, 9:22, 10:19] = True
    moved, region = translate(image, Volume(inside, grid), (0.25, 0.75, 0.4))
    index = np.argwhere(region.data)
    source = world_to_index(grid, index_to_world(moved.grid, index))
    wanted = source @ np.array([3.0, -2.0, 0.5])
    np.testing.assert_allclose(moved.data[region.data], wanted, atol=1e-4)
    np.testing.assert_allclose(np.mod(source, 1)[0], [0.75, 0.25, 0.6], atol=1e-9)
    # half inside or more: the box keeps its number of voxels but for its corners
    assert region.data.sum() == pytest.approx(inside.sum(), rel=0.02)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_by_right_angles_is_exact(lesion, turns):
    image, mask = lesion
    turned, region = rotate(image, mask, 90.0 * turns)
    still, before = rotate(image, mask, 0.0)
    # anti-clockwise when i runs right and j runs up (k, the axis, towards the eye)
    wanted = np.rot90(np.where(before.data, still.data, 0), turns, axes=(0, 1))
    found = np.where(region.data, turned.data, 0)
    np.testing.assert_array_equal(_trimmed(found), _trimmed(wanted))
    assert turned.data.dtype == image.data.dtype


def _trimmed(data: np.ndarray) -> np.ndarray:
    kept = np.argwhere(data != 0)
    return data[tuple(slice(a, b + 1) for a, b in zip(kept.min(0), kept.max(0), strict=True))]


@pytest.mark.parametrize("axis", ["slice", (0.3, -1.0, 0.5)])
def test_rotation_keeps_volume_and_contents(lesion, axis):
    image, mask = lesion
    turned, region = rotate(image, mask, 17.0, axis=axis)
    assert region.data.sum() == pytest.approx(mask.data.sum(), rel=0.02)
    assert turned.data[region.data].mean() == pytest.approx(image.data[mask.data].mean(), rel=0.01)
    assert np.linalg.det(turned.grid.direction) == pytest.approx(1.0)
    # back on the old grid the region is where it was: the grid says where the voxels came from
    back = resample(Volume(region.data.astype(np.float32), region.grid), mask.grid, kind="linear")
    overlap = (
        2 * np.sum((back.data >= 0.5) & mask.data) / (np.sum(back.data >= 0.5) + mask.data.sum())
    )
    assert overlap > 0.97


def test_oblique_and_mirrored_grids_give_the_same_voxels(lesion):
    image, mask = lesion
    angle = np.deg2rad(20)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]]
    )
    where = Placement((0.25, 0.75, 0.25), 8.0)
    plain = place(image, mask, where)
    oblique = replace(image.grid, direction=turn, origin_mm=(100.0, -40.0, 7.0))
    found = place(replace(image, grid=oblique), replace(mask, grid=oblique), where)
    np.testing.assert_array_equal(found[1].data, plain[1].data)
    np.testing.assert_allclose(found[0].data, plain[0].data, atol=2e-2)


def test_placement_and_spacing_are_one_interpolation_as_regrid_makes_it(lesion):
    image, mask = lesion
    found = place(image, mask, Placement(), spacing_mm=1.5)
    wanted = regrid(image, mask, spacing_mm=1.5)
    assert found[0].grid.spacing_mm == (1.5, 1.5, 1.5)
    both = resample(found[0], wanted[0].grid, kind="nearest")
    near = wanted[1].data != 0
    np.testing.assert_allclose(both.data[near], wanted[0].data[near], atol=5e-3)


def test_beyond_the_field_of_view_the_edge_is_repeated(grid):
    inside = np.zeros(grid.shape, dtype=bool)
    inside[:6, :5, :3] = True
    image = Volume(np.full(grid.shape, 1000.0), grid)
    picture, region = place(
        image, Volume(inside, grid), Placement((0.75, 0.25, 0.75), 9.0), margin_mm=8
    )
    np.testing.assert_allclose(picture.data, 1000.0, rtol=1e-5)
    assert region.data.any()


def test_placement_refuses(lesion):
    image, mask = lesion
    with pytest.raises(EmptyRegionError):
        place(image, replace(mask, data=np.zeros_like(mask.data)), Placement())
    with pytest.raises(SettingsError, match="axis of rotation"):
        rotate(image, mask, 5.0, axis=(0.0, 0.0, 0.0))
    other = replace(mask.grid, origin_mm=(0.0, 0.0, 0.0))
    with pytest.raises(GeometryError):
        place(image, replace(mask, grid=other), Placement())


# --- outlines


@pytest.mark.parametrize("fraction", [0.1, -0.1, 0.25, -0.4, 1.0])
def test_growth_changes_the_volume_by_the_fraction(lesion, fraction):
    _, mask = lesion
    grown = grow(mask, fraction, rng())
    count = int(mask.data.sum())
    assert grown.data.sum() == round(count * (1 + fraction))
    if fraction > 0:
        assert not (mask.data & ~grown.data).any()
    else:
        assert not (grown.data & ~mask.data).any()


def test_growth_follows_millimetres_not_voxels(grid):
    inside = np.zeros(grid.shape, dtype=bool)
    inside[15:25, 13:23, 9:14] = True  # a cube of 10 mm
    mask = Volume(inside, grid)
    layer = 4 * 10 * 5  # 1 mm round the sides; the neighbouring slice is 2 mm away
    grown = grow(mask, layer / inside.sum(), rng()).data
    assert np.argwhere(grown)[:, 2].min() == 9
    assert np.argwhere(grown)[:, 2].max() == 13
    wanted = inside.copy()
    wanted[14:26, 13:23, 9:14] = wanted[15:25, 12:24, 9:14] = True
    np.testing.assert_array_equal(grown, wanted)


def test_growth_of_nothing_is_the_identity_and_chance_is_seeded(lesion):
    _, mask = lesion
    np.testing.assert_array_equal(grow(mask, 0.0, rng()).data, mask.data)
    first = grow(mask, 0.13, rng(1)).data
    np.testing.assert_array_equal(first, grow(mask, 0.13, rng(1)).data)
    assert not np.array_equal(first, grow(mask, 0.13, rng(2)).data)
    assert grow(mask, -0.9999, rng()).data.sum() == 1


def test_growth_refuses(lesion):
    _, mask = lesion
    with pytest.raises(SettingsError, match="above -1"):
        grow(mask, -1.0, rng())
    with pytest.raises(SettingsError, match="give it room"):
        grow(mask, 100.0, rng())
    with pytest.raises(EmptyRegionError):
        grow(replace(mask, data=np.zeros_like(mask.data)), 0.1, rng())


def test_growth_counts_the_border_of_the_array_as_outside():
    full = Volume(
        np.ones((4, 4, 4), dtype=bool), Geometry((4, 4, 4), (1.0,) * 3, (0.0,) * 3, np.eye(3))
    )
    shrunk = grow(full, 8 / 64 - 1, rng()).data
    np.testing.assert_array_equal(np.argwhere(shrunk).min(axis=0), [1, 1, 1])
    np.testing.assert_array_equal(np.argwhere(shrunk).max(axis=0), [2, 2, 2])


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * np.sum(first & second) / (first.sum() + second.sum()))


def test_contours_vary_about_the_edge_and_keep_the_volume(lesion):
    image, mask = lesion
    box = wider(region_box(mask), (8, 8, 4))
    image, mask = crop_image(image, box), crop_mask(mask, box)
    drawn = [randomise_contour(image, mask, rng(seed)).data for seed in range(12)]
    overlaps = [_dice(one, mask.data) for one in drawn]
    assert min(overlaps) > 0.8
    assert max(overlaps) < 1
    assert np.mean([one.sum() for one in drawn]) == pytest.approx(mask.data.sum(), rel=0.1)
    assert len({one.tobytes() for one in drawn}) > 6
    # the middle belongs to every drawing, far away to none
    core = np.mean(drawn, axis=0)
    centre = tuple(np.argwhere(mask.data).mean(axis=0).round().astype(int))
    assert core[centre] == 1
    assert core[0, 0, 0] == 0


def test_contours_are_drawn_by_the_seed(lesion):
    image, mask = lesion
    first = randomise_contour(image, mask, rng(5)).data
    np.testing.assert_array_equal(first, randomise_contour(image, mask, rng(5)).data)
    assert first.dtype == np.bool_


def test_a_contour_is_never_empty(grid):
    inside = np.zeros(grid.shape, dtype=bool)
    inside[5, 5, 5] = True
    image = Volume(rng().normal(size=grid.shape), grid)
    for seed in range(5):
        assert randomise_contour(image, Volume(inside, grid), rng(seed)).data.any()
    with pytest.raises(EmptyRegionError):
        randomise_contour(image, Volume(np.zeros_like(inside), grid), rng())
    with pytest.raises(SettingsError, match="supervoxels"):
        randomise_contour(image, Volume(inside, grid), rng(), supervoxel_mm3=0.0)


def test_a_constant_image_still_gives_contours(grid, lesion):
    _, mask = lesion
    flat = Volume(np.full(grid.shape, 5, dtype=np.int16), grid)
    found = randomise_contour(flat, mask, rng()).data
    assert _dice(found, mask.data) > 0.6

"""Canonical orientation moves voxels, never values."""

import numpy as np
import pytest

from pipeline.geometry import index_to_world
from pipeline.preprocess.orientation import (
    canonical_move,
    move_data,
    restore,
    series_to_canonical,
    to_canonical,
)
from pipeline.types import Geometry, Series, Volume


def numbered(direction: np.ndarray) -> Volume:
    shape = (3, 4, 5)
    grid = Geometry(shape, (1.0, 2.0, 3.0), (10.0, -20.0, 5.0), direction)
    return Volume(np.arange(60, dtype=np.int16).reshape(shape), grid)


def test_every_orientation_becomes_lps_and_comes_back_exactly(orientation):
    before = numbered(orientation)
    after = to_canonical(before)
    assert np.array_equal(after.grid.direction, np.eye(3))
    data, grid = restore(after.data, after.grid, before.grid)
    assert data.tobytes() == before.data.tobytes()
    assert grid is before.grid


def test_each_voxel_keeps_its_place_in_the_patient(orientation):
    before = numbered(orientation)
    after = to_canonical(before)
    for value in (0, 17, 42, 59):
        old = index_to_world(before.grid, np.argwhere(before.data == value)[0])
        new = index_to_world(after.grid, np.argwhere(after.data == value)[0])
        assert np.abs(old - new).max() < 1e-12


def test_a_small_tilt_stays_and_does_not_change_the_choice(orientation):
    angle = np.deg2rad(20.0)
    tilt = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    straight = canonical_move(numbered(orientation).grid)
    tilted = numbered(tilt @ orientation)
    assert canonical_move(tilted.grid) == straight
    assert np.allclose(to_canonical(tilted).grid.direction, tilt, atol=1e-15)


def test_a_canonical_image_is_left_alone():
    before = numbered(np.eye(3))
    after = to_canonical(before)
    assert np.array_equal(after.data, before.data)
    assert after.grid.origin_mm == before.grid.origin_mm


def test_a_move_undone_is_no_move(orientation):
    move = canonical_move(numbered(orientation).grid)
    data = np.arange(60 * 2).reshape(3, 4, 5, 2)
    assert np.array_equal(move_data(move_data(data, move), move.inverse()), data)


def test_a_resampled_image_also_goes_back(orientation):
    before = numbered(orientation)
    after = to_canonical(before)
    finer = Geometry(after.grid.shape, (0.5, 0.5, 0.5), after.grid.origin_mm, np.eye(3))
    data, grid = restore(after.data, finer, before.grid)
    assert np.array_equal(grid.direction, orientation)
    for value in (0, 33, 59):
        there = index_to_world(grid, np.argwhere(data == value)[0])
        here = index_to_world(finer, np.argwhere(after.data == value)[0])
        assert there == pytest.approx(here, abs=1e-12)


def test_a_series_moves_like_each_of_its_images(orientation):
    one = numbered(orientation)
    series = Series(np.stack([one.data, one.data * 2], axis=-1), one.grid, (0.0, 90.0))
    moved = series_to_canonical(series)
    assert np.array_equal(moved.data[..., 1], to_canonical(one).data * 2)
    assert moved.time_s == (0.0, 90.0)

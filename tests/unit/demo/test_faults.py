import numpy as np
import pytest

from pipeline.demo.faults import FAULTS, fault_plans
from pipeline.demo.plan import draw_plan
from pipeline.errors import GeometryError, ReadError
from pipeline.geometry import grid_difference_mm
from pipeline.io import read_volume, write_bytes, write_volume
from pipeline.types import Geometry, Volume

ERRORS = {"unreadable file": ReadError, "bad geometry": GeometryError}
BY_NAME = {fault.name: fault for fault in FAULTS}


@pytest.fixture
def sound(tmp_path, rng):
    grid = Geometry((9, 8, 7), (1.5, 1.5, 2.0), (4.0, -3.0, 1.0), np.diag([-1.0, -1.0, 1.0]))
    path = tmp_path / "image.nii.gz"
    write_volume(path, Volume(rng.integers(0, 900, grid.shape).astype(np.int16), grid))
    return path


@pytest.mark.parametrize(
    "name", [f.name for f in FAULTS if f.corrupt is not None and "another grid" not in f.name]
)
def test_a_corrupted_file_is_refused(name, sound):
    fault = BY_NAME[name]
    assert fault.corrupt is not None
    write_bytes(sound, fault.corrupt(sound.read_bytes()))
    with pytest.raises(ERRORS[fault.reason_class]):
        read_volume(sound)


def test_one_phase_moves_by_seven_millimetres(sound):
    before = read_volume(sound)
    corrupt = BY_NAME["one phase on another grid"].corrupt
    assert corrupt is not None
    write_bytes(sound, corrupt(sound.read_bytes()))
    after = read_volume(sound)
    assert grid_difference_mm(before.grid, after.grid) == pytest.approx(7.0, abs=1e-4)
    np.testing.assert_array_equal(before.data, after.data)


def test_masks_are_spoiled_as_named(sound):
    volume = read_volume(sound)
    shift, empty = (BY_NAME[n].mask for n in BY_NAME if BY_NAME[n].mask is not None)
    assert shift is not None
    assert empty is not None
    assert grid_difference_mm(volume.grid, shift(volume).grid) == pytest.approx(0.75)
    assert not empty(volume).data.any()


def test_each_fault_has_its_own_subject():
    pairs = fault_plans(draw_plan(1, size=4))
    assert [plan.subject for plan, _ in pairs] == [str(901 + n) for n in range(10)]
    assert {fault.reason_class for _, fault in pairs} == {
        "unreadable file", "bad geometry", "empty mask", "missing session",
    }  # fmt: skip

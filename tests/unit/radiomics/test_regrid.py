"""Features on another grid, the optional class, and regions that the field of view cuts."""

import numpy as np
import pytest

from pipeline.errors import SettingsError
from pipeline.geometry import index_to_world, world_to_index
from pipeline.preprocess.grids import spaced_grid
from pipeline.preprocess.resample import resample, resample_mask
from pipeline.radiomics.dictionary import CLASS_COUNTS, COLUMNS, columns_of
from pipeline.radiomics.extract import extract
from pipeline.radiomics.regrid import regrid
from pipeline.types import Geometry, Volume

ANISOTROPIC = (0.8, 0.8, 2.0)


@pytest.fixture
def case(make_case):
    """A lesion in a much larger image, so that cropping has something to leave out."""
    return make_case(5, shape=(70, 66, 60), spacing_mm=ANISOTROPIC)


def test_the_cropped_grid_is_part_of_the_whole_image_s_grid_with_the_same_values(case):
    image, mask = case
    whole = spaced_grid(image.grid, 1.0)
    expected = resample(image, whole, anti_alias=False, clamp="none")
    region = resample_mask(mask, whole)
    cropped, found = regrid(image, mask, spacing_mm=1.0)
    assert cropped.grid.shape == found.grid.shape
    assert np.prod(cropped.grid.shape) < 0.2 * np.prod(whole.shape)
    start = np.rint(world_to_index(whole, index_to_world(cropped.grid, (0, 0, 0)))).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, cropped.grid.shape, strict=True))
    assert np.count_nonzero(found.data) == np.count_nonzero(region.data)
    np.testing.assert_array_equal(found.data, region.data[box])
    # The spline is fitted to the part alone: what lies 12 voxels away counts 1e-7 of the range.
    np.testing.assert_allclose(cropped.data, expected.data[box], atol=600 * 1e-6)


def test_features_on_a_grid_are_those_of_the_image_resampled_before(case):
    image, mask = case
    whole = spaced_grid(image.grid, 1.0)
    before = extract(
        resample(image, whole, anti_alias=False, clamp="none"), resample_mask(mask, whole)
    )
    row = extract(image, mask, spacing_mm=1.0)
    assert row.voxels == before.voxels
    assert row.volume_mm3 == pytest.approx(row.voxels)
    shape = [c for c in COLUMNS if c.startswith("shape_")]
    assert [row.values[c] for c in shape] == pytest.approx([before.values[c] for c in shape])
    assert row.values["firstorder_Mean"] == pytest.approx(before.values["firstorder_Mean"])


def test_a_ramp_keeps_its_values_and_a_box_its_volume():
    grid = Geometry((44, 44, 44), ANISOTROPIC, (0.0, 0.0, 0.0), np.eye(3))
    i, _, k = np.indices(grid.shape)
    ramp = Volume(100.0 + 3.0 * i * 0.8 + 5.0 * k * 2.0, grid)
    inside = np.zeros(grid.shape, dtype=np.uint8)
    inside[12:32, 12:32, 17:27] = 1  # 16 x 16 x 20 mm
    image, mask = regrid(ramp, Volume(inside, grid), spacing_mm=1.0)
    x, _, z = index_to_world(image.grid, np.argwhere(mask.data > 0)).T
    np.testing.assert_allclose(image.data[mask.data > 0], 100.0 + 3.0 * x + 5.0 * z, rtol=1e-5)
    assert np.count_nonzero(mask.data) == 16 * 16 * 20


def test_a_region_smaller_than_a_voxel_of_the_grid_may_vanish_and_says_so():
    grid = Geometry((20, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    data = np.zeros(grid.shape)
    data[8, 8, 8] = 1
    row = extract(Volume(data, grid), Volume(data, grid), spacing_mm=8.0)
    assert row.status == "empty_roi"
    assert "no voxel on a grid of 8 mm" in row.reason


def test_the_optional_class_adds_columns_and_changes_none(make_case):
    image, mask = make_case(2)
    default = extract(image, mask)
    full = extract(image, mask, classes=[*CLASS_COUNTS, "ngtdm"])
    assert tuple(default.values) == COLUMNS
    assert tuple(full.values) == columns_of([*CLASS_COUNTS, "ngtdm"])
    assert {c: full.values[c] for c in COLUMNS} == dict(default.values)
    assert np.isfinite(list(full.values.values())).all()
    with pytest.raises(SettingsError, match="'gabor' is unknown"):
        extract(image, mask, classes=["gabor"])


def test_busyness_of_two_levels_in_a_checkerboard_by_hand():
    """Each inner voxel of one level sees 6 + 8 of the other and 12 of its own: mean difference."""
    grid = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    board = (np.indices(grid.shape).sum(axis=0) % 2).astype(float)
    row = extract(
        Volume(board, grid), Volume(np.ones(grid.shape), grid), bin_width=1.0, classes=["ngtdm"]
    )
    levels = board + 1
    total = {1.0: 0.0, 2.0: 0.0}
    for place in np.ndindex(*grid.shape):
        around = tuple(slice(max(0, p - 1), p + 2) for p in place)
        block = levels[around]
        mean = (block.sum() - levels[place]) / (block.size - 1)
        total[levels[place]] += abs(levels[place] - mean)
    n, p = 64, 0.5
    coarseness = 1 / (p * total[1.0] + p * total[2.0])
    busyness = (p * total[1.0] + p * total[2.0]) / (2 * abs(1 * p - 2 * p))
    contrast = (1 / 2 * 2 * p * p * 1) * (total[1.0] + total[2.0]) / n
    assert row.values["ngtdm_Coarseness"] == pytest.approx(coarseness)
    assert row.values["ngtdm_Busyness"] == pytest.approx(busyness)
    assert row.values["ngtdm_Contrast"] == pytest.approx(contrast)


def test_voxels_on_the_border_of_the_image_are_counted(make_case):
    image, mask = make_case(2)
    assert extract(image, mask).border_voxels == 0
    cut = np.zeros_like(mask.data)
    cut[0:5, 3:6, 3:6] = 1  # 9 voxels on the face i = 0
    assert extract(image, Volume(cut, mask.grid)).border_voxels == 9
    assert extract(image, Volume(cut, mask.grid), spacing_mm=2.0).border_voxels == 9

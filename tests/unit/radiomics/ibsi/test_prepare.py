"""Grid, interpolation, masks: known answers."""

import numpy as np
import pytest

from pipeline.errors import EmptyRegionError, GeometryError, ImageError
from pipeline.geometry import index_to_world
from pipeline.radiomics.ibsi.measure import measure
from pipeline.radiomics.ibsi.prepare import cut_out, interpolation_grid, resegmented, slabs
from pipeline.radiomics.ibsi.settings import IbsiSettings
from pipeline.types import Volume

TWO = (2.0, 2.0, 2.0)


def test_grid_has_as_many_voxels_as_cover_the_image_and_the_same_centre(make_grid):
    # The CT phantom, whose spacing is 0.977 mm in single precision.
    grid = make_grid(
        (204, 201, 60), (float(np.float32(0.977)), 0.977, 3.0), (-174.4, -79.6, -100.4)
    )
    new = interpolation_grid(grid, IbsiSettings(spacing_mm=TWO))
    assert new.shape == (100, 99, 90)
    middles = [index_to_world(g, (np.array(g.shape) - 1) / 2) for g in (grid, new)]
    np.testing.assert_allclose(*middles, atol=1e-9)
    in_plane = interpolation_grid(grid, IbsiSettings(spacing_mm=(2.0, 2.0, None)))
    assert in_plane.shape == (100, 99, 60)
    assert in_plane.spacing_mm[2] == 3.0


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_a_ramp_stays_a_ramp_and_is_rounded(make_grid, interpolation):
    grid = make_grid((20, 20, 20), (1.0, 1.0, 1.0))
    ramp = np.indices(grid.shape)[0] * 2.0
    mask = np.zeros(grid.shape)
    mask[6:14, 6:14, 6:14] = 1
    settings = IbsiSettings(
        spacing_mm=(1.6, 1.6, 1.6), interpolation=interpolation, round_intensities=False
    )
    region = cut_out(Volume(ramp, grid), Volume(mask, grid), settings)
    rows = np.unique(np.round(region.values, 6))
    np.testing.assert_allclose(np.diff(rows), 3.2, atol=1e-3)
    rounded = cut_out(
        Volume(ramp, grid), Volume(mask, grid),
        IbsiSettings(spacing_mm=(1.6, 1.6, 1.6), interpolation=interpolation),
    )  # fmt: skip
    np.testing.assert_array_equal(rounded.values, np.round(region.values))


def test_a_voxel_half_in_the_region_belongs_to_it(make_grid):
    # New centres lie in the middle of two old voxels along i: shares 0, 1/2, 1, 1/2.
    grid = make_grid((8, 4, 4))
    mask = np.zeros(grid.shape)
    mask[3:6] = 1
    image = Volume(np.zeros(grid.shape), grid)
    spacing = (2.0, None, None)
    half = cut_out(image, Volume(mask, grid), IbsiSettings(spacing_mm=spacing))
    assert half.morphological.sum() == 2 * 16
    more = cut_out(image, Volume(mask, grid), IbsiSettings(spacing_mm=spacing, mask_threshold=0.51))
    assert more.morphological.sum() == 16


def test_resegmentation_leaves_the_morphological_mask(make_region):
    values = np.array([-2000.0, -600, 0, 0, 10, 20, 500, 30]).reshape(2, 2, 2)
    region = make_region(values)
    ranged = resegmented(region, IbsiSettings(resegment=(-500.0, 400.0)))
    assert sorted(ranged.values) == [0, 0, 10, 20, 30]
    assert ranged.morphological.sum() == 8
    assert ranged.bounds == (-500.0, 400.0)
    both = resegmented(region, IbsiSettings(resegment=(-700.0, 600.0), outlier_sigma=1.0))
    left = np.array([-600.0, 0, 0, 10, 20, 500, 30])  # mean -5.7, deviation 297
    assert sorted(both.values) == sorted(left[np.abs(left - left.mean()) <= left.std()])
    assert len(both.values) == 5


def test_slabs_are_the_interpolated_image(make_grid):
    rng = np.random.default_rng(1)
    grid = make_grid((9, 8, 70), (1.0, 1.0, 0.7))
    image = Volume(rng.normal(0, 100, grid.shape), grid)
    settings = IbsiSettings(spacing_mm=(1.5, 1.5, 1.2), interpolation="cubic")
    whole = cut_out(image, Volume(np.ones(grid.shape), grid), settings).image
    np.testing.assert_array_equal(np.concatenate(list(slabs(image, settings)), axis=2), whole)


def test_what_lies_far_from_the_region_does_not_matter(ragged):
    image, mask = ragged
    settings = IbsiSettings(bin_width=10.0)
    padded = Volume(np.pad(image.data, 14, constant_values=-9e3), image.grid)
    grid = image.grid.__class__(
        padded.data.shape, image.grid.spacing_mm, image.grid.origin_mm, image.grid.direction
    )
    wide = measure(Volume(padded.data, grid), Volume(np.pad(mask.data, 14), grid), settings).values
    own = measure(image, mask, settings).values
    far = [tag for tag in own if tag.startswith(("morph_", "cm_", "stat_")) and "mask" not in tag]
    for tag in far:
        assert wide[tag] == pytest.approx(own[tag], rel=1e-9, nan_ok=True), tag


def test_voxels_without_a_value(make_grid):
    grid = make_grid((12, 12, 12))
    image = np.random.default_rng(0).normal(0, 50, grid.shape)
    mask = np.zeros(grid.shape)
    mask[3:7, 3:7, 3:7] = 1
    image[11, 11, 11] = np.nan
    settings = IbsiSettings(bin_width=10.0, spacing_mm=(1.3, 1.3, 1.3), interpolation="cubic")
    assert measure(Volume(image, grid), Volume(mask, grid), settings).status == "ok"
    image[4, 4, 4] = np.inf
    with pytest.raises(ImageError, match="1 voxels inside the region are not finite"):
        measure(Volume(image, grid), Volume(mask, grid), IbsiSettings(bin_width=10.0))


def test_nothing_to_measure_is_said_with_its_reason(make_grid):
    grid = make_grid((6, 6, 6))
    image = Volume(np.arange(216.0).reshape(grid.shape), grid)
    empty, one = np.zeros(grid.shape), np.zeros(grid.shape)
    one[1, 1, 1] = 1
    names = ("ct.nii.gz", "tumour.nii.gz")
    settings = IbsiSettings(bin_width=10.0)
    with pytest.raises(EmptyRegionError, match=r"tumour.nii.gz: the mask holds no voxel"):
        measure(image, Volume(empty, grid), settings, names=names)
    with pytest.raises(EmptyRegionError, match="no voxel on a grid of 4 x 4 x 4 mm"):
        measure(image, Volume(one, grid), IbsiSettings(bin_width=10.0, spacing_mm=(4.0, 4.0, 4.0)))
    with pytest.raises(EmptyRegionError, match="intensities run from 43 to 43; widen the range"):
        measure(image, Volume(one, grid), IbsiSettings(bin_width=10.0, resegment=(900.0, 950.0)))
    with pytest.raises(GeometryError):
        measure(image, Volume(one, make_grid((6, 6, 6), (2.0, 1.0, 1.0))), settings)

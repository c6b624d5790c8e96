"""The whole profile: order, statuses, invariances."""

import numpy as np
import pytest

from pipeline.radiomics.ibsi.measure import empty, measure
from pipeline.radiomics.ibsi.registry import tags
from pipeline.radiomics.ibsi.settings import IbsiSettings
from pipeline.types import Geometry, Volume

EVERY = IbsiSettings(bin_width=10.0, dimensions=("2D", "2_5D", "3D"))


def same(first: dict, second: dict, *, but=()) -> None:
    for tag in first:
        if not any(part in tag for part in but):
            assert second[tag] == pytest.approx(first[tag], rel=1e-9, abs=1e-12), tag


def test_every_tag_in_the_order_of_the_register(ragged):
    found = measure(*ragged, EVERY)
    assert tuple(found.values) == tags(EVERY.dimensions)
    assert found.status == "ok"
    assert np.isfinite(list(found.values.values())).all()
    assert tuple(measure(*ragged, IbsiSettings(bin_count=8)).values) == tags(("3D",))


def test_nothing_changes_the_inputs(ragged):
    image, mask = ragged
    before = image.data.copy(), mask.data.copy()
    measure(image, mask, IbsiSettings(bin_width=10.0, outlier_sigma=2.0, spacing_mm=(1.0,) * 3))
    np.testing.assert_array_equal(image.data, before[0])
    np.testing.assert_array_equal(mask.data, before[1])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_region_has_the_same_features(ragged, axis):
    image, mask = ragged
    mirrored = (Volume(np.flip(v.data, axis), v.grid) for v in (image, mask))
    same(measure(image, mask, EVERY).values, measure(*mirrored, EVERY).values)


def test_a_turned_region_has_the_same_features_in_space(ragged):
    image, mask = ragged
    a, b, c = image.grid.shape
    x, y, z = image.grid.spacing_mm
    grid = Geometry((c, a, b), (z, x, y), (5.0, 6.0, 7.0), image.grid.direction)
    turned = (Volume(v.data.transpose(2, 0, 1), grid) for v in (image, mask))
    settings = IbsiSettings(bin_width=10.0)
    same(
        measure(image, mask, settings).values,
        measure(*turned, settings).values,
        but=("_dim_x_", "_dim_y_", "_dim_z_"),
    )


def test_shifted_and_scaled_intensities(ragged):
    image, mask = ragged
    settings = IbsiSettings(bin_count=16)
    first = measure(image, mask, settings).values
    other = measure(Volume(3.0 * image.data + 100.0, image.grid), mask, settings).values
    texture = [t for t in first if t.split("_")[0] in ("cm", "rlm", "szm", "dzm", "ngt", "ngl")]
    for tag in (*texture, "morph_moran_i", "morph_geary_c", "stat_kurt", "ih_entropy"):
        assert other[tag] == pytest.approx(first[tag], rel=1e-9), tag
    assert other["stat_mean"] == pytest.approx(3 * first["stat_mean"] + 100)


def case(inside, image=None):
    data = np.arange(inside.size, dtype=float).reshape(inside.shape) if image is None else image
    grid = Geometry(inside.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    return Volume(data, grid), Volume(inside.astype(np.uint8), grid)


def test_degenerate_regions_say_what_is_not_defined():
    inside = np.zeros((6, 6, 6), dtype=bool)
    inside[1:5, 1:5, 3] = True
    flat = measure(*case(inside), EVERY)
    assert (flat.status, flat.reason) == (
        "incomplete", "not defined here: morph_vol_dens_aee, morph_area_dens_aee",
    )  # fmt: skip
    inside[:] = False
    inside[2, 2, 2] = True
    lone = measure(*case(inside), EVERY)
    assert lone.status == "incomplete"
    assert "morph_pca_elongation" in lone.reason
    assert "more" in lone.reason
    assert lone.values["morph_volume"] == pytest.approx(1 / 6)
    inside[:4, :4, :4] = True
    constant = measure(*case(inside, np.full(inside.shape, 3.0)), EVERY)
    assert constant.reason == "not defined here: morph_moran_i, morph_geary_c"
    one = measure(*case(inside), IbsiSettings(bin_width=1e4))
    assert (one.status, one.grey_levels) == ("one_grey_level", 1)


def test_an_empty_region_has_every_column():
    row = empty(EVERY, "nothing there")
    assert tuple(row.values) == tags(EVERY.dimensions)
    assert np.isnan(list(row.values.values())).all()
    assert (row.status, row.reason, row.grey_levels) == ("empty_roi", "nothing there", None)

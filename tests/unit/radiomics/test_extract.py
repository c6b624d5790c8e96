"""Features of a region: PyRadiomics' values to nine digits, and honest rows where it has none."""

import itertools
import logging

import numpy as np
import pytest
from radiomics.featureextractor import RadiomicsFeatureExtractor

from pipeline.errors import GeometryError, ImageError, SettingsError
from pipeline.geometry import to_sitk
from pipeline.preprocess.orientation import to_canonical
from pipeline.radiomics.dictionary import CLASS_COUNTS, COLUMNS, FEATURES, SIZE_COLUMNS
from pipeline.radiomics.extract import MAX_GREY_LEVELS, extract
from pipeline.types import Geometry, Volume

LDHGE = "gldm_LargeDependenceHighGrayLevelEmphasis"


@pytest.fixture
def reference(monkeypatch):
    """PyRadiomics' own extractor on the whole, uncropped image."""
    monkeypatch.setattr(logging.getLogger("radiomics"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("radiomics"), "propagate", False)

    def run(image, mask, **settings):
        extractor = RadiomicsFeatureExtractor(**settings)
        extractor.disableAllFeatures()
        for feature_class in CLASS_COUNTS:
            extractor.enableFeatureClassByName(feature_class)
        found = extractor.execute(to_sitk(image), to_sitk(mask))
        return {
            f.column: float(found[f"original_{f.feature_class}_{f.pyradiomics}"]) for f in FEATURES
        }

    return run


def assert_same(found, expected):
    """Sums in another order: nine digits, and next to nothing where PyRadiomics has 0."""
    assert dict(found) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def region(shape, *boxes):
    data = np.zeros(shape, dtype=np.uint8)
    for box in boxes:
        data[box] = 1
    return data


def on_grid(data, spacing_mm=(1.0, 1.0, 1.0), direction=None):
    axes = np.eye(3) if direction is None else direction
    return Volume(data, Geometry(data.shape, spacing_mm, (0.0, 0.0, 0.0), axes))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.9375, 0.9375, 2.2)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"kind": "subtraction"}, {"binWidth": 25}),
        ({"bin_width": 7.5}, {"binWidth": 7.5}),
        ({"bin_count": 32}, {"binCount": 32}),
        ({"intensity_shift": 2000.0}, {"binWidth": 25, "voxelArrayShift": 2000}),
    ],
)
def test_values_are_those_of_pyradiomics_uncropped(make_case, reference, spacing_mm, ours, theirs):
    image, mask = make_case(3, spacing_mm=spacing_mm)
    row = extract(image, mask, **ours)
    assert row.status == "ok"
    assert tuple(row.values) == COLUMNS
    assert_same(row.values, reference(image, mask, **theirs))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_the_type_of_the_file_changes_nothing(make_case, reference, dtype):
    image, mask = make_case(5, high=400.0)
    stored = Volume(np.rint(image.data).astype(dtype), image.grid)
    found = extract(stored, mask, kind="ct")
    assert_same(found.values, reference(stored, mask, binWidth=25))


def test_small_integers_do_not_overflow_in_the_bin_edges(make_case):
    """PyRadiomics itself adds two bin widths to the maximum in the type of the image."""
    image, mask = make_case(5, low=120.0, high=254.0)
    narrow = Volume(np.rint(image.data).astype(np.uint8), image.grid)
    wide = Volume(narrow.data.astype(np.float64), image.grid)
    assert dict(extract(narrow, mask).values) == dict(extract(wide, mask).values)


def test_a_box_has_its_analytic_values():
    """8 x 6 x 4 voxels of 0.5 x 1 x 2 mm; intensities 10 i."""
    data = np.zeros((12, 10, 8))
    data += 10.0 * np.arange(12)[:, None, None]
    mask = on_grid(region(data.shape, np.s_[2:10, 2:8, 2:6]), (0.5, 1.0, 2.0))
    row = extract(on_grid(data, (0.5, 1.0, 2.0)), mask, bin_width=10.0)
    values = row.values
    assert row.voxels == 8 * 6 * 4
    assert row.volume_mm3 == values["shape_VoxelVolume_mm3"] == 192.0
    assert row.grey_levels == 8
    # Standard deviation of n equal steps of d mm: d sqrt((n^2 - 1) / 12); an axis is four of them.
    axes = sorted(4 * d * np.sqrt((n**2 - 1) / 12) for n, d in ((8, 0.5), (6, 1.0), (4, 2.0)))
    names = ("Least", "Minor", "Major")
    found = [values[f"shape_{n}AxisLength_mm"] for n in names]
    np.testing.assert_allclose(found, axes, rtol=1e-12)
    assert values["firstorder_Mean"] == pytest.approx(55.0, rel=1e-12)
    assert values["firstorder_Entropy"] == pytest.approx(3.0, rel=1e-12)
    assert values["firstorder_Variance"] == pytest.approx(100 * (64 - 1) / 12, rel=1e-12)
    assert values["firstorder_Skewness"] == pytest.approx(0.0, abs=1e-12)
    # The mesh cuts corners and edges: it is somewhat smaller than the box, and its widest points
    # lie on a face along one axis and on a voxel's centre along the other.
    assert 0.9 * 192 < values["shape_MeshVolume_mm3"] < 192
    for plane, (a, da), (b, db) in (
        ("Slice", (4, 0.5), (6, 1)),
        ("Column", (4, 0.5), (8, 2)),
        ("Row", (6, 1), (8, 2)),
    ):
        widest = max(np.hypot(a, b - db), np.hypot(a - da, b))
        assert values[f"shape_Maximum2DDiameter{plane}_mm"] == pytest.approx(widest, rel=1e-12)


def test_anisotropic_voxels_scale_lengths_and_leave_texture(make_case):
    image, mask = make_case(2)
    wide = Geometry(image.grid.shape, (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), np.eye(3))
    one = extract(image, mask).values
    three = extract(Volume(image.data, wide), Volume(mask.data, wide)).values
    powers = {"mm": 1, "mm2": 2, "mm3": 3, "1/mm": -1, "intensity^2 mm3": 3}
    for feature in FEATURES:
        factor = 3.0 ** powers.get(feature.unit, 0)
        assert three[feature.column] == pytest.approx(factor * one[feature.column], rel=1e-9)


def stored_in(volume, order, signs):
    """The same voxels at the same places, in another storage order (det of axes may be -1)."""
    data = volume.data.transpose(order)
    direction = volume.grid.direction[:, list(order)] * signs
    origin = np.asarray(volume.grid.origin_mm)
    for axis in range(3):
        if signs[axis] < 0:
            data = np.flip(data, axis)
            step = volume.grid.spacing_mm[order[axis]] * (data.shape[axis] - 1)
            origin = origin - direction[:, axis] * step
    spacing = tuple(volume.grid.spacing_mm[a] for a in order)
    return Volume(
        np.ascontiguousarray(data), Geometry(data.shape, spacing, tuple(origin), direction)
    )


def test_canonical_order_makes_the_48_storage_orders_give_one_row(make_case):
    image, mask = make_case(7, spacing_mm=(0.9, 1.1, 2.0))
    expected = dict(extract(image, mask).values)
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            pair = [to_canonical(stored_in(v, order, np.array(signs))) for v in (image, mask)]
            assert dict(extract(*pair).values) == expected


def test_storage_order_moves_only_mesh_and_plane_features(make_case):
    """Without canonical order: what PyRadiomics itself does on mirrored and permuted grids."""
    image, mask = make_case(7)
    expected = extract(image, mask).values
    mirrored = [stored_in(v, (0, 1, 2), np.array([-1.0, 1.0, 1.0])) for v in (image, mask)]
    turned = [stored_in(v, (2, 0, 1), np.array([1.0, 1.0, -1.0])) for v in (image, mask)]
    mesh = ("MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity")
    for pair in (mirrored, turned):
        found = extract(*pair).values
        for feature in FEATURES:
            if "Maximum2D" in feature.column:
                continue
            tolerance = 0.05 if feature.pyradiomics in mesh else 1e-9
            expect = pytest.approx(expected[feature.column], rel=tolerance, abs=1e-9)
            assert found[feature.column] == expect, feature.column


def test_a_jacobian_needs_its_own_bins(make_case):
    """Width 25 caps the printed feature at 27^2 = 729; the paper prints 1654 and 768."""
    image, mask = make_case(1, radius=8.0)
    smooth = Volume(0.75 + 0.2 * np.sin(np.indices(image.data.shape)[0] / 3.0), image.grid)
    coarse = extract(smooth, mask, kind="subtraction")
    assert coarse.status == "one_grey_level"
    assert coarse.values[LDHGE] <= 729
    fine = extract(smooth, mask, kind="jacobian")
    assert fine.status == "ok"
    assert 3 <= fine.grey_levels <= 6
    assert fine.values[LDHGE] > 1654


def test_a_jacobian_is_clipped_and_says_how_much(make_case):
    image, mask = make_case(1, low=0.4, high=1.2)
    data = image.data.copy()
    inside = np.argwhere(mask.data)
    data[tuple(inside[0])], data[tuple(inside[1])], data[tuple(inside[2])] = -3.0, 0.01, 90.0
    data[0, 0, 0] = -50.0  # outside: does not count
    row = extract(Volume(data, image.grid), mask, kind="jacobian")
    assert row.clipped_fraction == pytest.approx(3 / row.voxels, rel=1e-12)
    assert row.values["firstorder_Minimum"] == 0.05
    assert row.values["firstorder_Maximum"] == 5.0
    assert row.bin_width == 0.1
    assert row.grey_levels == 51  # from [0, 0.1) to [5.0, 5.1)


def test_an_empty_region_has_size_zero_and_nothing_else(make_case):
    image, mask = make_case()
    row = extract(image, Volume(np.zeros_like(mask.data), mask.grid))
    assert (row.status, row.voxels, row.volume_mm3) == ("empty_roi", 0, 0.0)
    assert tuple(row.values) == COLUMNS
    assert {c for c, v in row.values.items() if v == 0.0} == set(SIZE_COLUMNS)
    assert all(np.isnan(v) for c, v in row.values.items() if c not in SIZE_COLUMNS)
    assert "no voxel" in row.reason


@pytest.mark.parametrize(
    ("box", "why"),
    [
        (np.s_[5:6, 5:6, 5:6], "1 voxels within 1 x 1 x 1"),
        (np.s_[5:7, 5:6, 5:8], "6 voxels within 2 x 1 x 3"),
        (np.s_[5:12, 5:12, 5:6], "49 voxels within 7 x 7 x 1"),
    ],
)
def test_a_region_that_is_too_small_keeps_only_its_sizes(make_case, box, why):
    image, mask = make_case()
    row = extract(image, Volume(region(mask.data.shape, box), mask.grid))
    assert row.status == "too_small"
    assert why in row.reason
    assert row.grey_levels is None
    known = {c: v for c, v in row.values.items() if not np.isnan(v)}
    assert set(known) == set(SIZE_COLUMNS)
    assert known["shape_VoxelVolume_mm3"] == row.volume_mm3 > 0


def test_one_slice_can_be_asked_for(make_case, reference):
    image, mask = make_case()
    flat = Volume(region(mask.data.shape, np.s_[5:12, 5:12, 5:6]), mask.grid)
    row = extract(image, flat, min_dimensions=2)
    assert row.status == "ok"
    assert_same(row.values, reference(image, flat, binWidth=25))


@pytest.mark.parametrize("options", [{}, {"bin_count": 32}])
def test_one_grey_level_is_complete_and_said(make_case, options):
    image, mask = make_case()
    row = extract(Volume(np.full(mask.data.shape, 7.0), image.grid), mask, **options)
    assert row.status == "one_grey_level"
    assert "from 7 to 7" in row.reason
    assert all(np.isfinite(list(row.values.values())))
    assert row.values["firstorder_Mean"] == 7.0
    assert row.values["firstorder_Variance"] == 0.0


def test_too_many_grey_levels_are_refused_before_they_cost_memory(make_case):
    image, mask = make_case(high=1e7)
    row = extract(image, mask)
    assert row.status == "too_many_grey_levels"
    assert f"more than {MAX_GREY_LEVELS:,}" in row.reason
    assert "--bin-width" in row.reason
    assert np.isfinite([row.values[f.column] for f in FEATURES if f.feature_class == "shape"]).all()
    assert all(np.isnan(row.values[f.column]) for f in FEATURES if f.feature_class != "shape")
    assert extract(image, mask, bin_count=32).status == "ok"


def test_a_value_that_is_not_finite_inside_is_an_error_and_outside_is_not(make_case):
    image, mask = make_case()
    expected = dict(extract(image, mask).values)
    data = image.data.copy()
    data[0, 0, 0] = np.nan
    assert dict(extract(Volume(data, image.grid), mask).values) == expected
    data[tuple(np.argwhere(mask.data)[0])] = np.inf
    with pytest.raises(ImageError, match="1 voxels inside the region are not finite"):
        extract(Volume(data, image.grid), mask)


def test_what_lies_outside_the_region_changes_nothing(make_case):
    image, mask = make_case()
    other = np.where(mask.data != 0, image.data, -1e6)
    assert extract(Volume(other, image.grid), mask) == extract(image, mask)


def test_a_mask_off_the_grid_is_told_in_mm_with_the_remedy(make_case):
    image, mask = make_case()
    moved = Geometry(mask.grid.shape, mask.grid.spacing_mm, (-12.0, 3.0, 40.0), mask.grid.direction)
    with pytest.raises(GeometryError, match=r"0\.5 mm apart.*medpipe preprocess m\.nii --like"):
        extract(image, Volume(mask.data, moved), names=("i.nii", "m.nii"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bin_width": 25.0, "bin_count": 32}, "exclude each other"),
        ({"bin_width": 0.0}, "above 0"),
        ({"bin_width": float("nan")}, "above 0"),
        ({"bin_count": 0}, "1 to 1000"),
        ({"min_dimensions": 4}, "1, 2 or 3"),
    ],
)
def test_settings_without_meaning_are_refused(make_case, options, message):
    with pytest.raises(SettingsError, match=message):
        extract(*make_case(), **options)


def test_pyradiomics_stays_quiet_and_its_logger_is_given_back(make_case, capfd):
    logger = logging.getLogger("radiomics")
    before = list(logger.handlers), logger.propagate
    row = extract(*make_case(4))
    assert row.warnings == ()
    assert (list(logger.handlers), logger.propagate) == before
    assert capfd.readouterr() == ("", "")

"""All 107 features against PyRadiomics' own classes, on regions and settings of every kind."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.radiomics.calculate import TextureSettings, calculate, calculate_by_pyradiomics
from pipeline.radiomics.dictionary import CLASS_COUNTS, OPTIONAL_CLASS_COUNTS, columns_of
from pipeline.types import Geometry, Volume

CLASSES = (*CLASS_COUNTS, *OPTIONAL_CLASS_COUNTS)
TEXTURE = ("glcm", "glrlm", "glszm", "gldm", "ngtdm")
SQRT_EPS = float(np.sqrt(np.finfo(float).eps))

KINDS = ("noise", "two levels", "flat", "edges of bins", "gaps", "smooth")
SETTINGS = {
    "width": TextureSettings(),
    "narrow": TextureSettings(bin_width=3.0),
    "count": TextureSettings(bin_width=None, bin_count=8),
    "one level": TextureSettings(bin_width=None, bin_count=1),
    "shift": TextureSettings(intensity_shift=1000.0),
    "distance 2": TextureSettings(distances=(2,)),
    "distances 1 and 3": TextureSettings(distances=(1, 3)),
    "2-D, i": TextureSettings(force_2d=True, force_2d_axis=0),
    "2-D, j": TextureSettings(force_2d=True, force_2d_axis=1),
    "2-D, k": TextureSettings(force_2d=True, force_2d_axis=2),
    "manhattan": TextureSettings(weighting="manhattan"),
    "euclidean": TextureSettings(weighting="euclidean"),
    "infinity": TextureSettings(weighting="infinity"),
    "no weighting": TextureSettings(weighting="no_weighting"),
    "one way": TextureSettings(symmetrical_glcm=False),
    "alpha": TextureSettings(gldm_alpha=1.0),
    "alpha between": TextureSettings(gldm_alpha=2.5),
    "all": TextureSettings(
        bin_width=10.0,
        intensity_shift=-3.0,
        distances=(1, 2),
        force_2d=True,
        weighting="euclidean",
        symmetrical_glcm=False,
        gldm_alpha=1.0,
    ),
}


def floor_of(column, values, levels):
    """What rounding alone makes of a value that is 0, in either program.

    Variances of levels or sizes cancel at their square. Root of an eigenvalue: its error is the
    root of that of the eigenvalue. The third moment cancels at the cube of the level.
    """
    if column.endswith("Variance"):
        return 1e-13 * max(levels, 30) ** 2
    if column == "glcm_MCC":
        return 2 * SQRT_EPS
    if column in ("glcm_ClusterShade", "glcm_ClusterTendency", "glcm_ClusterProminence"):
        return 1e-13 * levels ** {"Shade": 3, "Tendency": 2, "Prominence": 4}[column[12:]]
    if column.endswith("AxisLength_mm"):
        return 8 * SQRT_EPS * values["shape_MajorAxisLength_mm"]
    if column in ("shape_Flatness", "shape_Elongation"):
        return 8 * SQRT_EPS
    if column in ("firstorder_Skewness", "glcm_Correlation") or "Imc" in column:
        return 1e-13
    return 1e-15 if "Entropy" in column else 0.0


def assert_equal_to_pyradiomics(image, mask, settings, classes=CLASSES):
    theirs = calculate_by_pyradiomics(image, mask, classes, settings=settings)
    ours = calculate(image, mask, classes, settings=settings)
    assert set(ours.values) == set(columns_of(classes)) == set(theirs.values)
    assert ours.messages == ()
    assert ours.grey_levels == theirs.grey_levels
    assert ours.occupied_levels == theirs.occupied_levels
    levels = theirs.grey_levels or 1
    for column, value in theirs.values.items():
        floor = floor_of(column, theirs.values, levels)
        expected = pytest.approx(value, rel=1e-9, abs=floor, nan_ok=True)
        assert ours.values[column] == expected, column
    return ours


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("intensities", KINDS)
def test_every_setting_on_every_kind_of_image(make_region, intensities, settings):
    rng = np.random.default_rng([KINDS.index(intensities), list(SETTINGS.values()).index(settings)])
    spacing_mm = (0.7, 1.1, 2.5)
    for density in (0.4, 1.0):
        case = make_region(
            rng, longest=9, density=density, intensities=intensities, spacing_mm=spacing_mm
        )
        assert_equal_to_pyradiomics(*case, settings)


@pytest.mark.parametrize("seed", range(40))
def test_random_regions_under_random_settings(make_region, seed):
    rng = np.random.default_rng(1000 + seed)
    case = make_region(
        rng,
        density=rng.choice([0.1, 0.3, 0.8, 1.0]),
        intensities=rng.choice(KINDS),
        spacing_mm=tuple(float(s) for s in rng.choice([0.5, 1.0, 3.0], 3)),
        thin_axis=rng.choice([None, None, 0, 1, 2]),
    )
    some = rng.choice(list(SETTINGS), 2)
    first, second = (SETTINGS[name] for name in some)
    settings = replace(
        first,
        bin_width=second.bin_width,
        bin_count=second.bin_count,
        weighting=second.weighting,
        gldm_alpha=second.gldm_alpha,
    )
    assert_equal_to_pyradiomics(*case, settings)


@pytest.mark.parametrize("thin_axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["width", "manhattan", "2-D, k", "one way"])
def test_one_slice(make_region, thin_axis, name):
    rng = np.random.default_rng(thin_axis)
    case = make_region(rng, longest=12, density=0.9, thin_axis=thin_axis)
    assert_equal_to_pyradiomics(*case, SETTINGS[name])


def pieces(shape, *voxels):
    data = np.zeros(shape, np.uint8)
    for voxel in voxels:
        data[voxel] = 1
    return data


@pytest.mark.parametrize(
    "data",
    [
        pieces((3, 3, 3), np.s_[0, 0, 0], np.s_[2, 2, 2]),  # nowhere neighbours
        pieces((5, 4, 3), np.s_[0, 0, 0], np.s_[4, 0, 0]),  # on one line, with a gap
        pieces((7, 7, 7), np.s_[:2, :2, :2], np.s_[5:, 5:, 5:]),
        pieces((2, 1, 1), np.s_[:]),
        pieces((1, 9, 1), np.s_[:]),
        pieces((6, 6, 6), np.s_[0], np.s_[-1]),
    ],
    ids=["apart", "gap", "two blocks", "two voxels", "line", "two plates"],
)
@pytest.mark.parametrize("name", ["width", "euclidean", "one level", "narrow"])
def test_regions_without_inner_voxels(data, name):
    grid = Geometry(data.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    image = Volume(np.random.default_rng(3).normal(0, 40, data.shape), grid)
    assert_equal_to_pyradiomics(image, Volume(data, grid), SETTINGS[name])


def test_a_region_of_usual_size(make_case):
    """Of a thousand voxels; a mesh with a thousand triangles and many candidates for diameters."""
    image, mask = make_case(1, spacing_mm=(0.9375, 0.9375, 2.2))
    ours = assert_equal_to_pyradiomics(image, mask, TextureSettings(bin_width=10.0))
    assert len(ours.values) == 107
    assert ours.occupied_levels > 30


def test_more_levels_than_a_byte_holds(make_case):
    image, mask = make_case(1)
    ours = assert_equal_to_pyradiomics(
        image, mask, TextureSettings(bin_width=1.2), ("firstorder", *TEXTURE[1:])
    )
    assert ours.occupied_levels > 256


def test_only_the_classes_asked_for(make_region):
    case = make_region(np.random.default_rng(0))
    shape = calculate(*case, ("shape",), settings=TextureSettings())
    assert set(shape.values) == set(columns_of(("shape",)))
    assert shape.grey_levels is shape.occupied_levels is None
    texture = calculate(*case, ("ngtdm", "gldm"), settings=TextureSettings())
    assert set(texture.values) == set(columns_of(("gldm", "ngtdm")))


def test_the_same_bytes_each_time_and_in_either_storage_order(make_case):
    image, mask = make_case(4)
    first = calculate(image, mask, CLASSES, settings=TextureSettings())
    other = [Volume(np.asfortranarray(v.data), v.grid) for v in (image, mask)]
    for pair in ((image, mask), other):
        again = calculate(*pair, CLASSES, settings=TextureSettings())
        assert again.values == first.values


def test_neighbours_further_than_the_region_is_wide(make_region):
    """PyRadiomics breaks off; here the voxels have no neighbour."""
    image, mask = make_region(np.random.default_rng(5), longest=3)
    found = calculate(image, mask, TEXTURE, settings=TextureSettings(distances=(5,))).values
    assert np.isnan(found["glcm_Contrast"])
    assert found["gldm_LargeDependenceEmphasis"] == 1.0
    assert found["ngtdm_Coarseness"] == 1e6
    usual = calculate(image, mask, ("glszm",), settings=TextureSettings()).values
    assert found["glszm_ZoneEntropy"] == usual["glszm_ZoneEntropy"]


def test_what_is_not_finite_is_left_to_pyradiomics(make_region):
    image, mask = make_region(np.random.default_rng(6), density=1.0)
    image.data[-1, -1, -1] = np.nan
    given = (image, mask, ("firstorder",))
    ours = calculate(*given, settings=TextureSettings())
    theirs = calculate_by_pyradiomics(*given, settings=TextureSettings())
    assert np.isfinite(theirs.values["firstorder_Mean"])
    np.testing.assert_equal(ours.values, theirs.values)

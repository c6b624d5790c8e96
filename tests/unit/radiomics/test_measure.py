"""Many regions of one image against PyRadiomics' own extractor on the whole image."""

import logging
import math
import warnings

import numpy as np
import pytest
from radiomics.featureextractor import RadiomicsFeatureExtractor

from pipeline.geometry import to_sitk
from pipeline.io import read_labels, read_volume
from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES, SIZE_COLUMNS
from pipeline.radiomics.extract import extract
from pipeline.radiomics.measure import measure
from pipeline.radiomics.parameters import profile_from_parameters
from pipeline.radiomics.profile import (
    SHAPE_2D,
    ExtractionProfile,
    ImageType,
    Resampling,
    Resegmentation,
    column_of,
)
from pipeline.radiomics.regions import region_of, regions_of
from pipeline.types import Geometry, Volume

CLASSES = dict.fromkeys(("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"))
COLUMNS = {(f.feature_class, f.pyradiomics): f.column for f in (*FEATURES, *OPTIONAL_FEATURES)}
EVERY_TYPE = {
    "Original": {}, "Wavelet": {}, "LoG": {"sigma": [1.0, 2.0]}, "Square": {}, "SquareRoot": {},
    "Logarithm": {}, "Exponential": {}, "Gradient": {},
}  # fmt: skip
#: name -> what is asked for besides the classes.
DOCUMENTS = {
    "every image type": {"imageType": EVERY_TYPE, "setting": {"binWidth": 25}},
    "own bins by type": {
        "imageType": {"Original": {"binCount": 16}, "Wavelet": {"binWidth": 7, "wavelet": "haar"}},
        "setting": {"binWidth": 25, "voxelArrayShift": 300},
    },
    "flat": {
        "imageType": {"Original": {}, "Wavelet": {}},
        "setting": {"force2D": True, "force2Ddimension": 1},
    },
    "normalised": {
        "imageType": {"Original": {}, "Wavelet": {}, "Square": {}},
        "setting": {"normalize": True, "normalizeScale": 100, "removeOutliers": 2, "binWidth": 10},
    },
    "resampled": {
        "imageType": {"Original": {}, "LoG": {"sigma": [1.5]}, "Exponential": {}},
        "setting": {"resampledPixelSpacing": [1.5, 1.5, 0], "interpolator": "sitkLinear"},
    },
    "cropped first": {
        "imageType": {"Original": {}, "Wavelet": {}, "SquareRoot": {}},
        "setting": {"preCrop": True, "padDistance": 2},
    },
    "sigma": {
        "imageType": {"Original": {}, "Gradient": {}},
        "setting": {"resegmentRange": [-1.2, 1.5], "resegmentMode": "sigma"},
    },
    "absolute with shape": {
        "setting": {"resegmentRange": [150, 500], "resegmentShape": True, "distances": [1, 2]}
    },
    "relative": {
        "setting": {
            "resegmentRange": [0.4], "resegmentMode": "relative", "weightingNorm": "euclidean",
            "symmetricalGLCM": False, "gldm_a": 1,
        },
    },
}  # fmt: skip


@pytest.fixture
def reference(monkeypatch):
    """PyRadiomics' own extractor on the whole image, by our columns."""
    monkeypatch.setattr(logging.getLogger("radiomics"), "handlers", [logging.NullHandler()])
    monkeypatch.setattr(logging.getLogger("radiomics"), "propagate", False)

    def run(image, labels, document, number):
        with warnings.catch_warnings(action="ignore"):  # its schema library is old
            extractor = RadiomicsFeatureExtractor(document)
            found = extractor.execute(to_sitk(image), to_sitk(labels), label=number)
        values = {}
        for key, value in found.items():
            if not key.startswith("diagnostics"):
                kind, feature_class, name = key.split("_")
                flat = f"shape2D_{name}{SHAPE_2D.get(name)}"
                column = COLUMNS.get((feature_class, name), flat)
                values[column_of(kind, column)] = float(np.squeeze(value))
        return values

    return run


def assert_same(found, expected):
    assert set(found) == set(expected)
    for column, value in expected.items():
        if math.isnan(value):
            assert math.isnan(found[column]), column
        else:
            assert found[column] == pytest.approx(value, rel=1e-9, abs=1e-12), column


def two_labels(make_case, dtype=np.int16):
    """An image with a bumpy ball and, far from it, a small box."""
    image, mask = make_case(3, shape=(40, 22, 18), spacing_mm=(0.9, 1.1, 2.2))
    labels = mask.data.astype(np.int16)
    labels[32:37, 4:8, 11:17] = 3
    return Volume(np.rint(image.data).astype(dtype), image.grid), Volume(labels, mask.grid)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_values_are_those_of_the_extractor_on_the_whole_image(make_case, reference, name):
    image, labels = two_labels(make_case)
    document = {**DOCUMENTS[name], "featureClass": CLASSES}
    profile, _ = profile_from_parameters(document, where=name)
    rows = measure(image, regions_of(labels, image.grid), profile)
    for number, row in zip((1, 3), rows, strict=True):
        assert row.status in ("ok", "one_grey_level"), row.reason
        assert tuple(row.values) == profile.columns
        assert_same(row.values, reference(image, labels, document, number))


@pytest.mark.data
@pytest.mark.parametrize("case", ["brain1", "brain2", "breast1"])
def test_real_images_have_the_values_of_the_extractor(medpipe_data, reference, case):
    folder = medpipe_data / "pyradiomics"
    image = read_volume(folder / f"{case}_image.nrrd")
    labels = read_labels(folder / f"{case}_label.nrrd")
    document = {"imageType": EVERY_TYPE, "featureClass": CLASSES}
    profile, _ = profile_from_parameters(document, where=case)
    split = labels.data.copy()
    half = int(np.median(np.nonzero(labels.data)[0]))
    split[:half] *= 2
    both = regions_of(Volume(split, labels.grid), image.grid)
    for number, row in zip((1, 2), measure(image, both, profile), strict=True):
        assert_same(row.values, reference(image, Volume(split, labels.grid), document, number))


def test_a_row_does_not_depend_on_the_other_regions(make_case):
    image, labels = two_labels(make_case)
    labels.data[20:25, 8:14, 6:10] = 2
    kinds = ("original", "wavelet", "log", "square", "gradient", "lbp2d", "lbp3d")
    profile = ExtractionProfile(
        tuple(ImageType(k, sigma_mm=(1.0,) if k == "log" else ()) for k in kinds)
    )
    regions = regions_of(labels, image.grid)
    together = measure(image, regions, profile)
    alone = [measure(image, [region], profile)[0] for region in regions]
    backwards = measure(image, regions[::-1], profile)[::-1]
    assert list(together) == alone == list(backwards)
    assert all(np.isfinite(list(row.values.values())).all() for row in together)


def test_the_default_profile_is_the_row_of_extract(make_case):
    image, mask = make_case(2)
    for options, profile in (
        ({}, ExtractionProfile()),
        ({"spacing_mm": 1.5}, ExtractionProfile(resampling=Resampling((1.5, 1.5, 1.5)))),
    ):
        (row,) = measure(image, [region_of(mask, image.grid)], profile)
        assert row == extract(image, mask, **options)


def test_our_own_grid_is_filtered_with_its_surroundings(make_case):
    """The region's neighbours are there: the same values as from the image resampled as a whole."""
    image, mask = make_case(4, shape=(40, 40, 40))
    profile = ExtractionProfile(
        (ImageType("wavelet"), ImageType("gradient")),
        classes=("firstorder",),
        resampling=Resampling((1.5, 1.5, 1.5), interpolation="linear"),
    )
    (row,) = measure(image, [region_of(mask, image.grid)], profile)
    from pipeline.preprocess.grids import spaced_grid
    from pipeline.preprocess.resample import resample, resample_mask

    grid = spaced_grid(image.grid, 1.5)
    whole = resample(image, grid, kind="linear", anti_alias=False, clamp="none")
    kept = ExtractionProfile(profile.images, classes=("firstorder",))
    (expected,) = measure(whole, [region_of(resample_mask(mask, grid), grid)], kept)
    for column, value in expected.values.items():
        assert row.values[column] == pytest.approx(value, rel=1e-9, abs=1e-9), column


def test_the_shape_within_a_slice(make_case, reference):
    image, _ = make_case(1)
    flat = np.zeros(image.data.shape, np.int16)
    flat[5:12, 4:13, 7] = 1
    flat[5, 4, 7] = 0
    labels = Volume(flat, image.grid)
    document = {"setting": {"force2D": True}, "featureClass": {"shape2D": None, "glcm": None}}
    profile, _ = profile_from_parameters(document, where="flat")
    (row,) = measure(image, regions_of(labels, image.grid), profile)
    assert row.status == "ok"
    assert_same(row.values, reference(image, labels, document, 1))
    thick = Volume(np.repeat(flat[:, :, 7:8], 18, axis=2), image.grid)
    (row,) = measure(image, regions_of(thick, image.grid), profile)
    assert row.status == "incomplete"
    assert "shape2D is for one" in row.reason


def test_what_cannot_be_measured_says_why(make_case):
    image, labels = two_labels(make_case)
    labels.data[0, 0, 0] = 7
    profile = ExtractionProfile((ImageType("original"), ImageType("wavelet")))
    wanted = {"one": 1, "none": 5, "voxel": 7}
    one, none, voxel = measure(image, regions_of(labels, image.grid, wanted), profile)
    assert one.status == "ok"
    assert none.status == "label_absent"
    assert "no voxel has label 5; labels there: 1, 3, 7" in none.reason
    assert all(map(math.isnan, none.values.values()))
    assert voxel.status == "too_small"
    assert "1 voxels within 1 x 1 x 1" in voxel.reason
    assert {c for c, v in voxel.values.items() if not math.isnan(v)} == set(SIZE_COLUMNS)
    assert {tuple(row.values) for row in (one, none, voxel)} == {profile.columns}
    (empty,) = measure(
        image, [region_of(Volume(labels.data * 0, labels.grid), image.grid)], profile
    )
    assert (empty.status, empty.reason) == ("empty_roi", "the mask holds no voxel")


def test_a_filter_that_fails_leaves_its_cells_empty_and_names_itself(make_case):
    image, labels = two_labels(make_case, np.float32)
    image.data[0, 0, 0] = np.nan
    profile = ExtractionProfile(
        (ImageType("original"), ImageType("square"), ImageType("log", sigma_mm=(1.0, 99.0)))
    )
    first, second = measure(image, regions_of(labels, image.grid), profile)
    for row in (first, second):
        assert row.status == "incomplete"
        assert "square: the image holds values that are not finite" in row.reason
        assert "log-sigma-99-0-mm-3D: the image of" in row.reason
        assert np.isfinite(row.values["glcm_Contrast"])
        assert math.isnan(row.values["square_glcm_Contrast"])
    image.data[34, 5, 12] = np.inf
    broken = measure(image, regions_of(labels, image.grid), profile)[1]
    assert broken.status == "not_finite"
    assert "1 voxels inside the region are not finite" in broken.reason


def test_resegmentation_that_leaves_nothing_is_too_small(make_case):
    image, labels = two_labels(make_case)
    profile = ExtractionProfile(resegmentation=Resegmentation((5000.0,)))
    row = measure(image, regions_of(labels, image.grid), profile)[0]
    assert row.status == "too_small"
    assert "re-segmentation leaves 0 of" in row.reason


def test_a_filter_with_too_many_grey_levels_is_told_and_the_others_stay(make_case):
    image, labels = two_labels(make_case)
    wide = Volume(image.data.astype(np.float64), image.grid)
    wide.data[0, 0, 0] = 2e6
    profile = ExtractionProfile((ImageType("original"), ImageType("squareroot")))
    row = measure(wide, regions_of(labels, image.grid), profile)[0]
    assert row.status == "incomplete"
    assert row.reason.startswith("squareroot: intensities from")
    assert np.isfinite(row.values["glcm_Contrast"])


def test_the_grid_of_the_mask_must_be_that_of_the_image(make_case):
    from pipeline.errors import GeometryError

    image, labels = two_labels(make_case)
    moved = Geometry(image.grid.shape, image.grid.spacing_mm, (-12.05, 3.0, 40.0), np.eye(3))
    with pytest.raises(GeometryError, match="mm"):
        regions_of(labels, moved)

"""The dictionary is complete, and says of every feature what it is."""

import importlib
import inspect
import re
import subprocess
import sys

import numpy as np
import pytest

from pipeline.errors import SettingsError
from pipeline.geometry import to_sitk
from pipeline.io import read_mask, read_volume
from pipeline.radiomics.dictionary import (
    CLASS_COUNTS,
    COLUMNS,
    FEATURES,
    OPTIONAL_CLASS_COUNTS,
    OPTIONAL_FEATURES,
    SIZE_COLUMNS,
    columns_of,
    describe,
    features_of,
)
from pipeline.radiomics.ibsi.measure import measure
from pipeline.radiomics.ibsi.registry import features as ibsi_features
from pipeline.radiomics.ibsi.settings import DIGITAL_PHANTOM, IbsiSettings
from pipeline.types import Volume

ALL_FEATURES = (*FEATURES, *OPTIONAL_FEATURES)


def test_there_are_102_features_as_the_study_counts_them():
    counts = {c: sum(f.feature_class == c for f in FEATURES) for c in CLASS_COUNTS}
    assert counts == {
        "shape": 14, "firstorder": 18, "glcm": 24, "glrlm": 16, "glszm": 16, "gldm": 14,
    }  # fmt: skip
    assert counts == CLASS_COUNTS
    assert len(COLUMNS) == len(set(COLUMNS)) == 102


def test_with_the_optional_class_there_are_the_107_of_pyradiomics():
    assert OPTIONAL_CLASS_COUNTS == {"ngtdm": 5}
    assert len(columns_of([*CLASS_COUNTS, "ngtdm"])) == 107
    assert columns_of() == COLUMNS
    assert columns_of(["ngtdm", "shape"]) == (
        *(c for c in COLUMNS if c.startswith("shape_")),
        "ngtdm_Busyness", "ngtdm_Coarseness", "ngtdm_Complexity", "ngtdm_Contrast",
        "ngtdm_Strength",
    )  # fmt: skip
    with pytest.raises(SettingsError, match="feature class 'fractal' is unknown"):
        features_of(["shape", "fractal"])


@pytest.mark.parametrize("feature_class", [*CLASS_COUNTS, *OPTIONAL_CLASS_COUNTS])
def test_every_feature_that_pyradiomics_enables_is_there(feature_class):
    module = importlib.import_module(f"radiomics.{feature_class}")
    (calculator,) = [
        member
        for name, member in inspect.getmembers(module, inspect.isclass)
        if name.startswith("Radiomics") and member.__module__ == module.__name__
    ]
    enabled = {name for name, deprecated in calculator.getFeatureNames().items() if not deprecated}
    assert {f.pyradiomics for f in ALL_FEATURES if f.feature_class == feature_class} == enabled


@pytest.mark.parametrize("feature", ALL_FEATURES, ids=lambda f: f.column)
def test_every_feature_is_described(feature):
    assert feature.unit
    assert len(feature.definition) > 8
    assert "\t" not in feature.definition + feature.note
    assert re.fullmatch(r"([0-9A-Z]{4})?", feature.ibsi)
    assert feature.column.startswith(f"{feature.feature_class}_{feature.pyradiomics}")
    assert set(describe(feature)) == {
        "column", "pyradiomics", "class", "unit", "ibsi", "matches_ibsi", "definition", "note",
    }  # fmt: skip


def test_units_of_length_end_the_column_name():
    endings = {"mm": "_mm", "mm2": "_mm2", "mm3": "_mm3", "1/mm": "_per_mm"}
    for feature in FEATURES:
        ending = feature.column.removeprefix(f"{feature.feature_class}_{feature.pyradiomics}")
        assert ending == endings.get(feature.unit, "")
    assert "shape_MeshVolume_mm3" in COLUMNS
    assert "shape_SurfaceVolumeRatio_per_mm" in COLUMNS
    assert "firstorder_10Percentile" in COLUMNS


def test_ibsi_codes_are_given_once_and_missing_only_where_ibsi_has_no_such_feature():
    codes = [f.ibsi for f in ALL_FEATURES if f.ibsi]
    assert len(codes) == len(set(codes)) == 102
    assert {f.pyradiomics for f in ALL_FEATURES if not f.ibsi} == {
        "Maximum2DDiameterColumn", "Maximum2DDiameterRow", "Maximum2DDiameterSlice",
        "TotalEnergy", "MCC",
    }  # fmt: skip


def both(image: Volume, mask: Volume, settings: IbsiSettings) -> dict[str, tuple[float, float]]:
    """PyRadiomics' value and IBSI's of each column that has a code."""
    tags = {
        f.code: f.tag for f in ibsi_features(("3D",)) if f.aggregation_code in ("", "ITBB", "KOBO")
    }
    theirs = {}
    for feature_class in [*CLASS_COUNTS, *OPTIONAL_CLASS_COUNTS]:
        module = importlib.import_module(f"radiomics.{feature_class}")
        (kind,) = [
            member
            for name, member in inspect.getmembers(module, inspect.isclass)
            if name.startswith("Radiomics") and member.__module__ == module.__name__
        ]
        calculator = kind(to_sitk(image), to_sitk(mask), binWidth=settings.bin_width)
        found = calculator.execute()
        theirs |= {(feature_class, name): float(np.squeeze(v)) for name, v in found.items()}
    ours = measure(image, mask, settings).values
    return {
        f.column: (theirs[f.feature_class, f.pyradiomics], ours[tags[f.ibsi]])
        for f in ALL_FEATURES
        if f.ibsi
    }


def parted(values: dict[str, tuple[float, float]]) -> set[str]:
    return {column for column, (a, b) in values.items() if not np.isclose(a, b, rtol=1e-8)}


@pytest.mark.data
def test_what_is_said_to_match_ibsi_matches_on_the_digital_phantom_and_nothing_else(medpipe_data):
    folder = medpipe_data / "ibsi/digital_phantom"
    image = read_volume(folder / "image/phantom.nii.gz")
    mask = read_mask(folder / "mask/mask.nii.gz")
    values = both(Volume(image.data.astype(np.float64), image.grid), mask, DIGITAL_PHANTOM)
    said = {f.column for f in ALL_FEATURES if f.matches_ibsi == "no"}
    assert parted(values) == said
    assert said == {
        "shape_LeastAxisLength_mm", "shape_MajorAxisLength_mm", "shape_MinorAxisLength_mm",
        "firstorder_Kurtosis",
    }  # fmt: skip


def test_a_match_is_said_of_every_feature_that_ibsi_has():
    for feature in ALL_FEATURES:
        assert (feature.matches_ibsi == "not in IBSI") == (not feature.ibsi)
        assert feature.note or feature.matches_ibsi != "no"


def test_a_ragged_mesh_and_the_origin_of_levels_part_what_the_notes_say(make_case):
    image, mask = make_case(3, spacing_mm=(0.7, 0.9, 3.1), low=3.0)
    lowest = float(image.data[mask.data > 0].min())
    aligned = float(np.floor(lowest / 25.0) * 25.0)
    assert lowest != aligned
    no = {f.column for f in ALL_FEATURES if f.matches_ibsi == "no"}
    meshed = {f.column for f in ALL_FEATURES if "mesh is closed" in f.note}
    same_levels = IbsiSettings(bin_width=25.0, resegment=(aligned, 1e6))
    assert parted(both(image, mask, same_levels)) - no <= meshed
    levelled = {f.column for f in ALL_FEATURES if "levels start at a multiple" in f.note}
    by_origin = parted(both(image, mask, IbsiSettings(bin_width=25.0))) - no - meshed
    assert by_origin <= levelled
    assert len(by_origin) == len(levelled)


def test_sizes_are_the_shape_features_that_shrink_with_the_region():
    assert len(SIZE_COLUMNS) == 10
    assert not {c for c in SIZE_COLUMNS if "Ratio" in c or "Sphericity" in c}


def test_reading_the_dictionary_loads_nothing_heavy():
    code = (
        "import sys, pipeline.radiomics.dictionary, pipeline.layout;"
        "print(sorted({'numpy', 'pandas', 'SimpleITK', 'radiomics'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

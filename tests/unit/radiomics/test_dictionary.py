"""The dictionary is complete, and says of every feature what it is."""

import importlib
import inspect
import re
import subprocess
import sys

import pytest

from pipeline.errors import SettingsError
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
        "column", "pyradiomics", "class", "unit", "ibsi", "definition", "note",
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

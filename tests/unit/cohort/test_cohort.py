"""Feature tables of all subjects in one: ids, order, failures, changes."""

import numpy as np
import pandas as pd
import pytest

from pipeline.cohort import (
    ALL,
    DeltaSet,
    FeatureSet,
    feature_dictionary,
    join_features,
    joined_columns,
    parse_delta_set,
    parse_feature_set,
)
from pipeline.errors import CohortError, SettingsError
from pipeline.radiomics.dictionary import COLUMNS, SIZE_COLUMNS

SETS = (
    FeatureSet("baseline", "baseline", "dce"),
    FeatureSet("followup", "followup", "dce"),
    FeatureSet("jacobian", "followup", "jacobian"),
)
DELTAS = (DeltaSet("deltarad", "baseline", "followup"),)
STUDY = {"sets": SETS, "deltas": DELTAS, "may_vanish": ("followup",)}


def table(subject, level, status="ok", reason=""):
    """One row; feature n has the value level + n, or what an unusable region leaves."""
    values = {c: level + n for n, c in enumerate(COLUMNS)}
    if status == "empty_roi":
        values = {c: 0.0 if c in SIZE_COLUMNS else np.nan for c in COLUMNS}
    return pd.DataFrame([{"subject": subject, "status": status, "reason": reason, **values}])


def tables(*subjects):
    levels = {"baseline": 10.0, "followup": 2.0, "jacobian": 0.5}
    return {(name, s): table(s, level) for s in subjects for name, level in levels.items()}


def test_a_row_has_the_three_sets_and_the_change():
    features, failures = join_features(["007"], tables("007"), **STUDY)
    assert failures.empty
    assert list(failures.columns) == ["subject", "stage", "reason"]
    assert features.shape == (1, 2 + 4 * 102)
    assert list(features.columns[:2]) == ["subject", "followup_roi_empty"]
    sets = dict.fromkeys(c.split(".")[0] for c in features.columns[2:])
    assert list(sets) == ["baseline", "followup", "jacobian", "deltarad"]
    row = features.iloc[0]
    assert (row["subject"], row["followup_roi_empty"]) == ("007", 0)
    first = COLUMNS[0]
    assert [row[f"{s}.{first}"] for s in sets] == [10.0, 2.0, 0.5, 0.8]


def test_the_order_of_subjects_and_tables_changes_nothing():
    subjects = ["10", "007", "2", "b", "A"]
    found = tables(*subjects)
    one = join_features(subjects, found, **STUDY)[0]
    other = join_features(subjects[::-1], dict(reversed(found.items())), **STUDY)[0]
    pd.testing.assert_frame_equal(one, other)
    assert list(one["subject"]) == ["007", "10", "2", "A", "b"]


def test_one_subject_that_fails_is_listed_and_the_others_stay():
    found = tables("1", "2", "3", "4")
    found["baseline", "2"] = table("2", 1.0, "too_small", "3 voxels within 1 x 1 x 3")
    found["jacobian", "3"] = table("3", 1.0, "too_many_grey_levels", "2,000 grey levels")
    del found["followup", "4"]
    features, failures = join_features(["1", "2", "3", "4"], found, **STUDY)
    assert list(features["subject"]) == ["1"]
    assert failures.to_dict("records") == [
        {"subject": "2", "stage": "baseline", "reason": "too_small: 3 voxels within 1 x 1 x 3"},
        {"subject": "3", "stage": "jacobian", "reason": "too_many_grey_levels: 2,000 grey levels"},
        {"subject": "4", "stage": "followup", "reason": "no table ses-followup/radiomics/dce.tsv"},
    ]


def test_a_complete_response_stays_with_its_flag():
    """Sizes fell by all of it; intensities are missing, for the model to fill in."""
    found = tables("1", "2")
    found["followup", "2"] = table("2", 0.0, "empty_roi", "the mask holds no voxel")
    features, failures = join_features(["1", "2"], found, **STUDY)
    assert failures.empty
    assert list(features["followup_roi_empty"]) == [0, 1]
    row = features.iloc[1]
    for column in COLUMNS:
        expected = 1.0 if column in SIZE_COLUMNS else np.nan
        np.testing.assert_equal(row[f"deltarad.{column}"], expected)
        assert np.isfinite(row[f"baseline.{column}"])


def test_a_baseline_that_vanished_is_a_failure():
    found = tables("1")
    found["baseline", "1"] = table("1", 0.0, "empty_roi", "the mask holds no voxel")
    features, failures = join_features(["1"], found, **STUDY)
    assert features.empty
    assert features.shape[1] == 2 + 408
    assert failures["reason"].tolist() == ["empty_roi: the mask holds no voxel"]


def test_one_grey_level_and_single_missing_features_can_be_modelled():
    found = tables("1")
    found["jacobian", "1"] = table("1", 1.0, "one_grey_level", "intensities from 1 to 1.02")
    found["baseline", "1"] = table("1", 1.0, "incomplete", "no finite value for glcm_MCC")
    assert len(join_features(["1"], found, **STUDY)[0]) == 1


def test_all_wrong_tables_are_told_at_once():
    found = tables("1", "2", "3")
    found["baseline", "1"] = table("11", 1.0)
    found["baseline", "2"] = table("2", 1.0).drop(columns="glcm_MCC")
    found["jacobian", "3"] = pd.concat([table("3", 1.0)] * 2)
    with pytest.raises(CohortError) as error:
        join_features(["1", "2", "3"], found, **STUDY)
    assert len(error.value.problems) == 3
    assert "set baseline, subject 1: the table says subject '11'" in error.value.problems[0]
    assert "first glcm_MCC" in error.value.problems[1]
    assert "2 rows where one belongs" in error.value.problems[2]


def test_another_study_names_its_own_sets():
    sets = [parse_feature_set("t1=pre/t1"), parse_feature_set("pet=pre/pet")]
    found = {(s.name, "x"): table("x", 4.0) for s in sets}
    features, _ = join_features(["x"], found, sets=sets)
    assert features.shape == (1, 1 + 204)
    assert parse_delta_set("change=t1-pet") == DeltaSet("change", "t1", "pet")


@pytest.mark.parametrize("text", ["baseline", "=a/b", "x=a", "x=a/b/c", "a.b=c/d"])
def test_a_set_that_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(SettingsError, match="baseline=baseline/dce"):
        parse_feature_set(text)


@pytest.mark.parametrize("text", ["deltarad", "d=a", "d=a-b-c", "d.e=a-b"])
def test_a_delta_that_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(SettingsError, match="deltarad=baseline-followup"):
        parse_delta_set(text)


def test_names_must_exist_and_be_distinct():
    with pytest.raises(SettingsError, match="no feature set 'later'"):
        join_features([], {}, sets=SETS, deltas=[DeltaSet("d", "baseline", "later")])
    with pytest.raises(SettingsError, match="no feature set 'deltarad'"):
        join_features([], {}, sets=SETS, deltas=DELTAS, may_vanish=["deltarad"])
    with pytest.raises(SettingsError, match="'baseline' is defined twice"):
        join_features([], {}, sets=[*SETS, SETS[0]])


def test_the_dictionary_describes_every_column():
    features, _ = join_features(["1"], tables("1"), **STUDY)
    dictionary = feature_dictionary(SETS, DELTAS, COLUMNS)
    assert list(dictionary["column"]) == list(features.columns[2:])
    assert (dictionary["unit"] != "").all()
    row = dictionary.set_index("column").loc["deltarad.shape_MeshVolume_mm3"]
    assert row["unit"] == "1"
    assert row["definition"].startswith("(baseline - followup) / baseline of: volume")
    assert row["ibsi"] == "RNU0"


def test_the_optional_class_is_joined_when_asked_for_and_then_needed():
    from pipeline.radiomics.dictionary import CLASS_COUNTS, columns_of

    classes = [*CLASS_COUNTS, "ngtdm"]
    sets = (FeatureSet("baseline", "baseline", "ct"),)
    values = {c: float(n) for n, c in enumerate(columns_of(classes))}
    row = pd.DataFrame([{"subject": "7", "status": "ok", "reason": "", **values}])
    found = {("baseline", "7"): row}
    assert join_features(["7"], found, sets=sets)[0].shape == (1, 1 + 102)
    features, failures = join_features(["7"], found, sets=sets, classes=classes)
    assert failures.empty
    assert features.shape == (1, 1 + 107)
    assert features["baseline.ngtdm_Strength"].tolist() == [106.0]
    told = feature_dictionary(sets, (), columns_of(classes))
    assert told["column"].tolist() == list(features.columns[1:])
    with pytest.raises(CohortError, match="5 columns are missing, first ngtdm_Busyness"):
        join_features(["7"], {("baseline", "7"): table("7", 1.0)}, sets=sets, classes=classes)


def test_all_joins_whatever_the_tables_hold():
    names = ["glcm_Contrast", "wavelet-LLH_glcm_Contrast", "cm_contrast_3D_avg"]
    row = {"subject": "7", "status": "ok", "reason": "", "voxels": 9} | dict.fromkeys(names, 1.5)
    sets = (FeatureSet("baseline", "baseline", "ct"),)
    found = {("baseline", "7"): pd.DataFrame([row])}
    features, _ = join_features(["7"], found, sets=sets, classes=ALL)
    assert list(features.columns) == ["subject", *(f"baseline.{name}" for name in names)]
    told = feature_dictionary(sets, (), joined_columns(found, ALL)).set_index("column")
    assert told["class"].tolist() == ["glcm", "glcm", "grey level co-occurrence"]
    assert told.loc["baseline.cm_contrast_3D_avg", "ibsi"] == "ACUI"
    assert "image wavelet-LLH" in told.loc["baseline.wavelet-LLH_glcm_Contrast", "definition"]
    lacking = found | {("baseline", "8"): pd.DataFrame([row | {"subject": "8"}]).iloc[:, :-1]}
    with pytest.raises(CohortError, match="subject 8: 1 columns are missing, first cm_contrast"):
        join_features(["7", "8"], lacking, sets=sets, classes=ALL)
    with pytest.raises(CohortError, match="no feature table at all"):
        joined_columns({}, ALL)

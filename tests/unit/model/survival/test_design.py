"""The rows of a survival model: joined, checked whole, and never in need of the right order."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import CohortError, ModelError
from pipeline.io import read_table
from pipeline.model.survival.design import SurvivalDesign, build_survival_design

KINDS = {"age_years": "continuous", "stage": "categorical"}


def _tables(n: int = 24) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    names = [f"p{i:02d}" for i in range(n)]
    features = pd.DataFrame({"subject": names, "roi_empty": 0})
    for name in ("baseline.a", "baseline.b", "baseline.c", "delta.a"):
        features[name] = rng.normal(size=n)
    subjects = pd.DataFrame(
        {
            "subject": names,
            "split": ["development"] * (n - 8) + ["test"] * 8,
            "centre": np.where(np.arange(n) % 2 == 0, "east", "west"),
            "time_months": rng.uniform(5, 80, n).round(1),
            "event": np.arange(n) % 2,
            "age_years": rng.normal(60, 9, n).round(1),
            "stage": np.arange(n) % 3 + 1,
        }
    )
    return features, subjects


def _build(features: pd.DataFrame | None, subjects: pd.DataFrame, **options) -> SurvivalDesign:
    asked = {"feature_set": "baseline", "covariates": KINDS, "sources": ("f.tsv", "s.tsv")}
    return build_survival_design(features, subjects, **(asked | options))


def _problems(features: pd.DataFrame | None, subjects: pd.DataFrame, **options) -> list[str]:
    with pytest.raises(CohortError) as caught:
        _build(features, subjects, **options)
    return caught.value.problems


def test_the_tables_are_joined():
    features, subjects = _tables()
    design = _build(features, subjects)
    assert design.features == ("baseline.a", "baseline.b", "baseline.c")
    assert np.array_equal(design.values[:, 1], features["baseline.b"])
    assert design.subjects == tuple(subjects.subject)
    assert design.development.tolist() == [True] * 16 + [False] * 8
    assert design.centre[:3] == ("east", "west", "east")
    assert design.outcome.months.tolist() == subjects.time_months.tolist()
    assert design.outcome.event.tolist() == (subjects.event == 1).tolist()
    assert design.covariates.columns.tolist() == ["age_years", "stage"]
    assert design.covariates.stage.tolist()[:3] == ["1", "2", "3"]
    assert design.covariates.index.tolist() == list(design.subjects)
    assert design.covariates.age_years.tolist() == subjects.age_years.tolist()


def test_the_order_of_the_rows_does_not_matter():
    features, subjects = _tables()
    first = _build(features, subjects)
    second = _build(
        features.sample(frac=1, random_state=1), subjects.sample(frac=1, random_state=2)
    )
    assert first.subjects == second.subjects
    assert first.centre == second.centre
    for name in ("development", "values"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert np.array_equal(first.outcome.months, second.outcome.months)
    pd.testing.assert_frame_equal(first.covariates, second.covariates)


def test_a_study_without_features_and_one_with_every_column():
    features, subjects = _tables()
    alone = _build(None, subjects, feature_set=None)
    assert alone.values.shape == (24, 0)
    assert alone.features == ()
    mixed = _build(None, subjects.sample(frac=1, random_state=1), feature_set=None)
    assert mixed.subjects == alone.subjects == tuple(subjects.subject)
    assert np.array_equal(mixed.outcome.months, alone.outcome.months)
    # a column of the sheet in the feature table is no feature; a constant one is dropped
    doubled = features.assign(centre="somewhere else", event=5)
    every = _build(doubled, subjects, feature_set=None)
    assert every.features == ("baseline.a", "baseline.b", "baseline.c", "delta.a")
    assert every.outcome.event.sum() == 12
    assert set(every.centre) == {"east", "west"}


def test_subjects_without_features_are_left_out_with_their_faults(caplog):
    features, subjects = _tables()
    subjects.loc[5, "time_months"] = -1
    with caplog.at_level(logging.INFO):
        design = _build(features.drop(index=[5, 7]), subjects)
    assert len(design.subjects) == 22
    assert "2 subjects without features are left out: ['p05', 'p07']" in caplog.text


def test_empty_cells_of_covariates_stay_empty():
    features, subjects = _tables()
    subjects["stage"] = subjects["stage"].astype(object)
    subjects.loc[[2, 3], "stage"] = [np.nan, "  "]
    subjects.loc[4, "age_years"] = np.nan
    design = _build(features, subjects)
    assert design.covariates.isna().sum().tolist() == [1, 2]


def test_constant_and_empty_features_are_dropped_by_the_development_rows_alone(caplog):
    features, subjects = _tables()
    features.loc[:15, "baseline.a"] = 7.0
    features.loc[:15, "baseline.c"] = np.nan
    with caplog.at_level(logging.WARNING):
        design = _build(features, subjects)
    assert design.features == ("baseline.b",)
    assert "f.tsv: 2 features are constant or missing in all development rows" in caplog.text
    assert "left out: baseline.a, baseline.c" in caplog.text
    features.loc[:15, "baseline.b"] = 0.0
    with pytest.raises(ModelError, match=r"f\.tsv: all 3 features are constant .*baseline\.a"):
        _build(features, subjects)


def test_a_subject_without_any_feature_value_is_named(caplog):
    features, subjects = _tables()
    features.loc[20, ["baseline.a", "baseline.b", "baseline.c"]] = np.nan
    features.loc[21, ["baseline.a", "baseline.b"]] = np.nan
    with caplog.at_level(logging.WARNING):
        _build(features, subjects)
    assert "f.tsv: 1 subjects have no value of any feature" in caplog.text
    assert caplog.text.rstrip().endswith("p20")


def test_all_faults_of_the_cells_come_at_once():
    features, subjects = _tables()
    features["baseline.b"] = features["baseline.b"].astype(object)
    features.loc[9, "baseline.b"] = "high"
    subjects = subjects.astype({"age_years": object, "time_months": object, "event": object})
    subjects.loc[0, "time_months"] = -4
    subjects.loc[1, "time_months"] = np.nan
    subjects.loc[2, "time_months"] = "12 months"
    subjects.loc[3, "event"] = 2
    subjects.loc[4, "split"] = "train"
    subjects.loc[5, "centre"] = np.nan
    subjects.loc[6, "age_years"] = "sixty"
    subjects.loc[20, "stage"] = 4
    problems = _problems(features, subjects)
    expected = [
        "s.tsv: column split, subject p04: 'train' is neither development nor test",
        "s.tsv: column centre, subject p05: empty",
        "s.tsv: column age_years, subject p06: 'sixty' is text where a number is expected",
        "s.tsv: column stage, subject p20: level '4' is not among the development rows, which"
        " have 1, 2, 3",
        "s.tsv: column time_months, subject p02: '12 months' is text",
        "s.tsv: column time_months, subject p00: -4 is no time in months above 0",
        "s.tsv: column time_months, subject p01: an empty cell is no time",
        "s.tsv: column event, subject p03: 2 is neither 0 (censored) nor 1 (event)",
        "f.tsv: column baseline.b, subject p09: 'high' is text where a number is expected",
    ]
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(start)


def test_twins_and_strangers_come_at_once():
    features, subjects = _tables()
    features.loc[3, "subject"] = "p04"
    features.loc[5, "subject"] = "stranger"
    features.loc[6, "subject"] = None
    subjects.loc[7, "subject"] = "P08"
    problems = _problems(features, subjects)
    assert problems == [
        "s.tsv: column subject, row 10: subject p08 stands already in row 9 (there as P08); keep"
        " one row per subject or rename one",
        "f.tsv: column subject, row 6: subject p04 stands already in row 5; keep one row per"
        " subject or rename one",
        "f.tsv: column subject, row 8: empty; name the subject",
        "f.tsv: column subject: p07 is not in s.tsv; add its row there or make the feature table"
        " again",
        "f.tsv: column subject: stranger is not in s.tsv; add its row there or make the feature"
        " table again",
    ]


def test_a_subject_in_both_splits_is_a_twin():
    features, subjects = _tables()
    twice = pd.concat([subjects, subjects.iloc[[0]].assign(split="test")])
    assert "row 26: subject p00 stands already in row 2" in _problems(features, twice)[0]


def test_missing_columns_come_at_once():
    features, subjects = _tables()
    problems = _problems(
        features.drop(columns=["baseline.a", "baseline.b", "baseline.c"]),
        subjects.drop(columns=["event", "stage", "centre"]),
    )
    assert [p.split(";")[0] for p in problems] == [
        "s.tsv: column centre is missing",
        "s.tsv: column event is missing",
        "s.tsv: column stage is missing",
        "f.tsv: no column starts with 'baseline.'",
    ]
    assert "it has the feature sets delta" in problems[3]
    problems = _problems(features[["subject"]], subjects, feature_set=None)
    assert problems == ["f.tsv: no column besides subject; give a table with features"]


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        ("age_years", 60.0, "column age_years: all development rows have '60', so it can explain"),
        ("age_years", np.nan, "column age_years: all development rows are empty"),
        ("stage", 2, "column stage: all development rows have '2'"),
        ("stage", np.nan, "column stage: all development rows are empty"),
    ],
)
def test_a_constant_covariate_is_refused(column, cells, message):
    features, subjects = _tables()
    subjects[column] = subjects[column].astype(float)
    # it varies in the test rows, which must not save it
    subjects.loc[:15, column] = cells
    assert message in _problems(features, subjects)[0]


def test_no_event_in_development_is_an_error_and_in_test_a_warning(caplog):
    features, subjects = _tables()
    silent = subjects.copy()
    silent.loc[16:, "event"] = 0
    with caplog.at_level(logging.WARNING):
        _build(features, silent)
    assert "s.tsv: column event: none of 8 test rows has an event" in caplog.text
    subjects.loc[:15, "event"] = 0
    with pytest.raises(ModelError, match="column event: none of 16 development rows has an event"):
        _build(features, subjects)
    with pytest.raises(ModelError, match="column event: none of 24 subjects has an event"):
        _build(features, subjects.assign(event=0))


def test_events_as_words_are_told_cell_by_cell():
    features, subjects = _tables()
    problems = _problems(features, subjects.assign(event="dead"))
    assert len(problems) == 24
    assert problems[0].startswith("s.tsv: column event, subject p00: 'dead' is text")


def test_too_few_development_rows():
    features, subjects = _tables()
    subjects["split"] = ["development"] * 9 + ["test"] * 15
    with pytest.raises(ModelError, match=r"s\.tsv: 9 development rows; a model needs at least 10"):
        _build(features, subjects)


def test_a_wrong_unit_is_a_warning(caplog):
    features, subjects = _tables()
    subjects["time_days"] = subjects["time_months"] * 30.4375
    with caplog.at_level(logging.WARNING):
        _build(features, subjects, time="time_days")
    assert "column time_days is read as months, which its name denies" in caplog.text
    assert "is it in days?" in caplog.text
    caplog.clear()
    _build(features, subjects)
    assert not caplog.records


def test_changing_test_rows_changes_no_development_row():
    features, subjects = _tables()
    before = _build(features, subjects)
    features.loc[16:, "baseline.a"] = 1e9
    subjects.loc[16:, ["time_months", "age_years"]] = [3.5, 20.0]
    after = _build(features, subjects)
    rows = before.development
    assert after.features == before.features
    assert np.array_equal(after.values[rows], before.values[rows])
    pd.testing.assert_frame_equal(after.covariates[rows], before.covariates[rows])


@pytest.mark.data
def test_the_real_lung_cohort(medpipe_data: Path):
    folder = medpipe_data / "nsclc"
    sheet = read_table(folder / "subjects.tsv")
    sheet["split"] = sheet["centre"].map({"lung1": "development", "lung2": "test"})
    sheet["time_months"] = sheet["time_days"] / 30.4375
    features = read_table(folder / "published_radiomics.tsv")
    kinds = {"age_years": "continuous", "t_stage": "categorical"}
    design = build_survival_design(features, sheet, feature_set=None, covariates=kinds)
    assert len(design.subjects) == 204
    assert design.values.shape == (204, len(features.columns) - 1)
    # stage x of the metastases is coded 3; one lung2 patient has a level that lung1 lacks
    with pytest.raises(CohortError, match="column m_stage, subject 290: level '1' is not among"):
        build_survival_design(
            features, sheet, feature_set=None, covariates=kinds | {"m_stage": "categorical"}
        )

"""`medpipe survival` on a small cohort: files, page, and what bad input is told."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.main import main
from cli.survival import app
from pipeline.errors import CohortError, MedpipeError, ModelError, SettingsError
from pipeline.io import read_table, write_table

TERMS = ("--covariates", "age_years:continuous,stage:categorical", "--nomogram", "rad_score,stage")
QUICK = ("--folds", "3", "--repeats", "1", "--resamples", "2", "--bootstrap", "8",
         "--optimism", "2", "--cutoff-months", "24", "--horizons-months", "12,24")  # fmt: skip
TABLES = ("path", "path_summary", "selection", "cutoff", "optimism", "predictions", "km",
          "logrank", "cox", "schoenfeld", "roc", "discrimination", "comparison", "calibration",
          "calibration_groups", "calibration_smooth", "decision", "headline",
          "table_one")  # fmt: skip


def cohort(count=120, effect=1.0):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(count, 6))
    stage = rng.choice(["I", "II", "III"], count)
    risk = effect * (values[:, 0] - values[:, 1]) + 0.5 * (stage == "III")
    time, seen = rng.exponential(40 * np.exp(-risk)), rng.uniform(10, 80, count)
    names = [f"p{i:03d}" for i in range(count)]
    features = pd.DataFrame(values, columns=[f"baseline.f{n}" for n in range(6)])
    features.insert(0, "subject", names)
    subjects = pd.DataFrame(
        {
            "subject": names,
            "split": np.where(np.arange(count) % 3 == 0, "test", "development"),
            "centre": np.where(np.arange(count) % 2, "north", "south"),
            "time_months": np.minimum(time, seen).clip(0.1).round(2),
            "event": (time <= seen).astype(int),
            "age_years": rng.normal(60, 8, count).round(1),
            "stage": stage,
        }
    )
    return features, subjects


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, MedpipeError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def put(folder, features, subjects):
    write_table(folder / "features.tsv", features)
    write_table(folder / "subjects.tsv", subjects)
    return tables(folder)


def tables(folder):
    return (
        "--features-table", folder / "features.tsv",
        "--subjects", folder / "subjects.tsv", "--quiet",
    )  # fmt: skip


def fit(folder, out, *options, terms=TERMS):
    return run("fit", *tables(folder), *terms, *QUICK, "--seed", 5, "--out", out, *options)


def cell(column, row, value):
    def change(frame):
        changed = frame.astype({column: object})
        changed.loc[row, column] = value
        return changed

    return change


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survival")
    put(folder, *cohort())
    arm = folder / "results/small/survival/baseline"
    fit(folder, arm)
    model = arm / "model.json"
    run("evaluate", *tables(folder), "--model", model, "--bootstrap", 8)
    run("predict", *tables(folder), "--model", model, "--out", folder / "new.tsv")
    run("report", "--study-dir", folder / "results/small", "--subjects", folder / "subjects.tsv",
        "--quiet", "--out-table", folder / "results/small_survival.tsv")  # fmt: skip
    return folder


def arm_of(folder: Path) -> Path:
    return folder / "results/small/survival/baseline"


def test_every_table_is_written_with_its_origin(study):
    for name in (*(f"{t}.tsv" for t in TABLES), "model.json", "rad_score.json", "nomogram.html"):
        assert (arm_of(study) / name).stat().st_size > 0, name
        origin = json.loads((arm_of(study) / f"{name}.prov.json").read_text())
        assert origin["block"] == "survival"
    headline = read_table(study / "results/small_survival.tsv")
    assert headline["model"].tolist() == ["rad_score", "clinical", "combined"]
    assert (headline["n_test"] == 40).all()
    assert headline.loc[0, "harrell_c_test"] > 0.6


def test_new_patients_read_as_in_the_evaluation(study):
    new = read_table(study / "new.tsv").set_index("subject")
    old = read_table(arm_of(study) / "predictions.tsv").set_index("subject")
    shared = [c for c in new if c in old and c not in ("centre", "risk_group")]
    assert "survival_combined_24m" in shared
    np.testing.assert_array_equal(new[shared], old.loc[new.index, shared])


def test_page_has_no_odd_word(study):
    html = (arm_of(study) / "report.html").read_text()
    words = html.split("<body")[1]
    for odd in (">nan<", ">NaN<", ">None<", ">inf<", "Not shown:"):
        assert odd not in words, odd


def of_subjects(change):
    return lambda features, subjects: (features, change(subjects))


def of_features(change):
    return lambda features, subjects: (change(features), subjects)


def all_features(value):
    return of_features(lambda t: t.assign(**{c: value for c in t if c != "subject"}))


BAD = {
    "no event": (of_subjects(lambda t: t.assign(event=0)), "column event: none of 120 subjects"),
    "no development event": (
        of_subjects(lambda t: t.assign(event=t["event"].where(t["split"] == "test", 0))),
        "column event: none of 80 development rows has an event",
    ),
    "negative time": (
        of_subjects(cell("time_months", 5, -3)), "column time_months, subject p005: -3 is no time"
    ),
    "no time": (
        of_subjects(cell("time_months", 5, None)),
        "column time_months, subject p005: an empty cell is no time",
    ),
    "event in words": (
        of_subjects(cell("event", 5, "dead")), "column event, subject p005: 'dead' is text"
    ),
    "same times": (
        of_subjects(lambda t: t.assign(time_months=30.0)),
        "column time_months: all 80 development rows have the same time, 30 months",
    ),
    "new level": (
        of_subjects(cell("stage", 0, "IV")),
        "column stage, subject p000: level 'IV' is not among the development rows",
    ),
    "constant features": (all_features(1.0), "all 6 features are constant or missing"),
    "missing features": (all_features(np.nan), "all 6 features are constant or missing"),
    "duplicate": (
        of_subjects(lambda t: pd.concat([t, t.iloc[[3]]])),
        "column subject, row 122: subject p003 stands already in row 5",
    ),
    "duplicate features": (
        of_features(lambda t: pd.concat([t, t.iloc[[3]]])),
        "column subject, row 122: subject p003 stands already in row 5",
    ),
    "stranger": (of_subjects(lambda t: t.drop(index=5)), "column subject: p005 is not in"),
    "no column": (of_subjects(lambda t: t.drop(columns="stage")), "column stage is missing"),
    "text": (
        of_subjects(cell("age_years", 5, "old")),
        "column age_years, subject p005: 'old' is text where a number is expected",
    ),
    "feature of text": (
        of_features(lambda t: t.assign(**{"baseline.f2": "abc"})),
        "column baseline.f2: every cell is text, the first being 'abc' of subject p000",
    ),
    "unknown split": (
        of_subjects(cell("split", 5, "train")), "subject p005: 'train' is neither development"
    ),
    "nobody develops": (
        of_subjects(lambda t: t.assign(split="test")), "column split: no row says development"
    ),
    "few": (lambda f, s: (f.iloc[:6], s.iloc[:6].assign(split="development")),
            "6 development rows; a model needs at least 10"),
    "no row": (of_subjects(lambda t: t.iloc[:0]), "subjects.tsv: no row below the header"),
    "one event": (
        of_subjects(lambda t: cell("time_months", 1, 5)(t).assign(event=(t.index == 1) * 1)),
        "1 subjects with an event: at least 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_bad_tables_are_told_and_nothing_is_written(fault, tmp_path):
    change, message = BAD[fault]
    put(tmp_path, *change(*cohort()))
    with pytest.raises((CohortError, ModelError)) as caught:
        fit(tmp_path, tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cutoff", "best"), "--cutoff: Input should be 'nne'"),
        (("--covariates", "age_years:number"), "--covariates age_years: Input should be"),
        (("--covariates", "age_years,age_years:spline"), "name each covariate once"),
        (("--labels", "Age, years"), "--labels 'Age': give name:text"),
        (("--horizons-months", "12,"), "--horizons-months: Input should be a valid number"),
        (("--horizons-months", "-3"), "--horizons-months: Input should be greater than 0"),
        (("--l1-ratio", "2"), "--l1-ratio: Input should be less than or equal to 1"),
        (("--harmonise", "all"), "--harmonise: Input should be 'none' or 'combat'"),
        (("--horizons-months", "500,600"), "horizons_months: 500 months lie beyond the follow-up"),
        (("--cutoff-months", "500"), "cutoff_months: 500 months lie beyond the follow-up"),
        (("--horizons-months", "0.01"), "horizons_months: no development row has an event by 0.01"),
        (("--features", "other"), "no column starts with 'other.'; it has the feature sets base"),
        (("--nomogram", "grade"), "nomogram term 'grade' is neither rad_score nor among"),
        (("--covariates", "time_months"), "column time_months cannot be a covariate: it is the o"),
        (("--covariates", "split:categorical"), "column split cannot be a covariate"),
        (("--covariates", "stage"), "column stage: every cell is text, the first being"),
    ],
)
def test_bad_options_are_told_and_nothing_is_written(study, tmp_path, options, message):
    with pytest.raises((SettingsError, CohortError, ModelError)) as caught:
        fit(study, tmp_path / "out", *options)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_command_line_says_error_and_ends_with_2(study, tmp_path, monkeypatch, capsys):
    options = (*tables(study), "--time", "days", "--out", tmp_path / "out")
    monkeypatch.setattr("sys.argv", ["medpipe", "survival", "fit", *map(str, options)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: 1 problem in the sheets:")
    assert "subjects.tsv: column days is missing; add it or name another" in told


def test_a_seed_below_zero_is_a_usage_error(study):
    result = CliRunner().invoke(app, ["fit", *map(str, tables(study)), "--seed", "-1"])
    assert result.exit_code == 2
    assert "--seed" in result.output


def test_the_names_of_our_own_columns_are_no_covariates(tmp_path):
    features, subjects = cohort()
    put(tmp_path, features, subjects.assign(rad_score=subjects["age_years"]))
    with pytest.raises(CohortError, match="column rad_score cannot be a covariate"):
        fit(tmp_path, tmp_path / "out", terms=("--covariates", "rad_score"))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (lambda t: t.assign(centre="north"), "ComBat needs two centres or more"),
        (cell("centre", 0, "west"), "centre west has no development rows"),
    ],
)
def test_combat_needs_known_centres(tmp_path, split, message):
    features, subjects = cohort()
    put(tmp_path, features, split(subjects))
    with pytest.raises(ModelError, match=message):
        fit(tmp_path, tmp_path / "out", "--harmonise", "combat")


@pytest.mark.parametrize(("factor", "unit"), [(30.4375, "days"), (1 / 12, "years")])
def test_a_wrong_unit_is_a_warning(tmp_path, caplog, factor, unit):
    features, subjects = cohort()
    put(tmp_path, features, subjects.assign(time_months=subjects["time_months"] * factor))
    with pytest.raises(ModelError, match="check that the follow-up is in months"):
        fit(tmp_path, tmp_path / "out")
    assert "column time_months: the median time is" in caplog.text
    assert f"is it in {unit}?" in caplog.text


def test_a_comma_separated_table_must_say_so(study, tmp_path):
    features, subjects = cohort()
    put(tmp_path, features, subjects)
    (tmp_path / "subjects.tsv").write_text(subjects.to_csv(index=False))
    with pytest.raises(CohortError, match=r"separate the cells by tabs, or by commas in a file"):
        fit(tmp_path, tmp_path / "out")
    (tmp_path / "subjects.tsv").write_text("")
    with pytest.raises(MedpipeError, match="the table is empty"):
        fit(tmp_path, tmp_path / "out")


def test_a_study_in_which_nothing_is_selected(tmp_path, caplog):
    features, subjects = cohort(effect=0.0)
    times = np.random.default_rng(0).permutation(subjects["time_months"])
    put(tmp_path, features, subjects.assign(time_months=times))
    for name, terms in (("some", TERMS), ("none", ())):
        folder = tmp_path / name
        arm = folder / "survival/baseline"
        fit(tmp_path, arm, "--rule", "1se", terms=terms)
        assert json.loads((arm / "rad_score.json").read_text())["features"] == []
        run("evaluate", *tables(tmp_path), "--model", arm / "model.json", "--bootstrap", 8)
        run("report", "--study-dir", folder, "--subjects", tmp_path / "subjects.tsv", "--quiet")
        html = (arm / "report.html").read_text()
        assert "No risk groups: without a feature everybody has the same Rad-score" in html
        assert "120 analysed" in html
        assert ("Clinical terms of the nomogram" in html) == (name == "some")
        assert "Rad-score + clinical" not in html
    assert read_table(arm / "headline.tsv")["model"].tolist() == ["rad_score"]
    # resamples do not repeat what is said of the model
    assert caplog.text.count("no feature was selected") == 2


def test_without_a_correction_for_optimism_the_rest_is_there(study, tmp_path, caplog, monkeypatch):
    def fail(*_):
        raise ModelError("2 of 2 bootstrap resamples failed")

    monkeypatch.setattr("pipeline.model.survival.chain_optimism.bootstrap_optimism", fail)
    fit(study, tmp_path)
    assert "correction for optimism: left out: 2 of 2 bootstrap resamples failed" in caplog.text
    assert read_table(tmp_path / "optimism.tsv").empty
    run("evaluate", *tables(study), "--model", tmp_path / "model.json", "--bootstrap", 8)
    headline = read_table(tmp_path / "headline.tsv")
    assert headline["harrell_c_test"].notna().all()
    assert headline["harrell_c_development_corrected"].isna().all()


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[:500], "not valid JSON"),
        (lambda text: "[1]", "no survival model; make one with"),
        (lambda text: json.dumps(json.loads(text) | {"kind": "binary"}), "kind 'binary'"),
        (lambda text: json.dumps(json.loads(text) | {"models": 3}), "model is incomplete"),
        (lambda text: json.dumps(json.loads(text) | {"rad_score": []}), "model is incomplete"),
    ],
)
def test_a_spoilt_model_is_told(study, tmp_path, verb, spoil, message):
    model = tmp_path / "model.json"
    model.write_text(spoil((arm_of(study) / "model.json").read_text()))
    with pytest.raises(MedpipeError, match=message) as caught:
        run(verb, *tables(study), "--model", model, "--out", tmp_path / "out")
    assert str(model) in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_subjects(cell("stage", 0, "IV")), "column stage, subject p000: level 'IV' is not"),
        (of_subjects(cell("age_years", 0, "x")), "column age_years, subject p000: 'x' is text"),
        (of_features(cell("baseline.f0", 2, "x")), "column baseline.f0, subject p002: 'x'"),
        (of_subjects(lambda t: pd.concat([t, t.iloc[[0]]])), "subject p000 stands already"),
        (of_subjects(lambda t: t.iloc[1:]), "column subject: p000 is not in"),
        (of_subjects(lambda t: t.drop(columns="stage")), "column stage is missing"),
        (of_features(lambda t: t[["subject"]]), "column baseline.f0 is missing"),
        (of_features(lambda t: t.iloc[:0]), "features.tsv: no row below the header"),
    ],
)
def test_bad_new_patients_are_told(study, tmp_path, change, message):
    put(tmp_path, *change(*cohort()))
    with pytest.raises(CohortError) as caught:
        run("predict", *tables(tmp_path), "--model", arm_of(study) / "model.json")
    assert message in str(caught.value)
    assert not (tmp_path / "features_survival.tsv").exists()


def test_a_finished_model_is_judged_on_a_cohort_of_test_rows_alone(study, tmp_path):
    table, sheet = study / "features.tsv", study / "subjects.tsv"
    features, subjects = read_table(table), read_table(sheet)
    kept = (subjects["split"] == "test") & (subjects["stage"] != "III")
    elsewhere = subjects[kept].assign(centre="west")
    write_table(tmp_path / "f.tsv", features[features["subject"].isin(elsewhere["subject"])])
    write_table(tmp_path / "s.tsv", elsewhere)
    run("evaluate", "--model", arm_of(study) / "model.json", "--features-table", tmp_path / "f.tsv",
        "--subjects", tmp_path / "s.tsv", "--bootstrap", 8, "--out", tmp_path / "out")  # fmt: skip
    found = read_table(tmp_path / "out/headline.tsv").set_index("model")
    assert found.loc["combined", "n_test"] == kept.sum()
    assert "n_development" not in found.columns
    known = read_table(arm_of(study) / "predictions.tsv").set_index("subject")
    again = read_table(tmp_path / "out/predictions.tsv").set_index("subject")
    np.testing.assert_allclose(
        again["lp_combined"], known.loc[again.index, "lp_combined"], rtol=1e-12
    )

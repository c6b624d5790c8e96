"""The simulated colorectal cohort: known coefficients, plausible images, same bytes."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.demo import app
from pipeline.demo import crc
from pipeline.errors import SettingsError
from pipeline.io import read_json, read_mask, read_table, read_volume
from pipeline.radiomics.extract import extract
from pipeline.sheets import read_cohort

SEED = 7


def run(folder, *words):
    done = CliRunner().invoke(
        app, ["crc", "--out", str(folder), "--seed", str(SEED), *map(str, words)],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crc")
    run(folder, "--subjects", 30)
    return folder


def features_like(patients, seed=0):
    """Independent standard normal features, so that no image is needed."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(len(patients), 5)), columns=list(crc.RAD_SCORE))


def test_the_sheets_pass_every_check_and_name_files_that_read(cohort):
    sheet = read_cohort(
        cohort / "images.tsv", cohort / "subjects.tsv", sessions=["baseline"], contrast="ct",
        outcome=None, survival=("time_months", "event"),
    )  # fmt: skip
    assert len(sheet.subjects) == len(sheet.images) == 30
    assert [s.split for s in sheet.subjects].count("development") == 20
    for row in sheet.images:
        image, mask = read_volume(row.image), read_mask(row.mask)
        inside = image.data[mask.data > 0]
        assert image.grid.spacing_mm == pytest.approx((0.8, 0.8, 2.0))
        assert 40 < inside.mean() < 140  # venous phase
        assert image.data[mask.data == 0].mean() < 0  # mostly fat
        assert extract(image, mask, kind="ct", spacing_mm=1.0).border_voxels == 0
    assert read_json(cohort / "dataset.json")["simulated"] is True
    assert "SIMULATED" in (cohort / "README.txt").read_text("utf-8")


def test_the_hazard_is_that_of_the_features_of_the_written_images(cohort):
    """The truth can be recomputed from the files and `truth.json` alone."""
    truth, table = read_json(cohort / "truth.json"), read_table(cohort / "truth.tsv")
    subjects = read_table(cohort / "subjects.tsv").set_index("subject")
    stage = truth["tnm_stage"]
    for row in table.iloc[[0, 11, 29]].itertuples():
        names = crc.image_paths(row.subject)
        volumes = read_volume(cohort / names[0]), read_mask(cohort / names[1])
        values = extract(*volumes, kind="ct", bin_width=25.0, spacing_mm=1.0).values
        predictor = stage["coefficient"] * (
            subjects.loc[row.subject, "tnm_stage"] - stage["centre"]
        )
        predictor += sum(
            known["coefficient_per_sd"] * (values[name] - known["mean"]) / known["sd"]
            for name, known in truth["features"].items()
        )
        assert row.true_linear_predictor == pytest.approx(predictor, abs=1e-9)


def test_the_coefficients_are_those_of_the_card_times_the_stated_factor():
    patients = crc.draw_patients(SEED, 60)
    truth = crc.draw_survival(patients, features_like(patients), SEED).truth
    found = [known["coefficient_per_sd"] for known in truth["features"].values()]
    card = np.array([0.075, -0.070, 0.029, 0.028, 0.116])
    assert found == pytest.approx(6.0 * card)
    assert truth["tnm_stage"]["coefficient"] == pytest.approx(np.log(2.30))


def test_cox_regression_on_many_patients_finds_the_coefficients():
    from lifelines import CoxPHFitter

    patients = crc.draw_patients(SEED, 900)
    survival = crc.draw_survival(patients, features_like(patients), SEED)
    frame = pd.DataFrame(
        {
            "time": survival.time_months,
            "event": survival.event,
            "score": crc.SCORE_FACTOR * survival.score,
            "stage": [p.tnm_stage for p in patients],
        }
    )
    fit = CoxPHFitter().fit(frame, "time", "event").summary
    for name, true in (("score", 1.0), ("stage", np.log(2.30))):
        assert abs(fit.loc[name, "coef"] - true) < 3 * fit.loc[name, "se(coef)"]
    assert fit["se(coef)"].max() < 0.1


def test_events_censoring_and_covariates_have_the_stated_shares():
    patients = crc.draw_patients(SEED, 900)
    survival = crc.draw_survival(patients, features_like(patients), SEED)
    developing = np.array([p.split == "development" for p in patients])
    assert survival.event[developing].mean() == pytest.approx(crc.EVENT_SHARE, abs=2 / 600)
    assert 0.2 < survival.event[~developing].mean() < 0.5
    assert survival.time_months[developing].max() <= 144
    assert survival.time_months[~developing].max() <= 84
    seen = survival.event == 1
    assert np.abs(survival.time_months - survival.relapse_months)[seen].max() <= 0.03
    assert (survival.time_months[~seen] <= survival.relapse_months[~seen] + 0.005).all()
    for split, rows in (("development", developing), ("test", ~developing)):
        part = [p for p, chosen in zip(patients, rows, strict=True) if chosen]
        shares = np.bincount([p.tnm_stage for p in part], minlength=5)[1:] / len(part)
        counts = np.array(crc.PERIODS[split].stages)
        np.testing.assert_allclose(shares, counts / counts.sum(), atol=0.06)
        assert all((p.node_metastasis == "yes") for p in part if p.tnm_stage == 3)
    missing = np.mean([np.isnan(p.grade) for p in patients])
    assert 0.04 < missing < 0.14


def test_test_rows_do_not_move_the_standardisation():
    patients = crc.draw_patients(SEED, 60)
    features = features_like(patients)
    changed = features.copy()
    changed.iloc[-1] *= 100.0
    one = crc.draw_survival(patients, features, SEED)
    two = crc.draw_survival(patients, changed, SEED)
    assert one.truth == two.truth
    assert (one.score[:-1] == two.score[:-1]).all()
    assert one.score[-1] != two.score[-1]


def digests(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.endswith(".prov.json")
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(cohort, tmp_path):
    run(tmp_path / "again", "--subjects", 30)
    assert digests(tmp_path / "again") == digests(cohort)
    one, two = crc.draw_image(SEED, 3), crc.draw_image(SEED + 1, 3)
    assert not np.array_equal(one[0].data, two[0].data)


def test_a_cohort_that_is_there_is_left_alone_and_a_lost_file_is_made_again(cohort):
    before = digests(cohort)
    assert "already there" in run(cohort, "--subjects", 30)
    (cohort / crc.image_paths("004")[1]).unlink()
    assert "already there" not in run(cohort, "--subjects", 30)
    assert digests(cohort) == before


@pytest.mark.parametrize("size", [29, 901])
def test_too_few_or_too_many_subjects_are_refused(size):
    with pytest.raises(SettingsError, match=f"--subjects {size}: give a number from 30 to 900"):
        crc.draw_patients(SEED, size)

import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.demo import app
from pipeline.demo import faults
from pipeline.errors import ReadError
from pipeline.io import (
    read_field,
    read_json,
    read_mask,
    read_table,
    read_volume,
    write_field,
    write_volume,
)

RUNNER = CliRunner()


def run(*words):
    result = RUNNER.invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two subjects, and three of the ten faults: a file, a mask, a session."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "FAULTS", (faults.FAULTS[0], *faults.FAULTS[-2:]))
        run("nact", "--out", folder, "--subjects", 2, "--faults", "--jobs", 1)
    return folder


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".prov.json")
    }


def test_the_sheets_name_files_that_read(cohort):
    images = read_table(cohort / "images.tsv")
    assert list(images.columns) == [
        "subject", "session", "contrast", "image", "mask", "time_s",
        "seed_x_mm", "seed_y_mm", "seed_z_mm",
    ]  # fmt: skip
    sound = images[~images["subject"].str.startswith("9")]
    assert list(sound["subject"].unique()) == ["001", "062"]
    for row in sound.itertuples():
        assert read_volume(cohort / row.image).data.max() > 300
    truth = read_table(cohort / "truth.tsv")
    for row in truth.itertuples():
        mask, jacobian = read_mask(cohort / row.mask_baseline), read_volume(cohort / row.jacobian)
        assert read_field(cohort / row.displacement).grid.shape == jacobian.grid.shape
        inside = jacobian.data[mask.data > 0].mean()
        assert inside == pytest.approx(row.true_mean_jacobian, rel=0.03)
        assert read_mask(cohort / row.mask_followup).data.any()


def test_the_folder_says_that_it_is_simulated(cohort):
    assert read_json(cohort / "dataset.json")["simulated"] is True
    assert "SIMULATED" in (cohort / "README.txt").read_text()


def test_subjects_have_no_secrets_of_the_simulation(cohort):
    table = read_table(cohort / "subjects.tsv")
    assert list(table.columns) == [
        "subject", "split", "centre", "response", "miller_payne", "subtype", "age_years",
        "menopause", "family_history",
    ]  # fmt: skip


def test_each_fault_is_put_into_its_subject(cohort):
    table = read_table(cohort / "faults.tsv")
    assert table["subject"].tolist() == ["901", "902", "903"]
    rows = dict(iter(read_table(cohort / "images.tsv").groupby("subject")))
    with pytest.raises(ReadError):
        read_volume(cohort / rows["901"]["image"].iloc[-1])
    assert read_volume(cohort / rows["901"]["image"].iloc[0]).data.any()
    assert not read_mask(cohort / rows["902"]["mask"].iloc[0]).data.any()
    assert set(rows["903"]["session"]) == {"baseline"}


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_jobs(cohort, tmp_path):
    run("nact", "--out", tmp_path, "--subjects", 2, "--jobs", 2)
    once, again = contents(cohort), contents(tmp_path)
    images = [name for name in again if name.endswith(".nii.gz")]
    assert len(images) == 2 * (6 + 4) + 2 * 4
    assert all(again[name] == once[name] for name in [*images, "truth.tsv", "README.txt"])


def test_a_finished_cohort_is_left_alone_and_a_damaged_one_is_mended(tmp_path):
    words = ("nact", "--out", tmp_path, "--subjects", 2, "--jobs", 1)
    run(*words)
    before = contents(tmp_path)
    assert "already there" in run(*words)
    (tmp_path / read_table(tmp_path / "truth.tsv")["jacobian"].iloc[1]).unlink()
    assert "already there" not in run(*words)
    assert contents(tmp_path) == before


def test_scoring_the_truth_against_itself(cohort, tmp_path):
    truth = read_table(cohort / "truth.tsv")
    row = truth.iloc[0]
    subject = tmp_path / "nact" / f"sub-{row['subject']}"
    write_volume(
        subject / "ses-baseline/segment/dce.nii.gz", read_mask(cohort / row["mask_baseline"])
    )
    write_volume(
        subject / "ses-followup/segment/dce.nii.gz", read_mask(cohort / row["mask_followup"])
    )
    write_volume(
        subject / "ses-followup/register/jacobian.nii.gz", read_volume(cohort / row["jacobian"])
    )
    write_field(
        subject / "ses-followup/register/displacement.nii.gz",
        read_field(cohort / row["displacement"]),
    )
    run("score", "--truth", cohort / "truth.tsv", "--study", tmp_path / "nact")
    table = read_table(tmp_path / "nact/cohort/truth.tsv")
    assert table["status"].tolist() == ["scored", "no result"]
    assert table["dice_baseline"].iloc[0] == 1.0
    assert table["field_error_mm"].iloc[0] == pytest.approx(0.0, abs=1e-6)
    assert table["relative_error"].iloc[0] == pytest.approx(0.0, abs=0.03)
    assert pd.isna(table["dice_baseline"].iloc[1])
    provenance = read_json(tmp_path / "nact/cohort/truth.tsv.prov.json")
    assert provenance["measured"]["subjects"] == 1

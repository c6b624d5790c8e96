"""Sheets of the public survival and trial data: what becomes what, and what is refused."""

import csv
import shutil

import pytest
from typer.testing import CliRunner

from cli.sheets import app
from pipeline.errors import CohortError
from pipeline.io import read_table
from pipeline.sheets import read_cohort
from pipeline.studies.sheets import ispy2_sheets, nsclc_sheets

NSCLC = {
    "subject": "002", "centre": "lung1", "time_days": "304.375", "event": "1",
    "age_years": "60.5", "histology": "", "t_stage": "5", "n_stage": "0", "m_stage": "3",
}  # fmt: skip
ISPY2 = {
    "subject": "ACRIN-6698-1", "age_years": "51", "HR": "1", "HRposHER2neg": "1", "HER2pos": "0",
    "TripleNeg": "0", "mammaprint_high2": "0", "mask_voxels": "1000", "n_times": "7",
    "slice_mm": "2.5", "pixel_mm": "0.6", "pCR": "0", "split_test": "0",
}  # fmt: skip


def nsclc(
    *rows, scans=("002",), masks=("002",), published=({"subject": "002", "original_a": "7"},)
):
    return nsclc_sheets([NSCLC | r for r in rows], published, scans=scans, masks=masks)


def test_a_patient_of_the_first_centre_develops_and_a_code_that_is_no_stage_is_empty():
    sheets = nsclc({})
    assert dict(sheets.subjects[0]) == {
        "subject": "002", "split": "development", "centre": "lung1", "time_months": "10",
        "event": "1", "age_years": "60.5", "histology": "", "t_stage": "", "n_stage": "0",
        "m_stage": "",
    }  # fmt: skip
    assert nsclc({"t_stage": "4", "m_stage": "1"}).subjects[0]["t_stage"] == "4"
    assert nsclc({"t_stage": "12"}).subjects[0]["t_stage"] == ""
    assert dict(sheets.images[0]) == {
        "subject": "002", "session": "baseline", "contrast": "ct",
        "image": "images/002.nii.gz", "mask": "masks/002.nii.gz",
    }  # fmt: skip
    assert dict(sheets.features[0]) == {"subject": "002", "published.original_a": "7"}


def test_another_centre_tests_and_only_who_has_a_scan_has_an_image_row():
    sheets = nsclc(
        {}, {"subject": "010", "centre": "lung2"}, {"subject": "004", "time_days": ""},
        scans=("002", "010", "099", "004"), masks=("002",),
        published=[{"subject": s, "original_a": "1"} for s in ("010", "002", "004")],
    )  # fmt: skip
    assert [(r["subject"], r["split"]) for r in sheets.subjects] == [
        ("002", "development"), ("010", "test"),
    ]  # fmt: skip
    assert [(r["subject"], r["mask"]) for r in sheets.images] == [
        ("002", "masks/002.nii.gz"), ("010", ""),
    ]  # fmt: skip
    assert [r["subject"] for r in sheets.features] == ["002", "010"]
    assert sheets.left_out == ("004",)


def test_mistakes_name_file_column_and_subject():
    with pytest.raises(CohortError, match=r"subjects.tsv: subject 002: time_days 'soon' is no num"):
        nsclc({"time_days": "soon"})
    with pytest.raises(CohortError, match=r"subjects.tsv: no column 'event'"):
        nsclc_sheets([{k: v for k, v in NSCLC.items() if k != "event"}], [{"subject": "1"}],
                     scans=(), masks=())  # fmt: skip
    with pytest.raises(CohortError, match=r"subject ACRIN-6698-1: HR 2 is not 0 or 1"):
        ispy2_sheets([ISPY2 | {"HR": "2"}])


@pytest.mark.parametrize(
    ("receptors", "subtype"),
    [
        (("1", "0"), "HR+/HER2-"),
        (("1", "1"), "HR+/HER2+"),
        (("0", "1"), "HR-/HER2+"),
        (("0", "0"), "triple negative"),
        (("", "1"), ""),
    ],
)
def test_the_subtype_is_that_of_the_receptors(receptors, subtype):
    hormone, her2 = receptors
    sheets = ispy2_sheets([ISPY2 | {"HR": hormone, "HER2pos": her2}])
    assert sheets.subjects[0]["subtype"] == subtype


def test_the_volume_is_voxels_times_their_size_and_missing_without_it():
    rows = [ISPY2, ISPY2 | {"subject": "b", "pixel_mm": ""}]
    # 1000 x 0.6 mm x 0.6 mm x 2.5 mm = 900 mm3.
    assert [r["tumour_ml"] for r in ispy2_sheets(rows).subjects] == ["0.9", ""]


def test_held_back_parts_test_and_the_rest_develops():
    rows = [ISPY2 | {"subject": s, "split_test": p} for s, p in zip("abcd", ("0", "1", "2", ""),
                                                                   strict=True)]  # fmt: skip
    splits = [r["split"] for r in ispy2_sheets(rows).subjects]
    assert splits == ["development", "test", "test", "development"]


def run(*words):
    done = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.data
def test_the_folder_as_published_gives_sheets_that_pass_every_check(tmp_path, medpipe_data):
    data = medpipe_data / "nsclc"
    run("nsclc", data, "--out", tmp_path)
    cohort = read_cohort(
        tmp_path / "images.tsv", tmp_path / "subjects.tsv", sessions=["baseline"], contrast="ct",
        outcome=None, survival=("time_months", "event"),
    )  # fmt: skip
    with (data / "subjects.tsv").open(encoding="utf-8") as stream:
        given = list(csv.DictReader(stream, delimiter="\t"))
    assert len(cohort.subjects) == len(given)
    assert len(cohort.images) == len(list((data / "images").iterdir()))
    published = read_table(data / "published_radiomics.tsv").set_index("subject")
    ours = read_table(tmp_path / "features.tsv").set_index("subject")
    assert list(ours.columns) == [f"published.{c}" for c in published.columns]
    assert (ours.to_numpy() == published.loc[ours.index].to_numpy()).all()


@pytest.mark.data
def test_another_folder_of_the_same_layout_works(tmp_path, medpipe_data):
    """Some of the rows and one of the scans, as the cases that are kept aside would come."""
    data, other = medpipe_data / "nsclc", tmp_path / "other"
    for name in ("images", "masks"):
        (other / name).mkdir(parents=True)
        shutil.copy(data / name / "042.nii.gz", other / name)
    for name in ("subjects.tsv", "published_radiomics.tsv"):
        lines = (data / name).read_text("utf-8").splitlines()
        (other / name).write_text("\n".join([lines[0], *lines[30:60]]) + "\n", encoding="utf-8")
    output = run("nsclc", other, "--out", tmp_path / "sheets")
    subjects = read_table(tmp_path / "sheets/subjects.tsv")
    assert len(subjects) == 30
    scanned = int("042" in set(subjects["subject"]))
    assert f"30 subjects, {scanned} with images" in output


@pytest.mark.data
def test_the_trial_sheet_passes_every_check(tmp_path, medpipe_data):
    run("ispy2", medpipe_data / "ispy2", "--out", tmp_path)
    cohort = read_cohort(
        None, tmp_path / "subjects.tsv", sessions=["baseline"], contrast="dce", outcome="response"
    )
    given = read_table(medpipe_data / "ispy2/subjects.tsv")
    assert len(cohort.subjects) == len(given)
    table = read_table(tmp_path / "subjects.tsv").set_index("subject")
    same = given.set_index("subject").loc[table.index]
    triple = (table["subtype"] == "triple negative").astype(int)
    assert (triple == same["TripleNeg"]).all()
    assert ((table["subtype"] == "HR+/HER2-").astype(int) == same["HRposHER2neg"]).all()
    assert not (tmp_path / "images.tsv").exists()


def test_without_the_developing_centre_the_verb_says_that_nobody_develops(tmp_path):
    for name, rows in (
        ("subjects", [NSCLC | {"centre": "Mainz"}]),
        ("published_radiomics", [{"subject": "002", "original_a": "7"}]),
    ):
        with (tmp_path / f"{name}.tsv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)
    result = CliRunner().invoke(app, ["nsclc", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "nobody is of centre lung1" in result.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split_test": "3"}, "split_test 3 is not 0, 1 or 2"),
        ({"mask_voxels": "-5"}, "mask_voxels -5 is no size"),
        ({"pixel_mm": "inf"}, "pixel_mm inf is no size"),
    ],
)
def test_a_part_or_a_size_that_cannot_be_is_told(change, message):
    with pytest.raises(CohortError, match=f"subjects.tsv: subject ACRIN-6698-1: {message}"):
        ispy2_sheets([ISPY2 | change])

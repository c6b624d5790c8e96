"""`medpipe evaluate` on files: pairs, failed cases, tables, page, repeatability."""

import base64
import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.evaluation_pairs import find_pairs
from cli.main import app
from pipeline.errors import CohortError, ReadError, SettingsError
from pipeline.io import read_json, read_table, write_table, write_volume
from pipeline.types import Volume
from tests.unit.evaluation.masks import box, grid

#: 4 x 6 x 10 voxels of 0.5 x 1.5 x 3 mm.
REFERENCE = box((10, 10, 5), (20, 16, 9)).astype(np.uint8)
SHIFTS = {"001": 0, "002": 1, "003": 4}


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--quiet"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("masks")
    scan = np.random.default_rng(1).normal(100, 10, REFERENCE.shape).astype(np.float32)
    for name, shift in SHIFTS.items():
        write_volume(root / f"ref/{name}.nii.gz", Volume(REFERENCE, grid()))
        write_volume(root / f"pred/{name}.nrrd", Volume(np.roll(REFERENCE, shift, 0), grid()))
        write_volume(root / f"scan/{name}.nii.gz", Volume(scan, grid()))
    return root


@pytest.fixture(scope="module")
def evaluated(folders):
    out = folders / "out"
    done = run(folders / "ref", folders / "pred", "--image", folders / "scan", "--labels",
               "lesion=1", "--out", out, "--pictures", 2, "--draws", 200)  # fmt: skip
    assert done.exit_code == 0, done.output
    return out


def test_a_row_per_case_with_hand_worked_values(evaluated):
    cases = read_table(evaluated / "cases.tsv")
    assert cases["subject"].tolist() == list(SHIFTS)  # ids stay text
    assert cases["structure"].tolist() == ["lesion"] * 3
    assert cases["dice_3d"].tolist() == pytest.approx([1.0, 0.9, 0.6])
    assert cases["reference_ml"].tolist() == pytest.approx([240 * 2.25 / 1000] * 3)
    assert cases["hausdorff_mm"].tolist() == pytest.approx([0.0, 0.5, 2.0])
    assert cases["tp_slices"].tolist() == [4, 4, 4]
    summary = read_table(evaluated / "summary.tsv").set_index(["measure", "over"])
    assert summary.loc[("dice_3d", "cases"), "median"] == pytest.approx(0.9)
    assert len(read_table(evaluated / "slices.tsv")) == 12
    assert read_table(evaluated / "volumes.tsv")["bias_ml"].tolist() == [0.0]


def test_sidecars_name_all_inputs(evaluated):
    record = read_json(evaluated / "cases.tsv.prov.json")
    assert len(record["inputs"]) == 9
    assert record["settings"]["labels"] == {"lesion": "1"}
    assert record["measured"] == {"cases": 3, "failed": 0}


def test_the_page_shows_the_worst_case_first_with_both_outlines(evaluated):
    html = (evaluated / "report.html").read_text("utf-8")
    captions = re.findall(r"<figcaption>(\d{3}), lesion: Dice ([\d.]+)", html)
    assert captions == [("003", "0.600"), ("002", "0.900")]
    png = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)
    assert len(png) == 2
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png[0]))).convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert ((red > 200) & (green > 160) & (blue < 90)).sum() > 50  # the reference, yellow
    assert ((blue > 180) & (red < 170) & (green > 150)).sum() > 50  # the prediction, blue


def test_cores_and_row_order_do_not_change_a_byte(folders, evaluated, tmp_path):
    rows = [
        {"subject": n, "reference": f"ref/{n}.nii.gz", "prediction": f"pred/{n}.nrrd",
         "image": f"scan/{n}.nii.gz"}
        for n in reversed(SHIFTS)
    ]  # fmt: skip
    write_table(folders / "pairs.tsv", pd.DataFrame(rows))
    done = run("--sheet", folders / "pairs.tsv", "--labels", "lesion=1", "--out", tmp_path,
               "--pictures", 2, "--draws", 200, "--threads", 2)  # fmt: skip
    assert done.exit_code == 0, done.output
    for name in ("cases.tsv", "slices.tsv", "summary.tsv", "volumes.tsv", "report.html"):
        assert (tmp_path / name).read_bytes() == (evaluated / name).read_bytes(), name


def test_failed_cases_keep_their_row_and_the_exit_code_tells(folders, tmp_path):
    shutil.copytree(folders / "ref", tmp_path / "ref")
    shutil.copytree(folders / "pred", tmp_path / "pred")
    (tmp_path / "pred/001.nrrd").unlink()
    moved = replace(grid(), origin_mm=(-11.0, 5.0, 40.0))
    write_volume(tmp_path / "pred/002.nrrd", Volume(REFERENCE, moved))
    shutil.copy(folders / "ref/001.nii.gz", tmp_path / "ref/004.nii.gz")
    (tmp_path / "pred/004.nii.gz").write_bytes((tmp_path / "ref/004.nii.gz").read_bytes()[:80])
    done = run(tmp_path / "ref", tmp_path / "pred", "--out", tmp_path / "out", "--pictures", 0)
    assert done.exit_code == 3
    assert "3 of 4 cases were not evaluated" in done.output
    cases = read_table(tmp_path / "out/cases.tsv").set_index("subject")
    assert cases["status"].to_dict() == {
        "001": "failed", "002": "failed", "003": "ok", "004": "failed",
    }  # fmt: skip
    assert "no prediction of this name" in cases.loc["001", "note"]
    assert "lie up to 1 mm apart" in cases.loc["002", "note"]
    assert "004.nii.gz" in cases.loc["004", "note"]
    assert cases["dice_3d"].notna().to_dict()["003"]
    assert cases["dice_3d"].isna().sum() == 3
    html = (tmp_path / "out/report.html").read_text("utf-8")
    assert "Not evaluated: 002: corners of" in html


def test_a_cohort_of_failures_still_has_its_tables_and_page(folders, tmp_path):
    moved = replace(grid(), origin_mm=(0.0, 5.0, 40.0))
    write_volume(tmp_path / "p.nii.gz", Volume(REFERENCE, moved))
    done = run(folders / "ref/001.nii.gz", tmp_path / "p.nii.gz")
    assert done.exit_code == 3
    out = tmp_path / "p_evaluation"
    assert read_table(out / "cases.tsv")["status"].tolist() == ["failed"]
    assert "0</dd>" in (out / "report.html").read_text("utf-8")


def test_two_files_without_a_scan_and_with_an_empty_prediction(folders, tmp_path):
    labels = np.where(REFERENCE > 0, 2, 0).astype(np.uint8)
    labels[0, 0, 0] = 7
    write_volume(tmp_path / "p.nii.gz", Volume(labels, grid()))
    done = run(folders / "ref/001.nii.gz", tmp_path / "p.nii.gz", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    (row,) = read_table(tmp_path / "out/cases.tsv").to_dict("records")
    assert (row["subject"], row["label"], row["dice_3d"]) == ("001", "1", 0)
    assert row["note"].startswith("not predicted")
    html = (tmp_path / "out/report.html").read_text("utf-8")
    assert "1 (label 1) is in no prediction." in html
    assert "Labels that were not measured: 2, 7." in html
    assert "No scan was given." in html


def test_a_scan_on_another_grid_is_shown_through_the_world(folders, tmp_path):
    coarse = replace(grid((20, 18, 24), (1.0, 3.0, 3.0)), origin_mm=(-12.0, 5.0, 40.0))
    write_volume(tmp_path / "scan.nii.gz", Volume(np.full((20, 18, 24), 7, np.float32), coarse))
    done = run(folders / "ref/002.nii.gz", folders / "pred/002.nrrd", "--image",
               tmp_path / "scan.nii.gz", "--out", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.output


def test_the_references_must_hold_something(folders, tmp_path):
    write_volume(tmp_path / "empty.nii.gz", Volume(np.zeros_like(REFERENCE), grid()))
    done = run(tmp_path / "empty.nii.gz", folders / "pred/001.nrrd")
    assert "no reference holds a voxel above 0" in str(done.exception)


def test_a_sheet_tells_all_its_problems_at_once(folders, tmp_path):
    good = folders / "ref/001.nii.gz"
    write_table(
        tmp_path / "pairs.tsv",
        pd.DataFrame(
            {
                "subject": ["1", "1", "../x", "4"],
                "reference": [str(good)] * 4,
                "prediction": [str(folders / "pred/001.nrrd")] * 2 + ["none.nii.gz", str(good)],
            }
        ),
    )
    with pytest.raises(CohortError) as caught:
        find_pairs(None, None, tmp_path / "pairs.tsv", None)
    text = str(caught.value)
    for part in ("stands already in row 2", "cannot name a folder", "'none.nii.gz' does not exist",
                 "are the same file"):  # fmt: skip
        assert part in text


def test_paths_that_make_no_pair_are_refused(folders, tmp_path):
    reference = folders / "ref/001.nii.gz"
    with pytest.raises(SettingsError, match="give a reference and a prediction"):
        find_pairs(reference, None, None, None)
    with pytest.raises(SettingsError, match="--sheet names all files"):
        find_pairs(reference, reference, folders / "pairs.tsv", None)
    with pytest.raises(SettingsError, match="one is a folder and one a file"):
        find_pairs(folders / "ref", reference, None, None)
    with pytest.raises(SettingsError, match="give a folder"):
        find_pairs(folders / "ref", folders / "pred", None, reference)
    with pytest.raises(ReadError, match="no such file or folder"):
        find_pairs(reference, tmp_path / "none.nii.gz", None, None)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ReadError, match="no image in this folder"):
        find_pairs(tmp_path / "bare", folders / "pred", None, None)

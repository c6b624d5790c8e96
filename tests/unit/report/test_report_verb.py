"""`medpipe report` on files: reads the layout of a study, writes pages that repeat."""

import base64

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.report import app
from pipeline.errors import ReadError, SettingsError
from pipeline.io import (
    write_affine,
    write_field,
    write_json,
    write_series,
    write_table,
    write_volume,
)

#: Stands for the picture of the engine's steps; the page embeds it as it is.
CURVES = b"picture of the steps"


def write_visit(folder, visit):
    base = folder / f"ses-{visit.session}"
    write_series(base / "preprocess/dce.nii.gz", visit.series)
    write_volume(base / "segment/dce.nii.gz", visit.mask)
    sidecar = {"block": "segment", "measured": visit.segmentation, "written_at": "now"}
    write_json(base / "segment/dce.nii.gz.prov.json", sidecar)
    write_volume(base / "dce/subtraction.nii.gz", visit.subtraction)
    write_json(base / "dce/phase.json", visit.phase)


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory, subject_results, study_results):
    root = tmp_path_factory.mktemp("work") / "results" / "nact"
    subject = root / "sub-001"
    for visit in (subject_results.baseline, subject_results.followup):
        write_visit(subject, visit)
    register = subject / "ses-followup/register"
    registration = subject_results.registration
    write_volume(register / "warped.nii.gz", registration.warped)
    write_volume(register / "jacobian.nii.gz", registration.jacobian)
    write_field(register / "displacement.nii.gz", registration.displacement)
    write_json(register / "metrics.json", registration.metrics)
    write_affine(register / "affine.tfm", np.eye(4))
    (register / "convergence.png").write_bytes(CURVES)
    tables = {
        "cohort/included.tsv": study_results.included,
        "cohort/exclusions.tsv": study_results.exclusions,
        "cohort/failures.tsv": study_results.failures,
        "cohort/features.tsv": study_results.features,
        "cohort/truth.tsv": study_results.truth,
        "cohort/xgboost_auc.tsv": study_results.xgboost_auc,
        "../nact_auc.tsv": study_results.auc,
        "../../demo/subjects.tsv": study_results.subjects,
    }
    for model, found in study_results.models.items():
        tables[f"model/{model}/predictions.tsv"] = found.predictions
        tables[f"model/{model}/selection.tsv"] = found.selection
    for name, frame in tables.items():
        write_table((root / name).resolve(), frame)
    write_json(root / "settings.json", study_results.settings)
    write_json(root.parents[1] / "demo/dataset.json", {"simulated": True})
    return root


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_subject_page(study_folder):
    sheet = study_folder.parents[1] / "demo/subjects.tsv"
    call = ("subject", "--subject", "001", "--study-dir", study_folder, "--subjects", sheet)
    done = run(*call)
    assert done.exit_code == 0
    page = study_folder / "sub-001/report.html"
    html = page.read_text("utf-8")
    assert done.stdout.strip() == str(page)
    assert "SIMULATED IMAGES" in html
    assert "Pathological response: responder." in html
    assert "Missing" not in html
    assert base64.b64encode(CURVES).decode() in html
    assert page.with_name("report.html.prov.json").is_file()
    before = page.read_bytes()
    run(*call)
    assert page.read_bytes() == before


def test_study_page(study_folder):
    sheet = study_folder.parents[1] / "demo/subjects.tsv"
    flow = study_folder / "cohort/flow.svg"
    done = run("study", "--study-dir", study_folder, "--auc", study_folder.parent / "nact_auc.tsv",
               "--subjects", sheet, "--out", study_folder / "report.html",
               "--out-flow", flow)  # fmt: skip
    assert done.exit_code == 0
    html = (study_folder / "report.html").read_text("utf-8")
    assert "SIMULATED IMAGES" in html
    assert "Response to neoadjuvant chemotherapy" in html  # the packaged card
    assert "Analysed: n = 36" in flow.read_text("utf-8")


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(ReadError, match="run the study for subject 009 first"):
        run("subject", "--subject", "009", "--study-dir", tmp_path)
    with pytest.raises(ReadError, match="run the study first"):
        run("study", "--study-dir", tmp_path / "none", "--subjects", tmp_path / "s.tsv")


def test_two_sessions_are_needed(tmp_path):
    with pytest.raises(SettingsError, match="two names are needed"):
        run("subject", "--subject", "1", "--study-dir", tmp_path, "--sessions", "baseline")


def test_help_shows_an_example():
    for verb in ("subject", "study"):
        assert "Example: medpipe report" in " ".join(run(verb, "--help").stdout.split())

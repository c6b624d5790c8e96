"""The page of one subject, whole and with pieces missing."""

import base64
import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.report import subject_pictures
from pipeline.report.page import Link, render_page
from pipeline.report.results import RegistrationResults, VisitResults, measure
from pipeline.report.subject import subject_page
from pipeline.types import Volume


def images(html):
    return re.findall(r'<img src="data:([a-z/+]+);base64,([^"]+)"', html)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the drawing where only the words count."""
    monkeypatch.setattr(subject_pictures, "sheet_png", lambda sheet: b"png")


@pytest.fixture(scope="module")
def html(subject_results):
    return render_page(subject_page(subject_results, back=Link("Study", "../report.html")))


def test_whole_page(html):
    assert len(html) < 1_000_000
    assert [kind for kind, _ in images(html)] == ["image/png"] * 5 + ["image/svg+xml"] * 2
    for words in ("SIMULATED IMAGES", "Both visits", "Registration", "mean Jacobian",
                  "Inverse consistency error", "follow-up", "Split: test."
                  , "All that was measured", 'href="../report.html"'):  # fmt: skip
        assert words in html
    assert "Take note" not in html
    assert "2001-02-03" not in html  # no time stamp
    assert "threads" not in html  # and nothing that differs between equal runs


def test_measured_numbers(subject_results):
    numbers = measure(subject_results)
    mask = subject_results.baseline.mask
    assert numbers.volume_ml[0] == pytest.approx(mask.data.sum() * 7.5 / 1000)
    assert numbers.volume_ml[0] == pytest.approx(4 / 3 * np.pi * 1.4**3, rel=0.03)
    assert numbers.mean == pytest.approx(0.512, abs=1e-6)
    assert numbers.volume_ratio == pytest.approx(0.512, rel=0.05)


def test_repeats_byte_for_byte(builders, html):
    page = subject_page(builders["subject"](), back=Link("Study", "../report.html"))
    assert render_page(page) == html


def test_storage_order_does_not_change_the_pictures(builders, html):
    # the same patient, stored with i to the right and j to anterior
    other = builders["subject"](builders["grid"](np.diag([-1.0, -1.0, 1.0])))
    one, two = images(html), images(render_page(subject_page(other)))
    assert base64.b64decode(one[0][1])[:4] == b"\x89PNG"
    assert [data for _, data in one[:3]] == [data for _, data in two[:3]]


def test_convergence_is_shown_where_the_engine_tells(subject_results, undrawn):
    registration = replace(subject_results.registration, convergence=b"curves")
    page = subject_page(replace(subject_results, registration=registration))
    section = next(s for s in page.sections if s.title == "Registration")
    assert [p.content for p in section.pictures] == [b"png", b"png", b"curves"]


def test_complete_response_is_said(subject_results, undrawn):
    followup = subject_results.followup
    empty = Volume(np.zeros_like(followup.mask.data), followup.mask.grid)
    page = subject_page(replace(subject_results, followup=replace(followup, mask=empty)))
    html = render_page(page)
    assert "The mask of the follow-up scan is empty" in html
    assert len(images(html)) == 7


def test_empty_baseline_mask_still_makes_a_page(subject_results):
    baseline = subject_results.baseline
    empty = Volume(np.zeros_like(baseline.mask.data), baseline.mask.grid)
    html = render_page(
        subject_page(replace(subject_results, baseline=replace(baseline, mask=empty)))
    )
    assert "The mask of the baseline scan is empty" in html


@pytest.mark.parametrize(
    ("missing", "words"),
    [("warped", "Missing: warped follow-up."), ("jacobian", "Missing: Jacobian map."),
     ("displacement", "Both visits")],
)  # fmt: skip
def test_missing_registration_files_are_named(subject_results, missing, words):
    registration = replace(subject_results.registration, **{missing: None})
    html = render_page(subject_page(replace(subject_results, registration=registration)))
    assert words in html


@pytest.mark.parametrize(
    ("session", "missing"),
    [("baseline", "series"), ("followup", "series"), ("baseline", "mask"), ("followup", "mask"),
     ("followup", "subtraction")],
)  # fmt: skip
def test_missing_images_are_named(subject_results, session, missing):
    visit = replace(getattr(subject_results, session), **{missing: None})
    page = subject_page(replace(subject_results, **{session: visit}))
    assert any("Missing" in note for note in page.sections[0].notes)
    render_page(page)


def test_nothing_but_an_id(subject_results):
    bare = replace(
        subject_results,
        baseline=VisitResults("baseline"),
        followup=VisitResults("followup"),
        registration=RegistrationResults(),
    )
    page = subject_page(bare)
    assert len(page.sections[0].notes) == 8
    render_page(page)


def test_hostile_id_is_harmless(builders, undrawn):
    results = builders["subject"](subject="<img src=x onerror=alert(1)>")
    html = render_page(subject_page(results))
    assert "<img src=x" not in html


def test_folding_and_disagreement_are_said(subject_results, undrawn):
    data = subject_results.registration.jacobian.data.copy()
    inside = subject_results.baseline.mask.data > 0
    data[inside] = 1.4
    data[tuple(np.argwhere(inside)[0])] = -0.1
    jacobian = Volume(data, subject_results.registration.jacobian.grid)
    registration = replace(subject_results.registration, jacobian=jacobian)
    notes = subject_page(replace(subject_results, registration=registration)).sections[0].notes
    assert any("folds at 1 voxels" in note for note in notes)
    assert any("differ by more than 25%" in note for note in notes)


def test_what_the_segmentation_says_is_shown(subject_results, undrawn):
    said = {"touches_box": True, "reason": "the seed lay beside the lesion",
            "steps": [{"step": "opened", "voxels": 1234, "volume_mm3": 9255.0}]}  # fmt: skip
    baseline = replace(subject_results.baseline, segmentation=said)
    page = subject_page(replace(subject_results, baseline=baseline))
    assert page.sections[0].notes == [
        "The mask of the baseline scan ends at the box round its seed.",
        "Baseline: the seed lay beside the lesion",
    ]
    tables = next(s for s in page.sections if s.title == "Numbers").tables
    assert ("baseline", "opened", "1,234", "9,255") in tables[1].rows


def test_warnings_of_the_blocks_are_passed_on(subject_results, undrawn):
    registration = replace(subject_results.registration, metrics={"warnings": ["clipped 3 %"]})
    notes = subject_page(replace(subject_results, registration=registration)).sections[0].notes
    assert notes == ["Registration: clipped 3 %"]


def test_post_contrast_phase_is_the_one_nearest_to_the_peak(subject_results):
    assert subject_results.baseline.post_contrast() == 2
    assert subject_results.baseline.post_contrast(time_s=-10.0) == 1  # never S0

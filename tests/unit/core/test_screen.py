"""Who enters the study: a defect excludes its subject with a reason, never the cohort."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ReadError
from pipeline.screen import screen_cohort
from pipeline.sheets import Cohort, ImageRow, SubjectRow
from pipeline.types import Geometry, Volume

GRID = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
SHIFTED = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.5, 0.0, 0.0), np.eye(3))


def row(subject, session, image, *, mask=None, time_s=0.0):
    return ImageRow(
        2, subject, session, "dce", Path(image), mask and Path(mask), None, time_s, None
    )


def cohort(*rows):
    ids = sorted({r.subject for r in rows})
    subjects = tuple(SubjectRow(n, s, "test", "x", {}) for n, s in enumerate(ids, start=2))
    return Cohort(subjects, tuple(rows))


def read_image(path):
    if path.name == "broken":
        raise ReadError("broken: truncated")
    return Volume(np.ones((4, 4, 4)), SHIFTED if path.name == "shifted" else GRID)


def read_mask(path, grid):
    data = np.zeros((4, 4, 4)) if path.name == "empty" else np.ones((4, 4, 4))
    return Volume(data, SHIFTED if path.name == "off" else grid)


def screen(*rows, excluded=None, threads=1):
    return screen_cohort(
        cohort(*rows), sessions=("baseline", "followup"), contrast="dce",
        excluded=excluded or {}, read_image=read_image, read_mask=read_mask, threads=threads,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "reason_class", "word"),
    [
        ([row("a", "baseline", "x")], "missing session", "followup"),
        (
            [row("a", "baseline", "x"), row("a", "followup", "broken")],
            "unreadable file", "truncated",
        ),
        (
            [row("a", "baseline", "x"), row("a", "followup", "x"),
             row("a", "followup", "shifted", time_s=90.0)],
            "bad geometry", "0.5 mm",
        ),
        (
            [row("a", "baseline", "x", mask="off"), row("a", "followup", "x")],
            "bad geometry", "0.5 mm",
        ),
        (
            [row("a", "baseline", "x", mask="empty"), row("a", "followup", "x")],
            "empty mask", "no voxel",
        ),
    ],
)  # fmt: skip
def test_each_defect_has_its_class_and_a_sentence(rows, reason_class, word):
    sound = [row("b", "baseline", "x"), row("b", "followup", "x")]
    included, exclusions = screen(*rows, *sound)
    assert included == ["b"]
    assert [(e.subject, e.reason_class) for e in exclusions] == [("a", reason_class)]
    assert word in exclusions[0].reason


def test_the_user_may_exclude_and_threads_change_nothing():
    rows = [row(s, v, "x") for s in "abcdef" for v in ("baseline", "followup")]
    one = screen(*rows, excluded={"c": "consent withdrawn"})
    assert one == screen(*rows, excluded={"c": "consent withdrawn"}, threads=4)
    assert one[0] == ["a", "b", "d", "e", "f"]
    assert one[1][0].reason == "consent withdrawn"


def test_the_table_names_files_as_the_sheet_does_wherever_the_folder_stands(tmp_path):
    from typer.testing import CliRunner

    from cli.main import app

    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/a.nii.gz").write_bytes(b"no gzip")
    (tmp_path / "images.tsv").write_text(
        "subject\tsession\tcontrast\timage\tmask\na\tbaseline\tdce\tscans/a.nii.gz\t\n",
        encoding="utf-8",
    )
    (tmp_path / "subjects.tsv").write_text("subject\tsplit\tcentre\na\ttest\tx\n", encoding="utf-8")
    done = CliRunner().invoke(
        app,
        ["screen", "--images", str(tmp_path / "images.tsv"), "--subjects",
         str(tmp_path / "subjects.tsv"), "--out", str(tmp_path / "out"), "--sessions", "baseline"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    table = (tmp_path / "out/exclusions.tsv").read_text("utf-8")
    assert "scans/a.nii.gz" in table
    assert str(tmp_path) not in table


def test_a_subject_without_any_image_is_no_missing_session():
    rows = [row("a", "baseline", "x"), row("a", "followup", "x"), row("b", "baseline", "x")]
    sheet = cohort(*rows)
    subjects = (*sheet.subjects, SubjectRow(9, "c", "test", "x", {}))
    included, exclusions = screen_cohort(
        Cohort(subjects, sheet.images), sessions=("baseline", "followup"), contrast="dce",
        excluded={}, read_image=read_image, read_mask=lambda path, grid: read_image(path),
    )  # fmt: skip
    assert included == ["a"]
    assert [(e.subject, e.reason_class) for e in exclusions] == [
        ("b", "missing session"), ("c", "no images"),
    ]  # fmt: skip
    assert exclusions[1].reason == "the sheet has no dce image of this subject"


def test_a_study_of_drawn_masks_leaves_out_who_has_none():
    rows = [row("a", "baseline", "x", mask="full"), row("b", "baseline", "x")]
    options = {
        "sessions": ("baseline",), "contrast": "dce", "excluded": {}, "read_image": read_image,
        "read_mask": lambda path, grid: read_image(path),
    }  # fmt: skip
    assert screen_cohort(cohort(*rows), **options)[0] == ["a", "b"]
    included, exclusions = screen_cohort(cohort(*rows), drawn_masks=True, **options)
    assert included == ["a"]
    assert [(e.subject, e.reason_class) for e in exclusions] == [("b", "no mask")]
    assert "no mask of session baseline" in exclusions[0].reason

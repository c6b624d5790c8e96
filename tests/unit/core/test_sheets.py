"""The sheets: every mistake at once, each with file, row and remedy; ids stay text."""

from pathlib import Path

import pytest

from pipeline.errors import CohortError
from pipeline.sheets import read_cohort

IMAGES = "subject\tsession\tcontrast\timage\tmask\ttime_s\tseed_x_mm\tseed_y_mm\tseed_z_mm"
SUBJECTS = "subject\tsplit\tcentre\tresponse"


def sheets(folder: Path, images: list[str], subjects: list[str]) -> tuple[Path, Path]:
    for name in ("a.nii.gz", "b.nii.gz", "m.nii.gz"):
        (folder / name).touch()
    one, two = folder / "images.tsv", folder / "subjects.tsv"
    one.write_text("\n".join([IMAGES, *images]) + "\n", encoding="utf-8")
    two.write_text("\n".join([SUBJECTS, *subjects]) + "\n", encoding="utf-8")
    return one, two


def read(paths: tuple[Path, Path]):
    return read_cohort(
        *paths, sessions=("baseline", "followup"), contrast="dce", outcome="response"
    )


def test_a_good_sheet_keeps_ids_as_text_and_sorts_phases_by_time(tmp_path):
    cohort = read(
        sheets(
            tmp_path,
            [
                "007\tbaseline\tdce\tb.nii.gz\t\t90\t1\t-2\t3.5",
                "007\tbaseline\tdce\ta.nii.gz\tm.nii.gz\t0\t1\t-2\t3.5",
            ],
            ["007\tdevelopment\tsiemens\t1"],
        )
    )
    rows = cohort.rows("007", "baseline", "dce")
    assert [row.image.name for row in rows] == ["a.nii.gz", "b.nii.gz"]
    assert rows[0].seed_mm == (1.0, -2.0, 3.5)
    assert rows[0].mask == tmp_path / "m.nii.gz"
    assert rows[1].mask is None
    assert cohort.subjects[0].values == {"response": "1"}


def test_the_order_of_rows_changes_nothing(tmp_path):
    images = [f"{s}\tbaseline\tdce\ta.nii.gz\t\t0\t\t\t" for s in ("b1", "a1", "c1")]
    subjects = [f"{s}\ttest\tx\t0" for s in ("c1", "b1", "a1")]
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = read(sheets(tmp_path / "one", images, subjects))
    second = read(sheets(tmp_path / "two", images[::-1], subjects[::-1]))
    assert [r.subject for r in first.subjects] == [r.subject for r in second.subjects]
    assert [r.subject for r in first.images] == [r.subject for r in second.images]


TEN_MISTAKES_IMAGES = [
    "../x\tbaseline\tdce\ta.nii.gz\t\t0\t\t\t",  # row 2: id leaves the folder
    "p1\tbaselin\tdce\ta.nii.gz\t\t0\t\t\t",  # row 3: unknown session
    "p1\tbaseline\tdce\tgone.nii.gz\t\t0\t\t\t",  # row 4: no such file
    "p1\tbaseline\tdce\ta.nii.gz\t\tninety\t\t\t",  # row 5: not a number
    "p1\tbaseline\tdce\ta.nii.gz\t\t0\t1\t2\t",  # row 6: half a seed
    "p1\tfollowup\tdce\ta.nii.gz\t\t0\t\t\t",  # row 7
    "p1\tfollowup\tdce\tb.nii.gz\t\t0\t\t\t",  # row 8: same time as row 7
    "p9\tbaseline\tdce\ta.nii.gz\t\t0\t\t\t",  # row 9: not in subjects.tsv
    "p2\tbaseline\tdce\ta.nii.gz\t0",  # row 10: ragged
]
TEN_MISTAKES_SUBJECTS = [
    "p1\tdevelopment\tsiemens\t1",
    "P1\tdevelopment\tsiemens\t1",  # row 3: capital twin
    "p2\ttraining\tsiemens\t0",  # row 4: unknown split
    "p3\ttest\tsiemens\tyes",  # row 5: outcome
    "p4\ttest\t\t0",  # row 6: no centre
]


def test_ten_kinds_of_mistakes_are_told_at_once_with_file_row_and_remedy(tmp_path):
    paths = sheets(tmp_path, TEN_MISTAKES_IMAGES, TEN_MISTAKES_SUBJECTS)
    with pytest.raises(CohortError) as caught:
        read(paths)
    problems = caught.value.problems
    expected = [
        ("images.tsv:2:", "cannot name a folder", "use 1 to 64"),
        ("images.tsv:3:", "'baselin'", "correct it"),
        ("images.tsv:4:", "'gone.nii.gz' does not exist", "correct the path"),
        ("images.tsv:5:", "'ninety' is not a finite number", "correct it"),
        ("images.tsv:6:", "seed_z_mm is empty", "fill it"),
        ("images.tsv:8:", "stands already in row 7", "remove one row"),
        ("images.tsv:9:", "'p9' has no row in subjects.tsv", "add the row"),
        ("images.tsv:10:", "5 cells under 9 columns", "missing or an extra tab"),
        ("subjects.tsv:3:", "stands already in row 2", "rename one"),
        ("subjects.tsv:4:", "'training' is neither", "correct it"),
        ("subjects.tsv:5:", "'yes' is not 0 or 1", "correct it"),
        ("subjects.tsv:6:", "centre is empty", "name the hospital"),
    ]
    for place, what, remedy in expected:
        matching = [p for p in problems if place in p and what in p and remedy in p]
        assert len(matching) == 1, (place, what, problems)


@pytest.mark.parametrize(
    ("subject", "good"),
    [
        ("007", True), ("nan", True), ("NA", True), ("UCSF-BR-06", True), ("STS_001", True),
        ("../../x", False), ("a/b", False), ("-rf", False), ("x" * 300, False), ("é", False),
        ("=cmd()", False), ("a b", False), ("a\x00b", False), ("", False), ("$(id)", False),
    ],
)  # fmt: skip
def test_odd_ids_are_refused_or_kept_exactly(tmp_path, subject, good):
    paths = sheets(
        tmp_path, [f"{subject}\tbaseline\tdce\ta.nii.gz\t\t0\t\t\t"], [f"{subject}\ttest\tx\t1"]
    )
    if good:
        assert read(paths).subjects[0].subject == subject
    else:
        with pytest.raises(CohortError):
            read(paths)


def test_a_missing_column_a_comma_sheet_and_a_missing_sheet_are_told(tmp_path):
    paths = sheets(tmp_path, [], [])
    paths[0].write_text("subject,session,contrast,image,mask\n", encoding="utf-8")
    paths[1].write_text("subject\tsplit\tcentre\n", encoding="utf-8")
    with pytest.raises(CohortError, match="separated by commas") as caught:
        read(paths)
    assert any("no column 'response'" in p for p in caught.value.problems)
    with pytest.raises(CohortError, match="no such file"):
        read((tmp_path / "none.tsv", paths[1]))


def test_text_that_is_not_utf8_is_told(tmp_path):
    paths = sheets(tmp_path, [], ["p1\ttest\tx\t1"])
    paths[0].write_bytes(b"subject\xff\n")
    with pytest.raises(CohortError, match="not UTF-8"):
        read(paths)


def test_times_and_events_of_a_study_of_tables_are_checked_row_by_row(tmp_path):
    sheet = tmp_path / "subjects.tsv"
    rows = ["a\ttest\tx\t12.5\t1", "b\ttest\tx\t-3\t1", "c\ttest\tx\tlong\t0", "d\ttest\tx\t4\t2"]
    sheet.write_text(
        "\n".join(["subject\tsplit\tcentre\ttime_months\tevent", *rows]) + "\n", encoding="utf-8"
    )
    with pytest.raises(CohortError) as caught:
        read_cohort(
            None, sheet, sessions=(), contrast="ct", outcome=None,
            survival=("time_months", "event"),
        )  # fmt: skip
    told = caught.value.problems
    assert [p.split("subjects.tsv:")[1][0] for p in told] == ["3", "4", "5"]
    assert "'-3' is no time above 0" in told[0]
    assert "event '2' is not 0 or 1" in told[2]

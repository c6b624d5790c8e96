"""The two sheets of a study, checked whole before anything is computed. Imports nothing heavy.

`images.tsv` has a row per image, `subjects.tsv` a row per subject. Ids stay text. Every problem
is found in one pass and told with file, row and remedy.
"""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CohortError

IMAGE_COLUMNS = ("subject", "session", "contrast", "image", "mask")
SEED_COLUMNS = ("seed_x_mm", "seed_y_mm", "seed_z_mm")
SUBJECT_COLUMNS = ("subject", "split", "centre")
SPLITS = ("development", "test")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class ImageRow:
    """One image of one session.

    Attributes
    ----------
    row : int
        Line in the sheet, the header being line 1.
    image, mask, within : Path
        Resolved against the sheet's folder. `mask` (the lesion, drawn elsewhere) and `within`
        (the organ in which the lesion is sought) may be None.
    time_s : float or None
        Seconds after injection.
    seed_mm : (3,) floats or None
        A point inside the lesion, LPS.
    """

    row: int
    subject: str
    session: str
    contrast: str
    image: Path
    mask: Path | None
    within: Path | None
    time_s: float | None
    seed_mm: tuple[float, float, float] | None


@dataclass(frozen=True)
class SubjectRow:
    """One subject: id, split, centre, and the study's own columns as text."""

    row: int
    subject: str
    split: str
    centre: str
    values: dict[str, str]


@dataclass(frozen=True)
class Cohort:
    """Both sheets, sorted by id so that the order of their rows changes nothing."""

    subjects: tuple[SubjectRow, ...]
    images: tuple[ImageRow, ...]

    def rows(self, subject: str, session: str, contrast: str) -> tuple[ImageRow, ...]:
        """Return the images of one session in the order of acquisition."""
        return tuple(
            r
            for r in self.images
            if (r.subject, r.session, r.contrast) == (subject, session, contrast)
        )


def read_cohort(
    images: Path | None,
    subjects: Path,
    *,
    sessions: Sequence[str],
    contrast: str,
    outcome: str | None,
    survival: tuple[str, str] | None = None,
) -> Cohort:
    """Read and check both sheets.

    Parameters
    ----------
    images, subjects : Path
        The sheets; a study of tables has no images.
    sessions : sequence of str
        The sessions that the study knows.
    contrast : str
        The contrast that the study uses; others may stand in the sheet.
    outcome : str or None
        Column of `subjects.tsv` that must be 0 or 1.
    survival : (str, str) or None
        Columns of `subjects.tsv` with the time (above 0) and the event (0 or 1).

    Raises
    ------
    CohortError
        One line per problem, all at once: file, row, what is wrong, what to do.
    """
    problems: list[str] = []
    subject_rows = _read_subjects(subjects, outcome, survival, problems)
    image_rows = _read_images(images, sessions, problems) if images else []
    known = {row.subject for row in subject_rows}
    if known:
        for row in image_rows:
            if row.subject not in known:
                problems.append(
                    f"{images}:{row.row}: subject {row.subject!r} has no row in {subjects.name};"
                    " add the row there or remove this one"
                )
    if image_rows and not any(row.contrast == contrast for row in image_rows):
        found = ", ".join(sorted({row.contrast for row in image_rows}))
        problems.append(
            f"{images}: no row with contrast {contrast!r}, only {found};"
            " correct the column or set `contrast` of the study"
        )
    if problems:
        raise CohortError(problems)
    return Cohort(
        tuple(sorted(subject_rows, key=lambda r: r.subject)),
        tuple(sorted(image_rows, key=_acquisition_order)),
    )


def _acquisition_order(row: ImageRow) -> tuple[str, str, str, float]:
    return row.subject, row.session, row.contrast, row.time_s if row.time_s is not None else 0.0


def _read_subjects(
    path: Path, outcome: str | None, survival: tuple[str, str] | None, problems: list[str]
) -> list[SubjectRow]:
    time, event = survival or (None, None)
    binary = [name for name in (outcome, event) if name]
    required = (*SUBJECT_COLUMNS, *binary, *((time,) if time else ()))
    rows: list[SubjectRow] = []
    seen: dict[str, int] = {}
    for line, cells in read_rows(path, required, problems):
        where = f"{path}:{line}"
        subject = checked_id(cells, "subject", where, problems)
        if subject is None:
            continue
        twin = seen.setdefault(subject.lower(), line)
        if twin != line:
            problems.append(
                f"{where}: subject {subject!r} stands already in row {twin} (capital letters do"
                " not tell subjects apart on every disk); keep one row or rename one"
            )
            continue
        if cells["split"] not in SPLITS:
            problems.append(
                f"{where}: split {cells['split']!r} is neither of {', '.join(SPLITS)}; correct it"
            )
        problems += [
            f"{where}: {name} {cells[name]!r} is not 0 or 1; correct it, or remove the"
            " subject if its outcome is unknown"
            for name in binary
            if cells[name] not in ("0", "1")
        ]
        if time and not _is_time(cells[time]):
            problems.append(
                f"{where}: {time} {cells[time]!r} is no time above 0; correct it, or remove the"
                " subject if its follow-up is unknown"
            )
        if not cells["centre"]:
            problems.append(f"{where}: centre is empty; name the hospital or scanner")
        others = {k: v for k, v in cells.items() if k not in SUBJECT_COLUMNS}
        rows.append(SubjectRow(line, subject, cells["split"], cells["centre"], others))
    return rows


def _is_time(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _read_images(path: Path, sessions: Sequence[str], problems: list[str]) -> list[ImageRow]:
    rows: list[ImageRow] = []
    for line, cells in read_rows(path, IMAGE_COLUMNS, problems):
        where = f"{path}:{line}"
        ids = [checked_id(cells, name, where, problems) for name in IMAGE_COLUMNS[:3]]
        if cells["session"] not in sessions and ids[1] is not None:
            problems.append(
                f"{where}: session {cells['session']!r} is none of {', '.join(sessions)};"
                " correct it or add it to `sessions` of the study"
            )
        image = checked_file(cells, "image", path, where, problems)
        mask, within = (
            checked_file(cells, name, path, where, problems) if cells.get(name) else None
            for name in ("mask", "within")
        )
        time_s = _checked_number(cells, "time_s", where, problems)
        seed_mm = _checked_seed(cells, where, problems)
        subject, session, contrast = ids
        if subject is None or session is None or contrast is None or image is None:
            continue
        rows.append(
            ImageRow(line, subject, session, contrast, image, mask, within, time_s, seed_mm)
        )
    _check_sessions(path, rows, problems)
    return rows


def _check_sessions(path: Path, rows: list[ImageRow], problems: list[str]) -> None:
    """Images that share subject, session and contrast must differ in time and share a seed."""
    groups: dict[tuple[str, str, str], list[ImageRow]] = defaultdict(list)
    for row in rows:
        groups[row.subject, row.session, row.contrast].append(row)
    for (subject, session, contrast), group in groups.items():
        name = f"subject {subject} session {session} contrast {contrast}"
        first_at: dict[float | None, int] = {}
        for row in group:
            earlier = first_at.setdefault(row.time_s, row.row)
            if earlier != row.row:
                when = "without time_s" if row.time_s is None else f"at {row.time_s:g} s"
                problems.append(
                    f"{path}:{row.row}: {name} {when} stands already in row {earlier};"
                    " remove one row or give each phase its own time_s"
                )
            elif row.time_s is None and len(group) > 1:
                problems.append(
                    f"{path}:{row.row}: {name} has {len(group)} images but no time_s here;"
                    " give the seconds after injection"
                )
        if len({row.seed_mm for row in group}) > 1:
            problems.append(
                f"{path}:{group[-1].row}: {name} has different seeds on its rows;"
                " repeat the same point"
            )


def read_rows(
    path: Path, required: Sequence[str], problems: list[str]
) -> list[tuple[int, dict[str, str]]]:
    """Return (line, cells) of each well-formed row; cells are stripped text.

    Parameters
    ----------
    path : Path
        Tab-separated UTF-8 with a header.
    required : sequence of str
        Columns that must be there.
    problems : list of str
        Gets a line for each problem found.
    """
    if not path.is_file():
        problems.append(f"{path}: no such file; make the sheet or correct its path in config.yaml")
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(
            f"{path}: not UTF-8 text (byte {error.start}); save it as tab-separated UTF-8"
        )
        return []
    lines = [row for row in csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)]
    if not lines:
        problems.append(f"{path}: empty; write a header with {', '.join(required)}")
        return []
    header = [name.strip() for name in lines[0]]
    if not _header_is_good(path, header, required, problems):
        return []
    rows = []
    for line, row in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            problems.append(
                f"{path}:{line}: {len(row)} cells under {len(header)} columns;"
                " look for a missing or an extra tab"
            )
            continue
        rows.append((line, dict(zip(header, (cell.strip() for cell in row), strict=True))))
    return rows


def _header_is_good(
    path: Path, header: list[str], required: Sequence[str], problems: list[str]
) -> bool:
    missing = [name for name in required if name not in header]
    if missing and len(header) == 1 and ("," in header[0] or ";" in header[0]):
        problems.append(f"{path}:1: separated by commas; save it as tab-separated text")
        return False
    for name in missing:
        problems.append(f"{path}:1: no column {name!r}; add it (columns are {', '.join(required)})")
    for name in sorted({n for n in header if header.count(n) > 1}):
        problems.append(f"{path}:1: column {name!r} stands twice; remove one")
    return not missing and len(set(header)) == len(header)


def checked_id(cells: dict[str, str], name: str, where: str, problems: list[str]) -> str | None:
    """Return the id in a cell, or None and a line more in `problems` if it cannot name a folder."""
    value = cells[name]
    if _ID.fullmatch(value):
        return value
    shown = value if len(value) <= 40 else value[:37] + "..."
    problems.append(
        f"{where}: {name} {shown!r} cannot name a folder; use 1 to 64 letters, digits,"
        " - or _, beginning with a letter or digit"
    )
    return None


def checked_file(
    cells: dict[str, str], name: str, sheet: Path, where: str, problems: list[str]
) -> Path | None:
    """Return the file that a cell names, relative to the sheet, or None and a line in `problems`.

    Parameters
    ----------
    cells : dict
        Of one row.
    name : str
        Column.
    sheet : Path
        The sheet; paths are relative to its folder.
    where : str
        File and row, to begin a problem with.
    problems : list of str
        Gets a line when the cell is empty or the file is not there.
    """
    value = cells[name]
    if not value:
        problems.append(f"{where}: {name} is empty; give its path relative to {sheet.name}")
        return None
    if "\x00" in value:
        problems.append(f"{where}: {name} holds a zero byte; correct the path")
        return None
    path = sheet.parent / value
    if not path.exists():
        problems.append(
            f"{where}: {name} {value!r} does not exist in {sheet.parent}; correct the path,"
            " or remove the row"
        )
        return None
    return path


def _checked_number(
    cells: dict[str, str], name: str, where: str, problems: list[str]
) -> float | None:
    value = cells.get(name, "")
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number
    problems.append(f"{where}: {name} {value!r} is not a finite number; correct it or leave empty")
    return None


def _checked_seed(
    cells: dict[str, str], where: str, problems: list[str]
) -> tuple[float, float, float] | None:
    given = [name for name in SEED_COLUMNS if cells.get(name)]
    if not given:
        return None
    if len(given) < len(SEED_COLUMNS):
        lacking = ", ".join(name for name in SEED_COLUMNS if name not in given)
        problems.append(f"{where}: a seed needs three coordinates, {lacking} is empty; fill it")
        return None
    values = [_checked_number(cells, name, where, problems) for name in SEED_COLUMNS]
    x, y, z = values
    if x is None or y is None or z is None:
        return None
    return x, y, z

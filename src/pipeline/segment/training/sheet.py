"""The sheet of images and masks to train on, checked whole. Imports nothing heavy."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import CohortError
from pipeline.sheets import checked_file, checked_id, read_rows

COLUMNS = ("subject", "image", "mask")
_FOLD = re.compile(r"\d{1,3}")


@dataclass(frozen=True)
class TrainingRow:
    """One image with its mask.

    Attributes
    ----------
    row : int
        Line in the sheet, the header being line 1.
    name : str
        The subject; from its second image on with "_2", "_3" behind it.
    subject : str
    group : str
        Subjects of one group share a fold (relatives, visits, sites). Default: the subject.
    fold : int or None
        The fold that the sheet gives, from 0; None throughout when it gives none.
    image, mask : Path
        Resolved against the sheet's folder.
    """

    row: int
    name: str
    subject: str
    group: str
    fold: int | None
    image: Path
    mask: Path


def read_training_sheet(path: Path) -> tuple[TrainingRow, ...]:
    """Read and check the sheet; its rows come sorted by subject and image.

    Parameters
    ----------
    path : Path
        Tab-separated: subject, image, mask, and as wanted fold and group.

    Raises
    ------
    CohortError
        One line per problem, all at once: file, row, column, what to do. A subject or a group
        in two folds is one of them.
    """
    problems: list[str] = []
    rows = [
        row
        for line, cells in read_rows(path, COLUMNS, problems)
        if (row := _read_row(path, line, cells, problems)) is not None
    ]
    problems += _twice(path, rows) + _folds(path, rows)
    if not rows and not problems:
        problems.append(f"{path}: no row; give a line for each image and its mask")
    if problems:
        raise CohortError(problems)
    return _named(sorted(rows, key=lambda r: (r.subject, str(r.image))))


def _read_row(
    path: Path, line: int, cells: dict[str, str], problems: list[str]
) -> TrainingRow | None:
    where = f"{path}:{line}"
    subject = checked_id(cells, "subject", where, problems)
    image, mask = (checked_file(cells, name, path, where, problems) for name in COLUMNS[1:])
    group = checked_id(cells, "group", where, problems) if cells.get("group") else subject
    fold = cells.get("fold", "")
    if fold and not _FOLD.fullmatch(fold):
        problems.append(f"{where}: fold {fold!r} is no whole number from 0 to 999; correct it")
        return None
    if subject is None or group is None or image is None or mask is None:
        return None
    return TrainingRow(line, subject, subject, group, int(fold) if fold else None, image, mask)


def _twice(path: Path, rows: list[TrainingRow]) -> list[str]:
    """Name an image that stands twice, and subjects that only capital letters tell apart."""
    problems = []
    first: dict[Path, int] = {}
    spelling: dict[str, str] = {}
    for row in rows:
        earlier = first.setdefault(row.image.resolve(), row.row)
        if earlier != row.row:
            problems.append(
                f"{path}:{row.row}: image {row.image.name} stands already in row {earlier};"
                " keep one of the rows"
            )
        if spelling.setdefault(row.subject.lower(), row.subject) != row.subject:
            problems.append(
                f"{path}:{row.row}: subject {row.subject!r} is also written"
                f" {spelling[row.subject.lower()]!r}; spell it in one way"
            )
    return problems


def _folds(path: Path, rows: list[TrainingRow]) -> list[str]:
    """Name folds on some rows only, a subject or group in two, and a single one."""
    given = [row for row in rows if row.fold is not None]
    if not given:
        return []
    problems = [
        f"{path}:{row.row}: fold is empty here and given on other rows; fill it, or empty the"
        " column to have the folds drawn"
        for row in rows
        if row.fold is None
    ]
    for what in ("subject", "group"):
        of: dict[str, TrainingRow] = {}
        for row in given:
            earlier = of.setdefault(getattr(row, what), row)
            if earlier.fold != row.fold:
                problems.append(
                    f"{path}:{row.row}: {what} {getattr(row, what)!r} is in fold {row.fold} here"
                    f" and in fold {earlier.fold} in row {earlier.row}; a {what} in two folds"
                    " leaks: give all its rows one fold"
                )
    if len({row.fold for row in given}) == 1 and not problems:
        problems.append(
            f"{path}: fold {given[0].fold} is the only one; give at least two, or empty the column"
        )
    return problems


def check_twins(path: Path, found: Iterable[tuple[TrainingRow, int | None, str]]) -> None:
    """Refuse the same voxels in two folds.

    Parameters
    ----------
    path : Path
        The sheet, for the message.
    found : iterable of (row, fold, digest)
        The digest is of the voxels of the row's image; equal digests are equal images.

    Raises
    ------
    CohortError
        One line for each pair of subjects with equal voxels in different folds.
    """
    same: dict[str, list[tuple[TrainingRow, int | None]]] = defaultdict(list)
    for row, fold, digest in found:
        same[digest].append((row, fold))
    problems = [
        f"{path}:{row.row}: the image of {row.name} (fold {fold}) has the same voxels as that of"
        f" {first.name} in row {first.row} (fold {first_fold}); remove one, or give both the same"
        " text in the column group (and the same fold, if the sheet has folds)"
        for (first, first_fold), *others in same.values()
        for row, fold in others
        if fold != first_fold
    ]
    if problems:
        raise CohortError(problems)


def _named(rows: list[TrainingRow]) -> tuple[TrainingRow, ...]:
    count: Counter[str] = Counter()
    named = []
    for row in rows:
        count[row.subject] += 1
        number = count[row.subject]
        named.append(row if number == 1 else replace(row, name=f"{row.subject}_{number}"))
    return tuple(named)

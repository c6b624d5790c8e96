"""The sheet of a feature extraction: a row per mask, checked whole before anything is computed."""

from dataclasses import dataclass
from pathlib import Path

from cli.radiomics_case import Labels
from cli.radiomics_options import parse_labels
from pipeline.errors import CohortError, SettingsError
from pipeline.sheets import checked_file, checked_id, read_rows

REQUIRED = ("subject", "image", "mask")
OPTIONAL = ("session", "contrast", "label")


@dataclass(frozen=True)
class SheetRow:
    """One mask of the sheet; `labels` is None where the sheet does not say."""

    subject: str
    session: str
    contrast: str
    image: Path
    mask: Path
    label: str
    labels: Labels


def read_sheet(path: Path) -> tuple[SheetRow, ...]:
    """Read and check a sheet: subject, image, mask, and perhaps session, contrast and label.

    Raises
    ------
    CohortError
        One line per problem, all at once: file, row, what is wrong, what to do.
    """
    problems: list[str] = []
    found: list[SheetRow] = []
    seen: dict[tuple[str, ...], int] = {}
    rows = read_rows(path, REQUIRED, problems)
    if not rows and not problems:
        problems.append(f"{path}: no mask below the header; write a row for each")
    for line, cells in rows:
        where = f"{path}:{line}"
        row = _row(path, where, cells, problems)
        if row is None:
            continue
        same = tuple(
            map(str, (row.subject, row.session, row.contrast, row.image, row.mask, row.label))
        )
        twin = seen.setdefault(same, line)
        if twin != line:
            problems.append(f"{where}: the same mask stands already in row {twin}; remove one")
        found.append(row)
    if problems:
        raise CohortError(problems)
    return tuple(found)


def _row(path: Path, where: str, cells: dict[str, str], problems: list[str]) -> SheetRow | None:
    before = len(problems)
    checked_id(cells, "subject", where, problems)
    for name in ("session", "contrast"):
        if cells.get(name):
            checked_id(cells, name, where, problems)
    image = checked_file(cells, "image", path, where, problems)
    mask = checked_file(cells, "mask", path, where, problems)
    label = cells.get("label", "")
    labels: Labels = None
    try:
        labels = parse_labels(label, f"{where}: label")
    except SettingsError as error:
        problems.append(str(error))
    if len(problems) > before or image is None or mask is None:
        return None
    session, contrast = cells.get("session", ""), cells.get("contrast", "")
    return SheetRow(cells["subject"], session, contrast, image, mask, label, labels)

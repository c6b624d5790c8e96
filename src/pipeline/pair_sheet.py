"""The sheet of a batch of registrations, checked whole before anything is computed."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CohortError
from pipeline.sheets import checked_file, checked_id, read_rows

REQUIRED = ("fixed", "moving")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairRow:
    """One pair of the sheet.

    Attributes
    ----------
    row : int
        Line in the sheet, the header being line 1.
    name : str
        Names the pair's folder; no two pairs share it.
    files : dict of str to Path
        Column to file, resolved against the sheet's folder; empty cells are left out.
    """

    row: int
    name: str
    files: dict[str, Path]


def read_pairs(
    path: Path, columns: Sequence[str], *, default_name: Callable[[Path, Path], str]
) -> tuple[PairRow, ...]:
    """Read and check a sheet with a row per pair of images.

    Parameters
    ----------
    path : Path
        Tab-separated, with columns `fixed`, `moving`, and any of `name` and `columns`.
    columns : sequence of str
        The columns that name files. Others may stand in the sheet and are not used.
    default_name : callable
        Names a pair by its fixed and moving file, where the sheet has no `name`.

    Raises
    ------
    CohortError
        One line per problem, all at once: file, row, what is wrong, what to do.
    """
    problems: list[str] = []
    pairs: list[PairRow] = []
    seen: dict[str, int] = {}
    rows = read_rows(path, REQUIRED, problems)
    if not rows and not problems:
        problems.append(f"{path}: no pair below the header; write a row for each")
    unused = [name for name in (rows[0][1] if rows else ()) if name not in ("name", *columns)]
    if unused:
        _LOG.warning("%s: not used: %s; known are name, %s", path, ", ".join(unused),
                     ", ".join(columns))  # fmt: skip
    for line, cells in rows:
        where = f"{path}:{line}"
        found = {
            column: checked_file(cells, column, path, where, problems)
            for column in columns
            if column in REQUIRED or cells.get(column)
        }
        fixed, moving = (found[column] for column in REQUIRED)
        if fixed is None or moving is None:
            continue
        if fixed.resolve() == moving.resolve():
            problems.append(f"{where}: fixed and moving are the same file; correct one of them")
        cells["name"] = cells.get("name") or default_name(fixed, moving)
        name = checked_id(cells, "name", where, problems)
        if name is None:
            continue
        twin = seen.setdefault(name.lower(), line)
        if twin != line:
            problems.append(
                f"{where}: name {name!r} stands already in row {twin} (capital letters do not tell"
                " folders apart on every disk); give each pair its own in a column `name`"
            )
        files = {column: file for column, file in found.items() if file is not None}
        pairs.append(PairRow(line, name, files))
    if problems:
        raise CohortError(problems)
    return tuple(pairs)

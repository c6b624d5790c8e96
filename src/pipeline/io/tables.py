"""Tables in and out: ids stay text, floats stay exact, spreadsheets cannot be made to run code."""

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ReadError
from pipeline.io.atomic import write_text

#: Columns that name something: always text, so that "007" and "nan" stay what they are.
ID_COLUMNS = frozenset({
    "subject", "session", "contrast", "split", "centre", "label", "image", "mask", "structure",
    "feature", "model", "name", "reason",
})  # fmt: skip

#: A cohort's table is some MB; more is a mistake.
MAX_TABLE_BYTES = 2 * 1024**3

#: What counts as "no value" outside the id columns.
MISSING = frozenset({"", "NA", "N/A", "n/a", "na", "nan", "NaN", "NAN", "null"})

_MARK = "'"
_FORMULA = re.compile(r"^'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # also full-width
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|nan)$")
_INTEGER = re.compile(r"^[+-]?\d{1,18}$")
_LEADING_ZERO = re.compile(r"^[+-]?0\d+$")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table with a header row: tab-separated, or comma-separated when it ends in .csv.

    Columns in `ID_COLUMNS` are text; there an empty cell is NaN and nothing else is. Any other
    column becomes numbers when every cell that is not missing is one (and none has a leading
    zero, as codes do), else text. The mark that `write_table` puts before formulas is taken off.

    Parameters
    ----------
    path : Path
        UTF-8, with or without byte order mark.

    Raises
    ------
    ReadError
        Missing, empty, not UTF-8, a row with too many or too few cells (named), or a column
        name that is empty or there twice.
    """
    path = Path(path)
    rows = _rows(path, _text(path))
    if not rows:
        raise ReadError(f"{path}: the table is empty; it needs a header row")
    header = [_unmark(name.strip()) for name in rows[0][1]]
    _check_header(path, header)
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise ReadError(
                f"{path}, line {number}: {len(row)} cells where the header has {len(header)}; add "
                "or remove separators in that line"
            )
    columns = {
        name: _column(name, [_unmark(row[place]) for _, row in rows[1:]])
        for place, name in enumerate(header)
    }
    return pd.DataFrame(columns, columns=header)


def write_table(path: Path, frame: pd.DataFrame) -> None:
    r"""Write a table: tab-separated (comma for .csv), rows and columns in the caller's order.

    Floats are written so that they read back exactly; NaN is an empty cell; True and False are
    1 and 0. Text that a spreadsheet would run as a formula (``=``, ``+``, ``-``, ``@`` in front,
    and no plain number) gets an apostrophe before it, which `read_table` takes off again; tabs
    and line ends inside a cell become spaces. The index is not written.
    """
    path = Path(path)
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=_separator(path), lineterminator="\n")
    writer.writerow([_mark(str(name)) for name in frame.columns])
    columns = [[_cell(value) for value in frame.iloc[:, n]] for n in range(frame.shape[1])]
    writer.writerows(zip(*columns, strict=True))
    write_text(path, buffer.getvalue())


def _separator(path: Path) -> str:
    return "," if path.suffix.lower() == ".csv" else "\t"


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise ReadError(f"{path}: larger than {MAX_TABLE_BYTES:,} bytes; split the table")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ReadError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ReadError(
            f"{path}: not UTF-8 text (byte {error.start}); save the table as UTF-8"
        ) from error


def _rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of each line that is not blank."""
    if "\0" in text:
        raise ReadError(f"{path}: holds NUL bytes; save the table as UTF-8 text")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(path), strict=True)
    rows = []
    try:
        for row in reader:
            if row:
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise ReadError(
            f"{path}, line {reader.line_num}: {error}; check the quotation marks"
        ) from error
    return rows


def _check_header(path: Path, header: list[str]) -> None:
    for place, name in enumerate(header, start=1):
        if not name:
            raise ReadError(f"{path}: column {place} has no name; name it or remove it")
        if header.count(name) > 1:
            raise ReadError(f"{path}: column {name!r} is there twice; rename or remove one")


def _column(name: str, cells: list[str]) -> Any:
    if name in ID_COLUMNS:
        return np.array([cell if cell != "" else math.nan for cell in cells], dtype=object)
    present = [cell.strip() for cell in cells if cell.strip() not in MISSING]
    if not all(_NUMBER.match(cell) and not _LEADING_ZERO.match(cell) for cell in present):
        return np.array(
            [math.nan if cell.strip() in MISSING else cell for cell in cells], dtype=object
        )
    if len(present) == len(cells) and all(_INTEGER.match(cell) for cell in present):
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    return np.array([math.nan if c.strip() in MISSING else float(c) for c in cells])


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, bool | np.bool_):
        return "1" if value else "0"
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else repr(float(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    return _mark(str(value))


def _mark(text: str) -> str:
    text = re.sub(r"[\t\r\n\v\f\x00]", " ", text)
    return _MARK + text if _FORMULA.match(text) and not _NUMBER.match(text) else text


def _unmark(text: str) -> str:
    return text[1:] if text.startswith(_MARK) and _FORMULA.match(text[1:]) else text

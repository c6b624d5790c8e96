"""Tables of results: rows added run after run, kept as TSV, printed as markdown."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from pipeline.io import read_table, write_table

Row = Mapping[str, object]


def load(path: Path) -> list[dict[str, object]]:
    """Return the rows so far, without their empty cells; none when there is no file."""
    if not path.is_file():
        return []
    rows = read_table(path).to_dict("records")
    return [{str(k): v for k, v in row.items() if not pd.isna(v)} for row in rows]


def has(rows: Iterable[Row], keys: Mapping[str, str]) -> bool:
    """Tell whether a row with these keys is there."""
    return any(_matches(row, keys) for row in rows)


def add(path: Path, keys: Mapping[str, str], values: Row) -> None:
    """Write a row, in place of any with the same keys.

    The file is read anew each time, so that a run that is stopped loses one row at most.
    """
    rows = [row for row in load(path) if not _matches(row, keys)]
    write_table(path, pd.DataFrame([*rows, {**keys, **values}]))


def _matches(row: Row, keys: Mapping[str, str]) -> bool:
    return all(str(row.get(name)) == value for name, value in keys.items())

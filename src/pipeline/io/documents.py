"""JSON in and out: strict reading, stable bytes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pipeline.errors import ReadError
from pipeline.io.atomic import write_text

#: A document of ours is a few MB; more is not one of ours.
MAX_DOCUMENT_BYTES = 256 * 1024**2


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises
    ------
    ReadError
        Missing, oversized, not UTF-8, not JSON, NaN or a key twice in one object.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise ReadError(f"{path}: larger than {MAX_DOCUMENT_BYTES:,} bytes; not a document")
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except OSError as error:
        raise ReadError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path}: not valid JSON ({error}); write it again") from error


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document: sorted keys, two spaces, exact floats, NaN and infinity as null.

    numpy scalars and arrays, tuples, sets (sorted) and paths are accepted.
    """
    text = json.dumps(
        _plain(document), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    write_text(Path(path), text + "\n")


def _plain(value: Any) -> Any:
    """Return `value` made of dict, list, str, int, float, bool and None."""
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, pandas columns
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} appears twice in one object")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON; use null")

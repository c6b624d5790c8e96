"""The one verified reader and writer of images, transforms, tables and documents.

Nothing else in the program opens a data file. Names load on first use, so that importing
this package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.io.atomic import atomic_path, write_bytes, write_text
    from pipeline.io.documents import read_json, write_json
    from pipeline.io.fields import read_field, write_field
    from pipeline.io.images import (
        read_labels,
        read_mask,
        read_series,
        read_volume,
        write_series,
        write_volume,
    )
    from pipeline.io.limits import DEFAULT_MAX_BYTES
    from pipeline.io.tables import ID_COLUMNS, read_table, write_table
    from pipeline.io.transforms import read_affine, write_affine

_HOMES = {
    "DEFAULT_MAX_BYTES": "limits",
    "ID_COLUMNS": "tables",
    "atomic_path": "atomic",
    "read_affine": "transforms",
    "read_field": "fields",
    "read_json": "documents",
    "read_labels": "images",
    "read_mask": "images",
    "read_series": "images",
    "read_table": "tables",
    "read_volume": "images",
    "write_affine": "transforms",
    "write_bytes": "atomic",
    "write_field": "fields",
    "write_json": "documents",
    "write_series": "images",
    "write_table": "tables",
    "write_text": "atomic",
    "write_volume": "images",
}

__all__ = [
    "DEFAULT_MAX_BYTES",
    "ID_COLUMNS",
    "atomic_path",
    "read_affine",
    "read_field",
    "read_json",
    "read_labels",
    "read_mask",
    "read_series",
    "read_table",
    "read_volume",
    "write_affine",
    "write_bytes",
    "write_field",
    "write_json",
    "write_series",
    "write_table",
    "write_text",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)

"""A MONAI bundle's configuration as data: references are followed, expressions are not run."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ReadError
from pipeline.io.documents import read_json
from pipeline.io.yaml_documents import read_yaml

#: "@network_def", "@preprocessing::transforms::0" or the same with "#".
_REFERENCE = re.compile(r"@\w+(?:(?:::|#)\w+)*")

#: A chain of references or a nesting longer than this is no configuration.
_DEPTH = 32


def read_config(folder: Path) -> dict[str, Any]:
    """Return the inference configuration of a bundle, unresolved.

    Raises
    ------
    ReadError
        If there is none, or one that is no mapping.
    """
    for name, read in (
        ("inference.json", read_json),
        ("inference.yaml", read_yaml),
        ("inference.yml", read_yaml),
    ):
        path = folder / "configs" / name
        if path.is_file():
            document = read(path)
            if not isinstance(document, dict):
                raise ReadError(f"{path}: no mapping of names, so no configuration of a bundle")
            return document
    raise ReadError(
        f"{folder / 'configs'}: holds neither inference.json nor inference.yaml, which say how the "
        "bundle is run"
    )


def resolved(config: Mapping[str, Any], value: Any, depth: int = 0) -> Any:
    """Return a value with its references followed and its literals read.

    Parameters
    ----------
    config : mapping
        The whole configuration.
    value : JSON value
        Of it. A text after "$" may be a Python literal ("$[1, 2]") or a reference.

    Raises
    ------
    ReadError
        For any other expression, and for a reference to nothing or to itself. Names it.
    """
    if depth > _DEPTH:
        raise ReadError("configuration of a bundle: references that lead to themselves")
    if isinstance(value, Mapping):
        return {str(key): resolved(config, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(config, item, depth + 1) for item in value]
    if not isinstance(value, str):
        return value
    text = value[1:].strip() if value.startswith("$") else value
    if _REFERENCE.fullmatch(text):
        return resolved(config, _at(config, text), depth + 1)
    if not value.startswith(("$", "@", "%")):
        return value
    try:
        if value.startswith("$"):
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    raise ReadError(
        f"configuration of a bundle: the expression {value!r} would have to be run. Only literals "
        "and references are read; replace it by its value"
    )


def _at(config: Mapping[str, Any], reference: str) -> Any:
    found: Any = config
    for part in re.split(r"::|#", reference[1:]):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ReadError(
                f"configuration of a bundle: {reference!r} refers to nothing; correct it"
            ) from error
    return found

"""YAML in, as plain values: no object is built from what a file says."""

from pathlib import Path
from typing import Any

from pipeline.errors import ReadError
from pipeline.io.sources import opened

#: A configuration is a few KB; parsing takes seconds per MB.
MAX_YAML_BYTES = 1024**2


def read_yaml(path: Path) -> Any:
    """Read a YAML document of mappings, lists, texts, numbers and dates.

    Raises
    ------
    ReadError
        Missing, oversized, not UTF-8, not YAML, or one that asks for objects.
    """
    import yaml

    with opened(path) as stream:
        content = stream.read(MAX_YAML_BYTES + 1)
    if len(content) > MAX_YAML_BYTES:
        raise ReadError(f"{path}: larger than {MAX_YAML_BYTES:,} bytes; not a configuration")
    try:
        return yaml.safe_load(content.decode("utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = str(error).splitlines()[0]
        raise ReadError(f"{path}: not valid YAML ({where}); write it again") from error

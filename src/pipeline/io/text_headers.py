"""What NRRD and MetaImage headers have in common: lines, numbers, and where the voxels lie."""

import math
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ReadError
from pipeline.io.sources import InflateSource, PlainSource, Source, opened
from pipeline.io.voxels import read_voxels

#: How the voxels are compressed, if they are.
Container = Literal["gzip", "zlib"] | None

#: Longest text header. Segment descriptions fill some kilobytes, never a megabyte.
MAX_TEXT_BYTES = 1 << 20

_MAX_AXES = 16


def read_line(stream: BinaryIO, path: Path) -> str | None:
    """Return the next line without its end, or None at the end of the file."""
    line = stream.readline(MAX_TEXT_BYTES)
    if not line:
        return None
    if stream.tell() > MAX_TEXT_BYTES or len(line) == MAX_TEXT_BYTES:
        raise ReadError(
            f"{path}: the text header does not end within {MAX_TEXT_BYTES:,} bytes: it is damaged; "
            "copy or convert the image again"
        )
    return line.rstrip(b"\r\n").decode("utf-8", "replace")


def required(path: Path, fields: dict[str, str], name: str) -> str:
    """Return field `name`, or say that it is missing."""
    if name not in fields:
        raise ReadError(
            f"{path}: the header has no {name!r}: it is incomplete; convert the image again"
        )
    return fields[name]


def integers(path: Path, name: str, text: str) -> tuple[int, ...]:
    """Return whole numbers separated by blanks."""
    try:
        return tuple(int(part) for part in text.split()[: _MAX_AXES + 1])
    except ValueError as error:
        raise ReadError(_unreadable(path, name, text, "whole numbers")) from error


def floats(path: Path, name: str, text: str) -> tuple[float, ...]:
    """Return numbers separated by blanks; NaN passes, for the grid's own verdict."""
    try:
        return tuple(float(part) for part in text.split()[: _MAX_AXES**2 + 1])
    except ValueError as error:
        raise ReadError(_unreadable(path, name, text, "numbers")) from error


def sizes(path: Path, name: str, text: str, count: int) -> tuple[int, ...]:
    """Return `count` positive whole numbers."""
    found = integers(path, name, text)
    if len(found) != count or not 1 <= count <= _MAX_AXES or min(found) < 1:
        raise ReadError(_unreadable(path, name, text, f"{count} positive whole numbers"))
    if math.prod(found) >= 1 << 62:
        raise ReadError(_unreadable(path, name, text, "a size that any file could hold"))
    return found


def detached_file(header: Path, name: str) -> Path:
    """Return the data file that a header names, which must lie in the header's own folder.

    Raises
    ------
    ReadError
        Absolute path, a way out of the folder (also through a link), or no such file.
    """
    folder = header.resolve().parent
    if "\0" in name or not name.strip():
        raise ReadError(f"{header}: the name of its data file is unusable; convert it again")
    try:
        target = (folder / name).resolve()
        inside = not Path(name).is_absolute() and target.is_relative_to(folder)
        present = inside and target.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, or links in a circle
        raise ReadError(f"{header}: the name of its data file is unusable ({error})") from error
    if not inside:
        raise ReadError(
            f"{header}: its data file {name!r} lies outside the folder of the header, and is not "
            "read; put both files into one folder, or convert the image to .nii.gz"
        )
    if not present:
        raise ReadError(
            f"{header}: its data file {name!r} is missing; put it beside the header, or convert "
            "the image to .nii.gz"
        )
    return target


def _unreadable(path: Path, name: str, text: str, wanted: str) -> str:
    shown = text if len(text) <= 60 else text[:60] + "..."
    return f"{path}: {name!r} is {shown!r}, not {wanted}; convert the image again"


def read_payload(
    stream: BinaryIO,
    path: Path,
    detached: Path | None,
    container: Container,
    shape: tuple[int, ...],
    dtype: "np.dtype[Any]",
    *,
    max_bytes: int,
) -> npt.NDArray[Any]:
    """Return the voxels behind the header, or those of the detached file.

    Parameters
    ----------
    stream : binary stream
        The header's file, at the first byte behind the header.
    path : Path
        The header's file.
    detached : Path or None
        The file of the voxels, when it is another.
    container : {"gzip", "zlib"} or None
        Compression.
    shape, dtype, max_bytes
        See `pipeline.io.voxels.read_voxels`.
    """
    if detached is not None:
        with opened(detached) as other:
            return read_payload(other, detached, None, container, shape, dtype, max_bytes=max_bytes)
    source: Source
    if container is None:
        source = PlainSource(stream, path)
    else:
        source = InflateSource(stream, path, container)
    return read_voxels(source, shape, dtype, max_bytes=max_bytes)

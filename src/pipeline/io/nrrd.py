"""NRRD images (.nrrd, .nhdr) in and out.

Format: https://teem.sourceforge.net/nrrd/format.html. Encodings raw and gzip; the data may be
detached into one file of the same folder. The parser is our own because the voxels of a crafted
header must be sized, and a detached name judged, before anything is opened.
"""

import itertools
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError, ReadError
from pipeline.io.grids import grid_from_columns
from pipeline.io.pieces import deflated, voxel_bytes, write_pieces
from pipeline.io.sources import opened
from pipeline.io.text_headers import (
    Container,
    detached_file,
    floats,
    integers,
    read_line,
    read_payload,
    required,
    sizes,
)
from pipeline.types import Geometry, Volume

_MAGIC = re.compile(r"^NRRD000[1-5]$")

_NAMES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("unsigned char", "uchar", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("unsigned short", "ushort", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("unsigned int", "uint", "uint32", "uint32_t"),
    "i8": ("long long", "longlong", "long long int", "signed long long", "signed long long int",
           "int64", "int64_t"),
    "u8": ("unsigned long long", "ulonglong", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_TYPES = {name: code for code, names in _NAMES.items() for name in names}
_ORDERS = {"little": "<", "big": ">"}
_CONTAINERS: dict[str, Container] = {"raw": None, "gzip": "gzip", "gz": "gzip"}

#: Signs that turn the file's world axes into LPS.
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "cm": 10.0, "m": 1e3,
                "um": 1e-3, "µm": 1e-3, "micron": 1e-3}  # fmt: skip
_VECTOR = re.compile(r"\(([^()]*)\)|(none)", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]*)"')

#: Spellings that the format allows besides the usual ones.
_ALIASES = {"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}

Columns = npt.NDArray[np.float64]


def read_nrrd(
    path: Path, *, max_bytes: int, components: int = 1
) -> tuple[npt.NDArray[Any], Geometry]:
    """Return voxels in the stored type and their LPS grid.

    Parameters
    ----------
    path : Path
        Header, or header and voxels.
    max_bytes : int
        Cap on the declared voxels.
    components : int
        Values per voxel that are wanted: with 1 the voxels are (I, J, K), else (I, J, K, n)
        along LPS.

    Raises
    ------
    ReadError
        Damaged or oversized; another number of values per voxel, or vectors in another frame
        than LPS; ASCII, hex or bzip2 encoding; detached data outside the folder.
    GeometryError
        See `pipeline.io.grids.grid_from_columns`.
    """
    with opened(path) as stream:
        fields = _fields(stream, path)
        shape = sizes(path, "sizes", required(path, fields, "sizes"), _dimension(path, fields))
        columns, origin, axes = _pose(path, fields, shape, components)
        i, j, k = (*(shape[axis] for axis in axes), 1, 1)[:3]
        grid = grid_from_columns(path, (i, j, k), columns, origin)
        container = _container(path, fields)
        dtype = _dtype(path, fields)
        name = fields.get("data file")
        detached = None if name is None else detached_file(path, name)
        stored = grid.shape if components == 1 else shape
        voxels = read_payload(stream, path, detached, container, stored, dtype, max_bytes=max_bytes)
    if components > 1:
        _check_frame(path, fields)
        voxels = np.moveaxis(voxels, _others(shape, axes)[0], -1)
    return voxels, grid


def write_nrrd(path: Path, volume: Volume) -> None:
    """Write a volume as NRRD: LPS, little-endian, gzip, floats exact in the header."""
    code = volume.data.dtype.str[1:]
    directions = (volume.grid.direction * np.asarray(volume.grid.spacing_mm)).T
    lines = [
        "NRRD0004",
        f"type: {_NAMES[code][-1] if code[0] != 'f' else _NAMES[code][0]}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(n) for n in volume.grid.shape),
        "space directions: " + " ".join(_vector(row) for row in directions),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        "space origin: " + _vector(np.asarray(volume.grid.origin_mm)),
    ]
    head = "\n".join(lines).encode("ascii") + b"\n\n"
    write_pieces(path, itertools.chain([head], deflated(voxel_bytes(volume.data))))


def _vector(values: npt.NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(v)) for v in values) + ")"


def _fields(stream: BinaryIO, path: Path) -> dict[str, str]:
    """Return the header's fields; `stream` then stands behind the blank line."""
    if not _MAGIC.match(read_line(stream, path) or ""):
        raise ReadError(f"{path}: not a NRRD file of version 1 to 5; convert the image again")
    fields: dict[str, str] = {}
    while line := read_line(stream, path):
        name, colon, value = line.partition(":")
        if line.startswith("#") or value.startswith("="):
            continue  # comments and key:=value notes say nothing about the grid
        if not colon:
            raise ReadError(f"{path}: header line {line[:60]!r} is no field; convert it again")
        key = name.strip().lower()
        fields[_ALIASES.get(key, key)] = value.strip()
    return fields


def _dimension(path: Path, fields: dict[str, str]) -> int:
    text = required(path, fields, "dimension")
    found = integers(path, "dimension", text)
    if len(found) != 1 or not 2 <= found[0] <= 16:
        raise ReadError(f"{path}: 'dimension' is {text[:60]!r}, not 2 to 16; convert it again")
    return found[0]


def _dtype(path: Path, fields: dict[str, str]) -> "np.dtype[Any]":
    name = required(path, fields, "type").lower()
    if name not in _TYPES:
        raise ReadError(
            f"{path}: voxel type {name[:60]!r} is not read; convert the image to integers or floats"
        )
    dtype = np.dtype(_TYPES[name])
    if dtype.itemsize == 1:
        return dtype
    order = required(path, fields, "endian").lower()
    if order not in _ORDERS:
        raise ReadError(f"{path}: 'endian' is {order[:60]!r}, not little or big; convert it again")
    return dtype.newbyteorder("<" if order == "little" else ">")


def _container(path: Path, fields: dict[str, str]) -> Container:
    for name in ("line skip", "byte skip"):
        if fields.get(name, "0") != "0":
            raise ReadError(f"{path}: {name!r} is not read; convert the image to .nii.gz")
    encoding = required(path, fields, "encoding").lower()
    if encoding not in _CONTAINERS:
        raise ReadError(
            f"{path}: encoding {encoding[:60]!r} is not read; save the image with gzip or raw "
            "encoding"
        )
    return _CONTAINERS[encoding]


def _pose(
    path: Path, fields: dict[str, str], shape: tuple[int, ...], components: int
) -> tuple[Columns, Columns, list[int]]:
    """Return the steps in mm along LPS as columns, the origin, and which axes are spatial."""
    if "space directions" not in fields:
        return _pose_without_space(path, fields, shape, components)
    factor = _to_lps(path, fields)
    vectors = _vectors(path, fields["space directions"])
    if len(vectors) != len(shape):
        raise ReadError(
            f"{path}: {len(vectors)} space directions for {len(shape)} axes; convert it again"
        )
    axes = [axis for axis, vector in enumerate(vectors) if vector is not None]
    _check_axes(path, shape, axes, components)
    steps = [vector for vector in vectors if vector is not None]
    origin = _vectors(path, fields.get("space origin", "(0,0,0)"))
    if len(origin) != 1 or origin[0] is None:
        raise ReadError(f"{path}: 'space origin' is not one vector; convert the image again")
    return _square(steps) * factor[:, np.newaxis], origin[0] * factor, axes


def _pose_without_space(
    path: Path, fields: dict[str, str], shape: tuple[int, ...], components: int
) -> tuple[Columns, Columns, list[int]]:
    """Return spacings along L, P, S, as ITK does for a NRRD without orientation."""
    axes = [axis for axis, n in enumerate(shape) if n > 1 or axis < 3]
    _check_axes(path, shape, axes, components)
    if "spacings" not in fields:
        raise GeometryError(
            f"{path}: neither 'space directions' nor 'spacings': the voxel size is unknown; "
            "convert the image again from its source"
        )
    spacings = floats(path, "spacings", fields["spacings"])
    if len(spacings) != len(shape):
        raise ReadError(f"{path}: {len(spacings)} spacings for {len(shape)} axes; convert it again")
    steps = ([spacings[axis] for axis in axes] + [1.0])[:3]
    return np.diag(steps), np.zeros(3), axes


def _others(shape: tuple[int, ...], axes: list[int]) -> list[int]:
    """Return the axes of more than one value that do not lie in space."""
    return [axis for axis, n in enumerate(shape) if axis not in axes and n > 1]


def _check_axes(path: Path, shape: tuple[int, ...], axes: list[int], components: int) -> None:
    wanted = [] if components == 1 else [components]
    if [shape[axis] for axis in _others(shape, axes)] != wanted or not 2 <= len(axes) <= 3:
        what = "one 3-D image is needed; save each image, or a labelmap, on its own"
        if components > 1:
            what = f"a 3-D field of {components} values per voxel is needed"
        raise ReadError(
            f"{path}: {' x '.join(str(n) for n in shape)} values with {len(axes)} axes in space "
            f"where {what}"
        )


def _check_frame(path: Path, fields: dict[str, str]) -> None:
    """Raise unless the components of vectors surely run along LPS, in mm."""
    frame = [row for row in _vectors(path, fields.get("measurement frame", "")) if row is not None]
    turned = bool(frame) and not np.array_equal(np.stack(frame), np.eye(3))
    if turned or not np.array_equal(_to_lps(path, fields), np.ones(3)):
        raise ReadError(
            f"{path}: its vectors do not run along left-posterior-superior in mm; write the field "
            "with SimpleITK, Slicer or ANTs"
        )


def _square(steps: list[Columns]) -> Columns:
    """Return three columns; a single slice gets the normal of its plane, 1 mm thick."""
    if len(steps) == 2:
        normal = np.cross(steps[0], steps[1])
        length = float(np.linalg.norm(normal))
        steps = [*steps, normal / length if length > 0 else normal]
    return np.column_stack(steps)


def _to_lps(path: Path, fields: dict[str, str]) -> Columns:
    space = fields.get("space", "left-posterior-superior").lower()
    if space not in _TO_LPS:
        raise GeometryError(
            f"{path}: space {space[:60]!r} does not say where left and right are; save the image "
            "in left-posterior-superior or right-anterior-superior"
        )
    units = {u.lower() for u in _QUOTED.findall(fields.get("space units", ""))} - {""}
    if len(units) > 1 or not units <= _MM_PER_UNIT.keys():
        raise GeometryError(f"{path}: space units {sorted(units)} are not one length; use mm")
    scale = _MM_PER_UNIT[units.pop()] if units else 1.0
    return scale * np.array(_TO_LPS[space], dtype=np.float64)


def _vectors(path: Path, text: str) -> list[Columns | None]:
    found: list[Columns | None] = []
    for inside, none in _VECTOR.findall(text):
        values = floats(path, "space directions or origin", inside.replace(",", " "))
        if not none and len(values) != 3:
            raise ReadError(f"{path}: vector ({inside[:60]}) has not 3 numbers; convert it again")
        found.append(None if none else np.array(values))
    return found

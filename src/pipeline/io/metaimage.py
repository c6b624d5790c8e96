"""MetaImage files (.mha, .mhd) in and out.

Format: https://itk.org/Wiki/MetaIO/Documentation. Voxels lie behind the header or in one file
of the same folder, raw or as one zlib stream. The parser is our own for the reason given in
`pipeline.io.nrrd`.
"""

import itertools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline.errors import ReadError
from pipeline.io.grids import grid_from_axes
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

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_WRITTEN = {code: name for name, code in reversed(_TYPES.items())}
_TRUE = {"true": True, "1": True, "false": False, "0": False}

#: The last field of a header; the voxels follow it or lie in the file that it names.
_LAST = "ElementDataFile"


def read_metaimage(
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
        Values per voxel that are wanted: with 1 the voxels are (I, J, K), else (I, J, K, n).

    Raises
    ------
    ReadError
        Damaged or oversized; another number of values per voxel; ASCII voxels; data in many
        files or outside the folder.
    GeometryError
        See `pipeline.io.grids.grid_from_columns`.
    """
    with opened(path) as stream:
        fields = _fields(stream, path)
        grid = _grid(path, fields)
        dtype = _dtype(path, fields)
        _check_supported(path, fields, components)
        container: Container = "zlib" if _flag(path, fields, "CompressedData") else None
        name = fields[_LAST]
        detached = None if name.upper() == "LOCAL" else _detached(path, name)
        shape = grid.shape if components == 1 else (components, *grid.shape)
        voxels = read_payload(stream, path, detached, container, shape, dtype, max_bytes=max_bytes)
    return (voxels if components == 1 else np.moveaxis(voxels, 0, -1)), grid


def write_metaimage(path: Path, volume: Volume) -> None:
    """Write a volume as MetaImage: one file, little-endian, zlib, floats exact in the header."""
    body = list(deflated(voxel_bytes(volume.data), "zlib"))
    matrix = volume.grid.direction.T.ravel()
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {sum(len(piece) for piece in body)}",
        "TransformMatrix = " + _numbers(matrix),
        "Offset = " + _numbers(volume.grid.origin_mm),
        "CenterOfRotation = 0 0 0",
        "ElementSpacing = " + _numbers(volume.grid.spacing_mm),
        "DimSize = " + " ".join(str(n) for n in volume.grid.shape),
        f"ElementType = {_WRITTEN[volume.data.dtype.str[1:]]}",
        f"{_LAST} = LOCAL",
    ]
    head = "\n".join(lines).encode("ascii") + b"\n"
    write_pieces(path, itertools.chain([head], body))


def _numbers(values: Any) -> str:
    return " ".join(repr(float(v)) for v in values)


def _fields(stream: BinaryIO, path: Path) -> dict[str, str]:
    """Return the header's fields; `stream` then stands behind the line of the data file."""
    fields: dict[str, str] = {}
    while (line := read_line(stream, path)) is not None:
        name, sign, value = line.partition("=")
        if not sign:
            raise ReadError(
                f"{path}: header line {line[:60]!r} is no field: not a MetaImage, or damaged; "
                "convert the image again"
            )
        fields[name.strip()] = value.strip()
        if name.strip() == _LAST:
            return fields
    raise ReadError(f"{path}: the header has no {_LAST!r}: it is incomplete; convert it again")


def _dtype(path: Path, fields: dict[str, str]) -> "np.dtype[Any]":
    name = required(path, fields, "ElementType").upper()
    if name not in _TYPES:
        raise ReadError(
            f"{path}: voxel type {name[:60]!r} is not read; convert the image to integers or floats"
        )
    names = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    big = any(_flag(path, fields, name) for name in names)
    return np.dtype(_TYPES[name]).newbyteorder(">" if big else "<")


def _check_supported(path: Path, fields: dict[str, str], components: int) -> None:
    if not _flag(path, fields, "BinaryData", True):
        raise ReadError(f"{path}: voxels as text are not read; save the image as binary")
    if fields.get("HeaderSize", "0") != "0":
        raise ReadError(f"{path}: 'HeaderSize' is not read; convert the image to .nii.gz")
    found = fields.get("ElementNumberOfChannels", "1")
    if found != str(components):
        wanted, remedy = ("one is", "save each channel on its own") if components == 1 else (
            f"{components} are", "give a displacement field of a 3-D image"
        )  # fmt: skip
        raise ReadError(f"{path}: {found[:20]} values per voxel where {wanted} needed; {remedy}")


def _flag(path: Path, fields: dict[str, str], name: str, default: bool = False) -> bool:
    text = fields.get(name, str(default))
    if text.lower() not in _TRUE:
        raise ReadError(f"{path}: {name!r} is {text[:60]!r}, not True or False; convert it again")
    return _TRUE[text.lower()]


def _detached(path: Path, name: str) -> Path:
    if name.upper().startswith("LIST") or "%" in name:
        raise ReadError(f"{path}: voxels in many files are not read; convert it to .nii.gz")
    return detached_file(path, name)


def _grid(path: Path, fields: dict[str, str]) -> Geometry:
    count = _dimension(path, fields)
    shape = sizes(path, "DimSize", required(path, fields, "DimSize"), count)
    if any(n > 1 for n in shape[3:]):
        raise ReadError(
            f"{path}: {' x '.join(str(n) for n in shape)} voxels where one 3-D image is needed; "
            "save each image on its own"
        )
    spacing = _values(path, fields, ("ElementSpacing", "ElementSize"), [1.0] * count)
    origin = _values(path, fields, ("Offset", "Position", "Origin"), [0.0] * count)
    identity = np.eye(count).ravel().tolist()
    names = ("TransformMatrix", "Rotation", "Orientation")
    direction = np.array(_values(path, fields, names, identity)).reshape(count, count).T
    columns, corner, used = np.eye(3), np.zeros(3), min(count, 3)
    columns[:used, :used] = direction[:used, :used]
    corner[:used] = origin[:used]
    steps = np.array([*spacing[:used], 1.0][:3])
    i, j, k = (*shape, 1)[:3]
    return grid_from_axes(path, (i, j, k), columns, steps, corner)


def _dimension(path: Path, fields: dict[str, str]) -> int:
    text = required(path, fields, "NDims")
    found = integers(path, "NDims", text)
    if len(found) != 1 or not 2 <= found[0] <= 4:
        raise ReadError(f"{path}: 'NDims' is {text[:60]!r}, not 2, 3 or 4; convert the image")
    return found[0]


def _values(
    path: Path, fields: dict[str, str], names: tuple[str, ...], default: list[float]
) -> list[float]:
    """Return the numbers of the first of `names` that is there, else `default`."""
    name = next((name for name in names if name in fields), None)
    if name is None:
        return default
    found = floats(path, name, fields[name])
    if len(found) != len(default):
        raise ReadError(
            f"{path}: {name!r} has {len(found)} numbers instead of {len(default)}; convert it again"
        )
    return list(found)

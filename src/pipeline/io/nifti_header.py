"""The bytes of NIfTI-1 and NIfTI-2 headers: layout, parsing under caps, building.

Taken apart here, because loading a library for it would cost every rule half a second.
Layout: nifti1.h and nifti2.h at https://nifti.nimh.nih.gov.
"""

import logging
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ReadError
from pipeline.io.limits import MAX_HEADER_BYTES
from pipeline.io.sources import Source

LOGGER = logging.getLogger(__name__)

#: Stored type numbers of real scalars. RGB, complex and long double are refused.
DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip

#: Extension code "plain text comment".
ECODE_COMMENT = 6

#: Units byte: millimetres and seconds.
UNITS_MM_SECONDS = 2 + 8

_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
_SECONDS_PER_UNIT = {8: 1.0, 16: 1e-3, 24: 1e-6}

LAYOUT_1 = np.dtype([
    ("header_bytes", "<i4"), ("unused_1", "V35"), ("dim_info", "u1"), ("dim", "<i2", 8),
    ("intent_parameters", "<f4", 3), ("intent", "<i2"), ("datatype", "<i2"), ("bits", "<i2"),
    ("slice_start", "<i2"), ("pixdim", "<f4", 8), ("voxel_offset", "<f4"), ("slope", "<f4"),
    ("intercept", "<f4"), ("slice_end", "<i2"), ("slice_code", "u1"), ("units", "u1"),
    ("display_range", "<f4", 2), ("slice_duration", "<f4"), ("time_offset", "<f4"),
    ("unused_2", "V8"), ("description", "S80"), ("aux_file", "S24"), ("qform_code", "<i2"),
    ("sform_code", "<i2"), ("quaternion", "<f4", 3), ("offset", "<f4", 3),
    ("rows", "<f4", (3, 4)), ("intent_name", "S16"), ("magic", "V4"),
])  # fmt: skip

LAYOUT_2 = np.dtype([
    ("header_bytes", "<i4"), ("magic", "V8"), ("datatype", "<i2"), ("bits", "<i2"),
    ("dim", "<i8", 8), ("intent_parameters", "<f8", 3), ("pixdim", "<f8", 8),
    ("voxel_offset", "<i8"), ("slope", "<f8"), ("intercept", "<f8"), ("display_range", "<f8", 2),
    ("slice_duration", "<f8"), ("time_offset", "<f8"), ("slice_start", "<i8"),
    ("slice_end", "<i8"), ("description", "S80"), ("aux_file", "S24"), ("qform_code", "<i4"),
    ("sform_code", "<i4"), ("quaternion", "<f8", 3), ("offset", "<f8", 3),
    ("rows", "<f8", (3, 4)), ("slice_code", "<i4"), ("units", "<i4"), ("intent", "<i4"),
    ("intent_name", "S16"), ("dim_info", "u1"), ("unused_1", "V15"),
])  # fmt: skip

_MAGIC_1 = b"n+1\0"
_MAGIC_1_PAIR = b"ni1\0"
_MAGIC_2 = b"n+2\0\r\n\x1a\n"


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The fields that decide where the voxels lie (RAS world) and what they mean.

    Attributes
    ----------
    path : Path
        The file.
    shape : tuple of int
        Voxels along each axis, without singleton axes at the end beyond the third.
    dtype : numpy dtype
        Stored type with its byte order.
    slope, intercept : float
        Value = slope * stored + intercept; 1 and 0 when the header says "no scaling".
    pixdim : (8,) floats
        Handedness of the qform, then the spacings.
    qform_code, sform_code, quaternion, offset, rows
        The two stored poses, in the file's length unit.
    intent : int
        What the numbers are; 1007 is a vector.
    mm_per_unit : float
        The file's length unit.
    seconds_per_unit : float or None
        The file's time unit; None when it names none.
    time_offset : float
        Time of the first image.
    comments : tuple of bytes
        Contents of the comment extensions.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    slope: float
    intercept: float
    pixdim: tuple[float, ...]
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    offset: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    intent: int
    mm_per_unit: float
    seconds_per_unit: float | None
    time_offset: float
    comments: tuple[bytes, ...]


def read_header(source: Source) -> NiftiHeader:
    """Parse header and extensions; `source` then stands on the first voxel."""
    start = source.take(4)
    for order in ("<", ">"):
        size = struct.unpack(order + "i", start)[0]
        if size in (LAYOUT_1.itemsize, LAYOUT_2.itemsize):
            layout = LAYOUT_1 if size == LAYOUT_1.itemsize else LAYOUT_2
            raw = np.frombuffer(start + source.take(size - 4), layout.newbyteorder(order))[0]
            return _parse(source, order, raw)
    raise ReadError(
        f"{source.path}: not a NIfTI file (its header length is neither 348 nor 540); convert the "
        "image again, or give the file the ending of its real format"
    )


def build_header(**fields: Any) -> bytes:
    """Return a little-endian NIfTI-1 header with `fields` set and the rest zero."""
    record = np.zeros((), dtype=LAYOUT_1)
    record["header_bytes"] = LAYOUT_1.itemsize
    record["magic"] = np.void(_MAGIC_1)
    for name, value in fields.items():
        record[name] = value
    return record.tobytes()


def build_comment(text: bytes) -> bytes:
    """Return a comment extension, padded to a multiple of 16 bytes."""
    size = -(-(len(text) + 8) // 16) * 16
    return struct.pack("<ii", size, ECODE_COMMENT) + text.ljust(size - 8, b"\0")


def _parse(source: Source, order: str, raw: Any) -> NiftiHeader:
    path = source.path
    _check_magic(path, raw)
    units = int(raw["units"])
    header_bytes = int(raw["header_bytes"])
    slope, intercept = _scaling(path, float(raw["slope"]), float(raw["intercept"]))
    return NiftiHeader(
        path=path,
        shape=_shape(path, raw["dim"].tolist()),
        dtype=_dtype(path, order, int(raw["datatype"]), int(raw["bits"])),
        slope=slope,
        intercept=intercept,
        pixdim=tuple(raw["pixdim"].tolist()),
        qform_code=int(raw["qform_code"]),
        sform_code=int(raw["sform_code"]),
        quaternion=tuple(raw["quaternion"].tolist()),
        offset=tuple(raw["offset"].tolist()),
        rows=tuple(tuple(row) for row in raw["rows"].tolist()),
        intent=int(raw["intent"]),
        mm_per_unit=_mm_per_unit(path, units & 7),
        seconds_per_unit=_SECONDS_PER_UNIT.get(units & 56),
        time_offset=float(raw["time_offset"]),
        comments=_comments(source, order, header_bytes, float(raw["voxel_offset"])),
    )


def _check_magic(path: Path, raw: Any) -> None:
    magic = raw["magic"].tobytes()
    if magic == _MAGIC_1_PAIR:
        raise ReadError(
            f"{path}: the header of a .hdr/.img pair; join the pair into one .nii.gz (with "
            "`fslchfiletype NIFTI_GZ`, nibabel or ITK-SNAP) and give that"
        )
    if magic != (_MAGIC_1 if len(magic) == 4 else _MAGIC_2):
        raise ReadError(
            f"{path}: NIfTI magic number missing: an ANALYZE 7.5 file, which does not tell left "
            "from right, or a damaged header; convert the image again from its source"
        )


def _shape(path: Path, dim: list[int]) -> tuple[int, ...]:
    count, sizes = dim[0], dim[1:]
    if not 1 <= count <= 7 or any(n < 1 for n in sizes[:count]):
        raise ReadError(
            f"{path}: impossible image size (dim = {dim}): the header is damaged; copy or convert "
            "the image again"
        )
    shape = sizes[:count]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
        if len(shape) == 3:
            LOGGER.info("%s: a 4-D file with a single image, read as 3-D", path)
    return tuple(shape)


def _dtype(path: Path, order: str, datatype: int, bits: int) -> "np.dtype[Any]":
    if datatype not in DTYPES:
        raise ReadError(
            f"{path}: voxel type {datatype} is not a real number (colour, complex or unknown); "
            "convert the image to one channel of integers or floats"
        )
    dtype = np.dtype(order + DTYPES[datatype])
    if bits != 8 * dtype.itemsize:
        LOGGER.warning("%s: bitpix says %d, voxel type %s is taken", path, bits, dtype.name)
    return dtype


def _scaling(path: Path, slope: float, intercept: float) -> tuple[float, float]:
    if slope == 0.0 or math.isnan(slope):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise ReadError(
            f"{path}: intensity scaling {slope:g} * x + {intercept:g} is not finite: the header is "
            "damaged; convert the image again"
        )
    return slope, intercept


def _mm_per_unit(path: Path, code: int) -> float:
    if code not in _MM_PER_UNIT:
        raise ReadError(f"{path}: unknown length unit {code}; set xyzt_units to 2 (mm)")
    return _MM_PER_UNIT[code]


def _comments(source: Source, order: str, header_bytes: int, offset: float) -> tuple[bytes, ...]:
    """Read everything up to the first voxel; return the comment extensions."""
    if not header_bytes + 4 <= offset <= MAX_HEADER_BYTES or offset != int(offset):
        raise ReadError(
            f"{source.path}: first voxel at byte {offset:g}, not a whole number from "
            f"{header_bytes + 4} to {MAX_HEADER_BYTES:,}: the header is damaged; convert the image "
            "again"
        )
    rest = source.take(int(offset) - header_bytes)
    if rest[0] == 0:
        return ()
    found, at = [], 4
    while at + 8 <= len(rest):
        size, code = struct.unpack_from(order + "ii", rest, at)
        if size < 8 or at + size > len(rest):
            break
        if code == ECODE_COMMENT:
            found.append(rest[at + 8 : at + size].rstrip(b"\0"))
        at += size
    return tuple(found)

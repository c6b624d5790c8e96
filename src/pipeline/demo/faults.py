"""Subjects with one defect each, to show that screening finds it and the cohort goes on."""

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.demo.plan import SubjectPlan
from pipeline.errors import ReadError
from pipeline.types import Volume

ReasonClass = Literal["unreadable file", "missing session", "bad geometry", "empty mask"]

# Offsets in the 348-byte NIfTI-1 header.
_DIM = 40
_PIXDIM = 76
_QFORM_CODE = 252
_SROW_X = 280


@dataclass(frozen=True)
class Fault:
    """One defect.

    Attributes
    ----------
    name : str
        What is wrong.
    reason_class : str
        The class under which screening excludes the subject.
    corrupt : function, optional
        Bytes of the last follow-up phase (.nii.gz) to the bytes stored in their place.
    mask : function, optional
        The true baseline mask to the mask that images.tsv names.
    drops_followup : bool
        The sheet has no follow-up row.
    """

    name: str
    reason_class: ReasonClass
    corrupt: Callable[[bytes], bytes] | None = None
    mask: Callable[[Volume], Volume] | None = None
    drops_followup: bool = False


def truncated(content: bytes) -> bytes:
    """Return the first half of a file."""
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Return the file with one bit flipped in the middle of its compressed stream.

    Some bits can be flipped without a change of what they decode to (a match that may begin at
    either of two equal places); the first one from the middle on that spoils the file is taken.
    """
    for at in range(len(content) // 2, len(content)):
        mutant = content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]
        if not _decodes(mutant):
            return mutant
    raise ReadError("no bit of the image's second half spoils it; is it compressed?")


def _decodes(content: bytes) -> bool:
    try:
        gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return False
    return True


def wrong_checksum(content: bytes) -> bytes:
    """Return the file with a wrong CRC in its gzip trailer; the data are untouched."""
    return content[:-8] + bytes([content[-8] ^ 0xFF]) + content[-7:]


def too_short(content: bytes) -> bytes:
    """Return a sound gzip file whose header declares twice the slices that follow."""
    data = bytearray(gzip.decompress(content))
    (slices,) = struct.unpack_from("<h", data, _DIM + 6)
    struct.pack_into("<h", data, _DIM + 6, 2 * slices)
    return gzip.compress(bytes(data), 6, mtime=0)


def zero_spacing(content: bytes) -> bytes:
    """Return the file with a voxel edge of 0 mm along i."""
    data = bytearray(gzip.decompress(content))
    struct.pack_into("<f", data, _PIXDIM + 4, 0.0)
    for row in range(3):
        struct.pack_into("<f", data, _SROW_X + 16 * row, 0.0)
    return gzip.compress(bytes(data), 6, mtime=0)


def sheared(content: bytes) -> bytes:
    """Return the file with axes that are not at right angles and no quaternion to fall back on."""
    data = bytearray(gzip.decompress(content))
    struct.pack_into("<h", data, _QFORM_CODE, 0)
    (along_i,) = struct.unpack_from("<f", data, _SROW_X)
    struct.pack_into("<f", data, _SROW_X + 4, 0.4 * along_i)
    return gzip.compress(bytes(data), 6, mtime=0)


def other_grid(content: bytes) -> bytes:
    """Return the file moved by 7 mm: one phase does not lie on the others."""
    data = bytearray(gzip.decompress(content))
    for offset in (_SROW_X + 12, 268):  # the offset along x in the affine and the quaternion form
        (value,) = struct.unpack_from("<f", data, offset)
        struct.pack_into("<f", data, offset, value + 7.0)
    return gzip.compress(bytes(data), 6, mtime=0)


def shifted_mask(mask: Volume) -> Volume:
    """Return the mask on a grid half a voxel away."""
    x, y, z = mask.grid.origin_mm
    moved = replace(mask.grid, origin_mm=(x + 0.5 * mask.grid.spacing_mm[0], y, z))
    return Volume(mask.data, moved)


def empty_mask(mask: Volume) -> Volume:
    """Return a mask without a voxel."""
    return Volume(np.zeros_like(mask.data), mask.grid)


FAULTS = (
    Fault("image cut in half", "unreadable file", corrupt=truncated),
    Fault("one bit flipped in an image", "unreadable file", corrupt=flipped),
    Fault("wrong gzip checksum", "unreadable file", corrupt=wrong_checksum),
    Fault("fewer slices than the header declares", "unreadable file", corrupt=too_short),
    Fault("voxel edge of 0 mm", "bad geometry", corrupt=zero_spacing),
    Fault("sheared axes", "bad geometry", corrupt=sheared),
    Fault("one phase on another grid", "bad geometry", corrupt=other_grid),
    Fault("mask half a voxel off the grid", "bad geometry", mask=shifted_mask),
    Fault("mask without a voxel", "empty mask", mask=empty_mask),
    Fault("no follow-up session", "missing session", drops_followup=True),
)


def fault_plans(plans: list[SubjectPlan]) -> list[tuple[SubjectPlan, Fault]]:
    """Return a subject per fault, numbered from 901, with covariates of the first of the plan."""
    return [
        (replace(plans[n % len(plans)], subject=str(901 + n)), fault)
        for n, fault in enumerate(FAULTS)
    ]

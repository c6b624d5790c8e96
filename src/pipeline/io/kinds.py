"""What kind of image a path holds, told from its first bytes and only then from its name."""

import struct
import zlib
from pathlib import Path
from typing import Literal

from pipeline.errors import ReadError
from pipeline.io.sources import opened

Kind = Literal["nifti", "nrrd", "metaimage", "dicom"]

_PEEK_BYTES = 1024
_ENDINGS: dict[str, Kind] = {
    ".nii.gz": "nifti", ".nii": "nifti", ".hdr": "nifti", ".nrrd": "nrrd", ".nhdr": "nrrd",
    ".mha": "metaimage", ".mhd": "metaimage", ".dcm": "dicom",
}  # fmt: skip
_FOREIGN = {
    b"PK\x03\x04": "a zip archive; unpack it and give the image or DICOM folder",
    b"\x89HDF": "an HDF5 or MINC file; convert it to .nii.gz",
    b"\x89PNG": "a PNG picture; give the scan itself",
    b"\xff\xd8\xff": "a JPEG picture; give the scan itself",
    b"%PDF": "a PDF document; give the scan itself",
}


def kind_of(path: Path) -> Kind:
    """Return the kind of an image; a folder is taken as DICOM.

    Raises
    ------
    ReadError
        Missing, unreadable, empty, or of no known kind.
    """
    if path.is_dir():
        return "dicom"
    head = _head(path)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise ReadError(f"{path}: this is {what}")
    kind = _by_content(head) or _by_name(path)
    if kind is None:
        raise ReadError(
            f"{path}: not an image of a known kind (NIfTI, NRRD, MetaImage, DICOM); convert it to "
            ".nii.gz"
        )
    return kind


def _head(path: Path) -> bytes:
    """Return the first bytes, inflated when the file is gzip."""
    with opened(path) as stream:
        head = stream.read(_PEEK_BYTES)
    if not head:
        raise ReadError(f"{path}: the file is empty; copy or convert it again")
    if head.startswith(b"\x1f\x8b"):
        try:
            return zlib.decompressobj(31).decompress(head, _PEEK_BYTES)
        except zlib.error as error:
            raise ReadError(
                f"{path}: corrupt gzip data ({error}); copy or convert the file again"
            ) from error
    return head


def _by_content(head: bytes) -> Kind | None:
    if head.startswith(b"NRRD"):
        return "nrrd"
    if head[128:132] == b"DICM":
        return "dicom"
    if any(struct.pack(order + "i", n) == head[:4] for n in (348, 540) for order in "<>"):
        return "nifti"
    if b"ElementDataFile" in head or head.startswith((b"ObjectType", b"NDims")):
        return "metaimage"
    return None


def _by_name(path: Path) -> Kind | None:
    name = path.name.lower()
    return next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), None)

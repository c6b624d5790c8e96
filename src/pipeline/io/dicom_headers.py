"""DICOM headers in: one record per slice, without anything that names a patient.

Only the attributes below are taken from a file. Parser messages and warnings may quote header
values, so none of them is passed on.
"""

import contextlib
import datetime
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError

from pipeline.errors import MedpipeError, ReadError
from pipeline.io.grids import unit_axes
from pipeline.io.sources import opened

LOGGER = logging.getLogger(__name__)

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_NO_IMAGE = {
    "RTSTRUCT": "contours (RTSTRUCT)", "RTPLAN": "a treatment plan (RTPLAN)",
    "RTDOSE": "a dose grid (RTDOSE)", "SR": "a structured report", "PR": "a presentation state",
    "KO": "a list of key images", "REG": "a registration",
    "SEG": "a segmentation (DICOM SEG, read as a mask)", "DOC": "a document",
    "ECG": "a waveform", "RWV": "a value map", "FID": "a list of landmarks", "PLAN": "a plan",
}  # fmt: skip

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality",
    "InstanceNumber", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated",
    "BitsStored", "PixelRepresentation", "ImageOrientationPatient", "ImagePositionPatient",
    "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept",
    "TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime", "AcquisitionDate",
    "AcquisitionTime", "AcquisitionDateTime", "ContentDate", "ContentTime", "EchoTime",
    "ImageType", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "SegmentationType", "MaximumFractionalValue", "SegmentSequence", "FrameOfReferenceUID",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Slice:
    """One image plane of a series.

    Attributes
    ----------
    path : Path
        File.
    frame : int or None
        Number of the frame within a multi-frame file, from 0.
    series, instance : str
        Unique ids, for grouping only; never shown.
    series_name : str
        Modality and series number, for messages.
    number : int
        Instance number, the order in which the scanner counted.
    shape : (I, J)
        Columns and rows.
    position_mm : (3,) float array
        LPS centre of the first pixel.
    axes : (3, 2) float array
        LPS directions of growing column and of growing row number.
    spacing_mm : (2,) floats
        Distance of columns, of rows.
    thickness_mm : float or None
        Spacing between slices, else slice thickness, as declared.
    slope, intercept : float
        Value = slope * stored + intercept.
    dtype : numpy dtype
        Stored type.
    bits, allocated : int
        Bits per pixel that carry the value, and that the file spends.
    keys : dict
        What may tell phases apart: temporal position, acquisition number, times in s.
    kind : tuple
        What must not differ between phases: image type and echo time.
    segment : int
        Segment number of a DICOM SEG frame, else 0.
    compressed : bool
        The pixels are encapsulated, so their size says little about the file's.
    """

    path: Path
    frame: int | None
    series: str
    instance: str
    series_name: str
    number: int
    shape: tuple[int, int]
    position_mm: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    spacing_mm: tuple[float, float]
    thickness_mm: float | None
    slope: float
    intercept: float
    dtype: "np.dtype[Any]"
    bits: int
    allocated: int
    keys: dict[str, float]
    kind: tuple[str, ...]
    segment: int
    compressed: bool


@contextlib.contextmanager
def parsing(path: Path, problem: str = "damaged DICOM header") -> Iterator[None]:
    """Guard every touch of a parsed file: values are decoded on access, and may be anything.

    The parser's errors become a ReadError without their text; its warnings and log lines,
    which quote header values, reach nobody.
    """
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MedpipeError:
        raise
    except Exception as error:  # the parser raises whatever a damaged file provokes
        raise ReadError(
            f"{path}: {problem} ({type(error).__name__}); copy or export the file again"
        ) from error
    finally:
        logger.disabled = before


def image_slices(path: Path) -> list[Slice]:
    """Return the slices of every image in a DICOM file or folder (not its subfolders).

    Raises
    ------
    ReadError
        No DICOM image there, or a file that is damaged or holds something else.
    """
    found: list[Slice] = []
    passed: list[str] = []
    for member, header in _headers(path):
        what = not_an_image(member, header)
        if what is None:
            found.extend(slices_of(member, header))
        elif path.is_file():
            raise ReadError(f"{path}: not an image but {what}; give the image series itself")
        else:
            passed.append(what)
    if passed:
        LOGGER.info("%s: %d files without an image passed over", path, len(passed))
    if not found:
        holds = f"only {', '.join(sorted(set(passed)))}" if passed else "no DICOM file"
        raise ReadError(f"{path}: holds {holds}; give the folder that holds the image slices")
    return found


def read_dataset(path: Path, *, pixels: bool) -> Any:
    """Return the parsed file; None when it is no DICOM file at all."""
    with parsing(path), opened(path) as stream:
        if _DEFLATED in stream.read(2048):  # the parser would inflate it whole, however large
            raise ReadError(
                f"{path}: a deflated DICOM file; decompress it first (`gdcmconv --raw`)"
            )
        stream.seek(0)
        try:
            if pixels:
                return pydicom.dcmread(stream)
            return pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS))
        except InvalidDicomError:
            return None


def not_an_image(path: Path, header: Any) -> str | None:
    """Return what a file is known to hold instead of an image, or None."""
    with parsing(path):
        modality = str(header.get("Modality", ""))
        is_mask = header.get("SOPClassUID") in SEGMENTATION_CLASSES
        has_size = bool(header.get("Rows")) and bool(header.get("Columns"))
    if modality in _NO_IMAGE or is_mask:
        return _NO_IMAGE.get(modality, _NO_IMAGE["SEG"])
    if not has_size:
        raise ReadError(
            f"{path}: a DICOM file without rows and columns: truncated, or no image; copy it "
            "again, or take it out of the folder"
        )
    return None


def slices_of(path: Path, header: Any) -> list[Slice]:
    """Return the slices of one file: one, or one for each frame."""
    with parsing(path, "an attribute that places or sizes the image is missing or damaged"):
        return list(_slices(path, header))


def members_of(path: Path) -> list[Path]:
    """Return the file itself, or the visible files of a folder, sorted by name."""
    if path.is_file():
        return [path]
    try:
        found = sorted(p for p in path.iterdir() if p.is_file())
    except OSError as error:
        raise ReadError(
            f"{path}: the folder cannot be listed ({error.strerror}); check its permissions"
        ) from error
    return [p for p in found if not p.name.startswith(".")]


def _headers(path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the header of each DICOM file, sorted by name; refuse a broken one among them."""
    endings: set[str] = set()
    others: list[Path] = []
    for member in members_of(path):
        header = read_dataset(member, pixels=False)
        if header is None:
            others.append(member)
        elif not _is_directory(member, header):
            endings.add(member.suffix.lower())
            yield member, header
    for other in others:
        if path.is_file() or other.suffix.lower() in endings:
            raise ReadError(
                f"{other}: not a DICOM file though it is named like one: empty, truncated or "
                "foreign; copy it again, or take it out of the folder"
            )


def _is_directory(path: Path, header: Any) -> bool:
    with parsing(path):
        return bool(header.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY_CLASS)


def _slices(path: Path, header: Any) -> Iterator[Slice]:
    if int(header.get("SamplesPerPixel", 1)) != 1:
        raise ReadError(f"{path}: a colour picture; give the scan with one value per pixel")
    frames = int(header.get("NumberOfFrames", 1) or 1)
    if "PerFrameFunctionalGroupsSequence" not in header:
        if frames > 1:
            raise ReadError(
                f"{path}: {frames} frames without a position each; export the series as single "
                "slices or as an enhanced image"
            )
        yield _slice(path, header, None, {})
        return
    groups = header.PerFrameFunctionalGroupsSequence
    if len(groups) != frames:
        raise ReadError(f"{path}: {frames} frames but {len(groups)} descriptions; export it again")
    shared = _flat(header.get("SharedFunctionalGroupsSequence") or [])
    for number, group in enumerate(groups):
        yield _slice(path, header, number, {**shared, **_flat([group])})


def _flat(groups: Any) -> dict[str, Any]:
    """Return the attributes of functional groups, their one-item sequences opened."""
    found: dict[str, Any] = {}
    for group in groups:
        for element in group:
            if element.VR == "SQ" and element.value:
                found.update({inner.keyword: inner.value for inner in element.value[0]})
    return found


def _slice(path: Path, header: Any, frame: int | None, own: dict[str, Any]) -> Slice:
    def get(name: str, default: Any = None) -> Any:
        value = own.get(name, header.get(name))
        return default if value is None or value == "" else value

    row_mm, column_mm = (float(v) for v in get("PixelSpacing"))
    cosines = np.array([float(v) for v in get("ImageOrientationPatient")]).reshape(2, 3)
    position = np.array([float(v) for v in get("ImagePositionPatient")]).reshape(3)
    slope, intercept = float(get("RescaleSlope", 1.0)), float(get("RescaleIntercept", 0.0))
    if not np.isfinite([*position, slope, intercept]).all():
        raise ValueError("not finite")
    thickness = get("SpacingBetweenSlices", get("SliceThickness"))
    signed = int(get("PixelRepresentation", 0))
    allocated = int(get("BitsAllocated"))
    return Slice(
        path=path,
        frame=frame,
        series=str(get("SeriesInstanceUID", "")),
        instance=str(get("SOPInstanceUID", "")),
        series_name=f"{get('Modality', 'image')} series {get('SeriesNumber', '?')}",
        number=int(get("InstanceNumber", 0)) if frame is None else frame,
        shape=(int(get("Columns")), int(get("Rows"))),
        position_mm=position,
        axes=unit_axes(path, cosines.T),
        spacing_mm=(column_mm, row_mm),
        thickness_mm=None if thickness is None else abs(float(thickness)),
        slope=slope,
        intercept=intercept,
        dtype=np.dtype(f"{'i' if signed else 'u'}{max(1, allocated // 8)}"),
        bits=int(get("BitsStored", allocated)),
        allocated=allocated,
        keys=_keys(get),
        kind=(str(get("ImageType", "")), str(get("EchoTime", get("EffectiveEchoTime", "")))),
        segment=int(get("ReferencedSegmentNumber", 0)),
        compressed=bool(header.file_meta.TransferSyntaxUID.is_compressed),
    )


def _keys(get: Any) -> dict[str, float]:
    """Return what is there to tell phases apart; times in seconds."""
    found = {
        "temporal position": _number(
            get("TemporalPositionIdentifier", get("TemporalPositionIndex"))
        ),
        "acquisition number": _number(get("AcquisitionNumber")),
        "temporal offset": _number(get("TemporalPositionTimeOffset")),
        "acquisition time": _moment(get("FrameAcquisitionDateTime", get("AcquisitionDateTime"))),
        "trigger time": _number(get("TriggerTime"), 1e-3),
        "content time": _moment(_joined(get("ContentDate"), get("ContentTime"))),
    }
    if found["acquisition time"] is None:
        found["acquisition time"] = _moment(_joined(get("AcquisitionDate"), get("AcquisitionTime")))
    return {name: value for name, value in found.items() if value is not None}


def _number(value: Any, factor: float = 1.0) -> float | None:
    return None if value is None else float(value) * factor


def _joined(date: Any, time: Any) -> str | None:
    return None if time is None else f"{date or '19000101'}{time}"


def _moment(value: Any) -> float | None:
    """Return seconds of a DICOM date-time YYYYMMDDHHMMSS.FFFFFF (offset from UTC ignored)."""
    if value is None:
        return None
    text = str(value).partition("+")[0].partition("-")[0].strip()
    whole, _, fraction = text.partition(".")
    whole = whole.ljust(14, "0")[:14]
    day = datetime.datetime.strptime(whole, "%Y%m%d%H%M%S")
    elapsed = day - datetime.datetime(1900, 1, 1)
    return elapsed.total_seconds() + (float(f"0.{fraction}") if fraction else 0.0)

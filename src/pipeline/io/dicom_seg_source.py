"""What a DICOM segmentation takes from the images that it lies on: ids and geometry alone.

One dataset stands for a slice of a classic series; one stands for all frames of an enhanced
(multi-frame) file. Neither holds pixels or anything that names the patient.
"""

from typing import Any

from pydicom.dataset import Dataset

from pipeline.errors import WriteError
from pipeline.io.dicom_headers import Slice, parsing, read_dataset

_IDS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "Modality", "Rows", "Columns",
)  # fmt: skip
_EMPTIED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_MEASURES = ("PixelSpacing", "SliceThickness")
_ORIENTATION, _POSITION = ("ImageOrientationPatient",), ("ImagePositionPatient",)


def source_datasets(stack: list[Slice], step_mm: float) -> list[Any]:
    """Return the datasets that highdicom refers to, for the slices of one image in their order.

    Parameters
    ----------
    stack : list of Slice
        Along the normal. Frames of one multi-frame file may be some of it in any order: they
        are counted anew here, and `mend_frame_numbers` puts their own numbers back.
    step_mm : float
        Distance of slices, for sources that state no thickness.

    Raises
    ------
    WriteError
        The source lacks an id, or is spread over several multi-frame files.
    """
    if stack[0].frame is not None:
        return [_frames(stack, step_mm)]
    datasets = [_slice(one, step_mm) for one in stack]
    for dataset in datasets:  # the reader lets directions differ by rounding, highdicom does not
        dataset.ImageOrientationPatient = datasets[0].ImageOrientationPatient
    return datasets


def mend_frame_numbers(made: Any, stack: list[Slice]) -> None:
    """Turn references to the n-th frame of a stack into references to that frame of its file."""
    if stack[0].frame is None:
        return
    items = {
        id(item): item  # segments of one slice share theirs
        for group in made.PerFrameFunctionalGroupsSequence
        for derivation in group.DerivationImageSequence
        for item in derivation.SourceImageSequence
    }
    for item in items.values():
        place = int(item.ReferencedFrameNumber) - 1
        item.ReferencedFrameNumber = int(stack[place].frame or 0) + 1


def _slice(one: Slice, step_mm: float) -> Dataset:
    whole = read_dataset(one.path, pixels=True)
    with parsing(one.path):
        slim = _identified(one, whole)
        slim.update(_measures([whole], step_mm))
        slim.update(_taken([whole], _ORIENTATION))
        slim.update(_taken([whole], _POSITION))
    return slim


def _frames(stack: list[Slice], step_mm: float) -> Dataset:
    files = sorted({one.path.name for one in stack})
    if len(files) > 1:
        raise WriteError(
            f"{stack[0].path.parent}: one image in {len(files)} multi-frame files ({files[0]}, "
            f"{files[1]} ...): no DICOM SEG is written for it; write NIfTI (`--out`)"
        )
    whole = read_dataset(stack[0].path, pixels=True)
    with parsing(stack[0].path):
        slim, shared = _identified(stack[0], whole), Dataset()
        common = list(whole.get("SharedFunctionalGroupsSequence") or [])
        own = [[whole.PerFrameFunctionalGroupsSequence[one.frame or 0], *common] for one in stack]
        sources = _macros(own[0])
        shared.PixelMeasuresSequence = [_measures(sources, step_mm)]
        shared.PlaneOrientationSequence = [_taken(sources, _ORIENTATION)]
        slim.NumberOfFrames = len(stack)
        slim.SharedFunctionalGroupsSequence = [shared]
        slim.PerFrameFunctionalGroupsSequence = [_placed(_macros(groups)) for groups in own]
    return slim


def _identified(one: Slice, whole: Any) -> Dataset:
    """Return the ids of a file, and empty fields where the patient's would be."""
    lacking = [n for n in ("StudyInstanceUID", "FrameOfReferenceUID") if not whole.get(n)]
    if lacking:
        raise WriteError(
            f"{one.path}: without {' and '.join(lacking)} a DICOM SEG cannot refer to it; "
            "write NIfTI (`--out`)"
        )
    slim = _taken([whole], _IDS)
    slim.file_meta = whole.file_meta
    for name in _EMPTIED:
        setattr(slim, name, "")
    return slim


def _placed(sources: list[Any]) -> Dataset:
    group = Dataset()
    group.PlanePositionSequence = [_taken(sources, _POSITION)]
    return group


def _measures(sources: list[Any], step_mm: float) -> Dataset:
    found = _taken(sources, _MEASURES)
    if found.get("SliceThickness") in (None, ""):
        found.SliceThickness = f"{step_mm:.6g}"
    return found


def _macros(groups: list[Any]) -> list[Any]:
    """Return the items of the functional groups' sequences, those of the frame first."""
    return [e.value[0] for group in groups for e in group if e.VR == "SQ" and e.value]


def _taken(sources: list[Any], names: tuple[str, ...]) -> Dataset:
    """Return some attributes, each from the first source that has it."""
    found = Dataset()
    for name in names:
        source = next((s for s in sources if name in s), None)
        if source is not None:
            setattr(found, name, source.get(name))
    return found

"""Sheets for public data sets as they are unpacked, so that the same graph runs on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sheets:
    """Rows of images.tsv and subjects.tsv; paths are relative to the data set's folder."""

    images: tuple[Mapping[str, str], ...]
    subjects: tuple[Mapping[str, str], ...]


def glioma_sheets(cases: Sequence[str]) -> Sheets:
    """Return the sheets of gliomas scanned before and after treatment.

    Parameters
    ----------
    cases : sequence of str
        Names of the folders that hold ``{Pre,Post}_{Scan_T1,Mask}.nii.gz``.
    """
    images = [
        {
            "subject": case,
            "session": session,
            "contrast": "t1",
            "image": f"{case}/{name}_Scan_T1.nii.gz",
            "mask": f"{case}/{name}_Mask.nii.gz",
        }
        for case in sorted(cases)
        for session, name in (("pre", "Pre"), ("post", "Post"))
    ]
    subjects = [{"subject": case, "split": "test", "centre": "public"} for case in sorted(cases)]
    return Sheets(tuple(images), tuple(subjects))


def breast_sheets(cases: Sequence[str]) -> Sheets:
    """Return the sheets of breast DCE-MRI in DICOM with whole-breast segmentations.

    Parameters
    ----------
    cases : sequence of str
        Names of the folders that hold the series ``image_dce_3dfgre_orig`` and ``mask``.
    """
    images = [
        {
            "subject": case,
            "session": "baseline",
            "contrast": "dce",
            "image": f"{case}/image_dce_3dfgre_orig",
            "mask": "",
            "within": f"{case}/mask",
        }
        for case in sorted(cases)
    ]
    subjects = [{"subject": case, "split": "test", "centre": "public"} for case in sorted(cases)]
    return Sheets(tuple(images), tuple(subjects))

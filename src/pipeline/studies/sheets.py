"""Sheets for public data sets as they are unpacked, so that the same graph runs on them."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import CohortError
from pipeline.model.survival.outcome import DAYS_PER_MONTH

#: What the TNM stages may be.
_STAGES = {
    "t_stage": frozenset("1234"),
    "n_stage": frozenset("0123"),
    "m_stage": frozenset("01"),
}


@dataclass(frozen=True)
class Sheets:
    """Rows of images.tsv and subjects.tsv; paths are relative to the data set's folder.

    `features` are the rows of a table made elsewhere, where the data set has one; `left_out` are
    subjects whose outcome the publishers do not give.
    """

    images: tuple[Mapping[str, str], ...]
    subjects: tuple[Mapping[str, str], ...]
    features: tuple[Mapping[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


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


def nsclc_sheets(
    subjects: Sequence[Mapping[str, str]],
    published: Sequence[Mapping[str, str]],
    *,
    scans: Collection[str],
    masks: Collection[str],
) -> Sheets:
    """Return the sheets of lung cancers of two centres with survival and published features.

    Centre lung1 develops, every other centre tests. Time is given in months of 30.4375 days.
    What the publishers left empty stays empty. A code that is no stage (T 5 is in situ, M 3 is
    unknown) becomes empty, for as a number it would rank above every stage.

    Parameters
    ----------
    subjects : sequence of mappings
        Rows of the publishers' ``subjects.tsv``, as text.
    published : sequence of mappings
        Rows of ``published_radiomics.tsv``, as text.
    scans, masks : collections of str
        Subjects with ``images/{subject}.nii.gz`` and ``masks/{subject}.nii.gz``.

    Raises
    ------
    CohortError
        A column is missing or a follow-up is no number; names file, column and subject.
    """
    name = "subjects.tsv"
    kept = ("age_years", "histology", "t_stage", "n_stage", "m_stage")
    _check_columns(name, subjects, ("subject", "centre", "time_days", "event", *kept))
    _check_columns("published_radiomics.tsv", published, ("subject",))
    rows = [
        {
            "subject": row["subject"],
            "split": "development" if row["centre"] == "lung1" else "test",
            "centre": row["centre"],
            "time_months": _scaled(name, row, "time_days", 1 / DAYS_PER_MONTH),
            "event": row["event"],
            **{column: _stage(column, row[column]) for column in kept},
        }
        for row in _sorted(subjects)
        if row["time_days"] and row["event"]
    ]
    known = {row["subject"] for row in rows}
    images = [
        {
            "subject": subject,
            "session": "baseline",
            "contrast": "ct",
            "image": f"images/{subject}.nii.gz",
            "mask": f"masks/{subject}.nii.gz" if subject in masks else "",
        }
        for subject in sorted(known.intersection(scans))
    ]
    features = [
        {"subject": row["subject"]}
        | {f"published.{column}": value for column, value in row.items() if column != "subject"}
        for row in _sorted(published)
        if row["subject"] in known
    ]
    return Sheets(tuple(images), tuple(rows), tuple(features), _others(subjects, rows))


def ispy2_sheets(subjects: Sequence[Mapping[str, str]]) -> Sheets:
    """Return the sheet of the I-SPY 2 trial: pathologic complete response, no images.

    The publishers numbered the parts of their split: 0 fits, 1 and 2 are held back, and become
    the test rows here. Women without a part were in none of the held-back sets: development.
    The subtype is that of the two receptors. The tumour's volume is its number of voxels times
    the volume of one; it is missing where a voxel's size is.

    Parameters
    ----------
    subjects : sequence of mappings
        Rows of the publishers' ``subjects.tsv``, as text.

    Raises
    ------
    CohortError
        A column is missing, a size is no number, or a receptor status is not 0 or 1.
    """
    name = "subjects.tsv"
    sizes = ("mask_voxels", "pixel_mm", "slice_mm")
    needed = ("subject", "age_years", "HR", "HER2pos", "mammaprint_high2", "pCR", "split_test")
    _check_columns(name, subjects, (*needed, *sizes))
    rows = [
        {
            "subject": row["subject"],
            "split": _part(name, row),
            "centre": row["subject"].split("-")[0],
            "response": row["pCR"],
            "subtype": _subtype(name, row),
            "age_years": row["age_years"],
            "tumour_ml": _tumour_ml(name, row),
            "mammaprint_high2": row["mammaprint_high2"],
        }
        for row in _sorted(subjects)
        if row["pCR"]
    ]
    return Sheets((), tuple(rows), left_out=_others(subjects, rows))


def _part(name: str, row: Mapping[str, str]) -> str:
    """Return the split by the publishers' part: 0 or none develops, 1 and 2 test."""
    part = _number(name, row, "split_test")
    if not math.isnan(part) and part not in (0.0, 1.0, 2.0):
        where = f"{name}: subject {row['subject']}"
        raise CohortError([f"{where}: split_test {part:g} is not 0, 1 or 2; correct it"])
    return "test" if part in (1.0, 2.0) else "development"


def _subtype(name: str, row: Mapping[str, str]) -> str:
    """Return the subtype by hormone receptor (HR) and HER2; empty where one is unknown."""
    hormone, her2 = _number(name, row, "HR"), _number(name, row, "HER2pos")
    if math.isnan(hormone) or math.isnan(her2):
        return ""
    for column, value in (("HR", hormone), ("HER2pos", her2)):
        if value not in (0.0, 1.0):
            where = f"{name}: subject {row['subject']}"
            raise CohortError([f"{where}: {column} {value:g} is not 0 or 1; correct it"])
    if not hormone and not her2:
        return "triple negative"
    return f"HR{'+' if hormone else '-'}/HER2{'+' if her2 else '-'}"


def _tumour_ml(name: str, row: Mapping[str, str]) -> str:
    voxels, pixel_mm, slice_mm = (
        _number(name, row, column) for column in ("mask_voxels", "pixel_mm", "slice_mm")
    )
    for column in ("mask_voxels", "pixel_mm", "slice_mm"):
        value = _number(name, row, column)
        if value < 0 or math.isinf(value):
            where = f"{name}: subject {row['subject']}"
            raise CohortError([f"{where}: {column} {value:g} is no size; correct it"])
    volume = voxels * pixel_mm**2 * slice_mm / 1000.0
    return "" if math.isnan(volume) else f"{volume:.6g}"


def _scaled(name: str, row: Mapping[str, str], column: str, factor: float) -> str:
    value = _number(name, row, column)
    return "" if math.isnan(value) else f"{value * factor:.10g}"


def _number(name: str, row: Mapping[str, str], column: str) -> float:
    """Return a cell as a number; NaN where it is empty."""
    text = row[column].strip()
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise CohortError(
            [f"{name}: subject {row['subject']}: {column} {text!r} is no number; correct it"]
        ) from None


def _others(
    given: Sequence[Mapping[str, str]], kept: Sequence[Mapping[str, str]]
) -> tuple[str, ...]:
    names = {row["subject"] for row in kept}
    return tuple(sorted(row["subject"] for row in given if row["subject"] not in names))


def _stage(column: str, value: str) -> str:
    """Return a cell, or nothing for a stage that the TNM system does not have."""
    return value if column not in _STAGES or value in _STAGES[column] else ""


def _sorted(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return sorted(rows, key=lambda row: row["subject"])


def _check_columns(name: str, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> None:
    if not rows:
        raise CohortError([f"{name}: no row below the header; give the file as it was published"])
    missing = [column for column in columns if column not in rows[0]]
    if missing:
        raise CohortError(
            [f"{name}: no column {column!r}; give the file as it was published"
             for column in missing]
        )  # fmt: skip

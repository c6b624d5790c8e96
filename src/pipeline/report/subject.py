"""The page of one subject: two visits, the registration and the Jacobian map, then numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report import subject_pictures
from pipeline.report.page import Fact, Link, Page, Section, Table
from pipeline.report.results import Numbers, SubjectResults, VisitResults, measure
from pipeline.report.text import flatten, is_number, number, percent, significant
from pipeline.types import Mask3D

#: Mask volumes and mean Jacobian measure the same shrinkage in two ways.
_RATIO_TOLERANCE = 0.25


def subject_page(results: SubjectResults, *, back: Link | None = None) -> Page:
    """Return the page; what is missing is named on it, nothing is left out in silence."""
    numbers = measure(results)
    sections = [
        subject_pictures.visits_section(results),
        subject_pictures.close_up_section(results),
        subject_pictures.registration_section(results),
        subject_pictures.jacobian_section(results, numbers),
        _table(results, numbers),
        _provenance(results.provenance),
    ]
    notes = _notes(results, numbers)
    if notes:
        sections.insert(0, Section("Take note", notes=notes))
    first, second = results.baseline.name, results.followup.name
    known = "".join(f" {k.capitalize()}: {v}." for k, v in results.covariates.items())
    return Page(
        title=f"Subject {results.subject}",
        subtitle=f"{first.capitalize()} and {second} scan, the deformation between them, and what"
        f" was measured.{known}",
        banner="SIMULATED IMAGES: no patient was imaged." if results.simulated else "",
        facts=_facts(numbers, results),
        sections=[s for s in sections if s is not None],
        back=back,
        footer="Slices are shown in radiological convention: the patient's right is on the left."
        " Made by medpipe; a research tool, not a medical device.",
    )


# --- numbers --------------------------------------------------------------------------------


def _facts(numbers: Numbers, results: SubjectResults) -> list[Fact]:
    first, second = numbers.volume_ml
    return [
        Fact(f"{number(first, 2)} mL", f"tumour volume, {results.baseline.name}"),
        Fact(f"{number(second, 2)} mL", f"tumour volume, {results.followup.name}"),
        Fact(number(numbers.volume_ratio, 3), "volume ratio of the masks"),
        Fact(number(numbers.mean, 3), "mean Jacobian in the baseline mask (volume ratio)"),
    ]


def _notes(results: SubjectResults, numbers: Numbers) -> list[str]:
    notes = [f"Missing: {name}." for name in _missing(results)]
    for visit, volume in zip((results.baseline, results.followup), numbers.volume_ml, strict=True):
        if volume == 0:
            notes.append(
                f"The mask of the {visit.name} scan is empty: no tumour was found there"
                " (at follow-up, a complete response). Its features are missing and are imputed."
            )
        if visit.segmentation.get("touches_box"):
            notes.append(f"The mask of the {visit.name} scan ends at the box round its seed.")
        if volume > 0 and visit.mask is not None and _touches_border(visit.mask.data > 0):
            notes.append(f"The mask of the {visit.name} scan touches the border of the image.")
        notes += [f"{visit.name.capitalize()}: {w}" for w in _warnings(visit.segmentation)]
        notes += [
            f"{visit.name.capitalize()}: {record['reason']}"
            for record in (visit.segmentation, visit.phase)
            if record.get("reason")
        ]
    folded = int((numbers.ratios <= 0).sum())
    if folded:
        notes.append(f"The map folds at {folded} voxels of the baseline mask (shown in green).")
    if numbers.volume_ratio > 0 and numbers.mean > 0:
        gap = abs(np.log(numbers.mean / numbers.volume_ratio))
        if gap > np.log1p(_RATIO_TOLERANCE):
            notes.append(
                f"Mean Jacobian ({numbers.mean:.3f}) and volume ratio of the masks"
                f" ({numbers.volume_ratio:.3f}) differ by more than {_RATIO_TOLERANCE:.0%}:"
                " look at the outlines and at the registration."
            )
    return notes + [f"Registration: {w}" for w in _warnings(results.registration.metrics)]


def _missing(results: SubjectResults) -> list[str]:
    registration = results.registration
    parts: list[tuple[str, object]] = []
    for visit in (results.baseline, results.followup):
        parts += [
            (f"images of the {visit.name} scan", visit.series),
            (f"mask of the {visit.name} scan", visit.mask),
            (f"subtraction image of the {visit.name} scan", visit.subtraction),
        ]
    parts += [("warped follow-up", registration.warped), ("Jacobian map", registration.jacobian)]
    return [name for name, value in parts if value is None]


def _warnings(record: Mapping[str, Any]) -> list[str]:
    found = record.get("warnings", [])
    return [str(w) for w in found] if isinstance(found, list | tuple) else [str(found)]


def _touches_border(mask: Mask3D) -> bool:
    faces = [mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]]
    return any(bool(face.any()) for face in faces)


def _table(results: SubjectResults, numbers: Numbers) -> Section:
    first, second = numbers.volume_ml
    ratios, metrics = numbers.ratios, results.registration.metrics
    rows = [
        (f"Volume of the mask, {results.baseline.name}", number(first, 3), "mL"),
        (f"Volume of the mask, {results.followup.name}", number(second, 3), "mL"),
        ("Volume ratio of the masks", number(numbers.volume_ratio), "follow-up / baseline"),
        ("Mean Jacobian in the baseline mask", number(numbers.mean), "volume ratio"),
        ("Folding, in the baseline mask", percent(_share(ratios <= 0), 2), "voxels"),
    ]
    rows += [
        (label, percent(metrics[key], 2) if unit == "voxels" else number(metrics[key]), unit)
        for key, label, unit in _REGISTRATION
        if is_number(metrics.get(key))
    ]
    for visit in (results.baseline, results.followup):
        rows += _phase_rows(visit)
    table = Table("Measured", ["What", "Value", "Unit"], rows, align="lrl", narrow=True)
    return Section("Numbers", tables=[table, *_steps(results), *_everything(results)])


#: Metrics of the registration for the first table: key, label, unit.
_REGISTRATION = (
    ("folding_fraction", "Folding, in the whole image", "voxels"),
    ("minimum_jacobian", "Smallest Jacobian in the whole image", "volume ratio"),
    ("inverse_consistency_mean_mm", "Inverse consistency error over the tissue, mean", "mm"),
    ("inverse_consistency_p95_mm", "Inverse consistency error over the tissue, 95 % below", "mm"),
    ("correlation_before", "Correlation of the scans before registration", ""),
    ("correlation_affine", "Correlation after the affine step", ""),
    ("correlation_after", "Correlation after the deformable step", ""),
)


def _everything(results: SubjectResults) -> list[Table]:
    """Return every number that a block measured, under the block's own name for it."""
    rows = _rows("Registration", results.registration.metrics)
    for visit in (results.baseline, results.followup):
        rows += _rows(f"Segmentation, {visit.name}", visit.segmentation)
    if not rows:
        return []
    columns = ["What", "Value", "Unit"]
    return [Table("All that was measured", columns, rows, align="lrl", narrow=True, collapsed=True)]


def _steps(results: SubjectResults) -> list[Table]:
    """Return what was left after each step of the segmentation."""
    rows = []
    for visit in (results.baseline, results.followup):
        steps = visit.segmentation.get("steps") or []
        rows += [
            (visit.name, str(step["step"]), f"{step['voxels']:,}", number(step["volume_mm3"], 0))
            for step in steps
        ]
    if not rows:
        return []
    columns = ["Visit", "Step", "Voxels", "Volume (mm³)"]
    return [Table("How the masks were found", columns, rows, align="llrr", narrow=True)]


def _share(chosen: npt.NDArray[np.bool_]) -> float:
    return float(chosen.mean()) if chosen.size else float("nan")


def _phase_rows(visit: VisitResults) -> list[tuple[str, str, str]]:
    phase = visit.phase
    if not is_number(phase.get("time_s")):
        return []
    rule = f"s after injection ({phase['rule']})" if phase.get("rule") else "s after injection"
    return [(f"Phase of the subtraction, {visit.name}", significant(phase["time_s"]), rule)]


#: Ending of a name, and the unit that it stands for.
_UNITS = (
    ("_mm3", "mm³"), ("_mm", "mm"), ("_ml", "mL"), ("_s", "s"), ("_percent", "%"),
)  # fmt: skip


def _rows(what: str, record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return a row per number (or list of them) that a block measured, with its unit."""
    rows = []
    for name, value in record.items():
        values = value if isinstance(value, list | tuple) else [value]
        if not values or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            continue
        unit, label = "", name
        for ending, words in _UNITS:
            if name.endswith(ending):
                unit, label = words, name[: -len(ending)]
                break
        shown = [f"{v:,}" if isinstance(v, int) else significant(v, 4) for v in values]
        rows.append((f"{what}: {label.replace('_', ' ')}", ", ".join(shown), unit))
    return rows


#: What differs between two runs that give the same result.
_NOT_SHOWN = ("written_at", "threads", "jobs", "quiet", "device", "seconds")


def _provenance(records: Sequence[tuple[str, Mapping[str, Any]]]) -> Section | None:
    if not records:
        return None
    rows = []
    for name, record in records:
        settings = {k: v for k, v in (record.get("settings") or {}).items() if k not in _NOT_SHOWN}
        # Of a path only the name: the folder differs between machines, the result does not.
        texts = {key: value.rsplit("/", 1)[-1] for key, value in flatten(settings).items()}
        text = "; ".join(f"{key} = {value}" for key, value in texts.items())
        block = f"{record.get('block', '')} {record.get('block_version', '')}".strip()
        rows.append((name, block, str(record.get("output_sha256", ""))[:12], text))
    table = Table("Files of this page and how they were made",
                  ["File", "Block and version", "sha256 (first 12)", "Settings"], rows,
                  align="llll")  # fmt: skip
    return Section("Where it comes from", tables=[table], collapsed=True)

"""Feature tables for modelling: a row per region, or a row per value, with the same columns always.

A region that could not be measured has its row, with empty cells, a status and a reason.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES
from pipeline.radiomics.extract import COMPLETE, FeatureRow
from pipeline.radiomics.profile import SHAPE_2D, ExtractionProfile, column_of

#: What a row is about.
ID_COLUMNS = (
    "subject", "session", "contrast", "kind", "image", "mask", "label", "label_number",
    "mask_sha256",
)  # fmt: skip
#: What was found besides the features.
MEASURED_COLUMNS = (
    "voxels", "volume_mm3", "bin_width", "bin_count", "grey_levels", "border_voxels",
    "clipped_fraction", "status", "reason", "warnings",
)  # fmt: skip

_FLAT_UNITS = {"": "1", "_mm": "mm", "_mm2": "mm2", "_per_mm": "1/mm"}


@dataclass(frozen=True)
class RegionId:
    """What a row is about.

    Attributes
    ----------
    subject, session, contrast : str
        Ids; may be empty.
    kind : str
        Preset of the grey levels; empty when a parameter file gives them.
    image, mask : str
        File names, without folders.
    label : str
        Name of the label; empty for every voxel that is not 0.
    label_number : int or None
        Its number in the mask.
    mask_sha256 : str
        Of the mask's file; empty when it could not be read.
    """

    subject: str
    session: str
    contrast: str
    kind: str
    image: str
    mask: str
    label: str
    label_number: int | None
    mask_sha256: str


def failed_row(profile: ExtractionProfile, status: Any, reason: str) -> FeatureRow:
    """Return the row of a region that was not reached: no value, and why."""
    return FeatureRow(dict.fromkeys(profile.columns, math.nan), status, reason, 0, 0.0)


def is_complete(row: FeatureRow) -> bool:
    """Tell whether every feature of the region is there."""
    return row.status in COMPLETE


def wide_table(
    rows: Iterable[tuple[RegionId, FeatureRow]], profile: ExtractionProfile
) -> pd.DataFrame:
    """Return a row per region: ids, what was found, every feature of the profile."""
    records = [_record(about, row) for about, row in rows]
    columns = [*ID_COLUMNS, *MEASURED_COLUMNS, *profile.columns]
    table = pd.DataFrame(records, columns=columns)
    for name in ("label_number", "bin_count", "grey_levels", "voxels", "border_voxels"):
        table[name] = table[name].astype("Int64")
    return table


def long_table(wide: pd.DataFrame, profile: ExtractionProfile) -> pd.DataFrame:
    """Return a row per region, image type and feature, with its unit.

    A value that is missing keeps its row, empty, with the region's status.
    """
    about = ["subject", "session", "contrast", "mask", "label"]
    parts = _parts(profile)
    records = [
        (*(row[name] for name in about), image, feature, row[column], unit, row["status"])
        for row in wide.to_dict("records")
        for column, image, feature, unit in parts
    ]
    columns = [*about, "image_type", "feature", "value", "unit", "status"]
    return pd.DataFrame(records, columns=columns)


def sort_rows(
    rows: Sequence[tuple[RegionId, FeatureRow]],
) -> list[tuple[RegionId, FeatureRow]]:
    """Return the rows by subject, session, contrast, label, whatever order they came in."""
    return sorted(rows, key=lambda pair: _order(pair[0]))


def _order(about: RegionId) -> tuple[Any, ...]:
    return (
        about.subject, about.session, about.contrast, about.label,
        about.label_number if about.label_number is not None else -1, about.image, about.mask,
    )  # fmt: skip


def _record(about: RegionId, row: FeatureRow) -> dict[str, Any]:
    measured = {
        "voxels": row.voxels,
        "volume_mm3": row.volume_mm3,
        "bin_width": row.bin_width,
        "bin_count": row.bin_count,
        "grey_levels": row.grey_levels,
        "border_voxels": row.border_voxels,
        "clipped_fraction": row.clipped_fraction,
        "status": row.status,
        "reason": row.reason,
        "warnings": "; ".join(row.warnings),
    }
    if row.status in ("geometry_mismatch", "unreadable", "failed"):
        measured |= dict.fromkeys(("voxels", "volume_mm3", "border_voxels", "clipped_fraction"))
    return {**vars(about), **measured, **row.values}


def _parts(profile: ExtractionProfile) -> list[tuple[str, str, str, str]]:
    """Return (column, image type, feature, unit) of every column."""
    units: Mapping[str, str] = {f.column: f.unit for f in (*FEATURES, *OPTIONAL_FEATURES)} | {
        f"shape2D_{name}{ending}": _FLAT_UNITS[ending] for name, ending in SHAPE_2D.items()
    }
    shape = [(column, "original", column, units[column]) for column in profile.shape_columns]
    names = [name for image in profile.images for name in image.names]
    return shape + [
        (column_of(name, column), name, column, units[column])
        for name in names
        for column in profile.texture_columns
    ]

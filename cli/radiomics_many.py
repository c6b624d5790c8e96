"""`medpipe radiomics` with many labels, masks or image types: rows of one image."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.radiomics_case import ImageJob, MaskJob, measure_files
from cli.radiomics_options import (
    parse_labels,
    profile_from_file,
    profile_from_options,
    refuse_beside_params,
)
from pipeline.errors import EmptyRegionError

if TYPE_CHECKING:
    from pipeline.radiomics.profile import ExtractionProfile

_LOG = logging.getLogger(__name__)

#: What the options are when nothing is said; a parameter file decides them.
_UNSAID: Mapping[str, Any] = {
    "kind": "mr", "bin_width": None, "bin_count": None, "intensity_shift": 0.0,
    "classes": "shape,firstorder,glcm,glrlm,glszm,gldm", "spacing_mm": 0.0,
    "interpolation": "bspline3", "min_voxels": 8, "min_dimensions": 3, "images": "original",
    "log_sigma": "",
}  # fmt: skip


@dataclass(frozen=True)
class ManyOptions:
    """What was asked for: `settings` are the options of a profile, by name."""

    masks: tuple[Path, ...]
    labels: str
    params: Path | None
    settings: Mapping[str, Any]
    canonical: bool
    allow_empty: bool
    ids: tuple[str, str, str]
    long: bool


def profile_asked(
    params: Path | None, settings: Mapping[str, Any], labels: str
) -> "tuple[ExtractionProfile, Mapping[str, int] | None]":
    """Return the profile and the labels of a parameter file, or of the options."""
    chosen = parse_labels(labels)
    if params is None:
        return profile_from_options(**settings), chosen
    refuse_beside_params(
        [
            (f"--{name.replace('_', '-')}", value != _UNSAID[name])
            for name, value in settings.items()
        ]
    )
    profile, own = profile_from_file(params)
    return profile, chosen if labels else own


def measure_many(image: Path, asked: ManyOptions, out: Path) -> None:
    """Measure the regions of one image and write their table, or tables."""
    from pipeline.io import write_table
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.tables import RegionId, is_complete, long_table, wide_table

    profile, labels = profile_asked(asked.params, asked.settings, asked.labels)
    chosen = None if labels is None else dict(labels)
    masks = tuple(MaskJob(path, chosen) for path in asked.masks)
    job = ImageJob(image, masks, profile, asked.canonical)
    rows = measure_files(job, tolerant=False)
    _check_empty(rows, masks, allowed=asked.allow_empty)
    kind = "" if asked.params else str(asked.settings["kind"])
    about = [
        RegionId(*asked.ids, kind, image.name, masks[one.mask].path.name, one.label, one.number,
                 one.mask_sha256)
        for one in rows
    ]  # fmt: skip
    table = wide_table(zip(about, (one.row for one in rows), strict=True), profile)
    write_table(out, table)
    written = [out]
    if asked.long:
        written.append(out.with_name(f"{out.stem}_long{out.suffix}"))
        write_table(written[1], long_table(table, profile))
    for one in rows:
        name = f"{masks[one.mask].path.name} {one.label}".strip()
        if not is_complete(one.row):
            _LOG.warning("%s: %s: %s", name, one.row.status, one.row.reason)
        for message in one.row.warnings:
            _LOG.info("%s: PyRadiomics: %s", name, message)
    write_sidecars(
        written,
        block="radiomics",
        inputs=[image, *asked.masks, *([asked.params] if asked.params else [])],
        settings={"labels": chosen, "canonical": asked.canonical, "profile": asdict(profile)},
        measured={"rows": len(rows), "complete": sum(is_complete(one.row) for one in rows)},
    )
    typer.echo(f"{len(rows)} regions, {len(profile.columns)} features: {out}")


def _check_empty(rows: Any, masks: tuple[MaskJob, ...], *, allowed: bool) -> None:
    empty = [one for one in rows if one.row.status in ("empty_roi", "label_absent")]
    if empty and not allowed:
        first = empty[0]
        raise EmptyRegionError(
            f"{masks[first.mask].path}: {first.row.reason}; correct mask or labels, or ask with "
            "--allow-empty for a row that says so"
        )

"""`medpipe radiomics-cohort`: the features of a cohort, on all cores, with resume."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common import EXIT_FAILED_CASES, Quiet, progress, set_up
from cli.radiomics_case import CaseRow, ImageJob, MaskJob, measure_case
from cli.radiomics_flags import (
    BinCount,
    BinWidth,
    Canonical,
    Classes,
    ImageTypes,
    IntensityShift,
    Interpolation,
    Kind,
    LogSigma,
    Long,
    MinDimensions,
    MinVoxels,
    Params,
    SpacingMm,
)
from cli.radiomics_many import profile_asked
from cli.radiomics_sheet import SheetRow, read_sheet

if TYPE_CHECKING:
    from pipeline.radiomics.extract import FeatureRow
    from pipeline.radiomics.profile import ExtractionProfile
    from pipeline.radiomics.tables import RegionId

#: What workers need, loaded once in the process that they are forked from.
_PRELOAD = ("cli.radiomics_case", "pipeline.io.images", "pipeline.radiomics.measure")
_KILLED = (
    "the process that measured it was killed, mostly because memory ran out; run it on a larger "
    "machine, with fewer --cores, or with a coarser --spacing-mm"
)

_LOG = logging.getLogger(__name__)


def radiomics_cohort(
    sheet: Annotated[
        Path,
        typer.Argument(
            help="Table, a row per mask: subject, image, mask, and as wanted session, contrast, "
            "label (1, or tumour=1,node=2, or all); paths relative to the table."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Table of features. Default: features.tsv beside the sheet.")
    ] = None,
    params: Params = None,
    kind: Kind = "mr",
    bin_width: BinWidth = None,
    bin_count: BinCount = None,
    intensity_shift: IntensityShift = 0.0,
    classes: Classes = "shape,firstorder,glcm,glrlm,glszm,gldm",
    images: ImageTypes = "original",
    log_sigma: LogSigma = "",
    spacing_mm: SpacingMm = 0.0,
    interpolation: Interpolation = "bspline3",
    labels: Annotated[
        str, typer.Option(help="Labels where the sheet names none: 1, tumour=1,node=2, all.")
    ] = "",
    min_voxels: MinVoxels = 8,
    min_dimensions: MinDimensions = 3,
    canonical: Canonical = False,
    long: Long = False,
    cores: Annotated[
        int, typer.Option(min=0, help="Processes, one thread each; 0: all cores. Same bytes.")
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Measure the regions of a cohort: one table, a row per region, sorted by its ids.

    Each image is read once, whatever its number of masks and labels. Rows of finished images are
    kept in a folder beside the table (OUT.work), so that a run that was killed goes on where it
    was, and another subject costs only itself. What cannot be measured has its row with status
    and reason, the others go on, and the exit code is 3.

    Example: medpipe radiomics-cohort images.tsv --images original,wavelet --cores 4
    """
    set_up(1, quiet)
    from pipeline.radiomics.cohort_run import Killed, core_count, run_jobs, start_early

    rows = read_sheet(sheet)
    start_early(_PRELOAD)
    settings = {
        "kind": kind,
        "bin_width": bin_width,
        "bin_count": bin_count,
        "intensity_shift": intensity_shift,
        "classes": classes,
        "spacing_mm": spacing_mm,
        "interpolation": interpolation,
        "min_voxels": min_voxels,
        "min_dimensions": min_dimensions,
        "images": images,
        "log_sigma": log_sigma,
    }
    profile, everywhere = profile_asked(params, settings, labels)
    target = out or sheet.parent / "features.tsv"
    work = target.with_name(target.name + ".work")
    groups = _by_image(rows)
    jobs = [
        ImageJob(image, tuple(_mask(row, everywhere) for row in members), profile, canonical, work)
        for image, members in groups
    ]
    _LOG.info("%d masks of %d images, %d features", len(rows), len(jobs), len(profile.columns))
    done: list[tuple[RegionId, FeatureRow]] = []
    finished = run_jobs(jobs, measure_case, cores=core_count(cores))
    for place, found in progress(finished, total=len(jobs), what="images"):
        members = groups[place][1]
        if isinstance(found, Killed):
            found = _killed(members, profile)
        done += [_named(members[one.mask], one, kind if params is None else "") for one in found]
    inputs = [sheet, *([params] if params else [])]
    _write(target, done, profile, inputs, long=long)
    _tell(done, target)


def _by_image(rows: Sequence[SheetRow]) -> list[tuple[Path, list[SheetRow]]]:
    """Return the rows of each image, images and rows in an order that the sheet does not decide."""
    groups: dict[Path, list[SheetRow]] = {}
    ordered = sorted(
        rows, key=lambda r: (r.subject, r.session, r.contrast, str(r.image), str(r.mask), r.label)
    )
    for row in ordered:
        groups.setdefault(row.image.resolve(), []).append(row)
    return list(groups.items())


def _mask(row: SheetRow, everywhere: Mapping[str, int] | None) -> MaskJob:
    fallback = None if everywhere is None else dict(everywhere)
    return MaskJob(row.mask, row.labels if row.label else fallback)


def _killed(members: Sequence[SheetRow], profile: "ExtractionProfile") -> list[CaseRow]:
    from pipeline.radiomics.tables import failed_row

    row = failed_row(profile, "failed", _KILLED)
    return [CaseRow(place, "", None, "", row) for place in range(len(members))]


def _named(row: SheetRow, one: CaseRow, kind: str) -> "tuple[RegionId, FeatureRow]":
    from pipeline.radiomics.tables import RegionId

    about = RegionId(
        row.subject, row.session, row.contrast, kind, row.image.name, row.mask.name, one.label,
        one.number, one.mask_sha256,
    )  # fmt: skip
    return about, one.row


def _write(
    target: Path,
    done: Any,
    profile: "ExtractionProfile",
    inputs: Sequence[Path],
    *,
    long: bool,
) -> None:
    from pipeline.io import write_table
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.tables import is_complete, long_table, sort_rows, wide_table

    table = wide_table(sort_rows(done), profile)
    write_table(target, table)
    written = [target]
    if long:
        written.append(target.with_name(f"{target.stem}_long{target.suffix}"))
        write_table(written[1], long_table(table, profile))
    write_sidecars(
        written,
        block="radiomics",
        inputs=inputs,
        settings={"profile": asdict(profile)},
        measured={"rows": len(done), "complete": sum(is_complete(row) for _, row in done)},
    )


def _tell(done: "Sequence[tuple[RegionId, FeatureRow]]", target: Path) -> None:
    """Say what was written and what is missing; exit with 3 when something is."""
    from pipeline.radiomics.tables import is_complete, sort_rows

    lacking = [(about, row) for about, row in sort_rows(done) if not is_complete(row)]
    typer.echo(f"{len(done) - len(lacking)} of {len(done)} regions complete: {target}")
    for about, row in lacking:
        ids = " ".join(part for part in (about.subject, about.session, about.contrast) if part)
        typer.echo(f"{ids}: {about.mask} {about.label}: {row.status}: {row.reason}", err=True)
    if lacking:
        raise typer.Exit(EXIT_FAILED_CASES)

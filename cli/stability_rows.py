"""The work of `medpipe stability perturb`: its sheet, its rows, its finished parts."""

import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cli.common import progress, set_up
from pipeline.errors import CohortError, EmptyRegionError, MedpipeError, SettingsError
from pipeline.radiomics.stability.chain import Chain, Perturbation
from pipeline.sheets import checked_file, checked_id, read_rows

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.radiomics.extract import FeatureRow
    from pipeline.radiomics.profile import ExtractionProfile
    from pipeline.types import Volume

_LOG = logging.getLogger(__name__)

_IDS = ("subject", "session", "contrast")
_OF_THE_WHOLE_IMAGE = ("square", "squareroot", "logarithm", "exponential")


@dataclass(frozen=True)
class RegionRow:
    """A row of the sheet: ids as text, empty where the sheet has none; files; a label."""

    row: int
    subject: str
    session: str
    contrast: str
    image: Path
    mask: Path
    label: int | None

    @property
    def name(self) -> str:
        """Return the name of its part: unlike that of any other row."""
        ids = (self.subject, self.session, self.contrast, str(self.label or ""))
        return "_".join(filter(None, ids)) + f"_{self.row}"


@dataclass(frozen=True)
class Request:
    """What is done to every region: the perturbations, and how features are measured."""

    chain: Chain
    perturbations: tuple[Perturbation, ...]
    kind: str
    bin_width: float | None
    bin_count: int | None
    classes: tuple[str, ...]
    spacing_mm: float | None
    interpolation: str
    min_voxels: int
    canonical: bool
    images: str = "original"
    log_sigma: str = ""

    def profile(self) -> "ExtractionProfile":
        """Return what is measured of each perturbed region, on the grid that it then has."""
        from cli.radiomics_options import profile_from_options

        found = profile_from_options(
            kind=self.kind,
            bin_width=self.bin_width,
            bin_count=self.bin_count,
            intensity_shift=0.0,
            classes=",".join(self.classes),
            spacing_mm=0.0,
            interpolation=self.interpolation,
            min_voxels=self.min_voxels,
            min_dimensions=3,
            images=self.images,
            log_sigma=self.log_sigma,
        )
        whole = sorted({image.kind for image in found.images} & set(_OF_THE_WHOLE_IMAGE))
        if whole:
            raise SettingsError(
                f"--images {whole[0]} scales by the largest intensity of the whole image, of which"
                " a perturbation sees a part; leave it out"
            )
        return found

    def settings(self) -> dict[str, Any]:
        """Return everything but the drawn perturbations, which follow from it and the seed."""
        found = asdict(self)
        del found["perturbations"]
        return {**found.pop("chain"), **found}


def read_regions(path: Path) -> list[RegionRow]:
    """Read and check the sheet; CohortError with every problem at once."""
    problems: list[str] = []
    rows: list[RegionRow] = []
    for line, cells in read_rows(path, ("subject", "image", "mask"), problems):
        where = f"{path}:{line}"
        ids = [
            checked_id(cells, name, where, problems) if cells.get(name) or name == "subject" else ""
            for name in _IDS
        ]
        files = [checked_file(cells, name, path, where, problems) for name in ("image", "mask")]
        label = cells.get("label", "")
        if label and not label.isdecimal():
            problems.append(f"{where}: label {label!r} is no whole number; correct it")
            continue
        if None in ids or None in files:
            continue
        subject, session, contrast = cast(list[str], ids)
        image, mask = cast(list[Path], files)
        number = int(label) if label else None
        rows.append(RegionRow(line, subject, session, contrast, image, mask, number))
    seen: dict[tuple[str, str, str, int | None], int] = {}
    for row in rows:
        key = row.subject, row.session, row.contrast, row.label
        first = seen.setdefault(key, row.row)
        if first != row.row:
            problems.append(
                f"{path}:{row.row}: subject {row.subject} stands already in row {first}; tell the"
                " two apart by session, contrast or label"
            )
    if not rows and not problems:
        problems.append(f"{path}: no row below the header; write one for each region")
    if problems:
        raise CohortError(problems)
    return rows


def measure_all(
    regions: Sequence[RegionRow], request: Request, parts: Path, cores: int
) -> "pd.DataFrame":
    """Return the rows of every region in the order of the sheet.

    Parameters
    ----------
    parts : Path
        Folder with a table per finished region; those that were asked for in the same way, of the
        same files, are read again.
    cores : int
        Processes, one thread each; 0 is one for each core.
    """
    import pandas as pd

    from pipeline.io import read_table
    from pipeline.radiomics.cohort_run import Killed, core_count, run_jobs

    tasks = [(region, request, parts) for region in regions]
    paths: dict[int, Path] = {}
    done = run_jobs(tasks, _measure, cores=core_count(cores))
    for place, path in progress(done, total=len(tasks), what="regions"):
        if isinstance(path, Killed):
            raise MedpipeError(
                f"{regions[place].image}: the system ended the process that measured it, most"
                " likely for want of memory; run the same command with --cores 1, or leave the row"
                " out: what is finished is kept"
            )
        paths[place] = path
    return pd.concat([read_table(paths[n]) for n in range(len(tasks))], ignore_index=True)


def _measure(task: tuple[RegionRow, Request, Path]) -> Path:
    """Measure one region, unless its part is there, and return its table."""
    region, request, parts = task
    set_up(1, quiet=True)
    import pandas as pd

    from pipeline.io import read_json, write_json, write_table
    from pipeline.provenance import sha256
    from pipeline.versions import BLOCK_VERSIONS

    table, record = parts / f"{region.name}.tsv", parts / f"{region.name}.json"
    asked = json.loads(json.dumps(asdict(request))) | {
        "version": BLOCK_VERSIONS["radiomics"],
        "image_sha256": sha256(region.image),
        "mask_sha256": sha256(region.mask),
        "region": [region.subject, region.session, region.contrast, region.label],
    }
    if table.is_file() and record.is_file():
        kept: Any = read_json(record)
        if kept == asked | {"table_sha256": sha256(table)}:
            return table
    rows = [_ids(region, asked["mask_sha256"]) | row for row in _rows(region, request)]
    write_table(table, pd.DataFrame(rows))
    if rows[0]["status"] != "failed":
        write_json(record, asked | {"table_sha256": sha256(table)})
    return table


def _rows(region: RegionRow, request: Request) -> list[dict[str, Any]]:
    """Return a row per perturbation; with its reason where the region cannot be measured."""
    from pipeline.io import read_mask, read_volume
    from pipeline.preprocess.orientation import to_canonical

    try:
        image, mask = read_volume(region.image), read_mask(region.mask, label=region.label)
        if request.canonical:
            image, mask = to_canonical(image), to_canonical(mask)
        return [row for row in _perturbed(image, mask, region, request)]
    except EmptyRegionError as error:
        return _without_values(request, "empty_roi", str(error))
    except MedpipeError as error:
        return _without_values(request, "failed", str(error))


def _perturbed(
    image: "Volume", mask: "Volume", region: RegionRow, request: Request
) -> Iterator[dict[str, Any]]:
    from pipeline.grid_difference import check_same_grid
    from pipeline.radiomics.measure import measure
    from pipeline.radiomics.regions import region_of
    from pipeline.radiomics.stability.perturb import perturb_all

    names = str(region.image), str(region.mask)
    check_same_grid(image.grid, mask.grid, names)
    profile = request.profile()
    key = zlib.crc32(region.name.rsplit("_", 1)[0].encode())
    for one in perturb_all(
        image, mask, request.chain, request.perturbations,
        key=key, spacing_mm=request.spacing_mm, interpolation=cast(Any, request.interpolation),
        context_mm=_context_mm(image, profile, request.spacing_mm or 0.0),
    ):  # fmt: skip
        (row,) = measure(one.image, [region_of(one.mask, one.image.grid)], profile)
        yield _levels(one.perturbation, one.noise_sd) | _measured(row, request.kind)


def _context_mm(image: "Volume", profile: "ExtractionProfile", spacing_mm: float) -> float:
    """Return the surroundings that the filters need, on the coarser of the two grids."""
    from pipeline.radiomics.filters import source_of, support_voxels

    source = source_of(image)
    steps = [max(step, spacing_mm) for step in image.grid.spacing_mm]
    return max(
        reach * step
        for one in profile.images
        for reach, step in zip(support_voxels(one, source), steps, strict=True)
    )


def _without_values(request: Request, status: str, reason: str) -> list[dict[str, Any]]:
    nothing = dict.fromkeys(request.profile().columns, float("nan"))
    return [
        _levels(one, float("nan"))
        | {"kind": request.kind, "voxels": 0, "volume_mm3": 0.0, "status": status, "reason": reason}
        | nothing
        for one in request.perturbations
    ]


def _ids(region: RegionRow, mask_sha256: str) -> dict[str, Any]:
    return {
        "subject": region.subject,
        "session": region.session,
        "contrast": region.contrast,
        "label": "" if region.label is None else str(region.label),
        "image": region.image.name,
        "mask": region.mask.name,
        "mask_sha256": mask_sha256,
    }


def _levels(one: Perturbation, noise_sd: float) -> dict[str, Any]:
    i, j, k = one.placement.translation_voxels
    return {
        "perturbation": one.number,
        "shift_i_voxels": i,
        "shift_j_voxels": j,
        "shift_k_voxels": k,
        "angle_deg": one.placement.angle_deg,
        "volume_fraction": one.volume_fraction,
        "noise_sd": noise_sd,
    }


def _measured(row: "FeatureRow", kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "voxels": row.voxels,
        "volume_mm3": row.volume_mm3,
        "status": row.status,
        "reason": row.reason,
    } | dict(row.values)

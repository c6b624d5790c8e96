"""One image and its masks, from files to rows: what a worker of a cohort does."""

import json
import logging
import math
from dataclasses import asdict, dataclass
from hashlib import sha256 as digest_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import EmptyRegionError, GeometryError, MedpipeError, ReadError, SettingsError

if TYPE_CHECKING:
    from pipeline.radiomics.extract import FeatureRow
    from pipeline.radiomics.profile import ExtractionProfile
    from pipeline.radiomics.regions import Region
    from pipeline.types import Volume

#: Labels of one mask: None is every voxel that is not 0, as one region; {} is each label there is.
Labels = dict[str, int] | None

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskJob:
    """A mask, and which of its labels to measure."""

    path: Path
    labels: Labels = None


@dataclass(frozen=True)
class ImageJob:
    """An image with all its masks.

    Attributes
    ----------
    image, masks : Path, tuple of MaskJob
        Read once each.
    profile : ExtractionProfile
        What to measure.
    canonical : bool
        Bring voxels to LPS order first.
    work : Path or None
        Folder in which finished rows are kept.
    """

    image: Path
    masks: tuple[MaskJob, ...]
    profile: "ExtractionProfile"
    canonical: bool = False
    work: Path | None = None


@dataclass(frozen=True)
class CaseRow:
    """The row of one region: place of its mask in the job, its label, what was measured."""

    mask: int
    label: str
    number: int | None
    mask_sha256: str
    row: "FeatureRow"


def measure_case(job: ImageJob) -> list[CaseRow]:
    """Return the rows of all masks of an image; what is wrong becomes the reason of its row.

    Raises
    ------
    SettingsError
        The same for every image.
    """
    try:
        key = _key(job)
        kept = _kept(job, key)
        if kept is None:
            kept = measure_files(job, tolerant=True)
            _keep(job, key, kept)
        return kept
    except SettingsError:
        raise
    except Exception as error:  # the other images go on
        return [_failed(job, place, error) for place in range(len(job.masks))]


def measure_files(job: ImageJob, *, tolerant: bool) -> list[CaseRow]:
    """Read the image and its masks, and measure every region.

    With `tolerant`, a mask that cannot be used gives a row that says why.
    """
    from pipeline.io import read_volume
    from pipeline.preprocess.orientation import to_canonical
    from pipeline.provenance import sha256
    from pipeline.radiomics.measure import measure

    image = read_volume(job.image)
    if job.canonical:
        image = to_canonical(image)
    rows: list[CaseRow] = []
    found: list[tuple[int, str, Region]] = []
    for place, mask in enumerate(job.masks):
        try:
            regions = _regions(job, mask, image)
            found += [(place, sha256(mask.path), region) for region in regions]
        except SettingsError:
            raise
        except MedpipeError as error:
            if not tolerant:
                raise
            rows.append(_failed(job, place, error))
    measured = measure(image, [region for *_, region in found], job.profile)
    rows += [
        CaseRow(place, region.name, region.number, hashed, row)
        for (place, hashed, region), row in zip(found, measured, strict=True)
    ]
    return sorted(rows, key=lambda row: row.mask)


def _regions(job: ImageJob, mask: MaskJob, image: "Volume") -> "tuple[Region, ...]":
    from pipeline.io import read_labels, read_mask
    from pipeline.preprocess.orientation import to_canonical
    from pipeline.radiomics.regions import region_of, regions_of

    names = (str(job.image), str(mask.path))
    whole = mask.labels is None
    read = read_mask if whole else read_labels
    volume = read(mask.path, like=image.grid)
    if job.canonical:
        volume = to_canonical(volume)
    if whole:
        return (region_of(volume, image.grid, names=names),)
    found = regions_of(volume, image.grid, mask.labels or None, names=names)
    return found or (region_of(volume, image.grid, names=names),)


def _failed(job: ImageJob, place: int, error: Exception) -> CaseRow:
    from pipeline.radiomics.tables import failed_row

    statuses = {
        GeometryError: "geometry_mismatch", ReadError: "unreadable", EmptyRegionError: "empty_roi",
    }  # fmt: skip
    status = next((s for kind, s in statuses.items() if isinstance(error, kind)), "failed")
    if isinstance(error, MedpipeError):
        reason = str(error)
    elif isinstance(error, MemoryError):
        reason = "no memory left; use fewer --cores, a coarser --spacing-mm or a larger machine"
    else:
        _LOG.exception("%s", job.image)
        reason = f"{type(error).__name__}: {error}"
    for folder in {job.image.parent, job.masks[place].path.parent}:
        reason = reason.replace(f"{folder}/", "")
    labels = job.masks[place].labels or {}
    label = next(iter(labels)) if len(labels) == 1 else ""
    number = labels.get(label) if label else None
    return CaseRow(place, label, number, "", failed_row(job.profile, status, reason))


def _key(job: ImageJob) -> str:
    """Return a name for everything that the rows of an image follow from."""
    from pipeline.provenance import sha256
    from pipeline.versions import BLOCK_VERSIONS

    if job.work is None:
        return ""
    for path in (job.image, *(mask.path for mask in job.masks)):
        if not path.exists():
            raise ReadError(f"{path}: no such file; correct the sheet")
    request = {
        "block_version": BLOCK_VERSIONS["radiomics"],
        "image": sha256(job.image),
        "masks": [[sha256(mask.path), mask.labels] for mask in job.masks],
        "profile": asdict(job.profile),
        "canonical": job.canonical,
    }
    return digest_of(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()


def _kept(job: ImageJob, key: str) -> list[CaseRow] | None:
    from pipeline.io import read_json
    from pipeline.radiomics.extract import FeatureRow

    if job.work is None:
        return None
    columns = job.profile.columns
    try:
        rows = []
        for one in read_json(job.work / f"{key}.json"):
            values = [math.nan if v is None else float(v) for v in one["row"].pop("values")]
            named = dict(zip(columns, values, strict=True))
            one["row"]["warnings"] = tuple(one["row"]["warnings"])
            rows.append(CaseRow(**{**one, "row": FeatureRow(values=named, **one["row"])}))
        return rows
    except (ReadError, KeyError, TypeError, ValueError):
        return None


def _keep(job: ImageJob, key: str, rows: list[CaseRow]) -> None:
    """Write the rows of an image; one that could not be read is tried again next time."""
    from pipeline.io import write_json

    if job.work is None or any(not one.mask_sha256 for one in rows):
        return
    records: list[dict[str, Any]] = []
    for one in rows:
        row = {**vars(one.row), "values": list(one.row.values.values())}
        records.append({**vars(one), "row": row})
    write_json(job.work / f"{key}.json", records)

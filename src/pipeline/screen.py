"""Who enters the study: every file is read whole and checked before any computing is spent on it.

A subject with a defect is left out with its reason; the cohort goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import GeometryError, MedpipeError, ReadError
from pipeline.grid_difference import check_same_grid
from pipeline.sheets import Cohort, ImageRow
from pipeline.types import Geometry, Volume

ImageReader = Callable[[Path], Volume]
#: A DICOM segmentation leaves out empty slices, so masks are read onto the grid of their image.
MaskReader = Callable[[Path, Geometry], Volume]


@dataclass(frozen=True)
class Exclusion:
    """Why a subject does not take part.

    Attributes
    ----------
    subject, stage : str
        Whom, and where it was found (`screen`).
    reason_class : str
        Short class for counting: no images, missing session, unreadable file, bad geometry, ...
    reason : str
        The whole sentence, with the file.
    """

    subject: str
    stage: str
    reason_class: str
    reason: str


def screen_cohort(
    cohort: Cohort,
    *,
    sessions: Sequence[str],
    contrast: str,
    excluded: Mapping[str, str],
    read_image: ImageReader,
    read_mask: MaskReader,
    drawn_masks: bool = False,
    threads: int = 1,
) -> tuple[list[str], list[Exclusion]]:
    """Return the included ids and the exclusions, both in the order of the ids.

    Parameters
    ----------
    cohort : Cohort
        The checked sheets.
    sessions, contrast
        What each subject must have.
    excluded : mapping
        Subjects that the user leaves out, with the reason.
    read_image, read_mask : functions
        Verified readers: path to volume, or ReadError / GeometryError.
    drawn_masks : bool
        The study takes the sheet's masks: a session without one excludes its subject.
    threads : int
        Subjects read at the same time; the result does not depend on it.
    """
    subjects = [row.subject for row in cohort.subjects]

    def verdict(subject: str) -> Exclusion | None:
        if subject in excluded:
            return Exclusion(subject, "screen", "excluded by the user", excluded[subject])
        groups = {s: cohort.rows(subject, s, contrast) for s in sessions}
        lacking = _lacking(subject, groups, contrast, drawn_masks=drawn_masks)
        return lacking or _screen_subject(subject, groups, read_image, read_mask)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        verdicts = list(pool.map(verdict, subjects))
    included = [s for s, v in zip(subjects, verdicts, strict=True) if v is None]
    return included, [v for v in verdicts if v is not None]


def _lacking(
    subject: str, groups: Mapping[str, Sequence[ImageRow]], contrast: str, *, drawn_masks: bool
) -> Exclusion | None:
    """Return what the sheet does not have: any image, a session, a mask."""
    missing = [session for session, rows in groups.items() if not rows]
    if len(missing) == len(groups):
        reason = f"the sheet has no {contrast} image of this subject"
        return Exclusion(subject, "screen", "no images", reason)
    if missing:
        reason = f"no {contrast} image of session {', '.join(missing)}"
        return Exclusion(subject, "screen", "missing session", reason)
    bare = [s for s, rows in groups.items() if not any(row.mask for row in rows)]
    if drawn_masks and bare:
        reason = f"the sheet has no mask of session {', '.join(bare)}"
        return Exclusion(subject, "screen", "no mask", reason)
    return None


def _screen_subject(
    subject: str,
    groups: Mapping[str, Sequence[ImageRow]],
    read_image: ImageReader,
    read_mask: MaskReader,
) -> Exclusion | None:
    try:
        for session, rows in groups.items():
            _check_session(session, rows, read_image, read_mask)
    except _EmptyMaskError as error:
        return Exclusion(subject, "screen", "empty mask", str(error))
    except ReadError as error:
        return Exclusion(subject, "screen", "unreadable file", str(error))
    except GeometryError as error:
        return Exclusion(subject, "screen", "bad geometry", str(error))
    return None


class _EmptyMaskError(MedpipeError):
    """A mask that the sheet names holds no voxel."""


def _check_session(
    session: str, rows: Sequence[ImageRow], read_image: ImageReader, read_mask: MaskReader
) -> None:
    """Raise unless every file reads, all lie on one grid and no given mask is empty."""
    first: Geometry | None = None
    for row in rows:
        grid = read_image(row.image).grid
        if first is None:
            first = grid
        check_same_grid(first, grid, (rows[0].image.name, row.image.name))
        for path in (row.mask, row.within):
            if path is None:
                continue
            mask = read_mask(path, first)
            check_same_grid(first, mask.grid, (rows[0].image.name, path.name))
            if not mask.data.any():
                raise _EmptyMaskError(f"{path.name} of session {session} holds no voxel")

"""The cases of a training: read once, described, dealt to folds."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.common import progress
from pipeline.errors import CohortError, GeometryError, MedpipeError

if TYPE_CHECKING:
    from pipeline.segment.training.fingerprint import CaseFingerprint
    from pipeline.segment.training.sheet import TrainingRow
    from pipeline.types import Volume

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Case:
    """A row, its fold, and what its image looks like."""

    row: "TrainingRow"
    found: "CaseFingerprint"
    fold: int | None = None


def describe_cases(
    sheet: Path, rows: Sequence["TrainingRow"], labels: Mapping[str, int]
) -> list[Case]:
    """Read every image and mask once; tell all that do not fit at once."""
    from pipeline.segment.training.fingerprint import describe_case

    cases, problems = [], []
    unknown: dict[int, str] = {}
    for row in progress(rows, total=len(rows), what="reading"):
        try:
            image, mask = load_case(row)
            found = describe_case(image, mask, labels)
        except MedpipeError as error:
            problems.append(f"{sheet}:{row.row}: {error}")
            continue
        for value in found.unknown:
            unknown.setdefault(value, row.name)
        cases.append(Case(row, found))
    if problems:
        raise CohortError(problems)
    for value, name in sorted(unknown.items()):
        _LOG.warning("value %d of masks (first: %s) has no label: it is background", value, name)
    return cases


def load_case(row: "TrainingRow") -> tuple["Volume", "Volume"]:
    """Return image and mask of a row; they lie on one grid."""
    from pipeline.grid_difference import check_same_grid
    from pipeline.io import read_labels, read_volume

    image = read_volume(row.image)
    mask = read_labels(row.mask, like=image.grid)
    check_same_grid(image.grid, mask.grid, (row.image.name, row.mask.name))
    if mask.data.min() < 0:
        raise GeometryError(f"{row.mask.name}: values below 0; a mask has 0, 1, 2 ...")
    return image, mask


def with_folds(sheet: Path, cases: list[Case], folds: int, seed: int) -> list[Case]:
    """Give each case the sheet's fold, or deal folds; refuse twins in two folds."""
    from dataclasses import replace

    from pipeline.segment.training.folds import deal_folds
    from pipeline.segment.training.sheet import check_twins

    if cases[0].row.fold is not None:
        dealt: Sequence[int | None] = [case.row.fold for case in cases]
    else:
        volumes = [case.found.foreground_mm3 for case in cases]
        dealt = deal_folds([c.row.group for c in cases], volumes, folds=folds, seed=seed)
    found = [replace(case, fold=number) for case, number in zip(cases, dealt, strict=True)]
    check_twins(sheet, [(case.row, case.fold, case.found.digest) for case in found])
    return found


def split_cases(cases: Sequence[Case], fold: int | None) -> tuple[list[Case], list[Case]]:
    """Return the cases that train and those held out; None holds out nobody."""
    if fold is None:
        return list(cases), []
    return [c for c in cases if c.fold != fold], [c for c in cases if c.fold == fold]


def found_labels(rows: Sequence["TrainingRow"]) -> dict[str, int]:
    """Return a label for every value above 0 in any mask."""
    import numpy as np

    from pipeline.io import read_labels

    values: set[int] = set()
    for row in progress(rows, total=len(rows), what="looking for labels"):
        values |= {int(v) for v in np.unique(read_labels(row.mask).data) if v > 0}
    return {f"label{value}": value for value in sorted(values)}

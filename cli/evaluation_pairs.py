"""Which prediction belongs to which reference: a sheet, two files, or two folders."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cli.common import stem
from pipeline.errors import CohortError, GeometryError, ReadError, SettingsError

if TYPE_CHECKING:
    from pipeline.types import Volume

#: Files of a folder that are taken for images; results carry sidecars beside them.
_IMAGES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A case to evaluate.

    Attributes
    ----------
    subject : str
        Its id.
    reference : Path
        Label image.
    prediction : Path or None
        Label image; None where there is no file of that name.
    image : Path or None
        The scan, for the pictures; and for the grid of masks that are both DICOM SEG.
    """

    subject: str
    reference: Path
    prediction: Path | None
    image: Path | None = None


def find_pairs(
    reference: Path | None, prediction: Path | None, sheet: Path | None, image: Path | None
) -> tuple[Pair, ...]:
    """Return the cases, in the order of their ids.

    Raises
    ------
    SettingsError
        Neither a sheet nor two paths, or both.
    CohortError
        Problems of the sheet, all at once.
    ReadError
        A path that does not exist, or a folder without images.
    """
    if sheet is not None:
        if reference is not None or image is not None:
            raise SettingsError("--sheet names all files; give no others, or leave it out")
        return read_pair_sheet(sheet)
    if reference is None or prediction is None:
        raise SettingsError(
            "give a reference and a prediction (two files, or two folders), or --sheet pairs.tsv"
        )
    for path in (reference, prediction, image):
        if path is not None and not path.exists():
            raise ReadError(f"{path}: no such file or folder; check the path")
    if reference.is_dir() != prediction.is_dir():
        raise SettingsError(
            f"{reference} and {prediction}: one is a folder and one a file; give two of a kind"
        )
    if not reference.is_dir():
        return (Pair(stem(reference), reference, prediction, image),)
    if image is not None and not image.is_dir():
        raise SettingsError(f"--image {image}: give a folder, as for the masks")
    return pair_folders(reference, prediction, image)


def read_pair_sheet(path: Path) -> tuple[Pair, ...]:
    """Read a sheet with columns subject, reference, prediction and perhaps image.

    Raises
    ------
    CohortError
        One line per problem: file, row, what is wrong, what to do.
    """
    from pipeline.sheets import checked_file, checked_id, read_rows

    problems: list[str] = []
    rows = read_rows(path, ("subject", "reference", "prediction"), problems)
    if not rows and not problems:
        problems.append(f"{path}: no case below the header; write a row for each")
    pairs: dict[str, tuple[int, Pair]] = {}
    for line, cells in rows:
        where = f"{path}:{line}"
        subject = checked_id(cells, "subject", where, problems)
        reference, prediction = (
            checked_file(cells, column, path, where, problems)
            for column in ("reference", "prediction")
        )
        image = checked_file(cells, "image", path, where, problems) if cells.get("image") else None
        if subject is None or reference is None or prediction is None:
            continue
        if subject in pairs:
            problems.append(
                f"{where}: subject {subject!r} stands already in row {pairs[subject][0]}; give "
                "each case an id of its own"
            )
            continue
        if reference.resolve() == prediction.resolve():
            problems.append(f"{where}: reference and prediction are the same file; correct one")
        pairs[subject] = (line, Pair(subject, reference, prediction, image))
    if problems:
        raise CohortError(problems)
    return tuple(pairs[subject][1] for subject in sorted(pairs))


def read_pair(pair: Pair) -> tuple["Volume", "Volume"]:
    """Return the labels of reference and prediction of a case that has both.

    A DICOM SEG leaves out empty slices, and its labels are the numbers of its segments. It is put
    on the grid of the other mask; where both are DICOM SEG, on that of the scan.

    Raises
    ------
    ReadError, GeometryError
        See `pipeline.io.read_labels`; or two DICOM SEG of other extents, and no scan.
    """
    from pipeline.geometry import same_grid
    from pipeline.io import read_labels, read_volume
    from pipeline.io.images import segmentation_in

    reference, prediction = pair.reference, cast(Path, pair.prediction)
    sparse = [segmentation_in(path) is not None for path in (reference, prediction)]
    if sparse == [True, True]:
        like = read_volume(pair.image).grid if pair.image is not None else None
        found = read_labels(reference, like=like), read_labels(prediction, like=like)
        if not same_grid(found[0].grid, found[1].grid):
            raise GeometryError(
                f"{reference} and {prediction}: two DICOM SEG, and each holds only the slices with "
                "something in them; name the scan that they were drawn on (`--image`, or the "
                "column image of the sheet)"
            )
        return found
    if sparse[0]:
        second = read_labels(prediction)
        return read_labels(reference, like=second.grid), second
    first = read_labels(reference)
    return first, read_labels(prediction, like=first.grid if sparse[1] else None)


def pair_folders(references: Path, predictions: Path, images: Path | None) -> tuple[Pair, ...]:
    """Return a case for each image of a folder, with the files of the same name in the others.

    Endings do not count. A reference without a prediction stays a case: it must not drop out of
    the means unseen. A prediction without a reference is told in the log.
    """
    named = _named(references)
    if not named:
        raise ReadError(f"{references}: no image in this folder; expected {', '.join(_IMAGES)}")
    found = _named(predictions)
    scans = {} if images is None else _named(images)
    lonely = sorted(found.keys() - named.keys())
    if lonely:
        _LOG.warning("%s: %d files have no reference of their name and are left out: %s",
                     predictions, len(lonely), _some(lonely))  # fmt: skip
    return tuple(
        Pair(name, named[name], found.get(name), scans.get(name)) for name in sorted(named)
    )


def _named(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by their names without ending."""
    files = sorted(
        p for p in folder.iterdir()
        if p.is_file() and p.name.lower().endswith(_IMAGES) and not p.name.startswith(".")
    )  # fmt: skip
    found: dict[str, Path] = {}
    for path in files:
        twin = found.setdefault(stem(path), path)
        if twin != path:
            raise ReadError(f"{twin} and {path.name} differ in their ending only; remove one")
    return found


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")

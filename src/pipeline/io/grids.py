"""Verdicts on the grid that a file declares: fine, repaired with a log line, or refused."""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.types import Geometry

LOGGER = logging.getLogger(__name__)

#: Spacings outside are no medical image (1 µm to 1 m): a header in the wrong unit, or damage.
MIN_SPACING_MM = 1e-3
MAX_SPACING_MM = 1e3

#: Largest believable distance of the first voxel from the scanner's centre.
MAX_ORIGIN_MM = 1e6

#: |cosine| between two axes that counts as rounding of stored numbers (0.006°).
ROUNDING_COSINE = 1e-4

#: |cosine| between two axes that is still repaired, with a warning (0.11°).
REPAIRABLE_COSINE = 2e-3


def grid_from_columns(
    path: Path,
    shape: tuple[int, int, int],
    columns_mm: npt.NDArray[np.float64],
    origin_mm: npt.NDArray[np.float64],
) -> Geometry:
    """Return the grid of a file, or refuse it in plain words.

    Parameters
    ----------
    path : Path
        For messages.
    shape : (I, J, K)
        Number of voxels.
    columns_mm : (3, 3) float array
        Column c is the LPS step in mm from one voxel to the next along axis c.
    origin_mm : (3,) float array
        LPS position of voxel (0, 0, 0).

    Raises
    ------
    GeometryError
        Spacing not finite or outside 1 µm..1 m, origin not finite, or sheared axes.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        spacing = np.linalg.norm(columns_mm, axis=0)
        check_spacing(path, spacing)
    check_origin(path, origin_mm)
    direction = _orthonormal(path, columns_mm / spacing, spacing * np.asarray(shape))
    a, b, c = (float(v) for v in spacing)
    x, y, z = (float(v) for v in origin_mm)
    return Geometry(shape, (a, b, c), (x, y, z), direction)


def check_spacing(path: Path, spacing_mm: npt.ArrayLike) -> None:
    """Raise GeometryError unless each spacing is a finite number from 1 µm to 1 m."""
    values = np.asarray(spacing_mm, dtype=np.float64)
    within = np.isfinite(values) & (values >= MIN_SPACING_MM) & (values <= MAX_SPACING_MM)
    if not within.all():
        listed = ", ".join(f"{v:g}" for v in values)
        raise GeometryError(
            f"{path}: voxel spacing ({listed}) mm is not within {MIN_SPACING_MM:g} to "
            f"{MAX_SPACING_MM:g} mm; convert the image again from its source, or correct the "
            "spacing in its header"
        )


def check_origin(path: Path, origin_mm: npt.ArrayLike) -> None:
    """Raise GeometryError unless the origin is finite and within a kilometre."""
    values = np.asarray(origin_mm, dtype=np.float64)
    if not (np.isfinite(values) & (np.abs(values) <= MAX_ORIGIN_MM)).all():
        listed = ", ".join(f"{v:g}" for v in values)
        raise GeometryError(
            f"{path}: origin ({listed}) mm is not finite or farther than {MAX_ORIGIN_MM:g} mm; "
            "convert the image again from its source, or correct the origin in its header"
        )


def largest_cosine(direction: npt.NDArray[np.float64]) -> float:
    """Return the largest |cosine| between two columns of unit length: 0 without shear."""
    gram = direction.T @ direction
    return float(np.abs(gram - np.diag(np.diag(gram))).max())


def _orthonormal(
    path: Path, direction: npt.NDArray[np.float64], extent_mm: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the nearest orthonormal matrix; refuse shear."""
    shear = largest_cosine(direction)
    if not shear <= REPAIRABLE_COSINE:
        degrees = np.degrees(np.arccos(np.clip(shear, -1, 1)))
        raise GeometryError(
            f"{path}: the image axes are sheared: two of them meet at {degrees:.2f}° instead of "
            "90°, and no voxel grid of this kind can be measured or registered. Usual causes: a "
            "tilted CT gantry, or an affine registration stored in the header. Resample the image "
            "onto straight axes, or convert it again from DICOM"
        )
    left, _, right = np.linalg.svd(direction)
    nearest = np.asarray(left @ right, dtype=np.float64)
    if shear > ROUNDING_COSINE:
        shift = float(np.abs((nearest - direction) @ np.diag(extent_mm)).sum(axis=1).max())
        LOGGER.warning(
            "%s: axes off the right angle by %.3f°: straightened, no voxel moves by more than "
            "%.2g mm", path, np.degrees(np.arcsin(shear)), shift,
        )  # fmt: skip
    return nearest

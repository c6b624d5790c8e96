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

#: Direction cosines of three decimals are off the length of 1 by less than this.
ROUNDING_LENGTH = 2e-3

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
    return grid_from_axes(path, shape, columns_mm / spacing, spacing, origin_mm)


def grid_from_axes(
    path: Path,
    shape: tuple[int, int, int],
    axes: npt.NDArray[np.float64],
    spacing_mm: npt.ArrayLike,
    origin_mm: npt.NDArray[np.float64],
) -> Geometry:
    """Return the grid of a file that states spacing and direction cosines apart.

    Parameters
    ----------
    path, shape, origin_mm
        As in `grid_from_columns`.
    axes : (3, 3) float array
        Column c is the LPS direction of axis c, of length 1 but for rounding.
    spacing_mm : (3,) floats
        Kept exactly as stated.

    Raises
    ------
    GeometryError
        As `grid_from_columns`, or cosines that are not of length 1.
    """
    check_spacing(path, spacing_mm)
    check_origin(path, origin_mm)
    i, j, k = (float(v) for v in np.asarray(spacing_mm))
    x, y, z = (float(v) for v in origin_mm)
    direction = _orthonormal(path, unit_axes(path, axes), np.asarray(spacing_mm) * shape)
    return Geometry(shape, (i, j, k), (x, y, z), direction)


def unit_axes(path: Path, axes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return direction cosines (columns) freed of the rounding of their length."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(axes, axis=0)
    if not (np.abs(lengths - 1.0) <= ROUNDING_LENGTH).all():
        listed = ", ".join(f"{v:g}" for v in lengths)
        raise GeometryError(
            f"{path}: direction cosines have lengths {listed} instead of 1: the header is damaged; "
            "convert or export the image again"
        )
    return np.asarray(axes / lengths, dtype=np.float64)


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

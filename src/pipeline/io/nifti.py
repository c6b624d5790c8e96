"""NIfTI single files (.nii, .nii.gz) in: the grid with its verdict, and the voxels."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.geometry import flip_ras_lps, grid_difference_mm
from pipeline.io.grids import (
    ROUNDING_COSINE,
    check_origin,
    check_spacing,
    grid_from_columns,
    largest_cosine,
)
from pipeline.io.nifti_header import NiftiHeader, read_header
from pipeline.io.sources import open_source, opened
from pipeline.io.voxels import read_voxels, rescale
from pipeline.types import Geometry

LOGGER = logging.getLogger(__name__)

#: The two stored poses agree when no corner moves by more than this part of a voxel edge.
SAME_POSE_VOXELS = 0.1

#: The two stored spacings may differ by this part: rounding, not another voxel size.
SAME_SPACING_PART = 1e-3

Affine = npt.NDArray[np.float64]


def read_nifti(path: Path, *, max_bytes: int) -> tuple[NiftiHeader, npt.NDArray[Any]]:
    """Return the header and the scaled voxels (I, J, K, ...) of a verified NIfTI file."""
    with opened(path) as stream:
        source = open_source(stream, path)
        header = read_header(source)
        voxels = read_voxels(source, header.shape, header.dtype, max_bytes=max_bytes)
    return header, rescale(voxels, header.slope, header.intercept)


def grid_of(header: NiftiHeader) -> Geometry:
    """Return the LPS grid of the first three axes.

    Both poses may be stored. As in ITK, a scanner sform (code 1) wins, else the qform, else
    any sform; a sheared or unusable sform gives way to a qform. Two poses that disagree are
    logged with their distance in mm. With neither, the axes run along right, anterior,
    superior from 0 (method 1 of the standard), which is logged too.

    Raises
    ------
    GeometryError
        See `pipeline.io.grids.grid_from_columns`.
    """
    if header.sform_code > 0 and header.qform_code > 0:
        return _grid_of_two(header)
    if header.sform_code > 0:
        return _grid(header, _sform(header))
    if header.qform_code > 0:
        return _grid(header, _qform(header))
    LOGGER.warning(
        "%s: neither qform nor sform is set: the position is unknown and the axes are taken as "
        "right, anterior, superior from 0; do not trust left and right", header.path,
    )  # fmt: skip
    return _grid(header, np.diag((*_spacing(header), 1.0)))


def _grid_of_two(header: NiftiHeader) -> Geometry:
    sform = _sform(header)
    if not _is_rectangular(sform):
        LOGGER.warning("%s: the sform is sheared or unusable: the qform is used", header.path)
        return _grid(header, _qform(header))
    by_sform = _grid(header, sform)
    try:
        by_qform = _grid(header, _qform(header))
    except GeometryError:
        LOGGER.warning("%s: the qform is unusable: the sform is used", header.path)
        return by_sform
    chosen, name = (by_sform, "sform") if header.sform_code == 1 else (by_qform, "qform")
    distance = grid_difference_mm(by_qform, by_sform)
    if distance > SAME_POSE_VOXELS * min(by_qform.spacing_mm):
        LOGGER.warning(
            "%s: qform (code %d) and sform (code %d) put corners up to %.3g mm apart: the %s is "
            "used, as in ITK; check image and mask together if they come from different programs",
            header.path, header.qform_code, header.sform_code, distance, name,
        )  # fmt: skip
    return chosen


def _is_rectangular(affine: Affine) -> bool:
    if not np.isfinite(affine).all():
        return False
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not (steps > 0).all():
        return False
    return largest_cosine(affine[:3, :3] / steps) <= ROUNDING_COSINE


def _grid(header: NiftiHeader, ras: Affine) -> Geometry:
    lps = flip_ras_lps(ras)
    i, j, k = _grid_shape(header)
    return grid_from_columns(header.path, (i, j, k), lps[:3, :3], lps[:3, 3])


def _grid_shape(header: NiftiHeader) -> tuple[int, ...]:
    return (*header.shape, 1, 1)[:3]


def _spacing(header: NiftiHeader) -> npt.NDArray[np.float64]:
    """Return pixdim in mm; a single slice without thickness gets 1 mm."""
    spacing = np.array(header.pixdim[1:4]) * header.mm_per_unit
    if _grid_shape(header)[2] == 1 and spacing[2] == 0.0:
        LOGGER.warning("%s: a single slice without thickness: 1 mm is assumed", header.path)
        spacing[2] = 1.0
    check_spacing(header.path, spacing)
    return spacing


def _sform(header: NiftiHeader) -> Affine:
    """Return the stored affine; its steps, rounded in the file, are set to pixdim exactly."""
    affine = np.vstack([np.array(header.rows) * header.mm_per_unit, (0.0, 0.0, 0.0, 1.0)])
    spacing = _spacing(header)
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.linalg.norm(affine[:3, :3], axis=0)
    usable = np.isfinite(steps).all() and (steps > 0).all()
    if usable and (np.abs(steps - spacing) > SAME_SPACING_PART * spacing).any():
        raise GeometryError(
            f"{header.path}: pixdim says {_listed(spacing)} mm, the sform {_listed(steps)} mm: "
            "programs read this file with different voxel sizes; convert it again from its source, "
            "or set both to the true spacing"
        )
    if usable:
        affine[:3, :3] *= spacing / steps
    return affine


def _listed(values: npt.NDArray[np.float64]) -> str:
    return " x ".join(f"{v:.4g}" for v in values)


def _qform(header: NiftiHeader) -> Affine:
    """Return the affine of quaternion, offset, pixdim and handedness."""
    b, c, d = header.quaternion
    squared = b * b + c * c + d * d
    if not squared <= 1.0 + 1e-3:
        raise GeometryError(
            f"{header.path}: the qform quaternion has squared length {squared:g}, more than 1: the "
            "header is damaged; convert the image again from its source"
        )
    a = math.sqrt(max(0.0, 1.0 - squared))
    a, b, c, d = (v / math.sqrt(a * a + squared) for v in (a, b, c, d))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    steps = _spacing(header)
    if header.pixdim[0] < 0:
        steps[2] = -steps[2]
    affine = np.eye(4)
    affine[:3, :3] = rotation * steps
    affine[:3, 3] = np.array(header.offset) * header.mm_per_unit
    check_origin(header.path, affine[:3, 3])
    return affine

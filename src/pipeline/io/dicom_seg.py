"""DICOM segmentations in: frames put to their places on a grid."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import EmptyRegionError, GeometryError, ReadError
from pipeline.geometry import world_to_index
from pipeline.io.dicom import check_pixels, pixels_of
from pipeline.io.dicom_headers import (
    SEGMENTATION_CLASSES,
    Slice,
    members_of,
    parsing,
    read_dataset,
    slices_of,
)
from pipeline.io.dicom_stack import slice_normal
from pipeline.io.grids import check_spacing, grid_from_axes
from pipeline.io.limits import check_declared
from pipeline.types import Geometry, Volume

LOGGER = logging.getLogger(__name__)

#: A frame must meet a slice of the grid to this part of a voxel.
_SAME_PLACE_VOXELS = 0.02


def find_segmentation(path: Path) -> Path | None:
    """Return the one DICOM SEG that `path` is or that its folder holds, else None."""
    found = []
    for member in members_of(path):
        header = read_dataset(member, pixels=False)
        with parsing(member):
            if header is not None and header.get("SOPClassUID") in SEGMENTATION_CLASSES:
                found.append(member)
    if len(found) > 1:
        raise ReadError(f"{path}: {len(found)} DICOM SEG files; give the one that is meant")
    return found[0] if found else None


def read_segmentation(
    path: Path, *, label: int | None, like: Geometry | None, max_bytes: int
) -> Volume:
    """Return a DICOM SEG as 0 and 1 (uint8).

    Parameters
    ----------
    path : Path
        The file. BINARY, FRACTIONAL (half of the maximum and more is inside) or LABELMAP.
    label : int or None
        Segment number; None takes all segments together.
    like : Geometry or None
        Grid of the image. Frames must meet its slices; slices without a frame stay 0. None
        takes the smallest grid that holds all frames.
    max_bytes : int
        Cap on the frames.

    Raises
    ------
    ReadError
        Damaged or oversized.
    GeometryError
        A frame does not meet the grid.
    EmptyRegionError
        No segment has that number.
    """
    header = read_dataset(path, pixels=False)
    frames = slices_of(path, header)
    with parsing(path):
        kind = str(header.get("SegmentationType", "BINARY"))
        limit = math.ceil(int(header.get("MaximumFractionalValue", 255)) / 2)
    _check_size(path, frames, max_bytes)
    grid = _own_grid(path, frames, max_bytes) if like is None else like
    chosen = _chosen(path, frames, label, kind)
    dataset = read_dataset(path, pixels=True)
    inside = np.zeros(grid.shape, dtype=np.uint8, order="F")
    for frame in chosen:
        place = _place(path, frame, grid)
        plane = pixels_of(path, dataset, frame.frame).T
        inside[:, :, place] |= _inside(plane, kind, label, limit)
    if label is not None and kind == "LABELMAP" and not inside.any():
        raise EmptyRegionError(f"{path}: no voxel has segment number {label}")
    if kind == "FRACTIONAL":
        LOGGER.info("%s: fractional segmentation cut at half of its maximum", path)
    return Volume(inside, grid)


def _inside(
    plane: npt.NDArray[Any], kind: str, label: int | None, limit: int
) -> npt.NDArray[np.bool_]:
    if kind == "FRACTIONAL":
        return np.asarray(plane >= limit)
    if kind == "LABELMAP" and label is not None:
        return np.asarray(plane == label)
    return np.asarray(plane != 0)


def _check_size(path: Path, frames: list[Slice], max_bytes: int) -> None:
    """Check the frames against the cap; one byte per pixel is what decoding needs."""
    if not frames:
        raise ReadError(f"{path}: the segmentation has no frame; export it again")
    check_declared(path, len(frames) * math.prod(frames[0].shape), max_bytes, max_bytes)
    check_pixels(path, frames, max_bytes)


def _chosen(path: Path, frames: list[Slice], label: int | None, kind: str) -> list[Slice]:
    if label is None or kind == "LABELMAP":
        return frames
    chosen = [frame for frame in frames if frame.segment == label]
    if not chosen:
        there = ", ".join(str(n) for n in sorted({frame.segment for frame in frames}))
        raise EmptyRegionError(f"{path}: no frame of segment {label}; segments there: {there}")
    return chosen


def _own_grid(path: Path, frames: list[Slice], max_bytes: int) -> Geometry:
    """Return the smallest grid that holds every frame; empty frames may be left out of a SEG."""
    first = frames[0]
    normal = slice_normal(path, first.axes)
    depths = np.array([frame.position_mm @ normal for frame in frames])
    gaps = np.diff(np.unique(np.round(depths, 3)))
    step = float(gaps.min()) if gaps.size else (first.thickness_mm or 1.0)
    check_spacing(path, (*first.spacing_mm, step))
    count = round(float(depths.max() - depths.min()) / step) + 1
    check_declared(path, count * math.prod(first.shape), max_bytes, max_bytes)
    corner = frames[int(np.argmin(depths))].position_mm
    axes = np.column_stack([first.axes, normal])
    i, j = first.shape
    return grid_from_axes(path, (i, j, count), axes, (*first.spacing_mm, step), corner)


def _place(path: Path, frame: Slice, grid: Geometry) -> int:
    """Return the slice of `grid` that `frame` lies on."""
    i, j = frame.shape
    across = frame.axes * np.asarray(frame.spacing_mm)
    corner = frame.position_mm + across @ np.array([i - 1.0, j - 1.0])
    start, end = world_to_index(grid, np.array([frame.position_mm, corner]))
    place = round(float(start[2]))
    wanted = np.array([[0, 0, place], [i - 1, j - 1, place]], dtype=np.float64)
    off = float(np.abs(np.array([start, end]) - wanted).max())
    if off > _SAME_PLACE_VOXELS or (i, j) != grid.shape[:2] or not 0 <= place < grid.shape[2]:
        raise GeometryError(
            f"{path}: frame {(frame.frame or 0) + 1} lies off the image grid by up to {off:.2f} "
            "voxels; give the image that the segmentation was drawn on"
        )
    return place

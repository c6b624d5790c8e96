"""DICOM segmentations in: frames put to their places on a grid."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import EmptyRegionError, GeometryError, ReadError
from pipeline.geometry import index_to_world, world_to_index
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
    """Return the one DICOM SEG that `path` is or that its folder holds, else None.

    Raises
    ------
    ReadError
        Several of them, or a file of contours.
    """
    found = []
    for member in members_of(path):
        header = read_dataset(member, pixels=False)
        with parsing(member):
            if header is not None and header.get("SOPClassUID") in SEGMENTATION_CLASSES:
                found.append(member)
            contours = header is not None and header.get("Modality") == "RTSTRUCT"
        if contours and path.is_file():
            raise ReadError(
                f"{path}: not a mask but contours (RTSTRUCT), which are not filled in here; export "
                "them as DICOM SEG, or convert them first (plastimatch, dcmrtstruct2nii)"
            )
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
        Grid of the image. Frames must meet its planes, whatever the order and direction of its
        axes; planes without a frame stay 0. None takes the smallest grid that holds all frames.
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
    found = _opened(path, like, max_bytes)
    chosen = _chosen(path, found.frames, label, found.kind)
    inside = np.zeros(found.grid.shape, dtype=np.uint8, order="F")
    for plane, pixels, _ in _planes(found, chosen, inside):
        plane |= _inside(pixels, found.kind, label, found.limit)
    if label is not None and found.kind == "LABELMAP" and not inside.any():
        raise EmptyRegionError(f"{path}: no voxel has segment number {label}")
    return Volume(inside, found.grid)


def read_segments(path: Path, *, like: Geometry | None, max_bytes: int) -> Volume:
    """Return a DICOM SEG as a label image: the number of the segment of each voxel, else 0.

    Parameters
    ----------
    path, like, max_bytes
        As `read_segmentation`.

    Raises
    ------
    ReadError, GeometryError
        As `read_segmentation`; or segments overlap, which no label image can hold.
    """
    found = _opened(path, like, max_bytes)
    highest = max(frame.segment for frame in found.frames)
    wide = found.kind == "LABELMAP" or highest > np.iinfo(np.uint8).max
    labels = np.zeros(found.grid.shape, dtype=np.uint16 if wide else np.uint8, order="F")
    for plane, pixels, frame in _planes(found, found.frames, labels):
        inside = _inside(pixels, found.kind, None, found.limit)
        twice = int(np.count_nonzero(plane[inside]))
        if twice:
            raise ReadError(
                f"{path}: segments overlap (segment {frame.segment} and another share {twice:,} "
                "voxels of a slice), and each voxel can have one label here; export the segments "
                "one by one"
            )
        plane[inside] = pixels[inside] if found.kind == "LABELMAP" else frame.segment
    return Volume(labels, found.grid)


@dataclass(frozen=True, eq=False)
class _Opened:
    """A file whose frames have been looked at: their kind, what is inside, and where they go."""

    path: Path
    frames: list[Slice]
    kind: str
    limit: int
    grid: Geometry


def _opened(path: Path, like: Geometry | None, max_bytes: int) -> _Opened:
    header = read_dataset(path, pixels=False)
    frames = slices_of(path, header)
    with parsing(path):
        kind = str(header.get("SegmentationType", "BINARY"))
        limit = math.ceil(int(header.get("MaximumFractionalValue", 255)) / 2)
    _check_size(path, frames, max_bytes)
    if kind == "FRACTIONAL":
        LOGGER.info("%s: fractional segmentation cut at half of its maximum", path)
    grid = _own_grid(path, frames, max_bytes) if like is None else like
    return _Opened(path, frames, kind, limit, grid)


def _planes(
    found: _Opened, frames: list[Slice], array: npt.NDArray[Any]
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any], Slice]]:
    """Yield, for each frame, the plane of the array where it lies, and its pixels."""
    dataset = read_dataset(found.path, pixels=True)
    turned, grid = _along_frames(found.frames[0], array, found.grid)
    for frame in frames:
        place = _place(found.path, frame, grid)
        yield turned[:, :, place], pixels_of(found.path, dataset, frame.frame).T, frame


def _along_frames(
    frame: Slice, array: npt.NDArray[Any], grid: Geometry
) -> tuple[npt.NDArray[Any], Geometry]:
    """Return a view of the array, and its grid, with the axes nearest to those of the frame."""
    axes = np.column_stack([frame.axes, np.cross(frame.axes[:, 0], frame.axes[:, 1])])
    cosines = grid.direction.T @ axes
    order = np.abs(cosines).argmax(axis=0)
    if len(set(order)) < 3:  # oblique beyond sense: `_place` refuses it
        return array, grid
    signs = np.sign(cosines[order, np.arange(3)])
    first = np.zeros(3)
    first[order] = np.where(signs < 0, np.array(grid.shape)[order] - 1, 0)
    i, j, k = (int(n) for n in order)
    turned = Geometry(
        (grid.shape[i], grid.shape[j], grid.shape[k]),
        (grid.spacing_mm[i], grid.spacing_mm[j], grid.spacing_mm[k]),
        tuple(float(v) for v in index_to_world(grid, first)),  # type: ignore[arg-type]
        grid.direction[:, order] * signs,
    )
    steps = tuple(slice(None, None, int(sign)) for sign in signs)
    return array.transpose(order)[steps], turned


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

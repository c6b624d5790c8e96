"""DICOM images in: the pixels of sorted slices, scaled, with every slice accounted for."""

import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels.utils import pixel_array

from pipeline.errors import ReadError
from pipeline.io.dicom_headers import Slice, image_slices, parsing, read_dataset
from pipeline.io.dicom_stack import Phases, sort_phases
from pipeline.io.limits import check_declared
from pipeline.types import Geometry, Series

LOGGER = logging.getLogger(__name__)

#: Nothing expands further: a blank slice of 512 KB needs a file of about 1 KB.
_COMPRESSION_RATIO = 5000


def read_dicom_volume(path: Path, *, max_bytes: int) -> tuple[npt.NDArray[Any], Geometry]:
    """Return voxels (I, J, K) and LPS grid of the one image in a DICOM folder (or file).

    Array axes are column, row and slice number along the normal of the slices.

    Raises
    ------
    ReadError, GeometryError
        See `pipeline.io.dicom_stack.sort_phases`; several phases; damaged pixels.
    """
    phases = sort_phases(path, image_slices(path))
    if len(phases.stacks) > 1:
        raise ReadError(
            f"{path}: holds {len(phases.stacks)} phases of {phases.grid.shape[2]} slices where one "
            "image is needed; pick one (`--phase`), or read the folder as a series "
            "(pipeline.io.read_series)"
        )
    return _voxels(path, phases, max_bytes)[..., 0], phases.grid


def read_dicom_series(
    path: Path, *, max_bytes: int, time_s: tuple[float, ...] | None = None
) -> Series:
    """Return all phases of a DICOM folder; times are seconds after the first phase.

    Raises
    ------
    ReadError, GeometryError
        As `read_dicom_volume`; or times are neither given nor in the headers.
    """
    phases = sort_phases(path, image_slices(path))
    times = phases.time_s if time_s is None else time_s
    if len(times) != len(phases.stacks):
        given = f"{len(times)} times are given" if time_s else "the headers hold no times"
        raise ReadError(
            f"{path}: {given} for {len(phases.stacks)} phases; give one time per phase in seconds "
            "after injection (`--time-s 0,90,180`)"
        )
    if time_s is None and len(times) > 1:
        LOGGER.info("%s: times are seconds after the first phase (%s)", path, phases.time_source)
    return Series(_voxels(path, phases, max_bytes), phases.grid, times)


def pixels_of(path: Path, dataset: Any, frame: int | None) -> npt.NDArray[Any]:
    """Return the pixels (rows, columns) of one frame, decoded and complete."""
    with parsing(path, "the pixels are truncated or damaged"):
        try:
            found = pixel_array(dataset, index=frame)
        except (NotImplementedError, RuntimeError) as error:
            name = dataset.file_meta.TransferSyntaxUID.name
            raise ReadError(
                f"{path}: its compression ({name}) cannot be decoded here; decompress the series "
                "first (`gdcmconv --raw` or `dcmdjpeg`)"
            ) from error
    return np.asarray(found)


def check_pixels(path: Path, slices: list[Slice], max_bytes: int) -> None:
    """Check the pixels that each file declares against the cap and against its size."""
    declared: Counter[Path] = Counter()
    for one in slices:
        declared[one.path] += max(1, math.prod(one.shape) * one.allocated // 8)
    check_declared(path, sum(declared.values()), max_bytes, max_bytes)
    for one in {s.path: s for s in slices}.values():
        ratio = _COMPRESSION_RATIO if one.compressed else 1
        capacity = one.path.stat().st_size * ratio
        check_declared(one.path, declared[one.path], capacity, max_bytes)


def _voxels(path: Path, phases: Phases, max_bytes: int) -> npt.NDArray[Any]:
    """Return voxels (I, J, K, T)."""
    slices = [one for stack in phases.stacks for one in stack]
    dtype = _result_type(slices)
    shape = (*phases.grid.shape, len(phases.stacks))
    declared = math.prod(shape) * dtype.itemsize
    check_declared(path, declared, max_bytes, max_bytes)
    check_pixels(path, slices, max_bytes)
    voxels = np.empty(shape, dtype=dtype, order="F")
    planes = voxels.reshape((*phases.grid.shape[:2], -1), order="F")
    cache: tuple[Path, Any] = (Path(), None)
    for number, one in enumerate(slices):
        if cache[0] != one.path:
            cache = (one.path, read_dataset(one.path, pixels=True))
        stored = pixels_of(one.path, cache[1], one.frame)
        if stored.shape != one.shape[::-1]:
            raise ReadError(f"{one.path}: pixels {stored.shape}, header {one.shape}; copy it again")
        planes[:, :, number] = _scaled(stored, one, dtype).T
    return voxels


def _result_type(slices: list[Slice]) -> "np.dtype[Any]":
    """Return the stored type; a wider integer for whole shifts (CT); float32 for real scales."""
    scales = {(s.slope, s.intercept) for s in slices}
    if scales == {(1.0, 0.0)}:
        return slices[0].dtype
    if any(slope != 1.0 or intercept != int(intercept) for slope, intercept in scales):
        return np.dtype(np.float32)
    bits = max(s.bits for s in slices)
    low = -(1 << (bits - 1)) if slices[0].dtype.kind == "i" else 0
    shifts = [int(intercept) for _, intercept in scales]
    wanted = (low + min(shifts), low + (1 << bits) - 1 + max(shifts))
    info = np.iinfo(np.int16)
    return np.dtype(np.int16 if info.min <= wanted[0] and wanted[1] <= info.max else np.int32)


def _scaled(stored: npt.NDArray[Any], one: Slice, dtype: "np.dtype[Any]") -> npt.NDArray[Any]:
    if (one.slope, one.intercept) == (1.0, 0.0):
        return stored
    if dtype.kind == "i":
        return stored.astype(np.int64) + int(one.intercept)
    return stored.astype(np.float64) * one.slope + one.intercept

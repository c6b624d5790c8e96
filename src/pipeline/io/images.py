"""Images, masks and series: which reader or writer a path goes to."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import EmptyRegionError, GeometryError, ReadError, WriteError
from pipeline.io.kinds import kind_of
from pipeline.io.limits import DEFAULT_MAX_BYTES
from pipeline.io.metaimage import read_metaimage, write_metaimage
from pipeline.io.nifti import grid_of, read_nifti
from pipeline.io.nifti_header import NiftiHeader
from pipeline.io.nifti_write import write_nifti
from pipeline.io.nrrd import read_nrrd, write_nrrd
from pipeline.io.voxels import check_finite
from pipeline.types import Geometry, Series, Volume

LOGGER = logging.getLogger(__name__)

_NIFTI_ENDINGS = (".nii", ".nii.gz")


def read_volume(
    path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES, allow_nonfinite: bool = False
) -> Volume:
    """Read one 3-D image: NIfTI, NRRD, MetaImage, or a folder that holds one DICOM series.

    Parameters
    ----------
    path : Path
        File or folder. The kind is told from the content.
    max_bytes : int, optional
        Cap on the declared voxels, checked before anything is allocated.
    allow_nonfinite : bool, optional
        Let NaN and infinity pass.

    Returns
    -------
    Volume
        Voxels in the stored type (scaled ones as float) on an LPS grid.

    Raises
    ------
    ReadError
        Missing, truncated, corrupt, oversized, 4-D, or of an unsupported kind.
    GeometryError
        Spacing or axes that make no grid.
    """
    path = Path(path)
    voxels, grid = _read_any(path, max_bytes)
    if voxels.ndim != 3:
        raise ReadError(
            f"{path}: holds {_describe(voxels)} where one 3-D image is needed; pick one time point "
            "(`--phase`), or read the file as a series (pipeline.io.read_series)"
        )
    if voxels.shape[2] == 1:
        LOGGER.info("%s: a single slice", path)
    if not allow_nonfinite:
        check_finite(path, voxels)
    return Volume(voxels, grid)


def read_mask(
    path: Path,
    *,
    label: int | None = None,
    like: Geometry | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Volume:
    """Read a mask as 0 and 1 (uint8).

    Parameters
    ----------
    path : Path
        Image of integer labels in any format of `read_volume`, or a DICOM SEG.
    label : int, optional
        The label (DICOM SEG: segment number) that becomes 1. By default every voxel that is
        not 0 does.
    like : Geometry, optional
        Grid of the image, for a DICOM SEG only: it often leaves out slices where nothing is
        drawn, and they are filled in on this grid.
    max_bytes : int, optional
        Cap on the declared voxels.

    Raises
    ------
    ReadError
        As `read_volume`, or values that are not whole numbers.
    EmptyRegionError
        `label` is asked for and absent.
    """
    path = Path(path)
    segmentation = segmentation_in(path)
    if segmentation is not None:
        from pipeline.io.dicom_seg import read_segmentation

        return read_segmentation(segmentation, label=label, like=like, max_bytes=max_bytes)
    volume = read_labels(path, max_bytes=max_bytes)
    inside = volume.data != 0 if label is None else volume.data == label
    if label is not None and not inside.any():
        found = ", ".join(f"{v:g}" for v in np.unique(volume.data)[:20])
        raise EmptyRegionError(f"{path}: no voxel has label {label}; labels there: {found}")
    return Volume(inside.astype(np.uint8), volume.grid)


def read_labels(
    path: Path, *, like: Geometry | None = None, max_bytes: int = DEFAULT_MAX_BYTES
) -> Volume:
    """Read a label image in the type it is stored in; see `read_volume` for formats.

    Of a DICOM SEG the labels are the numbers of its segments. `like`, for it alone, is the grid
    of its image, as in `read_mask`.

    Raises
    ------
    ReadError
        As `read_volume`, values that are not whole numbers, or segments that overlap.
    GeometryError
        A frame of a DICOM SEG does not meet `like`.
    """
    path = Path(path)
    segmentation = segmentation_in(path)
    if segmentation is not None:
        from pipeline.io.dicom_seg import read_segments

        return read_segments(segmentation, like=like, max_bytes=max_bytes)
    volume = read_volume(path, max_bytes=max_bytes)
    _check_whole(path, volume.data)
    return volume


def segmentation_in(path: Path) -> Path | None:
    """Return the DICOM SEG that a path is or holds; None where it is none.

    Raises
    ------
    ReadError
        Contours (RTSTRUCT), which are no voxels; or several DICOM SEG in a folder.
    """
    if kind_of(path) != "dicom":
        return None
    from pipeline.io.dicom_seg import find_segmentation

    return find_segmentation(path)


def read_series(
    path: Path,
    *,
    time_s: Sequence[float] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    allow_nonfinite: bool = False,
) -> Series:
    """Read the images of one session: a 4-D NIfTI, or a DICOM folder of several phases.

    Times come from `time_s`, else from the file: our own extension, else a stated step. A
    DICOM folder's times are seconds after its first phase.

    Parameters
    ----------
    path : Path
        File or folder. A 3-D image is a series of one.
    time_s : sequence of float, optional
        Seconds after injection, one per time point.
    max_bytes : int, optional
        Cap on the declared voxels.
    allow_nonfinite : bool, optional
        Let NaN and infinity pass.

    Raises
    ------
    ReadError
        As `read_volume`, or no times are known.
    """
    path = Path(path)
    kind = kind_of(path)
    given = None if time_s is None else tuple(float(t) for t in time_s)
    if kind == "dicom":
        from pipeline.io.dicom import read_dicom_series

        return read_dicom_series(path, max_bytes=max_bytes, time_s=given)
    if kind != "nifti":
        return _series_of_one(read_volume(path, max_bytes=max_bytes), path, given)
    header, voxels = read_nifti(path, max_bytes=max_bytes)
    if voxels.ndim == 3:
        voxels = voxels[..., np.newaxis]
    if voxels.ndim != 4:
        raise ReadError(f"{path}: holds {_describe(voxels)}, not a series of 3-D images")
    if not allow_nonfinite:
        check_finite(path, voxels)
    count = voxels.shape[3]
    times = _stored_times(header, count) if given is None else given
    _check_times(path, times, count)
    return Series(voxels, grid_of(header), times)


def write_volume(path: Path, volume: Volume) -> None:
    """Write a 3-D image or mask by its ending: .nii.gz, .nii, .nrrd or .mha.

    Masks (bool) become uint8; float64 and float16 become float32; the rest stays.
    """
    path = Path(path)
    _check_on_grid(path, volume.data.shape, volume.grid.shape)
    stored = Volume(_stored(path, volume.data), volume.grid)
    if path.suffix.lower() == ".nrrd":
        write_nrrd(path, stored)
    elif path.suffix.lower() == ".mha":
        write_metaimage(path, stored)
    else:
        write_nifti(_nifti_ending(path), stored.data, stored.grid)


def write_series(path: Path, series: Series) -> None:
    """Write a 4-D NIfTI; the times go, exact, into a comment extension of the header."""
    path = _nifti_ending(Path(path))
    _check_on_grid(path, series.data.shape, (*series.grid.shape, len(series.time_s)))
    write_nifti(path, _stored(path, series.data), series.grid, time_s=series.time_s)


def _read_any(path: Path, max_bytes: int) -> tuple[npt.NDArray[Any], Geometry]:
    kind = kind_of(path)
    if kind == "nrrd":
        return read_nrrd(path, max_bytes=max_bytes)
    if kind == "metaimage":
        return read_metaimage(path, max_bytes=max_bytes)
    if kind == "dicom":
        from pipeline.io.dicom import read_dicom_volume

        return read_dicom_volume(path, max_bytes=max_bytes)
    header, voxels = read_nifti(path, max_bytes=max_bytes)
    if len(header.shape) < 3:
        voxels = voxels.reshape((*header.shape, 1, 1)[:3], order="F")
    return voxels, grid_of(header)


def _check_whole(path: Path, data: npt.NDArray[Any]) -> None:
    if not np.issubdtype(data.dtype, np.floating):
        return
    broken = data != np.rint(data)
    if broken.any():
        raise ReadError(
            f"{path}: not a mask: {int(broken.sum()):,} voxels are not whole numbers (first: "
            f"{data[broken][0]:g}); threshold it, or resample masks with nearest neighbour"
        )


def _describe(voxels: npt.NDArray[Any]) -> str:
    return f"a {voxels.ndim}-D array of {' x '.join(str(n) for n in voxels.shape)}"


def _series_of_one(volume: Volume, path: Path, given: tuple[float, ...] | None) -> Series:
    times = (0.0,) if given is None else given
    _check_times(path, times, 1)
    return Series(volume.data[..., np.newaxis], volume.grid, times)


def _check_times(path: Path, times: tuple[float, ...], count: int) -> None:
    if len(times) != count or not np.isfinite(times).all():
        raise ReadError(
            f"{path}: {len(times)} times for {count} images; give one finite number of seconds "
            "after injection for each (`--time-s 0,90,180`)"
        )


def _stored_times(header: NiftiHeader, count: int) -> tuple[float, ...]:
    for comment in header.comments:
        try:
            stored = json.loads(comment)["time_s"]
            times = tuple(float(t) for t in stored)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if len(times) == count and np.isfinite(times).all():
            return times
    return _stepped_times(header, count)


def _stepped_times(header: NiftiHeader, count: int) -> tuple[float, ...]:
    step, unit = header.pixdim[4], header.seconds_per_unit
    if count == 1:
        return (0.0,)
    # A step of exactly 1 is what many writers leave there by default: it states nothing.
    if unit is None or not np.isfinite(step) or step <= 0 or step == 1.0:
        raise ReadError(
            f"{header.path}: the times of its {count} images are not in the header; give them in "
            "seconds after injection (`--time-s 0,90,180`)"
        )
    LOGGER.info("%s: times taken from the header's step of %g s", header.path, step * unit)
    return tuple((header.time_offset + n * step) * unit for n in range(count))


def _nifti_ending(path: Path) -> Path:
    if not path.name.lower().endswith(_NIFTI_ENDINGS):
        raise WriteError(f"{path}: unknown image ending; write to a name that ends in .nii.gz")
    return path


def _check_on_grid(path: Path, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if found != wanted:
        raise GeometryError(
            f"{path}: an array of {found} does not fill its grid and times {wanted}"
        )


def _stored(path: Path, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if data.dtype == np.bool_:
        return data.astype(np.uint8)
    if data.dtype in (np.float16, np.float64):
        return data.astype(np.float32)
    if data.dtype.kind not in "iuf" or data.dtype.itemsize > 8:
        raise WriteError(f"{path}: {data.dtype} voxels cannot be stored; turn them into float32")
    return data

"""NIfTI-1 files out: same voxels, same bytes, whatever the day or the machine."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.geometry import flip_ras_lps
from pipeline.io.nifti_header import (
    DTYPES,
    UNITS_MM_SECONDS,
    build_comment,
    build_header,
)
from pipeline.io.pieces import deflated, voxel_bytes, write_pieces
from pipeline.types import Geometry

#: Intent "vector": ITK writes displacement fields with it and never flips their components.
INTENT_VECTOR = 1007

_SCANNER = 1
_MAX_AXIS = 32767
_DATATYPES = {np.dtype("<" + name): code for code, name in DTYPES.items()}


def write_nifti(
    path: Path,
    voxels: npt.NDArray[Any],
    grid: Geometry,
    *,
    time_s: tuple[float, ...] | None = None,
) -> None:
    """Write voxels (I, J, K), (I, J, K, T) or vectors (I, J, K, 1, 3) on `grid`.

    Parameters
    ----------
    path : Path
        Ends in ``.nii`` or ``.nii.gz``. Compressed files carry neither name nor time.
    voxels : array
        Of a type that NIfTI knows.
    grid : Geometry
        LPS grid, written as sform and as qform with code 1 (scanner).
    time_s : tuple of float, optional
        Times of a series, kept exactly in a comment extension.

    Raises
    ------
    GeometryError
        An axis is too long for the format.
    WriteError
        The disk is full or the folder read-only.
    """
    if max(voxels.shape) > _MAX_AXIS:
        raise GeometryError(
            f"{path}: NIfTI-1 cannot hold {voxels.shape} voxels (more than {_MAX_AXIS} along an "
            "axis); crop the image or write .nrrd"
        )
    extension = b"" if time_s is None else build_comment(_times(time_s))
    flag = b"\1\0\0\0" if extension else b"\0\0\0\0"
    header = _header(voxels, grid, 348 + len(flag) + len(extension), time_s)
    pieces = itertools.chain([header + flag + extension], voxel_bytes(voxels))
    compressed = path.name.lower().endswith(".gz")
    write_pieces(path, deflated(pieces) if compressed else pieces)


def _times(time_s: tuple[float, ...]) -> bytes:
    return json.dumps({"time_s": [float(t) for t in time_s]}, allow_nan=False).encode("ascii")


def _header(
    voxels: npt.NDArray[Any], grid: Geometry, offset: int, time_s: tuple[float, ...] | None
) -> bytes:
    dtype = voxels.dtype.newbyteorder("<")
    affine = np.eye(4)
    affine[:3, :3] = grid.direction * np.asarray(grid.spacing_mm)
    affine[:3, 3] = grid.origin_mm
    ras = flip_ras_lps(affine)
    handedness, quaternion = _quaternion(ras[:3, :3] / np.asarray(grid.spacing_mm))
    start, step = _start_and_step(time_s or ())
    return build_header(
        dim=_padded(voxels.ndim, voxels.shape, 1),
        pixdim=_padded(handedness, (*grid.spacing_mm, step), 1.0),
        datatype=_DATATYPES[dtype],
        bits=8 * dtype.itemsize,
        voxel_offset=offset,
        slope=1.0,
        units=UNITS_MM_SECONDS,
        time_offset=start,
        intent=INTENT_VECTOR if voxels.ndim == 5 else 0,
        qform_code=_SCANNER,
        sform_code=_SCANNER,
        quaternion=quaternion,
        offset=ras[:3, 3],
        rows=ras[:3],
    )


def _padded(first: float, rest: tuple[float, ...], filler: float) -> tuple[float, ...]:
    return (first, *rest, *[filler] * (7 - len(rest)))


def _start_and_step(time_s: tuple[float, ...]) -> tuple[float, float]:
    """Return first time and constant step in s; a step of 0 says that steps differ."""
    if len(time_s) < 2:
        return (time_s[0] if time_s else 0.0), 0.0
    steps = np.diff(time_s)
    even = bool(np.allclose(steps, steps[0], rtol=1e-6, atol=0.0))
    return time_s[0], float(steps[0]) if even else 0.0


def _quaternion(rotation: npt.NDArray[np.float64]) -> tuple[float, tuple[float, float, float]]:
    """Return handedness (+1 or -1, on the third axis) and quaternion parts b, c, d with a >= 0."""
    handedness = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    r = rotation * np.array([1.0, 1.0, handedness])
    # Eigenvector of the largest eigenvalue (Bar-Itzhack 2000): stable for every rotation.
    symmetric = np.array([
        [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
        [0.0, r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
        [0.0, 0.0, r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
        [0.0, 0.0, 0.0, r[2, 2] - r[0, 0] - r[1, 1]],
    ])  # fmt: skip
    vector = np.linalg.eigh(symmetric, UPLO="U").eigenvectors[:, -1]
    b, c, d = (float(v) for v in vector[1:] * (-1.0 if vector[0] < 0 else 1.0))
    return handedness, (b, c, d)

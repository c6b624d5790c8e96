"""Displacement fields in and out: vectors in mm along LPS, as ITK, ANTs and Slicer have them."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError, ReadError, WriteError
from pipeline.io.kinds import kind_of
from pipeline.io.limits import DEFAULT_MAX_BYTES
from pipeline.io.metaimage import read_metaimage
from pipeline.io.nifti import grid_of, read_nifti
from pipeline.io.nifti_write import INTENT_VECTOR, write_nifti
from pipeline.io.nrrd import read_nrrd
from pipeline.io.voxels import check_finite
from pipeline.types import DisplacementField, Geometry


def read_field(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> DisplacementField:
    """Read a displacement field (I, J, K, 3) in mm along LPS from a vector image.

    Parameters
    ----------
    path : Path
        NIfTI, MetaImage or NRRD, as ITK writes them.
    max_bytes : int, optional
        Cap on the declared voxels.

    Raises
    ------
    ReadError
        Not a vector image of three finite components; a NIfTI of intent 1006, whose components
        run along RAS; a NRRD in another frame than LPS, whose components are ambiguous; a field
        of one slice, which is 2-D.
    """
    path = Path(path)
    vectors, grid = _read_vectors(path, max_bytes)
    if grid.shape[2] == 1:
        raise ReadError(
            f"{path}: a field of one slice ({' x '.join(str(n) for n in grid.shape)}) says nothing "
            "about the third direction; give a 3-D field"
        )
    check_finite(path, vectors)
    return DisplacementField(vectors, grid)


def write_field(
    path: Path, field: DisplacementField, *, precision: Literal["float32", "float64"] = "float32"
) -> None:
    """Write a field as a vector NIfTI (intent 1007, mm along LPS), as ITK itself does."""
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise WriteError(f"{path}: a field is written as NIfTI; use a name that ends in .nii.gz")
    if field.data.shape != (*field.grid.shape, 3):
        raise GeometryError(
            f"{path}: an array of {field.data.shape} does not fill its grid {field.grid.shape}"
        )
    vectors = field.data.astype(precision, copy=False)[:, :, :, np.newaxis, :]
    write_nifti(path, vectors, field.grid)


def _read_vectors(path: Path, max_bytes: int) -> tuple[npt.NDArray[Any], Geometry]:
    kind = kind_of(path)
    if kind == "metaimage":
        return read_metaimage(path, max_bytes=max_bytes, components=3)
    if kind == "nrrd":
        return read_nrrd(path, max_bytes=max_bytes, components=3)
    if kind != "nifti":
        raise ReadError(f"{path}: a displacement field is no DICOM; write it as .nii.gz")
    header, voxels = read_nifti(path, max_bytes=max_bytes)
    if header.intent != INTENT_VECTOR or voxels.ndim != 5 or voxels.shape[3:] != (1, 3):
        sizes = " x ".join(str(n) for n in voxels.shape)
        raise ReadError(
            f"{path}: not a displacement field: intent {header.intent} and a {voxels.ndim}-D array "
            f"of {sizes}, expected intent {INTENT_VECTOR} and (I, J, K, 1, 3); write it with "
            "SimpleITK, ANTs or medpipe as a vector image in mm along LPS"
        )
    return np.asarray(voxels[:, :, :, 0, :]), grid_of(header)

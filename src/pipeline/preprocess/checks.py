"""Checks at the door of the preprocess blocks."""

import numpy as np

from pipeline.errors import EmptyRegionError, GeometryError, ImageError
from pipeline.types import Array4D, Mask3D


def check_finite(data: Array4D, what: str) -> None:
    """Raise ImageError when a voxel is NaN or infinite."""
    if np.issubdtype(data.dtype, np.floating):
        bad = int(data.size - np.isfinite(data).sum())
        if bad:
            raise ImageError(
                f"{what}: {bad} of {data.size} voxels are NaN or infinite; "
                "replace them (a background of 0 is usual) and try again"
            )


def region_of(mask: Mask3D | None, shape: tuple[int, ...], what: str) -> Mask3D:
    """Return the mask as booleans, or everything where there is none; never empty."""
    if mask is None:
        return np.ones(shape, dtype=np.bool_)
    if mask.shape != shape:
        raise GeometryError(
            f"{what}: the mask has {mask.shape} voxels, the image {shape}; "
            "bring the mask onto the grid of the image with `medpipe preprocess --like "
            "IMAGE --as-mask MASK`"
        )
    region = np.asarray(mask, dtype=np.bool_)
    if not region.any():
        raise EmptyRegionError(
            f"{what}: the mask is empty; give a mask with at least one voxel, or none"
        )
    return region

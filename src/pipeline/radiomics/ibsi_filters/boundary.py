"""The four boundary conditions of the IBSI, in the words of scipy and numpy."""

import numpy as np

from pipeline.radiomics.ibsi_filters.settings import Boundary
from pipeline.types import Array3D

SCIPY_MODES: dict[Boundary, str] = {
    "zero": "constant",
    "nearest": "nearest",
    "periodic": "wrap",
    "mirror": "reflect",
}
_NUMPY_MODES: dict[Boundary, str] = {
    "zero": "constant",
    "nearest": "edge",
    "periodic": "wrap",
    "mirror": "symmetric",
}

Widths = tuple[tuple[int, int], ...]


def extend(data: Array3D, widths: Widths, boundary: Boundary) -> Array3D:
    """Return the image with `widths` voxels (before, after) added along each axis."""
    return np.pad(data, widths, mode=_NUMPY_MODES[boundary])  # type: ignore[call-overload,no-any-return]


def crop(data: Array3D, widths: Widths) -> Array3D:
    """Return the image without what `extend` added, as a copy that frees the rest."""
    inner = (slice(low, n - high) for (low, high), n in zip(widths, data.shape, strict=True))
    return data[tuple(inner)].copy()


def half_widths(shape: tuple[int, ...], axes: int) -> Widths:
    """Return widths that double the first `axes` axes, half of it on each side.

    Filters in the Fourier domain are periodic; on the doubled domain the other boundaries hold,
    the mirrored image exactly, as it is periodic over two lengths.
    """
    return tuple((n // 2, n - n // 2) if axis < axes else (0, 0) for axis, n in enumerate(shape))

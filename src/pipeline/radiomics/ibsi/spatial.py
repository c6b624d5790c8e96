"""Moran's I and Geary's C: how far near voxels are alike (IBSI N365, NPT7).

Both weigh each pair of voxels by the inverse of its distance. The sums over all pairs are
autocorrelations, and a Fourier transform gives them without a loop over n² pairs; a region whose
transform would not fit is cut into slabs, whose pairs are added.
"""

import numpy as np
from scipy import fft

from pipeline.types import Array3D, Mask3D

#: Voxels of one (padded) transform: 128 MiB in double precision, of which a few are held at once.
MAX_TRANSFORM_VOXELS = 2**24


def moran_geary(
    image: Array3D,
    counted: Mask3D,
    spacing_mm: tuple[float, float, float],
    *,
    max_voxels: int = MAX_TRANSFORM_VOXELS,
) -> tuple[float, float]:
    """Return Moran's I and Geary's C of the voxels that count.

    Parameters
    ----------
    image : (I, J, K) floats
        Intensities.
    counted : (I, J, K) bools
        The voxels that count.
    spacing_mm : (3,) floats
        Of the voxels.
    max_voxels : int
        Largest transform.

    Returns
    -------
    (float, float)
        1 and 0 are perfect likeness, about 0 and 1 none; NaN for a constant or a single voxel.
    """
    number = int(np.count_nonzero(counted))
    values = image[counted]
    square = float(np.sum((values - values.mean()) ** 2))
    if np.ptp(values) == 0:
        return float("nan"), float("nan")
    weight = counted.astype(np.float64)
    spread = np.where(counted, image - values.mean(), 0.0)
    total, product, own = _pair_sums(weight, spread, spacing_mm, max_voxels)
    moran = number / total * product / square
    # sum w (x - y)² = 2 sum w x² - 2 sum w x y
    geary = (number - 1) / total * (own - product) / square
    return moran, geary


def _pair_sums(
    weight: Array3D, spread: Array3D, spacing_mm: tuple[float, float, float], max_voxels: int
) -> tuple[float, float, float]:
    """Return the sums over ordered pairs of w, w x y and w x²."""
    axis = int(np.argmax(weight.shape))
    size = weight.shape[axis]
    across = 8 * weight.size // size
    thickness = max(1, min(size, int(max_voxels // across)))
    starts = range(0, size, thickness)
    sums = np.zeros(3)
    for a in starts:
        for b in starts:
            if b < a:
                continue
            one, other = (
                [np.moveaxis(v, axis, 0)[s : s + thickness] for v in (weight, spread)]
                for s in (a, b)
            )
            steps = (spacing_mm[axis], *(s for n, s in enumerate(spacing_mm) if n != axis))
            sums += _cross(one, other, b - a, steps) * (1.0 if a == b else 2.0)
    total, product, own = (float(v) for v in sums)
    return total, product, own


def _cross(
    one: list[Array3D], other: list[Array3D], offset: int, steps: tuple[float, ...]
) -> Array3D:
    """Return the sums between two slabs, the second `offset` planes above the first."""
    shape = tuple(a + b - 1 for a, b in zip(one[0].shape, other[0].shape, strict=True))
    padded = tuple(fft.next_fast_len(n, real=True) for n in shape)
    kernel = fft.rfftn(_inverse_distance(padded, one[0].shape, offset, steps))
    field, spread = (
        fft.irfftn(fft.rfftn(part, padded) * kernel, padded)[
            tuple(slice(0, n) for n in one[0].shape)
        ]
        for part in other
    )
    total = float(np.sum(one[0] * field))
    product = float(np.sum(one[1] * spread))
    own = float(np.sum(one[1] ** 2 * field))
    if offset == 0:
        return np.array([total, product, own])
    # The mean of both directions: the caller counts this pair of slabs twice.
    back = fft.rfftn(one[0], padded) * np.conj(kernel)
    field = fft.irfftn(back, padded)[tuple(slice(0, n) for n in other[0].shape)]
    return np.array([total, product, (own + float(np.sum(other[1] ** 2 * field))) / 2.0])


def _inverse_distance(
    padded: tuple[int, ...],
    first: tuple[int, ...],
    offset: int,
    steps: tuple[float, ...],
) -> Array3D:
    """Return 1 / distance at each (circular) difference of index, 0 for a voxel and itself.

    Entry d of an axis is the difference "first minus second", from -(second - 1) to first - 1.
    """
    square = np.zeros((1, 1, 1))
    for axis, (n, step) in enumerate(zip(padded, steps, strict=True)):
        index = np.arange(n, dtype=np.float64)
        index[first[axis] :] -= n
        if axis == 0:
            index -= offset
        along = [1, 1, 1]
        along[axis] = n
        square = square + ((index * step) ** 2).reshape(along)
    with np.errstate(divide="ignore"):
        return np.where(square > 0, 1.0 / np.sqrt(square), 0.0)

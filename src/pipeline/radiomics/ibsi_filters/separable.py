"""Separable filters: convolution axis by axis, and pooling over right-angle rotations."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import permutations, product

import numpy as np
from scipy import ndimage

from pipeline.radiomics.ibsi_filters.boundary import SCIPY_MODES
from pipeline.radiomics.ibsi_filters.settings import Boundary, Pooling
from pipeline.types import Array1D, Array3D

#: Kernels that follow one another along one axis (one per decomposition level).
Chain = tuple[Array1D, ...]

#: For each axis the number of the chain that lies along it, and whether it is reversed.
_Placement = tuple[tuple[int, bool], ...]


def convolve_axis(data: Array3D, kernel: Array1D, axis: int, boundary: Boundary) -> Array3D:
    """Return the convolution (not the correlation) of `data` along an axis; odd kernels only."""
    return np.asarray(
        ndimage.convolve1d(data, kernel, axis=axis, mode=SCIPY_MODES[boundary], cval=0.0)
    )


def convolve(data: Array3D, kernels: Sequence[Array1D], boundary: Boundary) -> Array3D:
    """Return the convolution with kernel a along axis a; axes without a kernel stay as they are."""
    for axis, kernel in enumerate(kernels):
        data = convolve_axis(data, kernel, axis, boundary)
    return data


def convolve_chains(
    data: Array3D,
    chains: Sequence[Chain],
    boundary: Boundary,
    *,
    rotation_invariant: bool,
    pooling: Pooling,
) -> Array3D:
    """Return the response to chain a along axis a, or that pooled over all its rotations.

    Parameters
    ----------
    data : (I, J, K) float array
        Image.
    chains : sequence of Chain
        One per axis: two (i, j) filter by slice, three in 3D.
    boundary : Boundary
        Applied before each kernel.
    rotation_invariant : bool
        Pool over the 24 (by slice: 4) right-angle rotations.
    pooling : Pooling
        How.

    Returns
    -------
    (I, J, K) float array
        Response map. At any time no more than one map per axis and the pooled one are held.
    """
    if not rotation_invariant:
        return _along_axes(data, chains, boundary)
    pooled: Array3D | None = None
    count = 0
    for found, weight in _rotated(data, chains, boundary):
        pooled = pool(pooled, found * weight if pooling == "mean" else found, pooling)
        count += weight
    assert pooled is not None
    return pooled / count if pooling == "mean" else pooled


def pool(pooled: Array3D | None, found: Array3D, pooling: Pooling) -> Array3D:
    """Return the running maximum, minimum or (for the mean) sum, made in place."""
    if pooled is None:
        return found.copy()
    operation = {"max": np.maximum, "min": np.minimum, "mean": np.add}[pooling]
    return np.asarray(operation(pooled, found, out=pooled))


def _along_axes(data: Array3D, chains: Sequence[Chain], boundary: Boundary) -> Array3D:
    for axis, chain in enumerate(chains):
        for kernel in chain:
            data = convolve_axis(data, kernel, axis, boundary)
    return data


def _rotated(
    data: Array3D, chains: Sequence[Chain], boundary: Boundary
) -> Iterator[tuple[Array3D, int]]:
    """Yield each different response among the rotations and how many rotations give it.

    Rotations that begin alike share what they share: the response along i is made once for all
    placements with the same chain there.
    """
    variants = {
        (number, reversed_): tuple(kernel[::-1] if reversed_ else kernel for kernel in chain)
        for number, chain in enumerate(chains)
        for reversed_ in (False, True)
    }
    same = _representatives(variants)
    counted = Counter(
        tuple(same[part] for part in placement) for placement in _placements(len(chains))
    )

    def descend(held: Array3D, axis: int, start: _Placement) -> Iterator[tuple[Array3D, int]]:
        if axis == len(chains):
            yield held, counted[start]
            return
        for part in sorted({p[axis] for p in counted if p[:axis] == start}):
            deeper = held
            for kernel in variants[part]:
                deeper = convolve_axis(deeper, kernel, axis, boundary)
            yield from descend(deeper, axis + 1, (*start, part))

    yield from descend(data, 0, ())


def _representatives(
    variants: dict[tuple[int, bool], Chain],
) -> dict[tuple[int, bool], tuple[int, bool]]:
    """Return for each variant the first one with the same taps (L5 reversed is L5)."""
    first: dict[bytes, tuple[int, bool]] = {}
    return {
        part: first.setdefault(b"|".join(kernel.tobytes() for kernel in chain), part)
        for part, chain in variants.items()
    }


def _placements(dimensions: int) -> list[_Placement]:
    """Return where the axes of a filter come to lie under each right-angle rotation."""
    found = []
    for order in permutations(range(dimensions)):
        parity = np.linalg.det(np.eye(dimensions)[list(order)])
        for signs in product((1, -1), repeat=dimensions):
            if np.isclose(parity * np.prod(signs), 1.0):
                found.append(tuple((n, s < 0) for n, s in zip(order, signs, strict=True)))
    return found

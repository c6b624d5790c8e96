"""Stationary wavelet bands, depth first: one axis after the other, on a shrinking part.

PyRadiomics 3.0.1 runs `pywt.swtn` on the whole image, made even by repeating its first slice at
the end, and repeats it on the approximation for further levels. The transform is separable and
periodic; here each axis is transformed on the region's part with the filter's support, and along
an axis whose end is near, on all of it, so that every sum is formed as there.
"""

from collections.abc import Iterator

import numpy as np
import pywt

from pipeline.radiomics.filters.source import Box, Source
from pipeline.radiomics.profile import ImageType
from pipeline.types import Array3D


def support(image_type: ImageType) -> tuple[int, int, int]:
    """Return how many voxels around a region its values depend on."""
    reach = pywt.Wavelet(image_type.wavelet).dec_len * (image_type.start_level + image_type.level)
    i, j, k = (reach if axis in _axes(image_type) else 0 for axis in range(3))
    return i, j, k


def bands(source: Source, box: Box, image_type: ImageType) -> Iterator[tuple[str, Array3D]]:
    """Yield (name, values on `box`) of every band, in PyRadiomics' order."""
    axes = _axes(image_type)
    data, inner = _part(source, box, axes, support(image_type))
    wavelet = pywt.Wavelet(image_type.wavelet)
    for _ in range(image_type.start_level):
        for axis in axes:
            data = _low(data, wavelet, axis)
    low = "L" * len(axes)
    for level in range(1, image_type.level + 1):
        prefix = "wavelet" if level == 1 else f"wavelet{level}"
        last = level == image_type.level
        kept: list[Array3D] = []
        for name, values in _descend(data, wavelet, axes, inner if last else None):
            if name == low:
                kept.append(values)
            else:
                yield f"{prefix}-{name}", values if last else values[inner]
        data = kept[0]
    yield f"{prefix}-{low}", data


def _axes(image_type: ImageType) -> tuple[int, ...]:
    """Return the axes of (i, j, k) in PyRadiomics' order, x first."""
    texture = image_type.texture
    return tuple(a for a in range(3) if not (texture.force_2d and a == texture.force_2d_axis))


def _part(
    source: Source, box: Box, axes: tuple[int, ...], reach: tuple[int, int, int]
) -> tuple[Array3D, Box]:
    """Return the voxels to transform, and where `box` lies in them."""
    places, inner = [], []
    for axis, (part, size) in enumerate(zip(box, source.grid.shape, strict=True)):
        around = (
            _places(part, size, reach[axis]) if axis in axes else np.arange(part.start, part.stop)
        )
        offset = part.start - int(around[0])
        places.append(around)
        inner.append(slice(offset, offset + part.stop - part.start))
    return source.take(places), (inner[0], inner[1], inner[2])


def _places(part: slice, size: int, reach: int) -> np.ndarray:
    """Return an even number of consecutive places around `part`, or the whole padded axis."""
    low, high = part.start - reach, part.stop + reach
    high += (high - low) % 2
    if low >= 0 and high <= size:
        return np.arange(low, high)
    return np.arange(size + size % 2) % size


def _descend(
    data: Array3D, wavelet: pywt.Wavelet, axes: tuple[int, ...], inner: Box | None
) -> Iterator[tuple[str, Array3D]]:
    """Yield the bands below `data`, low before high; with `inner`, cut after each axis."""
    if not axes:
        yield "", data if inner is None else data[inner]
        return
    axis, *rest = axes
    pair = pywt.swt(data, wavelet, level=1, start_level=0, axis=axis)[0]
    for letter, values in zip("LH", pair, strict=True):
        below, remaining = values, inner
        if inner is not None:
            below, remaining = _cut(values, inner, axis)
        for name, band in _descend(below, wavelet, tuple(rest), remaining):
            yield letter + name, band


def _cut(values: Array3D, inner: Box, axis: int) -> tuple[Array3D, Box]:
    """Return the inner part along one axis, and where the box lies in it."""
    place: list[slice] = [slice(None)] * 3
    place[axis] = inner[axis]
    left = [*inner]
    left[axis] = slice(0, inner[axis].stop - inner[axis].start)
    return values[tuple(place)], (left[0], left[1], left[2])


def _low(data: Array3D, wavelet: pywt.Wavelet, axis: int) -> Array3D:
    return np.asarray(pywt.swt(data, wavelet, level=1, start_level=0, axis=axis)[0][0])

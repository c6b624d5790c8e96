"""Masks whose measures can be worked out by hand."""

import numpy as np

from pipeline.types import Geometry

SHAPE = (40, 36, 24)
SPACING = (0.5, 1.5, 3.0)


def grid(shape=SHAPE, spacing=SPACING, direction=None):
    axes = np.eye(3) if direction is None else np.asarray(direction, dtype=float)
    return Geometry(shape, spacing, (-12.0, 5.0, 40.0), axes)


def box(low, high, shape=SHAPE):
    """Return voxels low <= ijk < high."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def ball(centre_mm, radius_mm, shape, spacing):
    """Return voxels whose centre lies within a ball round a point in mm from voxel 0."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    offsets = [(a * s - c) ** 2 for a, s, c in zip(axes, spacing, centre_mm, strict=True)]
    return sum(offsets) <= radius_mm**2


def blobs(seed, shape=SHAPE, share=0.3):
    """Return two irregular masks that resemble each other."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    base = ndimage.gaussian_filter(rng.normal(size=shape), 2.5)
    other = base + 0.5 * ndimage.gaussian_filter(rng.normal(size=shape), 2.0)
    return base > np.quantile(base, 1 - share), other > np.quantile(other, 1 - share)

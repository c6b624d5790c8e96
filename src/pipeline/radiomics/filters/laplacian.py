"""Laplacian of a Gaussian as ITK's recursive filters give it, one axis at a time on a part.

ITK's `LaplacianRecursiveGaussianImageFilter` takes, for each axis, the second derivative along it
and then smooths along the two others; the three results, each over its squared spacing, are added.
Every pass is rounded to float32. Here the same passes are made in the same order, but each only for
the voxels that later passes need.
"""

import math

import numpy as np

from pipeline.radiomics.filters.recursive import Order, Pass, run
from pipeline.radiomics.filters.source import Box, Source
from pipeline.types import Array3D

#: The recursion forgets by exp(-1.37 d / sigma): beyond 28 sigma, to less than a double tells.
_SUPPORT_SIGMAS = 28.0


def support(sigma_mm: float, spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """Return how many voxels around a region its values depend on."""
    i, j, k = (math.ceil(_SUPPORT_SIGMAS * sigma_mm / step) for step in spacing_mm)
    return i, j, k


def too_small(sigma_mm: float, source: Source) -> str:
    """Return why the image cannot be filtered, as PyRadiomics decides it; empty when it can."""
    shape, spacing = np.array(source.grid.shape), np.array(source.grid.spacing_mm)
    size = " x ".join(map(str, source.grid.shape))
    if shape.min() < 4:
        return f"the image has {size} voxels; the Laplacian of a Gaussian needs 4 along each axis"
    if (shape < np.ceil(sigma_mm / spacing) + 1).any():
        return f"the image of {size} voxels is narrower than sigma, {sigma_mm:g} mm"
    return ""


def laplacian(source: Source, box: Box, sigma_mm: float) -> Array3D:
    """Return the normalised Laplacian of a Gaussian on `box` (float32)."""
    reach = support(sigma_mm, source.grid.spacing_mm)
    wide = tuple(
        slice(max(0, part.start - r), min(n, part.stop + r))
        for part, r, n in zip(box, reach, source.grid.shape, strict=True)
    )
    data = np.ascontiguousarray(source.cut((wide[0], wide[1], wide[2])).data)
    inner = [(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True)]
    total = np.zeros(tuple(part.stop - part.start for part in box), dtype=np.float32)
    for axis, step in enumerate(source.grid.spacing_mm):
        found = data
        for along in (axis, *(a for a in range(3) if a != axis)):
            order: Order = 2 if along == axis else 0
            spacing = source.grid.spacing_mm[along]
            found = run(found, Pass(along, inner[along], sigma_mm, spacing, order))
        for plane, curvature in zip(total, found, strict=True):
            plane[...] = plane + curvature.astype(np.float64) * (1 / (step * step))
    return total

"""Riesz transforms of a LoG or wavelet, along fixed axes or those of the structure tensor."""

from collections import defaultdict
from collections.abc import Callable
from itertools import product as tuples
from math import factorial, prod, sqrt

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.radiomics.ibsi_filters.boundary import (
    SCIPY_MODES,
    Widths,
    crop,
    extend,
    half_widths,
)
from pipeline.radiomics.ibsi_filters.fourier import (
    Transfer,
    apply_transfer,
    band_transfer,
    product,
    riesz_transfer,
)
from pipeline.radiomics.ibsi_filters.settings import Boundary, LogSettings, RieszSettings
from pipeline.radiomics.ibsi_filters.spatial import log_response
from pipeline.types import Array3D


def riesz_response(data: Array3D, settings: RieszSettings, voxel_mm: float) -> Array3D:
    """Return the Riesz transform of the filtered image, steered where asked for.

    Image, filter and transform live on one domain: the image itself with a periodic boundary,
    else the image extended to twice its size by the boundary; the result is cropped back.

    Parameters
    ----------
    data : (I, J, K) float array
        Image.
    settings : RieszSettings
        Filter, order, steering, boundary.
    voxel_mm : float
        Distance between voxel centres; the same along the axes of the filter.
    """
    widths: Widths = ((0, 0),) * data.ndim
    if settings.boundary != "periodic":
        widths = half_widths(data.shape, settings.dimensions)
    domain = extend(data, widths, settings.boundary)
    base, band, inclusive = _filtered(domain, settings, voxel_mm)

    def transform(order: tuple[int, ...]) -> Array3D:
        transfer = riesz_transfer(order)
        if band is not None:
            transfer = product(band, transfer)
        found = apply_transfer(base, transfer, settings.dimensions, inclusive=inclusive)
        return crop(found, widths)

    if settings.tensor_sigma_mm is None:
        return transform(settings.order)
    sigma = settings.tensor_sigma_mm / voxel_mm
    vectors = _tensor_axes(domain, widths, sigma, settings)
    return _steered(transform, settings.order, vectors)


def _filtered(
    domain: Array3D, settings: RieszSettings, voxel_mm: float
) -> tuple[Array3D, Transfer | None, bool]:
    """Return what is transformed, the band pass still to be applied, and the frequency grid."""
    of = settings.of
    if isinstance(of, LogSettings):
        scaled = LogSettings(sigma_mm=of.sigma_mm, cutoff=of.cutoff, by_slice=settings.by_slice)
        return log_response(domain, scaled, voxel_mm, _outside(settings.boundary)), None, False
    inclusive = of.inclusive_grid and settings.boundary == "periodic"
    return domain, band_transfer(of.family, of.level), inclusive


def _outside(boundary: Boundary) -> Boundary:
    """Return the boundary of the extended domain: a mirrored image is periodic on it."""
    return "periodic" if boundary == "mirror" else boundary


def _tensor_axes(
    domain: Array3D, widths: Widths, sigma: float, settings: RieszSettings
) -> npt.NDArray[np.float64]:
    """Return the eigenvectors of the structure tensor at each voxel of the image.

    The tensor is the outer product of the first-order Riesz transforms of the image, averaged
    under a Gaussian of `sigma` voxels.

    Returns
    -------
    (I, J, K, D, D) float array
        Row a is the eigenvector of the a-th largest eigenvalue. Its sign is such that the
        first-order Riesz transform along it is not negative (our choice: only odd orders see it).
    """
    axes = settings.dimensions
    scales = (sigma,) * axes + (0.0,) * (3 - axes)
    mode = SCIPY_MODES[_outside(settings.boundary)]
    units = [tuple(int(a == axis) for a in range(axes)) for axis in range(axes)]
    first = [apply_transfer(domain, riesz_transfer(unit), axes) for unit in units]
    shape = crop(domain, widths).shape
    tensor = np.empty((*shape, axes, axes))
    for a in range(axes):
        for b in range(a, axes):
            averaged = ndimage.gaussian_filter(first[a] * first[b], scales, mode=mode)
            tensor[..., a, b] = tensor[..., b, a] = crop(averaged, widths)
    vectors = np.swapaxes(np.linalg.eigh(tensor)[1][..., ::-1], -1, -2)
    gradient = np.stack([crop(part, widths) for part in first], axis=-1)
    along = np.einsum("...ab,...b->...a", vectors, gradient)
    return np.asarray(np.where(along < 0.0, -1.0, 1.0)[..., None] * vectors)


def _steered(
    transform: Callable[[tuple[int, ...]], Array3D],
    order: tuple[int, ...],
    vectors: npt.NDArray[np.float64],
) -> Array3D:
    """Return the transform of `order` along the rows of `vectors`.

    The transforms of one total order are the components of a symmetric tensor over |nu|^L: the
    turned filter is its contraction with the vectors that stand in for the axes.
    """
    dimensions = len(order)
    targets = [axis for axis, power in enumerate(order) for _ in range(power)]
    weights: dict[tuple[int, ...], npt.NDArray[np.float64]] = defaultdict(lambda: np.zeros(1))
    for axes in tuples(range(dimensions), repeat=len(targets)):
        weight = np.ones(vectors.shape[:-2])
        for target, axis in zip(targets, axes, strict=True):
            weight *= vectors[..., target, axis]
        key = tuple(axes.count(axis) for axis in range(dimensions))
        weights[key] = weights[key] + weight
    total = np.zeros(vectors.shape[:-2])
    for key, weight in weights.items():
        total += weight * transform(key) * (_multiplicity(order) / _multiplicity(key))
    return total


def _multiplicity(order: tuple[int, ...]) -> float:
    """Return sqrt(L! / (l1! l2! ...)), the factor of a Riesz transform."""
    return sqrt(factorial(sum(order)) / prod(factorial(n) for n in order))

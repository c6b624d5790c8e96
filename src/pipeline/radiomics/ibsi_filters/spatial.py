"""Filters whose kernels are separable: mean, Laplacian of Gaussian, Laws, wavelets."""

import numpy as np

from pipeline.radiomics.ibsi_filters.kernels import LAWS, wavelet_kernel
from pipeline.radiomics.ibsi_filters.separable import Chain, convolve, convolve_chains
from pipeline.radiomics.ibsi_filters.settings import (
    Boundary,
    LawsSettings,
    LogSettings,
    MeanSettings,
    WaveletSettings,
)
from pipeline.types import Array1D, Array3D


def mean_response(data: Array3D, settings: MeanSettings) -> Array3D:
    """Return the mean over a cube (by slice: a square) of `support` voxels."""
    return _local_mean(data, settings.support, settings.dimensions, settings.boundary)


def log_response(
    data: Array3D, settings: LogSettings, voxel_mm: float, boundary: Boundary | None = None
) -> Array3D:
    """Return the Laplacian of Gaussian, in intensity per squared voxel.

    The kernel is the sampled second derivative of a Gaussian (IBSI L6PA), cut off at
    1 + 2 floor(cutoff sigma + 0.5) voxels. It is a sum of separable kernels, one per axis. What
    the cut leaves of its sum is spread over the kernel and taken off, so that a constant image
    maps to 0: the published values of phase 2 are met to their last digit only so.

    Parameters
    ----------
    data : (I, J, K) float array
        Image.
    settings : LogSettings
        Scale, cutoff, boundary.
    voxel_mm : float
        Distance between voxel centres; the same along the axes of the filter.
    boundary : Boundary, optional
        In place of that of the settings.
    """
    boundary = boundary or settings.boundary
    axes = settings.dimensions
    gaussian, second = log_kernels(settings.sigma_mm / voxel_mm, settings.cutoff)
    total = np.zeros(data.shape)
    for axis in range(axes):
        kernels = [second if a == axis else gaussian for a in range(axes)]
        total += convolve(data, kernels, boundary)
    remainder = axes * second.sum() * gaussian.sum() ** (axes - 1)
    total -= remainder * _local_mean(data, gaussian.size, axes, boundary)
    return total


def log_kernels(sigma: float, cutoff: float) -> tuple[Array1D, Array1D]:
    """Return a sampled Gaussian and its second derivative; `sigma` in voxels."""
    radius = int(np.floor(cutoff * sigma + 0.5))
    at = np.arange(-radius, radius + 1, dtype=np.float64) / sigma
    gaussian = np.exp(-0.5 * at**2) / (np.sqrt(2.0 * np.pi) * sigma)
    return gaussian, (at**2 - 1.0) / sigma**2 * gaussian


def laws_response(data: Array3D, settings: LawsSettings) -> Array3D:
    """Return the response to Laws kernels, pooled and turned into energy where asked for."""
    chains = [(LAWS[name],) for name in settings.names]
    found = convolve_chains(
        data,
        chains,
        settings.boundary,
        rotation_invariant=settings.rotation_invariant,
        pooling=settings.pooling,
    )
    if settings.energy_distance == 0:
        return found
    support = 2 * settings.energy_distance + 1
    return _local_mean(np.abs(found), support, settings.dimensions, settings.boundary)


def wavelet_response(data: Array3D, settings: WaveletSettings) -> Array3D:
    """Return an undecimated sub-band: low passes of the finer levels, then the named filters."""
    chains = [
        _wavelet_chain(settings.family, band, settings.level) for band in settings.subband.upper()
    ]
    return convolve_chains(
        data,
        chains,
        settings.boundary,
        rotation_invariant=settings.rotation_invariant,
        pooling=settings.pooling,
    )


def _wavelet_chain(family: str, band: str, level: int) -> Chain:
    finer = (wavelet_kernel(family, "L", below) for below in range(1, level))
    return (*finer, wavelet_kernel(family, band, level))


def _local_mean(data: Array3D, support: int, dimensions: int, boundary: Boundary) -> Array3D:
    return convolve(data, [np.full(support, 1.0 / support)] * dimensions, boundary)

"""Filters made in the Fourier domain: isotropic wavelets and the Riesz transform."""

from collections.abc import Callable
from math import factorial, prod

import numpy as np
import numpy.typing as npt
from scipy import fft

from pipeline.radiomics.ibsi_filters.boundary import crop, extend, half_widths
from pipeline.radiomics.ibsi_filters.settings import NonSeparableFamily, NonSeparableSettings
from pipeline.types import Array1D, Array3D

#: Frequencies of each axis (Nyquist is 1), shaped to broadcast against one another.
Frequencies = tuple[npt.NDArray[np.float64], ...]
Transfer = Callable[[Frequencies], npt.NDArray[np.complex128]]


def nonseparable_response(data: Array3D, settings: NonSeparableSettings) -> Array3D:
    """Return the band pass (B map) of an isotropic wavelet at its level."""
    transfer = band_transfer(settings.family, settings.level)
    if settings.boundary == "periodic":
        inclusive = settings.inclusive_grid
        return apply_transfer(data, transfer, settings.dimensions, inclusive=inclusive)
    widths = half_widths(data.shape, settings.dimensions)
    domain = extend(data, widths, settings.boundary)
    return crop(apply_transfer(domain, transfer, settings.dimensions), widths)


def band_transfer(family: NonSeparableFamily, level: int) -> Transfer:
    """Return the transfer function of a wavelet's band pass at a level."""
    end = 0.5 ** (level - 1)

    def simoncelli(frequencies: Frequencies) -> npt.NDArray[np.complex128]:
        radius = _radius(frequencies)
        within = (radius >= end / 4.0) & (radius <= end)
        octaves = np.log2(2.0 * np.where(within, radius, 0.5 * end) / end)
        return np.where(within, np.cos(0.5 * np.pi * octaves), 0.0).astype(np.complex128)

    def shannon(frequencies: Frequencies) -> npt.NDArray[np.complex128]:
        radius = _radius(frequencies)
        return ((radius >= end / 2.0) & (radius <= end)).astype(np.complex128)

    return simoncelli if family == "simoncelli" else shannon


def riesz_transfer(order: tuple[int, ...]) -> Transfer:
    """Return (-i)^L sqrt(L! / (l1! l2! ...)) nu1^l1 nu2^l2 ... / |nu|^L; 0 at frequency 0."""
    total = sum(order)
    factor = (-1j) ** total * np.sqrt(factorial(total) / prod(factorial(n) for n in order))

    def transfer(frequencies: Frequencies) -> npt.NDArray[np.complex128]:
        radius = _radius(frequencies)
        scale = np.where(radius > 0.0, radius, np.inf)
        found = np.full(radius.shape, factor)
        for nu, power in zip(frequencies, order, strict=True):
            if power:
                found *= (nu / scale) ** power
        return np.where(radius > 0.0, found, 0.0)

    return transfer


def product(first: Transfer, second: Transfer) -> Transfer:
    """Return the transfer function of two filters, one after the other."""
    return lambda frequencies: first(frequencies) * second(frequencies)


def apply_transfer(
    data: Array3D, transfer: Transfer, dimensions: int, *, inclusive: bool = False
) -> Array3D:
    """Return the real part of the periodic convolution with a filter of the Fourier domain.

    The transfer function is evaluated plane by plane, so that the half spectrum is the only
    large array. Its part that answers a real image with an imaginary one drops out:
    H(f) becomes (H(f) + conj H(-f)) / 2, where -f is the index that mirrors f.

    Parameters
    ----------
    data : (I, J, K) float array
        Image.
    transfer : Transfer
        Of frequencies in [-1, 1] along each filtered axis.
    dimensions : int
        2 filters each slice (i, j) by itself; 3 the volume.
    inclusive : bool
        N frequencies from -1 to 1 inclusive in place of those of the transform.
    """
    axes = tuple(range(dimensions))
    shape = data.shape[:dimensions]
    # The last transformed axis is halved: its mirror is in the other half.
    spectrum = fft.rfftn(data, axes=axes)
    nu = [_axis(n, inclusive) for n in shape]
    mirror = [values[-np.arange(n) % n] for values, n in zip(nu, shape, strict=True)]
    half = spectrum.shape[dimensions - 1]
    nu[-1], mirror[-1] = nu[-1][:half], mirror[-1][:half]
    for plane in range(spectrum.shape[0]):
        here = transfer(_broadcast([nu[0][plane : plane + 1], *nu[1:]]))
        there = transfer(_broadcast([mirror[0][plane : plane + 1], *mirror[1:]]))
        weight = 0.5 * (here + there.conj())[0]
        spectrum[plane] *= weight if dimensions == 3 else weight[:, None]
    return np.asarray(fft.irfftn(spectrum, s=shape, axes=axes, overwrite_x=True))


def _axis(n: int, inclusive: bool) -> Array1D:
    if inclusive and n > 1:
        return np.asarray(np.fft.ifftshift(np.linspace(-1.0, 1.0, n)))
    return np.asarray(2.0 * np.fft.fftfreq(n))


def _broadcast(axes: list[Array1D]) -> Frequencies:
    return tuple(np.meshgrid(*axes, indexing="ij", sparse=True))


def _radius(frequencies: Frequencies) -> npt.NDArray[np.float64]:
    total: npt.NDArray[np.float64] = sum(nu**2 for nu in frequencies)  # type: ignore[assignment]
    return np.sqrt(total)

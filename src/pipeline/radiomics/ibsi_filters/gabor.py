"""Two-dimensional Gabor filters, slice by slice, in one plane or in three."""

import numpy as np
import numpy.typing as npt
from scipy import fft

from pipeline.radiomics.ibsi_filters.boundary import extend
from pipeline.radiomics.ibsi_filters.separable import pool
from pipeline.radiomics.ibsi_filters.settings import GaborSettings
from pipeline.types import Array3D

ComplexArray = npt.NDArray[np.complex128]

#: Axes of each plane and the axis across it.
_PLANES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))


def gabor_response(data: Array3D, settings: GaborSettings, voxel_mm: float) -> Array3D:
    """Return the modulus of the response, pooled over angles, averaged over planes.

    Parameters
    ----------
    data : (I, J, K) float array
        Image.
    settings : GaborSettings
        Scale, wavelength, aspect, angles, boundary.
    voxel_mm : float
        Distance between voxel centres; the same along the axes of the planes.
    """
    sigma, wavelength = settings.sigma_mm / voxel_mm, settings.lambda_mm / voxel_mm
    bank = [
        gabor_kernel(sigma, wavelength, settings.gamma, theta, settings.cutoff)
        for theta in angles_rad(settings.theta_deg, settings.delta_theta_deg)
    ]
    planes = _PLANES[:1] if settings.by_slice else _PLANES
    total = np.zeros(data.shape)
    for plane in planes:
        # A view of the total: adding to it adds to the plane's own slices.
        target = total.transpose(plane[2], plane[0], plane[1])
        slices = data.transpose(plane[2], plane[0], plane[1])
        _add_moduli(target, slices, bank, settings)
    total /= len(planes)
    return total


def gabor_kernel(
    sigma: float, wavelength: float, gamma: float, theta_rad: float, cutoff: float
) -> ComplexArray:
    """Return the kernel on the plane's axes (k1, k2); lengths in voxels (IBSI Q88H).

    The wave runs along k1 cos(theta) + k2 sin(theta), under a Gaussian of deviation sigma along
    it and sigma / gamma across it.

    Returns
    -------
    (2R + 1, 2R + 1) complex array
        R is `cutoff` times the longer deviation, rounded.
    """
    radius = int(np.floor(cutoff * sigma * max(1.0, 1.0 / gamma) + 0.5))
    k1, k2 = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    along = k1 * np.cos(theta_rad) + k2 * np.sin(theta_rad)
    across = k2 * np.cos(theta_rad) - k1 * np.sin(theta_rad)
    envelope = np.exp(-(along**2 + (gamma * across) ** 2) / (2.0 * sigma**2))
    return np.asarray(envelope * np.exp(2j * np.pi * along / wavelength))


def angles_rad(theta_deg: float, step_deg: float | None) -> npt.NDArray[np.float64]:
    """Return the angles from theta once round in steps, leaving out what repeats.

    The modulus is the same at theta and theta + 180 degrees: where the steps hit both, half of
    them do.
    """
    if step_deg is None:
        return np.deg2rad([theta_deg])
    count = int(np.ceil(360.0 / step_deg - 1e-9))
    if count % 2 == 0 and np.isclose(count * step_deg, 360.0):
        count //= 2
    return np.asarray(np.deg2rad(theta_deg + step_deg * np.arange(count)))


def _add_moduli(
    target: Array3D, slices: Array3D, bank: list[ComplexArray], settings: GaborSettings
) -> None:
    """Add the pooled modulus of each slice (first axis); each image is transformed once."""
    radius = bank[0].shape[0] // 2
    shape = [fft.next_fast_len(n + 2 * radius) for n in slices.shape[1:]]
    transformed = [fft.fft2(kernel, s=shape) for kernel in bank]
    # The first 2R rows and columns of a circular convolution are spoilt by its wrapping round.
    window = tuple(slice(2 * radius, 2 * radius + n) for n in slices.shape[1:])
    for number, image in enumerate(slices):
        spectrum = fft.fft2(extend(image, ((radius, radius),) * 2, settings.boundary), s=shape)
        pooled: Array3D | None = None
        for kernel in transformed:
            modulus = np.abs(fft.ifft2(spectrum * kernel)[window])
            pooled = pool(pooled, modulus, settings.pooling)
        assert pooled is not None
        target[number] += pooled / len(bank) if settings.pooling == "mean" else pooled

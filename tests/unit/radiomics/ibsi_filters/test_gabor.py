"""Gabor filters against plane waves, a direct convolution and turned images."""

import numpy as np
import pytest
from scipy import ndimage

from pipeline.radiomics.ibsi_filters import GaborSettings, response
from pipeline.radiomics.ibsi_filters.gabor import angles_rad, gabor_kernel


def plane_wave(wavelength, theta_deg, shape=(48, 48, 2)):
    i, j, _ = np.indices(shape)
    theta = np.deg2rad(theta_deg)
    return np.cos(2 * np.pi * (i * np.cos(theta) + j * np.sin(theta)) / wavelength)


def test_the_response_to_a_wave_peaks_at_its_wavelength_and_direction(make_volume):
    image = make_volume(plane_wave(8.0, 30.0))

    def middle(lambda_mm, theta_deg):
        settings = GaborSettings(
            sigma_mm=6.0, lambda_mm=lambda_mm, theta_deg=theta_deg, by_slice=True,
            boundary="zero",
        )  # fmt: skip
        return response(image, settings).data[24, 24, 0]

    wavelengths = [5.0, 6.5, 8.0, 10.0, 13.0]
    assert np.argmax([middle(value, 30.0) for value in wavelengths]) == 2
    angles = [-30.0, 0.0, 15.0, 30.0, 45.0, 60.0]
    assert np.argmax([middle(8.0, value) for value in angles]) == 3
    # Half of the cosine's amplitude meets the kernel's Gaussian, whose sum is 2 pi sigma^2.
    assert middle(8.0, 30.0) == pytest.approx(np.pi * 36.0, rel=2e-3)


def test_the_aspect_ratio_shortens_the_envelope_across_the_wave():
    kernel = gabor_kernel(3.0, 8.0, 2.0, 0.0, 4.0)
    centre = kernel.shape[0] // 2
    assert abs(kernel[centre + 3, centre]) == pytest.approx(np.exp(-0.5))
    assert abs(kernel[centre, centre + 3]) == pytest.approx(np.exp(-2.0))
    # A ratio below 1 lengthens it, and the kernel with it.
    assert gabor_kernel(3.0, 8.0, 0.5, 0.0, 4.0).shape == (49, 49)


@pytest.mark.parametrize(
    ("boundary", "mode"),
    [("zero", "constant"), ("nearest", "nearest"), ("periodic", "wrap"), ("mirror", "reflect")],
)
def test_the_modulus_is_that_of_a_direct_convolution(noise, boundary, mode):
    settings = GaborSettings(
        sigma_mm=2.0, lambda_mm=3.0, gamma=0.8, theta_deg=25.0, by_slice=True, boundary=boundary
    )
    kernel = gabor_kernel(2.0, 3.0, 0.8, np.deg2rad(25.0), 4.0)
    found = response(noise, settings).data
    for k in (0, 7):
        image = noise.data[:, :, k]
        real = ndimage.convolve(image, kernel.real, mode=mode)
        imaginary = ndimage.convolve(image, kernel.imag, mode=mode)
        np.testing.assert_allclose(found[:, :, k], np.hypot(real, imaginary), atol=1e-9)


def test_sizes_are_in_mm(noise, make_volume):
    small = GaborSettings(sigma_mm=2.0, lambda_mm=3.0, by_slice=True)
    large = GaborSettings(sigma_mm=4.0, lambda_mm=6.0, by_slice=True)
    coarse = make_volume(noise.data, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(response(coarse, large).data, response(noise, small).data)


@pytest.mark.parametrize("pooling", ["mean", "max", "min"])
def test_pooled_maps_turn_with_the_image(noise, make_volume, pooling):
    settings = GaborSettings(
        sigma_mm=2.0, lambda_mm=4.0, gamma=1.5, delta_theta_deg=45.0, pooling=pooling
    )
    plain = response(noise, settings).data
    for axes in ((0, 1), (0, 2), (1, 2)):
        turned = response(make_volume(np.rot90(noise.data, axes=axes)), settings).data
        np.testing.assert_allclose(turned, np.rot90(plain, axes=axes), atol=1e-9)


def test_three_planes_are_averaged(noise, make_volume):
    angles = {"sigma_mm": 2.0, "lambda_mm": 4.0, "gamma": 1.5, "delta_theta_deg": 60.0}
    by_plane = [
        response(
            make_volume(noise.data.transpose(order)), GaborSettings(**angles, by_slice=True)
        ).data.transpose(np.argsort(order))
        for order in ((0, 1, 2), (0, 2, 1), (1, 2, 0))
    ]
    found = response(noise, GaborSettings(**angles)).data
    np.testing.assert_allclose(found, np.mean(by_plane, axis=0), atol=1e-9)


def test_angles_go_once_round_without_what_repeats():
    np.testing.assert_allclose(np.rad2deg(angles_rad(60.0, None)), [60.0])
    np.testing.assert_allclose(np.rad2deg(angles_rad(0.0, 45.0)), [0.0, 45.0, 90.0, 135.0])
    assert angles_rad(0.0, 22.5).size == 8
    # An odd number of steps never hits theta + 180 degrees.
    np.testing.assert_allclose(np.rad2deg(angles_rad(0.0, 120.0)), [0.0, 120.0, 240.0])

"""Simoncelli and Shannon wavelets and Riesz transforms against what defines them."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import SettingsError
from pipeline.radiomics.ibsi_filters import (
    LogSettings,
    NonSeparableSettings,
    RieszSettings,
    response,
)
from pipeline.radiomics.ibsi_filters.fourier import apply_transfer, band_transfer, riesz_transfer

EXACT = NonSeparableSettings(inclusive_grid=False)


def wave(shape, cycles, phase=0.0):
    """A plane wave of so many cycles over each axis."""
    at = np.indices(shape)
    angle = sum(2 * np.pi * c * a / n for c, a, n in zip(cycles, at, shape, strict=True))
    return np.cos(angle + phase)


def test_the_squared_bands_of_all_levels_fill_the_spectrum():
    radius = (np.linspace(0.06, 0.5, 400),)
    total = sum(abs(band_transfer("simoncelli", level)(radius)) ** 2 for level in range(1, 6))
    np.testing.assert_allclose(total, 1.0, atol=1e-12)
    boxes = sum(band_transfer("shannon", level)(radius).real for level in range(1, 6))
    assert np.all(boxes >= 1.0)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_wave_at_half_the_bands_end_passes_whole_and_at_its_edges_not(make_volume, level):
    shape = (64, 64, 4)
    for cycles, gain in ((32, 0.0), (16, 1.0), (8, 0.0), (4, 0.0)):
        image = make_volume(wave(shape, (cycles // 2 ** (level - 1), 0, 0)))
        found = response(image, replace(EXACT, level=level)).data
        np.testing.assert_allclose(found, gain * image.data, atol=1e-12)


def test_the_band_is_round(make_volume):
    # 5-12-13: cycles (5, 12) have the frequency of 13 along one axis.
    shape = (64, 64, 2)
    gains = [
        response(make_volume(wave(shape, cycles)), EXACT).data[0, 0, 0]
        for cycles in ((13, 0, 0), (0, 13, 0), (5, 12, 0), (12, 5, 0))
    ]
    expected = np.cos(0.5 * np.pi * np.log2(2.0 * 13 / 32))
    np.testing.assert_allclose(gains, expected, atol=1e-12)


def test_shannons_band_is_a_box(make_volume):
    shape = (64, 4, 4)
    settings = NonSeparableSettings(family="shannon", inclusive_grid=False)
    for cycles, gain in ((24, 1.0), (17, 1.0), (15, 0.0), (3, 0.0)):
        image = make_volume(wave(shape, (cycles, 0, 0)))
        np.testing.assert_allclose(response(image, settings).data, gain * image.data, atol=1e-12)


def test_the_inclusive_grid_is_the_real_part_of_frequencies_from_minus_to_plus_pi(noise):
    nu = [np.linspace(-1.0, 1.0, n) for n in noise.data.shape]
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(*nu, indexing="ij")))
    inside = (radius >= 0.25) & (radius <= 1.0)
    transfer = np.zeros(radius.shape)
    transfer[inside] = np.cos(0.5 * np.pi * np.log2(2.0 * radius[inside]))
    expected = np.fft.ifftn(np.fft.fftn(noise.data) * np.fft.ifftshift(transfer)).real
    found = response(noise, NonSeparableSettings()).data
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("by_slice", [False, True])
def test_by_slice_each_slice_stands_alone(noise, make_volume, by_slice):
    settings = replace(EXACT, by_slice=by_slice, boundary="mirror")
    alone = response(make_volume(noise.data[:, :, 5:6]), settings).data[..., 0]
    together = response(noise, settings).data[..., 5]
    assert np.allclose(alone, together, atol=1e-10) == by_slice


def test_other_boundaries_are_the_periodic_filter_on_a_larger_image(noise, make_volume):
    mirrored = np.pad(noise.data, [(n, n) for n in noise.data.shape], mode="symmetric")
    i, j, k = noise.data.shape
    # Three lengths hold no whole number of periods: two do.
    two = mirrored[: 2 * i, : 2 * j, : 2 * k]
    expected = response(make_volume(two), EXACT).data[i:, j:, k:]
    found = response(noise, replace(EXACT, boundary="mirror")).data
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_order_one_turns_a_wave_by_a_quarter_and_weighs_it_by_its_direction(make_volume):
    shape = (32, 32, 32)
    cycles = np.array([3, 4, 12])
    image = wave(shape, cycles)
    quarter = wave(shape, cycles, -0.5 * np.pi)
    for axis, order in enumerate(np.eye(3, dtype=int)):
        found = apply_transfer(image, riesz_transfer(tuple(order)), 3)
        np.testing.assert_allclose(found, cycles[axis] / 13.0 * quarter, atol=1e-12)


def test_energies_of_one_total_order_sum_to_that_of_the_image_without_its_mean():
    data = np.random.default_rng(1).normal(5.0, 3.0, (15, 13, 11))
    energy = ((data - data.mean()) ** 2).sum()
    for orders in (
        [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
        [(2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1)],
    ):
        parts = [apply_transfer(data, riesz_transfer(order), 3) for order in orders]
        assert sum((part**2).sum() for part in parts) == pytest.approx(energy, rel=1e-12)


def test_a_repeated_transform_is_that_of_the_summed_order():
    data = np.random.default_rng(2).normal(size=(15, 13, 11))
    once = apply_transfer(data, riesz_transfer((1, 0, 0)), 3)
    twice = apply_transfer(once, riesz_transfer((1, 0, 0)), 3)
    np.testing.assert_allclose(twice, apply_transfer(data, riesz_transfer((2, 0, 0)), 3))
    mixed = apply_transfer(once, riesz_transfer((0, 1, 0)), 3) * np.sqrt(2.0)
    np.testing.assert_allclose(mixed, apply_transfer(data, riesz_transfer((1, 1, 0)), 3))


def test_the_real_part_of_the_full_transform_is_kept_on_even_sides():
    data = np.random.default_rng(4).normal(size=(8, 6, 10))
    nu = np.meshgrid(*[2 * np.fft.fftfreq(n) for n in data.shape], indexing="ij")
    radius = np.sqrt(sum(a**2 for a in nu))
    radius[0, 0, 0] = np.inf
    for order in ((1, 0, 0), (0, 0, 1), (1, 1, 0), (0, 2, 0)):
        plain = np.prod([a**n for a, n in zip(nu, order, strict=True)], axis=0)
        factor = (-1j) ** sum(order) * (np.sqrt(2.0) if order == (1, 1, 0) else 1.0)
        full = np.fft.ifftn(np.fft.fftn(data) * factor * plain / radius ** sum(order)).real
        np.testing.assert_allclose(apply_transfer(data, riesz_transfer(order), 3), full, atol=1e-12)


def test_the_riesz_transform_of_a_log_is_both_after_each_other(noise):
    settings = RieszSettings(of=LogSettings(sigma_mm=1.5), order=(0, 1, 0), boundary="periodic")
    smooth = response(noise, LogSettings(sigma_mm=1.5, boundary="periodic")).data
    expected = apply_transfer(smooth, riesz_transfer((0, 1, 0)), 3)
    np.testing.assert_allclose(response(noise, settings).data, expected, atol=1e-10)


def test_a_steered_first_order_is_the_gradients_length_on_one_wave(make_volume):
    # On a plane wave the largest eigenvector is its direction: nothing is left along the others.
    shape = (48, 48, 48)
    image = make_volume(wave(shape, (6, 8, 0)))
    settings = RieszSettings(
        of=replace(EXACT, level=2), order=(1, 0, 0), boundary="periodic", tensor_sigma_mm=4.0
    )
    gain = np.cos(0.5 * np.pi * np.log2(2.0 * (10 / 24) / 0.5))
    found = response(image, settings).data
    expected = abs(gain * wave(shape, (6, 8, 0), -0.5 * np.pi))
    np.testing.assert_allclose(abs(found), expected, atol=1e-6)
    across = response(image, replace(settings, order=(0, 1, 0))).data
    np.testing.assert_allclose(across, 0.0, atol=1e-6)
    second = response(image, replace(settings, order=(2, 0, 0))).data
    np.testing.assert_allclose(second, -gain * image.data, atol=1e-6)


@pytest.mark.parametrize("order", [(2, 0, 0), (0, 2, 0), (1, 1, 0), (1, 0, 0)])
def test_steered_maps_turn_with_the_image_and_fixed_ones_do_not(make_volume, order):
    data = np.random.default_rng(11).normal(size=(11, 11, 11))
    steered = RieszSettings(
        of=LogSettings(sigma_mm=1.0), order=order, boundary="periodic", tensor_sigma_mm=1.5
    )
    turned = make_volume(np.rot90(data, axes=(0, 2)).copy())
    found = response(turned, steered).data
    expected = np.rot90(response(make_volume(data), steered).data, axes=(0, 2))
    np.testing.assert_allclose(found, expected, atol=1e-8)
    fixed = replace(steered, tensor_sigma_mm=None)
    unsteered = np.rot90(response(make_volume(data), fixed).data, axes=(0, 2))
    if order != (0, 2, 0):
        assert not np.allclose(response(turned, fixed).data, unsteered, atol=1e-3)


def test_orders_without_meaning_are_refused():
    for order in ((0, 0, 0), (1, 0), (-1, 1, 1)):
        with pytest.raises(SettingsError, match="not all 0"):
            RieszSettings(of=EXACT, order=order)

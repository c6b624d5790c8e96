"""Kernels against their definitions and against PyWavelets."""

import numpy as np
import pytest
import pywt

from pipeline.radiomics.ibsi_filters.kernels import LAWS, WAVELETS, wavelet_kernel


@pytest.mark.parametrize("name", sorted(LAWS))
def test_laws_kernels_have_norm_one_and_only_level_passes_a_constant(name):
    assert np.linalg.norm(LAWS[name]) == pytest.approx(1.0, abs=1e-15)
    assert (abs(LAWS[name].sum()) > 1.0) == (name[0] == "L")


def test_laws_kernels_of_one_length_are_products_of_shorter_ones():
    # L5 is L3 * L3 and R5 is S3 * S3 up to scale.
    for long, short in (("L5", "L3"), ("R5", "S3")):
        product = np.convolve(LAWS[short], LAWS[short])
        np.testing.assert_allclose(LAWS[long], product / np.linalg.norm(product), atol=1e-15)


@pytest.mark.parametrize("name", sorted(WAVELETS))
def test_wavelets_are_those_of_pywavelets(name):
    reference = pywt.Wavelet(name)
    np.testing.assert_allclose(WAVELETS[name]["L"], reference.dec_lo, atol=2e-9)
    np.testing.assert_allclose(WAVELETS[name]["H"], reference.dec_hi, atol=2e-9)


@pytest.mark.parametrize("name", sorted(WAVELETS))
def test_wavelets_are_orthonormal_and_the_high_pass_stops_a_constant(name):
    low, high = WAVELETS[name]["L"], WAVELETS[name]["H"]
    assert low @ low == pytest.approx(1.0, abs=1e-14)
    assert low.sum() == pytest.approx(np.sqrt(2.0), abs=1e-14)
    assert high.sum() == pytest.approx(0.0, abs=1e-14)
    for shift in range(0, low.size, 2):
        expected = float(shift == 0)
        assert low[shift:] @ low[: low.size - shift] == pytest.approx(expected, abs=1e-14)
        assert high[shift:] @ low[: low.size - shift] == pytest.approx(0.0, abs=1e-14)


def test_spread_kernels_are_odd_with_zeros_between_and_at_the_end():
    low = WAVELETS["db2"]["L"]
    np.testing.assert_array_equal(wavelet_kernel("db2", "L", 1), [*low, 0.0])
    third = wavelet_kernel("db2", "L", 3)
    assert third.size == 17
    np.testing.assert_array_equal(third[:16:4], low)
    assert np.count_nonzero(third) == 4

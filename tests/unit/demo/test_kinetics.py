import numpy as np
import pytest
from scipy import integrate

from pipeline.demo import kinetics


def test_the_ernst_angle_gives_the_largest_signal():
    tr_ms, t1_ms = 4.5, 1445.0
    angles = np.linspace(0.5, 20, 2000)
    signal = [
        kinetics.spoiled_gradient_echo(
            np.array([1000 / t1_ms]), tr_ms=tr_ms, te_ms=0.0, flip_deg=a, t2star_ms=40.0
        )[0]
        for a in angles
    ]
    ernst = np.rad2deg(np.arccos(np.exp(-tr_ms / t1_ms)))
    assert angles[np.argmax(signal)] == pytest.approx(ernst, abs=0.02)


def test_ninety_degrees_is_saturation_recovery_with_t2star_decay():
    found = kinetics.spoiled_gradient_echo(
        np.array([1.0]), tr_ms=29.0, te_ms=4.8, flip_deg=90.0, t2star_ms=40.0, density=2.0
    )
    assert found[0] == pytest.approx(2.0 * (1 - np.exp(-0.029)) * np.exp(-4.8 / 40), rel=1e-12)


def test_concentration_is_the_convolution_of_the_input():
    ktrans, ve, time_s = 0.3, 0.4, 177.0
    kep = ktrans / ve

    def integrand(minutes):
        wash_out = np.exp(-kep * (time_s / 60 - minutes))
        return ktrans * kinetics.plasma_concentration(60 * minutes) * wash_out

    expected, _ = integrate.quad(integrand, 1e-9, time_s / 60)
    found = kinetics.tissue_concentration(time_s, ktrans_per_min=np.array([ktrans]), ve=ve)
    assert found[0] == pytest.approx(expected, rel=1e-6)


def test_concentration_has_its_limit_where_wash_out_equals_an_input_rate():
    rate = kinetics.AIF_RATES_PER_MIN[0]
    near = kinetics.tissue_concentration(
        90.0, ktrans_per_min=np.array([rate * 0.4, rate * 0.4 * (1 + 1e-6)]), ve=0.4
    )
    assert near[0] == pytest.approx(near[1], rel=1e-5)


def test_nothing_is_enhanced_before_the_injection():
    assert kinetics.plasma_concentration(0.0) == 0.0
    assert kinetics.tissue_concentration(0.0, ktrans_per_min=np.array([0.3]), ve=0.4)[0] == 0.0


def test_a_fast_tumour_washes_in_and_out():
    fast = [
        kinetics.tissue_concentration(t, ktrans_per_min=np.array([0.5]), ve=0.35)[0]
        for t in (0, 90, 177, 371)
    ]
    assert fast[0] < fast[1]
    assert fast[2] > fast[3]


def test_rician_moments(rng):
    noise, signal = 5.0, 12.0
    magnitude = kinetics.rician(np.full(200_000, signal), noise, rng)
    assert (magnitude**2).mean() == pytest.approx(signal**2 + 2 * noise**2, rel=0.01)
    air = kinetics.rician(np.zeros(200_000), noise, rng)
    assert air.mean() == pytest.approx(noise * np.sqrt(np.pi / 2), rel=0.01)
    assert air.var() == pytest.approx(noise**2 * (2 - np.pi / 2), rel=0.02)


def test_the_coil_is_one_at_the_middle_and_positive(rng):
    points = np.vstack([np.zeros(3), rng.uniform(-1, 1, (100, 3))])
    field = kinetics.coil_profile(points, rng.normal(0, 0.1, 9))
    assert field[0] == 1.0
    assert field.min() > 0

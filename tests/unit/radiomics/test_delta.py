"""Change between visits: values worked by hand, and what has no change."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.radiomics.delta import SMALLEST_BASELINE, delta

FINITE = st.floats(-1e9, 1e9).filter(lambda v: abs(v) > 1e-6)


def test_the_studys_own_example():
    assert delta(10.0, 2.0) == 0.8


def test_growth_is_negative_and_a_vanished_size_is_one():
    np.testing.assert_array_equal(delta([10.0, 10.0, -4.0], [15.0, 0.0, -1.0]), [-0.5, 1.0, 0.75])


@given(FINITE)
def test_no_change_is_zero_in_every_mode(value):
    assert delta(value, value) == 0.0
    assert delta(value, value, mode="absolute") == 0.0
    assert delta(value, value, mode="log_ratio") == 0.0


@given(FINITE, FINITE, st.floats(1e-3, 1e3))
def test_relative_change_does_not_depend_on_the_unit(first, second, factor):
    assert delta(first * factor, second * factor) == pytest.approx(delta(first, second), rel=1e-9)


def test_a_baseline_near_zero_has_no_relative_change():
    baseline = [0.0, SMALLEST_BASELINE / 2, -SMALLEST_BASELINE / 2, SMALLEST_BASELINE]
    found = delta(baseline, [1.0, 1.0, 1.0, 0.0])
    assert np.isnan(found[:3]).all()
    assert found[3] == 1.0
    assert np.isfinite(delta(baseline, [1.0] * 4, mode="absolute")).all()


def test_missing_stays_missing():
    for mode in ("relative", "absolute", "log_ratio"):
        assert np.isnan(delta([math.nan, 1.0], [1.0, math.nan], mode=mode)).all()


def test_log_ratio_is_antisymmetric_and_needs_one_sign():
    assert delta(8.0, 2.0, mode="log_ratio") == pytest.approx(math.log(4.0), rel=1e-15)
    assert delta(2.0, 8.0, mode="log_ratio") == pytest.approx(-math.log(4.0), rel=1e-15)
    assert np.isnan(delta([1.0, 1.0], [-1.0, 0.0], mode="log_ratio")).all()

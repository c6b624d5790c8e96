import numpy as np
import pytest

from pipeline.registration.lattice import cover, expand, gather, refine, subdivide
from pipeline.registration.smoothness import Smoothness

LENGTHS = (30.0, 22.0, 41.0)


@pytest.fixture
def axes():
    return tuple(cover(length, 10.0) for length in LENGTHS)


def matrices(axes, count=13):
    return tuple(a.basis(np.linspace(0, a.length_mm, count + i)) for i, a in enumerate(axes))


def coefficients(axes, seed=0):
    return np.random.default_rng(seed).normal(size=[*(a.count for a in axes), 3])


def test_splines_sum_to_one_and_reproduce_a_plane(axes):
    for axis in axes:
        at = np.linspace(0, axis.length_mm, 50)
        knots = axis.start_mm + axis.knot_mm * np.arange(axis.count)
        np.testing.assert_allclose(axis.basis(at).sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(axis.basis(at) @ knots, at, atol=1e-10)
        np.testing.assert_allclose(axis.basis(at, 1) @ knots, 1, atol=1e-10)
        np.testing.assert_allclose(axis.basis(at, 2) @ knots, 0, atol=1e-10)


def test_subdivision_leaves_the_field_as_it_is(axes):
    finer = tuple(refine(a) for a in axes)
    before = expand(coefficients(axes), matrices(axes))
    after = expand(subdivide(coefficients(axes)), matrices(finer))
    np.testing.assert_allclose(after, before, atol=1e-12)


def test_gather_is_the_transpose_of_expand(axes):
    basis, c = matrices(axes), coefficients(axes)
    field = np.random.default_rng(1).normal(size=expand(c, basis).shape)
    assert np.sum(expand(c, basis) * field) == pytest.approx(np.sum(c * gather(field, basis)))


def test_smoothness_is_blind_to_affine_fields_and_its_gradient_is_right(axes):
    weight = np.ones([a.count - 2 for a in axes])
    bending = Smoothness(axes, 1e9, weight)
    knots = [a.start_mm + a.knot_mm * np.arange(a.count) for a in axes]
    plane = np.stack(np.meshgrid(*knots, indexing="ij"), axis=-1) @ np.diag([0.2, -0.1, 0.3])
    assert bending.energy(plane) == pytest.approx(0, abs=1e-8)
    c, d = coefficients(axes), coefficients(axes, seed=5)
    smooth = Smoothness(axes, 15.0, weight)
    slope = (smooth.energy(c + 1e-4 * d) - smooth.energy(c - 1e-4 * d)) / 2e-4
    assert slope == pytest.approx(2 * np.sum(smooth.gradient(c) * d), rel=1e-6)
    unit = np.zeros_like(c)
    unit[2, 1, 3, 1] = 1
    assert smooth.diagonal()[2, 1, 3] == pytest.approx(smooth.energy(unit))

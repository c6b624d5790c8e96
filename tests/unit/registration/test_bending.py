import numpy as np
import pytest
import torch

from pipeline.registration.bending import Bending
from pipeline.registration.lattice import cover

KNOT_MM = 6.0
AXES = tuple(cover(length, KNOT_MM) for length in (30.0, 22.0, 41.0))
INTERIOR = [axis.count - 2 for axis in AXES]
#: Volume that the quadrature at the interior knots stands for, in mm3.
VOLUME = float(np.prod(INTERIOR)) * KNOT_MM**3
FAR = 1e6
KNOTS = np.meshgrid(*(a.start_mm + KNOT_MM * np.arange(a.count) for a in AXES), indexing="ij")


def field_along(component: int, values: np.ndarray) -> torch.Tensor:
    found = torch.zeros(3, *values.shape)
    found[component] = torch.from_numpy(values)
    return found


def bending(bending_mm=0.5, reach_mm=FAR, weight=None) -> Bending:
    return Bending(AXES, bending_mm, reach_mm, torch.ones(INTERIOR) if weight is None else weight)


def random_field(seed: int) -> torch.Tensor:
    shape = (3, *(axis.count for axis in AXES))
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


@pytest.mark.parametrize("component", [0, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_parabola_bends_by_one(component, axis):
    # Coefficients x^2 - h^2 / 3 make the cubic spline x^2: v = x^2 / 2 has |D2 v|^2 = 1 per mm2.
    parabola = field_along(component, (KNOTS[axis] ** 2 - KNOT_MM**2 / 3) / 2)
    assert bending(0.5).energy(parabola) == pytest.approx(0.5 * 0.5**2 * VOLUME, rel=1e-3)
    np.testing.assert_allclose(bending().density(parabola), 1, rtol=1e-3)


def test_a_saddle_bends_by_two():
    saddle = field_along(1, KNOTS[0] * KNOTS[2])  # both mixed derivatives are 1
    assert bending(2.0).energy(saddle) == pytest.approx(0.5 * 2.0**2 * 2 * VOLUME, rel=1e-3)


def test_affine_fields_cost_their_slope_over_the_reach_alone():
    plane = field_along(0, 0.2 * KNOTS[0] - 0.1 * KNOTS[1] + 0.3 * KNOTS[2] + 4.0)
    assert bending(1.0).energy(plane) < 1e-6 * VOLUME
    slope = 0.2**2 + 0.1**2 + 0.3**2
    reach = bending(1.0, 20.0)
    assert reach.energy(plane) == pytest.approx(0.5 * slope / 20.0**2 * VOLUME, rel=1e-3)
    assert bending(3.0, 1.0).energy(field_along(2, np.full(KNOTS[0].shape, 7.0))) < 1e-4 * VOLUME


def test_the_weight_counts_where_it_stands():
    parabola = field_along(0, (KNOTS[0] ** 2 - KNOT_MM**2 / 3) / 2)
    weight = torch.zeros(INTERIOR)
    weight[2, 1, 3] = 5.0
    assert bending(1.0, weight=weight).energy(parabola) == pytest.approx(
        0.5 * 5 * KNOT_MM**3, rel=1e-3
    )


def test_gradient_and_diagonal_are_those_of_the_energy():
    weight = torch.from_numpy(np.random.default_rng(2).uniform(0.2, 3, INTERIOR)).float()
    some = bending(0.7, 15.0, weight)
    field, direction = random_field(0), random_field(1)
    slope = float((some.gradient(field).double() * direction).sum())
    ahead, behind = (some.energy(field + s * direction) for s in (0.5, -0.5))
    assert slope == pytest.approx(ahead - behind, rel=1e-4)  # exact: the energy is quadratic
    unit = torch.zeros_like(field)
    unit[1, 2, 3, 1] = 1
    assert float(some.diagonal()[2, 3, 1]) == pytest.approx(2 * some.energy(unit), rel=1e-5)

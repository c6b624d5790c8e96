import numpy as np
import pytest

from pipeline.demo.shrink import (
    Chain,
    RadialShrink,
    Rigid,
    SoftBumps,
    rotation_matrix,
    solve_strength,
)

CENTRE = np.array([10.0, -40.0, 5.0])
AXES = rotation_matrix([0.3, -0.7, 1.1]) * np.array([9.0, 12.0, 15.0])
MAPS = {
    "strong shrink": RadialShrink(CENTRE, AXES, 0.6, 1.5),
    "growth": RadialShrink(CENTRE, AXES, -0.3, 0.8),
    "bumps": SoftBumps(
        CENTRE + np.array([[20.0, 0, 0], [0, 25.0, 0], [0, 0, -30.0]]),
        np.array([[2.0, 0.5, 0], [-1.0, 1.0, 1.0], [0, 0, 2.0]]),
        np.array([18.0, 22.0, 16.0]),
    ),
    "rigid": Rigid(rotation_matrix([0.02, 0.05, -0.03]), CENTRE, np.array([2.0, -1.0, 3.0])),
}
MAPS["all"] = Chain(tuple(MAPS.values()))


def numerical_determinant(mapping, points, step=1e-4):
    columns = [
        (mapping.forward(points + step * axis) - mapping.forward(points - step * axis)) / (2 * step)
        for axis in np.eye(3)
    ]
    return np.linalg.det(np.stack(columns, axis=-1))


@pytest.mark.parametrize("name", MAPS)
def test_the_determinant_equals_finite_differences(name, rng):
    points = CENTRE + rng.uniform(-45, 45, (4000, 3))
    expected = numerical_determinant(MAPS[name], points)
    np.testing.assert_allclose(MAPS[name].determinant(points), expected, atol=1e-6)


@pytest.mark.parametrize("name", MAPS)
def test_the_inverse_undoes_the_map(name, rng):
    points = np.vstack([CENTRE, CENTRE + rng.uniform(-60, 60, (4000, 3))])
    back = MAPS[name].inverse(MAPS[name].forward(points))
    assert np.abs(back - points).max() < 1e-8


def test_the_radial_determinant_is_the_published_formula():
    # T(x) = c + (x - c)(1 - a exp(-(r/R)^2)) with a = 0.3 in a sphere of 14 mm.
    a, radius, r = 0.3, 14.0, 6.0
    e = np.exp(-((r / radius) ** 2))
    expected = (1 - a * e) ** 2 * ((1 - a * e) + r * a * e * 2 * r / radius**2)
    shrink = RadialShrink(np.zeros(3), radius * np.eye(3), a, 1.0)
    assert shrink.determinant(np.array([[0.0, r, 0.0]]))[0] == pytest.approx(expected, rel=1e-12)


def test_rotation_matrices_are_proper():
    matrix = rotation_matrix([0.4, 1.2, -2.0])
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


@pytest.mark.parametrize("target", [0.25, 0.45, 0.75, 1.1])
def test_the_solved_strength_gives_the_wanted_mean(target, rng):
    ball = rng.normal(size=(4000, 3))
    ball *= (rng.random(4000) ** (1 / 3) / np.linalg.norm(ball, axis=1))[:, None]
    inside = CENTRE + ball @ AXES.T
    strength = solve_strength(inside, target, centre_mm=CENTRE, axes_mm=AXES, reach=1.6)
    found = RadialShrink(CENTRE, AXES, strength, 1.6).determinant(inside).mean()
    assert found == pytest.approx(target, abs=1e-6)
    # The mean determinant over a ball is the volume ratio: the boundary moves by 1 - a e.
    edge = 1 - strength * np.exp(-1 / 1.6**2)
    assert edge**3 == pytest.approx(target, abs=0.02)

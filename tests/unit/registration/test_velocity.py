import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter

from pipeline.registration.lattice import cover
from pipeline.registration.tensors import sample, separable
from pipeline.registration.velocity import Flow

CPU = torch.device("cpu")
LENGTHS = (60.0, 56.0, 52.0)
VOXEL_MM = 2.0
AXES = tuple(cover(length, 8.0) for length in LENGTHS)
FLOW = Flow(AXES, CPU)


def knots() -> list[np.ndarray]:
    return [axis.start_mm + axis.knot_mm * np.arange(axis.count) for axis in AXES]


def smooth_coefficients(seed: int, largest_mm: float) -> torch.Tensor:
    """Return a random velocity that fades to 0 at the border of the box."""
    noise = np.random.default_rng(seed).normal(size=(3, *(axis.count for axis in AXES)))
    edge = [np.sin(np.pi * np.clip((np.arange(a.count) - 1) / (a.count - 3), 0, 1)) for a in AXES]
    smooth = gaussian_filter(noise, (0, 1.5, 1.5, 1.5)) * np.einsum("i,j,k->ijk", *edge)
    return torch.from_numpy(smooth * (largest_mm / np.abs(smooth).max())).float()


def velocity_at(coefficients: torch.Tensor, point: np.ndarray) -> np.ndarray:
    """Return v in mm at one point, in float64, from the splines themselves."""
    rows = [axis.basis(p[None])[0] for axis, p in zip(AXES, point, strict=True)]
    return np.einsum("nabc,a,b,c->n", coefficients.double().numpy(), *rows)


@pytest.mark.parametrize(
    ("largest_mm", "most", "mostly"), [(4.0, 0.05, 0.02), (8.0, 0.1, 0.04), (11.0, 0.1, 0.06)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_exponentials_of_plus_and_minus_v_are_inverses(seed, largest_mm, most, mostly):
    coefficients = smooth_coefficients(seed, largest_mm)
    ticks = [np.arange(0, length + 0.1, VOXEL_MM) for length in LENGTHS]
    there, back = (
        separable(FLOW.exponential(coefficients, sign), FLOW.to_points(ticks)) / VOXEL_MM
        for sign in (1.0, -1.0)
    )
    assert float(there.norm(dim=0).max()) > 0.8 * largest_mm / VOXEL_MM
    index = torch.stack(torch.meshgrid(*(torch.arange(len(t)) for t in ticks), indexing="ij"), -1)
    for one, other in ((there, back), (back, there)):
        moved = index + one.movedim(0, -1)
        ends = torch.tensor(index.shape[:-1]) - 1
        inside = ((moved >= 0) & (moved <= ends)).all(dim=-1)  # beyond, nothing is known
        assert float(inside.float().mean()) > 0.8
        error = (one + sample(other, moved)).norm(dim=0)[inside]
        assert float(error.max()) < most
        assert float(error.quantile(0.95)) < mostly


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_exponential_is_the_flow_of_the_velocity(sign):
    coefficients = smooth_coefficients(3, 6.0)
    moved = FLOW.exponential(coefficients, sign)
    for point in np.random.default_rng(4).uniform(10, 45, (8, 3)):
        path = solve_ivp(
            lambda _, x: sign * velocity_at(coefficients, x), (0, 1), point, rtol=1e-8, atol=1e-8
        )
        at_point = FLOW.to_points([p[None] for p in point])
        found = separable(moved, at_point).numpy().ravel()
        np.testing.assert_allclose(found, path.y[:, -1] - point, atol=0.02 * VOXEL_MM)


def test_gradient_of_the_exponential_is_that_of_differences():
    coefficients = smooth_coefficients(5, 6.0)
    rng = np.random.default_rng(6)
    weight = torch.from_numpy(rng.normal(size=FLOW.exponential(coefficients).shape)).float()
    variable = coefficients.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(FLOW.exponential(variable), variable, weight)
    for seed in (7, 8):
        direction = smooth_coefficients(seed, 1.0)
        step = 0.02
        ahead, behind = (
            float((FLOW.exponential(coefficients + s * direction).double() * weight).sum())
            for s in (step, -step)
        )
        slope = float((gradient.double() * direction).sum())
        scale = float(gradient.norm() * direction.norm())
        assert slope == pytest.approx((ahead - behind) / (2 * step), abs=2e-3 * scale)
        assert abs(slope) > 0.01 * scale


def test_a_linear_velocity_flows_to_the_exponential_of_its_matrix():
    matrix = np.array([[-0.20, 0.10, 0.0], [-0.10, -0.15, 0.05], [0.02, 0.0, -0.10]])
    middle = np.array(LENGTHS) / 2
    offset = np.stack(np.meshgrid(*knots(), indexing="ij"), axis=-1) - middle
    coefficients = torch.from_numpy(np.moveaxis(offset @ matrix.T, -1, 0)).float()
    # Splines reproduce lines, and so does linear interpolation; near the border the nodes end.
    inner = (slice(3, -3),) * 3
    ticks = [np.linspace(a.interior_mm[0], a.interior_mm[-1], 2 * a.count - 5) for a in AXES]
    at = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1) - middle
    true = at @ (expm(matrix) - np.eye(3)).T
    found = np.moveaxis(FLOW.exponential(coefficients).numpy(), 0, -1)
    np.testing.assert_allclose(found[inner], true[inner], atol=0.01)
    jacobian = FLOW.jacobian(coefficients).numpy()[inner]
    np.testing.assert_allclose(jacobian, np.exp(np.trace(matrix)), rtol=0.01)


def test_no_velocity_moves_nothing():
    still = torch.zeros(3, *(axis.count for axis in AXES))
    assert float(FLOW.exponential(still).abs().max()) == 0
    np.testing.assert_allclose(FLOW.jacobian(still), 1, atol=1e-6)


def test_pooling_keeps_the_sum_and_the_place():
    ticks = [np.linspace(0, length, 37) for length in LENGTHS]
    values = torch.from_numpy(np.random.default_rng(9).random((37, 37, 37))).float()
    pooled = separable(values, FLOW.pooling(ticks))
    assert float(pooled.sum()) == pytest.approx(float(values.sum()), rel=1e-5)
    interior = [np.linspace(a.interior_mm[0], a.interior_mm[-1], n)
                for a, n in zip(AXES, pooled.shape, strict=True)]  # fmt: skip
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        before = float(values.sum(dim=others) @ torch.from_numpy(ticks[axis]).float())
        after = float(pooled.sum(dim=others) @ torch.from_numpy(interior[axis]).float())
        assert after == pytest.approx(before, rel=1e-5)

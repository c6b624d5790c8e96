import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from pipeline.registration.comparison import (
    Comparison,
    match_by_curve,
    match_globally,
    match_locally,
)
from pipeline.registration.tensors import gaussian_matrix

SHAPE = (14, 13, 12)
KINDS = [("ssd", False), ("lncc", False), ("lncc", True), ("mi", False)]


def smooth(seed: int, shape=SHAPE, sigma=1.2) -> torch.Tensor:
    values = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    values -= values.min()
    return torch.from_numpy(0.1 + 0.8 * values / values.max()).float()


def window(shape=SHAPE, sigma=2.0):
    return tuple(gaussian_matrix(n, sigma) for n in shape)


def some_weight(seed: int, shape=SHAPE) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, shape)).float().round()


def comparison(fixed, measure, local, weight) -> Comparison:
    return Comparison(fixed, weight, measure, window(tuple(fixed.shape)) if local else None)


@pytest.mark.parametrize(("measure", "local"), KINDS)
def test_terms_are_the_derivative_of_the_energy_with_the_fit_held(measure, local):
    fixed, weight = smooth(0), some_weight(1)
    moved = (0.7 * fixed**0.8 + 0.2 * smooth(2) + 0.05).float()
    fitted = comparison(fixed, measure, local, weight).fit(moved, weight)
    first, second = fitted.terms(moved, weight)
    assert float(second.min()) >= 0
    assert float(first[weight == 0].abs().max()) == 0
    for seed in (3, 4):
        direction = smooth(seed) - 0.5
        step = 2e-3
        ahead, behind = (fitted.energy(moved + s * direction, weight) for s in (step, -step))
        slope = float((first.double() * direction).sum() / weight.sum())
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=0.02, abs=1e-4)


@pytest.mark.parametrize(("measure", "local"), KINDS[:3])
def test_a_worse_match_has_more_energy(measure, local):
    fixed, weight = smooth(0), torch.ones(SHAPE)
    energies = []
    for part in (0.0, 0.3, 0.8):
        moved = (1 - part) * fixed + part * smooth(5)
        fitted = comparison(fixed, measure, local, weight).fit(moved, weight)
        energies.append(fitted.energy(moved, weight))
    assert energies[0] < energies[1] < energies[2]


def test_a_worse_match_informs_less_whatever_the_contrast():
    # Its scale is set by the fit, so that only energies of one fit can be compared.
    fixed, weight = smooth(0), torch.ones(SHAPE)
    fitted = comparison(fixed, "mi", False, weight).fit(fixed, weight)
    energies = [fitted.energy(1 - (1 - p) * fixed - p * smooth(5), weight) for p in (0, 0.3, 0.8)]
    assert energies[0] < energies[1] < energies[2]


def test_local_matching_is_least_squares_in_each_window_and_what_it_leaves_the_energy():
    shape = (7, 6, 5)
    fixed, weight = smooth(0, shape).double(), some_weight(1, shape).double()
    moved = (0.6 * fixed + 0.3 * smooth(2, shape)).double()
    matrices = tuple(m.double() for m in window(shape, 1.5))
    fitted = Comparison(fixed, weight, "lncc", matrices).fit(moved, weight)
    curve = match_by_curve(fixed, moved, weight, match_globally(fixed, moved, weight))
    f, m, w = (t.numpy().ravel() for t in (fixed, curve(moved)[0], weight))
    one, two, three = (matrix.numpy() for matrix in matrices)
    near = np.kron(np.kron(one, two), three)  # (window, voxel)
    variance = np.average((f - np.average(f, weights=w)) ** 2, weights=w)
    ridge = 0.1**2 * variance
    least = 0.005**2 * variance
    gains, offsets, trust, own = (np.empty(f.size) for _ in range(4))
    for number, row in enumerate(near):
        part = row * w / (row * w).sum()
        mean_f, mean_m = part @ f, part @ m
        shared, spread = part @ ((f - mean_f) * (m - mean_m)), part @ (m - mean_m) ** 2
        gains[number] = (shared + ridge) / (spread + ridge)
        offsets[number] = mean_f - gains[number] * mean_m
        own[number] = part @ (f - mean_f) ** 2
        trust[number] = max(shared, 0) ** 2 / ((own[number] + least) * (spread + least))
    found = match_locally(fixed, curve(moved)[0], weight, matrices, variance**0.5)
    np.testing.assert_allclose(found.gain.numpy().ravel(), gains, rtol=1e-3)
    np.testing.assert_allclose(found.offset.numpy().ravel(), offsets, atol=1e-3)
    np.testing.assert_allclose(found.trust.numpy().ravel(), trust, atol=1e-3)
    misfit = (trust * (f - gains * m - offsets) ** 2 + (1 - trust) * own) / variance
    energy = 0.5 * np.average(misfit, weights=w)
    assert fitted.energy(moved, weight) == pytest.approx(energy, rel=0.01)


def test_the_curve_recovers_a_gamma():
    moved = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, 40_000)).float()
    fixed, weight = moved**0.7, torch.ones_like(moved)
    line = match_globally(fixed, moved, weight)
    curve = match_by_curve(fixed, moved, weight, line)
    at = torch.linspace(0.05, 1, 200)
    found, slope = curve(at)
    np.testing.assert_allclose(found, at**0.7, atol=0.01)
    middle = at > 0.2
    np.testing.assert_allclose(slope[middle], 0.7 * at[middle] ** -0.3, rtol=0.1)
    assert float((line[0] * at + line[1] - at**0.7).abs().max()) > 0.05  # a line does not


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gain_and_offset_are_found_exactly(sign):
    moved = smooth(3)
    gain, offset = match_globally(sign * 0.6 * moved + 0.3, moved, some_weight(4))
    assert (gain, offset) == (pytest.approx(sign * 0.6, rel=1e-4), pytest.approx(0.3, abs=1e-4))


def test_local_matching_is_blind_to_gain_offset_and_a_bias_field():
    shape = (24, 22, 20)
    fixed, weight = smooth(0, shape), torch.ones(shape)
    plane = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij"))
    bias = 1 + 0.15 * plane[0] - 0.09 * plane[2]

    def energy(moved: torch.Tensor, measure: str, local: bool) -> float:
        fitted = comparison(fixed, measure, local, weight).fit(moved, weight)
        return fitted.energy(moved, weight)

    wrong = energy(smooth(9, shape), "lncc", True)
    assert energy(0.5 * fixed + 0.3, "lncc", True) < 1e-3 * wrong
    assert energy(0.7 * fixed * bias, "lncc", True) < 0.05 * wrong
    assert energy(0.7 * fixed * bias, "lncc", False) > 0.2 * wrong  # one curve is not enough


def test_noise_and_what_one_image_alone_has_are_hardly_trusted():
    shape = (40, 24, 20)
    rng = np.random.default_rng(3)
    shared = smooth(0, shape)
    fixed, moved = shared.clone(), 0.8 * shared + 0.1
    for image in (fixed, moved):  # beyond the middle each has noise of its own
        image[20:] = 0.5 + 0.05 * torch.from_numpy(rng.normal(size=(20, 24, 20))).float()
    weight = torch.ones(shape)
    sd = float(fixed.std())
    trust = match_locally(fixed, moved, weight, window(shape), sd).trust
    assert float(trust[:12].median()) > 0.95
    assert float(trust[28:].median()) < 0.1
    inverted = match_locally(fixed, 1 - moved, weight, window(shape), sd).trust
    assert float(inverted.max()) < 0.2


def test_only_what_is_weighed_is_compared():
    fixed = smooth(0)
    moved = fixed.clone()
    moved[4:8, 4:8, 4:8] = 0.9
    weight = torch.ones(SHAPE)
    weight[4:8, 4:8, 4:8] = 0
    for measure, local in KINDS[:3]:
        fitted = comparison(fixed, measure, local, weight).fit(moved, weight)
        assert fitted.energy(moved, weight) < 1e-4
        assert fitted.energy(moved, torch.ones(SHAPE)) > 1e-2

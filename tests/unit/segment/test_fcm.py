"""Spatial fuzzy C-means against its own equations, worked by hand and by loops."""

import logging

import numpy as np
import pytest
from scipy import optimize

from pipeline.errors import EmptyRegionError, ImageError, SettingsError
from pipeline.segment.fcm import centres_of, memberships_of, spatial_fcm


def line(values):
    """Values in a row with gaps, so that no two are neighbours."""
    image = np.zeros((2 * len(values), 1, 1))
    image[::2, 0, 0] = values
    mask = np.zeros(image.shape, dtype=bool)
    mask[::2] = True
    return image, mask


def test_one_update_by_hand():
    values = np.array([[0.0], [2.0]])
    u = memberships_of(values, np.array([[0.5], [1.5]]), 2.0)
    # squared distances 0.25 and 2.25: u = 2.25 / 2.5
    np.testing.assert_allclose(u, [[0.9, 0.1], [0.1, 0.9]], rtol=1e-14)
    # (0.81 * 0 + 0.01 * 2) / 0.82
    np.testing.assert_allclose(centres_of(values, u, 2.0), [[0.02 / 0.82], [1.62 / 0.82]])


def test_other_fuzzifier_by_hand():
    # m = 3: u is inverse to the distance itself, 1 and 3
    u = memberships_of(np.array([[1.0]]), np.array([[0.0], [4.0]]), 3.0)
    np.testing.assert_allclose(u[:, 0], [0.75, 0.25], rtol=1e-14)


def test_a_value_on_a_centre_belongs_to_it_wholly():
    u = memberships_of(np.array([[2.0]]), np.array([[2.0], [5.0]]), 2.0)
    np.testing.assert_allclose(u[:, 0], [1.0, 0.0], atol=1e-20)
    shared = memberships_of(np.array([[2.0]]), np.array([[2.0], [2.0], [5.0]]), 2.0)
    np.testing.assert_allclose(shared[:, 0], [0.5, 0.5, 0.0], atol=1e-20)


def test_plain_fcm_minimises_its_objective():
    values = np.array([0.0, 1.0, 1.5, 6.0, 7.0, 9.0, 20.0, 22.0])

    def objective(centres):
        # with m = 2 the best memberships turn sum u^2 d^2 into sum_j 1 / sum_i d_ij^-2
        squared = (values[None] - np.asarray(centres)[:, None]) ** 2
        return float((1.0 / (1.0 / squared).sum(axis=0)).sum())

    image, mask = line(values)
    found = spatial_fcm(image, mask, clusters=3, spatial_power=0.0, tolerance=1e-12)
    centres = found.centres[:, 0]
    gradient = optimize.approx_fprime(centres, objective, 1e-6)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-4)
    best = optimize.minimize(objective, centres + 0.3, method="Nelder-Mead",
                             options={"xatol": 1e-9, "fatol": 1e-12})  # fmt: skip
    np.testing.assert_allclose(centres, np.sort(best.x), atol=1e-6)
    assert found.converged
    assert found.centre_move <= 1e-12


def reference(image, mask, clusters, centres, p, q, rounds):
    """The method in loops, as the equations are printed: m = 2."""
    voxels = [tuple(v) for v in np.argwhere(mask)]
    for _ in range(rounds):
        u = {}
        for v in voxels:
            inverse = [1.0 / (image[v] - c) ** 2 for c in centres]
            u[v] = [w / sum(inverse) for w in inverse]
        new = {}
        for v in voxels:
            near = [w for w in voxels if max(abs(a - b) for a, b in zip(v, w, strict=True)) <= 1]
            raw = [u[v][k] ** p * sum(u[w][k] for w in near) ** q for k in range(clusters)]
            new[v] = [r / sum(raw) for r in raw]
        centres = [
            sum(new[v][k] ** 2 * image[v] for v in voxels) / sum(new[v][k] ** 2 for v in voxels)
            for k in range(clusters)
        ]
    return new, centres


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (0.0, 1.0)])
def test_spatial_update_equals_loops_over_the_equations(p, q):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(4, 5, 3)) * 10 + 100
    mask = rng.random(image.shape) < 0.8
    start = np.array([[92.0], [99.0], [107.0]])
    expected_u, expected_c = reference(image, mask, 3, [92.0, 99.0, 107.0], p, q, 4)
    found = spatial_fcm(image, mask, clusters=3, membership_power=p, spatial_power=q,
                        start=start, tolerance=0.0, max_iterations=4)  # fmt: skip
    np.testing.assert_allclose(found.centres[:, 0], expected_c, rtol=1e-10)
    for voxel, memberships in expected_u.items():
        np.testing.assert_allclose(found.memberships[voxel], memberships, atol=1e-10)
    assert not found.memberships[~mask].any()


def test_neighbours_remove_salt_noise():
    rng = np.random.default_rng(5)
    truth = np.zeros((24, 24, 24), dtype=bool)
    truth[6:18, 6:18, 6:18] = True
    image = truth + 0.35 * rng.standard_normal(truth.shape)
    flipped = rng.random(truth.shape) < 0.03
    image[flipped] = 1.0 - image[flipped]
    wrong = {
        q: int(((spatial_fcm(image, np.ones_like(truth), clusters=2, spatial_power=q).labels == 1)
                != truth).sum())
        for q in (0.0, 1.0, 2.0)
    }  # fmt: skip
    assert wrong[0.0] > 1000  # of 13,824
    assert wrong[1.0] < 0.45 * wrong[0.0]
    assert wrong[2.0] < 0.25 * wrong[0.0]


def test_channels_are_weighed_alike_and_both_count():
    rng = np.random.default_rng(1)
    first = np.repeat([0.0, 0.0, 1.0, 1.0], 50)
    second = np.repeat([0.0, 1.0, 0.0, 1.0], 50)
    features = np.stack([first, 1e4 * second], axis=-1).reshape(200, 1, 1, 2)
    features = features + rng.normal(size=features.shape) * [0.05, 500.0]
    found = spatial_fcm(features, np.ones((200, 1, 1), dtype=bool), clusters=4,
                        start=np.array([[0.0, 0.0], [0.0, 1e4], [1.0, 0.0], [1.0, 1e4]]),
                        spatial_power=0.0)  # fmt: skip
    labels = found.labels.reshape(4, 50)
    assert (labels == labels[:, :1]).all()
    assert len(set(labels[:, 0])) == 4
    np.testing.assert_allclose(found.centres[0], [0.0, 0.0], atol=300)
    np.testing.assert_allclose(found.centres[3], [1.0, 1e4], rtol=0.05)


def test_scale_and_offset_change_nothing_but_the_centres():
    rng = np.random.default_rng(2)
    image = rng.gamma(2.0, size=(8, 9, 7))
    mask = np.ones(image.shape, dtype=bool)
    one = spatial_fcm(image, mask)
    other = spatial_fcm(1000.0 * image - 300.0, mask)
    np.testing.assert_allclose(one.memberships, other.memberships, atol=1e-9)
    np.testing.assert_allclose(other.centres, 1000.0 * one.centres - 300.0, rtol=1e-9)


def test_clusters_come_out_from_dark_to_bright_and_sum_to_one():
    rng = np.random.default_rng(3)
    image = rng.normal(size=(6, 6, 6))
    start = np.array([[2.0], [0.0], [-2.0]])
    found = spatial_fcm(image, np.ones(image.shape, dtype=bool), start=start)
    assert (np.diff(found.centres[:, 0]) > 0).all()
    np.testing.assert_allclose(found.memberships.sum(axis=-1), 1.0, rtol=1e-12)
    assert (found.labels[image > 1.5] == 2).all()


def test_same_input_same_bytes():
    image = np.random.default_rng(4).normal(size=(9, 8, 7))
    mask = image > -1.0
    first, second = (spatial_fcm(image, mask).memberships.tobytes() for _ in range(2))
    assert first == second


def test_the_cap_on_iterations_is_told(caplog):
    image = np.random.default_rng(6).normal(size=(6, 6, 6))
    with caplog.at_level(logging.WARNING):
        found = spatial_fcm(image, np.ones(image.shape, dtype=bool), max_iterations=2)
    assert not found.converged
    assert found.iterations == 2
    assert found.centre_move > 1e-3
    assert "stopped after 2 iterations" in caplog.text


def test_features_that_cannot_be_clustered():
    ones = np.ones((3, 3, 3))
    everywhere = ones.astype(bool)
    with pytest.raises(ImageError, match="all 27 voxels to cluster have the value"):
        spatial_fcm(ones, everywhere)
    with pytest.raises(ImageError, match="1 of 27 voxels to cluster are NaN"):
        spatial_fcm(np.where(np.arange(27).reshape(3, 3, 3) == 4, np.nan, 1.0), everywhere)
    with pytest.raises(ImageError, match="2 distinct values, fewer than 3 clusters"):
        spatial_fcm(np.arange(27).reshape(3, 3, 3) % 2, everywhere)
    with pytest.raises(EmptyRegionError, match="no voxel"):
        spatial_fcm(ones, ~everywhere)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clusters": 1}, "clusters is 1, must be 2 or more"),
        ({"fuzzifier": 1.0}, "fuzzifier is 1.0, must be above 1"),
        ({"fuzzifier": float("nan")}, "fuzzifier is nan"),
        ({"membership_power": 0.0, "spatial_power": 0.0}, "nor both 0"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"start": np.zeros((2, 1))}, r"start has shape \(2, 1\), must be \(3, 1\)"),
    ],
)
def test_options_without_meaning(options, words):
    image = np.arange(27.0).reshape(3, 3, 3)
    with pytest.raises(SettingsError, match=words):
        spatial_fcm(image, np.ones(image.shape, dtype=bool), **options)

"""Several visits against maps that are known: what is composed, and where the mean lies."""

import numpy as np
import pytest

from pipeline.errors import ConvergenceError, SettingsError
from pipeline.registration.engine import (
    Estimate,
    Pair,
    RegistrationResult,
    RegistrationSettings,
    register,
)
from pipeline.registration.fields import affine_to_field, grid_points, invert, warp
from pipeline.registration.matching import correlation, foreground
from pipeline.registration.template import groupwise, mean_map, most_frequent_label
from pipeline.registration.visits import chain, in_sequence, to_reference
from pipeline.types import DisplacementField, Geometry, Volume

CENTRE = np.array([40.0, 38.0, 36.0])


def cube(voxels: int, spacing: float, direction: np.ndarray | None = None) -> Geometry:
    turn = np.eye(3) if direction is None else direction
    middle = turn @ np.full(3, (voxels - 1) / 2 * spacing)
    return Geometry((voxels,) * 3, (spacing,) * 3, tuple(CENTRE - middle), turn)


def radial(points, strength, radius, at=CENTRE):
    """Return T(x) = c + (x - c)(1 - a exp(-(r / R)^2)) and its determinant."""
    offset = points - at
    r = np.linalg.norm(offset, axis=-1)
    e = strength * np.exp(-((r / radius) ** 2))
    return at + offset * (1 - e)[..., None], (1 - e) ** 2 * (1 - e + 2 * e * (r / radius) ** 2)


def result_of(grid: Geometry, moved: np.ndarray, affine: np.ndarray | None = None):
    """Return a registration that found exactly this map."""
    field = DisplacementField(moved - grid_points(grid), grid)
    nothing = Volume(np.ones(grid.shape), grid)
    return RegistrationResult(np.eye(4) if affine is None else affine, field, field, nothing, {})


def inner(shape: tuple[int, ...], margin: int) -> tuple[slice, ...]:
    return tuple(slice(margin, n - margin) for n in shape)


def textured(grid: Geometry, seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).normal(100, 20, grid.shape), grid)


@pytest.mark.parametrize("degrees", [0.0, 25.0])
def test_the_composed_jacobian_is_the_product_of_the_true_ones(degrees):
    """T2 o T1 of two shrinks off one another's centre, on two grids that differ."""
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
    first_grid, second_grid = cube(41, 1.5, turn), cube(54, 1.3)
    beside = CENTRE + np.array([4.0, -3.0, 2.0])
    x = grid_points(first_grid)
    middle, first_truth = radial(x, 0.3, 12.0)
    end, second_truth = radial(middle, -0.2, 14.0, beside)
    first = result_of(first_grid, middle)
    second = result_of(second_grid, radial(grid_points(second_grid), -0.2, 14.0, beside)[0])
    pair = Pair(textured(first_grid), textured(second_grid))
    found = chain(pair, first, second)
    region = inner(first_grid.shape, 6)
    truth = (first_truth * second_truth)[region]
    # The bound of `chain` for maps known at their voxels: h^2 / 8 times the second derivatives.
    u = second.displacement.data
    bend = sum(np.abs(np.diff(u, 2, axis=axis)).max() for axis in range(3))
    error = np.linalg.norm(x + found.displacement.data - end, axis=-1)[region]
    assert error.max() <= np.sqrt(3) * bend / 8
    assert error.max() < 0.05
    log_error = np.abs(np.log(found.jacobian.data[region]) - np.log(truth))
    assert log_error.max() < 0.05
    assert log_error.mean() < 0.002
    assert found.jacobian.data[region].mean() == pytest.approx(truth.mean(), rel=1e-3)


def test_the_error_of_a_composed_map_falls_with_the_square_of_the_voxel():
    errors = []
    for voxels, spacing in ((21, 4.0), (41, 2.0), (81, 1.0)):
        grid = cube(voxels, spacing)
        x = grid_points(grid)
        middle, end = radial(x, 0.3, 16.0)[0], radial(radial(x, 0.3, 16.0)[0], 0.25, 16.0)[0]
        pair = Pair(textured(grid), textured(grid))
        found = chain(
            pair, result_of(grid, middle), result_of(grid, radial(x, 0.25, 16.0)[0])
        ).displacement  # fmt: skip
        errors.append(np.linalg.norm(x + found.data - end, axis=-1).mean())
    assert errors[0] / errors[1] > 3
    assert errors[1] / errors[2] > 3


def known_sequence(n: int):
    """Images of one grid, a register function that knows the steps, and the total to each."""
    grid = cube(31, 2.0)
    images = [textured(grid, seed) for seed in range(n)]
    strength = 0.12

    def step(fixed: Volume, moving: Volume, _mask) -> RegistrationResult:
        places = [next(i for i, v in enumerate(images) if v is one) for one in (fixed, moving)]
        assert abs(places[0] - places[1]) == 1, "only neighbours are registered"
        x = grid_points(grid)
        if places[1] > places[0]:
            return result_of(grid, radial(x, strength, 14.0)[0])
        there = result_of(grid, radial(x, strength, 14.0)[0])
        back = invert(there.displacement).field
        return RegistrationResult(np.eye(4), back, there.displacement, there.jacobian, {})

    return images, step, strength


def test_a_sequence_reaches_every_visit_from_its_reference_in_both_directions():
    images, step, strength = known_sequence(4)
    grid = images[0].grid
    visits = list(in_sequence(images, step, reference=1))
    assert [visit.index for visit in visits] == [2, 3, 0]
    region = inner(grid.shape, 5)
    x = grid_points(grid)
    once, j_once = radial(x, strength, 14.0)
    twice, j_twice = radial(once, strength, 14.0)
    for visit, point, jacobian in ((visits[0], once, None), (visits[1], twice, j_once * j_twice)):
        error = np.linalg.norm(x + visit.result.displacement.data - point, axis=-1)
        assert error[region].max() < 0.05
        if jacobian is not None:
            assert np.abs(visit.result.jacobian.data / jacobian - 1)[region].max() < 0.05
    there = visits[2].result.displacement.data + x
    again = np.linalg.norm(radial(there, strength, 14.0)[0] - x, axis=-1)
    assert again[region].max() < 0.05


def test_the_inverse_of_a_composed_map_leads_back():
    images, step, _ = known_sequence(3)
    last = list(in_sequence(images, step))[-1].result
    assert last.metrics["inverse_residual_max_mm"] < 0.01


def test_every_visit_is_registered_to_the_reference_only():
    grid = cube(9, 2.0)
    images, asked = [textured(grid, n) for n in range(3)], []

    def note(fixed, moving, _mask):
        asked.append((fixed is images[1], [v is moving for v in images].index(True)))
        return result_of(grid, grid_points(grid))

    assert [visit.index for visit in to_reference(images, note, reference=1)] == [0, 2]
    assert asked == [(True, 0), (True, 2)]


def test_three_visits_of_a_shrinking_lesion_by_the_engine(lesion_case):
    """The reference visit's J after two steps is the true one of T2 o T1, as in one step."""
    cases = [lesion_case(strength=s, noise=0.0) for s in (0.15, 0.3)]
    rng = np.random.default_rng(5)
    images = [
        Volume(v.data + rng.normal(0, 4.0, v.data.shape), v.grid)
        for v in (cases[0].fixed, cases[0].moving, cases[1].moving)
    ]
    settings = RegistrationSettings(inverse_consistency=False)
    mask = Volume(cases[0].mask, images[0].grid)
    visits = list(
        in_sequence(
            images, lambda f, m, k: register(f, m, settings=settings, fixed_mask=k), mask=mask
        )
    )
    for visit, case in zip(visits, cases, strict=True):
        found, truth = visit.result.jacobian.data[case.mask], case.jacobian[case.mask]
        assert found.mean() == pytest.approx(truth.mean(), rel=0.04)
        assert np.abs(np.log(found) - np.log(truth)).mean() < 0.08
        assert np.corrcoef(found, truth)[0, 1] > 0.9
    assert visits[1].result.metrics["mean_jacobian"] == pytest.approx(
        visits[1].result.jacobian.data[case.mask].mean()
    )


def shifted(image: Volume, by: np.ndarray) -> Volume:
    grid = image.grid
    origin = tuple(np.asarray(grid.origin_mm) + by)
    return Volume(image.data, Geometry(grid.shape, grid.spacing_mm, origin, grid.direction))


def test_the_mean_of_shifted_images_lies_in_the_middle_whichever_comes_first(lesion_case):
    """Shifts +d, -d and 0 of one image: the template is the one at 0, by the engine."""
    original = lesion_case(noise=0.0).fixed
    d = np.array([5.0, -3.0, 2.0])
    images = [shifted(original, by) for by in (d, -d, 0 * d)]
    settings = RegistrationSettings(deformable="none", inverse_consistency=False)
    for reference in (0, 2):
        template = groupwise(
            images,
            lambda f, m, k: register(f, m, settings=settings, fixed_mask=k),
            reference=reference,
        )
        region = inner(original.grid.shape, 5)
        for one, by in zip(template.maps, (d, -d, 0 * d), strict=True):
            assert np.abs(one.displacement.data[region] - by).max() < 0.2
        there = affine_to_field(np.eye(4), template.image.grid)
        expected = warp(original, there).data
        everywhere = np.ones(expected[region].shape, dtype=bool)
        assert correlation(template.image.data[region], expected[region], everywhere) > 0.99
        assert template.converged
        assert template.change_mm[-1] < 0.1
        first = np.linalg.norm(d) if reference == 0 else 0.0
        assert template.change_mm[0] == pytest.approx(first, abs=0.2)


def rotation(degrees: float) -> np.ndarray:
    a, matrix = np.deg2rad(degrees), np.eye(4)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    matrix[:3, 3] = CENTRE - matrix[:3, :3] @ CENTRE
    return matrix


def test_turned_images_have_a_mean_of_their_own_size():
    grid = cube(15, 3.0)
    maps = [Estimate(rotation(a), affine_to_field(rotation(a), grid)) for a in (30, -10, -20)]
    affine, moved = mean_map(maps)
    assert affine == pytest.approx(np.eye(4), abs=1e-9)
    assert np.abs(moved.data).max() < 1e-9


def test_the_maps_to_deformed_images_are_zero_on_average():
    """Lesions 30 % smaller and 10 % larger than the first image's: neither shape is kept."""
    grid = cube(31, 2.0)
    images = [textured(grid, n) for n in range(3)]
    x = grid_points(grid)
    truth = [x, radial(x, 0.3, 14.0)[0], radial(x, -0.1, 14.0)[0]]

    def known(fixed, moving, _mask):
        return result_of(grid, truth[[v is moving for v in images].index(True)])

    template = groupwise(images, known, most_rounds=1)
    region = inner(grid.shape, 4)
    mean = np.mean([one.displacement.data for one in template.maps], axis=0)
    assert np.abs(mean[region]).max() < 0.02
    expected = np.linalg.norm(np.mean(truth, axis=0) - x, axis=-1)
    body = foreground(images[0].data)
    assert template.change_mm[0] == pytest.approx(np.percentile(expected[body], 95), rel=1e-5)
    assert not template.converged


def test_the_label_that_most_have():
    grid = cube(2, 1.0)
    stack = [np.zeros(grid.shape, np.int16) for _ in range(3)]
    stack[0][0, 0, 0], stack[1][0, 0, 0], stack[2][0, 0, 0] = 2, 7, 7
    stack[0][1, 1, 1], stack[1][1, 1, 1], stack[2][1, 1, 1] = 5, 3, 9
    found = most_frequent_label([Volume(data, grid) for data in stack])
    assert found.data[0, 0, 0] == 7
    assert found.data[1, 1, 1] == 3
    assert found.data[0, 1, 0] == 0


def test_mistakes_are_told_before_any_work():
    grid = cube(9, 2.0)

    def never(fixed, moving, _mask):
        raise AssertionError

    with pytest.raises(SettingsError, match="two or more"):
        list(in_sequence([textured(grid)], never))
    with pytest.raises(SettingsError, match="reference is image 4 and there are 2"):
        list(to_reference([textured(grid)] * 2, never, reference=3))
    with pytest.raises(SettingsError, match="at least one round"):
        groupwise([textured(grid)] * 2, never, most_rounds=0)
    maps = [Estimate(np.diag([-1.0, -1, 1, 1]), affine_to_field(np.eye(4), grid))] * 2
    maps[1] = Estimate(np.diag([-1.0, 1, 1, 1]), maps[0].displacement)
    with pytest.raises(ConvergenceError, match="half a turn"):
        mean_map(maps)

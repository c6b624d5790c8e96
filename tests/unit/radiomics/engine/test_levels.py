"""Grey levels: the limits PyRadiomics sets, and which level a value falls into."""

import numpy as np
import pytest
from radiomics.imageoperations import getBinEdges

from pipeline.radiomics.engine.directions import directions
from pipeline.radiomics.engine.levels import bin_edges, discretise, map_levels

WIDTHS = [25.0, 0.1, 1 / 3, 7e-5]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
@pytest.mark.parametrize("width", WIDTHS)
def test_values_on_and_beside_the_limits_fall_as_numpy_puts_them(width, scale):
    rng = np.random.default_rng(2)
    step = width * scale
    multiples = step * rng.integers(-400, 400, 3000)
    values = np.concatenate(
        [multiples, np.nextafter(multiples, np.inf), np.nextafter(multiples, -np.inf)]
    )
    edges = bin_edges(values, step, None)
    np.testing.assert_array_equal(edges, getBinEdges(values, binWidth=step))
    np.testing.assert_array_equal(discretise(values, edges), np.digitize(values, edges))


@pytest.mark.parametrize("count", [1, 2, 7, 64, 255])
@pytest.mark.parametrize("offset", [0.0, -3.3, 1e6])
def test_a_count_takes_the_maximum_into_its_last_level(count, offset):
    values = np.random.default_rng(count).normal(offset, 10.0, 2000)
    edges = bin_edges(values, None, count)
    np.testing.assert_array_equal(edges, getBinEdges(values, binCount=count))
    levels = discretise(values, edges)
    np.testing.assert_array_equal(levels, np.digitize(values, edges))
    assert levels.min() == 1
    assert levels.max() == count


@pytest.mark.parametrize("value", [0.0, 25.0, -7.3, 1e5])
@pytest.mark.parametrize("how", [(25.0, None), (None, 8)])
def test_a_flat_region(value, how):
    values = np.full(10, value)
    edges = bin_edges(values, *how)
    np.testing.assert_array_equal(discretise(values, edges), np.digitize(values, edges))


def test_neither_width_nor_count():
    with pytest.raises(ValueError, match="neither"):
        bin_edges(np.arange(3.0), None, None)


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_a_flat_step_meets_the_neighbour_or_nothing(distance):
    """Against looking each neighbour up by its three coordinates."""
    rng = np.random.default_rng(distance)
    levels = rng.integers(0, 4, (5, 4, 6))
    found = map_levels(levels > 0, levels[levels > 0], distance)
    assert set(found.occupied) == {1, 2, 3}
    around = directions(levels.shape, (distance,))
    beyond = np.pad(levels, distance)
    at = np.argwhere(levels > 0)
    for step, offset in zip(around.steps, around.offsets(found), strict=True):
        expected = beyond[tuple((at + distance + step).T)]
        np.testing.assert_array_equal(found.flat[found.voxels + offset], expected)


def test_levels_that_do_not_occur_have_no_rank():
    levels = np.array([[[3, 700, 3, 9]]])
    found = map_levels(levels > 0, levels.ravel(), 1)
    assert found.occupied.tolist() == [3, 9, 700]
    assert found.counts.tolist() == [2, 1, 1]
    assert found.ranks.tolist() == [1, 3, 1, 2]
    assert found.highest == 700


def test_directions_are_one_of_each_pair():
    for distances, number in (((1,), 13), ((2,), 49), ((1, 2), 62)):
        steps = directions((6, 6, 6), distances).steps
        assert len(steps) == number
        both = {tuple(s) for s in steps} | {tuple(-s) for s in steps}
        assert len(both) == 2 * number
    assert len(directions((6, 6, 6), (1,), flat_axis=0).steps) == 4
    assert len(directions((1, 6, 6), (1,)).steps) == 4
    assert len(directions((1, 1, 1), (1,)).steps) == 0
    assert len(directions((9, 2, 2), (2,), flat_axis=0).steps) == 0

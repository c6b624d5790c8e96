"""The matrices behind the features, on examples worked by hand and against other ways to count."""

import numpy as np
import pytest
import torch
from radiomics import cMatrices
from scipy import ndimage

from pipeline.radiomics.engine.cooccurrence import cooccurrences
from pipeline.radiomics.engine.directions import directions
from pipeline.radiomics.engine.gldm import dependent_neighbours
from pipeline.radiomics.engine.glrlm import run_lengths
from pipeline.radiomics.engine.glszm import size_zones, zones
from pipeline.radiomics.engine.ngtdm import difference_from_neighbours

# The example of the PyRadiomics documentation for GLCM.
PAIRS = [[1, 2, 5, 2, 3], [3, 2, 1, 3, 1], [1, 3, 5, 5, 2], [1, 1, 1, 1, 2], [1, 2, 4, 3, 5]]
# Its example for GLRLM, GLSZM, GLDM.
RUNS = [[5, 2, 5, 4, 4], [3, 3, 3, 1, 3], [2, 1, 1, 1, 3], [4, 2, 2, 2, 3], [3, 5, 3, 3, 2]]

SOME = ((6, 7, 5), (9, 1, 8), (3, 3, 20))


def table(entries):
    found = np.zeros((entries.level.max(), entries.size.max()), int)
    np.add.at(found, (entries.level - 1, entries.size - 1), entries.count.astype(int))
    return found


def random_levels(shape, seed=0, most=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, most + 1, shape)


def test_pairs_along_a_row(level_map):
    levels = level_map([PAIRS])
    one_way = cooccurrences(levels, [1])[0]
    assert (one_way + one_way.T).tolist() == [
        [6, 4, 3, 0, 0],
        [4, 0, 2, 1, 3],
        [3, 2, 0, 1, 2],
        [0, 1, 1, 0, 0],
        [0, 3, 2, 0, 2],
    ]
    np.testing.assert_array_equal(cooccurrences(levels, [-1])[0], one_way.T)


def test_runs_along_a_row(level_map):
    levels = level_map([RUNS])
    along = directions((1, 1, 5), (1,))
    assert along.steps.tolist() == [[0, 0, 1]]
    assert table(run_lengths(levels, along)).tolist() == [
        [1, 0, 1],
        [3, 0, 1],
        [4, 1, 1],
        [1, 1, 0],
        [3, 0, 0],
    ]


def test_zones_of_a_plane(level_map):
    found = size_zones(level_map([RUNS]), directions((1, 5, 5), (1,)))
    assert table(found).tolist() == [
        [0, 0, 0, 1, 0],
        [1, 0, 0, 0, 1],
        [1, 0, 1, 0, 1],
        [1, 1, 0, 0, 0],
        [3, 0, 0, 0, 0],
    ]


def test_dependences_and_differences_beside_a_gap(level_map):
    """One line: 2 2 3 _ 7; the last voxel has no neighbour in the region."""
    levels = level_map([[[2, 2, 3, 0, 7]]])
    along = directions((1, 1, 5), (1,))
    assert dependent_neighbours(levels, along, 0.0).tolist() == [1, 1, 0, 0]
    assert dependent_neighbours(levels, along, 1.0).tolist() == [1, 2, 1, 0]
    assert difference_from_neighbours(levels, along).tolist() == [0.0, 0.5, 1.0, 0.0]


@pytest.mark.parametrize("most", [3, 300])
@pytest.mark.parametrize("shape", SOME)
@pytest.mark.parametrize("distances", [(1,), (1, 2)])
def test_pairs_as_pyradiomics_counts_them(level_map, shape, distances, most):
    array = random_levels((*shape[:2], 2 * shape[2]), most=most)
    levels = level_map(array, max(distances))
    around = directions(array.shape, distances)
    theirs, steps = cMatrices.calculate_glcm(
        array, array > 0, np.array(distances), array.max(), False, 0
    )
    np.testing.assert_array_equal(around.steps, steps)
    ours = cooccurrences(levels, around.offsets(levels))
    there = levels.occupied - 1
    np.testing.assert_array_equal(np.moveaxis(ours, 0, -1), theirs[0][np.ix_(there, there)])


@pytest.mark.parametrize("shape", SOME)
def test_long_runs_as_pyradiomics_counts_them(level_map, shape):
    array = np.maximum(random_levels(shape, 4, most=20) // 16, 1)
    array[0, 0, 0] = 0
    around = directions(shape, (1,))
    theirs, _ = cMatrices.calculate_glrlm(array, array > 0, array.max(), max(shape), False, 0)
    ours = run_lengths(level_map(array), around)
    dense = np.zeros(theirs.shape[1:])
    dense[ours.level - 1, ours.size - 1, ours.matrix] = ours.count
    np.testing.assert_array_equal(dense, theirs[0])


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("shape", [(9, 8, 7), (1, 15, 15), (20, 20, 20)])
def test_zones_are_the_connected_components_of_each_level(level_map, shape, most):
    array = random_levels(shape, most, most)
    levels = level_map(array)
    ours = np.zeros(shape, int)
    ours[array > 0] = zones(levels, directions(shape, (1,))) + 1
    for level in range(1, most + 1):
        expected, number = ndimage.label(array == level, np.ones((3, 3, 3)))
        pairs = np.unique(np.stack([expected[array == level], ours[array == level]]), axis=1)
        assert pairs.shape[1] == number == len(np.unique(pairs[1]))


def test_a_zone_that_winds(level_map):
    """A zone whose links run against the order of the voxels: a spiral, one voxel wide."""
    picture = np.zeros((21, 21), int)
    row = column = 0
    picture[0] = 1
    column, step, length = 20, (1, 0), 20
    turns = [(1, 0), (0, -1), (-1, 0), (0, 1)]
    for turn in range(18):
        step = turns[turn % 4]
        for _ in range(length):
            row, column = row + step[0], column + step[1]
            picture[row, column] = 1
        length -= 2 if turn % 2 else 0
    found = size_zones(level_map(picture[None]), directions((1, 21, 21), (1,)))
    _, number = ndimage.label(picture, np.ones((3, 3)))
    assert found.count.sum() == number == 1
    assert found.size.tolist() == [picture.sum()]


def test_torch_counts_the_same_pairs(level_map):
    array = random_levels((9, 10, 11), 6, most=300)
    levels = level_map(array)
    offsets = directions(array.shape, (1,)).offsets(levels)
    np.testing.assert_array_equal(
        cooccurrences(levels, offsets, device="cpu"), cooccurrences(levels, offsets)
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_counts_the_same_pairs(level_map):
    array = random_levels((60, 60, 60), 6, most=80)
    levels = level_map(array)
    offsets = directions(array.shape, (1,)).offsets(levels)
    np.testing.assert_array_equal(
        cooccurrences(levels, offsets, device="cuda"), cooccurrences(levels, offsets)
    )

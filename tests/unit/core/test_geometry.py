"""Grids: points to voxels and back, and the bridge to SimpleITK."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import GeometryError
from pipeline.geometry import (
    field_from_sitk,
    field_to_sitk,
    from_sitk,
    grid_difference_mm,
    index_to_world,
    same_grid,
    to_sitk,
    world_to_index,
)
from pipeline.grid_difference import check_same_grid
from pipeline.types import DisplacementField, Geometry, Volume


def all_orientations():
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            yield np.eye(3)[:, order] * np.array(signs)


def grid(direction=None, shape=(5, 6, 7)):
    d = np.eye(3) if direction is None else direction
    return Geometry(shape, (0.9, 1.1, 3.0), (-10.0, 20.0, 5.0), d)


def test_points_agree_with_itk_in_all_48_orientations():
    index = np.array([[0, 0, 0], [4, 5, 6], [1, 3, 2]])
    for direction in all_orientations():
        g = grid(direction)
        image = to_sitk(Volume(np.zeros(g.shape, np.float32), g))
        for i, point in zip(index, index_to_world(g, index), strict=True):
            np.testing.assert_allclose(
                point, image.TransformIndexToPhysicalPoint(i.tolist()), atol=1e-9
            )
        np.testing.assert_allclose(world_to_index(g, index_to_world(g, index)), index, atol=1e-9)


def test_a_volume_survives_the_bridge_with_each_voxel_in_place():
    data = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    image = to_sitk(Volume(data, grid()))
    assert image.GetPixel(1, 2, 3) == data[1, 2, 3]
    back = from_sitk(image)
    np.testing.assert_array_equal(back.data, data)
    assert same_grid(back.grid, grid())


def test_a_field_survives_the_bridge_with_its_components_in_order():
    data = np.random.default_rng(0).normal(size=(5, 6, 7, 3))
    image = field_to_sitk(DisplacementField(data, grid()))
    assert image.GetPixelID() == sitk.sitkVectorFloat64
    np.testing.assert_allclose(image.GetPixel(1, 2, 3), data[1, 2, 3])
    np.testing.assert_array_equal(field_from_sitk(image).data, data)


def test_the_difference_is_told_in_mm_with_a_remedy():
    shifted = Geometry((5, 6, 7), (0.9, 1.1, 3.0), (-10.0, 20.0, 6.5), np.eye(3))
    assert grid_difference_mm(grid(), shifted) == pytest.approx(1.5)
    with pytest.raises(GeometryError, match=r"1\.5 mm apart.*medpipe preprocess"):
        check_same_grid(grid(), shifted, ("image.nii.gz", "mask.nii.gz"))
    with pytest.raises(GeometryError, match="voxels"):
        check_same_grid(grid(), grid(shape=(5, 6, 8)), ("a", "b"))

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.errors import SettingsError
from pipeline.geometry import index_to_world, world_to_index
from pipeline.registration.tensors import (
    as_tensor,
    gaussian_matrix,
    inside,
    pick_device,
    sample,
    separable,
    slopes,
    voxel_to_world,
)

CPU = torch.device("cpu")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(9, 8, 7)).astype(np.float32)


def test_voxel_to_world_is_the_grid_of_the_types(grid):
    index = np.array([[0.0, 0, 0], [3, 2, 1], [8, 7, 6]])
    points = np.c_[index, np.ones(3)] @ voxel_to_world(grid).T
    np.testing.assert_allclose(points[:, :3], index_to_world(grid, index), atol=1e-12)
    np.testing.assert_allclose(world_to_index(grid, points[:, :3]), index, atol=1e-12)


def test_samples_are_those_of_scipy(image):
    index = np.random.default_rng(2).uniform(-2, 9, (4, 5, 3)).astype(np.float32)
    true = ndimage.map_coordinates(image, np.moveaxis(index, -1, 0), order=1, mode="nearest")
    at = torch.from_numpy(index)
    np.testing.assert_allclose(sample(as_tensor(image, CPU), at), true, atol=1e-5)
    two = sample(torch.stack([as_tensor(image, CPU), as_tensor(2 * image, CPU)]), at)
    np.testing.assert_allclose(two[1], 2 * true, atol=1e-5)


def test_slopes_are_central_differences(image):
    inner = slopes(as_tensor(image, CPU))[1]
    np.testing.assert_allclose(inner[:, 1:-1], (image[:, 2:] - image[:, :-2]) / 2, atol=1e-6)


def test_inside_reaches_half_a_voxel_beyond_the_centres():
    index = torch.tensor([[-0.4, 0, 0], [-0.6, 0, 0], [8.4, 7, 6], [8, 7, 6.6]])
    assert inside(index, (9, 8, 7)).tolist() == [1, 0, 1, 0]


def test_smoothing_is_that_of_scipy():
    image = np.random.default_rng(3).normal(size=(31, 30, 29)).astype(np.float32)
    sigmas = (1.0, 1.5, 0.0)
    matrices = tuple(gaussian_matrix(n, s) for n, s in zip(image.shape, sigmas, strict=True))
    found = separable(as_tensor(image, CPU), matrices).numpy()
    true = ndimage.gaussian_filter(image, sigmas, truncate=8)
    np.testing.assert_allclose(found[12:-12, 13:-13], true[12:-12, 13:-13], atol=1e-5)
    at = [3.25, 28.5]
    between = gaussian_matrix(31, 1.0, at=at).numpy()
    line = np.random.default_rng(4).normal(size=31).astype(np.float32)
    smooth = gaussian_matrix(31, 1.0).numpy() @ line
    np.testing.assert_allclose(between @ line, np.interp(at, np.arange(31), smooth), atol=1e-6)


def test_a_missing_device_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(SettingsError, match="--device cpu"):
        pick_device("cuda")

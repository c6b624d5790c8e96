"""A lesion in noise on a grid with thick slices."""

import numpy as np
import pytest

from pipeline.types import Geometry, Volume


@pytest.fixture
def grid() -> Geometry:
    return Geometry((40, 36, 24), (1.0, 1.0, 2.0), (-3.0, 5.0, 9.0), np.eye(3))


@pytest.fixture
def lesion(grid) -> tuple[Volume, Volume]:
    """Return an image of a ball (radius 9 mm, 60 above 100) in noise of 8, and the ball."""
    i, j, k = np.indices(grid.shape)
    distance = np.sqrt((i - 19.3) ** 2 + (j - 17.6) ** 2 + (2 * (k - 12.2)) ** 2)
    inside = distance < 9
    noise = np.random.default_rng(4).normal(0, 8, grid.shape)
    data = (100 + 60 / (1 + np.exp((distance - 9) / 0.7)) + noise).astype(np.float32)
    return Volume(data, grid), Volume(inside, grid)

"""Images that several test files of the filters use."""

import numpy as np
import pytest

from pipeline.types import Geometry, Volume


@pytest.fixture
def make_volume():
    def make(data, spacing_mm=(1.0, 1.0, 1.0)):
        grid = Geometry(tuple(data.shape), spacing_mm, (1.0, -2.0, 3.0), np.eye(3))
        return Volume(data, grid)

    return make


@pytest.fixture
def noise(make_volume):
    """Noise with an even, an odd and another even side."""
    return make_volume(np.random.default_rng(7).normal(40.0, 100.0, (16, 15, 12)))


@pytest.fixture
def impulse(make_volume):
    data = np.zeros((21, 21, 21))
    data[10, 10, 10] = 1.0
    return make_volume(data)

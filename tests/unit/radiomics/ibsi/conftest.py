"""Regions that several test files of the IBSI profile use."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.radiomics.ibsi.prepare import Region
from pipeline.types import Geometry, Volume


@pytest.fixture
def make_grid() -> Callable[..., Geometry]:
    """Return a maker of grids along the world axes."""

    def make(shape, spacing_mm=(1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0)) -> Geometry:
        return Geometry(tuple(shape), spacing_mm, origin_mm, np.eye(3))

    return make


@pytest.fixture
def make_region(make_grid) -> Callable[..., Region]:
    """Return a maker of regions ready to be measured."""

    def make(image, inside=None, spacing_mm=(1.0, 1.0, 1.0), bounds=(np.nan, np.nan)) -> Region:
        data = np.asarray(image, dtype=np.float64)
        mask = np.ones(data.shape, dtype=bool) if inside is None else np.asarray(inside, dtype=bool)
        return Region(
            data, mask, mask.copy(), spacing_mm, bounds, make_grid(data.shape, spacing_mm)
        )

    return make


@pytest.fixture
def ragged(make_grid) -> tuple[Volume, Volume]:
    """A textured region with loose voxels, on voxels that are not cubes."""
    rng = np.random.default_rng(5)
    shape = (12, 11, 9)
    grid = make_grid(shape, (0.8, 1.1, 2.5))
    i, j, k = np.indices(shape)
    inside = (i - 6) ** 2 + (j - 5) ** 2 + 2 * (k - 4) ** 2 < 20 + rng.uniform(-8, 8, shape)
    image = 40 * np.sin(i / 2) + 30 * np.cos(j / 3 + k) + rng.normal(0, 15, shape)
    return Volume(image, grid), Volume(inside.astype(np.uint8), grid)

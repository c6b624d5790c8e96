"""Phantoms that several test files of this block use."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.types import Geometry, Volume

Case = tuple[Volume, Volume]
MakeCase = Callable[..., Case]


@pytest.fixture
def make_case() -> MakeCase:
    """Return a maker of (image, mask): a bumpy ball with texture, off centre in a larger grid."""

    def make(
        seed: int = 0,
        *,
        shape: tuple[int, int, int] = (26, 22, 18),
        spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
        radius: float = 6.0,
        low: float = 0.0,
        high: float = 600.0,
    ) -> Case:
        rng = np.random.default_rng(seed)
        grid = Geometry(shape, spacing_mm, (-12.5, 3.0, 40.0), np.eye(3))
        i, j, k = np.indices(shape)
        centre = (11.0, 9.0, 8.0)
        distance = np.sqrt(
            (i - centre[0]) ** 2 + 1.3 * (j - centre[1]) ** 2 + 0.8 * (k - centre[2]) ** 2
        )
        inside = distance < radius + rng.uniform(-1.0, 1.0, shape)
        smooth = np.sin(i / 3.0) + np.cos(j / 2.0) * np.sin(k / 4.0)
        texture = smooth + rng.normal(0.0, 0.4, shape)
        texture = (texture - texture.min()) / np.ptp(texture)
        return Volume(low + (high - low) * texture, grid), Volume(inside.astype(np.uint8), grid)

    return make

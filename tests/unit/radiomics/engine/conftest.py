"""Small regions that the tests of the engine share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.radiomics.engine.levels import LevelMap, map_levels
from pipeline.types import Array3D, Geometry, Volume

MakeRegion = Callable[..., tuple[Volume, Volume]]


def _bounding_box(mask: Array3D) -> tuple[slice, ...]:
    at = np.argwhere(mask)
    return tuple(slice(int(a), int(b)) for a, b in zip(at.min(0), at.max(0) + 1, strict=True))


@pytest.fixture
def make_region() -> MakeRegion:
    """Return a maker of (image, mask) on the box of a random region."""

    def make(
        rng: np.random.Generator,
        *,
        longest: int = 8,
        density: float = 0.6,
        intensities: str = "noise",
        spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
        thin_axis: int | None = None,
    ) -> tuple[Volume, Volume]:
        shape = rng.integers(2, longest + 1, 3)
        if thin_axis is not None:
            shape[thin_axis] = 1
        mask = rng.random(tuple(shape)) < density
        mask.flat[[0, -1]] = True
        mask = mask[_bounding_box(mask)]
        image: dict[str, Any] = {
            "noise": rng.normal(0.0, 50.0, mask.shape),
            "two levels": rng.choice([0.0, 40.0], mask.shape),
            "flat": np.full(mask.shape, -7.3),
            "edges of bins": 25.0 * rng.integers(-3, 12, mask.shape),
            "gaps": rng.choice([0.0, 30.0, 400.0], mask.shape) + rng.normal(0, 20, mask.shape),
            "smooth": np.add.outer(
                np.add.outer(20.0 * np.arange(mask.shape[0]), 7.0 * np.arange(mask.shape[1])),
                3.0 * np.arange(mask.shape[2]),
            ),
        }
        i, j, k = mask.shape
        grid = Geometry((i, j, k), spacing_mm, (0.0, 0.0, 0.0), np.eye(3))
        return Volume(image[intensities], grid), Volume(mask.astype(np.uint8), grid)

    return make


@pytest.fixture
def level_map() -> Callable[..., LevelMap]:
    """Return a maker of a level map from an array [k, j, i] of levels, 0 being outside."""

    def make(levels: Any, margin: int = 1) -> LevelMap:
        array = np.asarray(levels)
        return map_levels(array > 0, array[array > 0], margin)

    return make

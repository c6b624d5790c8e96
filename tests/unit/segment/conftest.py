"""A small breast-like contrast series: two tissues, bias, noise, skin, a vessel, a lesion."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from pipeline.types import Geometry, Series

SHAPE = (56, 48, 40)
SPACING_MM = 2.0
ORIGIN_MM = (-60.0, 25.0, -30.0)
CENTRE_MM = (-6.0, 67.0, 8.0)


def _texture(rng: np.random.Generator, width_mm: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal(SHAPE), width_mm / SPACING_MM)
    return (field - field.mean()) / field.std()


def make_breast(
    *,
    radius_mm: float = 12.0,
    seed: int = 3,
    necrotic: bool = True,
    vessel: bool = True,
    noise: float = 0.02,
) -> tuple[Series, np.ndarray, np.ndarray]:
    """Return a series (0, 90, 180, 270 s), the true lesion, and where the vessel is."""
    rng = np.random.default_rng(seed)
    points = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) * SPACING_MM
    depth = 1.0 - np.linalg.norm((points - [56.0, 78.0, 40.0]) / [52.0, 72.0, 37.0], axis=-1)
    body = depth > 0
    skin = body & (ndimage.distance_transform_edt(body, sampling=SPACING_MM) <= 2.5)
    gland = ndimage.gaussian_filter((body & ~skin & (_texture(rng, 6.0) > 0.3)).astype(float), 0.75)
    apart = points + ORIGIN_MM - CENTRE_MM
    distance = np.linalg.norm(apart, axis=-1) - radius_mm * 0.08 * _texture(rng, 6.0)
    share = np.clip(0.5 - (distance - radius_mm) / 2.4, 0.0, 1.0) if radius_mm else 0.0 * distance
    # runs along i and passes the lesion at its edge
    tube = np.hypot(apart[..., 1] - radius_mm, apart[..., 2])
    blood = np.exp(-0.5 * (tube / 1.3) ** 2) * body * vessel
    uptake = 0.75 + 0.12 * _texture(rng, 5.0)
    if necrotic:
        uptake = uptake * (1.0 - 0.7 * np.exp(-((distance / (0.4 * max(radius_mm, 1.0))) ** 2)))
    before = 0.15 * body + 0.35 * gland + 0.25 * skin
    bias = np.exp(0.15 * _texture(rng, 30.0))
    images = []
    for tissue, fast in ((0.0, 0.0), (0.5, 0.9), (0.8, 1.0), (1.0, 0.95)):
        rise = 0.02 * tissue * body + 0.12 * tissue * gland + 0.15 * tissue * skin
        rise = np.maximum(rise, 1.1 * fast * blood)
        clean = (before + rise) * (1 - share) + (0.5 + fast * uptake) * share
        real, imaginary = rng.standard_normal((2, *SHAPE)) * noise
        images.append(1000.0 * np.hypot(bias * clean + real, imaginary))
    grid = Geometry(SHAPE, (SPACING_MM,) * 3, ORIGIN_MM, np.eye(3))
    series = Series(np.stack(images, axis=-1).astype(np.float32), grid, (0.0, 90.0, 180.0, 270.0))
    return series, share > 0.5, blood > 0.5


@pytest.fixture(scope="session")
def breast() -> Callable[..., Any]:
    """`make_breast`; each set of options is made once."""
    made: dict[str, Any] = {}

    def make(**options: Any) -> Any:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = make_breast(**options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def lesion_mm() -> tuple[float, float, float]:
    """Centre of the lesion of `breast`, LPS mm."""
    return CENTRE_MM


@pytest.fixture(scope="session")
def dice() -> Callable[[np.ndarray, np.ndarray], float]:
    """Twice the overlap over the sum."""

    def overlap(first: np.ndarray, second: np.ndarray) -> float:
        return 2.0 * float((first & second).sum()) / float(first.sum() + second.sum())

    return overlap

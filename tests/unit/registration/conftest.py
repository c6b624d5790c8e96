from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from pipeline.types import Geometry, Mask3D, Volume


def oblique(degrees: float = 25.0) -> np.ndarray:
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
    tilt = np.array([[1.0, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return turn @ tilt


DIRECTIONS = {
    "identity": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "oblique": oblique(),
    "permuted": np.eye(3)[[2, 0, 1]],
}


@pytest.fixture(params=sorted(DIRECTIONS))
def grid(request) -> Geometry:
    return Geometry((9, 8, 7), (1.0, 1.5, 3.0), (-20.0, 11.0, 5.0), DIRECTIONS[request.param])


@dataclass(frozen=True, eq=False)
class Case:
    fixed: Volume
    moving: Volume
    mask: Mask3D
    jacobian: np.ndarray
    displacement: np.ndarray


def texture(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return smooth / smooth.std()


def make_lesion_case(
    *, strength: float = 0.3, radius_mm: float = 12.0, gain: float = 1.0, noise: float = 0.02,
    direction: np.ndarray | None = None, seed: int = 3,
) -> Case:  # fmt: skip
    """T(x) = c + (x - c)(1 - a exp(-(r / R)^2)); moving(T(x)) = fixed(x), by its exact inverse."""
    rng = np.random.default_rng(seed)
    shape, spacing = (40, 36, 34), 2.0
    size = np.array(shape) * int(spacing) + 24
    anatomy = ndimage.spline_filter(200 + 60 * texture(rng, tuple(size), 5.0), 3)
    inner = ndimage.spline_filter(450 + 70 * texture(rng, tuple(size), 3.0), 3)
    grid = Geometry(shape, (spacing,) * 3, (0.0, 0.0, 0.0), np.eye(3))
    points = np.moveaxis(np.indices(shape), 0, -1) * spacing
    centre = np.array(shape) * spacing / 2

    def image(at: np.ndarray, lesion_gain: float) -> np.ndarray:
        index = np.moveaxis(at + 12.0, -1, 0)
        one, two = (ndimage.map_coordinates(c, index, order=3, prefilter=False, mode="nearest")
                    for c in (anatomy, inner))  # fmt: skip
        distance = np.linalg.norm(at - centre, axis=-1)
        part = 1 / (1 + np.exp((distance - radius_mm) / 0.8))
        body = 1 / (1 + np.exp((np.linalg.norm((at - centre) / [34, 31, 29], axis=-1) - 1) * 12))
        return body * (one * (1 - part) + lesion_gain * two * part)

    offset = points - centre
    r = np.linalg.norm(offset, axis=-1)
    e = strength * np.exp(-((r / radius_mm) ** 2))
    jacobian = (1 - e) ** 2 * ((1 - e) + r * e * 2 * r / radius_mm**2)
    table = np.linspace(0, 200, 40001)
    profile = table * (1 - strength * np.exp(-((table / radius_mm) ** 2)))
    back = np.interp(r, profile, table) / np.maximum(r, 1e-9)
    fixed = image(points, 1.0)
    moving = image(centre + offset * np.where(r > 1e-6, back, 1.0)[..., None], gain)
    sd = noise * np.percentile(fixed, 99)
    fixed, moving = (v + rng.normal(0, sd, shape) for v in (fixed, moving))
    turn = np.eye(3) if direction is None else direction
    placed = Geometry(grid.shape, grid.spacing_mm, (5.0, -30.0, 12.0), turn)
    return Case(
        Volume(fixed, placed), Volume(moving, placed), r < radius_mm, jacobian,
        (-e[..., None] * offset) @ turn.T,
    )  # fmt: skip


@pytest.fixture(scope="session")
def lesion_case() -> Callable[..., Case]:
    return make_lesion_case

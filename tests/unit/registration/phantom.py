"""Images that are exact at any point, and maps with a known inverse, for the registration's tests.

A soft ellipsoid holds waves of every direction and one lesion with waves of its own. The moving
image is the same scene carried along by a map T: moving(T x) = fixed(x).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.geometry import index_to_world
from pipeline.types import Geometry, Volume

MIDDLE = np.array([7.0, -30.0, 12.0])
HALF_MM = np.array([27.0, 25.0, 23.0])
RADIUS_MM = 9.0
DIRECTIONS = {
    "identity": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "oblique": Rotation.from_euler("zx", [25, 25], degrees=True).as_matrix(),
    "permuted": np.eye(3)[[2, 0, 1]],
}
Map = Callable[[np.ndarray], np.ndarray]


def grid_at(
    shape: tuple[int, int, int] = (31, 29, 27),
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0),
    direction: str = "identity",
) -> Geometry:
    """Return a grid whose centre lies in the middle of the scene, the directions as named."""
    turned = DIRECTIONS[direction]
    half = turned @ ((np.array(shape) - 1) * np.array(spacing) / 2)
    return Geometry(shape, spacing, tuple(MIDDLE - half), turned)


def points_of(grid: Geometry) -> np.ndarray:
    return index_to_world(grid, np.moveaxis(np.indices(grid.shape), 0, -1))


def body(grid: Geometry) -> np.ndarray:
    """Return where the scene is not empty, 2 mm within its edge."""
    return np.linalg.norm((points_of(grid) - MIDDLE) / (HALF_MM - 2), axis=-1) < 1


def lesion(grid: Geometry) -> np.ndarray:
    return np.linalg.norm(points_of(grid) - MIDDLE, axis=-1) < RADIUS_MM


def waves(points: np.ndarray, seed: int, pitch: float) -> np.ndarray:
    """Return 60 cosines together, of mean 0 and SD 1; `pitch` is their SD in radians per mm."""
    rng = np.random.default_rng(seed)
    directions, phases = rng.normal(0, pitch, (60, 3)), rng.uniform(0, 2 * np.pi, 60)
    return np.cos((points - MIDDLE) @ directions.T + phases).sum(axis=-1) / np.sqrt(30)


def tissue(points: np.ndarray, *, seed: int = 5) -> np.ndarray:
    """Return intensities of the body without its lesion."""
    distance = np.linalg.norm((points - MIDDLE) / HALF_MM, axis=-1)
    return (200 + 50 * waves(points, seed, 0.22)) / (1 + np.exp((distance - 1) * 20))


def scene(points: np.ndarray, *, gain: float = 1.0, seed: int = 5) -> np.ndarray:
    """Return intensities at points (..., 3); `gain` is how bright the lesion is."""
    distance = np.linalg.norm(points - MIDDLE, axis=-1)
    part = 1 / (1 + np.exp((distance - RADIUS_MM) / 0.8))
    inner = gain * (420 + 60 * waves(points, seed + 1, 0.3))
    return tissue(points, seed=seed) * (1 - part) + inner * part


@dataclass(frozen=True, eq=False)
class Known:
    """A map, its inverse and its volume ratio at points (..., 3) in mm."""

    forward: Map
    backward: Map
    jacobian: Map

    def displacement(self, grid: Geometry) -> np.ndarray:
        points = points_of(grid)
        return self.forward(points) - points


def turn(degrees: float) -> np.ndarray:
    """Return the rotation by so much about an axis oblique to all others."""
    axis = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    return Rotation.from_rotvec(np.deg2rad(degrees) * axis).as_matrix()


def affine(linear: np.ndarray, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Known:
    """Return T(x) = c + L (x - c) + t about the middle c of the scene."""
    back = np.linalg.inv(linear)
    return Known(
        lambda x: MIDDLE + (x - MIDDLE) @ linear.T + shift,
        lambda y: MIDDLE + (y - shift - MIDDLE) @ back.T,
        lambda x: np.full(x.shape[:-1], np.linalg.det(linear)),
    )


def shrink(strength: float) -> Known:
    """Return T(x) = c + (x - c) (1 - a exp(-(r / R)^2)); it grows where a is negative."""

    def kept(r: np.ndarray) -> np.ndarray:
        return 1 - strength * np.exp(-((r / RADIUS_MM) ** 2))

    def forward(x: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(x - MIDDLE, axis=-1, keepdims=True)
        return MIDDLE + (x - MIDDLE) * kept(r)

    def backward(y: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(y - MIDDLE, axis=-1, keepdims=True)
        table = np.linspace(0, 200, 80001)
        before = np.interp(r, table * kept(table), table)
        return MIDDLE + (y - MIDDLE) * np.where(r > 1e-6, before / np.maximum(r, 1e-6), 1.0)

    def jacobian(x: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(x - MIDDLE, axis=-1)
        stays = kept(r)
        return stays**2 * (stays + 2 * (r / RADIUS_MM) ** 2 * (1 - stays))

    return Known(forward, backward, jacobian)


def image(
    grid: Geometry, known: Known | None = None, *, noise: float = 0.0, seed: int = 0, **kinds: float
) -> Volume:
    """Return the scene carried along by a map, with noise of SD `noise`."""
    points = points_of(grid) if known is None else known.backward(points_of(grid))
    rng = np.random.default_rng(seed)
    return Volume(scene(points, **kinds) + rng.normal(0, 1, grid.shape) * noise, grid)

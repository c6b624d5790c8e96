"""Three generated anatomies as closed-form functions of the point: exact at any place.

brain
    A skull-free head: folded grey ribbon, white matter, ventricles, deep nuclei.
gland
    A breast on its chest wall: skin, fat and glandular tissue of smooth texture.
belly
    A trunk of sharp organs on a plain ground: liver with vessels, kidneys, spleen, spine, gas.
"""

from collections.abc import Callable

import numpy as np

from pipeline.types import Geometry
from scripts.registration_bench.lesion import Anatomy, Array, Intensity, random_waves

#: The grid of the generated anatomies and of the template.
SHAPE, SPACING_MM = (110, 118, 90), 1.6
_RADIUS_MM = 14.0


def generate(name: str) -> Anatomy:
    """Return a generated anatomy; its lesion has a radius of 14 mm."""
    intensity, centre = GENERATED[name]
    s = SPACING_MM
    x, y, z = (-s * (n - 1) / 2 for n in SHAPE)
    grid = Geometry(SHAPE, (s, s, s), (x, y, z), np.eye(3))
    return Anatomy(name, intensity(), grid, 0.0, 220.0, 22.0, np.array(centre), _RADIUS_MM)


def _inside(distance_mm: Array, width_mm: float = 0.7) -> Array:
    """Return 1 where the distance to a surface is below 0, else 0, over a smooth edge."""
    return np.asarray(1 / (1 + np.exp(np.clip(distance_mm / width_mm, -30, 30))))


def _ellipsoid(points: Array, centre: tuple[float, ...], axes: tuple[float, ...]) -> Array:
    """Return about the distance in mm to an ellipsoid's surface, below 0 inside."""
    size = np.asarray(axes)
    level = np.linalg.norm((points - np.asarray(centre)) / size, axis=-1)
    return np.asarray((level - 1) * float(size.min()))


def _over(below: Array, distance_mm: Array, value: Array | float) -> Array:
    """Return `below` with a structure laid over it."""
    part = _inside(distance_mm)
    return below * (1 - part) + part * value


def _brain() -> Intensity:
    folds, grain = _waves(1, 11, 24), _waves(2, 6, 20)

    def value(points: Array) -> Array:
        fold, fine = folds(points), grain(points)
        skin = _ellipsoid(points, (0, 0, 0), (68, 82, 60))
        result = _over(np.zeros(fold.shape), skin, 45.0)
        result = _over(result, skin + 2.0 + 1.8 * fold, 140 + 6 * fine)
        result = _over(result, skin + 7.0 + 4.0 * fold, 205 + 5 * fine)
        for side in (-1, 1):
            result = _over(result, _ellipsoid(points, (side * 22, 2, 0), (10, 17, 12)), 150.0)
            result = _over(result, _ellipsoid(points, (side * 9, -4, 14), (5, 30, 8)), 40.0)
        return result

    return value


def _gland() -> Intensity:
    lobes, grain, patches = _waves(3, 16, 45), _waves(4, 7, 18), _waves(5, 30, 80)

    def value(points: Array) -> Array:
        lobe, fine = lobes(points), grain(points)
        skin = _ellipsoid(points, (0, 45, 0), (78, 125, 64))
        result = _over(np.zeros(lobe.shape), skin, 120.0)
        result = _over(result, skin + 3.0, 190 + 6 * patches(points) + 3 * fine)
        gland = _ellipsoid(points, (0, 5, 0), (50, 62, 42)) + 5 * lobe
        result = _over(result, gland, 95 + 16 * lobe + 10 * fine)
        wall = 62 - points[..., 1] + 3 * patches(points)
        return _over(result, wall, (80 + 8 * fine) * _inside(skin))

    return value


def _belly() -> Intensity:
    grain, vessels = _waves(6, 5, 14), _waves(7, 18, 40)

    def value(points: Array) -> Array:
        fine = grain(points)
        skin = _ellipsoid(points, (0, 0, 0), (84, 70, 140))
        result = _over(np.zeros(fine.shape), skin, 90 + 2 * fine)
        result = _over(result, skin + 9, 130 + 3 * fine)
        liver = _ellipsoid(points, (-32, -12, 12), (40, 42, 50))
        # Vessels lie where a smooth random field is near 0: a branching net of sheets and tubes.
        net = np.abs(vessels(points)) * 9 - 1.5
        result = _over(result, liver, 160 + 3 * fine)
        result = _over(result, np.maximum(liver + 4, net), 205.0)
        for side in (-1, 1):
            kidney = _ellipsoid(points, (side * 40, 38, -22), (13, 14, 26))
            result = _over(result, kidney, 200.0)
            result = _over(result, kidney + 5, 150.0)
        result = _over(result, _ellipsoid(points, (48, 10, 20), (18, 26, 28)), 175 + 3 * fine)
        result = _over(result, _ellipsoid(points, (22, -30, -10), (16, 14, 30)), 25.0)
        disc = 6 * np.cos(2 * np.pi * points[..., 2] / 28)
        column = np.linalg.norm(points[..., :2] - np.array([0.0, 42.0]), axis=-1) - 17
        result = _over(result, column - disc / 4, 185 + disc * 4)
        return _over(result, column + 11, 100.0)

    return value


def _waves(seed: int, shortest_mm: float, longest_mm: float) -> Intensity:
    return random_waves(np.random.default_rng(seed), shortest_mm, longest_mm, 36)


#: name -> maker of the intensity, centre of the lesion in LPS mm.
GENERATED: dict[str, tuple[Callable[[], Intensity], tuple[float, float, float]]] = {
    "brain": (_brain, (-32.0, -24.0, 16.0)),
    "gland": (_gland, (8.0, -6.0, 4.0)),
    "belly": (_belly, (-34.0, -14.0, 14.0)),
}

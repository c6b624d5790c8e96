"""A lesion whose change of volume is known in closed form, planted in any anatomy.

The map is T(x) = A(c + (x - c)(1 - a exp(-(r/R)^2))) with r = |x - c|: a pull towards the centre c
(a push for a < 0), then a rigid motion A. Its Jacobian determinant, e = a exp(-(r/R)^2), is
(1 - e)^2 ((1 - e) + 2 e (r/R)^2). The moving image holds at T(x) what the fixed image holds at x:
both are read off the same continuous intensity, the moving one through the inverse of T, so that
neither is an interpolated copy of the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.geometry import index_to_world
from pipeline.registration.fields import grid_points
from pipeline.types import DisplacementField, Geometry, Mask3D, Volume
from scripts.registration_bench.variants import Variant

Array = npt.NDArray[np.float64]
#: Intensity at LPS points (..., 3) in mm.
Intensity = Callable[[Array], Array]

#: Width in mm of the lesion's edge: the logistic scale.
_EDGE_MM = 0.8
#: Waves of the lesion's texture, and their lengths in parts of the lesion's radius.
_WAVES, _SHORTEST, _LONGEST = 48, 0.45, 1.2
#: Voxels thicker than this are averages over their thickness, as a scanner makes them.
_THICK_MM = 3.0
_POINTS_ACROSS = 5
#: The true displacement is below 2 % of the largest beyond so many radii.
OUTSIDE_RADII = 2.0
_NEWTON_STEPS = 12


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Where a lesion is planted.

    Attributes
    ----------
    name : str
        Key of `anatomies.ANATOMIES`.
    intensity : callable
        Continuous, free of noise.
    grid : Geometry
        Grid of the images.
    low, high : float
        Air and the bright end (the 99th percentile).
    body_above : float
        Intensities above it are body.
    centre_mm : (3,) array
        Of the lesion, LPS.
    radius_mm : float
        R, of the lesion.
    lesion_level, lesion_sd : float
        Mean and texture of the lesion, in parts of the range from `low` to `high`.
    """

    name: str
    intensity: Intensity
    grid: Geometry
    low: float
    high: float
    body_above: float
    centre_mm: Array
    radius_mm: float
    lesion_level: float = 0.6
    lesion_sd: float = 0.12


@dataclass(frozen=True, eq=False)
class Map:
    """T, its inverse and its Jacobian; points are (..., 3) in LPS mm.

    Attributes
    ----------
    centre_mm : (3,) array
    radius_mm : float
    strength : float
        a: 0.3 shrinks the lesion to 70 % of its volume; below 0 it grows.
    turn : (3, 3) array
        Rotation about the centre, after the pull.
    shift_mm : (3,) array
        After the rotation.
    """

    centre_mm: Array
    radius_mm: float
    strength: float
    turn: Array
    shift_mm: Array

    def __call__(self, points: Array) -> Array:
        """Return T(x)."""
        offset = points - self.centre_mm
        e = self._pull(np.linalg.norm(offset, axis=-1))
        moved = (offset * (1 - e)[..., None]) @ self.turn.T + self.centre_mm + self.shift_mm
        return np.asarray(moved)

    def inverse(self, points: Array) -> Array:
        """Return x with T(x) = y, exact to rounding."""
        offset = (points - self.centre_mm - self.shift_mm) @ self.turn
        there = np.linalg.norm(offset, axis=-1)
        r = there.copy()
        for _ in range(_NEWTON_STEPS):
            e = self._pull(r)
            slope = 1 - e + 2 * e * (r / self.radius_mm) ** 2
            r -= (r * (1 - e) - there) / slope
        ratio = 1 / (1 - self._pull(r))
        return np.asarray(offset * ratio[..., None] + self.centre_mm)

    def jacobian(self, points: Array) -> Array:
        """Return det dT/dx: moving volume over fixed volume."""
        r = np.linalg.norm(points - self.centre_mm, axis=-1)
        e = self._pull(r)
        return np.asarray((1 - e) ** 2 * ((1 - e) + 2 * e * (r / self.radius_mm) ** 2))

    def _pull(self, r: Array) -> Array:
        return np.asarray(self.strength * np.exp(-((r / self.radius_mm) ** 2)))


@dataclass(frozen=True, eq=False)
class Case:
    """A pair of images with a known map.

    Attributes
    ----------
    fixed, moving : Volume
        Float32, on the same grid.
    truth : DisplacementField
        T(x) - x on that grid.
    jacobian : (I, J, K) array
        Of T.
    lesion : (I, J, K) bool array
        r < R.
    outside : (I, J, K) bool array
        Body voxels with r > 2 R, where the pull is below 2 % of a R: what an engine moves there,
        beside the rigid motion, it has made up.
    """

    fixed: Volume
    moving: Volume
    truth: DisplacementField
    jacobian: Array
    lesion: Mask3D
    outside: Mask3D


def make_map(anatomy: Anatomy, variant: Variant) -> Map:
    """Return the map of a variant in an anatomy."""
    angle = np.deg2rad(variant.turn_deg)
    axis = np.array([1.0, 2.0, 2.0]) / 3
    cross = np.cross(np.eye(3), -axis)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    shift = np.asarray(variant.shift_mm, dtype=np.float64)
    return Map(anatomy.centre_mm, anatomy.radius_mm, variant.strength, turn, shift)


def make_case(anatomy: Anatomy, variant: Variant, *, seed: int) -> Case:
    """Plant the lesion, move it and photograph both states.

    Parameters
    ----------
    anatomy : Anatomy
    variant : Variant
        Map, grid, noise and contrast.
    seed : int
        Of the lesion's texture and the noise.
    """
    grid = anatomy.grid
    if variant.spacing_mm is not None:
        grid = regrid(grid, variant.spacing_mm)
    where = make_map(anatomy, variant)
    rng = np.random.default_rng(seed)
    radius = anatomy.radius_mm
    texture = random_waves(rng, _SHORTEST * radius, _LONGEST * radius, _WAVES)
    bright = anatomy.high - anatomy.low
    level, texture_sd = anatomy.lesion_level, anatomy.lesion_sd

    def scene(points: Array, gain: float) -> Array:
        offset = points - anatomy.centre_mm
        rim = (radius - np.linalg.norm(offset, axis=-1)) / _EDGE_MM
        part = 1 / (1 + np.exp(-np.clip(rim, -30, 30)))
        near = part > 1e-9
        result = anatomy.intensity(points)
        inner = anatomy.low + gain * bright * (level + texture_sd * texture(offset[near]))
        result[near] = result[near] * (1 - part[near]) + inner * part[near]
        return result

    def changed(points: Array) -> Array:
        values = scene(where.inverse(points), variant.lesion_gain)
        part = (values - anatomy.low) / bright
        return np.asarray(anatomy.low + bright * np.sign(part) * np.abs(part) ** variant.gamma)

    fixed, moving = photograph(lambda x: scene(x, 1.0), grid), photograph(changed, grid)
    points = grid_points(grid)
    r = np.linalg.norm(points - anatomy.centre_mm, axis=-1)
    body = fixed > anatomy.body_above
    sd = variant.noise * bright
    noisy = [(v + rng.normal(0, sd, v.shape)).astype(np.float32) for v in (fixed, moving)]
    return Case(
        Volume(noisy[0], grid),
        Volume(noisy[1], grid),
        DisplacementField(where(points) - points, grid),
        where.jacobian(points),
        r < radius,
        body & (r > OUTSIDE_RADII * radius),
    )


def photograph(intensity: Intensity, grid: Geometry) -> Array:
    """Return the intensity on a grid; thick voxels are the average over their thickness."""
    across = [_POINTS_ACROSS if s > _THICK_MM else 1 for s in grid.spacing_mm]
    steps = [(np.arange(n) + 0.5) / n - 0.5 for n in across]
    total = np.zeros(grid.shape)
    index = np.moveaxis(np.indices(grid.shape, dtype=np.float64), 0, -1)
    for part in np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3):
        total += intensity(index_to_world(grid, index + part))
    return np.asarray(total / np.prod(across))


def regrid(grid: Geometry, spacing_mm: tuple[float, float, float]) -> Geometry:
    """Return a grid of another spacing over the same box."""
    old, new = np.asarray(grid.spacing_mm), np.asarray(spacing_mm)
    i, j, k = (int(n) for n in np.round(np.asarray(grid.shape) * old / new))
    corner = (new / old - 1) / 2
    x, y, z = (float(v) for v in index_to_world(grid, corner))
    return Geometry((i, j, k), spacing_mm, (x, y, z), grid.direction)


def random_waves(
    rng: np.random.Generator, shortest_mm: float, longest_mm: float, waves: int
) -> Intensity:
    """Return a random field of SD 1, a sum of plane waves: continuous, of known scale."""
    direction = rng.standard_normal((waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = np.exp(rng.uniform(np.log(shortest_mm), np.log(longest_mm), waves))
    wave = 2 * np.pi * direction / length[:, None]
    phase = rng.uniform(0, 2 * np.pi, waves)

    def value(points: Array) -> Array:
        total = np.zeros(points.shape[:-1])
        for k, p in zip(wave, phase, strict=True):
            total += np.cos(points @ k + p)
        return np.asarray(total * np.sqrt(2 / waves))

    return value

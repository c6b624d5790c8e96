"""Synthetic images for the filters: 64 x 64 x 64 voxels of 2 mm, intensities 0 to 255.

The official phantoms (github.com/theibsi/data_sets, ibsi_2_digital_phantom) come as NIfTI on this
grid: origin 0, axes along the world's. These are built from their description and stand in for
them in tests: the side of the checkerboard's cubes, the sphere's radius and the pattern's stripes
are our choice. To check against reference response maps, filter the official files.
"""

from collections.abc import Callable

import numpy as np

from pipeline.errors import SettingsError
from pipeline.types import Array3D, Geometry, Volume

_SIDE = 64
_HIGH = 255.0


def _checkerboard() -> Array3D:
    """Cubes of 8 voxels, alternately 0 and 255."""
    i, j, k = np.indices((_SIDE,) * 3) // 8
    return np.asarray(_HIGH * ((i + j + k) % 2))


def _impulse() -> Array3D:
    """One voxel of 255 at (32, 32, 32) in zeros."""
    data = np.zeros((_SIDE,) * 3)
    data[_SIDE // 2, _SIDE // 2, _SIDE // 2] = _HIGH
    return data


def _sphere() -> Array3D:
    """Ball of radius 16 voxels about the centre of the grid."""
    return np.asarray(_HIGH * (_from_centre() <= 16.0))


def _pattern() -> Array3D:
    """Oblique plane waves of 16 voxels in a ball, with a sharp edge to zeros."""
    i, j, k = np.indices((_SIDE,) * 3)
    wave = np.cos(2.0 * np.pi * (i + 2.0 * j + 0.5 * k) / 16.0 / np.sqrt(5.25))
    return np.asarray(0.5 * _HIGH * (1.0 + wave) * (_from_centre() <= 24.0))


def _noise() -> Array3D:
    """Uniform noise, always the same."""
    return np.asarray(np.random.default_rng(64).integers(0, 256, (_SIDE,) * 3), dtype=np.float64)


def _orientation() -> Array3D:
    """32 x 48 x 64 voxels whose value is i + j + k: 0 at the first, 141 at the last."""
    return np.asarray(np.indices((32, 48, 64)).sum(axis=0), dtype=np.float64)


def _empty() -> Array3D:
    """Zeros."""
    return np.zeros((_SIDE,) * 3)


PHANTOMS: dict[str, Callable[[], Array3D]] = {
    "checkerboard": _checkerboard,
    "impulse": _impulse,
    "sphere": _sphere,
    "pattern_1": _pattern,
    "noise": _noise,
    "orientation": _orientation,
    "empty": _empty,
}


def phantom(name: str) -> Volume:
    """Return a phantom by its name in `PHANTOMS`."""
    if name not in PHANTOMS:
        raise SettingsError(f"phantom {name}: give one of {', '.join(PHANTOMS)}")
    data = np.asarray(PHANTOMS[name](), dtype=np.float64)
    i, j, k = data.shape
    return Volume(data, Geometry((i, j, k), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3)))


def _from_centre() -> Array3D:
    centred = np.indices((_SIDE,) * 3) - (_SIDE - 1) / 2.0
    return np.asarray(np.sqrt((centred**2).sum(axis=0)))

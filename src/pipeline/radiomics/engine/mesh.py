"""Area and volume inside the surface mesh of marching cubes, from a count of its cases."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from radiomics import cShape

from pipeline.radiomics.engine.levels import Ints
from pipeline.types import Array1D, Mask3D

#: Coordinates are half voxels and six times a volume is a determinant of three of them.
_PARTS = 48
_CORNERS = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(bool).reshape(-1, 2, 2, 2)


def mesh_size(padded: Mask3D, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Return the area (mm²) of a region's surface mesh, and the volume within (mm³).

    A cube between eight voxel centres is one of 256 cases, by which of the eight lie in the
    region; vertices lie half way along its edges. Hence the area is a sum over the number of
    cubes of each case. A cube's share of the volume is the sum of det(a, b, c) / 6 over its
    triangles, which is linear in the position of the cube, so that it needs the sum of the
    positions of the cubes of each case besides.

    Parameters
    ----------
    padded : (K, J, I) bool array
        True in the region; the outermost layer is False.
    spacing_mm : (3,) floats
        Along k, j, i.
    """
    case = _cases(padded)
    flat = case.ravel()
    cut = np.flatnonzero(flat + np.uint8(1) > 1)  # neither 0 nor 255
    which = flat[cut]
    number = np.bincount(which, minlength=256)
    at_origin, *per_step = _volumes()
    volume = number @ at_origin
    for change, position in zip(per_step, np.unravel_index(cut, case.shape), strict=True):
        # The sums are of whole numbers: exact in float64, and exactly 0 where they cancel.
        volume += np.bincount(which, weights=position, minlength=256) @ change
    volume_mm3 = float(volume) / _PARTS * float(np.prod(spacing_mm))
    return float(number @ _areas(spacing_mm)), volume_mm3


def _cases(padded: Mask3D) -> Ints:
    one: Ints = padded.view(np.uint8)
    one = one[:, :, :-1] | one[:, :, 1:] << 1
    one = one[:, :-1] | one[:, 1:] << 2
    cases: Ints = one[:-1] | one[1:] << 4
    return cases


@lru_cache(maxsize=64)
def _areas(spacing_mm: tuple[float, float, float]) -> Array1D:
    """Return the area of each case, as PyRadiomics' routine measures a lone cube."""
    spacing = np.asarray(spacing_mm)
    return np.array([cShape.calculate_coefficients(cube, spacing)[0] for cube in _CORNERS])


@lru_cache(maxsize=1)
def _volumes() -> npt.NDArray[np.float64]:
    """Return the volume of each case at the origin, and its change per step along k, j, i.

    In 48ths of a voxel, which are whole.

    Of a cube that is one step away the same routine tells no volume alone: a second cube at
    the origin repeats the shared face, and its volume is taken off again.
    """
    unit = np.ones(3)
    rows = [[_volume(cube, unit) for cube in _CORNERS]]
    for axis in range(3):
        face = np.take(_CORNERS, [0], axis=axis + 1)
        before = np.concatenate([face, face], axis=axis + 1)
        both = np.concatenate([face, _CORNERS], axis=axis + 1)
        rows.append(
            [
                _volume(two, unit) - _volume(one, unit) - at_origin
                for two, one, at_origin in zip(both, before, rows[0], strict=True)
            ]
        )
    whole: npt.NDArray[np.float64] = np.rint(_PARTS * np.array(rows))
    return whole


def _volume(mask: Mask3D, spacing: Array1D) -> float:
    return float(cShape.calculate_coefficients(np.ascontiguousarray(mask), spacing)[1])

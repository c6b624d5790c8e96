"""Uniform cubic B-splines on a box: a smooth vector field from a lattice of coefficients.

Everything is separable, so fields are expanded and gathered one axis after another with small
matrices. Positions are mm along the axes of the fixed grid, from the centre of its first voxel.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
#: One (positions, coefficients) matrix per axis.
Matrices = tuple[Array, Array, Array]


@dataclass(frozen=True)
class LatticeAxis:
    """Coefficients along one axis.

    Attributes
    ----------
    length_mm : float
        Where the spline is defined: from 0 to here.
    knot_mm : float
        Distance of coefficients.
    count : int
        Number of coefficients.
    start_mm : float
        Position of the first one.
    """

    length_mm: float
    knot_mm: float
    count: int
    start_mm: float

    @property
    def interior_mm(self) -> Array:
        """Positions of all coefficients but the first and the last: they cover the box."""
        return np.asarray(self.start_mm + self.knot_mm * np.arange(1, self.count - 1))

    def basis(self, position_mm: npt.ArrayLike, derivative: Literal[0, 1, 2] = 0) -> Array:
        """Return the (positions, count) matrix of the splines, or of a derivative per mm."""
        knots = self.start_mm + self.knot_mm * np.arange(self.count)
        t = (np.asarray(position_mm, dtype=np.float64)[:, None] - knots) / self.knot_mm
        return _cubic(t, derivative) / self.knot_mm**derivative


def cover(length_mm: float, knot_mm: float) -> LatticeAxis:
    """Return the axis with coefficients every `knot_mm`, centred on the box."""
    intervals = max(1, int(np.ceil(length_mm / knot_mm - 1e-9)))
    start_mm = -knot_mm - (intervals * knot_mm - length_mm) / 2
    return LatticeAxis(length_mm, knot_mm, intervals + 3, start_mm)


def refine(axis: LatticeAxis) -> LatticeAxis:
    """Return the axis with half the distance; it holds every spline of the old one."""
    half = axis.knot_mm / 2
    return LatticeAxis(axis.length_mm, half, 2 * axis.count - 3, axis.start_mm + half)


def subdivide(coefficients: Array) -> Array:
    """Return the coefficients (a, b, c, n) of the same field on the refined lattice."""
    for number in range(3):
        old = np.moveaxis(coefficients, number, 0)
        new = np.empty((2 * len(old) - 3, *old.shape[1:]))
        new[0::2] = (old[:-1] + old[1:]) / 2
        new[1::2] = (old[:-2] + 6 * old[1:-1] + old[2:]) / 8
        coefficients = np.moveaxis(new, 0, number)
    return np.ascontiguousarray(coefficients)


def expand(coefficients: Array, matrices: Matrices) -> Array:
    """Return the field (I, J, K, n) of coefficients (a, b, c, n)."""
    first, second, third = matrices
    a, b, c, n = coefficients.shape
    field = np.matmul(third, coefficients.reshape(a * b, c, n))
    field = np.matmul(second, field.reshape(a, b, -1))
    field = first @ field.reshape(a, -1)
    return np.asarray(field.reshape(len(first), len(second), len(third), n))


def gather(field: Array, matrices: Matrices) -> Array:
    """Return the transpose of `expand` applied to a field (I, J, K, n)."""
    first, second, third = matrices
    i, j, k, n = field.shape
    a, b, c = first.shape[1], second.shape[1], third.shape[1]
    values = (first.T @ field.reshape(i, -1)).reshape(a, j, k * n)
    values = np.matmul(second.T, values).reshape(a * b, k, n)
    return np.asarray(np.matmul(third.T, values).reshape(a, b, c, n))


def _cubic(t: Array, derivative: int) -> Array:
    distance = np.abs(t)
    near, far = distance < 1, distance < 2
    rest = 2 - distance
    if derivative == 0:
        inner, outer = (4 - 6 * distance**2 + 3 * distance**3) / 6, rest**3 / 6
    elif derivative == 1:
        inner = np.sign(t) * (9 * distance**2 - 12 * distance) / 6
        outer = -np.sign(t) * rest**2 / 2
    else:
        inner, outer = 3 * distance - 2, rest
    return np.where(near, inner, np.where(far, outer, 0.0))

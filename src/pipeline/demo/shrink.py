"""The known map T from baseline to follow-up: shrink, soft deformation, repositioning.

Every map here is a diffeomorphism in continuous LPS millimetres with an exact inverse (to
round-off) and an exact Jacobian determinant, so that a simulated pair has a true field.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]

#: Largest shrink strength a that `solve_strength` looks at; below 1 the map stays monotone.
_STRENGTH_LIMIT = 0.85
#: Fixed-point steps that invert `SoftBumps`; its contraction is below 0.3, so 3e-9 mm is left.
_BUMP_STEPS = 14
_TABLE_SIZE = 2048
_NEWTON_STEPS = 4


class PointMap(Protocol):
    """A diffeomorphism of space."""

    def forward(self, points_mm: Points) -> Points:
        """Return T(x) for points (n, 3)."""

    def inverse(self, points_mm: Points) -> Points:
        """Return T^-1(y) for points (n, 3)."""

    def determinant(self, points_mm: Points) -> Values:
        """Return det dT/dx at points x (n, 3)."""


@dataclass(frozen=True, eq=False)
class RadialShrink:
    """x -> c + A s(q) q with q = A^-1 (x - c) and s = 1 - a exp(-(|q| / R)^2).

    Attributes
    ----------
    centre_mm : (3,) array
        Fixed point c.
    axes_mm : (3, 3) array
        A: columns are the semi-axes of the ellipsoid |q| = 1.
    strength : float
        a < 1; negative expands.
    reach : float
        R, in units of the ellipsoid.

    Notes
    -----
    det = s^2 (s + 2 a e |q|^2 / R^2) with e = exp(-(|q| / R)^2), whatever A is: the map is
    conjugate to a radial one. It is positive for -2 < a < 1.
    """

    centre_mm: Values
    axes_mm: npt.NDArray[np.float64]
    strength: float
    reach: float

    def forward(self, points_mm: Points) -> Points:
        """Return T(x) for points (n, 3)."""
        offset = points_mm - self.centre_mm
        drop = self.strength * np.exp(-((self._radius(offset) / self.reach) ** 2))
        return np.asarray(points_mm - drop[:, None] * offset)

    def inverse(self, points_mm: Points) -> Points:
        """Return T^-1(y): a table of the monotone radial profile, then Newton steps."""
        offset = points_mm - self.centre_mm
        target = self._radius(offset)
        near = np.linspace(0.0, max(float(target.max(initial=0.0)), self.reach) * 1.5 + 1.0,
                           _TABLE_SIZE)  # fmt: skip
        radius = np.interp(target, self._profile(near)[0], near)
        for _ in range(_NEWTON_STEPS):
            value, slope = self._profile(radius)
            radius = radius - (value - target) / slope
        scale = np.divide(radius, target, out=np.full_like(target, 1.0 / (1.0 - self.strength)),
                          where=target > 1e-12)  # fmt: skip
        return np.asarray(self.centre_mm + scale[:, None] * offset)

    def determinant(self, points_mm: Points) -> Values:
        """Return det dT/dx at points x (n, 3)."""
        square = (self._radius(points_mm - self.centre_mm) / self.reach) ** 2
        drop = self.strength * np.exp(-square)
        scale = 1.0 - drop
        return np.asarray(scale**2 * (scale + 2.0 * drop * square))

    def _radius(self, offset_mm: Points) -> Values:
        return lengths(
            times(offset_mm, np.asarray(np.linalg.inv(self.axes_mm).T, dtype=np.float64))
        )

    def _profile(self, radius: Values) -> tuple[Values, Values]:
        square = (radius / self.reach) ** 2
        drop = self.strength * np.exp(-square)
        return radius * (1.0 - drop), 1.0 - drop * (1.0 - 2.0 * square)


@dataclass(frozen=True, eq=False)
class SoftBumps:
    """x -> x + sum_k b_k exp(-|x - p_k|^2 / (2 s_k^2)): soft tissue that moved a little.

    Attributes
    ----------
    centres_mm : (k, 3) array
        p_k.
    shifts_mm : (k, 3) array
        b_k; a diffeomorphism needs sum |b_k| / s_k < e^(1/2), and drawn bumps keep below 0.5.
    widths_mm : (k,) array
        s_k.
    """

    centres_mm: Points
    shifts_mm: Points
    widths_mm: Values

    def forward(self, points_mm: Points) -> Points:
        """Return T(x) for points (n, 3)."""
        return np.asarray(points_mm + times(self._weights(points_mm), self.shifts_mm))

    def inverse(self, points_mm: Points) -> Points:
        """Return T^-1(y) by the fixed point x = y - u(x)."""
        found = points_mm
        for _ in range(_BUMP_STEPS):
            found = points_mm - times(self._weights(found), self.shifts_mm)
        return found

    def determinant(self, points_mm: Points) -> Values:
        """Return det(I + sum_k b_k grad w_k^T) at points x (n, 3)."""
        weights = self._weights(points_mm)
        matrix = np.zeros((len(points_mm), 3, 3))
        for k, (centre, shift, width) in enumerate(
            zip(self.centres_mm, self.shifts_mm, self.widths_mm, strict=True)
        ):
            gradient = -(weights[:, k] / width**2)[:, None] * (points_mm - centre)
            matrix += shift[None, :, None] * gradient[:, None, :]
        return np.asarray(np.linalg.det(np.eye(3) + matrix))

    def _weights(self, points_mm: Points) -> Values:
        square = np.einsum("na,na->n", points_mm, points_mm)[:, None] + np.sum(
            self.centres_mm**2, axis=1
        )
        square -= 2.0 * times(points_mm, self.centres_mm.T)
        return np.asarray(np.exp(-square / (2.0 * self.widths_mm**2)))


@dataclass(frozen=True, eq=False)
class Rigid:
    """x -> Q (x - c) + c + t: the patient lies down again.

    Attributes
    ----------
    rotation : (3, 3) array
        Q, a proper rotation.
    centre_mm, shift_mm : (3,) arrays
        c and t.
    """

    rotation: npt.NDArray[np.float64]
    centre_mm: Values
    shift_mm: Values

    def forward(self, points_mm: Points) -> Points:
        """Return T(x) for points (n, 3)."""
        turned = times(points_mm - self.centre_mm, self.rotation.T)
        return turned + self.centre_mm + self.shift_mm

    def inverse(self, points_mm: Points) -> Points:
        """Return T^-1(y) for points (n, 3)."""
        moved = points_mm - self.centre_mm - self.shift_mm
        return times(moved, self.rotation) + self.centre_mm

    def determinant(self, points_mm: Points) -> Values:
        """Return 1 for every point."""
        return np.ones(len(points_mm))


@dataclass(frozen=True, eq=False)
class Chain:
    """Maps applied one after another, the first first.

    Attributes
    ----------
    maps : sequence of PointMap
        T = maps[-1] o ... o maps[0].
    """

    maps: Sequence[PointMap]

    def forward(self, points_mm: Points) -> Points:
        """Return T(x) for points (n, 3)."""
        for step in self.maps:
            points_mm = step.forward(points_mm)
        return points_mm

    def inverse(self, points_mm: Points) -> Points:
        """Return T^-1(y) for points (n, 3)."""
        for step in reversed(self.maps):
            points_mm = step.inverse(points_mm)
        return points_mm

    def determinant(self, points_mm: Points) -> Values:
        """Return the product of the determinants, each at the point where its map acts."""
        product = np.ones(len(points_mm))
        for step in self.maps:
            product = product * step.determinant(points_mm)
            points_mm = step.forward(points_mm)
        return product


def times(rows: Points, matrix: npt.NDArray[np.float64]) -> Points:
    """Return rows (n, a) times a small matrix (a, b).

    Without BLAS, whose threads cost more than they save here and whose sums could depend on
    their number.
    """
    columns = rows.T
    products = [
        sum(weight * column for weight, column in zip(weights, columns, strict=True))
        for weights in matrix.T
    ]
    return np.stack([np.asarray(product) for product in products], axis=1)


def lengths(rows: Points) -> Values:
    """Return the Euclidean length of each row (n, a)."""
    return np.asarray(np.sqrt(np.einsum("na,na->n", rows, rows)))


def rotation_matrix(angles_rad: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the rotation Rz Ry Rx of three angles about the x, y and z axes."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles_rad):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return matrix


def solve_strength(
    inside_mm: Points,
    target: float,
    *,
    centre_mm: Values,
    axes_mm: npt.NDArray[np.float64],
    reach: float,
    then: Sequence[PointMap] = (),
) -> float:
    """Return the strength whose map has mean determinant `target` over points of a lesion.

    Parameters
    ----------
    inside_mm : (n, 3) array
        Evenly spread points inside the lesion.
    target : float
        Mean Jacobian wanted; bisection stops 1e-9 from the strength.
    centre_mm, axes_mm, reach
        The shrink, as in `RadialShrink`.
    then : maps
        What follows the shrink in the chain.

    Returns
    -------
    float
        a in (-0.85, 0.85).
    """
    low, high = -_STRENGTH_LIMIT, _STRENGTH_LIMIT
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        shrink = RadialShrink(centre_mm, axes_mm, middle, reach)
        mean = float(Chain((shrink, *then)).determinant(inside_mm).mean())
        low, high = (middle, high) if mean > target else (low, middle)
    return 0.5 * (low + high)

"""How much a B-spline field bends, as a physical quantity, and its derivatives."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.registration.lattice import LatticeAxis, Matrices, expand, gather

Array = npt.NDArray[np.float64]

#: Order of the derivative along each axis, and how often the term occurs in |D2 v|^2.
_BENDING = (
    ((2, 0, 0), 1.0), ((0, 2, 0), 1.0), ((0, 0, 2), 1.0),
    ((1, 1, 0), 2.0), ((1, 0, 1), 2.0), ((0, 1, 1), 2.0),
)  # fmt: skip
_STRETCHING = (((1, 0, 0), 1.0), ((0, 1, 0), 1.0), ((0, 0, 1), 1.0))


@dataclass(frozen=True, eq=False)
class Smoothness:
    """Sum over the box of w (|D2 v|^2 + |D v|^2 / reach^2), by quadrature at the knots.

    Attributes
    ----------
    axes : three LatticeAxis
        The lattice.
    reach_mm : float
        Beyond this distance from matter the field fades to the affine map.
    weight : (a - 2, b - 2, c - 2) float array
        w at the interior knots; greater where the map must be stiffer.
    """

    axes: tuple[LatticeAxis, LatticeAxis, LatticeAxis]
    reach_mm: float
    weight: Array
    _terms: list[tuple[float, Matrices]] = field(init=False)

    def __post_init__(self) -> None:
        volume = float(np.prod([axis.knot_mm for axis in self.axes]))
        found = []
        for terms, scale in ((_BENDING, 1.0), (_STRETCHING, self.reach_mm**-2)):
            for orders, times in terms:
                one, two, three = (
                    axis.basis(axis.interior_mm, order)  # type: ignore[arg-type]
                    for axis, order in zip(self.axes, orders, strict=True)
                )
                found.append((volume * scale * times, (one, two, three)))
        object.__setattr__(self, "_terms", found)

    def gradient(self, coefficients: Array) -> Array:
        """Return half the gradient, which is the Hessian applied to the coefficients."""
        result = np.zeros_like(coefficients)
        for scale, matrices in self._terms:
            bent = expand(coefficients, matrices)
            bent *= (scale * self.weight)[..., None]
            result += gather(bent, matrices)
        return result

    def energy(self, coefficients: Array) -> float:
        """Return the sum itself, in mm^3 per mm^2 of weight."""
        return float(np.sum(coefficients * self.gradient(coefficients)))

    def diagonal(self) -> Array:
        """Return the diagonal (a, b, c) of the Hessian, for preconditioning."""
        total = np.zeros([axis.count for axis in self.axes])
        for scale, (one, two, three) in self._terms:
            squared = (one**2, two**2, three**2)
            total += gather((scale * self.weight)[..., None], squared)[..., 0]
        return total

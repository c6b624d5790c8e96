"""How much a velocity on a lattice bends, as a physical quantity, and its derivatives.

At the knots a cubic B-spline and its derivatives are sums of three neighbouring coefficients, so
that everything is a stencil; what the nine derivatives share along an axis is computed once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from pipeline.registration.lattice import LatticeAxis
from pipeline.registration.tensors import gaussian_matrix, separable

#: Order of the derivative along each axis, and how often the term occurs in |D2 v|^2.
_SECOND = (
    ((2, 0, 0), 1.0), ((0, 2, 0), 1.0), ((0, 0, 2), 1.0),
    ((1, 1, 0), 2.0), ((1, 0, 1), 2.0), ((0, 1, 1), 2.0),
)  # fmt: skip
_FIRST = (((1, 0, 0), 1.0), ((0, 1, 0), 1.0), ((0, 0, 1), 1.0))
#: Weights of the knot before, the knot and the one after, for each order of the derivative.
_STENCILS = ((1 / 6, 4 / 6, 1 / 6), (-0.5, 0.0, 0.5), (1.0, -2.0, 1.0))

#: Bounds of the robust penalty's weight.
_WEIGHTS = (0.25, 40.0)

Orders = tuple[int, int, int]
Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Bending:
    """Half the sum over the box of w (bending^2 |D2 v|^2 + (bending / reach)^2 |D v|^2).

    Attributes
    ----------
    axes : three LatticeAxis
        The lattice of the coefficients (3, a, b, c).
    bending_mm : float
        Weight of bending against a squared misfit of 1, as a length.
    reach_mm : float
        Beyond this distance from matter the velocity fades.
    weight : (a - 2, b - 2, c - 2) tensor
        w at the interior knots, where the sum is taken; less where the map may bend more.
    """

    axes: tuple[LatticeAxis, LatticeAxis, LatticeAxis]
    bending_mm: float
    reach_mm: float
    weight: torch.Tensor

    def gradient(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return the gradient, which is also the Hessian applied to the coefficients."""
        weight = self._volume * self.bending_mm**2 * self.weight
        bent = _derivatives(coefficients, self._scales)
        return _gathered({o: d * weight for o, d in bent.items()}, self._scales, _STENCILS)

    def energy(self, coefficients: torch.Tensor) -> float:
        """Return the energy, in mm^3."""
        return 0.5 * float((coefficients.double() * self.gradient(coefficients).double()).sum())

    def density(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return |D2 v|^2 + |D v|^2 / reach^2 in mm^-2 at the interior knots."""
        bent = _derivatives(coefficients, self._scales)
        return sum(s * bent[o].square().sum(dim=0) for o, s in self._scales.items())

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal (a, b, c) of the Hessian, for preconditioning."""
        weight = self._volume * self.bending_mm**2 * self.weight
        squared = tuple((a * a, b * b, c * c) for a, b, c in _STENCILS)
        return _gathered(dict.fromkeys(self._scales, weight), self._scales, squared)

    @property
    def _volume(self) -> float:
        return float(np.prod([axis.knot_mm for axis in self.axes]))

    @property
    def _scales(self) -> dict[Orders, float]:
        """Return the factor of each squared derivative, the knot distances in it."""
        knots = [axis.knot_mm for axis in self.axes]
        found = {}
        for terms, part in ((_SECOND, 1.0), (_FIRST, self.reach_mm**-2)):
            for orders, times in terms:
                mm = float(np.prod([k**o for k, o in zip(knots, orders, strict=True)]))
                found[orders] = part * times / mm**2
        return found


@dataclass(frozen=True, eq=False)
class RobustBending:
    """A penalty that rises with the logarithm of bending, as a `Bending` for each velocity.

    Attributes
    ----------
    axes, bending_mm, reach_mm
        See `Bending`.
    robust_per_mm : float
        Bending |D2 v| whose weight is 1: w = (robust / |D2 v|)^2, within bounds. What bends
        little is held, what bends much pays no more for bending more. 0 for the plain penalty.
    stiffness : (a - 2, b - 2, c - 2) tensor, optional
        Factor on the weight at the interior knots.
    """

    axes: tuple[LatticeAxis, LatticeAxis, LatticeAxis]
    bending_mm: float
    reach_mm: float
    robust_per_mm: float
    stiffness: torch.Tensor | None = None

    def at(self, coefficients: torch.Tensor) -> Bending:
        """Return the quadratic penalty that touches this one at a velocity, but for a constant."""
        plain = coefficients.new_ones([axis.count - 2 for axis in self.axes])
        weight = plain
        if self.robust_per_mm > 0:
            density = Bending(self.axes, self.bending_mm, self.reach_mm, plain).density(
                coefficients
            )
            around = [gaussian_matrix(n, 1.0, device=plain.device) for n in density.shape]
            bent = separable(density, (around[0], around[1], around[2]))
            weight = (self.robust_per_mm**2 / bent.clamp(min=1e-12)).clamp(*_WEIGHTS)
        if self.stiffness is not None:
            weight = weight * self.stiffness
        return Bending(self.axes, self.bending_mm, self.reach_mm, weight)

    def stiffened(self, factor: torch.Tensor) -> "RobustBending":
        """Return the penalty with a factor more on its weights."""
        before = 1.0 if self.stiffness is None else self.stiffness
        return replace(self, stiffness=before * factor)


def _derivatives(
    coefficients: torch.Tensor, wanted: Iterable[Orders]
) -> dict[Orders, torch.Tensor]:
    """Return the derivatives (3, a - 2, b - 2, c - 2) of the wanted orders per knot distance."""
    last: dict[int, torch.Tensor] = {}
    middle: dict[tuple[int, int], torch.Tensor] = {}
    found = {}
    for x, y, z in wanted:
        if z not in last:
            last[z] = _spread(coefficients, -1, _STENCILS[z])
        if (y, z) not in middle:
            middle[y, z] = _spread(last[z], -2, _STENCILS[y])
        found[x, y, z] = _spread(middle[y, z], -3, _STENCILS[x])
    return found


def _gathered(
    values: Mapping[Orders, torch.Tensor],
    scales: Mapping[Orders, float],
    stencils: Sequence[tuple[float, float, float]],
) -> torch.Tensor:
    """Return the sum of the transposed derivatives of values at the interior knots."""
    middle: dict[tuple[int, int], torch.Tensor] = {}
    last: dict[int, torch.Tensor] = {}
    for (x, y, z), value in values.items():
        _gather(middle, (y, z), value, -3, [scales[x, y, z] * w for w in stencils[x]])
    for (y, z), value in middle.items():
        _gather(last, z, value, -2, stencils[y])
    whole: dict[str, torch.Tensor] = {}
    for z, value in last.items():
        _gather(whole, "", value, -1, stencils[z])
    return whole[""]


def _spread(values: torch.Tensor, dim: int, stencil: Sequence[float]) -> torch.Tensor:
    """Return weighted sums of three neighbours along an axis, which loses its two ends."""
    before, at, after = stencil
    inner = values.shape[dim] - 2
    found = values.narrow(dim, 0, inner) * before
    if at:
        found.add_(values.narrow(dim, 1, inner), alpha=at)
    return found.add_(values.narrow(dim, 2, inner), alpha=after)


def _gather(
    sums: dict[Key, torch.Tensor],
    key: Key,
    values: torch.Tensor,
    dim: int,
    stencil: Sequence[float],
) -> None:
    """Add the transpose of `_spread` to the sum of that key."""
    if key not in sums:
        shape = list(values.shape)
        shape[dim] += 2
        sums[key] = values.new_zeros(shape)
    for offset, weight in enumerate(stencil):
        if weight:
            sums[key].narrow(dim, offset, values.shape[dim]).add_(values, alpha=weight)

"""How much a velocity on a lattice bends, as a physical quantity, and its derivatives."""

from dataclasses import dataclass, field

import numpy as np
import torch

from pipeline.registration.lattice import LatticeAxis
from pipeline.registration.tensors import Matrices, separable, transposed

#: Order of the derivative along each axis, and how often the term occurs in |D2 v|^2.
_SECOND = (
    ((2, 0, 0), 1.0), ((0, 2, 0), 1.0), ((0, 0, 2), 1.0),
    ((1, 1, 0), 2.0), ((1, 0, 1), 2.0), ((0, 1, 1), 2.0),
)  # fmt: skip
_FIRST = (((1, 0, 0), 1.0), ((0, 1, 0), 1.0), ((0, 0, 1), 1.0))


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
    _terms: list[tuple[float, Matrices]] = field(init=False)

    def __post_init__(self) -> None:
        volume = float(np.prod([axis.knot_mm for axis in self.axes]))
        found = []
        for terms, part in ((_SECOND, 1.0), (_FIRST, self.reach_mm**-2)):
            for orders, times in terms:
                one, two, three = (
                    torch.as_tensor(
                        axis.basis(axis.interior_mm, order),  # type: ignore[arg-type]
                        dtype=torch.float32,
                        device=self.weight.device,
                    )
                    for axis, order in zip(self.axes, orders, strict=True)
                )
                found.append((volume * self.bending_mm**2 * part * times, (one, two, three)))
        object.__setattr__(self, "_terms", found)

    def gradient(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return the gradient, which is also the Hessian applied to the coefficients."""
        result = torch.zeros_like(coefficients)
        for scale, matrices in self._terms:
            bent = separable(coefficients, matrices) * (scale * self.weight)
            result += separable(bent, transposed(matrices))
        return result

    def energy(self, coefficients: torch.Tensor) -> float:
        """Return the energy, in mm^3."""
        return 0.5 * float((coefficients.double() * self.gradient(coefficients).double()).sum())

    def density(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return |D2 v|^2 + |D v|^2 / reach^2 in mm^-2 at the interior knots."""
        whole = float(np.prod([axis.knot_mm for axis in self.axes])) * self.bending_mm**2
        return sum(
            (scale / whole) * separable(coefficients, matrices).square().sum(dim=0)
            for scale, matrices in self._terms
        )

    def diagonal(self) -> torch.Tensor:
        """Return the diagonal (a, b, c) of the Hessian, for preconditioning."""
        parts = []
        for scale, matrices in self._terms:
            one, two, three = (m.T.square() for m in matrices)
            parts.append(separable(scale * self.weight, (one, two, three)))
        return torch.stack(parts).sum(dim=0)

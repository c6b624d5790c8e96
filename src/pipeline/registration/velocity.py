"""A stationary velocity on a B-spline lattice, and the diffeomorphism that it flows to.

The velocity v is in mm along the axes of the fixed grid. exp(v), the flow at time 1, is found by
scaling and squaring (Arsigny et al. 2006, MICCAI 4190:924) on nodes every half knot, where v is as
smooth as it gets; exp(-v) is its inverse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import make_interp_spline

from pipeline.registration.lattice import LatticeAxis
from pipeline.registration.tensors import Matrices, sample, separable

Axes = tuple[LatticeAxis, LatticeAxis, LatticeAxis]

#: The velocity is halved until no point moves by more than this part of a node's distance.
_SMALL_STEP = 0.25
_MOST_SQUARINGS = 10


@dataclass(frozen=True, eq=False)
class Flow:
    """Coefficients of a velocity -> its displacement, on nodes and from there anywhere.

    Attributes
    ----------
    axes : three LatticeAxis
        The lattice of the coefficients (3, a, b, c).
    device : torch.device
        Where tensors lie.
    """

    axes: Axes
    device: torch.device
    node_mm: tuple[float, float, float] = field(init=False)
    _nodes: list[npt.NDArray[np.float64]] = field(init=False)
    basis: Matrices = field(init=False)
    _start: torch.Tensor = field(init=False)
    _scale: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        nodes = [_nodes(axis) for axis in self.axes]
        steps = tuple(float(ticks[1] - ticks[0]) for ticks in nodes)
        shape = [len(ticks) for ticks in nodes]
        lines = [torch.arange(n, dtype=torch.float32, device=self.device) for n in shape]
        found = {
            "node_mm": steps,
            "_nodes": nodes,
            "basis": _matrices(
                [axis.basis(ticks) for axis, ticks in zip(self.axes, nodes, strict=True)],
                self.device,
            ),
            "_start": torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1),
            "_scale": torch.tensor(steps, dtype=torch.float32, device=self.device),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def velocity(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return v (3, A, B, C) in mm at the nodes."""
        return separable(coefficients, self.basis)

    def exponential(self, coefficients: torch.Tensor, sign: float = 1.0) -> torch.Tensor:
        """Return exp(sign v)(x) - x, (3, A, B, C) in mm at the nodes; can be differentiated."""
        velocity = self.velocity(coefficients).movedim(0, -1) * (sign / self._scale)
        largest = float(velocity.detach().abs().max())
        squarings = min(max(int(np.ceil(np.log2(max(largest, 1e-9) / _SMALL_STEP))), 1),
                        _MOST_SQUARINGS)  # fmt: skip
        small = velocity / 2**squarings
        # The midpoint rule: of second order, so that exp(v) and exp(-v) undo each other.
        moved = sample(small.movedim(-1, 0), self._start + small / 2).movedim(0, -1)
        for _ in range(squarings):
            onward = sample(moved.movedim(-1, 0), self._start + moved)
            moved = moved + onward.movedim(0, -1)
        return (moved * self._scale).movedim(-1, 0)

    def jacobian(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return det(I + du/dx) of the flow at the nodes, (A, B, C), by differences."""
        moved = self.exponential(coefficients)
        rows = [torch.stack(torch.gradient(m, spacing=list(self.node_mm))) for m in moved]
        matrix = torch.stack(rows).permute(2, 3, 4, 0, 1) + torch.eye(3, device=self.device)
        return torch.linalg.det(matrix)

    def to_points(self, positions_mm: Sequence[npt.NDArray[np.float64]]) -> Matrices:
        """Return the matrices that interpolate nodes by cubic splines on a grid of positions."""
        return _matrices(
            [
                make_interp_spline(ticks, np.eye(len(ticks)), k=min(3, len(ticks) - 1))(wanted)
                for ticks, wanted in zip(self._nodes, positions_mm, strict=True)
            ],
            self.device,
        )

    def pooling(self, positions_mm: Sequence[npt.NDArray[np.float64]]) -> Matrices:
        """Return the matrices that share values on a grid of positions among the next nodes."""
        found = []
        for ticks, at, step in zip(self._nodes, positions_mm, self.node_mm, strict=True):
            near = np.clip(at, ticks[0], ticks[-1])
            found.append(np.clip(1 - np.abs(ticks[:, None] - near) / step, 0, None))
        return _matrices(found, self.device)


def _nodes(axis: LatticeAxis) -> npt.NDArray[np.float64]:
    """Return positions every half knot over the interior of the lattice."""
    interior = axis.interior_mm
    return np.linspace(interior[0], interior[-1], 2 * len(interior) - 1)


def _matrices(arrays: Sequence[npt.NDArray[np.float64]], device: torch.device) -> Matrices:
    one, two, three = (torch.as_tensor(a, dtype=torch.float32, device=device) for a in arrays)
    return one, two, three

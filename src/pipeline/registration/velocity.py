"""A stationary velocity on a B-spline lattice, and the diffeomorphism that it flows to.

The velocity v is in mm along the axes of the fixed grid. exp(v), the flow at time 1, is found for
nodes every half knot by the classical Runge-Kutta method of fourth order; exp(-v) is its inverse.
Scaling and squaring (Arsigny et al. 2006, MICCAI 4190:924) costs no less here, and adds an error of
interpolation with each squaring: 0.2 voxel after a displacement of four.
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

#: The velocity is looked up on a lattice so many times finer than the nodes.
_FINER = 2
#: A step of the integration strains no place by more than this.
_LARGEST_STRAIN = 0.6
_MOST_STEPS = 8


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
    _fine: Matrices = field(init=False)
    _start: torch.Tensor = field(init=False)
    _scale: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        nodes = [_nodes(axis) for axis in self.axes]
        steps = tuple(float(ticks[1] - ticks[0]) for ticks in nodes)
        fine = [np.linspace(t[0], t[-1], _FINER * (len(t) - 1) + 1) for t in nodes]
        lines = [
            _FINER * torch.arange(len(ticks), dtype=torch.float32, device=self.device)
            for ticks in nodes
        ]
        found = {
            "node_mm": steps,
            "_nodes": nodes,
            "basis": self._at(nodes),
            "_fine": self._at(fine),
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
        velocity = sign * self.velocity(coefficients)
        steps = self._steps(velocity.detach())
        # In steps of the finer lattice, per step of the integration.
        scale = _FINER / (steps * self._scale)
        field = separable(coefficients, self._fine) * (sign * scale[:, None, None, None])

        def there(moved: torch.Tensor) -> torch.Tensor:
            return sample(field, self._start + moved).movedim(0, -1)

        moved = torch.zeros_like(self._start)
        first = velocity.movedim(0, -1) * scale
        for step in range(steps):
            one = there(moved) if step else first
            two = there(moved + one / 2)
            three = there(moved + two / 2)
            four = there(moved + three)
            moved = moved + (one + 2 * two + 2 * three + four) / 6
        return (moved * self._scale / _FINER).movedim(-1, 0)

    def jacobian(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return det(I + du/dx) of the flow at the nodes, (A, B, C), by differences."""
        moved = self.exponential(coefficients)
        rows = [torch.stack(torch.gradient(m, spacing=list(self.node_mm))) for m in moved]
        matrix = torch.stack(rows).permute(2, 3, 4, 0, 1) + torch.eye(3, device=self.device)
        return torch.linalg.det(matrix)

    def _steps(self, velocity: torch.Tensor) -> int:
        """Return how many steps the strain |dv/dx| asks for; 1 for the velocity that is 0."""
        rates = [
            velocity.diff(dim=axis + 1).abs().amax() / step
            for axis, step in enumerate(self.node_mm)
        ]
        return int(np.clip(np.ceil(float(max(rates)) / _LARGEST_STRAIN), 1, _MOST_STEPS))

    def _at(self, positions_mm: Sequence[npt.NDArray[np.float64]]) -> Matrices:
        """Return the matrices from the coefficients to their splines on a grid of positions."""
        found = [axis.basis(at) for axis, at in zip(self.axes, positions_mm, strict=True)]
        return _matrices(found, self.device)

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

"""Diffeomorphic registration: the stationary velocity that fits best, coarse to fine.

The velocity v on a B-spline lattice minimises

    V * E(F, M(A exp(v))) + 1/2 sum w bending^2 (|D2 v|^2 + |D v|^2 / reach^2)

where V is the compared volume and E a measure of `comparison`. The weight w is that of a robust
penalty, renewed at each step: where the velocity bends much it is less, so that a lesion is free to
change volume, and where it bends little it is more, so that noise moves nothing. Besides, w rises
with what the level before left unexplained: where noise or other contrast makes a match worth less,
the map is stiffer.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.registration.bending import RobustBending
from pipeline.registration.descent import descend
from pipeline.registration.engine import Trace
from pipeline.registration.lattice import cover, refine
from pipeline.registration.level_images import Level, LevelImages, Matrix, three
from pipeline.registration.tensors import separable, transposed
from pipeline.registration.torch_levels import Source
from pipeline.registration.velocity import Axes, Flow
from pipeline.types import Geometry

_LOG = logging.getLogger(__name__)

_MOST_STEPS = 20
_MOST_STEPS_REPAIRING = 4
#: Where det(I + du/dx) falls below this, the lattice is made stiffer and the level repeated.
_LEAST_JACOBIAN = 0.1
_STIFFER = 4.0
_MOST_REPAIRS = 5
#: Steps that give back what the penalty held back.
_STEPS_BACK = 3
#: Images whose residual, smoothed to the voxels of a level, has this part of the variance or less
#: are as stiff as was asked for; what explains less well is less believed, within bounds.
_CLEAN, _POWER, _MOST_STIFFENING = 1e-4, 0.25, 2.5


@dataclass(frozen=True, eq=False)
class Velocity:
    """What was found.

    Attributes
    ----------
    flow : Flow
        The lattice.
    coefficients : (3, a, b, c) tensor
        On it.
    traces : tuple of Trace
        One per level, and one for each time that the penalty of a level changed.
    repairs : int
        How often the lattice was made stiffer.
    """

    flow: Flow
    coefficients: torch.Tensor
    traces: tuple[Trace, ...]
    repairs: int

    def displacement(self, grid: Geometry) -> npt.NDArray[np.float32]:
        """Return exp(v)(x) - x on the fixed grid, (I, J, K, 3) in mm along its axes."""
        positions = [
            np.arange(n, dtype=np.float64) * s
            for n, s in zip(grid.shape, grid.spacing_mm, strict=True)
        ]
        found = separable(self.flow.exponential(self.coefficients), self.flow.to_points(positions))
        return np.ascontiguousarray(found.movedim(0, -1).cpu().numpy())


def estimate_velocity(
    fixed: Source,
    moving: Source,
    affine: Matrix,
    levels: Sequence[Level],
    reach_mm: float,
) -> Velocity:
    """Return the velocity for which moving(A exp(v)(x)) looks like fixed(x).

    Parameters
    ----------
    fixed, moving : Source
        Scaled images on their whole grids, and where they are compared.
    affine : (4, 4) array
        A, fixed point to moving point, LPS mm.
    levels : sequence of Level
        Coarse to fine.
    reach_mm : float
        See `Bending`.
    """
    device = fixed.values.device
    ends = np.asarray(fixed.grid.spacing_mm) * (np.asarray(fixed.grid.shape) - 1)
    axes: Axes = three(cover(float(end), levels[0].knot_mm) for end in ends)
    coefficients = torch.zeros(3, *(axis.count for axis in axes), device=device)
    traces: list[Trace] = []
    repairs = 0
    flow = Flow(axes, device)
    unexplained = 0.0
    for level in levels:
        if level.knot_mm < 0.75 * axes[0].knot_mm:
            finer = three(
                torch.as_tensor(subdivision(axis.count), dtype=torch.float32, device=device)
                for axis in axes
            )
            coefficients, axes = separable(coefficients, finer), three(refine(a) for a in axes)
            flow = Flow(axes, device)
        problem = LevelImages(fixed, moving, affine, level, flow)
        bending_mm = level.bending_mm * _stiffening(unexplained)
        penalty = RobustBending(flow.axes, bending_mm, reach_mm, level.robust_per_mm)
        coefficients, more, stiffened = _run(
            problem, coefficients, penalty, last=level is levels[-1]
        )
        for trace in more:
            _LOG.info("knots %g mm: %d steps, energy %.4g to %.4g mm3, %s", level.knot_mm,
                      len(trace.energy) - 1, trace.energy[0], trace.energy[-1],
                      trace.stopped)  # fmt: skip
        traces += more
        repairs += stiffened
        unexplained = problem.unexplained(flow.exponential(coefficients))
        _LOG.info("knots %g mm: %d steps, energy %.4g to %.4g mm3, %s", level.knot_mm,
                  len(trace.energy) - 1, trace.energy[0], trace.energy[-1],
                  trace.stopped)  # fmt: skip
    return Velocity(flow, coefficients, tuple(traces), repairs)


def _stiffening(unexplained: float) -> float:
    """Return the factor on the bending weight for what the level before left unexplained."""
    return float(np.clip((unexplained / _CLEAN) ** _POWER, 1, _MOST_STIFFENING))


def _run(
    problem: LevelImages, coefficients: torch.Tensor, penalty: RobustBending, *, last: bool
) -> tuple[torch.Tensor, list[Trace], int]:
    """Step until converged; where the map comes near folding, stiffen the lattice and go on.

    The last level then goes some steps with the penalty on the difference from where it came to:
    what the penalty held back of a change of volume is given back, while what the images do not
    ask for stays away (twicing: Tukey 1977, Exploratory Data Analysis, ch. 16; Osher et al. 2005,
    Multiscale Model. Simul. 4:460).
    """
    flow = problem.flow
    traces: list[Trace] = []
    repairs, most = 0, _MOST_STEPS

    def go(most_steps: int, centre: torch.Tensor | None = None) -> torch.Tensor:
        found, energies, stopped = descend(
            problem, coefficients, penalty, most_steps, centre=centre
        )
        voxel_mm = float(min(problem.level.voxel_mm))
        traces.append(Trace("deformable", voxel_mm, tuple(energies), stopped))
        return found

    while True:
        coefficients = go(most)
        if last and repairs == 0:
            coefficients = go(_STEPS_BACK, centre=coefficients)
        folding = flow.jacobian(coefficients) < _LEAST_JACOBIAN
        if not bool(folding.any()) or repairs == _MOST_REPAIRS:
            break
        repairs, most = repairs + 1, _MOST_STEPS_REPAIRING
        near = separable(folding.to(torch.float32), transposed(flow.basis))[1:-1, 1:-1, 1:-1]
        penalty = penalty.stiffened(torch.where(near > 0, _STIFFER, 1.0))
    return coefficients, traces, repairs


def subdivision(count: int) -> Matrix:
    """Return the matrix (2 count - 3, count) to the same cubic spline with half the distance."""
    matrix = np.zeros((2 * count - 3, count))
    middle = np.arange(1, count - 1)
    left = np.arange(count - 1)
    matrix[2 * left, left] = matrix[2 * left, left + 1] = 1 / 2
    matrix[2 * middle - 1, middle - 1] = matrix[2 * middle - 1, middle + 1] = 1 / 8
    matrix[2 * middle - 1, middle] = 6 / 8
    return matrix

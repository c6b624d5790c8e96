"""Newton steps for a rigid or affine map: all sample points in one system of 6 or 12 equations."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import expm

from pipeline.registration.engine import Trace
from pipeline.registration.torch_levels import Level
from pipeline.registration.torch_likeness import Likeness, Terms

Matrix = npt.NDArray[np.float64]
Kind = Literal["rigid", "affine"]

#: No step moves a corner by more voxels than this.
_LONGEST_STEP = 4.0
_FIRST_DAMPING, _MOST_DAMPING = 1e-3, 1e4
#: Less of the points than this in the moving field of view: the map has lost the image.
LEAST_OVERLAP = 0.05


@dataclass(frozen=True, eq=False)
class _State:
    """A map and what the images look like under it."""

    matrix: Matrix
    moved: torch.Tensor
    weight: torch.Tensor
    slope: torch.Tensor


def refine(
    level: Level,
    likeness: Likeness,
    matrix: Matrix,
    kind: Kind,
    *,
    small_step: float,
    most_steps: int,
) -> tuple[Matrix, Trace]:
    """Return the map of the unit frame nearest to `matrix` with least energy, and the way there.

    Parameters
    ----------
    level : Level
        The images.
    likeness : Likeness
        What is minimised; of the level's fixed intensities.
    matrix : (4, 4) array
        Start, in the unit frame.
    kind : {"rigid", "affine"}
        Which changes of the start are allowed.
    small_step : float
        It has converged when the corners would move by less than this part of a voxel.
    most_steps : int
        Where to stop if it has not converged.
    """
    basis = _rigid_basis() if kind == "rigid" else np.eye(12)
    state = _look(level, matrix)
    trust = likeness.trusted(state.moved, state.weight, state.slope)
    energy = likeness.energy(state.moved, state.weight * trust)
    energies, damping, stopped = [energy], _FIRST_DAMPING, f"{most_steps} steps"
    for _ in range(most_steps):
        terms = likeness.terms(state.moved, state.weight * trust)
        hessian, gradient = _system(level, state, terms, basis)
        found = None
        while found is None and damping <= _MOST_DAMPING:
            change = basis @ _solve(hessian, gradient, damping)
            move = level.unit_mm * _corner_move(level, change, state.matrix)
            if move < small_step * level.voxel_mm:
                break
            change *= min(1.0, _LONGEST_STEP * level.voxel_mm / move)
            trial = _look(level, _changed(state.matrix, change))
            if overlap(level, trial.weight) >= LEAST_OVERLAP:
                energy = likeness.energy(trial.moved, trial.weight * trust)
                if energy < energies[-1]:
                    found = trial
            damping *= 0.1 if found is not None else 10.0
        if found is None:
            small = damping <= _MOST_DAMPING
            stopped = "converged" if small else "no step lowers the energy"
            break
        state, damping = found, max(damping, 1e-7)
        trust = likeness.trusted(state.moved, state.weight, state.slope)
        energies.append(likeness.energy(state.moved, state.weight * trust))
    return state.matrix, Trace(kind, level.voxel_mm, tuple(energies), stopped)


def overlap(level: Level, weight: torch.Tensor) -> float:
    """Return the part of a level's points, by weight, that a map keeps in the moving image."""
    return float(weight.sum(dtype=torch.float64) / level.weight.sum(dtype=torch.float64))


def _look(level: Level, matrix: Matrix) -> _State:
    return _State(matrix, *level.look_closely(matrix))


def _system(level: Level, state: _State, terms: Terms, basis: Matrix) -> tuple[Matrix, Matrix]:
    """Return Hessian (p, p) and gradient (p,) in the parameters of `basis` (12, p).

    A change K (3, 4) sends a moved point z to z + K (z, 1).
    """
    turn = torch.as_tensor(state.matrix, dtype=torch.float32, device=level.points.device)
    moved = torch.addmm(turn[:3, 3], level.points, turn[:3, :3].T)
    moved = torch.cat([moved, torch.ones_like(moved[:, :1])], dim=1)
    columns = (state.slope[:, :, None] * moved[:, None, :]).flatten(1)
    weighted = terms.curvature[:, None] * columns
    gradient = _double(columns.T @ terms.slope)
    hessian = _double(weighted.T @ columns)
    if terms.fitted.shape[1]:
        shared = _double(weighted.T @ terms.fitted)
        own = _double(terms.fitted.T @ (terms.curvature[:, None] * terms.fitted))
        hessian = hessian - shared @ np.linalg.pinv(own) @ shared.T
    return basis.T @ hessian @ basis, basis.T @ gradient


def _solve(hessian: Matrix, gradient: Matrix, damping: float) -> Matrix:
    diagonal = np.diag(hessian)
    ridge = damping * diagonal + 1e-9 * diagonal.max() + 1e-300
    return np.asarray(-np.linalg.solve(hessian + np.diag(ridge), gradient))


def _changed(matrix: Matrix, change: Matrix) -> Matrix:
    """Return the map followed by the exponential of K, which keeps a rigid map rigid."""
    generator = np.zeros((4, 4))
    generator[:3] = change.reshape(3, 4)
    return np.asarray(expm(generator) @ matrix)


def _corner_move(level: Level, change: Matrix, matrix: Matrix) -> float:
    corners = np.c_[level.corners, np.ones(8)] @ matrix.T
    return float(np.linalg.norm(corners @ change.reshape(3, 4).T, axis=1).max())


def _rigid_basis() -> Matrix:
    """Return the (12, 6) changes K of three rotations and three translations."""
    basis = np.zeros((3, 4, 6))
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        basis[two, one, axis], basis[one, two, axis] = 1.0, -1.0
        basis[axis, 3, 3 + axis] = 1.0
    return basis.reshape(12, 6)


def _double(values: torch.Tensor) -> Matrix:
    return np.asarray(values.cpu().numpy(), dtype=np.float64)

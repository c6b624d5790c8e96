"""Where the affine stage starts: the headers' positions unless another place is clearly better."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from pipeline.errors import ConvergenceError
from pipeline.geometry import corners_mm
from pipeline.registration.torch_levels import Level, Source, landscape
from pipeline.registration.torch_likeness import Likeness
from pipeline.registration.torch_newton import overlap, refine

Matrix = npt.NDArray[np.float64]

_TURNS_DEGREES = (-30.0, -15.0, 15.0, 30.0)
#: Principal axes tell directions only where their SDs differ by this factor.
_LEAST_ELONGATION = 1.1
#: A start shows at least this part of what the smaller image could show.
_LEAST_PART = 0.3
_REFINED, _STEPS, _SMALL_STEP = 6, 12, 0.05
#: Another start is taken only if it gains this part of the preferred one's energy, and so much.
_CLEAR_GAIN, _LEAST_GAIN = 0.1, 0.1


@dataclass(frozen=True, eq=False)
class Start:
    """A name, a map of the unit frame, and its energy."""

    name: str
    matrix: Matrix
    energy: float = np.inf


def best_start(
    fixed: Source,
    moving: Source,
    level: Level,
    likeness: Likeness,
    *,
    align_centres: bool,
) -> Start:
    """Return the best rigid start after a few steps from the most promising ones.

    Parameters
    ----------
    fixed, moving : Source
        The images.
    level : Level
        The coarsest.
    likeness : Likeness
        Of that level.
    align_centres : bool
        The headers say nothing: prefer the centres of the fields of view to them.

    Raises
    ------
    ConvergenceError
        When no start lets the images overlap.
    """
    starts = [
        Start(start.name, start.matrix, _score(level, likeness, start.matrix, fixed, moving))
        for start in _candidates(fixed, moving, level, align_centres=align_centres)
    ]
    starts = [start for start in starts if np.isfinite(start.energy)]
    if not starts:
        raise ConvergenceError(
            "no start brings the images to overlap; check that both show the same part of the "
            "body, or start from their centres with --align-centres"
        )
    preferred = starts[0]
    promising = sorted(starts[1:], key=lambda start: start.energy)[: _REFINED - 1]
    refined = []
    for start in (preferred, *promising):
        matrix, trace = refine(
            level, likeness, start.matrix, "rigid", small_step=_SMALL_STEP, most_steps=_STEPS
        )
        refined.append(Start(start.name, matrix, trace.energy[-1]))
    best = min(refined, key=lambda start: start.energy)
    gain = refined[0].energy - best.energy
    clear = max(_CLEAR_GAIN * abs(refined[0].energy), _LEAST_GAIN)
    return best if gain > clear else refined[0]


def _candidates(fixed: Source, moving: Source, level: Level, *, align_centres: bool) -> list[Start]:
    """Return the starts, the preferred one first."""
    to_frame = np.linalg.inv(level.frame)
    middles = [corners_mm(source.grid).mean(axis=0) for source in (fixed, moving)]
    (mass, axes), (other_mass, other_axes) = (
        _moments(source, level.voxel_mm) for source in (fixed, moving)
    )
    shifts = {
        "headers": np.zeros(3),
        "centres": middles[1] - middles[0],
        "centres of mass": other_mass - mass,
    }
    if align_centres:
        del shifts["headers"]
    turns = [("", np.eye(3))]
    for number, axis in enumerate("xyz"):
        for degrees in _TURNS_DEGREES:
            vector = np.deg2rad(degrees) * np.eye(3)[number]
            turns.append(
                (f", turned {degrees:g} degrees about {axis}",
                 Rotation.from_rotvec(vector).as_matrix())
            )  # fmt: skip
    found = [
        (name + turned, turn, shift) for turned, turn in turns for name, shift in shifts.items()
    ]
    if axes is not None and other_axes is not None:
        for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
            turn = other_axes @ np.diag(signs) @ axes.T
            found.append(("principal axes", turn, other_mass - mass))
    return [
        Start(name, to_frame @ _about(turn, mass, shift) @ level.frame)
        for name, turn, shift in found
    ]


def _about(turn: Matrix, centre: Matrix, shift: Matrix) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre + shift - turn @ centre
    return matrix


def _moments(source: Source, voxel_mm: float) -> tuple[Matrix, Matrix | None]:
    """Return the centre of mass in LPS mm and the principal axes, None where they are not distinct.

    Mass is the difference from the intensity at the image's border, which makes
    an inverted image weigh the same.
    """
    points, values, weight = landscape(source, voxel_mm)
    mass = weight * np.abs(values)
    total = mass.sum()
    if not total > 0:
        return points.mean(axis=0), None
    centre = mass @ points / total
    offset = points - centre
    squared, axes = np.linalg.eigh(offset.T @ (mass[:, None] * offset) / total)
    sd = np.sqrt(np.maximum(squared, 0))
    distinct = bool(np.all(sd[1:] > _LEAST_ELONGATION * sd[:-1]))
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    return centre, axes if distinct else None


def _score(
    level: Level, likeness: Likeness, matrix: Matrix, fixed: Source, moving: Source
) -> float:
    """Return the energy; inf where the images hardly overlap."""
    volumes = [
        float(np.prod(source.grid.shape)) * source.grid.voxel_volume_mm3
        for source in (fixed, moving)
    ]
    moved, weight = level.look(matrix)
    if overlap(level, weight) < _LEAST_PART * min(1.0, volumes[1] / volumes[0]):
        return np.inf
    return likeness.energy(moved, weight)

"""Rigid, then affine alignment of two images by Newton steps, on the CPU or a CUDA device.

Mutual information finds the way whatever the contrast and chooses among many starts; the affine
stage then takes the asked measure. Each step solves 6 or 12 equations of all sample points at
once (Levenberg and Marquardt), so that some dozen looks at the images reach the minimum. Points
lie on a lattice: nothing is random.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import ConvergenceError
from pipeline.registration.engine import Trace
from pipeline.registration.torch_levels import Level, Source, make_level, prepare, smallest_voxel
from pipeline.registration.torch_likeness import Correlation, Likeness, MutualInformation
from pipeline.registration.torch_newton import Kind, overlap, refine
from pipeline.registration.torch_starts import best_start
from pipeline.types import Mask3D, Volume

if TYPE_CHECKING:
    from pipeline.registration.engine import AffineMetric

Matrix = npt.NDArray[np.float64]

_LOG = logging.getLogger(__name__)

#: Sample points of the coarsest and the finest level.
_COARSE_POINTS, _FINE_POINTS = 6_000, 200_000
#: Most points of the moving image's lattice at a level, before it is made finer.
_MOVING_POINTS = 500_000
#: Level, kind of map, and the part of a voxel below which a step ends the stage.
_STAGES: tuple[tuple[int, Kind, float], ...] = (
    (0, "rigid", 0.02),
    (1, "rigid", 0.02),
    (1, "affine", 0.02),
    (2, "affine", 0.002),
)
_MOST_STEPS = 40
#: An affine map that stretches or shrinks by more than this has lost its way.
_MOST_STRETCH = 2.0
_LEAST_OVERLAP = 0.05


@dataclass(frozen=True, eq=False)
class Alignment:
    """The affine map of a pair.

    Attributes
    ----------
    matrix : (4, 4) array
        Fixed point to moving point, LPS mm.
    log : dict
        The start chosen, steps and last energy of each stage; numbers and text only.
    traces : tuple of Trace
        One per stage and level.
    """

    matrix: Matrix
    log: dict[str, Any]
    traces: tuple[Trace, ...]


def align(
    fixed: Volume,
    moving: Volume,
    *,
    device: torch.device,
    metric: "AffineMetric" = "correlation",
    fixed_compare: Mask3D | None = None,
    moving_compare: Mask3D | None = None,
    align_centres: bool = False,
) -> Alignment:
    """Return the affine map from fixed to moving.

    Parameters
    ----------
    fixed, moving : Volume
        Images; any real type, spacing and direction.
    device : torch.device
        Where to compute.
    metric : {"correlation", "mutual-information"}
        What the affine stage maximises; correlation may be negative. The rigid stage always
        takes mutual information.
    fixed_compare, moving_compare : (I, J, K) bool arrays, optional
        Where each image is compared; what lies outside has no part in anything.
    align_centres : bool
        Do not trust the headers' positions: start from the centres.

    Raises
    ------
    ConvergenceError
        If the images do not overlap, or the map found cannot be one of the same body.
    EmptyRegionError
        When a mask has no voxel.
    """
    here = prepare(fixed, fixed_compare, device)
    there = prepare(moving, moving_compare, device)
    sizes = _level_sizes(here, there)
    level = make_level(here, there, sizes[0])
    start = best_start(
        here, there, level, MutualInformation(level.fixed), align_centres=align_centres
    )
    _LOG.info("start from %s", start.name)
    matrix, traces = start.matrix, []
    for number, kind, small_step in _STAGES:
        if sizes[number] != level.voxel_mm:
            level = make_level(here, there, sizes[number])
        matrix, trace = refine(
            level,
            _likeness(level, kind, metric),
            matrix,
            kind,
            small_step=small_step,
            most_steps=_MOST_STEPS,
        )
        _LOG.info("%s, %.3g mm: %d steps, %s", kind, level.voxel_mm, len(trace.energy) - 1,
                  trace.stopped)  # fmt: skip
        traces.append(trace)
    _check(level, matrix)
    world = level.frame @ matrix @ np.linalg.inv(level.frame)
    return Alignment(world, {"start": start.name, **_summary(traces)}, tuple(traces))


def _level_sizes(fixed: Source, moving: Source) -> tuple[float, float, float]:
    """Return voxel sizes in mm, coarse to fine in even steps."""
    fine = max(
        smallest_voxel(fixed.grid, _FINE_POINTS), smallest_voxel(moving.grid, _MOVING_POINTS)
    )
    coarse = max(fine, smallest_voxel(fixed.grid, _COARSE_POINTS))
    return coarse, float(np.sqrt(coarse * fine)), fine


def _likeness(level: Level, kind: Kind, metric: "AffineMetric") -> Likeness:
    if kind == "rigid" or metric == "mutual-information":
        return MutualInformation(level.fixed)
    return Correlation(level.fixed)


def _check(level: Level, matrix: Matrix) -> None:
    stretch = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    shown = overlap(level, level.look(matrix)[1])
    if stretch.max() > _MOST_STRETCH or stretch.min() < 1 / _MOST_STRETCH:
        problem = f"it stretches by {stretch.max():.2g} and shrinks by {stretch.min():.2g}"
    elif shown < _LEAST_OVERLAP:
        problem = f"only {shown:.0%} of the fixed image lies inside the moving one"
    else:
        return
    raise ConvergenceError(
        f"the rigid and affine stage failed ({problem}); check that both images show the same "
        "part of the body and that the masks of where to compare, if any, keep its outlines, or "
        "start from the centres with --align-centres"
    )


def _summary(traces: list[Trace]) -> dict[str, Any]:
    log: dict[str, Any] = {}
    for stage in ("rigid", "affine"):
        own = [trace for trace in traces if trace.stage == stage]
        log[f"{stage}_steps"] = sum(len(trace.energy) - 1 for trace in own)
        log[f"{stage}_energy"] = own[-1].energy[-1]
        log[f"{stage}_stopped"] = own[-1].stopped
    return log

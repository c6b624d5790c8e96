"""What a registration engine takes and gives, and what is measured whatever the engine.

An engine only estimates the map. The checks at the door, the inverse, the Jacobian and the
quality measures are the same for all, so that a new engine is one entry in `ENGINES`.
"""

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from pipeline.errors import SettingsError
from pipeline.registration.checks import check_pair
from pipeline.registration.fields import invert
from pipeline.registration.jacobian import jacobian_map
from pipeline.registration.quality import inverse_consistency, measure
from pipeline.types import DisplacementField, Volume

Deformable = Literal["auto", "diffeomorphic", "bspline", "demons", "none"]
AffineMetric = Literal["correlation", "mutual-information"]
Metric = Literal["ssd", "lncc", "mi"]
Device = Literal["auto", "cpu", "cuda"]

_LOG = logging.getLogger(__name__)

#: name -> module with a function `estimate(pair, settings)`. Loaded when first asked for.
ENGINES: dict[str, str] = {
    "simpleitk": "pipeline.registration.simpleitk_engine",
    "torch": "pipeline.registration.torch_engine",
}


@dataclass(frozen=True)
class RegistrationSettings:
    """What was asked for.

    Attributes
    ----------
    deformable : {"auto", "diffeomorphic", "bspline", "demons", "none"}
        Kind of deformable stage after the affine one; "auto" is the engine's own first choice:
        diffeomorphic for torch, bspline for simpleitk.
    metric : {"lncc", "ssd", "mi"}
        What the torch engine's deformable stage compares: intensities matched in a window (local
        normalised cross-correlation), matched by one line, or mutual information.
    device : {"auto", "cpu", "cuda"}
        Where the torch engine computes.
    affine_metric : {"correlation", "mutual-information"}
        What the affine stage maximises; mutual information for images of other contrast.
    grid_mm : float, optional
        Distance of the spline's coefficients on the finest level; the engine's own where None:
        6 mm or three voxels, whichever is more, for torch; 8 mm for simpleitk.
    bending_mm : float, optional
        Weight of bending on the finest level, as a length: more gives a smoother map. Its square
        is three times more on each coarser one. Torch: up to 2.5 times more where a coarser level
        leaves much unexplained. The engine's own where None: 1 for torch, 0.55 for simpleitk.
    robust_per_mm : float
        Torch: bending |D2 v| beyond which more bending costs hardly more, so that a lesion is free
        to change volume while noise moves nothing. On a lattice of 6 mm; on others it is less as
        the knots are farther apart, and so the same strain from knot to knot.
    match_window_mm : float
        SD of the window in which intensities are matched on the last pass.
    reach_mm : float
        How far a deformation reaches into matter without contrast.
    most_voxels : int
        Larger images are estimated on a coarser grid of at most so many points.
    compare_within : {"image", "mask"}
        Compare everywhere, or only in the fixed mask and `mask_margin_mm` around it.
    mask_margin_mm : float
        See `compare_within`.
    align_centres : bool
        Accept images whose headers put them in different places; start from their centres.
    inverse_consistency : bool
        Register a second time with fixed and moving swapped, and measure the disagreement.
    seed : int
        Seed of the sample points of the affine stage.
    """

    deformable: Deformable = "auto"
    metric: Metric = "lncc"
    device: Device = "auto"
    affine_metric: AffineMetric = "correlation"
    grid_mm: float | None = None
    bending_mm: float | None = None
    robust_per_mm: float = 0.010
    match_window_mm: float = 5.0
    reach_mm: float = 20.0
    most_voxels: int = 2_000_000
    compare_within: Literal["image", "mask"] = "image"
    mask_margin_mm: float = 10.0
    align_centres: bool = False
    inverse_consistency: bool = True
    seed: int = 20210322

    def __post_init__(self) -> None:
        for name in ("grid_mm", "bending_mm", "robust_per_mm", "match_window_mm", "reach_mm",
                     "most_voxels"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise SettingsError(f"{name} is {value}: it must be above 0")
        for name, allowed in (
            ("deformable", get_args(Deformable)),
            ("affine_metric", get_args(AffineMetric)),
            ("metric", get_args(Metric)),
            ("device", get_args(Device)),
            ("compare_within", ("image", "mask")),
        ):
            if getattr(self, name) not in allowed:
                raise SettingsError(
                    f"{name} {getattr(self, name)!r}: use one of {', '.join(allowed)}"
                )


@dataclass(frozen=True, eq=False)
class Pair:
    """Two checked images; every mask lies on its own image's grid.

    Attributes
    ----------
    fixed, moving : Volume
        The images.
    fixed_mask, moving_mask : Volume, optional
        Regions of interest: what the Jacobian is reported in.
    fixed_compare, moving_compare : Volume, optional
        Where the images are compared (above 0); what lies outside steers nothing, so that a
        lesion that one image does not have is not forced to match.
    """

    fixed: Volume
    moving: Volume
    fixed_mask: Volume | None = None
    moving_mask: Volume | None = None
    fixed_compare: Volume | None = None
    moving_compare: Volume | None = None

    def swapped(self) -> "Pair":
        """Return the pair with the roles exchanged."""
        return Pair(
            self.moving,
            self.fixed,
            self.moving_mask,
            self.fixed_mask,
            self.moving_compare,
            self.fixed_compare,
        )


@dataclass(frozen=True)
class Trace:
    """How one level of a stage went, for the log and the convergence plot.

    Attributes
    ----------
    stage : str
        "rigid", "affine" or "deformable".
    voxel_mm : float
        Distance of the sample points.
    energy : tuple of floats
        What is minimised, after each step; the first is before any.
    stopped : str
        Why it ended, e.g. "converged" or "30 steps".
    """

    stage: str
    voxel_mm: float
    energy: tuple[float, ...]
    stopped: str


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an engine gives.

    Attributes
    ----------
    affine : (4, 4) array
        Fixed point to moving point, LPS mm.
    displacement : DisplacementField
        The whole map x -> x + u(x) on the fixed grid, affine part included.
    log : mapping
        Iterations and stop reasons; numbers and text only.
    warnings : tuple of str
        What the user should know.
    traces : tuple of Trace
        Coarse to fine, stage after stage; empty where the engine does not tell.
    """

    affine: npt.NDArray[np.float64]
    displacement: DisplacementField
    log: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    traces: tuple[Trace, ...] = ()


class Engine(Protocol):
    """Estimates the map of a pair."""

    def __call__(self, pair: Pair, settings: RegistrationSettings) -> Estimate:
        """Return the map; deterministic for the same pair, settings and threads."""


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """The map of a pair, its inverse, and how good it is.

    Attributes
    ----------
    affine : (4, 4) array
        Fixed point to moving point, LPS mm.
    displacement : DisplacementField
        Fixed to moving, on the fixed grid, affine part included.
    inverse : DisplacementField
        Moving to fixed, on the moving grid: the numeric inverse of `displacement`.
    jacobian : Volume
        Moving volume over fixed volume on the fixed grid, as found: not clipped.
    metrics : mapping
        Numbers, text and lists for `metrics.json`.
    consistency : Volume or None
        Distance in mm between each fixed point and itself there and back through the map found
        the other way round; None when that was not asked for.
    traces : tuple of Trace
        See `Estimate`.
    """

    affine: npt.NDArray[np.float64]
    displacement: DisplacementField
    inverse: DisplacementField
    jacobian: Volume
    metrics: Mapping[str, Any]
    consistency: Volume | None = None
    traces: tuple[Trace, ...] = ()


def load_engine(name: str) -> Engine:
    """Return an engine by name.

    Raises
    ------
    SettingsError
        When there is none of that name.
    """
    if name not in ENGINES:
        raise SettingsError(f"engine {name!r}: there is {', '.join(sorted(ENGINES))}")
    engine: Engine = importlib.import_module(ENGINES[name]).estimate
    return engine


def register(
    fixed: Volume,
    moving: Volume,
    *,
    engine: str = "torch",
    settings: RegistrationSettings | None = None,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    fixed_compare: Volume | None = None,
    moving_compare: Volume | None = None,
) -> RegistrationResult:
    """Find the map from the fixed image to the moving image.

    Parameters
    ----------
    fixed, moving : Volume
        3-D images of any grid, spacing and direction.
    engine : str
        Key of `ENGINES`.
    settings : RegistrationSettings, optional
        Defaults are the study's.
    fixed_mask, moving_mask : Volume, optional
        Region of interest on each image's own grid: the Jacobian is reported inside the fixed
        one and compared with the ratio of the two volumes. They steer the estimate only with
        ``settings.compare_within = "mask"``.
    fixed_compare, moving_compare : Volume, optional
        See `Pair`.

    Raises
    ------
    GeometryError, ImageError, EmptyRegionError
        2-D, constant or not finite images, no overlap, masks off their image's grid.
    """
    chosen = settings or RegistrationSettings()
    estimate = load_engine(engine)
    pair = Pair(fixed, moving, fixed_mask, moving_mask, fixed_compare, moving_compare)
    check_pair(pair, chosen)
    found = estimate(pair, chosen)
    _LOG.info("inverting the field")
    inverse = invert(found.displacement, moving.grid)
    jacobian = jacobian_map(found.displacement)
    metrics = measure(pair, found, inverse, jacobian)
    consistency = None
    if chosen.inverse_consistency:
        _LOG.info("registering once more with fixed and moving swapped")
        swapped = estimate(pair.swapped(), chosen)
        consistency, numbers = inverse_consistency(fixed, found.displacement, swapped.displacement)
        metrics |= numbers
    record = {"engine": engine, "deformable": chosen.deformable, **metrics, **found.log}
    record["stages"] = [
        {
            "stage": trace.stage,
            "voxel_mm": trace.voxel_mm,
            "steps": len(trace.energy) - 1,
            "energy_first": trace.energy[0],
            "energy_last": trace.energy[-1],
            "stopped": trace.stopped,
        }
        for trace in found.traces
    ]
    record["warnings"] = [*found.warnings, *metrics.get("warnings", [])]
    return RegistrationResult(
        found.affine, found.displacement, inverse.field, jacobian, record, consistency, found.traces
    )

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

Deformable = Literal["bspline", "demons", "none"]
AffineMetric = Literal["correlation", "mutual-information"]

_LOG = logging.getLogger(__name__)

#: name -> module with a function `estimate(pair, settings)`. Loaded when first asked for.
ENGINES: dict[str, str] = {"simpleitk": "pipeline.registration.simpleitk_engine"}


@dataclass(frozen=True)
class RegistrationSettings:
    """What was asked for.

    Attributes
    ----------
    deformable : {"bspline", "demons", "none"}
        Kind of deformable stage after the affine one.
    affine_metric : {"correlation", "mutual-information"}
        What the affine stage maximises; mutual information for images of other contrast.
    grid_mm : float
        Distance of the B-spline's coefficients on the finest level.
    bending_mm2 : float
        Weight of bending on the last pass; three times more on each coarser one.
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

    deformable: Deformable = "bspline"
    affine_metric: AffineMetric = "correlation"
    grid_mm: float = 8.0
    bending_mm2: float = 0.3
    match_window_mm: float = 5.0
    reach_mm: float = 20.0
    most_voxels: int = 1_200_000
    compare_within: Literal["image", "mask"] = "image"
    mask_margin_mm: float = 10.0
    align_centres: bool = False
    inverse_consistency: bool = True
    seed: int = 20210322

    def __post_init__(self) -> None:
        for name in ("grid_mm", "bending_mm2", "match_window_mm", "reach_mm", "most_voxels"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise SettingsError(f"{name} is {value}: it must be above 0")
        for name, allowed in (
            ("deformable", get_args(Deformable)),
            ("affine_metric", get_args(AffineMetric)),
            ("compare_within", ("image", "mask")),
        ):
            if getattr(self, name) not in allowed:
                raise SettingsError(
                    f"{name} {getattr(self, name)!r}: use one of {', '.join(allowed)}"
                )


@dataclass(frozen=True, eq=False)
class Pair:
    """Two checked images; masks are regions of interest on their own image's grid."""

    fixed: Volume
    moving: Volume
    fixed_mask: Volume | None = None
    moving_mask: Volume | None = None

    def swapped(self) -> "Pair":
        """Return the pair with the roles exchanged."""
        return Pair(self.moving, self.fixed, self.moving_mask, self.fixed_mask)


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
    """

    affine: npt.NDArray[np.float64]
    displacement: DisplacementField
    log: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


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
    """

    affine: npt.NDArray[np.float64]
    displacement: DisplacementField
    inverse: DisplacementField
    jacobian: Volume
    metrics: Mapping[str, Any]


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
    engine: str = "simpleitk",
    settings: RegistrationSettings | None = None,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
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

    Raises
    ------
    GeometryError, ImageError, EmptyRegionError
        2-D, constant or not finite images, no overlap, masks off their image's grid.
    """
    chosen = settings or RegistrationSettings()
    estimate = load_engine(engine)
    pair = Pair(fixed, moving, fixed_mask, moving_mask)
    check_pair(pair, chosen)
    found = estimate(pair, chosen)
    _LOG.info("inverting the field")
    inverse = invert(found.displacement, moving.grid)
    jacobian = jacobian_map(found.displacement)
    metrics = measure(pair, found, inverse, jacobian)
    if chosen.inverse_consistency:
        _LOG.info("registering once more with fixed and moving swapped")
        swapped = estimate(pair.swapped(), chosen)
        metrics |= inverse_consistency(fixed, found.displacement, swapped.displacement)
    record = {"engine": engine, "deformable": chosen.deformable, **metrics, **found.log}
    record["warnings"] = [*found.warnings, *metrics.get("warnings", [])]
    return RegistrationResult(found.affine, found.displacement, inverse.field, jacobian, record)

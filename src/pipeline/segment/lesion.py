"""The lesion of one visit: its seed, its region, and whether there is one at all."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.errors import EmptyRegionError
from pipeline.geometry import index_to_world
from pipeline.preprocess.checks import region_of
from pipeline.segment.feature import feature_of
from pipeline.segment.options import FeatureKind, LesionOptions
from pipeline.segment.postprocess import StepSize
from pipeline.segment.region import Region, find_region
from pipeline.segment.seed import Index, blob_peak, seed_voxel
from pipeline.types import Geometry, Mask3D, Series, Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LesionRecord:
    """How a mask came about.

    Attributes
    ----------
    status : {"found", "empty"}
        Whether there is a lesion.
    reason : str
        Why not; empty when there is one.
    feature : {"enhancement", "intensity"}
        What was clustered.
    phase, phase_time_s : int, float or None
        Time point of a series and its time.
    seed_source : {"given", "peak"}
        Where the seed comes from.
    seed_mm : (3,) floats or None
        Centre of the seed voxel in LPS mm; None when no peak was found.
    contrast, enhancement : float or None
        What `LesionOptions` sets minimums for; None where they do not apply.
    clusters : int
        Number of clusters that gave the region.
    centres : floats
        Their centres in the last pass, in units of the image.
    passes, iterations : int
        How often the region was looked at afresh; updates of the clusters in the last pass.
    converged : bool
        Whether the region settled and the clusters met their tolerance.
    touches_box : bool
        Whether the region reaches the seed box: the lesion may go on beyond.
    steps : StepSizes
        Size after each step of the last pass.
    """

    status: Literal["found", "empty"]
    reason: str
    feature: FeatureKind
    phase: int | None
    phase_time_s: float | None
    seed_source: Literal["given", "peak"]
    seed_mm: tuple[float, float, float] | None
    contrast: float | None = None
    enhancement: float | None = None
    clusters: int = 0
    centres: tuple[float, ...] = ()
    passes: int = 0
    iterations: int = 0
    converged: bool = False
    touches_box: bool = False
    steps: tuple[StepSize, ...] = ()


def segment_lesion(
    image: Series | Volume,
    *,
    seed_mm: Sequence[float] | None = None,
    within: Mask3D | None = None,
    options: LesionOptions | None = None,
) -> tuple[Mask3D, LesionRecord]:
    """Return the mask of the lesion at a seed, or of the most conspicuous one.

    Parameters
    ----------
    image : Series or Volume
        A contrast series (its enhancement is clustered), or one image with a bright lesion.
    seed_mm : (3,) floats, optional
        LPS point in mm in or near the lesion; a shrinking lesion stays near where it was.
        Default: the most blob-like bright place.
    within : (I, J, K) bool array, optional
        Where the lesion may lie, such as the breast.
    options : LesionOptions, optional
        How it is looked for.

    Returns
    -------
    mask : (I, J, K) bool array
        The lesion; empty when there is none.
    record : LesionRecord
        How it came about. ``status`` is "empty", with the reason, when nothing bright lies
        near the seed, or the region is too small or stands out too little: a complete
        response leaves no lesion, and a random piece of gland must not pass for one.

    Raises
    ------
    SettingsError
        If an option is out of range, or the series has no image before and after contrast.
    GeometryError
        If the seed lies outside the grid, or `within` on another grid.
    ImageError
        If the image has voxels that are not finite.
    EmptyRegionError
        If `within` holds no voxel.
    """
    options = options or LesionOptions()
    feature = feature_of(image, options)
    grid = image.grid
    allowed = region_of(within, grid.shape, "segmentation")
    seed = None if seed_mm is None else seed_voxel(grid, seed_mm)
    region: Region | None = None
    enhancement: float | None = None
    reason = ""
    try:
        if seed is None:
            seed = blob_peak(feature.data, grid, within)
        region = find_region(
            feature.data, grid, allowed, seed, options, thin=seed_mm is not None
        )  # fmt: skip
        enhancement = feature.relative_enhancement(region.mask)
        _check_lesion(region, enhancement, grid, options)
    except EmptyRegionError as error:
        reason = str(error)
    record = LesionRecord(
        status="empty" if reason else "found",
        reason=reason,
        feature=feature.kind,
        phase=feature.phase,
        phase_time_s=feature.phase_time_s,
        seed_source="peak" if seed_mm is None else "given",
        seed_mm=None if seed is None else _centre_mm(grid, seed),
        enhancement=enhancement,
        **_how(region),
    )
    _report(record, options)
    if region is None or reason:
        return np.zeros(grid.shape, dtype=np.bool_), record
    return region.mask, record


def _check_lesion(
    region: Region, enhancement: float | None, grid: Geometry, options: LesionOptions
) -> None:
    """Raise EmptyRegionError unless the region can pass for a lesion."""
    volume = float(np.count_nonzero(region.mask)) * grid.voxel_volume_mm3
    if volume < options.minimum_mm3:
        raise EmptyRegionError(
            f"the region at the seed has {volume:.1f} mm3, less than {options.minimum_mm3:g} "
            "(--minimum-mm3)"
        )
    if enhancement is not None and enhancement < options.minimum_enhancement:
        raise EmptyRegionError(
            f"the region at the seed enhances by {enhancement:.2f} of its S0, less than "
            f"{options.minimum_enhancement:g} (--minimum-enhancement)"
        )
    if region.contrast is not None and region.contrast < options.minimum_contrast:
        raise EmptyRegionError(
            f"the region at the seed stands out from its surroundings by {region.contrast:.2f} "
            f"of the step, less than {options.minimum_contrast:g} (--minimum-contrast)"
        )


def _how(region: Region | None) -> dict[str, Any]:
    if region is None:
        return {}
    return {
        "contrast": region.contrast,
        "clusters": len(region.clusters.centres),
        "centres": tuple(float(v) for v in region.clusters.centres[:, 0]),
        "passes": region.passes,
        "iterations": region.clusters.iterations,
        "converged": region.settled and region.clusters.converged,
        "touches_box": region.touches_box,
        "steps": region.steps,
    }


def _report(record: LesionRecord, options: LesionOptions) -> None:
    for step in record.steps:
        log.info("%s: %d voxels, %.1f mm3", step.step, step.voxels, step.volume_mm3)
    if record.status == "empty":
        log.info("no lesion: %s", record.reason)
        return
    if record.touches_box:
        log.warning(
            "the region reaches the box of %g mm round the seed; if the lesion goes on, raise "
            "--seed-box-mm", options.seed_box_mm,
        )  # fmt: skip
    if not record.converged:
        log.warning("the region still changed after %d passes", record.passes)


def _centre_mm(grid: Geometry, voxel: Index) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 3) for v in index_to_world(grid, voxel))
    return x, y, z

"""The lesion of one image: seed, spatial fuzzy C-means, region, and whether there is one at all."""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import EmptyRegionError, SettingsError
from pipeline.geometry import index_to_world
from pipeline.preprocess.checks import check_finite, region_of
from pipeline.preprocess.dce import choose_phase, pre_contrast_index
from pipeline.segment.fcm import FuzzyClusters, spatial_fcm
from pipeline.segment.postprocess import (
    StepSize,
    box_round,
    component_at,
    fill_holes,
    open_by_ball,
    step_size,
    within_mm,
)
from pipeline.segment.seed import Index, blob_peak, seed_box, seed_voxel
from pipeline.types import Geometry, Mask3D, Series, Volume

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

#: Edge of the first box round the seed. Small, so that a small lesion is not drowned in gland;
#: the region that is found then widens or narrows what is looked at.
_FIRST_BOX_MM = 30.0
#: What is looked at next: the region and its surroundings, to this margin plus this share of
#: the radius of a ball of the region's volume.
_MARGIN_MM = 6.0
_MARGIN_OF_RADIUS = 0.7
_MOST_PASSES = 8
#: Width of the Gaussian that tells the brightness at the seed: vessels blur away, lesions stay.
_CEILING_BLUR_MM = 2.0
#: A region of which no more than this share changed has settled.
_SAME_REGION = 1e-3
#: A larger region may stand out by this much less and still be taken: its edge is the softer.
_SAME_CONTRAST = 0.02
#: The surroundings that a region is compared with begin and end this far from it. The gap
#: leaves out voxels that are part lesion.
_SURROUND_MM = (2.5, 8.0)


@dataclass(frozen=True)
class LesionOptions:
    """How a lesion is looked for.

    Attributes
    ----------
    phase : int, optional
        Time point of a series, counted from 0. Default: the one nearest to `phase_time_s`.
    phase_time_s : float
        Seconds after injection.
    clusters, fuzzifier, membership_power, spatial_power
        As in `pipeline.segment.fcm.spatial_fcm`.
    seed_box_mm : float
        Edge of the box round the seed that the lesion cannot leave.
    seed_reach_mm : float
        A seed beside the lesion takes the nearest foreground within this distance.
    opening_mm : float
        Attachments thinner than twice this go; 0 leaves them.
    fill_planes : bool
        Fill what is enclosed within a plane, besides what is enclosed in space.
    minimum_mm3 : float
        Smaller regions count as no lesion.
    minimum_contrast : float
        Least share of the step from the middle of the surroundings up to the lesion that must
        lie above the brightest tenth of the surroundings. Gland cut out of gland has little.
    minimum_enhancement : float
        Least enhancement of the region over its S0, for a contrast series. Less than 0.5
        is slow in the terms of BI-RADS, and usual in gland.
    """

    phase: int | None = None
    phase_time_s: float = 180.0
    clusters: int = 3
    fuzzifier: float = 2.0
    membership_power: float = 1.0
    spatial_power: float = 1.0
    seed_box_mm: float = 80.0
    seed_reach_mm: float = 10.0
    opening_mm: float = 3.0
    fill_planes: bool = False
    minimum_mm3: float = 100.0
    minimum_contrast: float = 0.4
    minimum_enhancement: float = 0.5


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
        What was clustered: phase - S0 of a series, or the image itself.
    phase, phase_time_s : int, float or None
        Time point of a series and its time.
    seed_source : {"given", "peak"}
        Where the seed comes from.
    seed_mm : (3,) floats or None
        Seed in LPS mm; None when no peak was found.
    passes, iterations : int
        Times that the region was looked at afresh; updates of the clusters in the last pass.
    converged : bool
        Whether the region stopped changing and the clusters met their tolerance.
    centres : floats
        Cluster centres of the last pass, in intensity units.
    contrast, enhancement : float or None
        What `LesionOptions` sets minimums for.
    touches_box : bool
        Whether the region reaches the seed box: it may go on beyond.
    steps : StepSizes
        Size after each step of the last pass.
    """

    status: Literal["found", "empty"]
    reason: str
    feature: Literal["enhancement", "intensity"]
    phase: int | None
    phase_time_s: float | None
    seed_source: Literal["given", "peak"]
    seed_mm: tuple[float, float, float] | None
    passes: int = 0
    iterations: int = 0
    converged: bool = False
    centres: tuple[float, ...] = ()
    contrast: float | None = None
    enhancement: float | None = None
    touches_box: bool = False
    steps: tuple[StepSize, ...] = ()


@dataclass(frozen=True, eq=False)
class _Feature:
    """What is clustered, and what it is."""

    data: Floats
    before: Floats | None
    kind: Literal["enhancement", "intensity"]
    phase: int | None
    time_s: float | None


@dataclass(frozen=True, eq=False)
class _Region:
    """A region on the grid of the image, and how it was found."""

    mask: Mask3D
    clusters: FuzzyClusters
    steps: tuple[StepSize, ...]
    passes: int
    settled: bool
    contrast: float | None
    touches_box: bool = False


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
        LPS point in mm in or near the lesion. Default: the most blob-like bright place.
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
        If the image has voxels that are not finite, or is constant.
    EmptyRegionError
        If `within` holds no voxel.
    """
    options = options or LesionOptions()
    _check_options(options)
    feature = _feature_of(image, options)
    grid = image.grid
    allowed = region_of(within, grid.shape, "--within")
    seed = None if seed_mm is None else seed_voxel(grid, seed_mm)
    mask = np.zeros(grid.shape, dtype=np.bool_)
    found: _Region | None = None
    enhancement: float | None = None
    reason = ""
    try:
        if seed is None:
            seed = blob_peak(feature.data, grid, within)
        found = _find(feature.data, grid, allowed, seed, options, thin=seed_mm is not None)
        enhancement = _relative_enhancement(feature, found.mask)
        _check_lesion(found, enhancement, grid, options)
        mask = found.mask
    except EmptyRegionError as error:
        reason = str(error)
        log.info("no lesion: %s", reason)
    record = LesionRecord(
        status="empty" if reason else "found",
        reason=reason,
        feature=feature.kind,
        phase=feature.phase,
        phase_time_s=feature.time_s,
        seed_source="peak" if seed_mm is None else "given",
        seed_mm=None if seed is None else _centre_mm(grid, seed),
        enhancement=enhancement,
        **_how(found),
    )
    return mask, record


def _feature_of(image: Series | Volume, options: LesionOptions) -> _Feature:
    if isinstance(image, Volume) or image.data.shape[3] == 1:
        data = image.data if isinstance(image, Volume) else image.data[..., 0]
        check_finite(data, "segmentation")
        return _Feature(data.astype(np.float64), None, "intensity", None, None)
    before = pre_contrast_index(image)
    phase = options.phase
    if phase is None:
        phase = choose_phase(image, None, rule="nearest-time", time_s=options.phase_time_s).index
    if not before < phase < len(image.time_s):
        raise SettingsError(
            f"phase {phase} is not after contrast: S0 is time point {before}, the last one is "
            f"{len(image.time_s) - 1}; choose one between, counted from 0"
        )
    check_finite(image.data[..., [before, phase]], "segmentation")
    base = image.data[..., before].astype(np.float64)
    data = image.data[..., phase].astype(np.float64) - base
    return _Feature(data, base, "enhancement", phase, image.time_s[phase])


def _find(
    data: Floats,
    grid: Geometry,
    allowed: Mask3D,
    seed: Index,
    options: LesionOptions,
    *,
    thin: bool,
) -> _Region:
    """Return the region at the seed, cut out of a box round it.

    With the clusters asked for, an uneven lesion may fall into two of them. So the region is
    also found with one cluster fewer, and taken when it is larger and stands out as well: a
    region that leaks into gland stands out less.
    """
    box = seed_box(grid, seed, options.seed_box_mm)
    local = Geometry(data[box].shape, grid.spacing_mm, grid.origin_mm, grid.direction)
    at = tuple(int(i - part.start) for i, part in zip(seed, box, strict=True))
    inside = allowed[box]
    values = _under_ceiling(data[box], inside, at, local.spacing_mm, options.seed_reach_mm)
    found = _follow(values, local, inside, at, options, options.clusters, thin=thin)
    if options.clusters > 2:
        with contextlib.suppress(EmptyRegionError):
            other = _follow(values, local, inside, at, options, options.clusters - 1, thin=thin)
            if _is_better(other, found):
                found = other
    mask = np.zeros(grid.shape, dtype=np.bool_)
    mask[box] = found.mask
    return replace(found, mask=mask, touches_box=_touches(found.mask, box, grid.shape))


def _is_better(other: _Region, found: _Region) -> bool:
    if other.contrast is None or found.contrast is None:
        return False
    larger = np.count_nonzero(other.mask) > np.count_nonzero(found.mask)
    return bool(larger and other.contrast >= found.contrast - _SAME_CONTRAST)


def _follow(
    values: Floats,
    grid: Geometry,
    inside: Mask3D,
    seed: Index,
    options: LesionOptions,
    count: int,
    *,
    thin: bool,
) -> _Region:
    """Cluster round the seed, then round the region found, until the region stays the same."""
    look = np.zeros(grid.shape, dtype=np.bool_)
    look[seed_box(grid, seed, min(_FIRST_BOX_MM, options.seed_box_mm))] = True
    previous: Mask3D | None = None
    settled = False
    centres: Floats | None = None
    for passes in range(1, _MOST_PASSES + 1):
        clusters = _cluster(values, look & inside, options, count, centres)
        centres = clusters.centres
        foreground = (clusters.labels == count - 1) & look & inside
        region, steps = _region_at(foreground, seed, grid, options, thin=thin)
        if previous is not None:
            changed = np.count_nonzero(region ^ previous)
            settled = bool(changed <= _SAME_REGION * np.count_nonzero(region))
        if settled:
            break
        previous = region
        radius = np.cbrt(3.0 * region.sum() * grid.voxel_volume_mm3 / (4.0 * np.pi))
        look = within_mm(region, grid.spacing_mm, _MARGIN_MM + _MARGIN_OF_RADIUS * radius)
    contrast = _contrast(values, region, grid)
    return _Region(region, clusters, steps, passes, settled, contrast)


def _under_ceiling(
    data: Floats,
    inside: Mask3D,
    seed: Index,
    spacing: tuple[float, float, float],
    reach_mm: float,
) -> Floats:
    """Cut intensities off at the brightness near the seed, so that no vessel makes a cluster.

    The brightest cluster is then the one with the highest centre at the seed.
    """
    blurred = ndimage.gaussian_filter(data, _CEILING_BLUR_MM / np.asarray(spacing), mode="nearest")
    point = np.zeros(data.shape, dtype=np.bool_)
    point[seed] = True
    near = within_mm(point, spacing, reach_mm) & inside
    if not near.any():
        raise EmptyRegionError(
            f"the seed lies more than {reach_mm:g} mm outside the region given; move the seed, or "
            "check that both are of one visit"
        )
    return np.asarray(np.minimum(data, blurred[near].max()))


def _cluster(
    values: Floats, look: Mask3D, options: LesionOptions, count: int, start: Floats | None
) -> FuzzyClusters:
    seen = values[look]
    if len(seen) and seen.min() == values.max():
        raise EmptyRegionError(
            "nothing around the seed is darker than the seed; move it into the lesion"
        )
    return spatial_fcm(
        values,
        look,
        clusters=count,
        fuzzifier=options.fuzzifier,
        membership_power=options.membership_power,
        spatial_power=options.spatial_power,
        start=start,
    )


def _region_at(
    foreground: Mask3D, seed: Index, grid: Geometry, options: LesionOptions, *, thin: bool
) -> tuple[Mask3D, tuple[StepSize, ...]]:
    """Return the region of the foreground at the seed, and its size after each step."""
    spacing, reach = grid.spacing_mm, options.seed_reach_mm
    steps = [step_size("brightest cluster", foreground, grid)]
    opened = foreground
    if options.opening_mm > 0:
        opened = open_by_ball(foreground, spacing, radius_mm=options.opening_mm)
        steps.append(step_size("opened", opened, grid))
    try:
        region = component_at(opened, seed, spacing, reach_mm=reach)
        steps.append(step_size("component at the seed", region, grid))
        if not thin and steps[-1].volume_mm3 < options.minimum_mm3:
            raise EmptyRegionError(
                f"the brightest blob is too thin: without what a ball of {options.opening_mm:g} mm "
                f"cannot enter, {steps[-1].volume_mm3:.1f} of {options.minimum_mm3:g} mm3 are left"
            )
        if options.opening_mm > 0:  # give back the edges that the ball could not reach
            region = within_mm(region, spacing, options.opening_mm) & foreground
            steps.append(step_size("edges regained", region, grid))
    except EmptyRegionError:
        if not thin:
            raise
        # too small for the ball, but someone says that a lesion is there
        region = component_at(foreground, seed, spacing, reach_mm=reach)
        steps.append(step_size("component at the seed, not opened", region, grid))
    region = fill_holes(region, planewise=options.fill_planes)
    steps.append(step_size("holes filled", region, grid))
    return region, tuple(steps)


def _contrast(data: Floats, region: Mask3D, grid: Geometry) -> float | None:
    """Return (median inside - 90th percentile around) / (median inside - median around).

    None when nothing lies around: the region fills what was given.
    """
    gap, end = _SURROUND_MM
    box = box_round(region, grid.spacing_mm, end)
    part = region[box]
    around = within_mm(part, grid.spacing_mm, end) & ~within_mm(part, grid.spacing_mm, gap)
    if not around.any():
        return None
    middle, bright = np.quantile(data[box][around], [0.5, 0.9])
    lesion = float(np.median(data[region]))
    return float((lesion - bright) / (lesion - middle)) if lesion > middle else 0.0


def _relative_enhancement(feature: _Feature, region: Mask3D) -> float | None:
    """Return the mean enhancement over the mean S0 of the region; None for a single image."""
    if feature.before is None:
        return None
    base = float(feature.before[region].mean())
    return float(feature.data[region].mean()) / base if base > 0 else float("inf")


def _check_lesion(
    found: _Region, enhancement: float | None, grid: Geometry, options: LesionOptions
) -> None:
    volume = float(np.count_nonzero(found.mask)) * grid.voxel_volume_mm3
    contrast = found.contrast
    if volume < options.minimum_mm3:
        raise EmptyRegionError(
            f"the region at the seed has {volume:.1f} mm3, less than {options.minimum_mm3:g} mm3 "
            "(--minimum-mm3)"
        )
    if enhancement is not None and enhancement < options.minimum_enhancement:
        raise EmptyRegionError(
            f"the region at the seed enhances by {enhancement:.2f} of its S0, less than "
            f"{options.minimum_enhancement:g} (--minimum-enhancement)"
        )
    if contrast is not None and contrast < options.minimum_contrast:
        raise EmptyRegionError(
            f"the region at the seed stands out from its surroundings by {contrast:.2f} of the "
            f"step, less than {options.minimum_contrast:g} (--minimum-contrast)"
        )


def _touches(region: Mask3D, box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Tell whether the region reaches a face of the box that is not the border of the image."""
    for axis, (part, size) in enumerate(zip(box, shape, strict=True)):
        faces = np.moveaxis(region, axis, 0)
        if (part.start > 0 and faces[0].any()) or (part.stop < size and faces[-1].any()):
            return True
    return False


def _how(found: _Region | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "passes": found.passes,
        "iterations": found.clusters.iterations,
        "converged": found.settled and found.clusters.converged,
        "centres": tuple(float(v) for v in found.clusters.centres[:, 0]),
        "contrast": found.contrast,
        "touches_box": found.touches_box,
        "steps": found.steps,
    }


def _centre_mm(grid: Geometry, voxel: Index) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 3) for v in index_to_world(grid, voxel))
    return x, y, z


def _check_options(options: LesionOptions) -> None:
    positive = ("seed_box_mm", "seed_reach_mm")
    problems = [
        f"{name} is {getattr(options, name):g}, must be above 0"
        for name in positive
        if not getattr(options, name) > 0
    ]
    problems += [
        f"{name} is {getattr(options, name):g}, must be 0 or more"
        for name in ("opening_mm", "minimum_mm3")
        if not getattr(options, name) >= 0
    ]
    if problems:
        raise SettingsError("segmentation: " + "; ".join(problems))

"""The region at a seed: clusters in its neighbourhood, the component, its edge and its holes."""

import contextlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import EmptyRegionError
from pipeline.segment.fcm import FuzzyClusters, spatial_fcm
from pipeline.segment.options import LesionOptions
from pipeline.segment.postprocess import (
    StepSize,
    box_round,
    component_at,
    fill_holes,
    open_by_ball,
    regain_edges,
    roundness,
    step_size,
    within_mm,
)
from pipeline.segment.seed import Index, seed_box
from pipeline.types import Geometry, Mask3D

Floats = npt.NDArray[np.float64]

#: Edge of the first box round the seed. Small, so that a small lesion is not drowned in gland;
#: the region that is found then widens or narrows what is looked at.
_FIRST_BOX_MM = 30.0
#: What is looked at next: the region and its surroundings, to this margin plus this share of
#: the radius of a ball of the region's volume.
_MARGIN_MM = 6.0
_MARGIN_OF_RADIUS = 0.7
_MOST_PASSES = 8
#: A region of which no more than this share changed has settled.
_SAME_REGION = 1e-3
#: A larger region may stand out by this much less and still be taken: its edge is the softer.
_SAME_CONTRAST = 0.02
#: Width of the Gaussian that tells the brightness at the seed: vessels blur away, lesions stay.
_CEILING_BLUR_MM = 2.0
#: A region with hardly a core must be this round to be a small lesion; a vessel is below 0.05.
_ROUND = 0.2
#: The surroundings that a region is compared with begin and end this far from it. The gap
#: leaves out voxels that are part lesion.
_SURROUND_MM = (2.5, 8.0)


@dataclass(frozen=True, eq=False)
class Region:
    """A region, and how it was found.

    Attributes
    ----------
    mask : (I, J, K) bool array
        The region.
    contrast : float or None
        How much it stands out, see `contrast_of`.
    clusters : FuzzyClusters
        Of the last pass.
    steps : StepSizes
        Size after each step of the last pass.
    passes : int
        How often the clusters were made.
    settled : bool
        Whether the region stopped changing.
    touches_box : bool
        Whether it reaches the seed box, beyond which nobody looked.
    """

    mask: Mask3D
    contrast: float | None
    clusters: FuzzyClusters
    steps: tuple[StepSize, ...]
    passes: int
    settled: bool
    touches_box: bool = False


@dataclass(frozen=True, eq=False)
class _Search:
    """What stays the same while the region is followed, on the grid of the seed box."""

    values: Floats
    grid: Geometry
    inside: Mask3D
    seed: Index
    options: LesionOptions
    thin: bool


def find_region(
    data: Floats,
    grid: Geometry,
    allowed: Mask3D,
    seed: Index,
    options: LesionOptions,
    *,
    thin: bool = True,
) -> Region:
    """Return the bright region at a seed, cut out of a box round it.

    Parameters
    ----------
    data : (I, J, K) float array
        Image whose bright places are lesion.
    grid : Geometry
        Its grid.
    allowed : (I, J, K) bool array
        Where the region may lie.
    seed : ijk
        Seed voxel.
    options : LesionOptions
        How it is looked for.
    thin : bool
        Accept a round region of less than ``options.minimum_mm3`` where a ball of
        ``options.opening_mm`` fits in: a small lesion, where someone says that one is.

    Returns
    -------
    Region
        On `grid`.

    Raises
    ------
    EmptyRegionError
        If nothing bright lies within reach of the seed, or only a vessel.

    Notes
    -----
    Clusters are made in a small box, then again round the region that they gave, until it
    settles: the share of lesion in what is clustered is then much the same whatever its size,
    and fuzzy C-means, which favours clusters of like size, stays fair to a small one.

    An uneven lesion may still fall into two clusters. So the region is also found with one
    cluster fewer, and that one taken when it is larger and stands out as well. A region that
    leaks into gland stands out less.
    """
    box = seed_box(grid, seed, options.seed_box_mm)
    local = Geometry(data[box].shape, grid.spacing_mm, grid.origin_mm, grid.direction)
    at = (seed[0] - box[0].start, seed[1] - box[1].start, seed[2] - box[2].start)
    inside = allowed[box]
    values = _under_ceiling(data[box], inside, at, local.spacing_mm, options.seed_reach_mm)
    search = _Search(values, local, inside, at, options, thin)
    found = _follow(search, options.clusters)
    if options.clusters > 2:
        with contextlib.suppress(EmptyRegionError):
            other = _follow(search, options.clusters - 1)
            found = other if _is_better(other, found) else found
    mask = np.zeros(grid.shape, dtype=np.bool_)
    mask[box] = found.mask
    return replace(found, mask=mask, touches_box=_touches(found.mask, box, grid.shape))


def contrast_of(
    data: Floats, region: Mask3D, grid: Geometry, allowed: Mask3D | None = None
) -> float | None:
    """Return how much a region stands out: 1 from even surroundings, 0 from equally bright ones.

    (median inside - 90th percentile around) / (median inside - median around), around being
    2.5 to 8 mm away (and in `allowed`, where given). Neither scale nor offset of the
    intensities matters. None when nothing lies around.
    """
    gap, end = _SURROUND_MM
    box = box_round(region, grid.spacing_mm, end)
    part = region[box]
    around = within_mm(part, grid.spacing_mm, end) & ~within_mm(part, grid.spacing_mm, gap)
    if allowed is not None:
        around &= allowed[box]
    if not around.any():
        return None
    middle, bright = np.quantile(data[box][around], [0.5, 0.9])
    lesion = float(np.median(data[region]))
    return float((lesion - bright) / (lesion - middle)) if lesion > middle else 0.0


def _is_better(other: Region, found: Region) -> bool:
    if other.contrast is None or found.contrast is None:
        return False
    larger = np.count_nonzero(other.mask) > np.count_nonzero(found.mask)
    return bool(larger and other.contrast >= found.contrast - _SAME_CONTRAST)


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


def _follow(search: _Search, clusters: int) -> Region:
    """Cluster round the seed, then round the region found, until the region settles."""
    grid, spacing = search.grid, search.grid.spacing_mm
    look = np.zeros(grid.shape, dtype=np.bool_)
    look[seed_box(grid, search.seed, min(_FIRST_BOX_MM, search.options.seed_box_mm))] = True
    clusters = min(clusters, _count_distinct(search.values[look & search.inside]))
    found = _look_at(search, look, clusters)
    while not found.settled and found.passes < _MOST_PASSES:
        radius = np.cbrt(3.0 * found.mask.sum() * grid.voxel_volume_mm3 / (4.0 * np.pi))
        look = within_mm(found.mask, spacing, _MARGIN_MM + _MARGIN_OF_RADIUS * radius)
        found = _look_at(search, look, clusters, found)
    return replace(found, contrast=_best_contrast(search, found.mask))


def _best_contrast(search: _Search, mask: Mask3D) -> float | None:
    """Return the contrast to what lies around, or to what lies around where it is allowed.

    A tight organ mask leaves little but lesion around it inside; outside may lie the heart, or
    the rest of a lesion that the mask cuts off. A lesion stands out from either.
    """
    anywhere = contrast_of(search.values, mask, search.grid)
    allowed = contrast_of(search.values, mask, search.grid, search.inside)
    found = [value for value in (anywhere, allowed) if value is not None]
    return max(found, default=None)


def _look_at(
    search: _Search, look: Mask3D, clusters: int, previous: Region | None = None
) -> Region:
    """Cluster what is looked at, from the centres of the pass before, and take the region."""
    options, where = search.options, look & search.inside
    fuzzy = spatial_fcm(
        search.values, where, clusters=clusters, fuzzifier=options.fuzzifier,
        membership_power=options.membership_power, spatial_power=options.spatial_power,
        start=None if previous is None else previous.clusters.centres,
    )  # fmt: skip
    mask, steps = _region_at(search, (fuzzy.labels == clusters - 1) & where)
    if previous is None:
        return Region(mask, None, fuzzy, steps, passes=1, settled=False)
    return Region(mask, None, fuzzy, steps, previous.passes + 1, _same(mask, previous.mask))


def _region_at(search: _Search, foreground: Mask3D) -> tuple[Mask3D, tuple[StepSize, ...]]:
    """Return the region of the foreground at the seed, and its size after each step."""
    grid, seed, options = search.grid, search.seed, search.options
    spacing, reach, ball = grid.spacing_mm, options.seed_reach_mm, options.opening_mm
    steps = [step_size("brightest cluster", foreground, grid)]
    core = cleaned = foreground
    if ball > 0:
        core = open_by_ball(foreground, spacing, radius_mm=ball)
        steps.append(step_size("opened", core, grid))
        cleaned = regain_edges(core, foreground, spacing, reach_mm=ball)
        steps.append(step_size("edges regained", cleaned, grid))
    try:
        region = component_at(cleaned, seed, spacing, reach_mm=reach)
        steps.append(step_size("component at the seed", region, grid))
    except EmptyRegionError:
        # too small for the ball: a small lesion is worth more than a clean outline
        region = component_at(foreground, seed, spacing, reach_mm=reach)
        steps.append(step_size("component at the seed, not opened", region, grid))
    _check_bulk(search, region, region & core)
    region = fill_holes(region, planewise=options.fill_planes) & search.inside
    steps.append(step_size("holes filled", region, grid))
    return region, tuple(steps)


def _check_bulk(search: _Search, region: Mask3D, core: Mask3D) -> None:
    """Refuse vessels: they have little or no core that a ball can enter, and are no balls."""
    options = search.options
    size = step_size("core", core, search.grid)
    if size.volume_mm3 >= options.minimum_mm3:
        return
    shape = roundness(region, search.grid.spacing_mm)
    if not search.thin or shape < _ROUND:
        raise EmptyRegionError(
            f"the region is thin like a vessel: where a ball of {options.opening_mm:g} mm "
            f"(--opening-mm) fits in, it has {size.volume_mm3:.1f} mm3, less than "
            f"{options.minimum_mm3:g} (--minimum-mm3), and its roundness is {shape:.2f}"
        )


def _count_distinct(seen: Floats) -> int:
    count = len(np.unique(seen))
    if count < 2:
        raise EmptyRegionError(
            "the image is even round the seed; move the seed into the lesion, or widen the region"
        )
    return count


def _same(region: Mask3D, previous: Mask3D) -> bool:
    changed = np.count_nonzero(region ^ previous)
    return bool(changed <= _SAME_REGION * np.count_nonzero(region))


def _touches(region: Mask3D, box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Tell whether the region reaches a face of the box that is not the border of the image."""
    for axis, (part, size) in enumerate(zip(box, shape, strict=True)):
        planes = np.moveaxis(region, axis, 0)
        if (part.start > 0 and planes[0].any()) or (part.stop < size and planes[-1].any()):
            return True
    return False

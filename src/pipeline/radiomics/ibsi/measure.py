"""Every IBSI-1 feature of one region of one image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import EmptyRegionError
from pipeline.grid_difference import check_same_grid
from pipeline.radiomics.ibsi.cooccurrence import cooccurrence
from pipeline.radiomics.ibsi.diagnostics import image_diagnostics, region_diagnostics
from pipeline.radiomics.ibsi.discretise import Levels, discretise
from pipeline.radiomics.ibsi.histogram import histogram
from pipeline.radiomics.ibsi.intensity import statistics
from pipeline.radiomics.ibsi.morphology import morphology
from pipeline.radiomics.ibsi.neighbours import dependence, neighbourhood, tone_difference
from pipeline.radiomics.ibsi.peaks import peaks
from pipeline.radiomics.ibsi.prepare import Region, cut_out, resegmented
from pipeline.radiomics.ibsi.registry import tags
from pipeline.radiomics.ibsi.runs import run_lengths
from pipeline.radiomics.ibsi.settings import Dimension, IbsiSettings
from pipeline.radiomics.ibsi.volume_histogram import volume_histogram
from pipeline.radiomics.ibsi.zones import zone_features, zones
from pipeline.types import Array3D, Mask3D, Volume

Status = Literal["ok", "one_grey_level", "incomplete", "empty_roi"]

#: How many tags a reason names.
_NAMED = 8


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes
    ----------
    values : dict of str to float
        By tag, in the order of `registry.tags`; NaN where a feature is not defined.
    grey_levels : int or None
        Number of grey levels; None for an empty region.
    status, reason : str
        "ok", or why values are missing or degenerate.
    """

    values: dict[str, float]
    grey_levels: int | None
    status: Status
    reason: str


def measure(
    image: Volume,
    mask: Volume,
    settings: IbsiSettings,
    *,
    names: tuple[str, str] = ("the image", "the mask"),
) -> Measured:
    """Return the IBSI features of a region, and the numbers that describe its preparation.

    Parameters
    ----------
    image : Volume
        Scalar image.
    mask : Volume
        Not 0 inside the region; on the grid of `image`.
    settings : IbsiSettings
        Preparation; `settings.CONFIGURATIONS` has those of the CT phantom.
    names : (str, str)
        What errors call the two.

    Raises
    ------
    GeometryError
        The two do not share a grid.
    EmptyRegionError
        The region holds no voxel, or none once resampled or re-segmented.
    ImageError
        An intensity inside the region is not finite.
    SettingsError
        The bin width makes too many grey levels.
    """
    check_same_grid(image.grid, mask.grid, names)
    try:
        whole = cut_out(image, mask, settings)
        region = resegmented(whole, settings)
    except EmptyRegionError as error:
        raise EmptyRegionError(f"{names[1]}: {error}") from None
    levels = discretise(
        region.values,
        width=settings.bin_width,
        count=settings.bin_count,
        lowest=region.bounds[0],
    )
    values = image_diagnostics(image, settings)
    values |= region_diagnostics(image, mask, whole, region)
    values |= _prefixed("morph", morphology(region))
    values |= _prefixed("loc", peaks(region))
    values |= _prefixed("stat", statistics(region.values))
    values |= _prefixed("ih", histogram(levels))
    values |= _prefixed("ivh", volume_histogram(region, settings))
    values |= texture(region, levels, settings.dimensions)
    ordered = {tag: values[tag] for tag in tags(settings.dimensions)}
    return Measured(ordered, levels.count, *_status(ordered, levels.count))


def empty(settings: IbsiSettings, reason: str) -> Measured:
    """Return the row of a region without a voxel: every column, all of them missing."""
    values = dict.fromkeys(tags(settings.dimensions), float("nan"))
    return Measured(values, None, "empty_roi", reason)


def _status(values: dict[str, float], grey_levels: int) -> tuple[Status, str]:
    lacking = [tag for tag, value in values.items() if not np.isfinite(value)]
    if lacking:
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        return "incomplete", f"not defined here: {', '.join(lacking[:_NAMED])}{more}"
    if grey_levels == 1:
        return "one_grey_level", "one grey level: texture has its constant values"
    return "ok", ""


def texture(region: Region, levels: Levels, dimensions: tuple[Dimension, ...]) -> dict[str, float]:
    """Return the features of the six texture families, by tag."""
    box = region.tight()
    shape = region.morphological[box]
    numbers = np.zeros(shape.shape, dtype=np.int64)
    numbers[region.intensity[box]] = levels.level
    found: dict[str, float] = {}
    for dimension in dimensions:
        found |= _prefixed("cm", cooccurrence(numbers, levels.count, dimension))
        found |= _prefixed("rlm", run_lengths(numbers, dimension))
    for in_slice in (True, False):
        wanted = tuple(d for d in dimensions if (d != "3D") == in_slice)
        if wanted:
            found |= _surrounding(numbers, shape, wanted, in_slice=in_slice)
    return found


def _surrounding(
    numbers: Array3D, shape: Mask3D, dimensions: tuple[Dimension, ...], *, in_slice: bool
) -> dict[str, float]:
    """Return the families whose voxels are gathered once for 2-D and 2.5-D."""
    joined = zones(numbers, shape, in_slice=in_slice)
    around = neighbourhood(numbers, in_slice=in_slice)
    found: dict[str, float] = {}
    for dimension in dimensions:
        for family, values in zone_features(joined, dimension).items():
            found |= _prefixed(family, values)
        found |= _prefixed("ngt", tone_difference(around, dimension))
        found |= _prefixed("ngl", dependence(around, dimension))
    return found


def _prefixed(family: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{family}_{stem}": value for stem, value in values.items()}

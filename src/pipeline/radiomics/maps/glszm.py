"""GLSZM features of windows. Values equal those of PyRadiomics 3.0.1."""

import torch
from torch import Tensor

from pipeline.radiomics.maps.entries import statistics
from pipeline.radiomics.maps.region import Region
from pipeline.radiomics.maps.sorting import run_lengths, sort_columns


def glszm(region: Region, part: slice) -> dict[str, Tensor]:
    """Return the 16 features, each (B,), of the windows around some voxels of a region."""
    levels = region.window_levels(part)
    voxels = (levels > 0).sum(0).double()
    found = statistics(*_zones(region, levels))
    return {
        "GrayLevelNonUniformity": found.level_uniformity,
        "GrayLevelNonUniformityNormalized": found.level_uniformity / found.number,
        "GrayLevelVariance": found.level_variance,
        "HighGrayLevelZoneEmphasis": found.high,
        "LargeAreaEmphasis": found.large,
        "LargeAreaHighGrayLevelEmphasis": found.large_high,
        "LargeAreaLowGrayLevelEmphasis": found.large_low,
        "LowGrayLevelZoneEmphasis": found.low,
        "SizeZoneNonUniformity": found.size_uniformity,
        "SizeZoneNonUniformityNormalized": found.size_uniformity / found.number,
        "SmallAreaEmphasis": found.small,
        "SmallAreaHighGrayLevelEmphasis": found.small_high,
        "SmallAreaLowGrayLevelEmphasis": found.small_low,
        "ZoneEntropy": found.entropy,
        "ZonePercentage": found.number / voxels,
        "ZoneVariance": found.size_variance,
    }


def _zones(region: Region, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return level and size (K, B) of each zone, and where one stands in the columns."""
    marks = _connected(region, levels)
    bits = len(levels).bit_length()
    limit = torch.iinfo(levels.dtype).max
    codes = sort_columns(((levels << bits) + marks).masked_fill_(levels == 0, limit))
    sizes = run_lengths(codes, limit)
    return codes >> bits, sizes, sizes > 0


def _connected(region: Region, levels: Tensor) -> Tensor:
    """Mark the voxels of a zone (K, B) with the rank of its first one in the window."""
    rank = {step: index for index, step in enumerate(region.window)}
    marks = torch.arange(len(levels), dtype=levels.dtype, device=levels.device)
    marks = marks[:, None].repeat(1, levels.shape[1])
    touching = [
        (here, there)
        for one, here in rank.items()
        for other, there in rank.items()
        if here < there and max(abs(a - b) for a, b in zip(one, other, strict=True)) == 1
    ]
    apart = [levels[here] != levels[there] for here, there in touching]
    while True:
        before = marks.clone()
        for (here, there), not_same in zip(touching, apart, strict=True):
            lower = torch.minimum(marks[here], marks[there])
            marks[here] = torch.where(not_same, marks[here], lower)
            marks[there] = torch.where(not_same, marks[there], lower)
        if torch.equal(marks, before):
            return marks

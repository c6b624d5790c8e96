"""GLRLM features of windows. Values equal those of PyRadiomics 3.0.1."""

import torch
from torch import Tensor

from pipeline.radiomics.maps.entries import statistics
from pipeline.radiomics.maps.means import Means
from pipeline.radiomics.maps.region import Region, Step


def glrlm(region: Region, part: slice) -> dict[str, Tensor]:
    """Return the 16 features, each (B,), of the windows around some voxels of a region.

    A direction along which no two voxels of the window share a line is left out of its means.
    """
    levels = region.window_levels(part)
    voxels = (levels > 0).sum(0).double()
    means = Means()
    for direction in region.lines:
        lengths, ends, there = _runs(region, direction, levels)
        found = statistics(levels, lengths, ends)
        features = {
            "GrayLevelNonUniformity": found.level_uniformity,
            "GrayLevelNonUniformityNormalized": found.level_uniformity / found.number,
            "GrayLevelVariance": found.level_variance,
            "HighGrayLevelRunEmphasis": found.high,
            "LongRunEmphasis": found.large,
            "LongRunHighGrayLevelEmphasis": found.large_high,
            "LongRunLowGrayLevelEmphasis": found.large_low,
            "LowGrayLevelRunEmphasis": found.low,
            "RunEntropy": found.entropy,
            "RunLengthNonUniformity": found.size_uniformity,
            "RunLengthNonUniformityNormalized": found.size_uniformity / found.number,
            "RunPercentage": found.number / voxels,
            "RunVariance": found.size_variance,
            "ShortRunEmphasis": found.small,
            "ShortRunHighGrayLevelEmphasis": found.small_high,
            "ShortRunLowGrayLevelEmphasis": found.small_low,
        }
        means.add(features, there)
    return means.result()


def _runs(region: Region, direction: Step, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Follow the lines of a window along a direction.

    Returns
    -------
    lengths : (K, B) int tensor
        Length of the run up to each voxel.
    ends : (K, B) bool tensor
        Whether a run ends there.
    there : (B,) bool tensor
        Whether some line has two voxels or more.
    """
    rank = {step: index for index, step in enumerate(region.window)}
    lengths, ends = torch.ones_like(levels), levels > 0
    on_line = ends.to(levels.dtype)
    k, j, i = direction
    for step in sorted(rank, key=lambda one: one[0] * k + one[1] * j + one[2] * i):
        before = rank.get((step[0] - k, step[1] - j, step[2] - i))
        if before is None:
            continue
        here = rank[step]
        on_line[here] += on_line[before]
        same = (levels[here] == levels[before]) & (levels[here] > 0)
        lengths[here] += lengths[before] * same
        ends[before] &= ~same
    return lengths, ends, on_line.amax(0) > 1

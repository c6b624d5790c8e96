"""GLDM features of windows. Values equal those of PyRadiomics 3.0.1."""

import torch
from torch import Tensor

from pipeline.radiomics.maps.entries import statistics
from pipeline.radiomics.maps.pairs import neighbours
from pipeline.radiomics.maps.region import Region


def gldm(region: Region, part: slice) -> dict[str, Tensor]:
    """Return the 14 features, each (B,), of the windows around some voxels of a region."""
    levels = region.window_levels(part)
    there = levels > 0
    found = statistics(levels, _dependence(region, levels, there), there)
    return {
        "DependenceEntropy": found.entropy,
        "DependenceNonUniformity": found.size_uniformity,
        "DependenceNonUniformityNormalized": found.size_uniformity / found.number,
        "DependenceVariance": found.size_variance,
        "GrayLevelNonUniformity": found.level_uniformity,
        "GrayLevelVariance": found.level_variance,
        "HighGrayLevelEmphasis": found.high,
        "LargeDependenceEmphasis": found.large,
        "LargeDependenceHighGrayLevelEmphasis": found.large_high,
        "LargeDependenceLowGrayLevelEmphasis": found.large_low,
        "LowGrayLevelEmphasis": found.low,
        "SmallDependenceEmphasis": found.small,
        "SmallDependenceHighGrayLevelEmphasis": found.small_high,
        "SmallDependenceLowGrayLevelEmphasis": found.small_low,
    }


def _dependence(region: Region, levels: Tensor, there: Tensor) -> Tensor:
    """Return 1 + the number of neighbours with about the same level, of each voxel (K, B)."""
    largest = int(region.settings.texture.gldm_alpha)
    sizes = torch.ones_like(levels)
    for direction in region.directions:
        first, second = neighbours(region, direction)
        alike = (levels[first] - levels[second]).abs_() <= largest
        alike = (alike & there[first] & there[second]).to(levels.dtype)
        sizes[first] += alike
        sizes[second] += alike
    return sizes

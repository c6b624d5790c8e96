"""NGTDM features of windows. Values equal those of PyRadiomics 3.0.1."""

import torch
from torch import Tensor

from pipeline.radiomics.maps.pairs import neighbours
from pipeline.radiomics.maps.region import Region
from pipeline.radiomics.maps.sorting import add_up

#: Coarseness of a window without any difference.
_COARSEST = 1e6


def ngtdm(region: Region, part: slice) -> dict[str, Tensor]:
    """Return the 5 features, each (B,), of the windows around some voxels of a region."""
    levels = region.window_levels(part)
    differences = _differences(region, levels)
    voxels = (levels > 0).sum(0).double()
    share, apart, first = _by_level(levels, differences, voxels)
    level = levels.double()
    distinct = add_up(first)
    roughness, total = add_up(first * share * apart), add_up(differences)
    mean, square = add_up(share * first * level), add_up(share * first * level * level)
    contrast = 2 * add_up(first * share * (level - mean).square()) * total / voxels
    several = distinct * (distinct - 1)
    sums, squares = add_up(first * level), add_up(first * level * level)
    strength = 2 * (distinct * square - 2 * mean * sums + squares)
    weighted, complexity = _over_pairs(level, share, apart, first)
    return {
        "Busyness": torch.where(weighted > 0, roughness / weighted, 0.0),
        "Coarseness": torch.where(roughness > 0, 1 / roughness, _COARSEST),
        "Complexity": complexity / voxels,
        "Contrast": torch.where(several > 0, contrast / several, 0.0),
        "Strength": torch.where(total > 0, strength / total, 0.0),
    }


def _differences(region: Region, levels: Tensor) -> Tensor:
    """Return how far each voxel (K, B) is from the mean of its neighbours in the window."""
    sums = torch.zeros(levels.shape, dtype=torch.int32, device=levels.device)
    counts, wide = torch.zeros_like(sums), levels.to(torch.int32)
    there = (levels > 0).to(torch.int32)
    for direction in region.directions:
        first, second = neighbours(region, direction)
        sums[first] += wide[second]
        sums[second] += wide[first]
        counts[first] += there[second]
        counts[second] += there[first]
    mean = sums.double() / counts
    alone = (counts == 0) | (levels == 0)
    return torch.where(alone, 0.0, (wide - mean).abs())


def _by_level(levels: Tensor, differences: Tensor, voxels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the share and the summed differences of each voxel's level; 1 at its first voxel."""
    share, apart = torch.zeros_like(differences), torch.zeros_like(differences)
    first = (levels > 0).double()
    for row in range(len(levels)):
        same = (levels == levels[row]).double()
        share += same
        apart += same * differences[row]
        first[row + 1 :] *= 1 - same[row + 1 :]
    return share / voxels, apart, first


def _over_pairs(
    level: Tensor, share: Tensor, apart: Tensor, first: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the sums over each two levels that busyness and complexity need."""
    position, roughness = level * share, share * apart
    weighted, complexity = torch.zeros_like(level[0]), torch.zeros_like(level[0])
    for row in range(1, len(level)):
        both = first[:row] * first[row]
        weighted += add_up(both * (position[:row] - position[row]).abs())
        step = (level[:row] - level[row]).abs()
        change = (roughness[:row] + roughness[row]) / (share[:row] + share[row]).clamp(min=1e-300)
        complexity += add_up(both * step * change)
    return 2 * weighted, 2 * complexity

"""Statistics of entries (level, size), which GLDM, GLRLM and GLSZM have in common.

An entry is a voxel with its dependence, a run with its length, or a zone with its volume. The
matrix of a window would count equal entries; a list of them says the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.radiomics.maps.sorting import add_up, run_lengths, sort_columns
from pipeline.radiomics.maps.tables import entropy, entropy_table


@dataclass(frozen=True, eq=False)
class Statistics:
    """Means over the entries of B windows, each (B,) float64.

    `number` counts the entries. `small` and `large` are the means of 1 / size^2 and size^2, `low`
    and `high` those of 1 / level^2 and level^2, the next four those of their products. The
    uniformities are the sums of squared counts by level and by size, over `number`.
    """

    number: Tensor
    small: Tensor
    large: Tensor
    low: Tensor
    high: Tensor
    small_low: Tensor
    small_high: Tensor
    large_low: Tensor
    large_high: Tensor
    level_uniformity: Tensor
    size_uniformity: Tensor
    level_variance: Tensor
    size_variance: Tensor
    entropy: Tensor


def statistics(levels: Tensor, sizes: Tensor, there: Tensor) -> Statistics:
    """Return the statistics of entries.

    Parameters
    ----------
    levels, sizes : (K, B) int tensors
        Of each entry, from 1.
    there : (K, B) bool tensor
        Which entries there are. In a window without any, all is NaN.
    """
    count = add_up(there.to(torch.int32))
    number = count.double()
    level = torch.where(there, levels, 1).double()
    size = torch.where(there, sizes, 1).double()
    weight = there.double() / number
    high, large = level * level, size * size
    low, small = weight / high, weight / large
    level_mean, size_mean = add_up(weight * level), add_up(weight * size)
    by_level, by_size, joint = _counts(levels, sizes, there)
    return Statistics(
        number=number,
        small=add_up(small),
        large=add_up(weight * large),
        low=add_up(low),
        high=add_up(weight * high),
        small_low=add_up(small / high),
        small_high=add_up(small * high),
        large_low=add_up(low * large),
        large_high=add_up(weight * high * large),
        level_uniformity=add_up(by_level.double().square_()) / number,
        size_uniformity=add_up(by_size.double().square_()) / number,
        level_variance=add_up(weight * (level - level_mean).square_()),
        size_variance=add_up(weight * (size - size_mean).square_()),
        entropy=entropy(
            joint, count * (len(levels) + 1), entropy_table(len(levels), 1, count.device)
        ),
    )


def _counts(levels: Tensor, sizes: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how often levels, sizes and both together occur, as `run_lengths` does."""
    limit = torch.iinfo(levels.dtype).max
    bits = len(levels).bit_length()
    codes = sort_columns(((levels << bits) + sizes).masked_fill_(~there, limit))
    ordered = sort_columns(sizes.masked_fill(~there, limit))
    return (
        run_lengths(codes >> bits, limit >> bits),
        run_lengths(ordered, limit),
        run_lengths(codes, limit),
    )

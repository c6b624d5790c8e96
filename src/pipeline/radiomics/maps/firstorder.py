"""First-order features of windows. Values equal those of PyRadiomics 3.0.1."""

import torch
from torch import Tensor

from pipeline.radiomics.maps.ordered import numpy_sum, percentile
from pipeline.radiomics.maps.region import Region
from pipeline.radiomics.maps.sorting import add_up, run_lengths, sort_columns
from pipeline.radiomics.maps.tables import entropy, entropy_table


def firstorder(region: Region, part: slice) -> dict[str, Tensor]:
    """Return the 18 features, each (B,), of the windows around some voxels of a region."""
    values = region.window_values(part)
    missing = values.isnan()
    count = (~missing).sum(0).double()
    return (
        _order(values, missing, count)
        | _moments(values, missing, count)
        | _sizes(values + region.settings.texture.intensity_shift, missing, count, region)
        | _histogram(region.window_levels(part))
    )


def _order(values: Tensor, missing: Tensor, count: Tensor) -> dict[str, Tensor]:
    ordered = sort_columns(values.masked_fill(missing, torch.inf))
    low, lower, median, upper, high = (
        percentile(ordered, count, share) for share in (0.1, 0.25, 0.5, 0.75, 0.9)
    )
    outside = missing | (values - low < 0) | (values - high > 0)
    robust = _mean(_centred(values, outside).abs(), (~outside).sum(0).double())
    smallest, largest = ordered[0], percentile(ordered, count, 1.0)
    return {
        "10Percentile": low,
        "90Percentile": high,
        "Median": median,
        "InterquartileRange": upper - lower,
        "Minimum": smallest,
        "Maximum": largest,
        "Range": largest - smallest,
        "RobustMeanAbsoluteDeviation": robust,
    }


def _moments(values: Tensor, missing: Tensor, count: Tensor) -> dict[str, Tensor]:
    mean = _mean(values.masked_fill(missing, 0), count)
    centred = _centred(values, missing)
    square = centred * centred
    variance = _mean(square, count)
    third, fourth = _mean(square * centred, count), _mean(square * square, count)
    divisor = torch.where(variance == 0, 1.0, variance)
    return {
        "Mean": mean,
        "MeanAbsoluteDeviation": _mean(centred.abs(), count),
        "Variance": variance,
        "Skewness": third / (divisor * divisor.sqrt()),
        "Kurtosis": fourth / divisor.square(),
    }


def _sizes(shifted: Tensor, missing: Tensor, count: Tensor, region: Region) -> dict[str, Tensor]:
    energy = numpy_sum(shifted.square().masked_fill_(missing, 0))
    return {
        "Energy": energy,
        "TotalEnergy": energy * region.voxel_volume_mm3,
        "RootMeanSquared": (energy / count).sqrt(),
    }


def _histogram(levels: Tensor) -> dict[str, Tensor]:
    limit = torch.iinfo(levels.dtype).max
    lengths = run_lengths(sort_columns(levels.masked_fill(levels == 0, limit)), limit)
    wide = lengths.to(torch.int32)
    count = add_up(wide)
    table = entropy_table(len(levels), 1, levels.device)
    return {
        "Entropy": entropy(lengths, count * (len(levels) + 1), table),
        "Uniformity": add_up(wide * wide) / count.double().square(),
    }


def _mean(rows: Tensor, count: Tensor) -> Tensor:
    return numpy_sum(rows) / count


def _centred(values: Tensor, missing: Tensor) -> Tensor:
    """Return values less their mean; 0 where missing."""
    mean = _mean(values.masked_fill(missing, 0), (~missing).sum(0).double())
    return (values - mean).masked_fill_(missing, 0)

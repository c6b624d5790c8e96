"""GLCM features of windows, without a matrix.

Most features are moments of the sum and the difference of a pair's levels, or means of a function
of the difference. The others need how often each pair, sum, difference or level occurs: the runs
of sorted columns. In a symmetrical matrix, a pair of unlike levels fills two cells.

Values equal those of PyRadiomics 3.0.1 (`radiomics.glcm`).
"""

import torch
from torch import Tensor

from pipeline.radiomics.maps.correlation import Correlations
from pipeline.radiomics.maps.histograms import Histograms, count
from pipeline.radiomics.maps.independence import imc2_of_independent
from pipeline.radiomics.maps.means import Means
from pipeline.radiomics.maps.pairs import Pairs, neighbours, pairs_along
from pipeline.radiomics.maps.region import Region
from pipeline.radiomics.maps.sorting import add_up
from pipeline.radiomics.maps.tables import entropy, entropy_table

#: Below this, in bit, the information that neighbours share is a rounding error: that of dependent
#: neighbours is at least of the order of 1 / pairs^4.
_NO_INFORMATION = 1e-11
#: A multiple of the numbers that any processor's vector units take at once.
_VECTOR = 64


def glcm(region: Region, part: slice) -> dict[str, Tensor]:
    """Return the 24 features, each (B,), of the windows around some voxels of a region.

    A direction without pairs is left out of a window's means; without any, all is NaN.
    """
    levels = region.window_levels(part)
    windows = levels.shape[1]
    means, correlations = Means(), Correlations(windows, levels.device)
    for direction in region.directions:
        both = neighbours(region, direction)
        if not len(both[0]):
            continue
        pairs = pairs_along(levels, *both, region.grey_levels)
        there = pairs.count > 0
        means.add(_moments(pairs), there)
        means.add(_functions_of_difference(pairs), there)
        histograms = count(pairs)
        means.add(_shares(histograms), there)
        means.add(_information(histograms), there)
        correlations.add(histograms)
    result = means.result()
    result["MCC"] = correlations.mean()
    if len(region.occupied_levels) == 1:
        result["MCC"] = torch.ones_like(result["MCC"])
    return result


def _moments(pairs: Pairs) -> dict[str, Tensor]:
    """Return the features that are moments of the sum and the difference of levels.

    Sums are taken from an integer near their mean: small, exact, and nothing cancels.
    """
    centre = pairs.total(pairs.sums) // pairs.count.clamp(min=1)
    offset = pairs.or_zero(pairs.sums.to(torch.int32) - centre)
    if len(offset) * (2 * pairs.grey_levels) ** 4 >= 1 << 31:
        offset = offset.double()
    number = pairs.count.clamp(min=1).double()
    square = offset * offset
    first, second = add_up(offset) / number, add_up(square) / number
    third, fourth = add_up(offset * square) / number, add_up(square * square) / number
    differences = pairs.differences.to(torch.int32)
    apart = pairs.total(differences) / number
    contrast = pairs.total(differences * differences) / number
    average = centre + first
    spread = second - first.square()
    variance, covariance = (spread + contrast) / 4, (spread - contrast) / 4
    return {
        "Autocorrelation": covariance + (average / 2).square(),
        "JointAverage": average / 2,
        "SumAverage": average,
        "ClusterTendency": spread,
        "ClusterShade": third - 3 * first * second + 2 * first**3,
        "ClusterProminence": fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4,
        "Contrast": contrast,
        "Correlation": torch.where(variance > 0, covariance / variance, 1.0),
        "DifferenceAverage": apart,
        "DifferenceVariance": contrast - apart.square(),
        "SumSquares": variance,
    }


def _functions_of_difference(pairs: Pairs) -> dict[str, Tensor]:
    highest = pairs.grey_levels
    index = pairs.differences.to(torch.int32)
    if pairs.missing is not None:
        index = index.masked_fill(pairs.missing, highest)
    index = index.ravel()
    step = torch.arange(highest, dtype=torch.float64, device=index.device)
    functions = {
        "Id": 1 / (1 + step),
        "Idn": 1 / (1 + step / highest),
        "Idm": 1 / (1 + step**2),
        "Idmn": 1 / (1 + step**2 / highest**2),
        "InverseVariance": torch.where(step > 0, 1 / step.clamp(min=1) ** 2, 0.0),
    }
    number = pairs.count.clamp(min=1).double()
    shape, nothing = pairs.sums.shape, torch.zeros(1, dtype=torch.float64, device=index.device)
    return {
        name: add_up(torch.cat([table, nothing]).index_select(0, index).view(shape)) / number
        for name, table in functions.items()
    }


def _shares(found: Histograms) -> dict[str, Tensor]:
    """Return the features of how pairs, sums and differences share the whole, but for IMC."""
    largest = len(found.joint)
    number = found.pairs.count.clamp(min=1).double()
    rows = found.pairs.count * (largest + 1)
    cells = found.joint * (1 + found.alike.to(found.joint.dtype))
    table = entropy_table(largest, 1, rows.device)
    largest_cell = cells[0]
    for row in cells[1:]:
        largest_cell = torch.maximum(largest_cell, row)
    return {
        "JointEnergy": add_up(found.joint * cells) / (2 * number.square()),
        "MaximumProbability": largest_cell / (2 * number),
        "SumEntropy": entropy(found.sums, rows, table),
        "DifferenceEntropy": entropy(found.differences, rows, table),
    }


def _information(found: Histograms) -> dict[str, Tensor]:
    """Return the entropy of the pairs and what it lacks to that of independent levels."""
    largest = len(found.joint)
    count = found.pairs.count
    alike = entropy_table(largest, 1, count.device)
    unlike = entropy_table(largest, 2, count.device)
    rows = count * (largest + 1) + torch.where(found.alike, 0, len(alike)).to(torch.int32)
    joint = entropy(found.joint, rows, torch.cat([alike, unlike]))
    table = entropy_table(2 * largest, 1, count.device)
    single = entropy(found.levels, 2 * count * (2 * largest + 1), table)
    flat = found.distinct < 2
    shared = 2 * single - joint
    imc2 = (-_expm1(-2 * shared)).clamp(min=0).sqrt()
    unclear = torch.nonzero((shared < _NO_INFORMATION) & ~flat).squeeze(1)
    if len(unclear):
        imc2[unclear] = imc2_of_independent(
            found.ends[:, unclear],
            found.codes[:, unclear],
            found.distinct[unclear],
            found.pairs.bits,
        )
    return {
        "JointEntropy": joint,
        "Imc1": torch.where(flat, 0.0, -shared / single),
        "Imc2": torch.where(flat, 0.0, imc2),
    }


def _expm1(values: Tensor) -> Tensor:
    """Return exp(values) - 1, rounded the same wherever a value stands.

    torch takes the last few of an array, which do not fill a vector, by another routine.
    """
    filled = torch.nn.functional.pad(values, (0, -len(values) % _VECTOR))
    return torch.expm1(filled)[: len(values)]

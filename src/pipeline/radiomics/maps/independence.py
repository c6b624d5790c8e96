"""IMC2 where neighbours share no information: a matter of rounding, followed step by step.

IMC2 is then the root of a difference that vanishes on paper. PyRadiomics gets 0, some 1e-8, or the
root of a negative number, which leaves the direction out of the mean. Which of them depends on the
order in which it adds; here the same numbers are added in the same order.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.radiomics.maps.matrices import by_size, pair_counts
from pipeline.radiomics.maps.tables import EPSILON

Floats = npt.NDArray[np.float64]


def imc2_of_independent(ends: Tensor, codes: Tensor, sizes: Tensor, bits: int) -> Tensor:
    """Return IMC2 (B,) of windows without shared information, NaN where PyRadiomics' root fails.

    Parameters
    ----------
    ends, codes : (2 M, B) and (M, B) int tensors
        Levels at the ends of pairs, ascending, and codes of the pairs.
    sizes : (B,) int tensor
        Number of distinct levels.
    bits : int
        Of the codes.
    """
    result = torch.empty(len(sizes), dtype=torch.float64, device=ends.device)
    for size, some in by_size(sizes):
        counts = pair_counts(ends[:, some], codes[:, some], size, bits)
        torch.diagonal(counts).mul_(2)
        result[some] = torch.from_numpy(_imc2(counts.cpu().numpy())).to(result.device)
    return result


def _imc2(counts: Floats) -> Floats:
    """Return IMC2 of matrices (size, size, B), rounded as PyRadiomics rounds."""
    joint = counts / _in_turn(counts.reshape(-1, counts.shape[2]))
    margin = _in_turn(joint.swapaxes(0, 1))
    product = (margin[:, None] * margin).reshape(-1, counts.shape[2])
    flat = joint.reshape(product.shape)
    together = -_in_turn(flat * np.log2(flat + EPSILON))
    apart = -_in_turn(product * np.log2(product + EPSILON))
    with np.errstate(invalid="ignore"):
        result = np.asarray((1 - np.e ** (-2 * (apart - together))) ** 0.5)
    result[apart == together] = 0
    return result


def _in_turn(rows: Floats) -> Floats:
    """Add up the first axis one by one; numpy would add in pairs where it is the last."""
    total: Floats = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total

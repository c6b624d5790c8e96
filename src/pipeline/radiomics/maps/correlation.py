"""The maximal correlation coefficient (MCC) of windows, from their pairs of levels.

PyRadiomics takes the square root of the second largest eigenvalue of Q. For a symmetric matrix P
with margins p, Q is similar to S S with S = P_ij / sqrt(p_i p_j), whose largest eigenvalue is 1,
with the vector sqrt(p). So MCC is the largest absolute eigenvalue of S once that vector is split
off. Levels that are not in the window only add zeros and are left out.

S is also the adjacency matrix of a graph whose nodes are the levels, scaled by its degrees. It has
the eigenvalue 1 once more for each further part of the graph, and -1 for a part without odd
cycles; counting nodes and edges finds many of those.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.radiomics.maps.eigen import largest_absolute_eigenvalue
from pipeline.radiomics.maps.histograms import Histograms
from pipeline.radiomics.maps.matrices import by_size, pair_counts
from pipeline.radiomics.maps.sorting import add_up, positive


@dataclass(frozen=True, eq=False)
class _Open:
    """Windows (their ranks) that need an eigenvalue along one direction; see `Histograms`."""

    windows: Tensor
    ends: Tensor
    codes: Tensor
    distinct: Tensor


class Correlations:
    """Gathers directions, and solves the eigenvalue problems of all of them together."""

    def __init__(self, windows: int, device: torch.device) -> None:
        self._sum = torch.zeros(windows, dtype=torch.float64, device=device)
        self._count = torch.zeros_like(self._sum)
        self._open: dict[int, list[_Open]] = {}
        self._bits = 0

    def add(self, found: Histograms) -> None:
        """Add one direction."""
        there = found.pairs.count > 0
        loops = positive(found.joint * found.alike)
        spare = found.distinct - (positive(found.joint) - loops)
        one = (spare >= 2) | ((spare == 1) & (loops == 0))
        self._sum += one & there
        self._count += there
        self._bits = found.pairs.bits
        rest = torch.nonzero((found.distinct > 1) & ~one).squeeze(1)
        if len(rest):
            problem = _Open(rest, found.ends[:, rest], found.codes[:, rest], found.distinct[rest])
            self._open.setdefault(len(found.codes), []).append(problem)

    def mean(self) -> Tensor:
        """Return the mean over directions with pairs (B,); NaN where there is none."""
        for number in sorted(self._open):
            group = self._open[number]
            values = _second_correlation(
                torch.cat([one.ends for one in group], 1),
                torch.cat([one.codes for one in group], 1),
                torch.cat([one.distinct for one in group]),
                self._bits,
            )
            # Direction by direction, in each of which a window stands once: sums in fixed order.
            for one, found in zip(
                group, values.split([len(o.windows) for o in group]), strict=True
            ):
                self._sum[one.windows] += found
        self._open.clear()
        return self._sum / self._count


def _second_correlation(ends: Tensor, codes: Tensor, sizes: Tensor, bits: int) -> Tensor:
    result = torch.empty(len(sizes), dtype=torch.float64, device=ends.device)
    for size, some in by_size(sizes):
        counts = pair_counts(ends[:, some], codes[:, some], size, bits)
        result[some] = largest_absolute_eigenvalue(_deflated(counts))
    return result


def _deflated(counts: Tensor) -> Tensor:
    """Return S without the vector sqrt(p): symmetric (size - 1, size - 1, B).

    A reflection takes sqrt(p) to the first axis, whose row and column are then left out.
    Overwrites `counts`.
    """
    torch.diagonal(counts).mul_(2)
    margins = add_up(counts)
    roots = margins.sqrt()
    scaled = counts.div_(roots[:, None]).div_(roots)
    unit = roots / add_up(margins).sqrt()
    scale = 1 / (1 + unit[0])
    shift = scale * scale * (0.5 + unit[0] + 0.5 * scaled[0, 0])
    vector = unit[1:]
    other = scale * (vector + scaled[1:, 0]) - shift * vector
    rest = scaled[1:, 1:].contiguous()
    rest -= vector[:, None] * other
    rest -= other[:, None] * vector
    return rest

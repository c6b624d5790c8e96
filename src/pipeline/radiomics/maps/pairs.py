"""Pairs of neighbours within windows, along one direction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.radiomics.maps.region import Region, Step
from pipeline.radiomics.maps.sorting import add_up


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of neighbours along one direction, in each of B windows.

    Attributes
    ----------
    ends : (2 M, B) int tensor
        Levels at both ends; `limit` where there is no pair.
    differences, sums : (M, B) int tensors
        Absolute difference and sum of the two levels; of no meaning where there is no pair.
    missing : (M, B) bool tensor or None
        Where there is no pair; None if all are there.
    count : (B,) int32 tensor
        Number of pairs.
    grey_levels : int
        Highest level of the region.
    """

    ends: Tensor
    differences: Tensor
    sums: Tensor
    missing: Tensor | None
    count: Tensor
    grey_levels: int

    @property
    def bits(self) -> int:
        """Room for a sum in the code of a pair."""
        return (2 * self.grey_levels).bit_length()

    @property
    def limit(self) -> int:
        """A number above any level, sum and code: no pair."""
        return int(torch.iinfo(self.sums.dtype).max)

    def codes(self) -> Tensor:
        """Return ``differences << bits | sums`` (M, B): the pair, whichever comes first."""
        return self.or_limit((self.differences << self.bits) + self.sums)

    def or_zero(self, entries: Tensor) -> Tensor:
        """Put 0 where there is no pair."""
        return entries if self.missing is None else entries.masked_fill_(self.missing, 0)

    def total(self, entries: Tensor) -> Tensor:
        """Add up the entries (M, B) of pairs that are there (B,)."""
        return add_up(entries if self.missing is None else entries.masked_fill(self.missing, 0))

    def or_limit(self, entries: Tensor) -> Tensor:
        """Put `limit` where there is no pair."""
        return entries if self.missing is None else entries.masked_fill_(self.missing, self.limit)


def neighbours(region: Region, direction: Step) -> tuple[Tensor, Tensor]:
    """Return which voxels of a window are neighbours along `direction`: (M,) ranks of each."""
    rank = {step: index for index, step in enumerate(region.window)}
    k, j, i = direction
    ends = {step: (step[0] + k, step[1] + j, step[2] + i) for step in rank}
    found = [(rank[one], rank[other]) for one, other in ends.items() if other in rank]
    both = torch.tensor(found, dtype=torch.int64, device=region.levels.device).reshape(-1, 2)
    return both[:, 0].contiguous(), both[:, 1].contiguous()


def pairs_along(levels: Tensor, first: Tensor, second: Tensor, grey_levels: int) -> Pairs:
    """Pair the levels (K, B) of windows, of which 0 is none."""
    ends = levels[torch.cat([first, second])]
    one, other = ends[: len(first)], ends[len(first) :]
    number = torch.full(levels.shape[1:], len(first), dtype=torch.int32, device=levels.device)
    differences, sums, missing = (one - other).abs_(), one + other, None
    if not bool(levels.all()):
        missing = (one == 0) | (other == 0)
        number -= add_up(missing.to(torch.int32))
        limit = torch.iinfo(levels.dtype).max
        ends.masked_fill_(missing.repeat(2, 1), limit)
    return Pairs(ends, differences, sums, missing, number, grey_levels)

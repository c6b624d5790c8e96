"""How often levels, pairs, sums and differences of levels occur in windows."""

from dataclasses import dataclass

from torch import Tensor

from pipeline.radiomics.maps.pairs import Pairs
from pipeline.radiomics.maps.sorting import positive, run_lengths, sort_columns


@dataclass(frozen=True, eq=False)
class Histograms:
    """Counts of what occurs along one direction, in each of B windows.

    A count stands where the last of equal entries stands in their sorted column; the others of
    them hold 0.

    Attributes
    ----------
    pairs : Pairs
        What is counted.
    codes, ends : (M, B) and (2 M, B) int tensors
        Codes of the pairs, and levels at their ends, ascending.
    joint, levels : (M, B) and (2 M, B) int tensors
        Counts of these.
    sums, differences : (M, B) int tensors
        Counts of sums and of differences.
    alike : (M, B) bool tensor
        Which codes are of two equal levels.
    distinct : (B,) int tensor
        Number of levels that occur.
    """

    pairs: Pairs
    codes: Tensor
    ends: Tensor
    joint: Tensor
    levels: Tensor
    sums: Tensor
    differences: Tensor
    alike: Tensor
    distinct: Tensor


def count(pairs: Pairs) -> Histograms:
    """Count; overwrites the entries of `pairs`."""
    codes = sort_columns(pairs.codes())
    ends = sort_columns(pairs.ends)
    levels = run_lengths(ends, pairs.limit)
    return Histograms(
        pairs=pairs,
        codes=codes,
        ends=ends,
        joint=run_lengths(codes, pairs.limit),
        levels=levels,
        sums=run_lengths(sort_columns(pairs.or_limit(pairs.sums)), pairs.limit),
        differences=run_lengths(codes >> pairs.bits, pairs.limit >> pairs.bits),
        alike=codes < 1 << pairs.bits,
        distinct=positive(levels),
    )

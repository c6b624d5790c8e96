"""Sums, means and percentiles of columns with gaps, rounded as numpy rounds them.

Where all intensities of a window are equal, whether their variance is 0 depends on how their mean
was rounded. numpy adds a row of up to 128 numbers in eight strands; so do these.
"""

import torch
from torch import Tensor

_STRANDS = 8
_BLOCK = 128


def numpy_sum(rows: Tensor) -> Tensor:
    """Add up the first axis of (K, B) as `numpy.sum` adds contiguous numbers."""
    count = len(rows)
    if count < _STRANDS:
        total = rows[0].clone()
        for row in rows[1:].unbind(0):
            total += row
        return total
    if count > _BLOCK:
        half = count // 2
        half -= half % _STRANDS
        return numpy_sum(rows[:half]) + numpy_sum(rows[half:])
    whole = count - count % _STRANDS
    strands = rows[:_STRANDS].clone()
    for start in range(_STRANDS, whole, _STRANDS):
        strands += rows[start : start + _STRANDS]
    a, b, c, d, e, f, g, h = strands.unbind(0)
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for row in rows[whole:].unbind(0):
        total = total + row
    return total


def percentile(ordered: Tensor, count: Tensor, share: float) -> Tensor:
    """Return a percentile (B,) of ascending columns (K, B), of which the first `count` are there.

    Linear between the two nearest, as `numpy.percentile`.
    """
    at = (count - 1) * share
    below = at.floor()
    low = ordered.gather(0, below.long()[None])[0]
    high = ordered.gather(0, at.ceil().long()[None])[0]
    part = at - below
    step = high - low
    return torch.where(part >= 0.5, high - step * (1 - part), low + step * part)

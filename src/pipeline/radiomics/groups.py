"""Which regions of an image to filter together: those whose common box costs no more voxels."""

import math
from collections.abc import Iterator, Sequence

from pipeline.radiomics.filters.source import Box

#: A box larger than this is not made by joining: filtered, it is 256 MiB in float64.
_MOST_VOXELS = 1 << 25


def grouped(
    boxes: Sequence[Box], reach: tuple[int, int, int], shape: tuple[int, int, int]
) -> Iterator[tuple[list[int], Box]]:
    """Yield (places in `boxes`, common box) of the groups.

    Two groups become one when filtering their common box, with `reach` voxels around it, takes
    no more voxels than filtering both, and when that box fits into memory with ease.

    Parameters
    ----------
    boxes : sequence of three slices
        Bounding boxes of the regions.
    reach : three ints
        Voxels around a box that the filter needs.
    shape : three ints
        Of the image, which ends the surroundings.
    """
    groups: list[tuple[list[int], Box]] = []
    for place, box in enumerate(boxes):
        group = ([place], box)
        while True:
            partner = next((g for g in groups if _worthwhile(g[1], group[1], reach, shape)), None)
            if partner is None:
                break
            groups.remove(partner)
            group = (sorted(partner[0] + group[0]), common(partner[1], group[1]))
        groups.append(group)
    yield from sorted(groups, key=lambda group: group[0])


def common(first: Box, second: Box) -> Box:
    """Return the smallest box that holds both."""
    i, j, k = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
    return i, j, k


def within(box: Box, outer: Box) -> Box:
    """Return where a box lies inside another that holds it."""
    i, j, k = (slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True))
    return i, j, k


def _worthwhile(
    first: Box, second: Box, reach: tuple[int, int, int], shape: tuple[int, int, int]
) -> bool:
    both = common(first, second)
    if _cost(both, (0, 0, 0), shape) > _MOST_VOXELS:
        return False
    return _cost(both, reach, shape) <= _cost(first, reach, shape) + _cost(second, reach, shape)


def _cost(box: Box, reach: tuple[int, int, int], shape: tuple[int, int, int]) -> int:
    return math.prod(
        min(n, part.stop + r) - max(0, part.start - r)
        for part, r, n in zip(box, reach, shape, strict=True)
    )

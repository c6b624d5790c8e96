"""Sliding windows over an image too large for a network, in slabs that never hold it whole.

Windows come in order along one axis. A plane that no later window meets is finished and leaves
at once, so what is held is one window thick, however long the image.

The weight of a window falls off from its centre like a Gaussian (sigma of an eighth of the window,
as nnU-Net's and MONAI's). It is a product of one factor per axis, and so is the lattice of windows:
factors are divided by their sum over the windows beforehand, and what windows add up to is the
mean already.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.errors import SettingsError
from pipeline.segment.plan import Shape

#: Standard deviation of the weights over the edge of the window.
_SIGMA = 0.125

#: What lies beyond an image smaller than the window: the mean of a normalised image.
_BEYOND = 0.0

#: A window (1, N, I, J, K) -> (member, probabilities (C, I, J, K)), one by one.
Members = Callable[[torch.Tensor], Iterable[tuple[int, torch.Tensor]]]


@dataclass(frozen=True, eq=False)
class Span:
    """Where a window lies along one axis.

    Attributes
    ----------
    start, stop : int
        Voxels of the image that it covers.
    before, after : int
        Voxels by which it sticks out of a smaller image.
    weight : (stop - start,) tensor
        Share of this window in each of these voxels; over all windows they sum to 1.
    """

    start: int
    stop: int
    before: int
    after: int
    weight: torch.Tensor


@dataclass(frozen=True, eq=False)
class Slab:
    """Finished planes of an image.

    Attributes
    ----------
    axis : int
        Along which planes are counted.
    start : int
        The first plane.
    data : (kept, C, I, J, K) tensor
        Probabilities of each kept member, or of the mean alone. Valid until the next slab.
    """

    axis: int
    start: int
    data: torch.Tensor


def spans(size: int, patch: int, overlap: float) -> list[Span]:
    """Return the windows along one axis: MONAI's, the last one moved back to end on the border.

    Parameters
    ----------
    size, patch : int
        Voxels of the image and of the window.
    overlap : float
        Part of a window that the next one covers again; 0 to below 1.
    """
    if not 0.0 <= overlap < 1.0:
        raise SettingsError(f"overlap {overlap:g} must be 0 or more and below 1")
    if size <= patch:
        before = (patch - size) // 2
        return [Span(0, size, before, patch - size - before, torch.ones(size))]
    step = max(1, int(patch * (1.0 - overlap)))
    last = size - patch
    starts = [min(n * step, last) for n in range(math.ceil(last / step) + 1)]
    bell = _bell(patch)
    total = torch.zeros(size, dtype=torch.float64)
    for start in starts:
        total[start : start + patch] += bell
    return [
        Span(s, s + patch, 0, 0, (bell / total[s : s + patch]).to(torch.float32)) for s in starts
    ]


def slab_axis(shape: Shape, patch: Shape) -> int:
    """Return the axis along which slabs hold the smallest part of the image."""
    return max(range(3), key=lambda axis: shape[axis] / patch[axis])


def slabs(
    image: torch.Tensor,
    members: Members,
    patch: Shape,
    *,
    passes: list[int],
    classes: int,
    overlap: float = 0.5,
    keep_members: bool = False,
    votes: torch.Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Slab]:
    """Yield the blended probabilities of an image, slab by slab.

    Parameters
    ----------
    image : (I, J, K) or (N, I, J, K) tensor
        Normalised, on the network's grid; in N ways, where members differ in that.
    members : callable
        Gives each member's probabilities of a window, in a fixed order.
    patch : three ints
        The window.
    passes : ints
        How often each member answers for a window (mirrors): its answers are averaged, and
        members count alike.
    classes : int
        C, background included.
    overlap : float
        Part of a window that the next one covers again.
    keep_members : bool
        Keep members apart, for their spread, at the cost of their number in memory.
    votes : (members, C) float64 tensor, optional
        Gets, added, the voxels that each member gives to each class, windows blended.
    device : torch.device
        Where windows are computed and blended.

    Yields
    ------
    Slab
        Planes in order, each once.
    """
    i, j, k = (int(n) for n in image.shape[-3:])
    axis = slab_axis((i, j, k), patch)
    lattice = [spans(n, p, overlap) for n, p in zip((i, j, k), patch, strict=True)]
    sizes = [i, j, k]
    sizes[axis] = min(sizes[axis], patch[axis])
    kept = len(passes) if keep_members else 1
    held = torch.zeros((kept, classes, *sizes), device=device)
    scale = [1.0 / count if keep_members else 1.0 / (count * len(passes)) for count in passes]
    rounds = lattice[axis]
    for number, along in enumerate(rounds):
        others = [[along] if a == axis else lattice[a] for a in range(3)]
        for place in ((x, y, z) for x in others[0] for y in others[1] for z in others[2]):
            weight = _weight(place).to(device)
            region = tuple(
                slice(s.start - base, s.stop - base)
                for s, base in zip(place, _bases(axis, along.start), strict=True)
            )
            window = _cut(image, place).to(device).contiguous()
            for member, found in members(window.reshape(1, -1, *patch)):
                inside = _inside(found, place)
                target = held[member if keep_members else 0][(slice(None), *region)]
                target.addcmul_(inside, weight, value=scale[member])
                if votes is not None:
                    votes[member] += _vote(inside, weight, classes).cpu() / passes[member]
        following = rounds[number + 1].start if number + 1 < len(rounds) else along.stop
        done = following - along.start
        yield Slab(axis, along.start, held.narrow(axis + 2, 0, done))
        _move_on(held, axis + 2, done)


def winner(found: torch.Tensor) -> torch.Tensor:
    """Return the most probable class (I, J, K), uint8, of (C, I, J, K); the lower one of equals.

    Class by class: torch's own arg-max over the first axis takes 20 times as long on a CPU.
    """
    best = found[0].clone()
    chosen = torch.zeros(best.shape, dtype=torch.uint8, device=found.device)
    for number in range(1, len(found)):
        chosen.masked_fill_(found[number] > best, number)
        torch.maximum(best, found[number], out=best)
    return chosen


def _bell(patch: int) -> torch.Tensor:
    offset = torch.arange(patch, dtype=torch.float64) - (patch - 1) / 2.0
    return torch.exp(-0.5 * (offset / (_SIGMA * patch)) ** 2)


def _bases(axis: int, start: int) -> tuple[int, int, int]:
    return start if axis == 0 else 0, start if axis == 1 else 0, start if axis == 2 else 0


def _weight(place: tuple[Span, Span, Span]) -> torch.Tensor:
    x, y, z = place
    return x.weight[:, None, None] * y.weight[:, None] * z.weight


def _cut(image: torch.Tensor, place: tuple[Span, Span, Span]) -> torch.Tensor:
    """Return the voxels of a window, filled up where it sticks out of the image."""
    x, y, z = (slice(s.start, s.stop) for s in place)
    beyond = [n for s in reversed(place) for n in (s.before, s.after)]
    window = image[..., x, y, z]
    return functional.pad(window, beyond, value=_BEYOND) if any(beyond) else window


def _inside(found: torch.Tensor, place: tuple[Span, Span, Span]) -> torch.Tensor:
    x, y, z = (slice(s.before, s.before + s.stop - s.start) for s in place)
    return found[:, x, y, z]


def _vote(found: torch.Tensor, weight: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the weight of the voxels where each class is the most probable."""
    best = winner(found)
    # masked sums, not a scatter: the same bytes on every run
    counts = [torch.where(best == c, weight, 0.0).sum(dtype=torch.float64) for c in range(classes)]
    return torch.stack(counts)


def _move_on(held: torch.Tensor, dim: int, done: int) -> None:
    """Move what is unfinished to the front and empty the rest."""
    left = held.shape[dim] - done
    if left:
        rest = held.narrow(dim, done, left).clone()
        held.narrow(dim, 0, left).copy_(rest)
    held.narrow(dim, left, done).zero_()

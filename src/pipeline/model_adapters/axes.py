"""Foreign networks see an image's axes in an order of their own; `predict` hands them L, P, S."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.preprocess.orientation import AxisMove, canonical_move
from pipeline.segment.networks.network import Network
from pipeline.segment.plan import Shape
from pipeline.types import Geometry

_OPPOSITE = {"L": "R", "P": "A", "S": "I"}


@dataclass(frozen=True)
class Axes:
    """How a network's axes run through the canonical ones (nearest to L, P, S).

    Attributes
    ----------
    order : three ints
        Axis n of the network is canonical axis ``order[n]``.
    flip : three bools
        Whether axis n of the network runs against it.
    """

    order: tuple[int, int, int]
    flip: tuple[bool, bool, bool]

    def canonical(self, values: Sequence[float]) -> tuple[float, float, float]:
        """Return numbers along the network's axes as numbers along the canonical ones."""
        a, b, c = (values[self.order.index(axis)] for axis in range(3))
        return a, b, c

    def canonical_shape(self, values: Sequence[int]) -> Shape:
        """Return counts along the network's axes as counts along the canonical ones."""
        a, b, c = (int(values[self.order.index(axis)]) for axis in range(3))
        return a, b, c

    def along(self, order: Sequence[int]) -> "Axes":
        """Return axes of which axis n is axis ``order[n]`` of these."""
        a, b, c = order
        return Axes(
            (self.order[a], self.order[b], self.order[c]),
            (self.flip[a], self.flip[b], self.flip[c]),
        )


def own_axes(grid: Geometry) -> Axes:
    """Return the axes of an image's own array."""
    move: AxisMove = canonical_move(grid).inverse()
    return Axes(move.order, move.flip)


def named_axes(codes: str) -> Axes:
    """Return the axes that run towards three letters, such as "RAS" or "LPI".

    Raises
    ------
    ValueError
        If the letters do not name three axes.
    """
    order, flip = [], []
    for code in codes.upper():
        for axis, (towards, away) in enumerate(_OPPOSITE.items()):
            if code in (towards, away):
                order.append(axis)
                flip.append(code == away)
    if sorted(order) != [0, 1, 2] or len(codes) != 3:
        raise ValueError(f"{codes!r} does not name three axes")
    return Axes((order[0], order[1], order[2]), (flip[0], flip[1], flip[2]))


class TurnedNetwork(Network):
    """A foreign network behind the canonical axes.

    Parameters
    ----------
    inner : Module
        (N, C, its axes) -> logits.
    axes : Axes
        Its three axes.
    divisor : three ints
        What its axes must be divisible by.
    slices : bool
        It takes two axes; the first of `axes` runs over slices, which go through as a batch.
    """

    def __init__(
        self, inner: nn.Module, axes: Axes, divisor: Sequence[int], *, slices: bool = False
    ) -> None:
        super().__init__()
        self.inner = inner
        self.form = type(inner).__name__
        self.divisor = axes.canonical_shape(divisor)
        self._slices = slices
        self._order = (0, 1, *(axis + 2 for axis in axes.order))
        self._back = tuple(self._order.index(axis) for axis in range(5))
        self._flips = [n + 2 for n in range(3) if axes.flip[n]]

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the inner network's logits along the canonical axes."""
        seen = x.permute(self._order).flip(self._flips).contiguous()
        found = self._of_slices(seen) if self._slices else self.inner(seen)
        return found.flip(self._flips).permute(self._back)

    def _of_slices(self, x: torch.Tensor) -> torch.Tensor:
        count = x.shape[2]
        batch = x.transpose(1, 2).flatten(0, 1)
        return self.inner(batch).unflatten(0, (len(x), count)).transpose(1, 2)

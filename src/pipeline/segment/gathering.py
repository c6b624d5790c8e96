"""From slabs of probabilities to maps on the image's grid, as soon as a plane can be made."""

import math

import numpy as np
import torch

from pipeline.preprocess.kernels import AxisWeights
from pipeline.segment.network_grid import Steps, axis_weights, linear_weights
from pipeline.segment.window import Slab, winner
from pipeline.types import Geometry

#: Values held at once while a slab is brought onto the image's grid (64 MiB).
_CHUNK = 1 << 24


class Gathering:
    """Turns slabs into maps and holds no more planes than the next ones need.

    Parameters
    ----------
    source, target : Geometry
        Grids of the slabs and of the maps; their axes are parallel.
    axis : int
        Along which the slabs come.
    entropy, spread : bool
        Whether these maps are made.

    Attributes
    ----------
    classes : (I, J, K) uint8 array
        The most probable class.
    entropy, spread : (I, J, K) float32 arrays or None
        Of the mean probabilities, in nats; standard deviation over members of the probability of
        the class that won.
    """

    def __init__(
        self, source: Geometry, target: Geometry, axis: int, entropy: bool, spread: bool
    ) -> None:
        self.steps: Steps = axis_weights(source, target, linear_weights)
        self.axis = axis
        self.along = self.steps[axis] or _staying(target.shape[axis])
        self.classes = np.zeros(target.shape, dtype=np.uint8)
        self.entropy = np.zeros(target.shape, dtype=np.float32) if entropy else None
        self.spread = np.zeros(target.shape, dtype=np.float32) if spread else None
        self._made = 0
        self._first = 0
        self._waiting: torch.Tensor | None = None

    def add(self, slab: Slab) -> None:
        """Take finished planes; make what they allow; keep those that are still needed."""
        dim = self.axis + 2
        parts = [slab.data] if self._waiting is None else [self._waiting, slab.data]
        there = torch.cat(parts, dim=dim) if len(parts) > 1 else slab.data
        end = self._first + there.shape[dim]
        ready = int(np.searchsorted(self.along.index.max(axis=1), end))
        while self._made < ready:
            stop = min(ready, self._made + self._thickness(there))
            self._make(there, self._made, stop)
            self._made = stop
        count = len(self.along.index)
        needed = int(self.along.index[self._made].min()) if self._made < count else end
        needed = min(needed, end)
        left = there.narrow(dim, needed - self._first, end - needed)
        self._waiting = left.clone() if end > needed else None
        self._first = needed

    def _thickness(self, there: torch.Tensor) -> int:
        shape = list(self.classes.shape)
        del shape[self.axis]
        plane = int(there.shape[0]) * int(there.shape[1]) * math.prod(shape)
        return max(1, _CHUNK // plane)

    def _make(self, there: torch.Tensor, start: int, stop: int) -> None:
        index = self.along.index[start:stop]
        low, high = int(index.min()), int(index.max()) + 1
        found = there.narrow(self.axis + 2, low - self._first, high - low)
        local = AxisWeights(index - low, self.along.weight[start:stop])
        if self.steps[self.axis] is not None:
            found = _interpolate(found, local, self.axis + 2)
        for axis, weights in enumerate(self.steps):
            if weights is not None and axis != self.axis:
                found = _interpolate(found, weights, axis + 2)
        place = tuple(slice(start, stop) if a == self.axis else slice(None) for a in range(3))
        mean = found.mean(dim=0) if len(found) > 1 else found[0]
        best = winner(mean)
        self.classes[place] = best.cpu().numpy()
        if self.entropy is not None:
            self.entropy[place] = torch.special.entr(mean).sum(dim=0).cpu().numpy()
        if self.spread is not None:
            chosen = found.gather(1, best.long().expand(len(found), 1, *best.shape))[:, 0]
            self.spread[place] = chosen.std(dim=0, correction=0).cpu().numpy()


def _staying(count: int) -> AxisWeights:
    return AxisWeights(np.arange(count, dtype=np.intp)[:, None], np.ones((count, 1)))


def _interpolate(data: torch.Tensor, weights: AxisWeights, dim: int) -> torch.Tensor:
    """Return the tensor with one axis interpolated; sums in a fixed order."""
    index = torch.from_numpy(np.ascontiguousarray(weights.index.T)).to(data.device)
    factor = torch.from_numpy(np.ascontiguousarray(weights.weight.T, dtype=np.float32))
    shape = [1] * data.ndim
    shape[dim] = -1
    out: torch.Tensor | None = None
    for taps, share in zip(index, factor.to(data.device), strict=True):
        term = data.index_select(dim, taps).mul_(share.view(shape))
        out = term if out is None else out.add_(term)
    return data if out is None else out

"""Which patches a batch is made of: foreground-balanced, each iteration with its own generator."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.segment.plan import Shape
from pipeline.segment.training.cache import Prepared


class Draw(NamedTuple):
    """A patch to take: the case and the voxel at its centre (half numbers for even sizes)."""

    case: int
    centre: tuple[float, float, float]


def draw_patches(
    cases: Sequence[Prepared],
    patch: Shape,
    *,
    batch: int,
    foreground: float,
    rng: np.random.Generator,
) -> list[Draw]:
    """Draw the patches of one batch.

    Parameters
    ----------
    cases : sequence of Prepared
        Each is as likely as any other.
    patch : three ints
        Voxels of a patch.
    batch : int
        How many patches.
    foreground : float
        Share of the batch, rounded up, that is centred on a voxel of a random foreground class.
        A case without foreground gives a patch from anywhere.
    rng : numpy Generator

    Returns
    -------
    list of Draw
        A patch reaches over the border of its image only where the image is smaller: there the
        image lies in the middle.
    """
    wanted = int(np.ceil(batch * foreground - 1e-9))
    draws = []
    for place in range(batch):
        number = int(rng.integers(len(cases)))
        case = cases[number]
        shape = np.asarray(case.image.shape)
        if place < wanted and case.centres:
            voxels = case.centres[int(rng.integers(len(case.centres)))]
            point = voxels[int(rng.integers(len(voxels)))].astype(np.float64)
        else:
            point = rng.random(3) * shape - 0.5
        draws.append(Draw(number, _inside(point, shape, patch)))
    return draws


def _inside(
    point: npt.NDArray[np.float64], shape: npt.NDArray[np.intp], patch: Shape
) -> tuple[float, float, float]:
    """Move the centre so that its patch starts on a voxel and lies inside the image."""
    size = np.asarray(patch)
    start = np.round(point - (size - 1) / 2.0)
    # where the image is smaller, both limits are the start that centres it
    low, high = np.minimum(0, shape - size), np.maximum(0, shape - size)
    middle = np.ceil((shape - size) / 2.0)  # as the windows of the inference lie
    start = np.where(shape <= size, middle, np.clip(start, low, high))
    a, b, c = (float(v) for v in start + (size - 1) / 2.0)
    return a, b, c


def crop(
    array: npt.NDArray[np.generic], start: Sequence[int], size: Sequence[int]
) -> npt.NDArray[np.generic]:
    """Return a box of the array (first three axes), zeros where it reaches outside."""
    low = [max(0, s) for s in start]
    high = [max(a, min(n, s + w)) for a, n, s, w in zip(low, array.shape, start, size, strict=True)]
    inner = array[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    if inner.shape == tuple(size):
        return inner
    out = np.zeros(tuple(size), dtype=array.dtype)
    offset = [a - s for a, s in zip(low, start, strict=True)]
    place = tuple(slice(o, o + n) for o, n in zip(offset, inner.shape, strict=True))
    out[place] = inner
    return out

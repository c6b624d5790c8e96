"""The classes of a prepared image, and their Dice, as quickly as a training needs them.

An image not much larger than a patch goes through the network whole; any other goes through the
windows of `pipeline.segment.window`, as in use.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from pipeline.segment.networks import Network
from pipeline.segment.plan import Plan
from pipeline.segment.window import slabs

#: An image of at most so many patches' voxels goes through the network at once.
_WHOLE = 2.0


def predict_classes(
    network: Network, image: npt.NDArray[np.float32], plan: Plan, device: torch.device
) -> npt.NDArray[np.uint8]:
    """Return the class of each voxel, (I, J, K), of an image on the network's grid.

    Parameters
    ----------
    network : Network
        In evaluation mode, on `device`.
    image : (I, J, K) array
        Normalised.
    plan : Plan
        Patch and dimensions.
    device : torch.device
    """
    data = torch.from_numpy(np.array(image, dtype=np.float32))
    # an image smaller than the patch is padded to it, as it was in training
    size = [
        max(-(-n // d) * d, p)
        for n, d, p in zip(data.shape, network.divisor, plan.patch, strict=True)
    ]
    fits = plan.dimensions == 3 and np.prod(size) <= _WHOLE * np.prod(plan.patch)
    with torch.inference_mode():
        if fits:
            return _whole(network, data.to(device), size)
        return _windowed(network, data, plan, device)


def dice_per_class(
    found: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8], classes: int
) -> tuple[float, ...]:
    """Return the Dice of classes 1 to `classes` - 1; NaN for a class that is in neither."""
    scores = []
    for number in range(1, classes):
        one, two = found == number, true == number
        total = int(one.sum()) + int(two.sum())
        scores.append(2.0 * int((one & two).sum()) / total if total else float("nan"))
    return tuple(scores)


def _whole(network: Network, data: torch.Tensor, size: list[int]) -> npt.NDArray[np.uint8]:
    lack = [s - n for s, n in zip(size, data.shape, strict=True)]
    before = [n // 2 for n in lack]
    pads = [p for b, n in zip(before[::-1], lack[::-1], strict=True) for p in (b, n - b)]
    logits = network(functional.pad(data, pads)[None, None])[0]
    i, j, k = (slice(b, b + n) for b, n in zip(before, data.shape, strict=True))
    return np.asarray(logits.argmax(0)[i, j, k].to(torch.uint8).cpu().numpy())


def _windowed(
    network: Network, data: torch.Tensor, plan: Plan, device: torch.device
) -> npt.NDArray[np.uint8]:
    def answer(window: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        flat = plan.dimensions == 2
        logits = network(window[..., 0])[..., None] if flat else network(window)
        yield 0, torch.softmax(logits.float(), dim=1)[0]

    classes = torch.zeros(data.shape, dtype=torch.uint8)
    for slab in slabs(data, answer, plan.patch, passes=[1], classes=plan.classes, device=device):
        planes = slab.data[0].argmax(0).to(torch.uint8).cpu()
        classes.narrow(slab.axis, slab.start, planes.shape[slab.axis]).copy_(planes)
    return np.asarray(classes.numpy())

"""Losses of segmentation, and the rounds in which they take turns.

Every loss takes logits (N, classes, ...) and a target (N, ...) of class indices, int64, and
returns a scalar in float32, whatever the precision of the logits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.nn import functional

from pipeline.errors import SettingsError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Keeps a class that is neither there nor predicted at a loss of zero.
_TINY = 1e-6
#: What nnU-Net adds above and below.
_SMOOTH = 1e-5
_MOST_RATIO = 1000.0


def dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the Dice loss of V-Net, with squares below; mean over the foreground classes.

    1 - 2 sum(p y) / (sum(p^2) + sum(y^2)) for each class, the sums over every voxel of the batch.
    Two classes give the form of V-Net (Milletari et al., 3DV 2016) and DenseHighRes3DNet.
    """
    p, y = _foreground(logits, target)
    below = _over_voxels(p * p) + _over_voxels(y)
    return 1 - ((2 * _over_voxels(p * y) + _TINY) / (below + _TINY)).mean()


def focal(
    logits: torch.Tensor, target: torch.Tensor, *, alpha: float = 0.75, gamma: float = 2.0
) -> torch.Tensor:
    """Return -alpha / n sum((1 - q)^gamma log q) over n voxels; q is what the true class gets.

    `alpha` is one factor for all classes, as DenseHighRes3DNet has it.
    """
    entropy = _cross_entropy(logits, target)
    return alpha * ((-torch.expm1(-entropy)) ** gamma * entropy).mean()


def weighted_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return sum(w CE) / sum(w) over the batch, with the weights of `class_weights`."""
    entropy, weights = _weighted(logits, target)
    return (weights * entropy).sum() / weights.sum()


def weighted_cross_entropy_literal(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return sum(w CE) / n over the n voxels of the batch, as PSNet prints it.

    The weights are 1 / count already, so that this is about 1 / n of a cross-entropy: too little
    for the printed learning rate. `weighted_cross_entropy` is the one to train with.
    """
    entropy, weights = _weighted(logits, target)
    return (weights * entropy).mean()


def dice_ce(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return soft Dice over the batch plus mean cross-entropy, as nnU-Net does.

    Dice is 1 - (2 sum(p y) + 1e-5) / (sum(p) + sum(y) + 1e-5), mean over the foreground classes.
    """
    p, y = _foreground(logits, target)
    overlap = 2 * _over_voxels(p * y) + _SMOOTH
    soft = 1 - (overlap / (_over_voxels(p) + _over_voxels(y) + _SMOOTH)).mean()
    return soft + _cross_entropy(logits, target).mean()


LOSSES: dict[str, Loss] = {
    "dice": dice,
    "dice_ce": dice_ce,
    "focal": focal,
    "weighted_cross_entropy": weighted_cross_entropy,
    "weighted_cross_entropy_literal": weighted_cross_entropy_literal,
}


def class_weights(
    target: torch.Tensor, classes: int, most_ratio: float = _MOST_RATIO
) -> torch.Tensor:
    """Return 1 / voxels of each class, (N, classes), counted in each image.

    An image without foreground takes the counts of the whole batch. No weight is more than
    `most_ratio` times the least one of its image; a class that is not there has weight 0.

    Parameters
    ----------
    target : (N, ...) int64 tensor
        Class indices.
    classes : int
    most_ratio : float
    """
    images = target.flatten(1)
    counts = torch.stack([torch.bincount(image, minlength=classes) for image in images]).float()
    empty = counts[:, 1:].sum(dim=1, keepdim=True) == 0
    counts = torch.where(empty, counts.sum(dim=0, keepdim=True), counts)
    least = 1 / counts.amax(dim=1, keepdim=True)
    return torch.where(counts > 0, torch.minimum(1 / counts, most_ratio * least), 0.0)


def deep(
    loss: Loss,
    outputs: Sequence[torch.Tensor],
    target: torch.Tensor,
    weights: Sequence[float] | None = None,
) -> torch.Tensor:
    """Return the weighted mean of a loss over the heads of a network.

    Parameters
    ----------
    loss : callable
        One of `LOSSES`.
    outputs : sequence of (N, classes, ...) tensors
        Logits, the finest first; see `Network.forward_all`.
    target : (N, ...) int64 tensor
        At the finest resolution; the nearest voxel is taken for coarser heads.
    weights : sequence of float, optional
        One per head; 1, 1/2, 1/4 and so on when left out. Only their ratios count.

    Raises
    ------
    SettingsError
        When there are not as many weights as heads.
    """
    if weights is None:
        weights = [0.5**level for level in range(len(outputs))]
    if len(weights) != len(outputs) or not outputs or sum(weights) <= 0:
        raise SettingsError(
            f"deep supervision: weights {list(weights)} for {len(outputs)} heads; give one each, "
            "with a sum above 0"
        )
    total = sum(
        weight * loss(output, _nearest(target, output.shape[2:]))
        for weight, output in zip(weights, outputs, strict=True)
        if weight
    )
    return total / sum(weights)


@dataclass(frozen=True)
class Schedule:
    """Rounds of losses: each for its number of iterations, and the whole again `repeat` times.

    Attributes
    ----------
    rounds : sequence of (name, iterations)
        Names are those of `LOSSES`.
    repeat : int

    Raises
    ------
    SettingsError
        For an unknown loss, or a number below 1.
    """

    rounds: tuple[tuple[str, int], ...]
    repeat: int = 1

    def __init__(self, rounds: Iterable[Sequence[Any]], repeat: int = 1) -> None:
        pairs = tuple((str(name), int(iterations)) for name, iterations in rounds)
        unknown = sorted({name for name, _ in pairs} - set(LOSSES))
        if unknown or not pairs:
            raise SettingsError(f"losses {unknown}: choose among {', '.join(LOSSES)}")
        if min(repeat, *(iterations for _, iterations in pairs)) < 1:
            raise SettingsError(f"schedule {pairs}, repeat {repeat}: use numbers of 1 or more")
        object.__setattr__(self, "rounds", pairs)
        object.__setattr__(self, "repeat", repeat)

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Iteration before which each part ends; the last is the length of the schedule."""
        return tuple(accumulate(iterations for _, iterations in self.rounds * self.repeat))

    def at(self, iteration: int) -> tuple[str, Loss]:
        """Return name and loss of an iteration, counted from 0; the last one after the end."""
        ends = zip(self.rounds * self.repeat, self.boundaries, strict=True)
        name = next((name for (name, _), end in ends if iteration < end), self.rounds[-1][0])
        return name, LOSSES[name]

    def to_json(self) -> dict[str, Any]:
        """Return the schedule as JSON values."""
        return {"rounds": [list(part) for part in self.rounds], "repeat": self.repeat}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Schedule":
        """Return the schedule of a document made by `to_json`.

        Raises
        ------
        SettingsError
            When the document lacks something or has something else.
        """
        try:
            return cls(**document)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"schedule {document}: {error}") from None


def _foreground(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probability and truth, 0 or 1, of the foreground classes, both float32."""
    p = torch.softmax(logits.float(), dim=1)[:, 1:]
    classes = torch.arange(1, logits.shape[1], device=target.device)
    y = target.unsqueeze(1) == classes.view(1, -1, *[1] * (target.ndim - 1))
    return p, y.float()


def _over_voxels(x: torch.Tensor) -> torch.Tensor:
    """Return the sum for each class over the voxels of the batch."""
    return x.sum(dim=[0, *range(2, x.ndim)])


def _cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return -log of what the true class gets, for each voxel."""
    return functional.cross_entropy(logits.float(), target, reduction="none")


def _weighted(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cross-entropy and weight of each voxel, (N, voxels)."""
    weights = class_weights(target, logits.shape[1])
    entropy = _cross_entropy(logits, target).flatten(1)
    return entropy, torch.gather(weights, 1, target.flatten(1))


def _nearest(target: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    if target.shape[1:] == shape:
        return target
    # Class indices are exact in float32, which is what can be interpolated everywhere.
    coarse = functional.interpolate(target.unsqueeze(1).float(), size=shape, mode="nearest")
    return coarse.squeeze(1).long()

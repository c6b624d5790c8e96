"""From the fingerprint of a data set to the plan of a network.

The rules for spacing, patch and pooling are those of nnU-Net (Isensee et al., Nature Methods
2021, supplementary note 2), with a cap on parameters in place of a full graphics memory.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from pipeline.errors import SettingsError
from pipeline.segment.networks import Network, build
from pipeline.segment.plan import Intensity, Plan, Shape
from pipeline.segment.training.fingerprint import Fingerprint

Spacing = tuple[float, float, float]

#: Largest patch that is planned, unless one is given.
MAX_VOXELS = 128 * 128 * 96
MAX_PARAMETERS = 2_000_000
BATCH, BATCH_OF_SLICES = 2, 4

#: A spacing, and a number of voxels, that make an axis one of slices.
_ANISOTROPY = 3.0
_LOW_PERCENTILE = 10.0
#: No axis is pooled below this; neither is one that is twice as coarse as the finest.
_LEAST_VOXELS, _COARSER = 4, 2.0
_MOST_LEVELS = 6
#: A U-Net has three resolutions at least, hence an axis that can be halved twice.
_LEAST_PATCH = 16
_MAX_HEADS = 3
#: Channels at full resolution; the widest within the cap is taken.
_WIDTHS = (32, 24, 16, 12, 8, 4, 2)
_MAX_WIDTH = 320

#: Percentiles at which an image is clipped that has its own mean and SD.
_CLIP = (0.5, 99.5)
_BYTES = 4


class Card(NamedTuple):
    """What the paper of a network trained on; the images may be smaller."""

    patch: Shape
    isotropic_mm: tuple[float, float] | None = None


#: Slices whole, on isotropic voxels of 0.5 to 1 mm, for the two networks of slices.
CARDS: Mapping[str, Card] = {
    "densehighres3dnet": Card((192, 192, 48)),
    "highres3dnet": Card((192, 192, 48)),
    "vnet": Card((128, 128, 64)),
    "fcn8s": Card((512, 512, 1), (0.5, 1.0)),
    "psnet": Card((512, 512, 1), (0.5, 1.0)),
}
_OWN_CARD = Card((128, 128, 96))


def make_plan(
    found: Fingerprint,
    *,
    network: str,
    labels: Mapping[str, int],
    spacing_mm: Spacing | None = None,
    patch: Shape | None = None,
    batch: int | None = None,
    options: Mapping[str, Any] | None = None,
    max_parameters: int = MAX_PARAMETERS,
    max_voxels: int = MAX_VOXELS,
) -> Plan:
    """Return the plan of a network for a data set; what is given is taken as it is.

    Parameters
    ----------
    found : Fingerprint
    network : str
        "unet" configures itself; any other takes the patch of its paper, or less.
    labels : mapping of str to int
    spacing_mm, patch, batch
        Along the axes nearest to L, P, S. A patch is padded to what the network can take.
    options : mapping
        What the network is built with, besides what is planned.
    max_parameters, max_voxels : int
        For "unet": the widest network, and the largest patch, within them.

    Raises
    ------
    SettingsError
        When no network fits the cap, or the network refuses an option.
    """
    card = CARDS.get(network, _OWN_CARD)
    spacing = spacing_mm or target_spacing(found, card)
    median = _median_shape(found, spacing)
    own = dict(options or {})
    if network == "unet":
        size = patch or largest_patch(median, spacing, max_voxels)
        strides, kernels = topology(size, spacing)
        own = {"strides": strides, "kernels": kernels} | own
        own.setdefault("deep_supervision", min(_MAX_HEADS, len(own["strides"]) - 2))
        if "filters" not in own and "width" not in own:
            own["width"] = widest(len(labels) + 1, own, max_parameters)
    else:
        size = patch or _least(card.patch, median)
    built = on_meta(network, len(labels) + 1, own)
    divided = _divisible(size, built)
    usual = BATCH_OF_SLICES if built.dimensions == 2 else BATCH
    return Plan(
        network=network,
        labels=dict(labels),
        spacing_mm=spacing,
        patch=divided,
        intensity=intensity_rule(found),
        batch=batch or usual,
        dimensions=built.dimensions,
        options=own,
    )


def target_spacing(found: Fingerprint, card: Card = _OWN_CARD) -> Spacing:
    """Return the spacing to train on.

    The median of each axis. Where one axis is more than three times as coarse as the others and
    has less than a third of their voxels, the 10 % percentile of that axis, so that few images
    are interpolated across slices; never finer than the others.
    """
    spacings = np.asarray(found.spacings_mm)
    target = np.median(spacings, axis=0)
    if card.isotropic_mm is not None:
        a = float(np.clip(target[:2].min(), *card.isotropic_mm))
        return a, a, a
    worst = int(target.argmax())
    others = [axis for axis in range(3) if axis != worst]
    voxels = np.median(np.asarray(found.shapes) * spacings / target, axis=0)
    coarse = target[worst] > _ANISOTROPY * target[others].max()
    if coarse and voxels[worst] * _ANISOTROPY < voxels[others].min():
        fine = np.percentile(spacings[:, worst], _LOW_PERCENTILE)
        target[worst] = max(float(fine), float(target[others].max()))
    a, b, c = (round(float(value), 6) for value in target)
    return a, b, c


def largest_patch(median: Shape, spacing_mm: Spacing, max_voxels: int) -> Shape:
    """Return the largest patch within the voxels: a cube in mm, cut to the median image."""
    spacing, size = np.asarray(spacing_mm), np.asarray(median, dtype=np.float64)

    def patch(edge_mm: float) -> Any:
        return np.maximum(np.minimum(size, np.floor(edge_mm / spacing)), 1)

    low, high = 0.0, float((size * spacing).max()) + float(spacing.max())
    if np.prod(patch(high)) > max_voxels:
        while high - low > 0.01 * float(spacing.min()):
            middle = (low + high) / 2
            low, high = (low, middle) if np.prod(patch(middle)) > max_voxels else (middle, high)
        high = low
    found = patch(high)
    found[found.argmax()] = max(found.max(), _LEAST_PATCH)
    a, b, c = (int(n) for n in found)
    return a, b, c


def topology(patch: Shape, spacing_mm: Spacing) -> tuple[list[list[int]], list[list[int]]]:
    """Return strides and kernels of each resolution of a U-Net.

    An axis is halved while four voxels or more remain and it is less than twice as coarse as the
    finest axis that can be halved; its kernel is 3 from where it is less than twice as coarse as
    the finest of all, else 1.
    """
    size, spacing = np.asarray(patch, dtype=float), np.asarray(spacing_mm, dtype=float)
    strides, kernels = [[1, 1, 1]], [_kernel(spacing, size)]
    while len(strides) < _MOST_LEVELS:
        can = size >= 2 * _LEAST_VOXELS
        if not can.any():
            break
        halved = can & (spacing < _COARSER * spacing[can].min())
        stride = np.where(halved, 2, 1)
        size, spacing = np.ceil(size / stride), spacing * stride
        strides.append([int(n) for n in stride])
        kernels.append(_kernel(spacing, size))
    return strides, kernels


def _kernel(spacing: Any, size: Any) -> list[int]:
    """Return 3 for each axis that is not much coarser than the finest, and is not one voxel."""
    near = (spacing < _COARSER * spacing.min()) & (size > 1)
    return [3 if axis else 1 for axis in near]


def widest(classes: int, options: Mapping[str, Any], max_parameters: int) -> int:
    """Return the most channels at full resolution with which a U-Net is within the cap."""
    for width in _WIDTHS:
        if parameters(on_meta("unet", classes, {**options, "width": width})) <= max_parameters:
            return width
    raise SettingsError(
        f"--max-parameters {max_parameters}: too few for {len(options['strides'])} resolutions;"
        " raise it or give a smaller --patch"
    )


def intensity_rule(found: Fingerprint) -> Intensity:
    """Return the rule: of the data set for CT, whose numbers mean something, else of the image."""
    if found.kind == "mr":
        return Intensity("image", *_CLIP)
    return Intensity("dataset", found.low, found.high, found.mean, max(found.sd, 1e-6))


def on_meta(network: str, classes: int, options: Mapping[str, Any]) -> Network:
    """Return a network without memory for its weights, to count and to ask."""
    with torch.device("meta"):
        return build(network, channels=1, classes=classes, options=options)


def parameters(network: nn.Module) -> int:
    """Return how many parameters a network has."""
    return sum(weight.numel() for weight in network.parameters())


def memory_guess(plan: Plan) -> int:
    """Return the bytes that a step of training needs, about.

    Every layer's output is kept for the way back and has a gradient; weights count four times
    (gradient, and two moments of Adam).
    """
    network = on_meta(plan.network, plan.classes, plan.options)
    kept = [0]

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            kept[0] += output.numel()

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    shape = plan.patch[: plan.dimensions]
    network(torch.empty((plan.batch, 1, *shape), device="meta"))
    return _BYTES * (2 * kept[0] + 4 * parameters(network))


def _median_shape(found: Fingerprint, spacing_mm: Spacing) -> Shape:
    sizes = np.asarray(found.shapes) * np.asarray(found.spacings_mm) / np.asarray(spacing_mm)
    a, b, c = (max(1, math.floor(n + 0.5)) for n in np.median(sizes, axis=0))
    return a, b, c


def _least(one: Shape, two: Shape) -> Shape:
    a, b, c = (min(pair) for pair in zip(one, two, strict=True))
    return a, b, c


def _divisible(patch: Sequence[int], network: Network) -> Shape:
    """Return the patch padded to what the network takes; one slice for a network of slices."""
    a, b, c = (-(-n // d) * d for n, d in zip(patch, network.divisor, strict=True))
    return (a, b, 1) if network.dimensions == 2 else (a, b, c)

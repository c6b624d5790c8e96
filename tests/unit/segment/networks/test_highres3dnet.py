"""Held against the reference layout of the card of DenseHighRes3DNet."""

import pytest
import torch
from torch import nn

from pipeline.segment.networks import build


def meta(**options):
    with torch.device("meta"):
        return build("highres3dnet", channels=1, classes=2, options=options)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def by_hand(a, b, c, d):
    """Weights 27 per pair of channels, two numbers per channel normalised."""
    return {
        "stem": 27 * a + 2 * a,
        "stage1": 27 * 6 * a * a + 2 * 6 * a,
        "stage2": 27 * (a * b + 5 * b * b) + 2 * (a + 5 * b),
        "stage3": 27 * (b * c + 5 * c * c) + 2 * (b + 5 * c),
        "merge": 27 * c * d + 2 * d,
        "up": 27 * d * d + 2 * d,
        "score": 2 * d + 2,
    }


@pytest.mark.parametrize(
    ("width", "channels", "total"),
    [(1.0, (16, 32, 64, 80), 1_115_026), (0.5, (8, 16, 32, 40), 279_306)],
)
def test_layer_by_layer_parameters(width, channels, total):
    network = meta(width=width)
    found = {name: parameters(part) for name, part in network.named_children()}
    assert found == by_hand(*channels)
    assert parameters(network) == total


def test_sizes_are_those_of_the_card():
    assert parameters(meta()) == pytest.approx(1.1e6, rel=0.02)
    # Half the width has about the size of version 1 of DenseHighRes3DNet.
    assert parameters(meta(width=0.5)) == pytest.approx(290_720, rel=0.05)


def test_layer_by_layer_shapes():
    network, found = meta(), {}
    for name, part in network.named_children():
        part.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out.shape}))
    network(torch.empty(1, 1, 48, 192, 192, device="meta"))
    half, full = (24, 96, 96), (48, 192, 192)
    assert {name: tuple(shape) for name, shape in found.items()} == {
        "stem": (1, 16, *half),
        "stage1": (1, 16, *half),
        "stage2": (1, 32, *half),
        "stage3": (1, 64, *half),
        "merge": (1, 80, *half),
        "up": (1, 80, *full),
        "score": (1, 2, *full),
    }


@pytest.mark.parametrize(("part", "dilation"), [("stage1", 1), ("stage2", 2), ("stage3", 4)])
def test_dilations(part, dilation):
    layers = [m for m in getattr(meta(), part).modules() if isinstance(m, nn.Conv3d)]
    assert [m.dilation for m in layers] == [(dilation,) * 3] * 6

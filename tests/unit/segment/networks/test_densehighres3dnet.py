"""Held against the layer table of its card."""

import pytest
import torch
from torch import nn

from pipeline.segment.networks import build
from pipeline.segment.networks.blocks import depth_to_space

HALF, FULL = (24, 96, 96), (48, 192, 192)


def meta(**options):
    with torch.device("meta"):
        return build("densehighres3dnet", channels=1, classes=2, options=options)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def shapes(network, shape):
    """Return the shape of what each direct part of a network gives."""
    found = {}
    for name, part in network.named_children():
        part.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out.shape}))
    found["logits"] = network(torch.empty(shape, device="meta")).shape
    return {name: tuple(shape) for name, shape in found.items()}


@pytest.mark.parametrize("version", [1, 2])
def test_layer_by_layer_shapes(version):
    rows = {
        "stem": (1, 8, *FULL),
        "lateral0": (1, 8, *HALF),
        "lateral1": (1, 8, *HALF),
        "lateral2": (1, 16, *HALF),
        "deepest": (1, 32, *HALF),
        "merge": (1, 64, *HALF),
        "score": (1, 16, *HALF),
        "logits": (1, 2, *FULL),
    }
    if version == 2:
        rows["refine"] = (1, 2, *FULL)
    assert shapes(meta(version=version), (1, 1, *FULL)) == rows


def normed(channels):
    """Scale and shift of the normalisation, and a slope per channel."""
    return 3 * channels


def stage(first, width, convolutions):
    """Weights of three blocks by hand: each convolution is normalised on its way in."""
    rest = 3 * convolutions - 1
    return 27 * (first * width + rest * width**2) + normed(first) + rest * normed(width)


#: Row of the card's table -> parameters of version 1.
TABLE = {
    "stem": 27 * 8 + normed(8),
    "lateral0": 64 * 8 + normed(8),
    "lateral1": stage(8, 8, 2),
    "lateral2": stage(8, 16, 2),
    "deepest": stage(16, 32, 3),
    "merge": 64 * 64 + normed(64),
    "score": 64 * 16 + 16,
}


def test_layer_by_layer_parameters_of_version_1():
    network = meta()
    assert {name: parameters(part) for name, part in network.named_children()} == TABLE
    assert parameters(network) == 290_720
    assert parameters(network) == pytest.approx(0.30e6, rel=0.04)  # "about 0.30 M"


def test_layer_by_layer_parameters_of_version_2():
    table = {**TABLE, "lateral1": stage(8, 8, 3), "lateral2": stage(8, 16, 3)}
    table["refine"] = 27 * (2 + 8) * 2 + 2
    network = meta(version=2)
    assert {name: parameters(part) for name, part in network.named_children()} == table


def test_a_projected_shortcut_adds_its_weights():
    more = parameters(meta(shortcut="project")) - parameters(meta())
    assert more == 8 * 16 + 16 * 32


def dilations(network, part):
    return [m.dilation[0] for m in getattr(network, part).modules() if isinstance(m, nn.Conv3d)]


def test_hybrid_dilations():
    first, second = meta(), meta(version=2)
    assert dilations(first, "lateral1") == [1, 1] * 3
    assert dilations(first, "lateral2") == [1, 3] * 3
    assert dilations(first, "deepest") == [1, 3, 5] * 3
    for part in ("lateral1", "lateral2", "deepest"):
        assert dilations(second, part) == [1, 2, 5] * 3


def test_the_receptive_field_is_about_184_voxels():
    network = meta()
    half = 1 + sum(
        2 * d for part in ("lateral1", "lateral2", "deepest") for d in dilations(network, part)
    )
    # A voxel at half resolution spans two; the stem sees one more on each side.
    assert 2 * half + 2 == 184


def test_four_groups_and_prelu():
    network = meta()
    groups = {m.num_groups for m in network.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {4}
    assert any(isinstance(m, nn.PReLU) for m in network.modules())
    assert not any(isinstance(m, nn.BatchNorm3d | nn.ReLU) for m in network.modules())


def test_version_2_says_that_it_is_an_approximation():
    assert meta().form == "densehighres3dnet v1"
    assert meta(version=2).form == "densehighres3dnet v2-approximation"


def test_laterals_are_joined_in_the_order_of_the_table():
    torch.manual_seed(0)
    network = build("densehighres3dnet", channels=1, classes=2).eval()
    found = {}
    for name, part in network.named_children():
        part.register_forward_hook(lambda _m, i, out, name=name: found.update({name: (i[0], out)}))
    with torch.no_grad():
        logits = network(torch.randn(1, 1, 8, 8, 8))
    laterals = [found[name][1] for name in ("lateral0", "lateral1", "lateral2", "deepest")]
    assert torch.equal(found["merge"][0], torch.cat(laterals, dim=1))
    assert torch.equal(logits, depth_to_space(found["score"][1]))

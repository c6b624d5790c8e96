"""The U-Net is MONAI's DynUNet, walked by a plain loop."""

import pytest
import torch
from monai.networks.nets.dynunet import DynUNet
from torch.nn import functional

from pipeline.segment.networks import build

THREE_POOLINGS = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def by_hand(filters, classes, heads):
    """Two 3x3x3 convolutions per stage, normalised; transposed 2x2x2 ones on the way up."""
    pairs = list(zip([1, *filters], filters, strict=False))
    down = sum(27 * (a * b + b * b) + 4 * b for a, b in pairs)
    up = sum(8 * a * b + 27 * (2 * b * b + b * b) + 4 * b for b, a in pairs[1:])
    return down + up + sum(f * classes + classes for f in filters[: heads + 1])


@pytest.mark.parametrize("heads", [0, 1, 2])
def test_parameters_by_hand(heads):
    network = build("unet", channels=1, classes=3, options={"width": 16, "deep_supervision": heads})
    assert parameters(network) == by_hand([16, 32, 64, 128], 3, heads)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 16, "strides": THREE_POOLINGS},
        {"width": 19, "strides": THREE_POOLINGS},
        {"width": 24, "max_width": 88, "strides": THREE_POOLINGS},
        {"width": 24, "strides": THREE_POOLINGS[:3]},
    ],
)
def test_a_network_for_the_hippocampus_is_small(options):
    with torch.device("meta"):
        network = build("unet", channels=1, classes=3, options=options)
        assert parameters(network) <= 2_000_000
        outputs = network.forward_all(torch.empty(2, 1, 40, 56, 40))
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 40, 56, 40), (2, 3, 20, 28, 20)]
    assert all(n % d == 0 for n, d in zip((40, 56, 40), network.divisor, strict=True))


def dynunet(residual):
    strides = [(1, 1, 1), (2, 2, 1), (2, 2, 2), (1, 2, 2)]
    kernels = [(3, 3, 1), (3, 3, 3), (3, 3, 3), (3, 3, 3)]
    options = {
        "strides": strides,
        "kernels": kernels,
        "filters": [4, 6, 8, 8],
        "deep_supervision": 2,
        "residual": residual,
    }
    theirs = DynUNet(
        3, 1, 3, kernels, strides, strides[1:],
        filters=[4, 6, 8, 8], deep_supervision=True, deep_supr_num=2, res_block=residual,
    )  # fmt: skip
    return build("unet", channels=1, classes=3, options=options), theirs


@pytest.mark.parametrize("residual", [False, True])
def test_every_head_is_that_of_dynunet(residual):
    torch.manual_seed(0)
    ours, theirs = dynunet(residual)
    # DynUNet names each tensor a second time below "skip_layers".
    left = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not left.unexpected_keys
    assert all(name.startswith("skip_layers.") for name in left.missing_keys)
    x = torch.randn(2, 1, 8, 16, 8)
    stacked = theirs(x).unbind(dim=1)
    outputs = ours.forward_all(x)
    assert [tuple(o.shape[2:]) for o in outputs] == [(8, 16, 8), (4, 8, 8), (2, 4, 4)]
    for mine, other in zip(outputs, stacked, strict=True):
        torch.testing.assert_close(functional.interpolate(mine, other.shape[2:]), other)
    torch.testing.assert_close(ours(x), theirs.eval()(x))
    assert ours.divisor == (4, 8, 4)


def test_widths_double_up_to_the_most():
    network = build("unet", channels=1, classes=2, options={"width": 8, "max_width": 20})
    widths = [block.conv2.conv.out_channels for block in network.downsamples]
    assert [network.input_block.conv2.conv.out_channels, *widths] == [8, 16, 20]
    assert network.bottleneck.conv2.conv.out_channels == 20

"""V-Net, held against the layers of its paper."""

import torch
from torch import nn

from pipeline.segment.networks import build


def test_parameters_by_hand():
    """5x5x5 convolutions without bias, 2x2x2 between resolutions; ELU has no weights.

    A normalised convolution adds a scale and a shift per channel, and MONAI's layers of the
    upper half and its transposed ones keep their bias where stated here.
    """
    with torch.device("meta"):
        network = build("vnet", channels=1, classes=2).net

    def five(a, b):
        return 125 * a * b + 2 * b

    def down(a, convolutions):
        return 8 * a * 2 * a + 2 * 2 * a + convolutions * five(2 * a, 2 * a)

    def up(a, b, convolutions):
        half = b // 2
        return 8 * a * half + half + 2 * half + convolutions * five(b, b)

    expected = {
        "in_tr": five(1, 16),
        "down_tr32": down(16, 1),
        "down_tr64": down(32, 2),
        "down_tr128": down(64, 3),
        "down_tr256": down(128, 2),
        "up_tr256": up(256, 256, 2),
        "up_tr128": up(256, 128, 2),
        "up_tr64": up(128, 64, 1),
        "up_tr32": up(64, 32, 1),
        "out_tr": five(32, 2) + 2 * 2 + 2,
    }
    found = {
        name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()
    }
    assert found == expected


def test_dropout_is_an_option():
    with torch.device("meta"):
        network = build("vnet", channels=1, classes=2, options={"dropout": 0.25})
    dropped = [m.p for m in network.net.down_tr128.modules() if isinstance(m, nn.Dropout3d)]
    assert dropped == [0.25]

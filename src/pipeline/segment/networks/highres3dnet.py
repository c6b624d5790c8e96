"""HighRes3DNet in the small layout of NiftyNet: dilated residual blocks at half resolution.

Li et al., "On the compactness, efficiency, and representation of 3D convolutional networks",
IPMI 2017. MONAI's network of that name has no stride: eight times the voxels in every block.
"""

import torch
from torch import nn

from pipeline.segment.networks.blocks import Shortcut, batch_relu, conv, residual_stage
from pipeline.segment.networks.network import Network, scaled


class HighRes3DNet(Network):
    """See the module."""

    divisor = (2, 2, 2)
    form = "highres3dnet"

    def __init__(self, channels: int, classes: int, *, width: float, shortcut: Shortcut) -> None:
        super().__init__()
        a, b, c, d = (scaled(n, width) for n in (16, 32, 64, 80))
        self.stem = nn.Sequential(conv(channels, a, stride=2), batch_relu(a))
        self.stage1 = residual_stage(a, a, (1, 1), batch_relu, shortcut)
        self.stage2 = residual_stage(a, b, (2, 2), batch_relu, shortcut)
        self.stage3 = residual_stage(b, c, (4, 4), batch_relu, shortcut)
        self.merge = nn.Sequential(conv(c, d), batch_relu(d))
        # These two paddings make the grid exactly twice as fine.
        up = nn.ConvTranspose3d(d, d, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.up = nn.Sequential(up, batch_relu(d))
        self.score = nn.Conv3d(d, classes, 1)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits; half the resolution between the stem and `up`."""
        deepest = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return self.score(self.up(self.merge(deepest)))


def build(
    *, channels: int, classes: int, width: float = 1.0, shortcut: Shortcut = "pad"
) -> HighRes3DNet:
    """Return a HighRes3DNet.

    Parameters
    ----------
    channels, classes : int
    width : float
        Factor of the channels 16, 32, 64, 80: 1 has 1.1 million parameters, 0.5 has 0.28
        million, about those of DenseHighRes3DNet.
    shortcut : {"pad", "project"}
        Of residual blocks whose channels grow.
    """
    return HighRes3DNet(channels, classes, width=width, shortcut=shortcut)

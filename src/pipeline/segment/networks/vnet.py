"""V-Net, from MONAI: five resolutions, 5x5x5 convolutions, residual stages.

Milletari et al., "V-Net: fully convolutional neural networks for volumetric medical image
segmentation", 3DV 2016.
"""

import torch
from monai.networks.nets.vnet import VNet as MonaiVNet

from pipeline.segment.networks.network import Network, require

_FIRST = 16


class VNet(Network):
    """See the module."""

    divisor = (16, 16, 16)
    form = "vnet"

    def __init__(self, channels: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        require(_FIRST % channels == 0, f"vnet: {channels} channels; use 1, 2, 4, 8 or 16")
        require(0 <= dropout < 1, f"vnet: dropout {dropout}; use 0 to below 1")
        self.net = MonaiVNet(
            spatial_dims=3,
            in_channels=channels,
            out_channels=classes,
            dropout_prob_down=dropout,
            dropout_prob_up=(dropout, dropout),
        )

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.net(x)


def build(*, channels: int, classes: int, dropout: float = 0.5) -> VNet:
    """Return a V-Net.

    Parameters
    ----------
    channels : {1, 2, 4, 8, 16}
    classes : int
    dropout : float
        Share of whole channels dropped in the two lowest stages and in the skips.
    """
    return VNet(channels, classes, dropout=dropout)

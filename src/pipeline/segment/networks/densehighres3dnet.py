"""DenseHighRes3DNet: lossless down- and up-sampling, hybrid dilations, dense laterals.

Lin et al., "Learning volumetric segmentation for lung tumor". The layers of version 1 follow two
public implementations. Those of version 2 are printed nowhere: ours is an approximation, and its
numbers are not to be held against the printed ones.
"""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.segment.networks.blocks import (
    Shortcut,
    conv,
    depth_to_space,
    group_prelu,
    residual_stage,
    space_to_depth,
)
from pipeline.segment.networks.network import Network, require

#: Version -> what tables and model cards call it.
FORMS = {1: "densehighres3dnet v1", 2: "densehighres3dnet v2-approximation"}

_FACTOR = 2
#: Dilations of the convolutions of a residual block, a row per stage.
_DILATIONS: dict[int, Sequence[Sequence[int]]] = {
    1: ((1, 1), (1, 3), (1, 3, 5)),
    2: ((1, 2, 5), (1, 2, 5), (1, 2, 5)),
}


class DenseHighRes3DNet(Network):
    """See the module; attributes are named after the rows of the layer table."""

    divisor = (_FACTOR, _FACTOR, _FACTOR)

    def __init__(self, channels: int, classes: int, *, version: int, shortcut: Shortcut) -> None:
        super().__init__()
        require(version in FORMS, f"version {version!r}: use 1 or 2")
        self.form = FORMS[version]
        first, second, third = _DILATIONS[version]
        packed = _FACTOR**3
        self.stem = nn.Sequential(conv(channels, 8), group_prelu(8))
        self.lateral0 = nn.Sequential(conv(8 * packed, 8, 1), group_prelu(8))
        self.lateral1 = residual_stage(8, 8, first, group_prelu, shortcut)
        self.lateral2 = residual_stage(8, 16, second, group_prelu, shortcut)
        self.deepest = residual_stage(16, 32, third, group_prelu, shortcut)
        self.merge = nn.Sequential(conv(8 + 8 + 16 + 32, 64, 1), group_prelu(64))
        self.score = nn.Conv3d(64, classes * packed, 1)
        self.refine = nn.Conv3d(classes + 8, classes, 3, padding=1) if version == 2 else None

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits; half the resolution between DDC and DUC."""
        full = self.stem(x)
        lateral0 = self.lateral0(space_to_depth(full, _FACTOR))
        lateral1 = self.lateral1(lateral0)
        lateral2 = self.lateral2(lateral1)
        dense = torch.cat([lateral0, lateral1, lateral2, self.deepest(lateral2)], dim=1)
        scores = depth_to_space(self.score(self.merge(dense)), _FACTOR)
        if self.refine is None:
            return scores
        return self.refine(torch.cat([scores, full], dim=1))


def build(
    *, channels: int, classes: int, version: int = 1, shortcut: Shortcut = "pad"
) -> DenseHighRes3DNet:
    """Return a DenseHighRes3DNet.

    Parameters
    ----------
    channels, classes : int
    version : {1, 2}
        2 is an approximation: dilations 1, 2, 5 in every block, and the map of the stem beside
        the logits before a last convolution of 3x3x3.
    shortcut : {"pad", "project"}
        Of residual blocks whose channels grow.
    """
    return DenseHighRes3DNet(channels, classes, version=version, shortcut=shortcut)

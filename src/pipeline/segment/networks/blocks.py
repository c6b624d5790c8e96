"""Parts that the volumetric networks share."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from pipeline.errors import GeometryError
from pipeline.segment.networks.network import require

#: Number of channels -> normalisation and activation.
Activate = Callable[[int], nn.Sequential]
Shortcut = Literal["pad", "project"]

_GROUPS = 4


def conv(
    inputs: int, outputs: int, size: int = 3, *, stride: int = 1, dilation: int = 1
) -> nn.Conv3d:
    """Return a convolution that keeps the grid (but for its stride), without bias."""
    padding = dilation * (size - 1) // 2
    return nn.Conv3d(
        inputs, outputs, size, stride=stride, padding=padding, dilation=dilation, bias=False
    )


def group_prelu(channels: int) -> nn.Sequential:
    """Return group normalisation in four groups, then a PReLU with a slope per channel."""
    return nn.Sequential(nn.GroupNorm(_GROUPS, channels), nn.PReLU(channels))


def batch_relu(channels: int) -> nn.Sequential:
    """Return batch normalisation, then a ReLU."""
    return nn.Sequential(nn.BatchNorm3d(channels), nn.ReLU(inplace=True))


def space_to_depth(x: torch.Tensor, factor: int = 2) -> torch.Tensor:
    """Return each cube of factor**3 voxels as channels of one voxel; nothing is lost.

    The dense down-sampling convolution (DDC) of DenseHighRes3DNet.

    Parameters
    ----------
    x : (N, C, I, J, K) tensor
    factor : int

    Returns
    -------
    (N, C factor**3, I / factor, J / factor, K / factor) tensor
        Channel c factor**3 + (a factor + b) factor + d holds offset (a, b, d) of channel c.

    Raises
    ------
    GeometryError
        When an axis is not divisible by `factor`.
    """
    n, c, i, j, k = x.shape
    r = factor
    if i % r or j % r or k % r:
        raise GeometryError(f"grid of {(i, j, k)}: not divisible by {r} on each axis; pad it")
    cubes = x.reshape(n, c, i // r, r, j // r, r, k // r, r)
    return cubes.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * r**3, i // r, j // r, k // r)


def depth_to_space(x: torch.Tensor, factor: int = 2) -> torch.Tensor:
    """Return the exact inverse of `space_to_depth`.

    The dense up-sampling convolution (DUC) of DenseHighRes3DNet.

    Raises
    ------
    GeometryError
        When the number of channels is not divisible by factor**3.
    """
    n, channels, i, j, k = x.shape
    r = factor
    if channels % r**3:
        raise GeometryError(f"{channels} channels: not divisible by {r**3}")
    c = channels // r**3
    offsets = x.reshape(n, c, r, r, r, i, j, k)
    return offsets.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c, i * r, j * r, k * r)


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """Normalise, activate and convolve once per dilation, then add the input.

    Parameters
    ----------
    inputs, outputs : int
        Channels; a block never has fewer outputs than inputs.
    dilations : sequence of int
        One convolution of 3x3x3 each.
    activate : callable
        Channels -> normalisation and activation.
    shortcut : {"pad", "project"}
        Where channels grow: zeros before and after those of the input (as NiftyNet and MONAI),
        or a convolution of 1x1x1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dilations: Sequence[int],
        activate: Activate,
        shortcut: Shortcut = "pad",
    ) -> None:
        super().__init__()
        require(shortcut in ("pad", "project"), f"shortcut {shortcut!r}: use pad or project")
        widths = [inputs] + [outputs] * (len(dilations) - 1)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(activate(width), conv(width, outputs, dilation=dilation))
                for width, dilation in zip(widths, dilations, strict=True)
            )
        )
        missing = outputs - inputs
        self.pad = (missing // 2, missing - missing // 2)
        self.project = conv(inputs, outputs, 1) if missing and shortcut == "project" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, I, J, K) of (N, inputs, I, J, K)."""
        return self.layers(x) + self._matched(x)

    def _matched(self, x: torch.Tensor) -> torch.Tensor:
        if self.project is not None:
            return self.project(x)
        return functional.pad(x, (0, 0, 0, 0, 0, 0, *self.pad)) if any(self.pad) else x


def residual_stage(
    inputs: int,
    outputs: int,
    dilations: Sequence[int],
    activate: Activate,
    shortcut: Shortcut = "pad",
) -> nn.Sequential:
    """Return three residual blocks; the first one changes the number of channels."""
    return nn.Sequential(
        *(
            ResidualBlock(width, outputs, dilations, activate, shortcut)
            for width in (inputs, outputs, outputs)
        )
    )

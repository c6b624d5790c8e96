"""The U-Net of nnU-Net, from the blocks of MONAI's DynUNet.

Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 2021.

DynUNet holds every block twice (once in a chain of nested layers), so that a file of its weights
repeats each tensor, and it stacks the heads at full resolution while it trains. Here the same
blocks, under the same names, are walked by a plain loop.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from monai.networks.nets.dynunet import DynUNet

from pipeline.segment.networks.network import Network, require

Axes = Sequence[int]
_STRIDES: Sequence[Axes] = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))


class UNet(Network):
    """See the module."""

    form = "unet"

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        strides: Sequence[Axes],
        kernels: Sequence[Axes],
        filters: Sequence[int],
        heads: int,
        residual: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dimensions = _dimensions(strides)
        i, j, k = (_product(axis) for axis in zip(*_in_space(strides), strict=True))
        self.divisor = (i, j, k)
        blocks = DynUNet(
            spatial_dims=self.dimensions,
            in_channels=channels,
            out_channels=classes,
            kernel_size=kernels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=filters,
            dropout=dropout or None,
            deep_supervision=heads > 0,
            deep_supr_num=max(heads, 1),
            res_block=residual,
        )
        self.input_block = blocks.input_block
        self.downsamples = blocks.downsamples
        self.bottleneck = blocks.bottleneck
        self.upsamples = blocks.upsamples
        self.output_block = blocks.output_block
        self.deep_supervision_heads = (
            blocks.deep_supervision_heads if heads else torch.nn.ModuleList()
        )

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the finest head."""
        return self.output_block(self._decoded(x)[0])

    def all_logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits of every head, the finest first."""
        finest, *coarser = self._decoded(x)
        heads = zip(self.deep_supervision_heads, coarser, strict=False)
        return [self.output_block(finest), *(head(features) for head, features in heads)]

    def _decoded(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of the decoder, the finest first."""
        skips = [self.input_block(x)]
        for down in self.downsamples:
            skips.append(down(skips[-1]))
        features = self.bottleneck(skips[-1])
        decoded = []
        for up in self.upsamples:
            features = up(features, skips.pop())
            decoded.append(features)
        return decoded[::-1]


def build(
    *,
    channels: int,
    classes: int,
    strides: Sequence[Axes] = _STRIDES,
    kernels: Sequence[Axes] | None = None,
    width: int = 32,
    max_width: int = 320,
    filters: Sequence[int] | None = None,
    deep_supervision: int = 1,
    residual: bool = False,
    dropout: float = 0.0,
) -> UNet:
    """Return a U-Net.

    Parameters
    ----------
    channels, classes : int
    strides : sequence of two or three ints each
        One row per resolution, the first all 1; rows of two make a network of slices.
    kernels : sequence of two or three ints each, optional
        Odd; as many rows as strides. 3 on each axis when left out.
    width, max_width : int
        Channels at full resolution, doubled at each further one up to the most.
    filters : sequence of int, optional
        Channels at each resolution, instead of `width`.
    deep_supervision : int
        Heads besides the finest, from half resolution on; 0 for none.
    residual : bool
        Residual blocks in the encoder.
    dropout : float
        Share of values dropped after each convolution.

    Raises
    ------
    SettingsError
        When the rows do not fit each other.
    """
    levels = len(strides)
    require(levels >= 3, f"strides {strides}: give at least three rows, the first all 1")
    dimensions = _dimensions(strides)
    kernels = [[3] * dimensions] * levels if kernels is None else kernels
    filters = [min(width * 2**i, max_width) for i in range(levels)] if filters is None else filters
    _check_rows("strides", strides, levels, dimensions)
    _check_rows("kernels", kernels, levels, dimensions)
    require(set(strides[0]) == {1}, f"strides {strides}: the first row must be all 1")
    require(all(n % 2 for row in kernels for n in row), f"kernels {kernels}: use odd numbers")
    require(
        len(filters) == levels and min(filters) >= 1,
        f"filters {filters}: give {levels} numbers of 1 or more, one per row of strides",
    )
    require(
        0 <= deep_supervision <= levels - 2,
        f"deep_supervision {deep_supervision}: use 0 to {levels - 2} with {levels} resolutions",
    )
    require(0 <= dropout < 1, f"dropout {dropout}: use 0 to below 1")
    return UNet(
        channels,
        classes,
        strides=[tuple(row) for row in strides],
        kernels=[tuple(row) for row in kernels],
        filters=filters,
        heads=deep_supervision,
        residual=residual,
        dropout=dropout,
    )


def _check_rows(name: str, rows: Sequence[Axes], levels: int, dimensions: int) -> None:
    require(
        len(rows) == levels and all(len(row) == dimensions and min(row) >= 1 for row in rows),
        f"{name} {rows}: give {levels} rows of {dimensions} numbers of 1 or more",
    )


def _dimensions(strides: Sequence[Axes]) -> Literal[2, 3]:
    length = len(strides[0])
    require(length in (2, 3), f"strides {strides}: rows of two or three numbers")
    return 2 if length == 2 else 3


def _in_space(strides: Sequence[Axes]) -> list[tuple[int, ...]]:
    return [(*row, 1)[:3] for row in strides]


def _product(numbers: Sequence[int]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product

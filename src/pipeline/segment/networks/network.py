"""What every network offers: logits at full resolution, and what it asks of its input."""

from typing import Literal

import torch
from torch import nn

from pipeline.errors import GeometryError, SettingsError


class Network(nn.Module):  # type: ignore[misc]
    """Base of the segmentation networks. A network of its own defines `logits`.

    Attributes
    ----------
    divisor : three ints
        Each spatial axis of the input must be divisible by its number. The third is 1 where
        `dimensions` is 2.
    dimensions : {2, 3}
        Spatial axes of the input.
    form : str
        Which published form it is, for tables and model cards.
    """

    divisor: tuple[int, int, int] = (1, 1, 1)
    dimensions: Literal[2, 3] = 3
    form: str = ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, (N, classes, I, J[, K]), of an image (N, channels, I, J[, K]).

        Raises
        ------
        GeometryError
            When the number of axes is wrong or an axis is not divisible by `divisor`.
        """
        self._check(x)
        return self.logits(x)

    def forward_all(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits of every head at its own resolution, the finest first.

        Networks without deep supervision have one head.

        Raises
        ------
        GeometryError
            As `forward`.
        """
        self._check(x)
        return self.all_logits(x)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return what `forward` does, of an input that fits."""
        raise NotImplementedError

    def all_logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return what `forward_all` does, of an input that fits."""
        return [self.logits(x)]

    def _check(self, x: torch.Tensor) -> None:
        axes, divisor = tuple(x.shape[2:]), self.divisor[: self.dimensions]
        if len(axes) != self.dimensions:
            raise GeometryError(
                f"input of shape {tuple(x.shape)}: {self.form} takes batch, channels and "
                f"{self.dimensions} spatial axes"
            )
        if any(n % d for n, d in zip(axes, divisor, strict=True)):
            raise GeometryError(
                f"input of {axes} voxels: {self.form} takes multiples of {divisor}; pad the axes"
            )


def require(met: bool, otherwise: str) -> None:
    """Raise SettingsError with the message, unless the condition is met."""
    if not met:
        raise SettingsError(otherwise)


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times `width`, at least one."""
    require(width > 0, f"width {width}: use a number above 0; 1 is the published width")
    return max(1, round(channels * width))

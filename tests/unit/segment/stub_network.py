"""Networks with a known answer, in place of trained ones."""

from typing import Any

import torch
from torch import nn

from pipeline.segment.plan import Intensity, Plan
from pipeline.segment.trained import Model


class Threshold(nn.Module):
    """Class 0 below the first limit, 1 up to the second, and so on; sharp but not hard."""

    def __init__(self, limits: tuple[float, ...], *, gain: float = 20.0, dimensions: int = 3):
        super().__init__()
        self.limits = nn.Parameter(torch.tensor(limits))
        self.gain = gain
        self.dimensions = dimensions
        self.divisor = (1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = [self.gain * (x - limit) for limit in self.limits]
        logits = [torch.zeros_like(x)]
        for step in steps:
            logits.append(logits[-1] + step)
        return torch.cat(logits, dim=1)


class Constant(nn.Module):
    """The same logits everywhere, whatever it sees."""

    dimensions = 3

    def __init__(self, logits: tuple[float, ...], divisor: tuple[int, int, int] = (1, 1, 1)):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))
        self.divisor = divisor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        return self.logits.view(shape).expand(len(x), -1, *x.shape[2:])


class Convolution(nn.Module):
    """One layer with fixed random weights: depends on its neighbourhood and on direction."""

    dimensions = 3
    divisor = (4, 4, 4)

    def __init__(self, classes: int = 3, seed: int = 0):
        super().__init__()
        self.layer = nn.Conv3d(1, classes, 3, padding=1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in self.layer.parameters():
                value.copy_(torch.randn(value.shape, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


#: Intensities as they are.
AS_IS = Intensity("dataset", -1e9, 1e9, 0.0, 1.0)


def make_plan(**changes: Any) -> Plan:
    """A plan of two labels whose values are no class numbers."""
    settings = {
        "network": "stub", "labels": {"shell": 5, "core": 9}, "spacing_mm": (1.0, 1.0, 1.0),
        "patch": (12, 12, 12), "intensity": AS_IS,
    }  # fmt: skip
    return Plan(**(settings | changes))


def make_model(network: nn.Module, name: str = "stub", card: Any = None, **changes: Any) -> Model:
    """A model of a stub network."""
    return Model(make_plan(**changes), network.eval(), card or {}, name)

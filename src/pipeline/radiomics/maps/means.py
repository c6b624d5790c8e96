"""Means of features over the directions of a window that have pairs."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Means:
    """Adds up features direction by direction."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, features: Mapping[str, Tensor], there: Tensor) -> None:
        """Add one direction's values (B,) of features where it has pairs (B,); NaN adds nothing."""
        for name, values in features.items():
            valid = there & ~values.isnan()
            held = torch.where(valid, values, 0.0)
            if name in self._sums:
                self._sums[name] += held
                self._counts[name] += valid
            else:
                self._sums[name], self._counts[name] = held, valid.double()

    def result(self) -> dict[str, Tensor]:
        """Return the means; NaN where no direction has a value."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}

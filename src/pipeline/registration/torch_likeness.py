"""What the affine stage of the torch engine minimises, with the derivatives of a Newton step.

Both measures are functions of the moved intensities m at fixed points of weight w. `terms` gives
the exact derivative for each point and a positive curvature, so that one solver serves both.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

#: Fewest and most bins; between them the cube root of the number of points.
_BINS = (16, 64)
#: Parts into which a point's weight is cut when the joint histogram is summed.
_QUANTA = 2.0**30
#: How far a residual is trusted, in squared SDs of what is trusted.
_TRUST = 6.0
_SCALE_ROUNDS = 3
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Terms:
    """The second-order model of a likeness.

    Attributes
    ----------
    slope : (n,) tensor
        Derivative of the energy with respect to each moved intensity.
    curvature : (n,) tensor
        0 or more: Gauss-Newton's weight of each squared change of intensity.
    fitted : (n, k) tensor
        Changes of intensity that the measure does not see, because it fits them.
    """

    slope: torch.Tensor
    curvature: torch.Tensor
    fitted: torch.Tensor


class Likeness(Protocol):
    """A measure of n fixed intensities and what is moved onto them; less is more alike."""

    def energy(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        """Return what is minimised, free of units and of the sum of the weights."""

    def terms(self, moved: torch.Tensor, weight: torch.Tensor) -> Terms:
        """Return the derivatives of `energy`, the weights taken as constant."""

    def trusted(
        self, moved: torch.Tensor, weight: torch.Tensor, slope: torch.Tensor
    ) -> torch.Tensor:
        """Return 0 to 1 for each point: how far it agrees with the rest.

        `slope` (n, 3) holds the derivatives of the moved intensities in space.
        """


class Correlation:
    """1 - r^2 of Pearson's r: intensities related by any slope, negative too, and offset.

    Parameters
    ----------
    fixed : (n,) tensor
        Intensities at the points.
    """

    def __init__(self, fixed: torch.Tensor) -> None:
        self._fixed = fixed

    def energy(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        """See `Likeness`."""
        residual, centred = self._residual(moved, weight)
        spread = _total(weight * centred * centred)
        return _total(weight * residual * residual) / spread if spread > 0 else 1.0

    def terms(self, moved: torch.Tensor, weight: torch.Tensor) -> Terms:
        """See `Likeness`; slope and offset are fitted."""
        residual, centred = self._residual(moved, weight)
        spread = max(_total(weight * centred * centred), _TINY)
        energy = _total(weight * residual * residual) / spread
        slope = (2 / spread) * weight * (residual - energy * centred)
        fitted = torch.stack([torch.ones_like(moved), self._fixed], dim=1)
        return Terms(slope, (2 / spread) * weight, fitted)

    def trusted(
        self, moved: torch.Tensor, weight: torch.Tensor, slope: torch.Tensor
    ) -> torch.Tensor:
        """See `Likeness`: Geman and McClure's weights of the residual from the fitted line.

        The scale is that of the residual where the image has edges: a black surround agrees
        perfectly and says nothing.
        """
        residual, _ = self._residual(moved, weight)
        squared = residual * residual
        edges = weight * (slope * slope).sum(1)
        scale = _total(edges * squared) / max(_total(edges), _TINY)
        for _ in range(_SCALE_ROUNDS):
            trust = edges / (1 + squared / (_TRUST * scale + _TINY)) ** 2
            scale = _total(trust * squared) / max(_total(trust), _TINY)
        return 1 / (1 + squared / (_TRUST * scale + _TINY)) ** 2

    def _residual(
        self, moved: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what a line of the fixed intensities leaves of the moved ones, and m - mean."""
        total = max(_total(weight), _TINY)
        centred = moved - _total(weight * moved) / total
        fixed = self._fixed - _total(weight * self._fixed) / total
        spread = _total(weight * fixed * fixed)
        line = _total(weight * fixed * centred) / spread if spread > 0 else 0.0
        return centred - line * fixed, centred


class MutualInformation:
    """Minus the mutual information in nats, by Parzen windows; intensities from 0 to 1.

    Nearest bins on the fixed side, cubic B-splines on the moving side, whose derivative is smooth
    (Mattes et al. 2003, IEEE TMI 22:120). The curvature is that of a moved intensity that is
    normal with the mean and variance of its fixed bin, which is positive everywhere.

    Parameters
    ----------
    fixed : (n,) tensor
        Intensities at the points.
    """

    def __init__(self, fixed: torch.Tensor) -> None:
        low, high = _BINS
        self._count = int(np.clip(round(len(fixed) ** (1 / 3)), low, high))
        self._row = (fixed.clamp(0, 1) * (self._count - 1)).round().long()

    def energy(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        """See `Likeness`."""
        joint = self._joint(*self._windows(moved), weight)
        expected = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
        return -float(torch.xlogy(joint, joint / expected.clamp(min=_TINY)).sum())

    def terms(self, moved: torch.Tensor, weight: torch.Tensor) -> Terms:
        """See `Likeness`."""
        cells, part = self._windows(moved)
        joint = self._joint(cells, part, weight)
        of_column = joint / joint.sum(0, keepdim=True).clamp(min=_TINY)
        table = of_column.clamp(min=_TINY).log().float()
        share = weight / max(_total(weight), _TINY)
        per_bin = (table.flatten()[cells] * _cubic_slope(part)).sum(1)
        bins = torch.arange(joint.shape[1], dtype=torch.float64, device=moved.device)
        of_row = joint / joint.sum(1, keepdim=True).clamp(min=_TINY)
        spread = of_row @ bins**2 - (of_row @ bins) ** 2
        # No row is narrower than the window itself.
        precision = (1 / spread.clamp(min=1 / 3)).float()
        per_unit = self._count - 1
        return Terms(
            -per_unit * share * per_bin,
            per_unit**2 * share * precision[self._row],
            moved.new_zeros(len(moved), 0),
        )

    def trusted(
        self, moved: torch.Tensor, weight: torch.Tensor, slope: torch.Tensor
    ) -> torch.Tensor:
        """See `Likeness`: all alike, for what is rare counts little already."""
        return torch.ones_like(moved)

    def _windows(self, moved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the four cells (n, 4) of each point's window, and its part of a bin (n,)."""
        place = moved.clamp(0, 1) * (self._count - 1)
        low = place.floor()
        first = self._row * (self._count + 3) + low.long()
        return first[:, None] + torch.arange(4, device=moved.device), place - low

    def _joint(self, cells: torch.Tensor, part: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the joint density (fixed bins, moving bins), float64.

        Summed as integers, so that the order in which a device adds them changes nothing.
        """
        shares = (weight[:, None] * _cubic(part)).double().mul_(_QUANTA).long()
        joint = shares.new_zeros(self._count * (self._count + 3))
        joint.index_add_(0, cells.flatten(), shares.flatten())
        density = joint.double().reshape(self._count, -1)
        return density / density.sum().clamp(min=1)


def _cubic(part: torch.Tensor) -> torch.Tensor:
    """Return the cubic B-spline (n, 4) at the bins -1, 0, 1, 2 of a point `part` past bin 0."""
    rest = 1 - part
    inner = (4 - 6 * part**2 + 3 * part**3) / 6
    return torch.stack([rest**3 / 6, inner, 1 - inner - (rest**3 + part**3) / 6, part**3 / 6], 1)


def _cubic_slope(part: torch.Tensor) -> torch.Tensor:
    """Return the derivative of `_cubic` with respect to `part`."""
    rest = 1 - part
    inner = part * (1.5 * part - 2)
    return torch.stack([-(rest**2) / 2, inner, (rest**2 - part**2) / 2 - inner, part**2 / 2], 1)


def _total(values: torch.Tensor) -> float:
    return float(values.sum(dtype=torch.float64))

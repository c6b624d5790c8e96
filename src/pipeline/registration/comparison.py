"""What the diffeomorphic stage minimises, voxel by voxel, with the derivatives of its steps.

A measure is first fitted (gains and offsets, or nothing), then looked at while a step is tried: the
fit stays as it is, so that a lower energy is a better match and not a better fit.

Energies are mean squares relative to the variance of the fixed image: 0 is a perfect match.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from pipeline.registration.tensors import Matrices, separable
from pipeline.registration.torch_likeness import MutualInformation

Measure = Literal["ssd", "lncc", "mi"]

#: Local contrast below this part of the whole image's is taken for noise.
_NOISE_PART = 0.1
#: A local gain stays within this factor of the gain of the whole image.
_GAIN_FACTOR = 2.0
#: Least part of the variance that mutual information may leave unexplained.
_LEAST_UNEXPLAINED = 1e-3
_TINY = 1e-30


class Fitted(Protocol):
    """A measure whose nuisance parameters are set."""

    def energy(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        """Return half the mean misfit of the moved image (I, J, K)."""

    def terms(self, moved: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return dE / d moved and a positive curvature, (I, J, K) each, times the total weight."""


@dataclass(frozen=True, eq=False)
class _Matched:
    """(fixed - gain * moved - offset) / sd of the fixed image."""

    fixed: torch.Tensor
    gain: torch.Tensor
    offset: torch.Tensor
    sd: float

    def energy(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        squared = weight * self._residual(moved).square()
        return 0.5 * _total(squared) / max(_total(weight), _TINY)

    def terms(self, moved: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gain = self.gain / self.sd
        return -weight * gain * self._residual(moved), weight * gain * gain

    def _residual(self, moved: torch.Tensor) -> torch.Tensor:
        return (self.fixed - self.gain * moved - self.offset) / self.sd


@dataclass(frozen=True, eq=False)
class _Informed:
    """Minus mutual information, scaled by the variance it leaves unexplained.

    Of two normal variables with correlation r it is -log(1 - r^2) / 2: 1 - r^2 is the misfit, and a
    nat per voxel weighs as much as a squared residual of that size.
    """

    information: MutualInformation
    scale: float

    def energy(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        return self.scale * self.information.energy(moved.flatten(), weight.flatten())

    def terms(self, moved: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.information.terms(moved.flatten(), weight.flatten())
        scale = self.scale * _total(weight)
        return scale * found.slope.reshape(moved.shape), scale * found.curvature.reshape(
            moved.shape
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """A measure of the fixed image and what is moved onto it.

    Attributes
    ----------
    fixed : (I, J, K) tensor
        Intensities, 0 to 1.
    weight : (I, J, K) tensor
        Where the fixed image is compared.
    measure : {"ssd", "lncc", "mi"}
        Intensities matched by one line; matched by a line in a window around each voxel (local
        normalised cross-correlation: Cachier et al. 2003, CVIU 89:272); or related in any way.
    window : three matrices, optional
        Gaussian means along the axes, for "lncc".
    """

    fixed: torch.Tensor
    weight: torch.Tensor
    measure: Measure
    window: Matrices | None = None

    def fit(self, moved: torch.Tensor, weight: torch.Tensor) -> Fitted:
        """Return the measure fitted to the moved image."""
        if self.measure == "mi":
            information = MutualInformation(self.fixed.flatten())
            nats = -information.energy(moved.flatten(), weight.flatten())
            unexplained = torch.exp(torch.tensor(-2.0 * nats)).item()
            return _Informed(information, max(unexplained, _LEAST_UNEXPLAINED))
        mean = _total(weight * self.fixed) / max(_total(weight), _TINY)
        variance = _total(weight * (self.fixed - mean).square()) / max(_total(weight), _TINY)
        sd = max(variance, _TINY) ** 0.5
        gain, offset = match_globally(self.fixed, moved, weight)
        if self.measure == "ssd" or self.window is None:
            return _Matched(self.fixed, moved.new_tensor(gain), moved.new_tensor(offset), sd)
        gains, offsets = match_locally(self.fixed, moved, weight, self.window, (gain, sd))
        return _Matched(self.fixed, gains, offsets, sd)


def match_globally(
    fixed: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor
) -> tuple[float, float]:
    """Return gain and offset so that gain * moved + offset is nearest to `fixed`."""
    total = max(_total(weight), _TINY)
    mean_fixed, mean_moved = _total(weight * fixed) / total, _total(weight * moved) / total
    centred = moved - mean_moved
    spread = _total(weight * centred * centred)
    gain = _total(weight * centred * (fixed - mean_fixed)) / spread if spread > 0 else 1.0
    return gain, mean_fixed - gain * mean_moved


def match_locally(
    fixed: torch.Tensor,
    moved: torch.Tensor,
    weight: torch.Tensor,
    window: Matrices,
    whole: tuple[float, float],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gain and offset (I, J, K) from a Gaussian window around each voxel.

    Parameters
    ----------
    fixed, moved, weight : (I, J, K) tensors
        Images and where both are seen.
    window : three matrices
        See `Comparison`.
    whole : two floats
        Gain and SD of the whole fixed image. Where a window holds a tenth of that SD or less,
        noise would decide; the gain there goes to that of the whole.
    """
    gain, sd = whole
    gain = gain if abs(gain) > 1e-3 else 1.0
    total = separable(weight, window) + 1e-6

    def mean(values: torch.Tensor) -> torch.Tensor:
        return separable(weight * values, window) / total

    mean_fixed, mean_moved = mean(fixed), mean(moved)
    ridge = (_NOISE_PART * sd) ** 2
    shared = mean(moved * fixed) - mean_moved * mean_fixed
    spread = (mean(moved * moved) - mean_moved.square()).clamp(min=0)
    low, high = sorted((gain / _GAIN_FACTOR, gain * _GAIN_FACTOR))
    gains = ((shared + ridge * gain) / (spread + ridge)).clamp(low, high)
    return gains, mean_fixed - gains * mean_moved


def _total(values: torch.Tensor) -> float:
    return float(values.sum(dtype=torch.float64))

"""What the diffeomorphic stage minimises, voxel by voxel, with the derivatives of its steps.

A measure is first fitted (gains and offsets, or nothing), then looked at while a step is tried: the
fit stays as it is, so that a lower energy is a better match and not a better fit.

Energies are mean squares relative to the variance of the fixed image: 0 is a perfect match.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from pipeline.registration.tensors import Matrices, separable
from pipeline.registration.torch_likeness import MutualInformation

Measure = Literal["ssd", "lncc", "mi"]

#: Local contrast below this part of the whole image's is taken for noise: the gain there goes to 1.
_NOISE_PART = 0.1
#: Contrast of a window in which there is nothing to trust.
_LEAST_CONTRAST = 0.005
#: Least part of the variance that mutual information may leave unexplained.
_LEAST_UNEXPLAINED = 1e-3
_TINY = 1e-30
#: Pieces of the curve, and what its bends cost: so much that a lesion of few voxels cannot bend
#: it for itself, which would be taken back from its volume.
_CURVE_STEPS = 32
_CURVE_STIFFNESS = 3.0
#: Parts into which a voxel's weight is cut when the curve's sums are made.
_QUANTA = 2.0**30


class Fitted(Protocol):
    """A measure whose nuisance parameters are set."""

    def energy(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        """Return half the mean misfit of the moved image (I, J, K)."""

    def unexplained(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        """Return the part of the variance that is left where the match is trusted, 0 to 1."""

    def terms(self, moved: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return dE / d moved and a positive curvature, (I, J, K) each, times the total weight."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A piecewise linear function of intensities from 0 to 1; straight on beyond them.

    Attributes
    ----------
    values : (n,) tensor
        At n even steps from 0 to 1.
    """

    values: torch.Tensor

    def __call__(self, moved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the values and the slopes at intensities of any shape."""
        last = len(self.values) - 1
        cell = (moved * last).floor().clamp(0, last - 1).long()
        rise = (self.values[1:] - self.values[:-1])[cell]
        return self.values[cell] + (moved * last - cell) * rise, rise * last


@dataclass(frozen=True, eq=False)
class _Matched:
    """(fixed - gain * curve(moved) - offset) / sd of the fixed image, squared, times the trust.

    What is not trusted costs `untrusted`, whatever the step: half the fixed image's own variance
    there. So a worse match has more energy, though less of it is compared.
    """

    fixed: torch.Tensor
    curve: Curve
    gain: torch.Tensor
    offset: torch.Tensor
    sd: float
    trust: torch.Tensor
    untrusted: float = 0.0

    def energy(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        return 0.5 * self._squared(moved, weight) / max(_total(weight), _TINY) + self.untrusted

    def unexplained(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        return self._squared(moved, weight) / max(_total(weight * self.trust), _TINY)

    def terms(self, moved: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        matched, slope = self.curve(moved)
        gain = self.gain * slope / self.sd
        trusted = weight * self.trust * gain
        return -trusted * self._residual(matched), trusted * gain

    def _squared(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        return _total(weight * self.trust * self._residual(self.curve(moved)[0]).square())

    def _residual(self, matched: torch.Tensor) -> torch.Tensor:
        return (self.fixed - self.gain * matched - self.offset) / self.sd


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

    def unexplained(self, moved: torch.Tensor, weight: torch.Tensor) -> float:
        return float(np.exp(2 * self.information.energy(moved.flatten(), weight.flatten())))

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
        Intensities matched by one line; matched by one curve, then by a line in a window around
        each voxel (local normalised cross-correlation: Cachier et al. 2003, CVIU 89:272); or
        related in any way.
    window : three matrices, optional
        Gaussian means along the axes, for "lncc"; without them it is the curve alone.
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
            return _Informed(information, max(float(np.exp(-2.0 * nats)), _LEAST_UNEXPLAINED))
        mean = _total(weight * self.fixed) / max(_total(weight), _TINY)
        variance = _total(weight * (self.fixed - mean).square()) / max(_total(weight), _TINY)
        sd = max(variance, _TINY) ** 0.5
        gain, offset = match_globally(self.fixed, moved, weight)
        curve = Curve(moved.new_tensor([offset, gain + offset]))
        if self.measure == "lncc":
            curve = match_by_curve(self.fixed, moved, weight, (gain, offset))
        if self.measure == "lncc" and self.window is not None:
            local = match_locally(self.fixed, curve(moved)[0], weight, self.window, sd)
            missed = _total(weight * (1 - local.trust) * local.variance) / sd**2
            untrusted = 0.5 * missed / max(_total(weight), _TINY)
            return _Matched(self.fixed, curve, local.gain, local.offset, sd, local.trust, untrusted)
        one = moved.new_tensor(1.0)
        return _Matched(self.fixed, curve, one, moved.new_tensor(0.0), sd, one)


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


def match_by_curve(
    fixed: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor, line: tuple[float, float]
) -> Curve:
    """Return the curve that takes moved intensities nearest to the fixed ones.

    Hat functions fitted by least squares, with a penalty on departing from the `line` (gain and
    offset) in a bent way, which also decides where there are no intensities. What is left is what
    the correlation ratio measures (Roche et al. 1998, MICCAI 1496:1115): scanners and contrast
    phases differ by more than a line.
    """
    gain, offset = line
    last = _CURVE_STEPS
    place = (moved * last).clamp(0, last)
    cell = place.floor().clamp(max=last - 1).long()
    part = place - cell
    rest = fixed - gain * moved - offset
    lower, upper = weight * (1 - part), weight * part

    def summed(values: torch.Tensor) -> npt.NDArray[np.float64]:
        # Integers, so that the order in which a device adds them changes nothing.
        found = torch.zeros(last, dtype=torch.int64, device=moved.device)
        found.index_add_(0, cell.flatten(), (values * _QUANTA).long().flatten())
        return np.asarray(found.cpu().numpy() / _QUANTA)

    matrix, right = np.zeros((last + 1, last + 1)), np.zeros(last + 1)
    low, high = np.arange(last), np.arange(1, last + 1)
    matrix[low, low] += summed(lower * (1 - part))
    matrix[high, high] += summed(upper * part)
    matrix[low, high] = matrix[high, low] = summed(lower * part)
    right[low] += summed(lower * rest)
    right[high] += summed(upper * rest)
    total = max(np.trace(matrix), 1e-12)
    bent = np.diff(np.eye(last + 1), 2, axis=0)
    matrix += total * (_CURVE_STIFFNESS * bent.T @ bent + 1e-6 * np.eye(last + 1))
    departure = np.linalg.solve(matrix, right)
    straight = gain * np.linspace(0, 1, last + 1) + offset
    return Curve(moved.new_tensor(straight + departure))


class Local(NamedTuple):
    """Gain, offset, trust and the fixed image's variance around each voxel, (I, J, K) each."""

    gain: torch.Tensor
    offset: torch.Tensor
    trust: torch.Tensor
    variance: torch.Tensor


def match_locally(
    fixed: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor, window: Matrices, sd: float
) -> Local:
    """Return what a Gaussian window around each voxel says.

    The trust is the squared correlation within the window: where both images hold nothing but
    noise, or what one image has and the other has not, little is compared.

    Parameters
    ----------
    fixed, moved, weight : (I, J, K) tensors
        Images, matched as a whole, and where both are seen.
    window : three matrices
        See `Comparison`.
    sd : float
        Of the whole fixed image. Where a window holds a tenth of it or less, noise would decide;
        the gain there goes to 1.
    """
    total = separable(weight, window) + 1e-6

    def mean(values: torch.Tensor) -> torch.Tensor:
        return separable(weight * values, window) / total

    mean_fixed, mean_moved = mean(fixed), mean(moved)
    ridge = (_NOISE_PART * sd) ** 2
    shared = mean(moved * fixed) - mean_moved * mean_fixed
    spread = (mean(moved * moved) - mean_moved.square()).clamp(min=0)
    gains = (shared + ridge) / (spread + ridge)
    own = (mean(fixed * fixed) - mean_fixed.square()).clamp(min=0)
    least = (_LEAST_CONTRAST * sd) ** 2
    trust = shared.clamp(min=0).square() / ((own + least) * (spread + least))
    return Local(gains, mean_fixed - gains * mean_moved, trust, own)


def _total(values: torch.Tensor) -> float:
    return float(values.sum(dtype=torch.float64))

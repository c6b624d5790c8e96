"""The largest absolute eigenvalue of many small symmetric matrices at once.

Matrices lie along the first two axes and the batch along the last, so that each step is the same
for all. A Householder reduction makes them tridiagonal; Laguerre's method then comes down on the
largest root of the characteristic polynomial, which it reaches from above and never passes.
"""

import torch
from torch import Tensor

from pipeline.radiomics.maps.sorting import add_up

_TOLERANCE = 4e-15
#: Most roots take 3 or 4 steps; after these, the rest may lie close together.
_SINGLE_STEPS = 4
_MAX_STEPS = 100


def largest_absolute_eigenvalue(matrices: Tensor) -> Tensor:
    """Return max |eigenvalue| of symmetric (N, N, B) matrices, whose eigenvalues lie in [-1, 1].

    Overwrites `matrices`. The absolute error is some 1e-15.

    Source: B. N. Parlett, The symmetric eigenvalue problem, 1998, chapters 7 and 8.
    """
    size = matrices.shape[0]
    if size == 1:
        return matrices[0, 0].abs()
    if size == 2:
        low, high, off = matrices[0, 0], matrices[1, 1], matrices[0, 1]
        return ((low + high) / 2).abs() + (((low - high) / 2).square() + off.square()).sqrt()
    diagonal, beside = _tridiagonal(matrices)
    top = _largest_root(diagonal, beside)
    # The most negative eigenvalue matters only if -T has one above |top|: all pivots positive
    # says that it has none.
    above = _above_all(-diagonal, beside, top.clamp(min=0) + _TOLERANCE)
    rest = torch.nonzero(~above).squeeze(1)
    if len(rest):
        below = _largest_root(-diagonal[:, rest], beside[:, rest])
        top[rest] = torch.maximum(top[rest].abs(), below)
    return top


def _tridiagonal(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return diagonals (N, B) and squared off-diagonals (N - 1, B)."""
    size = matrices.shape[0]
    beside = []
    for column in range(size - 2):
        part = matrices[column + 1 :, column + 1 :]
        vector = matrices[column + 1 :, column].clone()
        square = add_up(vector * vector)
        beside.append(square)
        norm = square.sqrt()
        scale = norm * (norm + vector[0].abs())
        scale = torch.where(scale > 0, 1 / scale, torch.zeros_like(scale))
        vector[0] += torch.copysign(norm, vector[0])
        image = part[:, 0] * vector[0]
        for row in range(1, len(vector)):
            image += part[:, row] * vector[row]  # addcmul_ rounds the last few of a row otherwise
        image *= scale
        half = add_up(image * vector).mul_(scale).mul_(0.5)
        image -= half * vector
        part -= vector[:, None] * image
        part -= image[:, None] * vector
    beside.append(matrices[size - 1, size - 2].square())
    return torch.stack([matrices[n, n] for n in range(size)]), torch.stack(beside)


def _bound(diagonal: Tensor, beside: Tensor) -> Tensor:
    """Return a value above all eigenvalues: Gershgorin's, at most just above 1."""
    radius = torch.zeros_like(diagonal)
    root = beside.sqrt()
    radius[1:] += root
    radius[:-1] += root
    return (diagonal + radius).amax(0).clamp(max=1.0) + _TOLERANCE


def _largest_root(diagonal: Tensor, beside: Tensor) -> Tensor:
    at = _bound(diagonal, beside)
    found, last = at.clone(), torch.zeros_like(at)
    active = torch.arange(len(at), device=at.device)
    for number in range(_MAX_STEPS):
        step = _step(diagonal, beside, at, _leaps(number, len(diagonal)))
        at = at - step
        found[active] = at
        # Towards a single root, the next step is this one by the ratio of the two last ones,
        # cubed; towards a double one, the ratio stays as it is. Who has arrived (0 / 0 too) stays
        # there: no value depends on its companions.
        ratio = step / last
        ahead = step * ratio * ratio * ratio if number < _SINGLE_STEPS else step
        going = torch.nonzero(ahead > _TOLERANCE).squeeze(1)
        if not len(going):
            break
        if len(going) < len(at):
            active, at, step = active[going], at[going], step[going]
            diagonal, beside = diagonal[:, going], beside[:, going]
        last = step
    return found


def _leaps(number: int, size: int) -> tuple[int, ...]:
    """Return the multiplicities to try: those who are late come down on roots close together."""
    return tuple(m for m in (2, 3) if m <= size) if number >= _SINGLE_STEPS else ()


def _step(diagonal: Tensor, beside: Tensor, at: Tensor, leaps: tuple[int, ...]) -> Tensor:
    """Return how far to go down from `at`, which lies above all eigenvalues; 0 where it does not.

    The step towards a multiple root is longer; it is taken where it ends above all eigenvalues.
    """
    size = len(diagonal)
    slope, bend, above = _derivatives(diagonal, beside, at)
    curve = (size * bend - slope * slope).clamp_(min=0)
    step = size / (slope + ((size - 1) * curve).sqrt())
    for roots in leaps:
        leap = size / (slope + ((size - roots) / roots * curve).sqrt()) - 2 * _TOLERANCE
        safe = _above_all(diagonal, beside, at - leap)
        step = torch.where(safe, torch.maximum(step, leap), step)
    return torch.where(above, step, 0.0)


def _derivatives(diagonal: Tensor, beside: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return p' / p and -(p' / p)' of the characteristic polynomial, and whether `at` is above.

    The pivots of x - T are q_i = x - d_i - e_i^2 / q_(i-1); p is their product.
    """
    pivot = at - diagonal[0]
    above = pivot > 0
    inverse = 1 / pivot
    first, second = inverse, torch.zeros_like(at)  # q' / q and q'' / q
    slope, bend = first.clone(), first * first
    for row in range(1, len(diagonal)):
        ratio = beside[row - 1] * inverse
        pivot = at - diagonal[row] - ratio
        above &= pivot > 0
        inverse = 1 / pivot
        second = (second - 2 * first * first).mul_(ratio).mul_(inverse)
        first = (ratio * first).add_(1).mul_(inverse)
        slope += first
        bend += first * first
        bend -= second
    return slope, bend, above


def _above_all(diagonal: Tensor, beside: Tensor, at: Tensor) -> Tensor:
    """Return whether `at` lies above all eigenvalues (Sylvester's law of inertia)."""
    pivot = at - diagonal[0]
    above = pivot > 0
    for row in range(1, len(diagonal)):
        pivot = at - diagonal[row] - beside[row - 1] / pivot
        above &= pivot > 0
    return above

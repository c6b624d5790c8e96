"""More than two sessions: all to one, or each to the one before and the maps composed.

The registration of two images is passed in, so that nothing here depends on an engine. Every map
goes from the common space (the reference visit, or the template) to the visit: its Jacobian is
the visit's volume over the volume in the common space.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import SettingsError
from pipeline.registration.engine import Estimate, Pair, RegistrationResult
from pipeline.registration.fields import (
    compose,
    invert,
    warp_labels,
)
from pipeline.registration.jacobian import jacobian_map
from pipeline.registration.quality import measure
from pipeline.types import DisplacementField, Volume

Array = npt.NDArray[np.float64]
#: Registers (fixed, moving, region of interest on the fixed grid or None).
Register = Callable[[Volume, Volume, Volume | None], RegistrationResult]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Visit:
    """One visit in the common space.

    Attributes
    ----------
    index : int
        Place of its image among those given.
    result : RegistrationResult
        Common space to this visit.
    step : RegistrationResult or None
        Of a sequence: the neighbour nearer to the reference, to this visit. The Jacobian lies
        on the neighbour's grid.
    """

    index: int
    result: RegistrationResult
    step: RegistrationResult | None = None


def to_reference(
    images: Sequence[Volume],
    register: Register,
    *,
    reference: int = 0,
    mask: Volume | None = None,
) -> Iterator[Visit]:
    """Yield every visit but the reference, each registered to the reference."""
    check_reference(len(images), reference)
    for index, image in enumerate(images):
        if index != reference:
            yield Visit(index, register(images[reference], image, mask))


def in_sequence(
    images: Sequence[Volume],
    register: Register,
    *,
    reference: int = 0,
    mask: Volume | None = None,
) -> Iterator[Visit]:
    """Yield every visit but the reference, each registered to its neighbour and composed.

    Parameters
    ----------
    images : sequence of Volume
        In the order of time.
    register : callable
        See `Register`.
    reference : int
        Where the maps begin; earlier visits are reached backwards in time.
    mask : Volume, optional
        Region of interest on the reference's grid; each step gets it carried to its own.
    """
    check_reference(len(images), reference)
    for towards in (range(reference + 1, len(images)), range(reference - 1, -1, -1)):
        before, total = reference, None
        for index in towards:
            pair = Pair(images[reference], images[index], mask)
            total, step = one_more(pair, images[before], total, register)
            yield Visit(index, total, step)
            before = index


def one_more(
    pair: Pair, before: Volume, known: RegistrationResult | None, register: Register
) -> tuple[RegistrationResult, RegistrationResult]:
    """Return the map of `pair` by way of the visit before, and the step from that visit.

    Parameters
    ----------
    pair : Pair
        The reference, the new visit, and the region of interest.
    before : Volume
        The visit before; the reference itself when there is none between.
    known : RegistrationResult or None
        Reference to the visit before; None when that is the reference.
    register : callable
        See `Register`.
    """
    if known is None:
        step = register(before, pair.moving, pair.fixed_mask)
        return step, step
    mask = pair.fixed_mask
    step = register(before, pair.moving, mask and warp_labels(mask, known.inverse))
    return chain(pair, known, step), step


def chain(pair: Pair, first: RegistrationResult, then: RegistrationResult) -> RegistrationResult:
    """Return the registration of `pair` by way of a visit between the two.

    Parameters
    ----------
    pair : Pair
        The reference and the later visit.
    first : RegistrationResult
        Reference to the visit between.
    then : RegistrationResult
        The visit between to the later one.

    Notes
    -----
    The composed displacement is u1(x) + u2(x + u1(x)), u2 taken linearly between voxel centres.
    With e1 and e2 the errors of the two maps, L the largest stretch of `then` (the largest
    singular value of I + du2/dx) and h its voxel, the composed map is wrong by at most
    L e1 + e2 + sum over the axes of h_a² / 8 max |d²u2/dx_a²|, where the middle points lie on
    the grid of `then`. Its Jacobian is that of the composed field, not the product of two maps.
    """
    return finish(pair, then.affine @ first.affine, compose(first.displacement, then.displacement))


def finish(pair: Pair, affine: Array, displacement: DisplacementField) -> RegistrationResult:
    """Return what `engine.register` would, for a map that is known already."""
    found = Estimate(affine, displacement)
    inverse = invert(displacement, pair.moving.grid)
    jacobian = jacobian_map(displacement)
    metrics = measure(pair, found, inverse, jacobian)
    return RegistrationResult(affine, displacement, inverse.field, jacobian, metrics)


def check_reference(count: int, reference: int) -> None:
    """Raise SettingsError unless there are two images and the reference is one of them."""
    if count < 2:
        raise SettingsError(f"{count} image: give two or more to register")
    if not 0 <= reference < count:
        raise SettingsError(
            f"the reference is image {reference + 1} and there are {count}; count from 1"
        )

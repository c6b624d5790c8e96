"""The mean shape of some images: an unbiased template, with a map to each (groupwise)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConvergenceError, SettingsError
from pipeline.registration.engine import Estimate, Pair, RegistrationResult
from pipeline.registration.fields import compose, grid_points, invert, warp, warp_labels
from pipeline.registration.matching import foreground
from pipeline.registration.quality import covered
from pipeline.registration.visits import Register, Visit, check_reference, finish
from pipeline.types import DisplacementField, Volume

Array = npt.NDArray[np.float64]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Template:
    """The mean shape of some images, with the map to each.

    Attributes
    ----------
    image : Volume
        Mean of the warped images, on the reference's grid.
    maps : tuple of Estimate
        Template to each image, in their order.
    mask : Volume or None
        The reference's region of interest, carried to the template.
    change_mm : tuple of floats
        How far each round moved the template: 95th percentile over its body, for a mean would
        hide a small lesion. See `groupwise`.
    converged : bool
        Whether the last change was small enough.
    """

    image: Volume
    maps: tuple[Estimate, ...]
    mask: Volume | None
    change_mm: tuple[float, ...]
    converged: bool


def groupwise(
    images: Sequence[Volume],
    register: Register,
    *,
    reference: int = 0,
    mask: Volume | None = None,
    most_rounds: int = 4,
    within_mm: float = 0.1,
) -> Template:
    """Return the template to which the images are deformed, on average, not at all.

    Parameters
    ----------
    images : sequence of Volume
        Of one contrast; the brightness of all counts alike.
    register : callable
        See `Register`.
    reference : int
        Gives the grid and the first template; its shape is gone after the first round.
    mask : Volume, optional
        Region of interest on the reference's grid.
    most_rounds : int
        Registrations of every image, at most.
    within_mm : float
        The template is settled when a round moves 95 % of its body by no more than this.

    Notes
    -----
    Each round registers the template to every image, finds the mean of these maps (`mean_map`)
    and moves the template there: phi_i o M^-1 instead of phi_i. The new template is the mean of
    the images warped by the new maps (Guimond et al., CVIU 2000; Avants et al., NeuroImage 2010).

    The first round moves the template by |M(x) - x|. Later ones are measured by where its points
    lie in the images: the mean distance between phi_i(x) now and a round before. M itself does
    not go to 0: what an engine errs alike in all maps returns, and is removed, in every round.
    """
    check_reference(len(images), reference)
    if most_rounds < 1 or not within_mm > 0:
        raise SettingsError(
            f"{most_rounds} rounds within {within_mm} mm: at least one round and a distance above 0"
        )
    template, region = images[reference], mask
    maps: tuple[Estimate, ...] = ()
    changes: list[float] = []
    for turn in range(1, most_rounds + 1):
        found = [_map_of(register(template, image, region)) for image in images]
        mean_affine, moved = mean_map(found)
        back = invert(moved).field
        back_affine = np.linalg.inv(mean_affine)
        centred = tuple(
            Estimate(one.affine @ back_affine, _single(compose(back, one.displacement)))
            for one in found
        )
        distance = _distance(maps, centred) if maps else np.linalg.norm(moved.data, axis=-1)
        changes.append(float(np.percentile(distance[foreground(template.data)], 95)))
        _LOG.info("round %d: the template moved by %.3f mm", turn, changes[-1])
        maps = centred
        template = mean_image(images, [one.displacement for one in maps])
        region = mask and warp_labels(mask, maps[reference].displacement)
        if changes[-1] <= within_mm:
            break
    settled = changes[-1] <= within_mm
    if not settled:
        _LOG.warning(
            "the template still moved by %.3f mm in the last of %d rounds; allow more rounds",
            changes[-1],
            most_rounds,
        )
    return Template(template, maps, region, tuple(changes), settled)


def to_template(template: Template, images: Sequence[Volume]) -> Iterator[Visit]:
    """Yield every image in the space of the template made of them."""
    for index, (image, found) in enumerate(zip(images, template.maps, strict=True)):
        pair = Pair(template.image, image, template.mask)
        yield Visit(index, finish(pair, found.affine, found.displacement))


def mean_map(maps: Sequence[Estimate]) -> tuple[Array, DisplacementField]:
    """Return the mean of maps from one grid: its affine part (4, 4), and the whole on that grid.

    Notes
    -----
    Affine parts are averaged by their logarithms, so that turns by +10 and -10 degrees leave
    size alone (an arithmetic mean would shrink by cos 10). What is left of each map once its
    affine part is undone, x + w_i(x), is averaged as displacements. With A the mean affine part,
    M(x) = A (x + mean w(x)); for maps phi_i o M^-1 both means vanish when the affine parts
    commute, and up to terms of third order in their size when not.
    """
    grid = maps[0].displacement.grid
    points = grid_points(grid)
    rest = np.zeros_like(points)
    for one in maps:
        back = np.linalg.inv(one.affine)
        rest += (points + one.displacement.data) @ back[:3, :3].T + back[:3, 3] - points
    affine = _mean_affine([one.affine for one in maps])
    moved = points + rest / len(maps)
    whole = moved @ affine[:3, :3].T + affine[:3, 3] - points
    return affine, DisplacementField(whole, grid)


def mean_image(images: Sequence[Volume], fields: Sequence[DisplacementField]) -> Volume:
    """Return the mean of the warped images; where some do not reach, of the others."""
    grid = fields[0].grid
    total, count = np.zeros(grid.shape), np.zeros(grid.shape)
    for image, one in zip(images, fields, strict=True):
        seen = covered(one, image)
        total += np.where(seen, warp(image, one).data, 0.0)
        count += seen
    lowest = min(float(image.data.min()) for image in images)
    mean = np.divide(total, count, out=np.full(grid.shape, lowest), where=count > 0)
    return Volume(mean.astype(np.float32), grid)


def most_frequent_label(labels: Sequence[Volume]) -> Volume:
    """Return at each voxel the label that most have; of equals, the smallest number."""
    data = np.stack([one.data for one in labels])
    best, votes = np.zeros_like(data[0]), np.zeros(data[0].shape, dtype=int)
    for value in np.unique(data):
        count = np.count_nonzero(data == value, axis=0)
        best[count > votes] = value
        votes = np.maximum(votes, count)
    return Volume(best, labels[0].grid)


def _map_of(result: RegistrationResult) -> Estimate:
    """Return the map alone."""
    return Estimate(result.affine, _single(result.displacement))


def _single(field: DisplacementField) -> DisplacementField:
    """Return a field in single precision: one for each image is kept in memory."""
    return DisplacementField(field.data.astype(np.float32), field.grid)


def _distance(before: Sequence[Estimate], now: Sequence[Estimate]) -> Array:
    """Return the mean distance in mm between where two sets of maps take each point."""
    pairs = zip(before, now, strict=True)
    each = (np.linalg.norm(n.displacement.data - b.displacement.data, axis=-1) for b, n in pairs)
    return np.asarray(sum(each) / len(now), dtype=np.float64)


def _mean_affine(matrices: Sequence[Array]) -> Array:
    from scipy.linalg import expm, logm

    logs = [logm(matrix) for matrix in matrices]
    if any(np.iscomplexobj(one) and np.abs(one.imag).max() > 1e-9 for one in logs):
        raise ConvergenceError(
            "an image lies half a turn from the others or mirrored: their mean pose is not "
            "defined; bring the images into one orientation with `medpipe preprocess` first"
        )
    return np.asarray(expm(np.mean([np.real(one) for one in logs], axis=0)))

"""Spatial fuzzy C-means: soft clusters of intensities that listen to their neighbours."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import EmptyRegionError, ImageError, SettingsError
from pipeline.types import Mask3D

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

#: Squared distances (in standard deviations) below this count as "at the centre".
_AT_CENTRE = 1e-24


@dataclass(frozen=True, eq=False)
class FuzzyClusters:
    """What `spatial_fcm` found.

    Attributes
    ----------
    memberships : (I, J, K, clusters) float array
        Degree of belonging, 0 to 1, summing to 1 inside the mask; 0 outside.
    centres : (clusters, C) float array
        Cluster centres in the units of the features, the darkest first.
    iterations : int
        Updates made.
    centre_move : float
        Largest move of a centre in the last update, in standard deviations.
    membership_change : float
        Largest change of a membership in the last update.
    converged : bool
        Whether `centre_move` fell below the tolerance before the cap on iterations.
    """

    memberships: Floats
    centres: Floats
    iterations: int
    centre_move: float
    membership_change: float
    converged: bool

    @property
    def labels(self) -> npt.NDArray[np.intp]:
        """The cluster of highest membership per voxel, shape (I, J, K)."""
        return np.asarray(np.argmax(self.memberships, axis=-1))


def spatial_fcm(
    features: npt.NDArray[Any],
    mask: Mask3D,
    *,
    clusters: int = 3,
    fuzzifier: float = 2.0,
    membership_power: float = 1.0,
    spatial_power: float = 1.0,
    tolerance: float = 1e-3,
    max_iterations: int = 300,
    start: Floats | None = None,
) -> FuzzyClusters:
    """Cluster the voxels of a mask by intensity and by the clusters of their neighbours.

    Parameters
    ----------
    features : (I, J, K) or (I, J, K, C) array
        An image, or C channels. Each channel is standardised inside the mask.
    mask : (I, J, K) bool array
        Voxels to cluster.
    clusters : int
        Number of clusters, at least 2.
    fuzzifier : float
        Exponent m > 1 of the memberships in the objective.
    membership_power, spatial_power : float
        Exponents p and q: u' is proportional to u^p h^q, with h the sum of u over 3x3x3
        voxels. q = 0 with p = 1 is plain fuzzy C-means.
    tolerance : float
        Stop once no centre moves by more than this many standard deviations.
    max_iterations : int
        Cap on updates. Reaching it logs a warning and leaves `converged` false: the clusters
        are still usable, and the caller sees by how much they moved last.
    start : (clusters, C) float array, optional
        Centres to start from, in the units of the features.

    Returns
    -------
    FuzzyClusters
        Memberships and centres, ordered from the darkest to the brightest cluster.

    Raises
    ------
    SettingsError
        If an option is outside its range.
    EmptyRegionError
        If the mask holds no voxel.
    ImageError
        If the features cannot be clustered: not finite, constant, or too few distinct values.

    Notes
    -----
    Chuang et al., Computerized Medical Imaging and Graphics 30 (2006) 9-15, in 3-D. Without
    `start` the first centres are the means of equally filled ranges of brightness (the mean of
    the standardised channels), so that nothing is random. Neighbours outside the mask add
    nothing to h.
    """
    _check_options(clusters, fuzzifier, membership_power, spatial_power, max_iterations)
    box = _bounding_box(mask)
    inside = mask[box]
    values = features[box][inside].astype(np.float64).reshape(int(inside.sum()), -1)
    _check_values(values, clusters)
    shift, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale == 0] = 1.0
    standard = (values - shift) / scale
    if start is None:
        centres = _starting_centres(standard, clusters)
    else:
        centres = (_check_start(start, clusters, values.shape[1]) - shift) / scale
    blur = _Neighbourhood(inside)
    previous = np.zeros((clusters, len(standard)))
    iterations, converged = 0, False
    while not converged and iterations < max_iterations:
        plain = memberships_of(standard, centres, fuzzifier)
        current = blur.share(plain, membership_power, spatial_power)
        moved = centres_of(standard, current, fuzzifier)
        centre_move = float(np.abs(moved - centres).max())
        membership_change = float(np.abs(current - previous).max())
        centres, previous = moved, current
        iterations += 1
        converged = centre_move <= tolerance
    if not converged:
        log.warning(
            "fuzzy C-means stopped after %d iterations; a centre still moves by %.2g standard "
            "deviations (tolerance %.2g)", max_iterations, centre_move, tolerance,
        )  # fmt: skip
    order = np.argsort(centres.mean(axis=1), kind="stable")
    full = np.zeros((*mask.shape, clusters))
    full[box][inside] = previous[order].T
    return FuzzyClusters(
        memberships=full,
        centres=centres[order] * scale + shift,
        iterations=iterations,
        centre_move=centre_move,
        membership_change=membership_change,
        converged=converged,
    )


def memberships_of(values: Floats, centres: Floats, fuzzifier: float) -> Floats:
    """Return u (clusters, N) of values (N, C): u_ij = 1 / sum_k (d_ij / d_kj)^(2 / (m - 1)).

    A value on a centre belongs to it wholly; on several equal centres, in equal parts.
    """
    squared = ((values[None] - centres[:, None]) ** 2).sum(axis=-1)
    squared = np.maximum(squared, _AT_CENTRE)
    weights = (squared.min(axis=0) / squared) ** (1.0 / (fuzzifier - 1.0))
    return np.asarray(weights / weights.sum(axis=0))


def centres_of(values: Floats, memberships: Floats, fuzzifier: float) -> Floats:
    """Return the centres (clusters, C): means of values (N, C) weighted by u^m."""
    weights = memberships**fuzzifier
    return np.asarray((weights @ values) / weights.sum(axis=1, keepdims=True))


class _Neighbourhood:
    """Sums memberships over the 3x3x3 neighbours inside one mask."""

    def __init__(self, inside: Mask3D) -> None:
        self._inside = inside

    def share(self, memberships: Floats, p: float, q: float) -> Floats:
        """Return u^p h^q, normalised over the clusters; shapes (clusters, N)."""
        shared = memberships**p
        if q:
            shared = shared * self._sums(memberships) ** q
        return np.asarray(shared / shared.sum(axis=0))

    def _sums(self, memberships: Floats) -> Floats:
        box = np.zeros((len(memberships), *self._inside.shape))
        box[:, self._inside] = memberships
        for axis in (1, 2, 3):
            box = ndimage.correlate1d(box, [1.0, 1.0, 1.0], axis=axis, mode="constant")
        return np.asarray(box[:, self._inside])


def _starting_centres(standard: Floats, clusters: int) -> Floats:
    """Return the means of equally filled ranges of brightness, shape (clusters, C)."""
    brightness = standard.mean(axis=1)
    edges = np.quantile(brightness, np.linspace(0, 1, clusters + 1)[1:-1])
    group = np.searchsorted(edges, brightness, side="right")
    if len(np.unique(group)) < clusters:  # ties fill a range alone: spread over the extent
        low, high = standard.min(axis=0), standard.max(axis=0)
        steps = (np.arange(clusters) + 0.5)[:, None] / clusters
        return np.asarray(low + steps * (high - low))
    return np.stack([standard[group == k].mean(axis=0) for k in range(clusters)])


def _bounding_box(mask: Mask3D) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        raise EmptyRegionError("the mask to cluster holds no voxel; widen the region to search")
    return tuple(found[0])


def _check_options(
    clusters: int, fuzzifier: float, membership_power: float, spatial_power: float, cap: int
) -> None:
    problems = []
    if clusters < 2:
        problems.append(f"clusters is {clusters}, must be 2 or more")
    if not fuzzifier > 1:
        problems.append(f"fuzzifier is {fuzzifier}, must be above 1 (2 is usual)")
    if membership_power < 0 or spatial_power < 0 or membership_power + spatial_power == 0:
        problems.append(
            f"membership_power {membership_power} and spatial_power {spatial_power} must not be "
            "negative, nor both 0"
        )
    if cap < 1:
        problems.append(f"max_iterations is {cap}, must be 1 or more")
    if problems:
        raise SettingsError("fuzzy C-means: " + "; ".join(problems))


def _check_start(start: Floats, clusters: int, channels: int) -> Floats:
    if start.shape != (clusters, channels):
        raise SettingsError(
            f"fuzzy C-means: start has shape {start.shape}, must be {(clusters, channels)}: a row "
            "per cluster, a column per channel"
        )
    return start


def _check_values(values: Floats, clusters: int) -> None:
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    if bad:
        raise ImageError(
            f"{bad} of {len(values)} voxels to cluster are NaN or infinite; leave them out of "
            "the mask"
        )
    low = values.min(axis=0)
    if (values == low).all():
        raise ImageError(
            f"all {len(values)} voxels to cluster have the value {low.tolist()}; there is nothing "
            "to separate: check the image, or widen the region"
        )
    distinct = len(np.unique(values, axis=0)) if len(values) < 1000 else clusters
    if distinct < clusters:
        raise ImageError(
            f"{len(values)} voxels hold {distinct} distinct values, fewer than {clusters} "
            "clusters; ask for fewer clusters or widen the region"
        )

"""The largest distance between two points of one group, without measuring all pairs."""

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from pipeline.radiomics.engine.levels import Ints
from pipeline.types import Array1D

Points = npt.NDArray[np.float64]

#: More candidates than this are first reduced to the corners of their convex hull.
_MANY = 1500
#: Pairs measured at a time.
_BLOCK = 2_000_000


def largest_distance(points: Points, group: Ints) -> float:
    """Return the largest distance between two points of the same group.

    A distance D0 that occurs is found first. No pair is longer unless, from any centre of the
    group, one of its points lies D0 - R away or further, R being the distance of the furthest
    one: few points are left to be measured against each other.

    Parameters
    ----------
    points : (N, D) float array
        Coordinates in mm.
    group : (N,) int array
        Group of each point, from 0.
    """
    order = np.argsort(group, kind="stable")
    points, group = points[order], group[order]
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    which = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(group)))
    centre = (np.minimum.reduceat(points, starts) + np.maximum.reduceat(points, starts)) / 2
    radius = _norm(points - centre[which])
    reach = np.maximum.reduceat(radius, starts)
    best = _known_distance(points, starts, which, radius)
    # The margin keeps pairs of equal length in spite of rounding.
    kept = np.flatnonzero(radius + reach[which] >= best * (1 - 1e-12))
    for part in np.split(kept, np.flatnonzero(np.diff(which[kept])) + 1):
        best = max(best, _furthest_pair(points[part]))
    return best


def _known_distance(points: Points, starts: Ints, which: Ints, radius: Array1D) -> float:
    """Return a large distance: twice to the furthest from the furthest, in each group."""
    best = 0.0
    for _ in range(3):
        highest = np.maximum.reduceat(radius, starts)
        at = np.flatnonzero(radius == highest[which])
        first = at[np.unique(which[at], return_index=True)[1]]
        radius = _norm(points - points[first][which])
        best = max(best, float(radius.max()))
    return best


def _furthest_pair(points: Points) -> float:
    if len(points) > _MANY:
        points = _corners(points)
    rows = max(1, _BLOCK // len(points))
    blocks = range(0, len(points), rows)
    squared = (cdist(points[b : b + rows], points[b:], "sqeuclidean").max() for b in blocks)
    return float(np.sqrt(max(squared, default=0.0)))


def _corners(points: Points) -> Points:
    """Return the corners of the convex hull, all points where it has none."""
    try:
        corners: Points = points[ConvexHull(points).vertices]
    except QhullError:  # all in one plane, or on one line
        return points
    return corners


def _norm(vectors: Points) -> Array1D:
    norm: Array1D = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return norm

"""Grey levels of a region, laid out flat so that a neighbour is one fixed step away."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.types import Array1D, Mask3D

Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class LevelMap:
    """Grey levels of a region on a padded, flattened grid.

    Layers of 0 behind the end of each axis keep lines apart: a step out of the region's box in
    any direction, also below the start of an axis, ends in such a layer. Comparing the array
    with itself, shifted by a fixed step, hence compares each voxel with its neighbour.

    Attributes
    ----------
    flat : (size,) unsigned array
        Rank of the grey level among those that occur, from 1; 0 outside the region.
    strides : (3,) int array
        Flat step to the next voxel along k, j, i.
    voxels : (N,) int array
        Flat positions of the region's voxels, in increasing order.
    ranks : (N,) unsigned array
        ``flat[voxels]``.
    occupied : (n,) int array
        Grey levels that occur, ascending; rank r is level ``occupied[r - 1]``.
    counts : (n,) int array
        Voxels of each.
    """

    flat: Ints
    strides: Ints
    voxels: Ints
    ranks: Ints
    occupied: Ints
    counts: Ints

    @property
    def highest(self) -> int:
        """Highest grey level."""
        return int(self.occupied[-1])


def map_levels(inside: Mask3D, levels: Ints, margin: int) -> LevelMap:
    """Lay the levels of a region's voxels out flat.

    Parameters
    ----------
    inside : (K, J, I) bool array
        True in the region.
    levels : (N,) int array
        Grey level of each voxel of the region, from 1, in C order.
    margin : int
        Longest step to a neighbour along an axis, in voxels.
    """
    histogram = np.bincount(levels)
    occupied = np.flatnonzero(histogram)
    dtype = np.min_scalar_type(len(occupied))
    ranks_of = np.zeros(len(histogram), dtype)
    ranks_of[occupied] = np.arange(1, len(occupied) + 1)
    ranks = ranks_of[levels]
    padded = np.zeros([n + margin for n in inside.shape], dtype)
    k, j, i = inside.shape
    padded[:k, :j, :i][inside] = ranks
    flat = padded.ravel()
    strides = np.array(padded.strides) // padded.itemsize
    return LevelMap(flat, strides, np.flatnonzero(flat), ranks, occupied, histogram[occupied])


def bin_edges(values: Array1D, bin_width: float | None, bin_count: int | None) -> Array1D:
    """Return the limits of the grey levels as PyRadiomics sets them.

    A width counts from a multiple of itself; a count divides the range, and takes the maximum
    into the last level.
    """
    if bin_count is not None:
        edges = np.histogram_bin_edges(values, bin_count)
        edges[-1] += 1
        return edges
    if bin_width is None:
        raise ValueError("neither a bin width nor a bin count is given")
    lowest = values.min()
    edges = np.arange(lowest - lowest % bin_width, values.max() + 2 * bin_width, bin_width)
    return edges if len(edges) > 1 else np.array([edges[0] - 0.5, edges[0] + 0.5])


def discretise(values: Array1D, edges: Array1D) -> Ints:
    """Return the level of each value, from 1: ``edges[level - 1] <= value < edges[level]``.

    As `numpy.digitize` for evenly spaced edges, without its search: division lands within one
    level of the right one, and comparing with the edges themselves settles which.
    """
    step = (edges[-2] - edges[0]) / (len(edges) - 2) if len(edges) > 2 else edges[1] - edges[0]
    below: Ints = ((values - edges[0]) * (1.0 / step)).astype(np.int32)
    np.clip(below, 0, len(edges) - 2, out=below)
    below -= values < edges[below]
    below += values >= edges[below + 1]
    below += 1
    return below

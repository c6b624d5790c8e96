"""Zones of one grey level: by size (IBSI 9SAK) and by distance from the border (VMDZ)."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_cdt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.radiomics.ibsi.emphasis import emphasis
from pipeline.radiomics.ibsi.entries import Integers, beside, collect, directions, mean_of_filled
from pipeline.radiomics.ibsi.settings import Dimension
from pipeline.types import Array3D, Mask3D

_SHARED = {
    "lgze": "low",
    "hgze": "high",
    "glnu": "levels",
    "glnu_norm": "levels_norm",
    "z_perc": "percentage",
    "gl_var": "levels_var",
}
#: Stem of the tag -> name in `emphasis`.
SIZE_TAGS = _SHARED | {
    "sze": "small",
    "lze": "large",
    "szlge": "small_low",
    "szhge": "small_high",
    "lzlge": "large_low",
    "lzhge": "large_high",
    "zsnu": "second",
    "zsnu_norm": "second_norm",
    "zs_var": "second_var",
    "zs_entr": "entropy",
}
DISTANCE_TAGS = _SHARED | {
    "sde": "small",
    "lde": "large",
    "sdlge": "small_low",
    "sdhge": "small_high",
    "ldlge": "large_low",
    "ldhge": "large_high",
    "zdnu": "second",
    "zdnu_norm": "second_norm",
    "zd_var": "second_var",
    "zd_entr": "entropy",
}


@dataclass(frozen=True, eq=False)
class Zones:
    """Groups of joined voxels of one level.

    Attributes
    ----------
    level, size, distance, slice : (n,) int arrays
        Of each zone; the distance is that of its voxel nearest to the border.
    voxels : (slices,) int array
        Voxels of the region in each slice; one number in 3-D.
    """

    level: Integers
    size: Integers
    distance: Integers
    slice: Integers
    voxels: Integers


def zones(levels: Array3D, shape: Mask3D, *, in_slice: bool) -> Zones:
    """Return the zones of a region.

    Voxels are joined across faces, edges and corners (8 neighbours in a slice, 26 in space).

    Parameters
    ----------
    levels : (I, J, K) ints
        Grey levels from 1; 0 where no intensity counts.
    shape : (I, J, K) bools
        All voxels of the region; its border is where distances start.
    in_slice : bool
        Slice by slice instead of in space.
    """
    inside = levels > 0
    number = np.full(levels.shape, -1, dtype=np.int64)
    voxels = int(np.count_nonzero(inside))
    number[inside] = np.arange(voxels)
    pairs = []
    for step in directions(in_slice=in_slice):
        here, there = beside(levels, step)
        same = (here > 0) & (here == there)
        first, second = beside(number, step)
        pairs.append((first[same], second[same]))
    one, other = (np.concatenate(part) for part in zip(*pairs, strict=True))
    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(voxels, voxels))
    count, zone = connected_components(graph, directed=False)
    nearest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(nearest, zone, border_distance(shape, in_slice=in_slice)[inside])
    _, first = np.unique(zone, return_index=True)
    plane = np.nonzero(inside)[2] if in_slice else np.zeros(voxels, dtype=np.int64)
    slices = levels.shape[2] if in_slice else 1
    return Zones(
        level=levels[inside][first].astype(np.int64),
        size=np.bincount(zone, minlength=count),
        distance=nearest,
        slice=plane[first],
        voxels=np.bincount(plane, minlength=slices),
    )


def border_distance(shape: Mask3D, *, in_slice: bool) -> Array3D:
    """Return how many steps across faces lead out of a region: 1 at its border.

    The end of the image is a border.
    """
    if not in_slice:
        padded = np.pad(shape, 1)
        return np.asarray(distance_transform_cdt(padded, "taxicab")[1:-1, 1:-1, 1:-1], np.int64)
    distance = np.zeros(shape.shape, dtype=np.int64)
    for k in range(shape.shape[2]):
        plane = np.pad(shape[:, :, k], 1)
        distance[:, :, k] = distance_transform_cdt(plane, "taxicab")[1:-1, 1:-1]
    return distance


def zone_features(found: Zones, dimension: Dimension) -> dict[str, dict[str, float]]:
    """Return the 16 features of sizes ("szm") and of distances ("dzm"), by stem of their tags."""
    separate = dimension == "2D"
    group = found.slice if separate else np.zeros_like(found.slice)
    voxels = found.voxels if separate else found.voxels.sum(keepdims=True)
    tables = {"szm": (found.size, SIZE_TAGS), "dzm": (found.distance, DISTANCE_TAGS)}
    result = {}
    for family, (second, tags) in tables.items():
        matrices = collect(group, found.level, second, len(voxels))
        values = mean_of_filled(emphasis(matrices, voxels.astype(np.float64)))
        result[family] = {f"{tag}_{dimension}": values[name] for tag, name in tags.items()}
    return result

"""Grey level run lengths (IBSI TP0I): straight rows of voxels of one level."""

import numpy as np

from pipeline.radiomics.ibsi.emphasis import emphasis
from pipeline.radiomics.ibsi.entries import (
    Entries,
    Integers,
    aggregations,
    collect,
    directions,
    joined,
    mean_of_filled,
    per_group,
)
from pipeline.radiomics.ibsi.settings import Dimension
from pipeline.types import Array3D

#: Stem of the tag -> name in `emphasis`.
TAGS = {
    "sre": "small",
    "lre": "large",
    "lgre": "low",
    "hgre": "high",
    "srlge": "small_low",
    "srhge": "small_high",
    "lrlge": "large_low",
    "lrhge": "large_high",
    "glnu": "levels",
    "glnu_norm": "levels_norm",
    "rlnu": "second",
    "rlnu_norm": "second_norm",
    "r_perc": "percentage",
    "gl_var": "levels_var",
    "rl_var": "second_var",
    "rl_entr": "entropy",
}


def run_lengths(levels: Array3D, dimension: Dimension) -> dict[str, float]:
    """Return the 16 features in both aggregations (see `cooccurrence`), by stem of their tags.

    Parameters
    ----------
    levels : (I, J, K) ints
        Grey levels from 1; 0 outside the region.
    dimension : {"2D", "2_5D", "3D"}
        As for `cooccurrence`.
    """
    in_slice = dimension != "3D"
    steps = directions(in_slice=in_slice)
    where = np.argwhere(levels > 0)
    slices = levels.shape[2] if in_slice else 1
    of_voxel = where[:, 2] if in_slice else np.zeros(len(where), dtype=np.int64)
    voxels = np.bincount(of_voxel, minlength=slices)
    entries = _all_runs(levels[levels > 0].astype(np.int64), where, of_voxel, slices, steps)
    of_slice = np.repeat(np.arange(slices), len(steps))
    found: dict[str, float] = {}
    for way, group_of in aggregations(dimension, slices, len(steps)).items():
        counted = per_group(group_of, voxels[of_slice].astype(np.float64), int(group_of.max()) + 1)
        values = mean_of_filled(emphasis(entries.merged(group_of), counted))
        found |= {f"{tag}_{dimension}_{way}": values[name] for tag, name in TAGS.items()}
    return found


def _all_runs(
    level: Integers,
    where: Integers,
    of_voxel: Integers,
    slices: int,
    steps: list[tuple[int, int, int]],
) -> Entries:
    found = []
    for at, step in enumerate(steps):
        start, length = _runs(level, where, step)
        group = of_voxel[start] * len(steps) + at
        found.append(collect(group, level[start], length, slices * len(steps)))
    return joined(found)


def _runs(
    level: Integers, where: Integers, step: tuple[int, int, int]
) -> tuple[Integers, Integers]:
    """Return the first voxel of each run along a direction, and how long the run is.

    Voxels are sorted by the line they lie on, then along it; a run ends where the line, the
    level or the unbroken order does.
    """
    lead = next(axis for axis in range(3) if step[axis])
    along = where[:, lead] * step[lead]
    anchor = where - along[:, None] * np.asarray(step)
    anchor -= anchor.min(axis=0)
    size = anchor.max(axis=0) + 1
    line = (anchor[:, 0] * size[1] + anchor[:, 1]) * size[2] + anchor[:, 2]
    along = along - along.min()
    order = np.argsort(line * (along.max() + 1) + along, kind="stable")
    line, along, sorted_level = line[order], along[order], level[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (
        (line[1:] != line[:-1])
        | (along[1:] != along[:-1] + 1)
        | (sorted_level[1:] != sorted_level[:-1])
    )
    first = np.flatnonzero(new)
    return order[first], np.diff(first, append=len(order))

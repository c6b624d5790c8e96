"""Grey-level run-length matrix: lengths of lines of equal level along each direction."""

from collections.abc import Sequence

import numpy as np

from pipeline.radiomics.engine.directions import Directions
from pipeline.radiomics.engine.emphasis import SizeEntries, emphases
from pipeline.radiomics.engine.levels import Ints, LevelMap
from pipeline.radiomics.engine.settings import Weighting

_NAMES = {
    "ShortRunEmphasis": "small",
    "LongRunEmphasis": "large",
    "GrayLevelNonUniformity": "level_nonuniformity",
    "GrayLevelNonUniformityNormalized": "level_nonuniformity_normalised",
    "RunLengthNonUniformity": "size_nonuniformity",
    "RunLengthNonUniformityNormalized": "size_nonuniformity_normalised",
    "RunPercentage": "percentage",
    "GrayLevelVariance": "level_variance",
    "RunVariance": "size_variance",
    "RunEntropy": "entropy",
    "LowGrayLevelRunEmphasis": "low",
    "HighGrayLevelRunEmphasis": "high",
    "ShortRunLowGrayLevelEmphasis": "small_low",
    "ShortRunHighGrayLevelEmphasis": "small_high",
    "LongRunLowGrayLevelEmphasis": "large_low",
    "LongRunHighGrayLevelEmphasis": "large_high",
}


def glrlm(
    levels: LevelMap,
    directions: Directions,
    spacing_mm: Sequence[float],
    weighting: Weighting = "none",
) -> dict[str, float]:
    """Return the 16 features (Galloway 1975), the mean over the directions or of their sum.

    Parameters
    ----------
    levels : LevelMap
        The region.
    directions : Directions
        To direct neighbours.
    spacing_mm : (3,) floats
        Along k, j, i.
    weighting : str
        Norm by which the directions are merged.
    """
    entries = run_lengths(levels, directions)
    if weighting != "none":
        lengths = directions.lengths_mm(spacing_mm, weighting)
        entries = entries.merged(np.ones(entries.matrices) if lengths is None else lengths)
    found = emphases(entries)
    used = ~np.isnan(found["small"])
    if not used.any():
        return _without_lines(entries.matrices)
    return {name: float(found[key][used].mean()) for name, key in _NAMES.items()}


def _without_lines(matrices: int) -> dict[str, float]:
    """Return the features of a region whose voxels share no line: PyRadiomics' sums of nothing."""
    found = dict.fromkeys(_NAMES, np.nan)
    return found | {"RunEntropy": 0.0, "RunVariance": 0.0} if matrices == 1 else found


def run_lengths(levels: LevelMap, directions: Directions) -> SizeEntries:
    """Return one matrix for each direction; that of a direction without lines is empty.

    A direction has no lines where no two voxels of the region lie on one, even apart.
    """
    matrices = []
    for step, offset in zip(directions.steps, directions.offsets(levels), strict=True):
        longer = _runs_by_length(levels, abs(offset))
        if longer or _has_line(levels, step):
            at_least = np.array(
                [levels.counts - sum(longer), *longer, np.zeros_like(levels.counts)]
            )
            matrices.append((at_least[:-1] - at_least[1:]).T)
        else:
            matrices.append(np.zeros((len(levels.counts), 1), dtype=np.int64))
    return _entries(levels, matrices)


def _runs_by_length(levels: LevelMap, offset: int) -> list[Ints]:
    """Return how many runs of each level have at least 2, 3, ... voxels."""
    flat = levels.flat
    linked = np.zeros(len(flat), dtype=bool)
    np.equal(flat[:-offset], flat[offset:], out=linked[:-offset])
    linked &= flat != 0
    starts = linked.copy()
    starts[offset:] &= ~linked[:-offset]
    at = np.flatnonzero(starts)
    found: list[Ints] = []
    while at.size:
        found.append(np.bincount(flat[at], minlength=len(levels.counts) + 1)[1:])
        at = at + offset
        at = at[linked[at]]
    return found


def _has_line(levels: LevelMap, step: Ints) -> bool:
    """Tell whether a line along a direction meets two voxels of the region."""
    ahead = np.flatnonzero(step)[0]
    position = np.stack(np.divmod(levels.voxels, levels.strides[0]))
    position = np.stack([position[0], *np.divmod(position[1], levels.strides[1])])
    # Where the line through a voxel crosses position 0 along an axis that the step follows.
    line = position - position[ahead] * step[ahead] * step[:, None]
    return bool(np.unique(line, axis=1).shape[1] < line.shape[1])


def _entries(levels: LevelMap, matrices: list[Ints]) -> SizeEntries:
    """Return the occupied cells of one matrix, level by length, for each direction."""
    cells = [(np.full(np.count_nonzero(m), a), *np.nonzero(m)) for a, m in enumerate(matrices)]
    nothing = (np.zeros(0, np.intp),) * 3
    which, rank, length = (np.concatenate(part) for part in zip(nothing, *cells, strict=True))
    count = [m[m != 0].astype(np.float64) for m in matrices]
    return SizeEntries(
        which,
        levels.occupied[rank],
        length + 1,
        np.concatenate([np.zeros(0), *count]),
        len(matrices),
    )

"""Where a prediction differs most from its reference: the place to look at."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.geometry import index_to_world
from pipeline.types import Geometry, Mask3D


def largest_disagreement(
    reference: Mask3D, prediction: Mask3D, grid: Geometry
) -> npt.NDArray[np.int64]:
    """Return the voxel (3,) in the thick of the largest piece that one mask has and not the other.

    Of that piece (most voxels, joined across faces) it is the voxel deepest inside. Equal masks
    give the voxel of the mask deepest inside; empty ones the middle of the grid.
    """
    differ = reference ^ prediction
    if not differ.any():
        differ = reference
    if not differ.any():
        return np.array([(n - 1) // 2 for n in grid.shape], dtype=np.int64)
    box = ndimage.find_objects(differ.view(np.uint8))[0]
    pieces, _ = ndimage.label(differ[box])
    boxes = ndimage.find_objects(pieces)
    sizes = np.bincount(pieces.ravel())[1:]
    candidates = []
    for number in np.flatnonzero(sizes == sizes.max()):
        within = boxes[number]
        piece = np.pad(pieces[within] == number + 1, 1)
        depth = ndimage.distance_transform_edt(piece, sampling=grid.spacing_mm)
        deepest = np.argwhere(depth >= depth.max() - 1e-6) - 1
        corner = [outer.start + inner.start for outer, inner in zip(box, within, strict=True)]
        candidates.append((depth.max(), deepest + corner))
    limit = max(depth for depth, _ in candidates) - 1e-6
    voxels = np.concatenate([found for depth, found in candidates if depth >= limit])
    # Ties are broken in the world, so that the storage order of the file does not matter.
    world = np.round(index_to_world(grid, voxels), 6)
    return np.asarray(voxels[np.lexsort(world.T)[0]], dtype=np.int64)

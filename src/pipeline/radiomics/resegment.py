"""Leave out the voxels of a region whose intensity lies outside some limits."""

import numpy as np

from pipeline.radiomics.profile import Resegmentation
from pipeline.types import Array3D, Mask3D


def resegment(data: Array3D, inside: Mask3D, how: Resegmentation) -> Mask3D:
    """Return the voxels that stay, as PyRadiomics 3.0.1's `resegmentMask`.

    Parameters
    ----------
    data : (I, J, K) array
        Intensities, before any filter.
    inside : (I, J, K) bool array
        The region; not empty.
    how : Resegmentation
        Limits and what they are relative to; both ends belong to what stays.
    """
    # In the order of PyRadiomics, z first: sums of float32 depend on it.
    values = data.transpose(2, 1, 0)[inside.transpose(2, 1, 0)]
    limits = sorted(how.limits)
    if how.mode == "relative":
        limits = [float(np.max(values) * limit) for limit in limits]
    elif how.mode == "sigma":
        limits = [float(np.mean(values) + np.std(values) * limit) for limit in limits]
    kept = inside & (data >= limits[0])
    return kept & (data <= limits[1]) if len(limits) == 2 else kept

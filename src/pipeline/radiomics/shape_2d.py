"""PyRadiomics' shape of a region of one slice, within the plane of the slice."""

import math

import numpy as np

from pipeline.geometry import to_sitk
from pipeline.radiomics.calculate import TextureSettings
from pipeline.radiomics.profile import SHAPE_2D
from pipeline.types import Volume


def shape_2d(mask: Volume, texture: TextureSettings) -> tuple[dict[str, float], str]:
    """Return the features of class shape2D by column, and why they are missing.

    Parameters
    ----------
    mask : Volume
        1 inside the region, cropped to its bounding box.
    texture : TextureSettings
        `force_2d` must be on; the slice lies across its `force_2d_axis`.
    """
    from radiomics.shape2D import RadiomicsShape2D

    missing = {f"shape2D_{name}{ending}": math.nan for name, ending in SHAPE_2D.items()}
    axis = texture.force_2d_axis
    if not texture.force_2d:
        return missing, "needs force2D"
    if mask.data.shape[axis] > 1:
        return missing, f"the region has {mask.data.shape[axis]} slices, shape2D is for one"
    blank = Volume(np.zeros(mask.data.shape), mask.grid)
    found = RadiomicsShape2D(
        to_sitk(blank), to_sitk(mask), force2D=True, force2Ddimension=2 - axis
    ).execute()
    return {f"shape2D_{n}{ending}": float(found[n]) for n, ending in SHAPE_2D.items()}, ""

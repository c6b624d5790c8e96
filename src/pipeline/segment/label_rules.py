"""What is kept of each label: pieces that are large enough, with small holes filled."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import SettingsError
from pipeline.types import Array3D, Mask3D

#: Voxels of a label that touch by a face, an edge or a corner belong together; what is not the
#: label then leaks through faces only.
_TOUCHING = np.ones((3, 3, 3), dtype=np.bool_)


@dataclass(frozen=True)
class LabelRules:
    """Rules for every label, in this order.

    Attributes
    ----------
    largest_only : bool
        Keep the largest piece (the first in voxel order of equals).
    minimum_mm3 : float
        Smaller pieces become background.
    hole_mm3 : float
        Background that one label encloses, up to this size, becomes that label.
    """

    largest_only: bool = False
    minimum_mm3: float = 0.0
    hole_mm3: float = 0.0

    def __post_init__(self) -> None:
        for name in ("minimum_mm3", "hole_mm3"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name} {getattr(self, name)} must be 0 mm³ or more")

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return self.largest_only or self.minimum_mm3 > 0 or self.hole_mm3 > 0


def apply_rules(labels: Array3D, voxel_mm3: float, rules: LabelRules) -> Array3D:
    """Return a label image with the rules applied to each label by itself.

    Parameters
    ----------
    labels : (I, J, K) array of integers
        0 is the background.
    voxel_mm3 : float
        Volume of a voxel.
    rules : LabelRules
        What to keep and fill.
    """
    if not rules.any:
        return labels
    out = labels.copy()
    values = [int(value) for value in np.unique(labels) if value]
    for value in values:
        inside = labels == value
        out[inside & ~_kept(inside, voxel_mm3, rules)] = 0
    if rules.hole_mm3 > 0:
        for value in values:
            out[_holes(out, value, voxel_mm3, rules.hole_mm3)] = value
    return out


def _kept(inside: Mask3D, voxel_mm3: float, rules: LabelRules) -> Mask3D:
    pieces, count = ndimage.label(inside, _TOUCHING)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    stays = sizes * voxel_mm3 >= rules.minimum_mm3
    stays[0] = False
    if rules.largest_only:
        largest = int(sizes[1:].argmax()) + 1
        stays &= np.arange(count + 1) == largest
    return np.asarray(stays[pieces])


def _holes(labels: Array3D, value: int, voxel_mm3: float, limit_mm3: float) -> Mask3D:
    """Return the enclosed background that is small enough."""
    inside = labels == value
    enclosed = np.asarray(ndimage.binary_fill_holes(inside)) & ~inside
    pieces, count = ndimage.label(enclosed)
    sizes: npt.NDArray[np.int64] = np.bincount(pieces.ravel(), minlength=count + 1)
    small = sizes * voxel_mm3 <= limit_mm3
    small[0] = False
    return np.asarray(small[pieces] & (labels == 0))

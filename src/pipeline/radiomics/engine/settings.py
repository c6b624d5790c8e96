"""What the texture classes can be told."""

from dataclasses import dataclass
from typing import Literal

Weighting = Literal["none", "manhattan", "euclidean", "infinity", "no_weighting"]


@dataclass(frozen=True)
class TextureSettings:
    """How intensities become grey levels, and which voxels are neighbours.

    The name that PyRadiomics gives a setting stands in brackets.

    Attributes
    ----------
    bin_width : float or None
        Width of a grey level, in intensity units [binWidth].
    bin_count : int or None
        Number of equal levels over the region's range; wins over the width [binCount].
    intensity_shift : float
        Added before squaring in the first-order class [voxelArrayShift].
    distances : tuple of int
        Distances of neighbours in voxels, by the largest step along an axis; for GLCM, GLDM
        and NGTDM [distances].
    force_2d : bool
        Neighbours lie in one plane only [force2D].
    force_2d_axis : int
        Axis of (i, j, k) across which nothing is a neighbour then. PyRadiomics counts
        (z, y, x), so that its 0 is 2 here [force2Ddimension].
    weighting : str
        "none" takes the mean of a feature over the directions; any other first merges the
        directions of GLCM and GLRLM, weighted by that norm of their step in mm
        [weightingNorm].
    symmetrical_glcm : bool
        Each pair counts both ways [symmetricalGLCM].
    gldm_alpha : float
        Largest difference in level of a dependent neighbour [gldm_a].
    """

    bin_width: float | None = 25.0
    bin_count: int | None = None
    intensity_shift: float = 0.0
    distances: tuple[int, ...] = (1,)
    force_2d: bool = False
    force_2d_axis: int = 2
    weighting: Weighting = "none"
    symmetrical_glcm: bool = True
    gldm_alpha: float = 0.0

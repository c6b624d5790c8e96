"""Array aliases and the small frozen records that blocks pass to one another.

Arrays are indexed ``[i, j, k]`` (column, row, slice: the order of NIfTI and of
`SimpleITK.Image.GetSize`). World coordinates are LPS millimetres, as in DICOM and ITK.
Only `pipeline.geometry` turns them into another order or frame.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array1D = npt.NDArray[np.float64]
Array3D = npt.NDArray[Any]
Array4D = npt.NDArray[Any]
Mask3D = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of a grid lie in the patient.

    Attributes
    ----------
    shape : (I, J, K)
        Number of voxels along each axis.
    spacing_mm : (3,) floats
        Distance between voxel centres along i, j, k.
    origin_mm : (3,) floats
        LPS position of the centre of voxel (0, 0, 0).
    direction : (3, 3) float array
        Column c is the LPS unit vector of array axis c. Orthonormal.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: npt.NDArray[np.float64]

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm³."""
        return float(np.prod(self.spacing_mm))


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar image or a mask on its grid.

    Attributes
    ----------
    data : (I, J, K) array
        Intensities, or 0/1 (or label numbers) for a mask.
    grid : Geometry
        The grid of `data`; ``grid.shape == data.shape``.
    """

    data: Array3D
    grid: Geometry


@dataclass(frozen=True, eq=False)
class Series:
    """Images of one session on one grid, in the order of acquisition (a DCE series).

    Attributes
    ----------
    data : (I, J, K, T) array
        One image per time point.
    grid : Geometry
        The grid of each image.
    time_s : (T,) floats
        Seconds after injection; 0 (or less) is before contrast.
    """

    data: Array4D
    grid: Geometry
    time_s: tuple[float, ...]

    def image(self, index: int) -> Volume:
        """Return time point `index` as a volume."""
        return Volume(self.data[..., index], self.grid)


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """A displacement for each point of the fixed grid: x maps to x + u(x) in the moving image.

    Attributes
    ----------
    data : (I, J, K, 3) float array
        u in mm along the LPS world axes.
    grid : Geometry
        Grid of the fixed image.
    """

    data: Array4D
    grid: Geometry

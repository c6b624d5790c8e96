"""Diffeomorphic demons of SimpleITK on histogram-matched images, coarse to fine."""

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from pipeline.geometry import field_from_sitk, to_sitk
from pipeline.registration.itk_threads import one_thread
from pipeline.types import Volume

Array = npt.NDArray[np.float64]

_SHRINK = (4, 2, 1)
_STEPS = (60, 60, 40)
_SMOOTHING_VOXELS = 1.0
_FEWEST_VOXELS = 8


def estimate_field(fixed: Volume, moving: Volume, affine: Array) -> tuple[Array, int]:
    """Return v on the fixed grid, mm along its axes, and the number of steps.

    Parameters
    ----------
    fixed, moving : Volume
        Images; float.
    affine : (4, 4) array
        Fixed point to moving point, LPS mm; the moving image is brought over by it first.

    Notes
    -----
    Vercauteren et al. 2009, NeuroImage 45:S61. Kept for comparison: it stops short of large
    volume changes and reads uptake that differs as motion.
    """
    with one_thread():
        return _estimate(fixed, moving, affine)


def _estimate(fixed: Volume, moving: Volume, affine: Array) -> tuple[Array, int]:
    target = sitk.Cast(to_sitk(fixed), sitk.sitkFloat32)
    over = sitk.AffineTransform(affine[:3, :3].ravel().tolist(), affine[:3, 3].tolist())
    image = sitk.Resample(
        sitk.Cast(to_sitk(moving), sitk.sitkFloat32), target, over, sitk.sitkBSpline, 0.0
    )
    image = sitk.HistogramMatching(image, target, 256, 10, True)
    field, steps = None, 0
    for shrink, most in zip(_SHRINK, _STEPS, strict=True):
        if shrink > 1 and min(target.GetSize()) // shrink < _FEWEST_VOXELS:
            continue
        pair = [_coarser(each, shrink) for each in (target, image)]
        method = sitk.DiffeomorphicDemonsRegistrationFilter()
        method.SetNumberOfIterations(most)
        method.SetSmoothDisplacementField(True)
        method.SetStandardDeviations(_SMOOTHING_VOXELS)
        if field is None:
            field = method.Execute(*pair)
        else:
            field = method.Execute(*pair, sitk.Resample(field, pair[0]))
        steps += int(method.GetElapsedIterations())
    world = field_from_sitk(sitk.Resample(field, target)).data
    return np.asarray(world, dtype=np.float64) @ fixed.grid.direction, steps


def _coarser(image: sitk.Image, shrink: int) -> sitk.Image:
    if shrink == 1:
        return image
    sigma = [0.5 * shrink * s for s in image.GetSpacing()]
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, sigma), [shrink] * 3)

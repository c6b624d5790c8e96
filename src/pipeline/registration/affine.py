"""Rigid alignment by mutual information, then affine by correlation, with SimpleITK.

Mutual information finds the way whatever the contrast, but its best scale is biased: two equal
images end 0.27 mm apart on average on a 2 mm grid. Correlation ends within 0.01 mm.
"""

import logging
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from pipeline.errors import ConvergenceError
from pipeline.geometry import to_sitk
from pipeline.registration.itk_threads import one_thread
from pipeline.types import Mask3D, Volume

Array = npt.NDArray[np.float64]

AffineMetric = Literal["correlation", "mutual-information"]

_LOG = logging.getLogger(__name__)

_BINS = 32
_SHARE_OF_VOXELS = 0.3
_MOST_SAMPLES = 60_000
_STEPS = 60
_LEVELS_MM = {"rigid": (8.0, 4.0, 2.0), "affine": (4.0, 2.0)}


@dataclass(frozen=True, eq=False)
class AffineEstimate:
    """The matrix (4, 4), fixed to moving in LPS mm, and how each stage went."""

    matrix: Array
    log: dict[str, Any]


def align(
    fixed: Volume,
    moving: Volume,
    *,
    seed: int,
    metric: AffineMetric = "correlation",
    mask: Mask3D | None = None,
) -> AffineEstimate:
    """Return the affine map from fixed to moving.

    Parameters
    ----------
    fixed, moving : Volume
        Images; any real type.
    seed : int
        Seed of the sample points.
    metric : {"correlation", "mutual-information"}
        What the affine stage maximises; correlation may be negative. The rigid stage always
        takes mutual information.
    mask : (I, J, K) bool array, optional
        Compare only here.

    Raises
    ------
    ConvergenceError
        If ITK cannot go on, for instance because the images no longer overlap.
    """
    images = [sitk.Cast(to_sitk(v), sitk.sitkFloat32) for v in (fixed, moving)]
    region = None if mask is None else to_sitk(Volume(mask, fixed.grid))
    try:
        with one_thread():
            affine, log = _rigid_then_affine(images[0], images[1], region, seed, metric)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConvergenceError(
            f"the rigid and affine stage failed ({reason}); check that both images show the same "
            "part of the body, or start from their centres with --align-centres"
        ) from error
    return AffineEstimate(matrix_of(affine), log)


def _rigid_then_affine(
    fixed: Any, moving: Any, region: Any, seed: int, metric: AffineMetric
) -> tuple[Any, dict[str, Any]]:
    start, name = _best_start(fixed, moving, region, seed)
    rigid, log = _optimise(_method(fixed, region, seed), fixed, moving, start, "rigid")
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    method = _method(fixed, region, seed)
    if metric == "correlation":
        method.SetMetricAsCorrelation()
    affine, more = _optimise(method, fixed, moving, affine, "affine")
    return affine, {"start": name, **log, **more}


def matrix_of(transform: Any) -> Array:
    """Return the (4, 4) matrix of an ITK transform with matrix, centre and translation."""
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre + np.array(transform.GetTranslation()) - linear @ centre
    return matrix


def _best_start(fixed: Any, moving: Any, region: Any, seed: int) -> tuple[Any, str]:
    """Return the best by mutual information of: as the headers say, centres, centres of mass."""
    kinds = sitk.CenteredTransformInitializerFilter
    starts = {}
    for name, kind in (("centres", kinds.GEOMETRY), ("centres of mass", kinds.MOMENTS)):
        found = sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), kind)
        starts[name] = sitk.Euler3DTransform(found)
    headers = sitk.Euler3DTransform()
    headers.SetCenter(starts["centres"].GetCenter())
    starts = {"headers": headers, **starts}
    coarse = [sitk.SmoothingRecursiveGaussian(image, 4.0) for image in (fixed, moving)]
    scores = {}
    for name, start in starts.items():
        method = _method(coarse[0], region, seed)
        method.SetInitialTransform(start)
        try:
            scores[name] = method.MetricEvaluate(coarse[0], coarse[1])
        except RuntimeError as error:  # no overlap from this start
            _LOG.debug("start from %s: %s", name, error)
    if not scores:
        raise ConvergenceError(
            "no start brings the images to overlap; check that both show the same part of the body"
        )
    best = min(scores, key=lambda name: scores[name])
    return starts[best], best


def _optimise(
    method: Any, fixed: Any, moving: Any, start: Any, stage: str
) -> tuple[Any, dict[str, Any]]:
    spacing = min(fixed.GetSpacing())
    shrink = [max(1, round(level / spacing)) for level in _LEVELS_MM[stage]]
    method.SetShrinkFactorsPerLevel([1 if s == 1 else _fitting(s, fixed) for s in shrink])
    method.SetSmoothingSigmasPerLevel([level / 2 for level in _LEVELS_MM[stage]])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0 if stage == "rigid" else 0.5,
        minStep=1e-3,
        numberOfIterations=_STEPS,
        relaxationFactor=0.6,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    _LOG.info("%s: %s", stage, method.GetOptimizerStopConditionDescription())
    return start, {
        f"{stage}_steps": int(method.GetOptimizerIteration()),
        f"{stage}_similarity": -float(method.GetMetricValue()),
        f"{stage}_stopped": _reason(method.GetOptimizerStopConditionDescription()),
    }


def _method(fixed: Any, region: Any, seed: int) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    share = min(_SHARE_OF_VOXELS, _MOST_SAMPLES / fixed.GetNumberOfPixels())
    # ITK takes a seed of 0 for "from the clock".
    method.SetMetricSamplingPercentage(share, 1 + seed % (2**31 - 2))
    if region is not None:
        method.SetMetricFixedMask(region)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _fitting(shrink: int, image: Any) -> int:
    """Return a shrink factor that leaves 4 voxels along the shortest axis."""
    return int(max(1, min(shrink, min(image.GetSize()) // 4)))


def _reason(description: str) -> str:
    return description.partition(":")[2].strip() or description

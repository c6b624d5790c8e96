"""SimpleITK's diffeomorphic demons: histogram matched, three levels, smoothed update field.

The affine stage where asked is SimpleITK's: mutual information, from the images' centres.
Masks are not known to demons and steer the affine stage alone.
"""

import numpy as np
import SimpleITK as sitk
from common import begin

_LEVELS = ((4, 60), (2, 60), (1, 30))
_UPDATE_SD_VOXELS = _FIELD_SD_VOXELS = 1.5


def main() -> None:
    """Register and write the composed field."""
    ask = begin()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(ask.threads)
    fixed = sitk.ReadImage(ask.fixed, sitk.sitkFloat32)
    moving = sitk.ReadImage(ask.moving, sitk.sitkFloat32)
    start: sitk.Transform = sitk.Transform(3, sitk.sitkIdentity)
    if ask.affine:
        start = affine(fixed, moving, ask.fixed_compare, ask.moving_compare)
    low = float(sitk.GetArrayViewFromImage(moving).min())
    near = sitk.Resample(moving, fixed, start, sitk.sitkBSpline, low, sitk.sitkFloat32)
    near = sitk.HistogramMatching(near, fixed, 256, 15, thresholdAtMeanIntensity=True)
    field = pyramid(fixed, near)
    rest = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    # The last transform added is applied first: x -> start(rest(x)).
    whole = sitk.CompositeTransform([start, rest])
    result = sitk.TransformToDisplacementField(
        whole, sitk.sitkVectorFloat32, fixed.GetSize(), fixed.GetOrigin(), fixed.GetSpacing(),
        fixed.GetDirection(),
    )  # fmt: skip
    sitk.WriteImage(result, ask.field)


def affine(
    fixed: sitk.Image, moving: sitk.Image, fixed_mask: str | None, moving_mask: str | None
) -> sitk.Transform:
    """Return rigid, then affine, by Mattes mutual information."""
    rigid = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    full = sitk.AffineTransform(3)
    for transform in (rigid, full):
        if transform is full:
            full.SetCenter(rigid.GetCenter())
            full.SetMatrix(rigid.GetMatrix())
            full.SetTranslation(rigid.GetTranslation())
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.1, 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2])
        method.SetSmoothingSigmasPerLevel([2, 1])
        method.SetInitialTransform(transform, inPlace=True)
        if fixed_mask:
            method.SetMetricFixedMask(sitk.ReadImage(fixed_mask, sitk.sitkUInt8))
        if moving_mask:
            method.SetMetricMovingMask(sitk.ReadImage(moving_mask, sitk.sitkUInt8))
        method.Execute(fixed, moving)
    return full


def pyramid(fixed: sitk.Image, moving: sitk.Image) -> sitk.Image:
    """Return the displacement field of demons from coarse to fine."""
    demons = sitk.DiffeomorphicDemonsRegistrationFilter()
    demons.SetSmoothDisplacementField(True)
    demons.SetStandardDeviations(_FIELD_SD_VOXELS)
    demons.SetSmoothUpdateField(False)
    field = None
    for shrink, steps in _LEVELS:
        pair = [_shrunk(image, shrink) for image in (fixed, moving)]
        demons.SetNumberOfIterations(steps)
        if field is None:
            field = demons.Execute(*pair)
        else:
            field = demons.Execute(*pair, sitk.Resample(field, pair[0]))
    return field


def _shrunk(image: sitk.Image, factor: int) -> sitk.Image:
    if factor == 1:
        return image
    spacing = np.asarray(image.GetSpacing())
    # Thick slices are left as they are until the others have caught up.
    factors = [max(1, round(factor * spacing.min() / s)) for s in spacing]
    sizes = list(zip(factors, spacing, strict=True))
    sigmas = [max(1e-3, 0.5 * f * s) if f > 1 else 1e-3 for f, s in sizes]
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, sigmas), factors)


if __name__ == "__main__":
    main()

"""elastix (itk-elastix): rigid and affine where asked, then B-spline.

Options: ``grid_mm`` (default 12), ``metric`` (an elastix metric, default
AdvancedMattesMutualInformation).
"""

import itk
from common import Request, begin


def main() -> None:
    """Register and write the field of the whole chain."""
    ask = begin()
    # The method's own SetNumberOfThreads ends in a segmentation fault (itk-elastix 0.25).
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(ask.threads)
    fixed = itk.imread(ask.fixed, itk.F)
    moving = itk.imread(ask.moving, itk.F)
    method = itk.ElastixRegistrationMethod.New(fixed, moving)
    method.SetParameterObject(parameters(ask))
    method.SetLogToConsole(False)
    if ask.fixed_compare:
        method.SetFixedMask(itk.imread(ask.fixed_compare, itk.UC))
    if ask.moving_compare:
        method.SetMovingMask(itk.imread(ask.moving_compare, itk.UC))
    method.UpdateLargestPossibleRegion()
    transformix = itk.TransformixFilter.New(moving)
    transformix.SetTransformParameterObject(method.GetTransformParameterObject())
    transformix.ComputeDeformationFieldOn()
    transformix.SetOutputDirectory(ask.folder)  # else a second field lands where this runs
    transformix.UpdateLargestPossibleRegion()
    itk.imwrite(transformix.GetOutputDeformationField(), ask.field)


def parameters(ask: Request) -> "itk.ParameterObject":
    """Return the parameter maps of the stages."""
    result = itk.ParameterObject.New()
    for stage in ("rigid", "affine", "bspline") if ask.affine else ("bspline",):
        levels = 4 if stage == "bspline" else 3
        spacing = float(ask.options.get("grid_mm", "12"))
        chosen = result.GetDefaultParameterMap(stage, levels, spacing)
        if "metric" in ask.options and stage == "bspline":
            chosen["Metric"] = (ask.options["metric"], "TransformBendingEnergyPenalty")
        if ask.fixed_compare or ask.moving_compare:  # many samples leave the moving mask
            chosen["RequiredRatioOfValidSamples"] = ("0.05",)
        chosen["AutomaticTransformInitialization"] = ("true" if stage == "rigid" else "false",)
        result.AddParameterMap(chosen)
    return result


if __name__ == "__main__":
    main()

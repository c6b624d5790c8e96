"""Resampling between grids at an angle to each other, through ITK."""

from typing import Any

import numpy as np

from pipeline.geometry import empty_like, to_sitk
from pipeline.preprocess.kernels import WINDOWS, apply_weights, prefilter_weights, spline_order
from pipeline.types import Array3D, Geometry, Volume


def resample_oblique(
    volume: Volume, grid: Geometry, *, kind: str, anti_alias: bool, clamp: str, outside: float
) -> Array3D:
    """Return the image interpolated by ITK on a grid at any angle, as an (I, J, K) array.

    ITK's windowed sinc lets constants vary; here it is divided by what it makes of an image
    of ones. It cannot be stretched, so every kind but "nearest" is preceded by the Gaussian
    of `prefilter_weights` along axes that get coarser.
    """
    import SimpleITK as sitk

    dtype = volume.data.dtype if kind == "nearest" else np.float64
    data = volume.data.astype(dtype)
    if anti_alias and kind != "nearest":
        for axis, ratio in enumerate(_ratios(volume.grid, grid)):
            if ratio > 1.001:
                data = apply_weights(data, prefilter_weights(data.shape[axis], ratio), axis)
    source = Volume(data, volume.grid)
    method = _interpolator(kind)
    out = _run(source, grid, method, outside)
    if kind in WINDOWS:
        ones = _run(Volume(np.ones(data.shape), volume.grid), grid, method, 0.0)
        inside = ones > 0.5
        out[inside] /= ones[inside]
    if kind == "nearest" or clamp == "none":
        return out
    return _clamped(out, volume, grid, clamp, outside, sitk)


def resample_oblique_labels(mask: Volume, grid: Geometry) -> Array3D:
    """Return labels voted by ITK's label Gaussian (sigma of one voxel) on any grid."""
    import SimpleITK as sitk

    return _run(mask, grid, sitk.sitkLabelGaussian, 0)


def _clamped(
    out: Array3D, volume: Volume, grid: Geometry, clamp: str, outside: float, sitk: Any
) -> Array3D:
    """Clamp to the whole input or to the 27 voxels around; `outside` stays as it is."""
    inside = _run(
        Volume(np.ones(volume.grid.shape, dtype=np.uint8), volume.grid),
        grid, sitk.sitkNearestNeighbor, 0,
    ).astype(np.bool_)  # fmt: skip
    low: Any = volume.data.min()
    high: Any = volume.data.max()
    if clamp == "local":
        image = to_sitk(Volume(volume.data.astype(np.float64), volume.grid))
        near = sitk.sitkNearestNeighbor
        erode = sitk.GrayscaleErode(image, [1, 1, 1], sitk.sitkBox)
        dilate = sitk.GrayscaleDilate(image, [1, 1, 1], sitk.sitkBox)
        low = _run_image(erode, grid, near, outside)
        high = _run_image(dilate, grid, near, outside)
    return np.where(inside, np.clip(out, low, high), outside)


def _run(volume: Volume, grid: Geometry, method: int, outside: float) -> Array3D:
    return _run_image(to_sitk(volume), grid, method, outside)


def _run_image(image: Any, grid: Geometry, method: int, outside: float) -> Array3D:
    import SimpleITK as sitk

    moved = sitk.Resample(image, empty_like(grid), sitk.Transform(), method, float(outside))
    return np.ascontiguousarray(sitk.GetArrayFromImage(moved).transpose(2, 1, 0))


def _ratios(source: Geometry, target: Geometry) -> list[float]:
    """Return, along each source axis, the step of the target's voxels in source voxels."""
    steps = (source.direction.T @ target.direction) * np.asarray(target.spacing_mm)
    lengths = np.linalg.norm(steps, axis=1) / np.asarray(source.spacing_mm)
    return [float(length) for length in lengths]


def _interpolator(kind: str) -> int:
    import SimpleITK as sitk

    order = spline_order(kind)
    name = {
        "nearest": "sitkNearestNeighbor",
        "linear": "sitkLinear",
        **{window: f"sitk{window.capitalize()}WindowedSinc" for window in WINDOWS},
    }.get(kind, f"sitkBSpline{order}")
    return int(getattr(sitk, name))

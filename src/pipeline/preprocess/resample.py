"""Bring images and masks onto another grid (made by `pipeline.preprocess.grids.spaced_grid`).

Points up to half a voxel outside the outermost voxel centres belong to the field of view;
points beyond it get the value `outside`.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import SettingsError
from pipeline.geometry import same_grid
from pipeline.preprocess.checks import check_finite
from pipeline.preprocess.grids import AlignedMap, align
from pipeline.preprocess.kernels import (
    INTERPOLATIONS,
    SINC_RADIUS,
    WINDOWS,
    Interpolation,
    apply_weights,
    interpolation_weights,
    label_weights,
    prefilter_weights,
    spline_order,
)
from pipeline.preprocess.oblique import resample_oblique, resample_oblique_labels
from pipeline.types import Array1D, Array3D, Geometry, Series, Volume

Clamp = Literal["none", "global", "local"]
MaskMethod = Literal["nearest", "label-gaussian"]

#: Ratios of spacings below this are the same spacing, rounded.
_FINER = 1.001


def resample(
    volume: Volume,
    grid: Geometry,
    *,
    kind: Interpolation = "bspline3",
    anti_alias: bool = True,
    clamp: Clamp = "global",
    outside: float = 0.0,
    radius: int = SINC_RADIUS,
) -> Volume:
    """Return the image on another grid.

    Parameters
    ----------
    volume : Volume
        Image; any real type.
    grid : Geometry
        Where to interpolate.
    kind : Interpolation
        nearest, linear, B-spline of order 1 to 5, or a windowed sinc.
    anti_alias : bool
        Along axes that get coarser, remove what the new grid cannot hold: a windowed sinc
        is stretched by the ratio of the spacings, the other kinds are preceded by a Gaussian
        (`prefilter_weights`). "nearest" never invents values, so nothing precedes it.
    clamp : {"none", "global", "local"}
        Keep results within the least and greatest value of the whole input, or of the input
        voxels around each point (the 8 corners of its cell; along axes that get coarser the
        voxels that the new voxel covers). B-splines above order 1 and sincs overshoot.
    outside : float
        Value of points outside the field of view.
    radius : int
        Samples on each side that a windowed sinc sees. Grids at an angle use ITK's sinc,
        whose radius is always 5.

    Returns
    -------
    Volume
        Same type for "nearest", else float32 (float64 where the input needs it). On its own
        grid an image comes back unchanged.

    Raises
    ------
    ImageError
        If a voxel is not finite.
    SettingsError
        If an option is unknown or out of range.
    """
    _check_options(kind, clamp, radius)
    check_finite(volume.data, "resampling")
    exact = kind == "nearest"
    dtype = volume.data.dtype if exact else np.result_type(volume.data.dtype, np.float32)
    if same_grid(volume.grid, grid):
        return Volume(volume.data.astype(dtype), grid)
    aligned = align(volume.grid, grid)
    if aligned is None:
        data = resample_oblique(
            volume, grid, kind=kind, anti_alias=anti_alias, clamp=clamp, outside=outside
        )
    else:
        data = _resample_aligned(volume.data, aligned, kind, anti_alias, clamp, radius)
        data = _blank_outside(data, aligned, volume.grid.shape, outside)
    return Volume(data.astype(dtype), grid)


def resample_series(
    series: Series,
    grid: Geometry,
    *,
    kind: Interpolation = "bspline3",
    anti_alias: bool = True,
    clamp: Clamp = "global",
    outside: float = 0.0,
    radius: int = SINC_RADIUS,
) -> Series:
    """Return the series on another grid, each time point by itself; see `resample`."""
    images = [
        resample(
            series.image(index), grid, kind=kind, anti_alias=anti_alias,
            clamp=clamp, outside=outside, radius=radius,
        ).data
        for index in range(series.data.shape[3])
    ]  # fmt: skip
    return Series(np.stack(images, axis=-1), grid, series.time_s)


def resample_mask(mask: Volume, grid: Geometry, *, method: MaskMethod = "nearest") -> Volume:
    """Return a mask or label image on another grid; no label is invented.

    Parameters
    ----------
    mask : Volume
        0/1, booleans or label numbers.
    grid : Geometry
        Where to interpolate.
    method : {"nearest", "label-gaussian"}
        "nearest" takes the label of the voxel the point lies in and keeps volumes best.
        "label-gaussian" takes the label with the largest Gaussian weight around the point
        (sigma of one voxel, as SimpleITK's): smoother outlines, but small round shapes
        shrink (a sphere of 7 voxels radius by 1 to 2 %, of 3 voxels by 8 %).

    Returns
    -------
    Volume
        Same type as the input; 0 outside the field of view.
    """
    if method == "nearest":
        return resample(mask, grid, kind="nearest")
    if method != "label-gaussian":
        raise SettingsError(f"mask method {method!r} is unknown; use nearest or label-gaussian")
    if same_grid(mask.grid, grid):
        return Volume(mask.data, grid)
    aligned = align(mask.grid, grid)
    if aligned is None:
        return Volume(resample_oblique_labels(mask, grid), grid)
    data = _vote(mask.data, aligned)
    return Volume(_blank_outside(data, aligned, mask.grid.shape, 0), grid)


def _resample_aligned(
    data: Array3D, aligned: AlignedMap, kind: Interpolation, anti_alias: bool, clamp: Clamp,
    radius: int,
) -> Array3D:  # fmt: skip
    if kind == "nearest":
        return _nearest(data, aligned).transpose(np.argsort(aligned.order))
    widen = [r if anti_alias and r > _FINER else 1.0 for r in aligned.ratio]
    out = data.astype(np.float64)
    if kind not in WINDOWS:
        for axis, ratio in enumerate(widen):
            if ratio > 1.0:
                out = apply_weights(out, prefilter_weights(data.shape[axis], ratio), axis)
    out = _spline_coefficients(out, spline_order(kind))
    for axis in _shrinking_first(aligned):
        weights = interpolation_weights(
            kind, aligned.position[axis], data.shape[axis], widen=widen[axis], radius=radius
        )
        out = apply_weights(out, weights, axis)
    return _clamped(out, data, aligned, widen, clamp).transpose(np.argsort(aligned.order))


def _spline_coefficients(data: Array3D, order: int) -> Array3D:
    """Return the coefficients of the B-spline through the samples, mirrored at the ends."""
    if order < 2:
        return data
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    coefficients = sitk.BSplineDecomposition(image, order)
    return np.asarray(sitk.GetArrayFromImage(coefficients).transpose(2, 1, 0))


def _shrinking_first(aligned: AlignedMap) -> list[int]:
    """Order the axes so that the array is as small as it can be, as soon as it can be."""
    return sorted(range(3), key=lambda axis: -aligned.ratio[axis])


def _clamped(
    out: Array3D, data: Array3D, aligned: AlignedMap, widen: list[float], clamp: Clamp
) -> Array3D:
    if clamp == "none":
        return out
    if clamp == "global":
        return np.clip(out, data.min(), data.max(), out=out)
    low: Array3D = data
    high: Array3D = data
    for axis in range(3):
        taps = _window(aligned.position[axis], data.shape[axis], widen[axis])
        low = _reduce(np.minimum, low, taps, axis)
        high = _reduce(np.maximum, high, taps, axis)
    return np.clip(out, low, high, out=out)


def _window(position: Array1D, size: int, widen: float) -> npt.NDArray[np.intp]:
    first = np.floor(position - (widen - 1.0))
    last = np.ceil(position + (widen - 1.0))
    span = int((last - first).max()) + 1
    taps = np.minimum(first[:, None] + np.arange(span), last[:, None])
    return np.clip(taps, 0, size - 1).astype(np.intp)


def _reduce(extreme: np.ufunc, data: Array3D, taps: npt.NDArray[np.intp], axis: int) -> Array3D:
    out = np.take(data, taps[:, 0], axis=axis)
    for column in taps.T[1:]:
        extreme(out, np.take(data, column, axis=axis), out=out)
    return out


def _vote(data: Array3D, aligned: AlignedMap) -> Array3D:
    """Return the label with the largest Gaussian weight; the nearest voxel's wins a tie."""
    nearest = _nearest(data, aligned)
    weights = [label_weights(at, n) for at, n in zip(aligned.position, data.shape, strict=True)]
    winner = nearest.copy()
    best = np.full(nearest.shape, -1.0)
    for label in np.unique(data):
        score = (data == label).astype(np.float64)
        for axis in _shrinking_first(aligned):
            score = apply_weights(score, weights[axis], axis)
        # Sums that differ by rounding are ties; without this a tie would favour one label.
        score = score + 1e-9 * (nearest == label)
        ahead = score > best
        best[ahead], winner[ahead] = score[ahead], label
    return winner.transpose(np.argsort(aligned.order))


def _nearest(data: Array3D, aligned: AlignedMap) -> Array3D:
    taps = [
        interpolation_weights("nearest", at, n).index[:, 0]
        for at, n in zip(aligned.position, data.shape, strict=True)
    ]
    return data[np.ix_(*taps)]


def _blank_outside(
    data: Array3D, aligned: AlignedMap, shape: tuple[int, int, int], outside: float
) -> Array3D:
    out = np.ascontiguousarray(data)
    for axis in range(3):
        position = aligned.position[axis]
        beyond = (position < -0.5 - 1e-6) | (position > shape[axis] - 0.5 + 1e-6)
        if beyond.any():
            np.moveaxis(out, aligned.order[axis], 0)[beyond] = outside
    return out


def _check_options(kind: str, clamp: str, radius: int) -> None:
    if kind not in INTERPOLATIONS:
        raise SettingsError(
            f"interpolation {kind!r} is unknown; choose one of {', '.join(INTERPOLATIONS)}"
        )
    if clamp not in ("none", "global", "local"):
        raise SettingsError(f"clamp {clamp!r} is unknown; choose none, global or local")
    if radius < 1:
        raise SettingsError(f"sinc radius {radius} must be at least 1 voxel")

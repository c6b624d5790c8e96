"""N4 bias field correction (Tustison et al. 2010, N4ITK: improved N3 bias correction).

The field is estimated on a shrunken copy and evaluated from its B-spline on every voxel of
the original grid, so that no detail of the image passes through the shrunken copy.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import EmptyRegionError, ImageError, SettingsError
from pipeline.geometry import to_sitk
from pipeline.preprocess.checks import check_finite, region_of
from pipeline.types import Array3D, Mask3D, Series, Volume

#: The shrunken copy keeps at least this many voxels along an axis (or all, where fewer).
MIN_SHRUNKEN_VOXELS = 6

#: Fewer voxels than this cannot carry a histogram, let alone a field.
MIN_VOXELS = 64

#: A mask with less than this part of the tissue is probably that of a lesion.
SMALL_PART = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class N4Settings:
    """How the field is estimated.

    Attributes
    ----------
    shrink : int
        Keep every n-th voxel along each axis while estimating.
    levels : int
        Levels; each doubles the spans of the field's B-spline.
    iterations : int
        Most iterations on one level.
    convergence : float
        A level ends when the field changes by less than this (coefficient of variation of
        the ratio of two successive fields).
    control_points : int
        Control points along each axis on the first level.
    spline_order : int
        Order of the field's B-spline.
    """

    shrink: int = 4
    levels: int = 4
    iterations: int = 50
    convergence: float = 0.001
    control_points: int = 4
    spline_order: int = 3


def estimate_log_field(
    volume: Volume, *, mask: Mask3D | None = None, settings: N4Settings | None = None
) -> Volume:
    """Return the natural logarithm of the bias field on every voxel of the image.

    Parameters
    ----------
    volume : Volume
        Image. Values of 0 and below take no part in the estimate.
    mask : (I, J, K) bool array, optional
        Where tissue is. Default: what lies above Otsu's threshold.
    settings : N4Settings, optional
        Default: shrink 4, 4 levels of 50 iterations.

    Returns
    -------
    Volume
        float32. Its mean over the mask is 0: dividing by the field keeps the geometric mean
        of the tissue, so that images of one patient stay on one scale.

    Raises
    ------
    ImageError
        If the image is constant, not finite, or nowhere positive.
    EmptyRegionError
        If fewer than 64 positive voxels lie in the mask.
    """
    import SimpleITK as sitk

    settings = settings or N4Settings()
    _check_settings(settings)
    check_finite(volume.data, "N4")
    region = _tissue(volume, mask)
    data = np.where(volume.data > 0, volume.data, volume.data[region].min()).astype(np.float32)
    image = to_sitk(Volume(_thick(data), volume.grid))
    tissue = to_sitk(Volume(_thick(region), volume.grid))
    shrink = _shrink_factors(data.shape, region, settings.shrink)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([settings.iterations] * settings.levels)
    n4.SetConvergenceThreshold(settings.convergence)
    n4.SetNumberOfControlPoints([settings.control_points] * 3)
    n4.SetSplineOrder(settings.spline_order)
    with _one_thread():
        n4.Execute(sitk.Shrink(image, shrink), sitk.Shrink(tissue, shrink))
    field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
    field = field[: data.shape[0], : data.shape[1], : data.shape[2]]
    centred = np.ascontiguousarray(field - field[region].mean(dtype=np.float64), dtype=np.float32)
    _log.info(
        "N4: shrink %s, %d voxels of tissue, field %.3f to %.3f",
        shrink, int(region.sum()), *np.exp([centred[region].min(), centred[region].max()]),
    )  # fmt: skip
    return Volume(centred, volume.grid)


def correct_bias(
    volume: Volume, *, mask: Mask3D | None = None, settings: N4Settings | None = None
) -> tuple[Volume, Volume]:
    """Return the corrected image and the bias field: corrected x field = image.

    Parameters
    ----------
    volume, mask, settings
        As in `estimate_log_field`.

    Returns
    -------
    corrected, field : Volume
        float32, on the grid of the image.
    """
    log_field = estimate_log_field(volume, mask=mask, settings=settings)
    field = np.exp(log_field.data)
    return Volume(volume.data.astype(np.float32) / field, volume.grid), Volume(field, volume.grid)


def correct_series_bias(
    series: Series,
    *,
    reference: int = 0,
    mask: Mask3D | None = None,
    settings: N4Settings | None = None,
) -> tuple[Series, Volume]:
    """Return a contrast series divided by one bias field, and that field.

    The field belongs to coil and patient, not to the contrast agent: one field, estimated on
    the image before contrast, is divided out of all time points. So S1/S0, and with it every
    enhancement ratio, stays what it was. A field per time point would take part of a large
    enhancing region for inhomogeneity and divide it away.

    Parameters
    ----------
    series : Series
        Images of one session on one grid.
    reference : int
        Time point on which the field is estimated: the image before contrast.
    mask, settings
        As in `estimate_log_field`.

    Returns
    -------
    corrected : Series
        float32.
    field : Volume
        float32; corrected x field = series.
    """
    log_field = estimate_log_field(series.image(reference), mask=mask, settings=settings)
    field = np.exp(log_field.data)
    corrected = series.data.astype(np.float32) / field[..., None]
    return Series(corrected, series.grid, series.time_s), Volume(field, series.grid)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run ITK's N4 on one thread: the last digits of its sums depend on their number.

    Its inner filters listen to the global default only.
    """
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _tissue(volume: Volume, mask: Mask3D | None) -> Mask3D:
    """Return the positive voxels of the mask, or of what Otsu's threshold leaves."""
    data = volume.data
    if data.min() == data.max():
        raise ImageError(
            f"N4: every voxel is {data.flat[0]}; a constant image has no bias field. "
            "Leave this image out, or pass --no-n4"
        )
    if not (data > 0).any():
        raise ImageError(
            f"N4: no voxel is above 0 (greatest {data.max()}); the bias field is a factor and "
            "needs positive intensities. Add a constant, or pass --no-n4"
        )
    region = _above_otsu(volume)
    if mask is not None:
        given = region_of(mask, data.shape, "N4")
        if given.sum() < SMALL_PART * region.sum():
            _log.warning(
                "N4: the mask covers %.1f %% of what Otsu takes for tissue; a field estimated in "
                "a tumour alone is not the coil's. Give a mask of the tissue, or none",
                100.0 * given.sum() / region.sum(),
            )
        region = given
    region = region & (data > 0)
    if int(region.sum()) < MIN_VOXELS:
        raise EmptyRegionError(
            f"N4: {int(region.sum())} positive voxels in the mask, at least {MIN_VOXELS} are "
            "needed; give a mask of the tissue with --mask, or pass --no-n4"
        )
    return np.asarray(region)


def _thick(data: Array3D) -> Array3D:
    """Repeat the voxels of an axis that has only one: ITK's B-spline needs an extent."""
    return np.pad(data, [(0, 1 if size == 1 else 0) for size in data.shape], mode="edge")


def _above_otsu(volume: Volume) -> Mask3D:
    import SimpleITK as sitk

    image = to_sitk(Volume(volume.data.astype(np.float32), volume.grid))
    above: Any = sitk.GetArrayFromImage(sitk.OtsuThreshold(image, 0, 1, 200))
    return np.asarray(above.transpose(2, 1, 0), dtype=np.bool_)


def _shrink_factors(shape: tuple[int, ...], region: Array3D, shrink: int) -> list[int]:
    """Return the factor per axis, lowered where the copy would get too thin or too empty."""
    factors = [max(1, min(shrink, size // MIN_SHRUNKEN_VOXELS)) for size in shape]
    while max(factors) > 1 and _kept(region, factors) < MIN_VOXELS:
        factors = [max(1, factor - 1) for factor in factors]
    return factors


def _kept(region: Array3D, factors: list[int]) -> int:
    """Return how many voxels of a region every n-th sample hits, about."""
    return int(region.sum()) // int(np.prod(factors))


def _check_settings(settings: N4Settings) -> None:
    lowest = {"shrink": 1, "levels": 1, "iterations": 1, "spline_order": 1}
    for name, least in lowest.items():
        value = getattr(settings, name)
        if value < least:
            raise SettingsError(f"N4: {name} {value} must be at least {least}")
    if settings.control_points <= settings.spline_order:
        raise SettingsError(
            f"N4: control_points {settings.control_points} must be above spline_order "
            f"{settings.spline_order}"
        )
    if not settings.convergence > 0:
        raise SettingsError(f"N4: convergence {settings.convergence} must be above 0")

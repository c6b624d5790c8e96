"""The preprocess block as a whole: orientation, bias field, grid, intensities, in this order."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import SettingsError
from pipeline.geometry import same_grid
from pipeline.grid_difference import check_same_grid
from pipeline.preprocess.bias import N4Settings, correct_series_bias
from pipeline.preprocess.grids import spaced_grid
from pipeline.preprocess.kernels import SINC_RADIUS, Interpolation
from pipeline.preprocess.normalise import (
    IntensityMap,
    NyulStandard,
    apply_map,
    ct_window,
    fit_percentile,
    fit_zscore,
    nyul_map,
)
from pipeline.preprocess.orientation import restore, series_to_canonical, to_canonical
from pipeline.preprocess.resample import Clamp, MaskMethod, resample_mask, resample_series
from pipeline.types import Array3D, Geometry, Mask3D, Series, Volume

Normalisation = Literal["none", "zscore", "percentile", "ct-window", "nyul"]


@dataclass(frozen=True)
class PreprocessOptions:
    """What is done to an image or a series.

    Attributes
    ----------
    canonical : bool
        Swap and flip axes to the orientation nearest LPS first.
    n4 : N4Settings or None
        Bias field correction; None leaves it out.
    spacing_mm : three floats or None
        New spacing; None keeps the grid. Not used where a target grid is given.
    interpolation, anti_alias, clamp, sinc_radius, outside
        As in `pipeline.preprocess.resample.resample`.
    mask_method : {"nearest", "label-gaussian"}
        How the mask follows.
    normalise : {"none", "zscore", "percentile", "ct-window", "nyul"}
        Intensity normalisation, fitted on the image before contrast (in the mask, where one
        is given) and applied to every time point, so that enhancement stays comparable.
    percentiles : (low, high)
        For "percentile".
    window_centre_hu, window_width_hu : float
        For "ct-window".
    nyul : NyulStandard or None
        For "nyul": learned before, on training images.
    keep_orientation : bool
        Give the result the orientation of the input again.
    """

    canonical: bool = True
    n4: N4Settings | None = N4Settings()  # noqa: RUF009 (frozen itself)
    spacing_mm: tuple[float, float, float] | None = (1.0, 1.0, 1.0)
    interpolation: Interpolation = "bspline3"
    anti_alias: bool = True
    clamp: Clamp = "global"
    sinc_radius: int = SINC_RADIUS
    outside: float = 0.0
    mask_method: MaskMethod = "nearest"
    normalise: Normalisation = "none"
    percentiles: tuple[float, float] = (1.0, 99.0)
    window_centre_hu: float = 40.0
    window_width_hu: float = 400.0
    nyul: NyulStandard | None = None
    keep_orientation: bool = False


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """What comes out.

    Attributes
    ----------
    series : Series
        The images; one time point where one image went in.
    mask : Volume or None
        The mask on the grid of the images.
    bias_field : Volume or None
        The field on the grid before resampling.
    reference : int
        Time point on which bias field and normalisation were fitted.
    intensities : IntensityMap or None
        The normalisation that was applied.
    """

    series: Series
    mask: Volume | None
    bias_field: Volume | None
    reference: int
    intensities: IntensityMap | None


def preprocess(
    series: Series,
    *,
    mask: Volume | None = None,
    target: Geometry | None = None,
    options: PreprocessOptions | None = None,
    labels: bool = False,
) -> Preprocessed:
    """Bring one image or one contrast series into the form the other blocks expect.

    Parameters
    ----------
    series : Series
        Images on one grid; a single image is a series of one.
    mask : Volume, optional
        Region for N4 and normalisation, on the grid of the images.
    target : Geometry, optional
        Grid to resample onto, instead of ``options.spacing_mm``.
    options : PreprocessOptions, optional
        What is done.
    labels : bool
        The image is itself a mask or label image, to be resampled as one; ask for no bias
        field correction and no normalisation.

    Returns
    -------
    Preprocessed
        Images, mask and bias field with what was fitted.

    Raises
    ------
    GeometryError
        If the mask is not on the grid of the images.
    SettingsError
        If options contradict one another.
    """
    options = options or PreprocessOptions()
    _check(options, target, labels)
    if mask is not None:
        check_same_grid(series.grid, mask.grid, ("the image", "the mask"))
    original = series.grid
    reference = reference_index(series)
    if options.canonical:
        series = series_to_canonical(series)
        mask = to_canonical(mask) if mask is not None else None
    field = None
    if options.n4 is not None:
        series, field = correct_series_bias(
            series, reference=reference, mask=_inside(mask), settings=options.n4
        )
    series, mask = _resampled(series, mask, target, options, labels)
    intensities = _fit(series.data[..., reference], _inside(mask), options)
    if intensities is not None:
        mapped = apply_map(series.data, intensities)
        series = Series(mapped, series.grid, series.time_s)
    done = Preprocessed(series, mask, field, reference, intensities)
    return _turned_back(done, original) if options.keep_orientation else done


def reference_index(series: Series) -> int:
    """Return the last time point at or before injection; the first where there is none."""
    before = [index for index, time in enumerate(series.time_s) if time <= 0]
    return before[-1] if before else 0


def stack(volumes: list[Volume], names: list[str], time_s: tuple[float, ...]) -> Series:
    """Return images of one session as a series.

    Raises
    ------
    GeometryError
        If an image is not on the grid of the first; says by how many mm.
    SettingsError
        If there is not one time per image, or the times fall.
    """
    if len(time_s) != len(volumes):
        raise SettingsError(
            f"{len(volumes)} images and {len(time_s)} times; give seconds after injection for "
            "each image, e.g. --time-s 0,90,180"
        )
    if any(later < earlier for earlier, later in itertools.pairwise(time_s)):
        raise SettingsError(
            f"times {list(time_s)} s must not fall; name the images in the order they were taken"
        )
    for volume, name in zip(volumes[1:], names[1:], strict=True):
        check_same_grid(volumes[0].grid, volume.grid, (names[0], name))
    data = np.stack([volume.data for volume in volumes], axis=-1)
    return Series(data, volumes[0].grid, time_s)


def _resampled(
    series: Series,
    mask: Volume | None,
    target: Geometry | None,
    options: PreprocessOptions,
    labels: bool,
) -> tuple[Series, Volume | None]:
    if target is None and options.spacing_mm is not None:
        target = spaced_grid(series.grid, options.spacing_mm)
    if target is None or same_grid(series.grid, target):
        return series, mask
    if labels:
        moved = resample_mask(series.image(0), target, method=options.mask_method)
        return Series(moved.data[..., np.newaxis], target, series.time_s), mask
    resampled = resample_series(
        series,
        target,
        kind=options.interpolation,
        anti_alias=options.anti_alias,
        clamp=options.clamp,
        outside=options.outside,
        radius=options.sinc_radius,
    )
    if mask is not None:
        mask = resample_mask(mask, target, method=options.mask_method)
    return resampled, mask


def _fit(data: Array3D, mask: Mask3D | None, options: PreprocessOptions) -> IntensityMap | None:
    if options.normalise == "zscore":
        return fit_zscore(data, mask=mask)
    if options.normalise == "percentile":
        return fit_percentile(data, mask=mask, percentiles=options.percentiles)
    if options.normalise == "ct-window":
        return ct_window(centre_hu=options.window_centre_hu, width_hu=options.window_width_hu)
    if options.normalise == "nyul" and options.nyul is not None:
        return nyul_map(data, options.nyul, mask=mask)
    return None


def _turned_back(done: Preprocessed, original: Geometry) -> Preprocessed:
    def back(volume: Volume | None) -> Volume | None:
        return None if volume is None else Volume(*restore(volume.data, volume.grid, original))

    data, grid = restore(done.series.data, done.series.grid, original)
    series = Series(data, grid, done.series.time_s)
    return Preprocessed(
        series, back(done.mask), back(done.bias_field), done.reference, done.intensities
    )


def _inside(mask: Volume | None) -> Mask3D | None:
    return None if mask is None else np.asarray(mask.data, dtype=np.bool_)


def _check(options: PreprocessOptions, target: Geometry | None, labels: bool) -> None:
    if labels and (options.n4 is not None or options.normalise != "none"):
        raise SettingsError("labels have no bias field and no intensities; leave both out")
    if options.keep_orientation and not options.canonical:
        raise SettingsError("keep_orientation has no meaning without canonical; drop one of them")
    if options.keep_orientation and target is not None:
        raise SettingsError(
            "keep_orientation contradicts a target grid (--like), which has its own orientation; "
            "drop one of them"
        )
    if options.normalise == "nyul" and options.nyul is None:
        raise SettingsError(
            "normalisation nyul needs a standard learned from training images: make it with "
            "--fit-nyul standard.json, then pass --nyul-standard standard.json"
        )

"""How a region is prepared before it is measured, and IBSI's own configurations of that."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import SettingsError

Dimension = Literal["2D", "2_5D", "3D"]
Interpolation = Literal["linear", "cubic"]

#: More grey levels than this are a bin width in the wrong unit.
MAX_LEVELS = 10_000

_BY_SLICE: tuple[Dimension, ...] = ("2D", "2_5D")


@dataclass(frozen=True)
class IbsiSettings:
    """Image processing before the features, in the order of the IBSI scheme.

    Attributes
    ----------
    spacing_mm : three floats or None, or None
        Distance of the voxels on which to measure; None keeps that of the image, of one axis or
        of all.
    interpolation : {"linear", "cubic"}
        Of the image: trilinear, or tricubic spline. The mask is always trilinear.
    mask_threshold : float
        Share of the region from which an interpolated voxel belongs to it.
    round_intensities : bool
        Round to whole numbers after interpolation, as Hounsfield units are.
    resegment : (float, float) or None
        Only these intensities count; the shape keeps all voxels.
    outlier_sigma : float or None
        Intensities farther than this many standard deviations from the mean do not count.
    bin_width, bin_count : float or None, int or None
        Grey levels of fixed width from the lower end of `resegment` (else from the lowest
        intensity), or a fixed number of them; with neither, the width is 1.
    volume_bin_width, volume_bin_count : float or None, int or None
        The same for the intensity-volume histogram; with neither, it uses the intensities.
    dimensions : tuple of {"2D", "2_5D", "3D"}
        Ways of texture: slice by slice (features averaged, or matrices merged), or in space.
        Slices are those of the last axis.
    """

    spacing_mm: tuple[float | None, float | None, float | None] | None = None
    interpolation: Interpolation = "linear"
    mask_threshold: float = 0.5
    round_intensities: bool = True
    resegment: tuple[float, float] | None = None
    outlier_sigma: float | None = None
    bin_width: float | None = None
    bin_count: int | None = None
    volume_bin_width: float | None = None
    volume_bin_count: int | None = None
    dimensions: tuple[Dimension, ...] = ("3D",)

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _check_bins("bin", self.bin_width, self.bin_count)
        _check_bins("volume_bin", self.volume_bin_width, self.volume_bin_count)
        _check_ranges(self)
        if self.interpolation not in ("linear", "cubic"):
            raise SettingsError(f"interpolation is {self.interpolation!r}; use linear or cubic")
        if not self.dimensions or set(self.dimensions) - {"2D", "2_5D", "3D"}:
            raise SettingsError(f"dimensions are {self.dimensions}; choose from 2D, 2_5D, 3D")


def _check_bins(name: str, width: float | None, count: int | None) -> None:
    if width is not None and count is not None:
        raise SettingsError(f"{name}_width and {name}_count exclude each other; give one of them")
    if width is not None and not 0 < width < np.inf:
        raise SettingsError(f"{name}_width is {width:g}; it must be finite and above 0")
    if count is not None and not 1 <= count <= MAX_LEVELS:
        raise SettingsError(f"{name}_count is {count}; it must lie in 1 to {MAX_LEVELS}")


def _check_ranges(settings: IbsiSettings) -> None:
    if settings.resegment is not None and not settings.resegment[0] < settings.resegment[1]:
        low, high = settings.resegment
        raise SettingsError(f"resegment is {low:g} to {high:g}; the first must be the lower one")
    if settings.outlier_sigma is not None and not 0 < settings.outlier_sigma < np.inf:
        raise SettingsError(f"outlier_sigma is {settings.outlier_sigma:g}; it must be above 0")
    if not 0 < settings.mask_threshold <= 1:
        raise SettingsError(
            f"mask_threshold is {settings.mask_threshold:g}; it must lie above 0, to 1"
        )
    for step in settings.spacing_mm or ():
        if step is not None and not 0 < step < np.inf:
            raise SettingsError(f"spacing_mm has {step:g}; it must be finite and above 0")


#: Of the CT phantom (reference manual, table 5.1).
CONFIGURATIONS: dict[str, IbsiSettings] = {
    "A": IbsiSettings(resegment=(-500.0, 400.0), bin_width=25.0, dimensions=_BY_SLICE),
    "B": IbsiSettings(
        spacing_mm=(2.0, 2.0, None),
        resegment=(-500.0, 400.0),
        bin_count=32,
        dimensions=_BY_SLICE,
    ),
    "C": IbsiSettings(
        spacing_mm=(2.0, 2.0, 2.0),
        resegment=(-1000.0, 400.0),
        bin_width=25.0,
        volume_bin_width=2.5,
    ),
    "D": IbsiSettings(spacing_mm=(2.0, 2.0, 2.0), outlier_sigma=3.0, bin_count=32),
    "E": IbsiSettings(
        spacing_mm=(2.0, 2.0, 2.0),
        interpolation="cubic",
        resegment=(-1000.0, 400.0),
        outlier_sigma=3.0,
        bin_count=32,
        volume_bin_count=1000,
    ),
}

#: Of the digital phantom: its intensities are its grey levels.
DIGITAL_PHANTOM = IbsiSettings(bin_width=1.0, dimensions=("2D", "2_5D", "3D"))

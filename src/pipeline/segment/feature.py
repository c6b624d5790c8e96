"""What is clustered: the enhancement of a contrast series, or an image as it is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import SettingsError
from pipeline.preprocess.checks import check_finite
from pipeline.preprocess.dce import choose_phase, pre_contrast_index
from pipeline.segment.options import FeatureKind, LesionOptions
from pipeline.types import Mask3D, Series, Volume

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Feature:
    """An image whose bright places are lesion.

    Attributes
    ----------
    data : (I, J, K) float array
        What is clustered.
    kind : {"enhancement", "intensity"}
        What it is.
    phase, phase_time_s : int, float or None
        Time point of the series, and its time; None for a single image.
    before, after : (I, J, K) arrays or None
        S0 and the phase; None for a single image.
    """

    data: Floats
    kind: FeatureKind
    phase: int | None = None
    phase_time_s: float | None = None
    before: Floats | None = None
    after: Floats | None = None

    def relative_enhancement(self, region: Mask3D) -> float | None:
        """Return the mean enhancement over the mean S0 of a region.

        None for a single image, and for intensities with another zero (S0 below 0 somewhere,
        as after z-scoring), whose ratios mean nothing.
        """
        if self.before is None or self.after is None or self.before.min() < 0:
            return None
        base = float(self.before[region].mean())
        rise = float(self.after[region].mean()) - base
        return rise / base if base > 0 else float("inf")


def feature_of(image: Series | Volume, options: LesionOptions) -> Feature:
    """Return what is clustered of a series or an image.

    Raises
    ------
    SettingsError
        If the series has no image before or after contrast, the phase asked for is not after
        contrast, or a phase is asked of a single image.
    ImageError
        If a voxel is NaN or infinite.
    """
    if isinstance(image, Volume):
        return _single(image, options)
    if image.data.shape[3] == 1:
        return _single(image.image(0), options)
    first = pre_contrast_index(image)
    phase = options.phase
    if phase is None:
        phase = choose_phase(image, None, rule="nearest-time", time_s=options.phase_time_s).index
    if not first < phase < len(image.time_s):
        raise SettingsError(
            f"phase {phase} is not after contrast: S0 is time point {first} and the last one is "
            f"{len(image.time_s) - 1}, counted from 0; choose one between"
        )
    check_finite(image.data[..., [first, phase]], "segmentation")
    before = image.data[..., first].astype(np.float64)
    after = image.data[..., phase].astype(np.float64)
    data = after - before if options.feature == "enhancement" else after
    return Feature(data, options.feature, phase, image.time_s[phase], before, after)


def _single(image: Volume, options: LesionOptions) -> Feature:
    if options.phase is not None:
        raise SettingsError(
            f"phase {options.phase} asked of a single image; give the whole series, or no --phase"
        )
    check_finite(image.data, "segmentation")
    return Feature(image.data.astype(np.float64), "intensity")

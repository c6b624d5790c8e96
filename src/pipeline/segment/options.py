"""How a lesion is looked for."""

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import SettingsError

FeatureKind = Literal["enhancement", "intensity"]


@dataclass(frozen=True)
class LesionOptions:
    """How a lesion is looked for; checked when made.

    Attributes
    ----------
    feature : {"enhancement", "intensity"}
        What is clustered of a contrast series: phase - S0, or the phase itself. A single image
        has only its intensity.
    phase : int, optional
        Time point of a series, counted from 0. Default: the one nearest to `phase_time_s`.
    phase_time_s : float
        Seconds after injection.
    clusters : int
        Clusters, at least 2. From 3 on, one fewer is tried as well, see
        `pipeline.segment.region.find_region`.
    fuzzifier, membership_power, spatial_power : float
        As in `pipeline.segment.fcm.spatial_fcm`.
    seed_box_mm : float
        Edge of the box round the seed that the lesion cannot leave.
    seed_reach_mm : float
        A seed beside the lesion takes the nearest foreground within this distance.
    opening_mm : float
        Attachments thinner than about twice this go; 0 leaves them.
    fill_planes : bool
        Fill what is enclosed within a plane, besides what is enclosed in space.
    minimum_mm3 : float
        Smaller regions count as no lesion.
    minimum_contrast : float
        Least share of the step from the middle of the surroundings up to the lesion that must
        lie above the brightest tenth of the surroundings. Gland cut out of gland has little.
    minimum_enhancement : float
        Least enhancement of the region over its S0, for a contrast series. Below 0.5 is slow
        in the terms of BI-RADS, and usual in gland.

    Raises
    ------
    SettingsError
        If an option is outside its range; all of them at once.
    """

    feature: FeatureKind = "enhancement"
    phase: int | None = None
    phase_time_s: float = 180.0
    clusters: int = 3
    fuzzifier: float = 2.0
    membership_power: float = 1.0
    spatial_power: float = 1.0
    seed_box_mm: float = 100.0
    seed_reach_mm: float = 10.0
    opening_mm: float = 3.0
    fill_planes: bool = False
    minimum_mm3: float = 100.0
    minimum_contrast: float = 0.4
    minimum_enhancement: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        problems = []
        if self.feature not in ("enhancement", "intensity"):
            problems.append(f"feature is {self.feature!r}, must be enhancement or intensity")
        problems += [
            f"{name} is {value:g}, must be above 0"
            for name in ("seed_box_mm", "seed_reach_mm")
            if not (value := getattr(self, name)) > 0
        ]
        problems += [
            f"{name} is {value:g}, must be 0 or more"
            for name in ("opening_mm", "minimum_mm3")
            if not (value := getattr(self, name)) >= 0
        ]
        problems += [
            f"{name} is {value:g}, must be a number"
            for name in ("phase_time_s", "minimum_contrast", "minimum_enhancement")
            if not math.isfinite(value := getattr(self, name))
        ]
        if problems:
            raise SettingsError("segmentation: " + "; ".join(problems))

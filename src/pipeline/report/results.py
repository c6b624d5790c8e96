"""What the chain made of one subject, as the report needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.geometry import same_grid
from pipeline.report.card import Card
from pipeline.types import DisplacementField, Series, Volume

if TYPE_CHECKING:
    import pandas as pd

#: Seconds after injection at which most tumours are brightest.
PEAK_TIME_S = 180.0


def session_name(session: str) -> str:
    """Return a session in words."""
    return {"followup": "follow-up"}.get(session, session)


@dataclass(frozen=True, eq=False)
class VisitResults:
    """What the chain made of one session; None or empty for what is missing.

    Attributes
    ----------
    session : str
        Name of the session.
    series : Series, optional
        Preprocessed images.
    mask, subtraction : Volume, optional
        On the grid of the series.
    phase, segmentation : mapping
        How the phase was chosen; what the segmentation measured.
    """

    session: str
    series: Series | None = None
    mask: Volume | None = None
    subtraction: Volume | None = None
    phase: Mapping[str, Any] = field(default_factory=dict)
    segmentation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The session in words."""
        return session_name(self.session)

    def post_contrast(self, time_s: float = PEAK_TIME_S) -> int:
        """Return the time point nearest to `time_s`, S0 apart where there is another."""
        assert self.series is not None
        times = self.series.time_s
        after = [n for n, t in enumerate(times) if t > 0] or list(range(len(times)))
        return min(after, key=lambda n: abs(times[n] - time_s))


@dataclass(frozen=True, eq=False)
class RegistrationResults:
    """Follow-up onto baseline; None or empty for what is missing.

    Attributes
    ----------
    warped, jacobian, displacement
        On the baseline grid.
    affine : (4, 4) array, optional
        Affine part of the map, fixed to moving point, LPS mm.
    convergence : bytes
        Picture (PNG) of the engine's steps, of an engine that tells.
    metrics : mapping
        metrics.json.
    """

    warped: Volume | None = None
    jacobian: Volume | None = None
    displacement: DisplacementField | None = None
    affine: npt.NDArray[np.float64] | None = None
    convergence: bytes = b""
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SubjectResults:
    """All that the page of a subject shows.

    Attributes
    ----------
    subject : str
        Id.
    baseline, followup : VisitResults
        The two sessions.
    registration : RegistrationResults
        Follow-up (moving) onto baseline (fixed).
    covariates : mapping
        Rows of the subjects sheet to show.
    provenance : sequence of (file, record)
        Sidecars without time stamps.
    simulated : bool
        Say so on the face of the page.
    """

    subject: str
    baseline: VisitResults
    followup: VisitResults
    registration: RegistrationResults
    covariates: Mapping[str, str] = field(default_factory=dict)
    provenance: Sequence[tuple[str, Mapping[str, Any]]] = ()
    simulated: bool = False


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers of the page that need the images. Volumes in mL."""

    volume_ml: tuple[float, float]
    ratios: npt.NDArray[np.float64]

    @property
    def volume_ratio(self) -> float:
        """Follow-up over baseline volume; NaN without a baseline volume."""
        first, second = self.volume_ml
        return second / first if first > 0 else float("nan")

    @property
    def mean(self) -> float:
        """Mean Jacobian in the baseline mask; NaN when it is empty."""
        return float(self.ratios.mean()) if self.ratios.size else float("nan")


def measure(results: SubjectResults) -> Numbers:
    """Return the mask volumes and the Jacobians inside the baseline mask."""
    volumes = tuple(
        float("nan") if v.mask is None
        else float((v.mask.data > 0).sum()) * v.mask.grid.voxel_volume_mm3 / 1000.0
        for v in (results.baseline, results.followup)
    )  # fmt: skip
    inside = np.empty(0)
    jacobian, mask = results.registration.jacobian, results.baseline.mask
    if jacobian is not None and mask is not None and same_grid(jacobian.grid, mask.grid):
        inside = np.asarray(jacobian.data[mask.data > 0], dtype=np.float64)
    return Numbers((volumes[0], volumes[1]), inside)


@dataclass(frozen=True, eq=False)
class ModelResults:
    """One model: its predictions and the features it uses."""

    predictions: "pd.DataFrame"
    selection: "pd.DataFrame | None" = None


@dataclass(frozen=True, eq=False)
class StudyResults:
    """All that the page of a study shows; None or empty for what is missing.

    Attributes
    ----------
    name : str
        Name of the study.
    card : Card
        What was published and what to show.
    subjects : DataFrame
        The sheet.
    included, exclusions : DataFrame
        Of the screen.
    failures, features : DataFrame, optional
        Of the cohort step.
    auc, xgboost_auc : DataFrame, optional
        A row per model, as `medpipe model compare` writes.
    models : mapping
        Results of each model, those of the trees as ``xgboost_<model>``.
    truth : DataFrame, optional
        Found against true, for a simulated cohort.
    settings, dataset : mapping
        settings.json of the study; dataset.json beside the sheets.
    pages : mapping
        Subject to the parts of the path of its page, relative to the page of the study.
    """

    name: str
    card: Card
    subjects: "pd.DataFrame"
    included: "pd.DataFrame"
    exclusions: "pd.DataFrame"
    failures: "pd.DataFrame | None" = None
    features: "pd.DataFrame | None" = None
    auc: "pd.DataFrame | None" = None
    xgboost_auc: "pd.DataFrame | None" = None
    models: Mapping[str, ModelResults] = field(default_factory=dict)
    truth: "pd.DataFrame | None" = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    pages: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether the images are simulated."""
        return bool(self.dataset.get("simulated"))

    @property
    def analysed(self) -> "pd.DataFrame | None":
        """Rows of the sheet that have features; None before the cohort step."""
        if self.features is None:
            return None
        return self.subjects[self.subjects["subject"].isin(self.features["subject"])]

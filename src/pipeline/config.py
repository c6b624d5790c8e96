"""The one truth about settings, for the rules and the command line alike. Imports nothing heavy.

Order, later wins: ``workflow/studies/*.yaml``, ``config.yaml``, ``--configfile``, ``--config``.
A typo stops at parse time with the full path of the setting.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.errors import SettingsError

Interpolation = Literal[
    "nearest", "linear", "bspline1", "bspline2", "bspline3", "bspline4", "bspline5",
    "hamming", "cosine", "welch", "lanczos", "blackman",
]  # fmt: skip
FeatureClass = Literal["shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Base: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def as_flags(self) -> str:
        """Return the settings as flags of the block's verb, ready for a shell."""
        return " ".join(_flag(name, value) for name, value in self)


def _flag(name: str, value: Any) -> str:
    option = "--" + name.rstrip("_").replace("_", "-")
    if isinstance(value, bool):
        return option if value else option.replace("--", "--no-", 1)
    if isinstance(value, dict):
        value = tuple(f"{key}:{entry}" for key, entry in value.items())
    text = ",".join(str(v) for v in value) if isinstance(value, tuple) else str(value)
    return f"{option}={shlex.quote(text)}"


class PreprocessSettings(Settings):
    """N4 bias field correction, common grid, intensity normalisation."""

    n4: bool = True
    n4_shrink: Count = Field(4, description="Shrink factor for estimating the bias field.")
    n4_levels: Count = Field(4, description="Resolution levels of the field's B-spline.")
    n4_iterations: Count = Field(50, description="Iterations on each level.")
    spacing_mm: float = Field(1.0, ge=0, description="Isotropic target; 0 keeps the grid.")
    interpolation: Interpolation = "bspline3"
    normalise: Literal["none", "zscore", "percentile"] = "none"


class SegmentSettings(Settings):
    """Spatial fuzzy C-means round a seed; a mask in the sheet wins."""

    clusters: int = Field(3, ge=2, le=5)
    fuzzifier: float = Field(2.0, gt=1)
    phase_time_s: Positive = Field(180.0, description="Post-contrast phase nearest to this time.")
    seed_box_mm: Positive = Field(100.0, description="Edge of the box the lesion cannot leave.")
    opening_mm: float = Field(3.0, ge=0, description="Thinner attachments are cut off.")
    minimum_mm3: Positive = Field(100.0, description="Smaller regions count as no lesion.")
    minimum_contrast: float = Field(0.4, ge=0, le=1, description="Against the surroundings.")
    minimum_enhancement: float = Field(0.5, ge=0, description="Over S0, for a contrast series.")


class DceSettings(Settings):
    """Subtraction image and enhancement maps."""

    phase: Literal["max-mean", "third", "nearest-time"] = "max-mean"
    phase_time_s: Positive = Field(180.0, description="For nearest-time and for an empty mask.")
    floor_fraction: float = Field(
        0.2, ge=0, lt=1, description="Ratios are 0 at or below this part of S0's 95th percentile."
    )


class RegisterSettings(Settings):
    """Later sessions (moving) onto the first (fixed)."""

    scheme: Literal["reference", "sequence"] = Field(
        "reference", description="Each session to the first, or to the one before and composed."
    )
    engine: Literal["torch", "simpleitk"] = Field(
        "torch", description="simpleitk is the reference that torch is measured against."
    )
    deformable: Literal["auto", "diffeomorphic", "bspline", "demons", "none"] = Field(
        "auto", description="Of the engine: auto is its own first choice."
    )
    metric: Literal["lncc", "ssd", "mi"] = Field(
        "lncc", description="What the torch engine compares; mi for images of other contrast."
    )
    phase_time_s: Positive = Field(180.0, description="Phase of a DCE series to be aligned.")

    def as_flags(self) -> str:
        """Return the flags of the verb for one pair; the scheme decides which pair it is."""
        return " ".join(_flag(name, value) for name, value in self if name != "scheme")


class RadiomicsSettings(Settings):
    """Fixed bin width per kind of image; masks, classes and grid of single images."""

    bin_width_image: Positive = Field(25.0, description="Intensity units.")
    bin_width_jacobian: Positive = Field(0.1, description="Volume ratio.")
    masks: Literal["segment", "drawn"] = Field(
        "segment", description="Found by `segment`, or the sheet's, on the images as they are."
    )
    classes: tuple[FeatureClass, ...] = Field(
        ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm"),
        description="Feature classes; ngtdm is the seventh.",
    )
    spacing_mm: float = Field(0.0, ge=0, description="Grid of the features; 0 keeps the voxels.")
    interpolation: Interpolation = Field("bspline3", description="Onto that grid.")

    def image_flags(self) -> str:
        """Return the flags of `medpipe radiomics` for an image that is no change map."""
        names = ("classes", "spacing_mm", "interpolation")
        flags = [_flag("bin_width", self.bin_width_image)]
        return " ".join(flags + [_flag(name, getattr(self, name)) for name in names])


class ModelSettings(Settings):
    """SVM-RFE with an RBF kernel, XGBoost on the same folds."""

    outcome: str = "response"
    selection: Literal["nested", "paper"] = "nested"
    folds: int = Field(10, ge=2)
    max_features: Count = 30
    c_log2: tuple[int, int, int] = Field((-5, 10, 1), description="First, last, step.")
    gamma_log2: tuple[int, int, int] = Field((-12, 3, 1), description="First, last, step.")


TermKind = Literal["continuous", "categorical", "spline"]


class SurvivalSettings(Settings):
    """LASSO-Cox Rad-score, cut-off, Cox models with the nomogram's, validation."""

    time: str = Field("time_months", description="Column of subjects.tsv: months, above 0.")
    event: str = Field("event", description="Column of subjects.tsv: 1 seen, 0 censored.")
    endpoint: str = Field("survival", description="What the probabilities are of.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Names of the nomogram's terms for readers."
    )
    features: str = Field("baseline", description="Feature set: prefix of the table's columns.")
    covariates: dict[str, TermKind] = Field(
        default_factory=dict, description="Columns of subjects.tsv for the clinical model."
    )
    references: dict[str, str] = Field(
        default_factory=dict, description="Reference levels; else the first in sorted order."
    )
    nomogram: tuple[str, ...] = Field(
        ("rad_score",), description="Terms of the combined model: rad_score and covariates."
    )
    score_as: Literal["continuous", "dichotomised"] = Field(
        "continuous", description="How the Rad-score enters the nomogram."
    )
    harmonise: Literal["none", "combat"] = Field(
        "none", description="ComBat between centres, fitted on development rows."
    )
    unseen_centre: Literal["error", "pooled", "keep"] = Field(
        "error", description="ComBat for a centre without development rows."
    )
    filter: Literal["none", "intensity", "variance"] = Field(
        "none", description="Unsupervised filter of features before the LASSO."
    )
    filter_keep: float = Field(0.8, gt=0, le=1, description="Share of features that it keeps.")
    l1_ratio: float = Field(1.0, gt=0, le=1, description="1 is the LASSO; less is elastic net.")
    lambda_min_ratio: float = Field(
        0.01, gt=0, lt=1, description="End of the path; glmnet's 0.0001 suits many rows only."
    )
    folds: int = Field(10, ge=3)
    repeats: Count = Field(10, description="Cross-validations; the median lambda is taken.")
    rule: Literal["min", "1se"] = Field("min", description="Which lambda on the path.")
    resamples: Count = Field(100, description="Bootstrap resamples for selection frequency.")
    cutoff: Literal["nne", "km", "logrank", "median"] = Field(
        "nne", description="Time-dependent ROC (NNE or KM), maximal log-rank, or the median."
    )
    cutoff_months: Positive = Field(60.0, description="Horizon of the time-dependent ROC.")
    horizons_months: tuple[Positive, ...] = (36.0, 60.0)
    multivariable: Literal["significant", "all"] = Field(
        "significant", description="Covariates of the multivariable Cox table."
    )
    bootstrap: int = Field(1000, ge=2, description="Resamples for confidence intervals.")
    optimism: int = Field(
        100, ge=2, description="Resamples in which the whole chain is fitted anew."
    )

    def flags_of_arm(self, arm: str) -> str:
        """Return the flags of `medpipe survival fit`, the feature set being `arm`."""
        return self.model_copy(update={"features": arm}).as_flags()


class BinarySettings(Settings):
    """A 0/1 outcome from a table: logistic nomogram against boosted trees."""

    outcome: str = Field("response", description="Column of subjects.tsv, 0 or 1.")
    covariates: dict[str, TermKind] = Field(
        default_factory=dict, description="Columns of subjects.tsv that the models read."
    )
    reference: tuple[str, ...] = Field(
        (), description="Covariates of the small model that the others are compared with."
    )
    folds: int = Field(10, ge=2)
    bootstrap: int = Field(1000, ge=2, description="Resamples for intervals and optimism.")


class CompareSettings(Settings):
    """Comparison of the models on the test rows."""

    reference: str = Field("fusion_subtype", description="Model that p values refer to.")
    bootstrap: Count = 2000


class Study(Settings):
    """One study: where its sheets are, and what each block does."""

    images: Path | None = Field(None, description="images.tsv; none for a study of tables.")
    subjects: Path = Field(description="subjects.tsv, relative to the working directory.")
    truth: Path | None = Field(None, description="truth.tsv of a simulated cohort.")
    target: str = Field(description="The file that the study ends in; `medpipe run` asks for it.")
    contrast: Identifier = "dce"
    sessions: tuple[Identifier, ...] = ("baseline", "followup")
    seed: int = Field(20210322, ge=0)
    exclude: dict[str, str] = Field(
        default_factory=dict, description="subject: reason. Drawn in the flow diagram."
    )
    preprocess: PreprocessSettings = PreprocessSettings()
    segment: SegmentSettings = SegmentSettings()
    dce: DceSettings = DceSettings()
    register_: RegisterSettings = Field(RegisterSettings(), alias="register")
    radiomics: RadiomicsSettings = RadiomicsSettings()
    model: ModelSettings | None = None
    survival: SurvivalSettings | None = None
    binary: BinarySettings | None = None
    features: Path | None = Field(None, description="A feature table made elsewhere.")
    compare: CompareSettings = CompareSettings()

    @property
    def outcome(self) -> str | None:
        """Column of the subjects sheet that must be 0 or 1, of a study with such an outcome."""
        models = [m.outcome for m in (self.model, self.binary) if m]
        return models[0] if models else None

    @property
    def survival_columns(self) -> tuple[str, str] | None:
        """Columns of time and event, of a survival study."""
        return (self.survival.time, self.survival.event) if self.survival else None

    def screen_flags(self) -> str:
        """Return the flags of `medpipe screen`."""
        flags = [_flag("sessions", self.sessions), _flag("contrast", self.contrast)]
        if self.model:
            flags.append(_flag("outcome", self.model.outcome))
        if self.radiomics.masks == "drawn":
            flags.append("--drawn-masks")
        flags += [_flag("exclude", f"{who}={why}") for who, why in sorted(self.exclude.items())]
        return " ".join(flags)

    @field_validator("sessions")
    @classmethod
    def _distinct(cls, sessions: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sessions)) < len(sessions):
            raise ValueError(f"names a session twice: {', '.join(sessions)}")
        return sessions


class Config(Settings):
    """Everything that `config.yaml` and the study files may say."""

    device: Literal["cpu", "cuda"] = "cpu"
    studies: dict[str, Study] = Field(default_factory=dict)

    @field_validator("studies")
    @classmethod
    def _names(cls, studies: dict[str, Study]) -> dict[str, Study]:
        for name in studies:
            if not re.fullmatch(r"[a-z0-9]+", name):
                raise ValueError(f"study {name!r}: use small letters and digits only")
        return studies


def parse_config(raw: Mapping[str, Any]) -> Config:
    """Return the checked settings.

    Parameters
    ----------
    raw : mapping
        The merged yaml files, as Snakemake's `config`.

    Raises
    ------
    SettingsError
        With a line per problem, each naming the setting's full path and what is allowed.
    """
    try:
        return Config.model_validate(dict(raw))
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(item) for item in error.errors())) from None


def _sentence(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"]) or "config"
    if item["type"] == "extra_forbidden":
        return f"{path}: no such setting; `medpipe config schema` lists them all"
    if item["type"] == "missing":
        return f"{path}: missing; set it in config.yaml"
    return f"{path}: {item['msg']} (found {item['input']!r})"

"""The one truth about settings, for the rules and the command line alike. Imports nothing heavy.

Order, later wins: ``workflow/studies/*.yaml``, ``config.yaml``, ``--configfile``, ``--config``.
A typo stops at parse time with the full path of the setting.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import SettingsError

Interpolation = Literal[
    "nearest", "linear", "bspline1", "bspline2", "bspline3", "bspline4", "bspline5",
    "hamming", "cosine", "welch", "lanczos", "blackman",
]  # fmt: skip
FeatureClass = Literal["shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
ImageType = Literal[
    "original", "wavelet", "log", "square", "squareroot", "logarithm", "exponential", "gradient",
    "lbp2d", "lbp3d",
]  # fmt: skip
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
    """Fixed bin width per kind of image; masks, classes, filters and grid of single images."""

    bin_width_image: Positive = Field(25.0, description="Intensity units.")
    bin_width_jacobian: Positive = Field(0.1, description="Volume ratio.")
    masks: Literal["segment", "drawn"] = Field(
        "segment", description="Found by `segment`, or the sheet's, on the images as they are."
    )
    profile: Literal["pyradiomics", "ibsi"] = Field(
        "pyradiomics", description="Whose definitions: PyRadiomics 3.0.1, or IBSI-1 throughout."
    )
    classes: tuple[FeatureClass, ...] = Field(
        ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm"),
        description="PyRadiomics' feature classes; ngtdm is the seventh.",
    )
    images: tuple[ImageType, ...] = Field(
        ("original",), min_length=1, description="Image types of PyRadiomics, filters included."
    )
    log_sigma_mm: tuple[Positive, ...] = Field(
        (), description="Widths of the Laplacian of Gaussian, for the image type log."
    )
    spacing_mm: float = Field(0.0, ge=0, description="Grid of the features; 0 keeps the voxels.")
    interpolation: Interpolation = Field("bspline3", description="Onto that grid.")
    resegment: tuple[float, float] | None = Field(
        None, description="profile ibsi: only intensities in this range count."
    )

    @property
    def verb(self) -> str:
        """The verb of medpipe that measures an image."""
        return "radiomics" if self.profile == "pyradiomics" else "radiomics-ibsi"

    @property
    def cohort_classes(self) -> str:
        """Which features `medpipe cohort` joins."""
        plain = self.profile == "pyradiomics" and self.images == ("original",)
        return ",".join(self.classes) if plain else "all"

    def image_flags(self, kind: str) -> str:
        """Return the flags of `verb` for an image that is no change map."""
        if self.profile == "ibsi":
            return self._ibsi_flags()
        names = ["classes", "spacing_mm", "interpolation"]
        if self.images != ("original",):
            names.append("images")
        flags = [_flag("kind", kind), _flag("bin_width", self.bin_width_image)]
        flags += [_flag(name, getattr(self, name)) for name in names]
        if self.log_sigma_mm:
            flags.append(_flag("log_sigma", self.log_sigma_mm))
        return " ".join(flags)

    def _ibsi_flags(self) -> str:
        flags = [_flag("bin_width", self.bin_width_image)]
        if self.spacing_mm:
            cubic = "linear" if self.interpolation == "linear" else "cubic"
            flags += [_flag("spacing", (self.spacing_mm,) * 3), _flag("interpolation", cubic)]
        if self.resegment is not None:
            flags.append(_flag("resegment", self.resegment))
        return " ".join(flags)

    @model_validator(mode="after")
    def _fits_the_profile(self) -> "RadiomicsSettings":
        if self.profile == "ibsi" and self.images != ("original",):
            raise ValueError("profile ibsi measures the original image; leave images out")
        if self.profile == "pyradiomics" and self.resegment is not None:
            raise ValueError("resegment belongs to profile ibsi; leave it out")
        if ("log" in self.images) != bool(self.log_sigma_mm):
            raise ValueError("images: log and log_sigma_mm belong together; give both or neither")
        return self


class StabilitySettings(Settings):
    """Features that are not stable under repetition are left out before any selection."""

    stability: str = Field(
        "", description="Table of `medpipe stability icc`, or repeated features; empty: none."
    )
    stability_repeat_column: str = Field(
        "", description="Column of the repeats: the filter is then fitted in every fold."
    )
    stability_model: Literal["1,1", "2,1", "3,1"] = "1,1"
    stability_threshold: float = Field(
        0.75, gt=0, lt=1, description="Least lower limit of the interval of the correlation."
    )


class ModelSettings(StabilitySettings):
    """SVM-RFE with an RBF kernel, XGBoost on the same folds."""

    outcome: str = "response"
    selection: Literal["nested", "paper"] = "nested"
    folds: int = Field(10, ge=2)
    max_features: Count = 30
    c_log2: tuple[int, int, int] = Field((-5, 10, 1), description="First, last, step.")
    gamma_log2: tuple[int, int, int] = Field((-12, 3, 1), description="First, last, step.")


TermKind = Literal["continuous", "categorical", "spline"]


class SurvivalSettings(StabilitySettings):
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


Scheme = Literal["folds", "test"]
OptionValue = bool | int | float | str


class TrainingOptions(Settings):
    """How a network is trained; what is not set is the default of `medpipe train`."""

    iterations: Count | None = Field(None, description="Steps of the optimiser.")
    loss: str | None = Field(None, description="dice, dice_ce, focal, weighted_cross_entropy.")
    rounds: dict[str, Count] | None = Field(
        None, description="Losses in turn and their shares of the iterations: {dice: 2, focal: 1}."
    )
    repeat: Count | None = Field(None, description="How often the rounds run.")
    optimiser: Literal["adamw", "adam", "sgd"] | None = None
    rate: Positive | None = Field(None, description="Learning rate.")
    momentum: float | None = Field(None, ge=0, lt=1, description="Nesterov's, for sgd.")
    weight_decay: float | None = Field(None, ge=0)
    augment: Literal["none", "light", "usual", "strong"] | None = Field(
        None, description="How much patches vary."
    )
    schedule: Literal["cosine", "poly", "constant"] | None = None
    ema: float | None = Field(None, ge=0, lt=1, description="Running mean of the weights; 0: none.")
    precision: Literal["float32", "mixed", "auto"] | None = Field(
        None, description="mixed: 16 bits, twice as fast on a CPU that has bfloat16."
    )
    batch: Count | None = Field(None, description="Patches a step.")
    patch: tuple[Count, Count, Count] | None = Field(None, description="Voxels.")
    spacing_mm: tuple[Positive, Positive, Positive] | None = Field(
        None, description="Of the network's voxels."
    )
    max_parameters: Count | None = Field(None, description="Of unet, which configures itself.")
    validate_every: Count | None = Field(None, description="Iterations between checkpoints.")
    max_minutes: Positive | None = Field(None, description="Of each training.")


class NetworkArm(TrainingOptions):
    """One network of a comparison; training options here win over the study's."""

    title: str = Field(description="What tables and figures call it.")
    network: str = Field(description="A name that `medpipe train --network` takes.")
    options: dict[str, OptionValue] = Field(
        default_factory=dict, description="What the network is built with."
    )
    vgg16: Path | None = Field(
        None, description="Weights of VGG-16 (safetensors, torchvision's names) to start from."
    )


class Ensemble(Settings):
    """The mean of the probabilities of several networks of the study."""

    title: str
    members: tuple[str, ...] = Field(min_length=2)


class NetworksSettings(Settings):
    """Segmentation networks side by side, each measured on cases that it has never seen."""

    layout: Literal["psnet", "lungtumor"] = Field(description="Columns of the headline table.")
    labels: dict[str, Count] = Field(min_length=1, description="name: value of the masks.")
    kind: Literal["auto", "ct", "mr"] = "auto"
    schemes: tuple[Scheme, ...] = Field(
        ("folds",),
        min_length=1,
        description="folds: cross-validation; test: the sheet's development and test rows.",
    )
    folds: int = Field(5, ge=2)
    validation: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the training subjects that only chooses which weights are kept;"
        " 0 keeps the last ones.",
    )
    training: TrainingOptions = TrainingOptions()
    arms: dict[str, NetworkArm] = Field(min_length=1)
    ensembles: dict[str, Ensemble] = Field(default_factory=dict)
    order: tuple[str, ...] = Field(
        (), description="Rows of the table; files that are merged keep no order of their own."
    )
    pictures: int = Field(6, ge=0, le=24, description="Worst cases that the report shows.")
    licence: str = Field("not stated", description="Of the images, for the models' cards.")

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows of the comparison: those of `order`, then other networks, then ensembles."""
        return tuple(dict.fromkeys((*self.order, *self.arms, *self.ensembles)))

    @property
    def run_name(self) -> str:
        """The folder in which `medpipe train` leaves the model of a part."""
        return "fold-0" if self.validation else "final"

    def title(self, row: str) -> str:
        """Return what readers call a row."""
        return (self.ensembles[row] if row in self.ensembles else self.arms[row]).title

    def part_flags(self, part: str) -> str:
        """Return the flags of `medpipe networks part`."""
        values = {"name": part, "labels": self._labels, "folds": self.folds}
        flags = [_flag(name, value) for name, value in values.items()]
        return " ".join([*flags, _flag("validation", self.validation)])

    @property
    def evaluation_flags(self) -> str:
        """The flags of `medpipe evaluate`."""
        return _flag("labels", self._labels)

    @property
    def _labels(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self.labels.items())

    def parts(self, scheme: Scheme) -> tuple[str, ...]:
        """Return the parts of the cohort that a scheme holds out, one training for each."""
        return tuple(f"fold{n}" for n in range(self.folds)) if scheme == "folds" else ("test",)

    def members(self, row: str) -> tuple[str, ...]:
        """Return the networks whose mean a row is: itself, or the members of an ensemble."""
        return self.ensembles[row].members if row in self.ensembles else (row,)

    def training_flags(self, arm: str) -> str:
        """Return the flags of `medpipe train` for a network."""
        own = self.arms[arm]
        asked = TrainingOptions.model_fields
        values = {
            name: getattr(own if getattr(own, name) is not None else self.training, name)
            for name in asked
        }
        rounds = values.pop("rounds")
        if rounds and values["iterations"]:
            values["rounds"] = scaled_rounds(rounds, values["repeat"] or 1, values["iterations"])
        values["spacing"] = values.pop("spacing_mm")
        known = {"network": own.network, "labels": self._labels, "kind": self.kind}
        fold = {"fold": "0"} if self.validation else {"fold": "none", "folds": 2}
        flags = [_flag(name, value) for name, value in {**known, **fold}.items()]
        flags += [_flag(name, value) for name, value in values.items() if value is not None]
        flags += [_flag("option", f"{k}={_json(v)}") for k, v in sorted(own.options.items())]
        if own.vgg16 is not None:
            flags.append(_flag("vgg16", own.vgg16))
        flags.append(_flag("licence", self.licence))
        return " ".join(flags)

    @field_validator("arms", "ensembles", mode="before")
    @classmethod
    def _without_null(cls, named: Any) -> Any:
        """Leave out what a later file sets to null: a run with fewer networks than the study."""
        if not isinstance(named, dict):
            return named
        return {name: value for name, value in named.items() if value is not None}

    @field_validator("arms", "ensembles")
    @classmethod
    def _plain_names(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not re.fullmatch(r"[a-z0-9]+", name):
                raise ValueError(f"{name!r}: use small letters and digits only")
        return named

    @model_validator(mode="after")
    def _fits_together(self) -> "NetworksSettings":
        for name, ensemble in self.ensembles.items():
            strange = [member for member in ensemble.members if member not in self.arms]
            if strange:
                raise ValueError(f"ensemble {name!r}: no network {strange[0]!r} among the arms")
            if name in self.arms:
                raise ValueError(f"{name!r} is both a network and an ensemble; rename one")
        for row in self.order:
            if row not in {*self.arms, *self.ensembles}:
                raise ValueError(f"order: {row!r} is neither a network nor an ensemble")
        for arm in self.arms:
            rounds = self.arms[arm].rounds or self.training.rounds
            if rounds and not (self.arms[arm].iterations or self.training.iterations):
                raise ValueError(f"arm {arm!r}: rounds are shares of the iterations; set those")
        return self


def scaled_rounds(shares: Mapping[str, int], repeat: int, iterations: int) -> dict[str, int]:
    """Return the iterations of each loss of a round, the rounds together lasting `iterations`.

    Parameters
    ----------
    shares : mapping of str to int
        Loss to its share of a round, in order.
    repeat : int
        Number of rounds.
    iterations : int
        In all; each loss gets one at least.
    """
    whole = repeat * sum(shares.values())
    return {loss: max(1, round(iterations * share / whole)) for loss, share in shares.items()}


def _json(value: OptionValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    networks: NetworksSettings | None = None
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
        if self.radiomics.masks == "drawn" or self.networks:
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

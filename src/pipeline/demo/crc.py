"""Simulated colorectal cancers on contrast CT, with survival from known coefficients.

The cohort follows the patient table of Cai et al. 2021 (doi:10.3389/fmolb.2020.613918): two
periods of admission at one hospital, stage, grade, CEA, age and sex. Tumours differ in size,
shape, texture and necrosis. Time to relapse is drawn from a Weibull model whose log hazard is the
paper's Rad-score, made larger by `SCORE_FACTOR`, plus the paper's log hazard ratio of a TNM stage.
The features in that score are measured on the generated images with the study's own settings, so
a study that recovers the coefficients has measured the right thing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from pipeline.demo.fields import SmoothField, draw_field
from pipeline.errors import SettingsError
from pipeline.radiomics.dictionary import FeatureClass
from pipeline.types import Geometry, Volume
from pipeline.versions import BLOCK_VERSIONS

Values = npt.NDArray[np.float64]

#: Coefficients of the paper's Rad-score, per SD of the feature.
RAD_SCORE: dict[str, float] = {
    "shape_Maximum2DDiameterRow_mm": 0.075,
    "firstorder_RobustMeanAbsoluteDeviation": -0.070,
    "glrlm_LongRunLowGrayLevelEmphasis": 0.029,
    "glrlm_RunVariance": 0.028,
    "glszm_SizeZoneNonUniformityNormalized": 0.116,
}
#: The paper's score has an SD near 0.16 if its features are independent: too little to be learned
#: from a hundred patients. This makes its log hazard ratio per SD about 1.
SCORE_FACTOR = 6.0
#: Of the paper's multivariable model, per stage.
TNM_HAZARD_RATIO = 2.30
#: The study's settings: features on 1 mm voxels, grey levels of 25 HU.
SPACING_MM, BIN_WIDTH_HU = 1.0, 25.0
FEATURE_CLASSES: tuple[FeatureClass, ...] = ("shape", "firstorder", "glrlm", "glszm")

WEIBULL_SHAPE = 1.2
#: Share of development subjects whose relapse is seen.
EVENT_SHARE = 0.42
#: Loss to follow-up, per month.
_LOSS_PER_MONTH = 0.003
#: Least and greatest months from admission to the end of the study, by split: the paper's periods
#: 2007-2011 and 2012-2015, and an end of follow-up in 2018.
_FOLLOW_UP_MONTHS = {"development": (84.0, 144.0), "test": (36.0, 84.0)}

GRID = Geometry((40, 40, 22), (0.8, 0.8, 2.0), (-15.6, -15.6, -21.0), np.eye(3))
_REACH_MM = 13.5
_EDGE_MM = 0.7
SIZES = (30, 900)


@dataclass(frozen=True)
class PeriodTable:
    """Counts of the paper's patient table for one period, used as probabilities."""

    stages: tuple[int, int, int, int]
    grades: tuple[int, int, int]
    grade_missing: float
    female: float
    age: tuple[float, float]


PERIODS = {
    "development": PeriodTable((17, 91, 86, 48), (21, 132, 63), 26 / 242, 107 / 242, (69.6, 14.3)),
    "test": PeriodTable((16, 47, 44, 30), (32, 65, 37), 5 / 139, 59 / 139, (64.3, 13.2)),
}


@dataclass(frozen=True, eq=False)
class Tumour:
    """One tumour in continuous coordinates (LPS mm, centred on 0).

    Attributes
    ----------
    radius_mm : float
        Of the ball of the same size, before lobes.
    axes : (3,) array
        Stretch along x, y, z; their product is 1.
    lobes, texture : SmoothField
        Outline over directions, and attenuation over space.
    lobe_depth, texture_hu : float
        Their amplitudes: share of the radius, and SD in HU.
    mean_hu : float
        Mean attenuation in the venous phase.
    core, core_hu : float
        Share of the radius that is necrotic, and how much darker it is.
    """

    radius_mm: float
    axes: Values
    lobes: SmoothField
    lobe_depth: float
    texture: SmoothField
    texture_hu: float
    mean_hu: float
    core: float
    core_hu: float


@dataclass(frozen=True)
class Patient:
    """The clinical half of one simulated subject."""

    subject: str
    split: str
    age_years: float
    sex: str
    grade: float
    tnm_stage: int
    node_metastasis: str
    cea: str


@dataclass(frozen=True)
class Survival:
    """Outcomes and what they were drawn from.

    Attributes
    ----------
    time_months, event : (n,) arrays
        What the study sees.
    relapse_months : (n,) array
        Time of relapse without censoring.
    score, linear_predictor : (n,) arrays
        The paper's Rad-score, and the log hazard relative to the baseline.
    truth : mapping
        What `truth.json` holds.
    """

    time_months: Values
    event: npt.NDArray[np.int64]
    relapse_months: Values
    score: Values
    linear_predictor: Values
    truth: Mapping[str, Any]


def draw_patients(seed: int, size: int) -> list[Patient]:
    """Return the patients in the order of their ids, two thirds of them for development.

    Raises
    ------
    SettingsError
        `size` lies outside `SIZES`.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise SettingsError(f"--subjects {size}: give a number from {SIZES[0]} to {SIZES[1]}")
    first_test = round(2 * size / 3)
    return [
        _draw_patient(
            np.random.default_rng((seed, number, 0)),
            f"{number + 1:03d}",
            "development" if number < first_test else "test",
        )
        for number in range(size)
    ]


def _draw_patient(rng: np.random.Generator, subject: str, split: str) -> Patient:
    table = PERIODS[split]
    stage = 1 + int(rng.choice(4, p=_shares(table.stages)))
    grade = 1.0 + float(rng.choice(3, p=_shares(table.grades)))
    # III is defined by nodes, I and II by none; IV may have them.
    nodes = stage == 3 or (stage == 4 and rng.random() < 0.7)
    mean, spread = table.age
    return Patient(
        subject=subject,
        split=split,
        age_years=float(np.clip(np.round(rng.normal(mean, spread)), 25, 95)),
        sex="female" if rng.random() < table.female else "male",
        grade=float("nan") if rng.random() < table.grade_missing else grade,
        tnm_stage=stage,
        node_metastasis="yes" if nodes else "no",
        cea="high" if rng.random() < (0.15, 0.25, 0.40, 0.60)[stage - 1] else "low",
    )


def _shares(counts: Sequence[int]) -> Values:
    return np.asarray(counts, dtype=np.float64) / sum(counts)


def draw_image(seed: int, number: int) -> tuple[Volume, Volume]:
    """Return CT (int16, HU) and mask (uint8) of subject `number`, counted from 0."""
    rng = np.random.default_rng((seed, number, 1))
    tumour = _draw_tumour(rng)
    points = _points()
    depth = _depth_mm(tumour, points)
    share = special.ndtr(depth / _EDGE_MM)
    inside = _tumour_hu(tumour, points, depth)
    around = _surroundings_hu(rng, points)
    noise = rng.normal(0.0, 9.0, len(points))
    hu = share * inside + (1.0 - share) * around + noise
    image = np.rint(np.clip(hu, -1024, 1500)).astype(np.int16).reshape(GRID.shape)
    mask = (depth > 0).astype(np.uint8).reshape(GRID.shape)
    return Volume(image, GRID), Volume(mask, GRID)


def _draw_tumour(rng: np.random.Generator) -> Tumour:
    stretch = np.exp(rng.normal(0.0, 0.14, 3))
    grain_mm = float(np.exp(rng.uniform(np.log(1.8), np.log(6.0))))
    return Tumour(
        radius_mm=float(np.clip(np.exp(rng.normal(np.log(8.0), 0.22)), 5.0, 11.0)),
        axes=stretch / np.prod(stretch) ** (1 / 3),
        lobes=draw_field(rng, 7.0),
        lobe_depth=float(rng.uniform(0.02, 0.18)),
        texture=draw_field(rng, grain_mm),
        texture_hu=float(rng.uniform(6.0, 45.0)),
        mean_hu=float(rng.normal(90.0, 12.0)),
        core=float(rng.uniform(0.0, 0.65)),
        core_hu=float(rng.uniform(0.0, 60.0)),
    )


def _points() -> Values:
    index = np.moveaxis(np.indices(GRID.shape), 0, -1).reshape(-1, 3)
    return np.asarray(index * GRID.spacing_mm + GRID.origin_mm, dtype=np.float64)


def _depth_mm(tumour: Tumour, points_mm: Values) -> Values:
    """Return how deep each point lies below the surface, along its ray; negative outside."""
    stretched = points_mm / tumour.axes
    distance = np.linalg.norm(stretched, axis=1)
    # The lobes vary over directions: the field on a sphere of 10 mm.
    rays = 10.0 * stretched / np.maximum(distance, 1e-9)[:, None]
    surface = tumour.radius_mm * (1.0 + tumour.lobe_depth * np.tanh(tumour.lobes(rays)))
    depth = surface - distance
    return np.asarray(np.minimum(depth, _REACH_MM - np.abs(points_mm).max(axis=1)))


def _tumour_hu(tumour: Tumour, points_mm: Values, depth_mm: Values) -> Values:
    below = depth_mm - (1.0 - tumour.core) * tumour.radius_mm
    necrosis = special.ndtr(below / 1.2)
    texture = tumour.texture_hu * tumour.texture(points_mm)
    return np.asarray(tumour.mean_hu + texture - tumour.core_hu * necrosis)


def _surroundings_hu(rng: np.random.Generator, points_mm: Values) -> Values:
    """Return fat with strands, muscle behind, and the gas of the lumen to one side."""
    fat = -95.0 + 12.0 * draw_field(rng, 5.0)(points_mm)
    muscle = special.ndtr((points_mm[:, 1] - rng.uniform(8.0, 12.0)) / _EDGE_MM)
    side = rng.uniform(-1.0, 1.0, 3) * (1.0, 0.3, 1.0)
    centre = 15.0 * side / np.linalg.norm(side)
    lumen = special.ndtr((6.0 - np.linalg.norm(points_mm - centre, axis=1)) / _EDGE_MM)
    soft = fat + muscle * (55.0 - fat)
    return np.asarray(soft + lumen * (-850.0 - soft))


def draw_survival(patients: Sequence[Patient], features: pd.DataFrame, seed: int) -> Survival:
    """Return times and events drawn from the known coefficients.

    Parameters
    ----------
    patients : sequence of Patient
        In the order of the rows of `features`.
    features : DataFrame
        The columns of `RAD_SCORE`, one row a patient, no value missing.
    seed : int
        Of the cohort.

    Notes
    -----
    Features are standardised with mean and SD (N in the denominator) of the development rows.
    ``S(t) = exp(-(t / scale)^k exp(lp))``; the scale is the one at which `EVENT_SHARE` of the
    development rows are events.
    """
    rng = np.random.default_rng((seed, len(patients), 2))
    developing = np.array([p.split == "development" for p in patients])
    raw = features[list(RAD_SCORE)].to_numpy(dtype=np.float64)
    mean, sd = raw[developing].mean(axis=0), raw[developing].std(axis=0)
    # Not a matrix product: its last bits depend on how the rows lie in memory.
    score = ((raw - mean) / sd * np.array(list(RAD_SCORE.values()))).sum(axis=1)
    stage = np.array([p.tnm_stage for p in patients], dtype=np.float64)
    stage_mean = float(stage[developing].mean())
    predictor = SCORE_FACTOR * score + np.log(TNM_HAZARD_RATIO) * (stage - stage_mean)
    unit = (rng.exponential(size=len(patients)) * np.exp(-predictor)) ** (1 / WEIBULL_SHAPE)
    limits = np.array([rng.uniform(*_FOLLOW_UP_MONTHS[p.split]) for p in patients])
    limits = np.minimum(limits, rng.exponential(1 / _LOSS_PER_MONTH, len(patients)))
    # An event is seen where scale * unit <= limit: the share falls as the scale grows.
    scale = float(np.quantile((limits / unit)[developing], 1.0 - EVENT_SHARE))
    relapse = scale * unit
    time = np.maximum(np.round(np.minimum(relapse, limits), 2), 0.03)
    return Survival(
        time_months=time,
        event=(relapse <= limits).astype(np.int64),
        relapse_months=relapse,
        score=score,
        linear_predictor=predictor,
        truth={
            "simulated": True,
            "features": {
                column: {
                    "coefficient_per_sd": SCORE_FACTOR * weight,
                    "mean": float(mean[place]),
                    "sd": float(sd[place]),
                }
                for place, (column, weight) in enumerate(RAD_SCORE.items())
            },
            "score_factor": SCORE_FACTOR,
            "tnm_stage": {"coefficient": float(np.log(TNM_HAZARD_RATIO)), "centre": stage_mean},
            "baseline": {"weibull_shape": WEIBULL_SHAPE, "scale_months": scale},
        },
    )


def image_paths(subject: str) -> tuple[str, str]:
    """Return where image and mask of a subject lie, relative to the sheets."""
    folder = f"images/sub-{subject}/ses-baseline"
    return f"{folder}/ct.nii.gz", f"{folder}/mask.nii.gz"


def images_frame(patients: Sequence[Patient]) -> pd.DataFrame:
    """Return images.tsv."""
    rows = [(p.subject, "baseline", "ct", *image_paths(p.subject)) for p in patients]
    return pd.DataFrame(rows, columns=["subject", "session", "contrast", "image", "mask"])


def subjects_frame(patients: Sequence[Patient], survival: Survival) -> pd.DataFrame:
    """Return subjects.tsv: what a study may know."""
    frame = pd.DataFrame([vars(p) for p in patients])
    frame.insert(2, "centre", "demo")
    frame.insert(3, "time_months", survival.time_months)
    frame.insert(4, "event", survival.event)
    return frame


def truth_frame(patients: Sequence[Patient], survival: Survival) -> pd.DataFrame:
    """Return truth.tsv: what only the simulation knows."""
    return pd.DataFrame(
        {
            "subject": [p.subject for p in patients],
            "true_rad_score": survival.score,
            "true_linear_predictor": survival.linear_predictor,
            "true_relapse_months": survival.relapse_months,
        }
    )


def dataset_record(size: int, *, seed: int) -> dict[str, Any]:
    """Return dataset.json: that the images are simulated, and how."""
    return {
        "simulated": True,
        "title": "Simulated colorectal cancers on CT with simulated survival; no patient was seen",
        "seed": seed,
        "subjects": size,
        "generator_version": BLOCK_VERSIONS["demo"],
        "spacing_mm": list(GRID.spacing_mm),
        "score_factor": SCORE_FACTOR,
        "tnm_hazard_ratio": TNM_HAZARD_RATIO,
    }


README = """\
THE IMAGES AND OUTCOMES IN THIS FOLDER ARE SIMULATED. No patient was seen.

They imitate the colorectal cancers of Cai et al. 2021 (Front Mol Biosci 7:613918): contrast CT
before surgery, two periods of admission, disease-free survival. The time to relapse is drawn from
the paper's Rad-score times 6 and its hazard ratio of 2.30 per TNM stage. Numbers computed from
them show that the program works, and nothing about cancer.

images.tsv     CT and tumour mask of each subject
subjects.tsv   split (earlier and later period), time_months, event, covariates; some grades missing
truth.json     the coefficients, means and SDs from which the hazard was made
truth.tsv      true score, log hazard and uncensored time of each subject
dataset.json   how the cohort was made
"""

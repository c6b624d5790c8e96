"""A small subject and a small study, made of arrays: no other block is needed to draw them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.report.card import Card, Comparison, Variable
from pipeline.report.results import (
    ModelResults,
    RegistrationResults,
    StudyResults,
    SubjectResults,
    VisitResults,
)
from pipeline.types import DisplacementField, Geometry, Series, Volume

SHAPE, SPACING = (40, 36, 32), (2.0, 1.5, 2.5)
CENTRE_MM = np.array([4.0, -3.0, 5.0])


def make_grid(direction=None):
    """Return a grid whose middle lies at the world's origin."""
    axes = np.eye(3) if direction is None else np.asarray(direction, dtype=float)
    half = (np.array(SHAPE) - 1) / 2 * np.array(SPACING)
    origin = tuple(float(v) for v in -axes @ half)
    return Geometry(SHAPE, SPACING, origin, axes)


def world_points(grid):
    ijk = np.moveaxis(np.indices(grid.shape), 0, -1)
    return (ijk * np.array(grid.spacing_mm)) @ grid.direction.T + np.array(grid.origin_mm)


def ball(points, centre, radius):
    return np.linalg.norm(points - centre, axis=-1) <= radius


def make_visit(session, grid, radius, times=(0.0, 90.0, 180.0, 260.0)):
    points = world_points(grid)
    tissue = 100.0 + 30.0 * np.sin(points[..., 0] / 9) * np.cos(points[..., 1] / 7)
    inside = ball(points, CENTRE_MM, radius)
    images = [tissue + (150.0 + 0.2 * t) * inside * (t > 0) for t in times]
    data = np.stack(images, axis=-1).astype(np.float32)
    return VisitResults(
        session=session,
        series=Series(data, grid, times),
        mask=Volume(inside.astype(np.uint8), grid),
        subtraction=Volume(data[..., 2] - data[..., 0], grid),
        phase={"index": 2, "time_s": 180.0, "rule": "max-mean", "reason": ""},
        segmentation={"volume_mm3": 5000.0, "iterations": 12, "warnings": []},
    )


def make_subject(grid=None, *, scale=0.8, subject="001"):
    """Return a subject whose tumour shrinks by `scale` per axis about its centre."""
    grid = make_grid() if grid is None else grid
    points = world_points(grid)
    field = (scale - 1.0) * (points - CENTRE_MM)
    baseline, followup = (
        make_visit("baseline", grid, 14.0),
        make_visit("followup", grid, 14 * scale),
    )
    return SubjectResults(
        subject=subject,
        baseline=baseline,
        followup=followup,
        registration=RegistrationResults(
            warped=baseline.series.image(2),
            jacobian=Volume(np.full(grid.shape, scale**3, dtype=np.float32), grid),
            displacement=DisplacementField(field, grid),
            metrics={"folding_fraction": 0.0, "inverse_consistency_mean_mm": 0.25},
        ),
        covariates={"split": "test"},
        provenance=[
            (
                "ses-baseline/segment/dce.nii.gz",
                {"block": "segment", "block_version": 1, "output_sha256": "ab" * 32,
                 "settings": {"clusters": 3, "threads": 2}, "written_at": "2001-02-03T04:05:06"},
            )
        ],
        simulated=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def subject_results():
    return make_subject()


MODELS = ("baseline", "fusion", "fusion_subtype")


def _predictions(frame, seed, strength):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "subject": frame["subject"],
            "split": frame["split"],
            "fold": np.where(frame["split"] == "test", np.nan, np.arange(len(frame)) % 9 + 1),
            "response": frame["response"],
            "score": strength * frame["response"] + rng.normal(size=len(frame)),
        }
    )


def make_study(count=40, *, ids=None):
    """Return a study with three exclusions, one failure and three models."""
    rng = np.random.default_rng(7)
    subjects = pd.DataFrame(
        {
            "subject": ids or [f"{n:03d}" for n in range(1, count + 1)],
            "split": ["development" if n < 24 else "test" for n in range(count)],
            "response": [int(n % 3 == 0) for n in range(count)],
            "age_years": 30.0 + np.arange(count) % 40,
            "menopause": ["pre" if n % 2 else "post" for n in range(count)],
        }
    )
    names = subjects["subject"].tolist()
    exclusions = pd.DataFrame(
        [
            (names[3], "screen", "unreadable file", f"{names[3]}: gzip stream ends early"),
            (names[9], "screen", "unreadable file", "checksum wrong"),
            (names[30], "screen", "missing session", "no image of session followup"),
        ],
        columns=["subject", "stage", "reason_class", "reason"],
    )
    failures = pd.DataFrame(
        [(names[11], "jacobian", "too_small: 5 voxels")], columns=["subject", "stage", "reason"]
    )
    included = subjects[~subjects["subject"].isin(exclusions["subject"])]
    analysed = included[included["subject"] != names[11]]
    y = analysed["response"].to_numpy(dtype=float)
    features = pd.DataFrame(
        {
            "subject": analysed["subject"],
            "followup_roi_empty": (np.arange(len(y)) == 5).astype(int),
            "jacobian.firstorder_Mean": 0.75 - 0.3 * y + rng.normal(0, 0.1, len(y)),
            "baseline.glcm_Autocorrelation": rng.normal(60, 9, len(y)),
            "followup.glcm_Autocorrelation": rng.normal(50, 9, len(y)) - 20 * y,
            "baseline.shape_MeshVolume_mm3": rng.uniform(3e3, 2e4, len(y)),
        }
    )
    from pipeline.model.comparison import compare_models

    tables = {m: _predictions(analysed, n, n) for n, m in enumerate(MODELS)}
    selection = pd.DataFrame(
        {"feature": ["jacobian.firstorder_Mean", "baseline.glcm_Autocorrelation"], "rank": [1, 2],
         "selected": [1, 0], "selection_frequency": [0.9, 0.2], "mean_abs_shap": [0.4, 0.1]}
    )  # fmt: skip
    trees = {f"xgboost_{m}": t for m, t in tables.items()}
    truth = pd.DataFrame(
        {
            "subject": names,
            "true_mean_jacobian": np.linspace(0.3, 1.0, count),
            "mean_jacobian": np.linspace(0.3, 1.0, count)
            * np.where(np.arange(count) < 4, 1.2, 1.01),
        }
    )
    truth["relative_error"] = truth["mean_jacobian"] / truth["true_mean_jacobian"] - 1
    truth["relative_error_in_true_mask"] = 0.01
    truth["dice_baseline"], truth["dice_followup"], truth["field_error_mm"] = 0.9, 0.85, 0.3
    return StudyResults(
        name="nact",
        card=make_card(),
        subjects=subjects,
        included=included[["subject", "split"]],
        exclusions=exclusions,
        failures=failures,
        features=features,
        auc=compare_models(tables, reference="fusion_subtype", draws=100),
        xgboost_auc=compare_models(trees, reference="xgboost_fusion_subtype", draws=100),
        models={m: ModelResults(t, selection) for m, t in (tables | trees).items()},
        truth=truth,
        settings={"seed": 5, "settings": {"preprocess": {"spacing_mm": 2.0}},
                  "versions": {"numpy": "2.4.0"}, "block_versions": {"report": 1}},
        dataset={"simulated": True},
        pages={names[0]: (f"sub-{names[0]}", "report.html")},
    )  # fmt: skip


def make_card():
    return Card(
        title="A small study",
        question="Does it work?",
        citation="Somebody. Journal 2021.",
        doi="10.1/x",
        outcome_names=((1.0, "responder"), (0.0, "non-responder")),
        models={"baseline": "Baseline", "fusion": "Fusion", "fusion_subtype": "Fusion + subtype"},
        published={"baseline": (0.568, 0.155)},
        population="53 patients",
        patients=[Variable("age_years", "Age (years)", "continuous"),
                  Variable("menopause", "Menopause", "categorical")],
        levels={"pre": "premenopausal"},
        comparisons=[
            Comparison(("jacobian",), "firstorder_Mean", "Mean Jacobian", "Volume ratio", "higher"),
            Comparison(("baseline", "followup"), "glcm_Autocorrelation", "Autocorrelation", "1"),
            Comparison(("deltarad",), "firstorder_Energy", "Energy", "share"),
        ],
        departures=["Another registration."],
        not_reproduced=["The patients."],
    )  # fmt: skip


@pytest.fixture(scope="session")
def study_results():
    return make_study()


@pytest.fixture(scope="session")
def builders():
    """The functions above, for tests that need variants."""
    return {"subject": make_subject, "study": make_study, "grid": make_grid, "replace": replace}

"""The sheets of the demo cohort, and where its files lie."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from pipeline.demo.plan import SubjectPlan
from pipeline.demo.protocols import FIELD_OF_VIEW_MM, PROTOCOLS
from pipeline.demo.subject import SimulatedSubject, Visit
from pipeline.versions import BLOCK_VERSIONS

SESSIONS = ("baseline", "followup")
CONTRAST = "dce"
TRUTH_FILES = ("mask_baseline", "mask_followup", "jacobian", "displacement")
#: Columns of `SubjectPlan` that are secrets of the simulation, not covariates.
_HIDDEN = ("mean_jacobian", "uptake_change")


def image_path(subject: str, session: str, phase: int) -> str:
    """Return the path of one image, relative to the sheets."""
    return f"images/sub-{subject}/ses-{session}/dce_{phase:02d}.nii.gz"


def truth_path(subject: str, name: str) -> str:
    """Return the path of one truth file (a name of `TRUTH_FILES`), relative to the sheets."""
    return f"truth/sub-{subject}/{name}.nii.gz"


def image_rows(subject: str, session: str, visit: Visit) -> list[dict[str, Any]]:
    """Return the rows of images.tsv for one session, one per phase."""
    x, y, z = visit.seed_mm
    return [
        {
            "subject": subject,
            "session": session,
            "contrast": CONTRAST,
            "image": image_path(subject, session, phase),
            "mask": "",
            "time_s": time_s,
            "seed_x_mm": x,
            "seed_y_mm": y,
            "seed_z_mm": z,
        }
        for phase, time_s in enumerate(visit.series.time_s)
    ]


def truth_row(simulated: SimulatedSubject) -> dict[str, Any]:
    """Return the row of truth.tsv for one subject."""
    subject = simulated.plan.subject
    return {
        "subject": subject,
        "response": simulated.plan.response,
        "true_mean_jacobian": simulated.mean_jacobian,
        "true_volume_baseline_mm3": simulated.volume_baseline_mm3,
        "true_volume_followup_mm3": simulated.volume_followup_mm3,
        **{name: truth_path(subject, name) for name in TRUTH_FILES},
    }


def subjects_frame(plans: Iterable[SubjectPlan]) -> pd.DataFrame:
    """Return subjects.tsv: one row per subject, without what only the simulation knows."""
    rows = [{k: v for k, v in asdict(plan).items() if k not in _HIDDEN} for plan in plans]
    return pd.DataFrame(rows)


def dataset_record(
    plans: Sequence[SubjectPlan], *, seed: int, full_resolution: bool
) -> dict[str, Any]:
    """Return dataset.json: that the images are simulated, and how."""
    spacing = "table_spacing_mm" if full_resolution else "demo_spacing_mm"
    return {
        "simulated": True,
        "title": "Simulated longitudinal breast DCE-MRI; no patient was imaged",
        "seed": seed,
        "subjects": len(plans),
        "full_resolution": full_resolution,
        "generator_version": BLOCK_VERSIONS["demo"],
        "field_of_view_mm": list(FIELD_OF_VIEW_MM),
        "centres": {
            name: {
                "spacing_mm": list(getattr(protocol, spacing)),
                "spacing_of_the_study_mm": list(protocol.table_spacing_mm),
                "time_s": list(protocol.time_s),
                "tr_ms": protocol.tr_ms,
                "te_ms": protocol.te_ms,
                "flip_deg": protocol.flip_deg,
            }
            for name, protocol in PROTOCOLS.items()
        },
    }


README = """\
THE IMAGES IN THIS FOLDER ARE SIMULATED. No patient was imaged.

They imitate the longitudinal breast DCE-MRI of Fan et al. 2021 (Front Mol Biosci 8:622219): two
scanners, a visit before and one during neoadjuvant chemotherapy, and a tumour that shrinks by a
known smooth map. Counts of grades, subtypes and covariates follow that study's patient table;
everything else is invented. Numbers computed from them show that the program works, and nothing
about breast cancer.

images.tsv     one row per image: session, time after injection (s), a click in the tumour (LPS mm)
subjects.tsv   split, scanner, response and covariates
truth.tsv      true mean Jacobian and volumes, and the truth files below
truth/         mask_baseline, mask_followup   the true tumour on each visit's grid
               displacement                   T(x) - x in mm along LPS, on the baseline grid
               jacobian                       det dT/dx on the baseline grid
dataset.json   how the cohort was made; voxels are coarser than the study's unless
               full_resolution is true
faults.tsv     (only with --faults) subjects with one defect each, and why they must be excluded
"""

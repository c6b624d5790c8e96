"""Where the files of a study lie under its results folder. Imports nothing heavy.

`root` is the folder of one study, ``results/{study}``.
"""

from pathlib import Path


def session_dir(root: Path, subject: str, session: str) -> Path:
    """Return the folder of one session of one subject."""
    return root / f"sub-{subject}" / f"ses-{session}"


def block_image(root: Path, subject: str, session: str, block: str, name: str) -> Path:
    """Return the image that a block made: `name` is a contrast (``dce``) or a kind of map."""
    return session_dir(root, subject, session) / block / f"{name}.nii.gz"


def feature_table(root: Path, subject: str, session: str, name: str) -> Path:
    """Return the table of one region's features; `name` is ``dce`` or ``jacobian``."""
    return session_dir(root, subject, session) / "radiomics" / f"{name}.tsv"


def subject_report(root: Path, subject: str) -> Path:
    """Return the page of one subject."""
    return root / f"sub-{subject}" / "report.html"


def cohort_file(root: Path, name: str) -> Path:
    """Return a file of the whole cohort: ``included.tsv``, ``features.tsv``, ``flow.svg``."""
    return root / "cohort" / name


def model_folder(root: Path, model: str) -> Path:
    """Return the folder of one model."""
    return root / "model" / model

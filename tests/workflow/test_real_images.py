"""Real images through the same graph: the documented commands of the README."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.stats import spearmanr

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.data, pytest.mark.slow]


def medpipe(folder: Path, *arguments: str) -> None:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def rows(path: Path) -> list[dict[str, str]]:
    lines = path.read_text("utf-8").splitlines()
    header = lines[0].split("\t")
    return [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]


def test_breast_dicom_to_features_and_the_published_enhancement_map(tmp_path, medpipe_data):
    medpipe(tmp_path, "sheets", "breast", str(medpipe_data / "breast_dce"))
    medpipe(tmp_path, "run", "breast", "--cores", "2")
    table = rows(tmp_path / "results/breast_features.tsv")
    assert [row["subject"] for row in table] == ["UCSF-BR-06"]
    assert len(table[0]) == 1 + 102
    assert all(value != "" for value in table[0].values())
    session = tmp_path / "results/breast/sub-UCSF-BR-06/ses-baseline"
    agreement = json.loads((session / "published/agreement.json").read_text("utf-8"))
    assert agreement["correlation"] >= 0.99
    assert agreement["voxels"] > 100_000


def test_glioma_jacobian_follows_the_ratio_of_the_masks(tmp_path, medpipe_data):
    medpipe(tmp_path, "sheets", "glioma", str(medpipe_data / "glioma_longitudinal"))
    medpipe(tmp_path, "run", "glioma", "--cores", "2")
    table = rows(tmp_path / "results/glioma_jacobian.tsv")
    assert [row["subject"] for row in table] == ["01", "02", "04", "06", "08", "10"]
    found = [float(row["mean_jacobian"]) for row in table]
    truth = [float(row["volume_ratio"]) for row in table]
    assert all(float(row["folded_fraction"]) == 0 for row in table)
    # Six pairs: 0.6 is well above chance, and below what the default settings reach.
    assert spearmanr(found, truth).statistic >= 0.6

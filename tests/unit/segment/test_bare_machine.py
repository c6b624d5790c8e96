"""Training and inference on a machine that has torch, and neither PyRadiomics nor Snakemake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.segment.training.phantom import write_sheet

ROOT = Path(__file__).parents[3]

#: Whatever imports one of these fails, as if it were not installed.
SCRIPT = """
import sys

class Absent:
    names = {"radiomics", "snakemake", "SimpleITK", "highdicom", "monai"}

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["medpipe", *sys.argv[1:]]
from cli.main import main
main()
"""


def run(*words):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}", "OMP_NUM_THREADS": "1"},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_train_and_segment(tmp_path, device):
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
    sheet = write_sheet(tmp_path, 4)
    run("train", sheet, "--network", "densehighres3dnet", "--folds", 2, "--fold", 0, "--iterations",
        2, "--patch", "12,12,12", "--device", device, "--out", tmp_path / "out")  # fmt: skip
    model = tmp_path / "out/fold-0/model"
    run("segment", tmp_path / "images/s0.nii.gz", "--model", model, "--device", device,
        "--allow-empty", "--out", tmp_path / "mask.nii.gz")  # fmt: skip
    assert (tmp_path / "mask.nii.gz").exists()
    with pytest.raises(AssertionError, match="No module named 'radiomics'"):
        run("radiomics", tmp_path / "images/s0.nii.gz", tmp_path / "masks/s0.nii.gz")

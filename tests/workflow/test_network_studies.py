"""The studies of segmentation networks: dry runs, and one small run for real."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from pipeline.io import read_table

ROOT = Path(__file__).parents[2]
BIN = str(Path(sys.executable).parent)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--cores", "1", "--configfile", str(folder / "own.yaml"),
            "--workflow-profile", str(ROOT / "profiles/default"), *arguments,
        ],
        cwd=folder, capture_output=True, text=True, timeout=3000, check=False,
        env={**os.environ, "PATH": os.pathsep.join([BIN, os.environ["PATH"]])},
    )  # fmt: skip


def skeleton(folder: Path, study: str, contrast: str, **networks: object) -> None:
    """Write sheets over empty files, and what is asked for."""
    (folder / "scan.nii.gz").touch()
    images = ["subject\tsession\tcontrast\timage\tmask"]
    subjects = ["subject\tsplit\tcentre"]
    for n in range(10):
        images.append(f"s{n}\tbaseline\t{contrast}\tscan.nii.gz\tscan.nii.gz")
        subjects.append(f"s{n}\t{'test' if n > 6 else 'development'}\tx")
    (folder / "images.tsv").write_text("\n".join(images) + "\n", encoding="utf-8")
    (folder / "subjects.tsv").write_text("\n".join(subjects) + "\n", encoding="utf-8")
    own = {"images": "images.tsv", "subjects": "subjects.tsv", "networks": networks}
    (folder / "own.yaml").write_text(yaml.safe_dump({"studies": {study: own}}), encoding="utf-8")


def planned(output: str) -> Counter[str]:
    table = output.split("Job stats:")[1].split("total")[0]
    return Counter({m[1]: int(m[2]) for m in re.finditer(r"^(\w+)\s+(\d+)$", table, re.M)})


def test_psnet_plans_five_folds_of_four_networks(tmp_path):
    (tmp_path / "vgg16.safetensors").touch()
    skeleton(tmp_path, "psnet", "t2", arms={"psnet": {"vgg16": "vgg16.safetensors"}})
    done = run(tmp_path, "-n", "-p", "--", "results/psnet_dice.tsv")
    assert done.returncode == 0, done.stderr + done.stdout
    told = done.stdout + done.stderr
    assert told.count("--vgg16=vgg16.safetensors") == 5  # one arm, five folds
    jobs = planned(told)
    assert jobs["network_part"] == 5
    assert jobs["network_train"] == jobs["network_predict"] == 20
    assert jobs["evaluate"] == 4
    assert jobs["screen"] == jobs["psnet_dice"] == 1


def test_lungtumor_plans_the_other_centre_five_folds_and_the_ensemble(tmp_path):
    skeleton(tmp_path, "lungtumor", "ct")
    done = run(tmp_path, "-n", "-p", "--", "results/lungtumor_dice.tsv")
    assert done.returncode == 0, done.stderr + done.stdout
    told = done.stdout + done.stderr
    jobs = planned(told)
    assert jobs["network_part"] == 6
    assert jobs["network_train"] == 18
    assert jobs["network_predict"] == 24
    assert jobs["evaluate"] == 8
    # The rounds of the report, in full.
    assert "--rounds=dice:20000,focal:10000" in told
    mean = re.search(r"networks predict \S*networks/test/held_out.tsv ((--model \S+ ){3})", told)
    assert mean, "the ensemble takes three models"


TINY = {
    "folds": 2,
    "pictures": 4,
    "training": {"iterations": 2, "validate_every": 2, "batch": 1, "spacing_mm": [1.8, 1.8, 3.0]},
    "arms": {
        "fcn": {"options": {"width": 0.0625, "padding": 1}},
        "vnet": {"patch": [32, 32, 16]},  # smaller, and its batch norm has one voxel
        "unet": {"max_parameters": 60000},
        "psnet": {"options": {"width": 0.0625, "padding": 1}},
    },
}


@pytest.mark.slow
def test_psnet_runs_from_the_demo_to_its_table_and_page(tmp_path):
    """Two steps of tiny networks: all that is shown is that every part meets the next."""
    demo = [sys.executable, "-m", "cli.main", "demo", "prostate", "--subjects", "5", "--out"]
    subprocess.run([*demo, str(tmp_path / "demo/prostate")], cwd=ROOT, check=True)
    own = {"studies": {"psnet": {"networks": TINY}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    target = "results/psnet_dice.tsv"
    done = run(tmp_path, "--", target)
    logs = "\n".join(p.read_text("utf-8") for p in sorted(tmp_path.glob("logs/**/*.log")))
    assert done.returncode == 0, done.stderr + logs
    table = read_table(tmp_path / target)
    assert table["method"].tolist() == ["fcn", "vnet", "unet", "psnet"]
    assert (table["n"] == 5).all()
    assert (table["weights"] == "from scratch").all()
    # Without weights of VGG-16, PSNet is FCN: same seed, same numbers.
    alike = table.set_index("method").loc[["fcn", "psnet"], "dsc_percent_mean"]
    assert alike.iloc[0] == alike.iloc[1]
    page = (tmp_path / "results/psnet/report.html").read_text("utf-8")
    for text in (
        "SIMULATED IMAGES",
        "no file of VGG-16 weights",
        "How training went",
        "85.0 ± 3.8",
    ):
        assert text in page
    assert (tmp_path / f"{target}.prov.json").is_file()
    assert "Nothing to be done" in (again := run(tmp_path, "--", target)).stdout + again.stderr

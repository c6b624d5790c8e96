"""Subjects with three sessions: which images are registered, and on what that waits."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SESSIONS = ["baseline", "month3", "followup"]
TARGET = "results/nact/sub-a/ses-followup/register/jacobian.nii.gz"


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--cores", "1", "--configfile", str(folder / "tiny.yaml"),
            "--workflow-profile", str(ROOT / "profiles/default"), *arguments,
        ],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def configure(folder: Path, **register: str) -> None:
    (folder / "scan.nii.gz").touch()
    rows = [f"a\t{session}\tdce\tscan.nii.gz\t" for session in SESSIONS]
    lines = ["subject\tsession\tcontrast\timage\tmask", *rows]
    (folder / "images.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sheet = "subject\tsplit\tcentre\tresponse\na\ttest\tx\t1\n"
    (folder / "subjects.tsv").write_text(sheet, encoding="utf-8")
    study = {"images": "images.tsv", "subjects": "subjects.tsv", "truth": None}
    study |= {"sessions": SESSIONS, "register": register}
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"studies": {"nact": study}}))


def planned(output: str) -> Counter[str]:
    table = output.split("Job stats:")[1].split("total")[0]
    return Counter({m[1]: int(m[2]) for m in re.finditer(r"^(\w+)\s+(\d+)$", table, re.M)})


def commands(output: str) -> list[str]:
    return re.findall(r"medpipe register.*", output)


@pytest.mark.parametrize("register", [{}, {"scheme": "reference", "engine": "simpleitk"}])
def test_each_session_is_registered_to_the_first_unless_told_otherwise(tmp_path, register):
    configure(tmp_path, **register)
    done = snakemake(tmp_path, "-n", "-p", "--", TARGET)
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(done.stdout) == {"preprocess": 2, "segment": 1, "register": 1}
    (command,) = commands(done.stdout)
    subject = "results/nact/sub-a"
    assert command.startswith(
        f"medpipe register {subject}/ses-baseline/preprocess/dce.nii.gz"
        f" {subject}/ses-followup/preprocess/dce.nii.gz"
        f" --fixed-mask {subject}/ses-baseline/segment/dce.nii.gz"
    )
    assert f"--engine={register.get('engine', 'torch')} --deformable=auto" in command
    assert "--metric=lncc" in command
    assert "--device cpu" in command
    assert "scheme" not in command


def test_in_a_sequence_each_session_waits_for_the_one_before(tmp_path):
    configure(tmp_path, scheme="sequence")
    done = snakemake(tmp_path, "-n", "-p", "--", TARGET)
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(done.stdout) == {"preprocess": 3, "segment": 1, "register": 2}
    first, second = commands(done.stdout)
    subject = "results/nact/sub-a"
    images = [f"{subject}/ses-{session}/preprocess/dce.nii.gz" for session in SESSIONS]
    assert first.startswith(f"medpipe register {images[0]} {images[1]} --fixed-mask ")
    assert second.startswith(
        f"medpipe register-next {' '.join(images)} --known {subject}/ses-month3/register "
        f"--fixed-mask {subject}/ses-baseline/segment/dce.nii.gz"
    )
    assert f"--out {subject}/ses-followup/register" in second


def test_a_scheme_that_there_is_not_stops_the_parse(tmp_path):
    configure(tmp_path, scheme="star")
    done = snakemake(tmp_path, "-n", "--", TARGET)
    assert done.returncode != 0
    assert "studies.nact.register.scheme" in done.stdout + done.stderr

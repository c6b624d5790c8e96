"""Studies of one visit with drawn masks: the graph, and a small cohort through it for real."""

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--cores", "2", "--configfile", "tiny.yaml",
            "--workflow-profile", str(ROOT / "profiles/default"), *arguments,
        ],
        capture_output=True, text=True, timeout=600, check=False, cwd=folder,
        env={**os.environ, "PATH": path},
    )  # fmt: skip


def configure(folder: Path, study: str, **settings: object) -> None:
    """Point a study at sheets in the folder; the others stay as they are."""
    sheets = {"images": "images.tsv", "subjects": "subjects.tsv", "features": None}
    nact = {"images": "none/images.tsv", "subjects": "none/subjects.tsv"}
    studies = {"nact": nact, study: sheets | settings}
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"studies": studies}), encoding="utf-8")


def sheets(folder: Path, subjects: list[str], scanned: list[str]) -> None:
    """Write sheets over empty files, and what the screen would write about them."""
    (folder / "ct.nii.gz").touch()
    (folder / "mask.nii.gz").touch()
    rows = [f"{s}\t{'test' if n % 3 == 0 else 'development'}\tx" for n, s in enumerate(subjects)]
    clinical = "\t12.5\t1\t60\t1\t1\t0\tfemale\tlow\t2\t2"
    header = "subject\tsplit\tcentre\ttime_months\tevent\tage_years\tt_stage\tn_stage\tm_stage"
    lines = [header + "\tsex\tcea\tgrade\ttnm_stage", *(row + clinical for row in rows)]
    (folder / "subjects.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = [f"{s}\tbaseline\tct\tct.nii.gz\tmask.nii.gz" for s in scanned]
    lines.insert(0, "subject\tsession\tcontrast\timage\tmask")
    (folder / "images.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def screened(folder: Path, study: str, included: list[str]) -> None:
    cohort = folder / f"results/{study}/cohort"
    cohort.mkdir(parents=True)
    lines = ["subject\tsplit\tcentre", *(f"{s}\ttest\tx" for s in included)]
    (cohort / "included.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (cohort / "exclusions.tsv").write_text("subject\n", encoding="utf-8")
    (cohort / "screen.svg").touch()


def planned(output: str) -> Counter[str]:
    table = output.split("Job stats:")[1].split("total")[0]
    return Counter({m[1]: int(m[2]) for m in re.finditer(r"^(\w+)\s+(\d+)$", table, re.M)})


@pytest.mark.parametrize("study", ["nsclc", "crc"])
def test_drawn_masks_need_one_job_a_subject(tmp_path, study):
    sheets(tmp_path, ["a", "b", "c", "d"], ["a", "b", "c"])
    configure(tmp_path, study)
    screened(tmp_path, study, ["a", "b", "c"])
    done = snakemake(tmp_path, "-n", "-p", "--", f"results/{study}/cohort/features.tsv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(done.stdout) == {"radiomics_image": 3, "cohort": 1}
    assert "medpipe radiomics ct.nii.gz mask.nii.gz --kind=ct" in done.stdout
    assert f"--spacing-mm={1.0 if study == 'crc' else 0.0}" in done.stdout
    assert "--set baseline=baseline/ct --classes shape," in done.stdout


@pytest.mark.parametrize(
    ("radiomics", "measured"),
    [
        ({"profile": "ibsi", "resegment": [-1000, 400]}, "radiomics-ibsi ct.nii.gz mask.nii.gz"),
        ({"images": ["original", "log"], "log_sigma_mm": [1, 2]}, "--images=original,log"),
    ],
)
def test_a_study_may_ask_for_ibsi_or_for_filters(tmp_path, radiomics, measured):
    sheets(tmp_path, ["a", "b"], ["a", "b"])
    configure(tmp_path, "nsclc", radiomics=radiomics)
    screened(tmp_path, "nsclc", ["a", "b"])
    done = snakemake(tmp_path, "-n", "-p", "--", "results/nsclc/cohort/features.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(done.stdout) == {"radiomics_image": 2, "cohort": 1, "features_page": 1}
    assert measured in done.stdout
    assert "--set baseline=baseline/ct --classes all" in done.stdout


def test_masks_that_are_not_drawn_go_through_preprocess_and_segment(tmp_path):
    sheets(tmp_path, ["a", "b"], ["a", "b"])
    configure(tmp_path, "crc", radiomics={"masks": "segment"})
    screened(tmp_path, "crc", ["a", "b"])
    done = snakemake(tmp_path, "-n", "--", "results/crc/cohort/features.tsv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(done.stdout) == {
        "preprocess": 2, "segment": 2, "radiomics_image": 2, "cohort": 1,
    }  # fmt: skip


def test_the_published_table_is_compared_when_the_study_names_one(tmp_path):
    sheets(tmp_path, ["a", "b"], ["a", "b"])
    (tmp_path / "published.tsv").touch()
    configure(tmp_path, "nsclc", features="published.tsv")
    screened(tmp_path, "nsclc", ["a", "b"])
    done = snakemake(tmp_path, "-n", "--", "results/nsclc/cohort/published_agreement.tsv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(done.stdout) == {"radiomics_image": 2, "cohort": 1, "published_features": 1}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.mark.slow
def test_a_small_cohort_with_an_empty_mask_and_a_subject_without_images(tmp_path):
    medpipe = [sys.executable, "-m", "cli.main"]
    subprocess.run(
        [*medpipe, "demo", "crc", "--subjects", "30", "--out", str(tmp_path)],
        check=True, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    blank(tmp_path / "images/sub-002/ses-baseline/mask.nii.gz")
    sheet = tmp_path / "images.tsv"
    kept = [line for line in sheet.read_text("utf-8").splitlines() if not line.startswith("001")]
    sheet.write_text("\n".join(kept[:8]) + "\n", encoding="utf-8")
    configure(tmp_path, "crc")
    done = snakemake(tmp_path, "--", "results/crc/cohort/features.tsv")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    cohort = tmp_path / "results/crc/cohort"
    reasons = Counter(row["reason_class"] for row in rows(cohort / "exclusions.tsv"))
    assert reasons == {"no images": 23, "empty mask": 1}
    features = rows(cohort / "features.tsv")
    assert [row["subject"] for row in features] == [f"{n:03d}" for n in range(3, 9)]
    assert len(features[0]) == 1 + 107
    assert all(value != "" for row in features for value in row.values())
    assert all(column.startswith("baseline.") for column in list(features[0])[1:])
    assert len(rows(cohort / "dictionary.tsv")) == 107
    assert rows(cohort / "failures.tsv") == []


@pytest.mark.data
@pytest.mark.slow
def test_real_scans_to_features_and_their_agreement_with_the_published(tmp_path, medpipe_data):
    """Six patients as another folder of the same layout would bring them; one has no scan."""
    data, part = medpipe_data / "nsclc", tmp_path / "part"
    chosen, unscanned = ["003", "042", "091", "095", "105"], "114"
    for name in ("images", "masks"):
        (part / name).mkdir(parents=True)
        for subject in chosen:
            (part / f"{name}/{subject}.nii.gz").symlink_to(data / f"{name}/{subject}.nii.gz")
    for name in ("subjects.tsv", "published_radiomics.tsv"):
        header, *lines = (data / name).read_text("utf-8").splitlines()
        kept = [line for line in lines if line.split("\t")[0] in {*chosen, unscanned}]
        (part / name).write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "cli.main", "sheets", "nsclc", str(part), "--out", str(tmp_path)],
        check=True, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    sheet = rows(tmp_path / "subjects.tsv")
    configure(tmp_path, "nsclc", features="features.tsv")
    done = snakemake(tmp_path, "--", "results/nsclc/cohort/published_agreement.tsv")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    cohort = tmp_path / "results/nsclc/cohort"
    reasons = {row["subject"]: row["reason_class"] for row in rows(cohort / "exclusions.tsv")}
    assert [row["subject"] for row in sheet] == sorted([*chosen, unscanned])
    assert reasons == {"003": "empty mask"} | {unscanned: "no images"}
    agreement = rows(cohort / "published_agreement.tsv")
    assert len(agreement) == 53
    assert {row["same_definition"] for row in agreement} == {"yes"}
    subjects = rows(cohort / "published_subjects.tsv")
    assert [(row["subject"], row["centre"], row["input"]) for row in subjects] == [
        (subject, "lung2", "identical") for subject in chosen[1:]
    ]


def blank(path: Path) -> None:
    import numpy as np

    from pipeline.io import read_mask, write_volume
    from pipeline.types import Volume

    mask = read_mask(path)
    write_volume(path, Volume(np.zeros(mask.grid.shape, dtype=np.uint8), mask.grid))

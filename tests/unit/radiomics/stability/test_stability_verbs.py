"""The verbs `stability perturb` and `stability icc` on small files."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.radiomics_options import profile_from_options
from cli.stability import app
from pipeline.errors import CohortError, MedpipeError, SettingsError
from pipeline.io import read_json, read_table, read_volume, write_volume
from pipeline.radiomics.measure import measure
from pipeline.radiomics.regions import region_of
from pipeline.types import Geometry, Volume

GRID = Geometry((26, 24, 16), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Return a sheet of five lesions of different size, contrast and coarseness."""
    folder = tmp_path_factory.mktemp("cohort")
    i, j, k = np.indices(GRID.shape)
    rows = []
    for number in range(5):
        rng = np.random.default_rng(number)
        radius = 5 + 0.6 * number
        distance = np.sqrt((i - 12) ** 2 + (j - 11.5) ** 2 + (2 * (k - 8)) ** 2)
        texture = 10 * np.sin((i + j) / (1.5 + number)) + rng.normal(0, 4, GRID.shape)
        data = 100 + (40 + 25 * number) * (distance < radius) + texture
        write_volume(folder / f"{number}.nii.gz", Volume(data.astype(np.float32), GRID))
        inside = (distance < radius).astype(np.uint8)
        write_volume(folder / f"{number}_mask.nii.gz", Volume(inside, GRID))
        rows.append(f"00{number}\t{number}.nii.gz\t{number}_mask.nii.gz")
    sheet = folder / "images.tsv"
    sheet.write_text("\n".join(["subject\timage\tmask", *rows]) + "\n")
    return sheet


FAST = ("--classes", "shape,firstorder", "--quiet", "--repeats", "4")


def test_a_row_per_perturbation_then_a_verdict_per_feature(cohort, tmp_path):
    out = tmp_path / "perturbed.tsv"
    said = run("perturb", str(cohort), "--chain", "NTVC", "--out", str(out), "--cores", "1", *FAST)
    assert "5 regions, 20 rows" in said
    table = read_table(out)
    assert table["subject"].tolist() == [f"00{n}" for n in range(5) for _ in range(4)]
    assert table["perturbation"].tolist() == [1, 2, 3, 4] * 5
    assert (table["status"] == "ok").all()
    assert table["noise_sd"].between(3, 7).all()
    volume = table["shape_VoxelVolume_mm3"]
    assert volume.groupby(table["subject"]).nunique().min() >= 2
    record = read_json(tmp_path / "perturbed.tsv.prov.json")
    assert record["seed"] == 1
    assert record["settings"]["steps"] == ["noise", "translate", "grow", "contour"]

    stability = tmp_path / "stability.tsv"
    said = run("icc", str(out), "--out", str(stability), "--quiet")
    found = read_table(stability).set_index("feature")
    assert len(found) == 32
    assert (found["subjects"] == 5).all()
    assert found.loc["firstorder_Mean", "icc"] > 0.9
    assert (found["ratings"] == 4).all()
    assert f"of {len(found)} features stable" in said
    assert (tmp_path / "stability.svg").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "stability.svg.prov.json").is_file()


def test_same_bytes_whatever_the_cores_and_nothing_is_measured_twice(cohort, tmp_path):
    first, second = tmp_path / "a.tsv", tmp_path / "b.tsv"
    run("perturb", str(cohort), "--chain", "NR", "--out", str(first), "--cores", "1", *FAST)
    run("perturb", str(cohort), "--chain", "NR", "--out", str(second), "--cores", "2", *FAST)
    assert first.read_bytes() == second.read_bytes()
    parts = sorted((tmp_path / "a.tsv.parts").glob("*.tsv"))
    assert len(parts) == 5
    times = [part.stat().st_mtime_ns for part in parts]
    parts[2].write_text(parts[2].read_text().replace("\tok\t", "\tbroken\t"))
    run("perturb", str(cohort), "--chain", "NR", "--out", str(first), "--cores", "1", *FAST)
    assert first.read_bytes() == second.read_bytes()
    after = [part.stat().st_mtime_ns for part in parts]
    assert [a == b for a, b in zip(after, times, strict=True)] == [True, True, False, True, True]
    run("perturb", str(cohort), "--chain", "NR", "--out", str(first), "--cores", "1",
        "--noise-sd", "2", *FAST)  # fmt: skip
    assert first.read_bytes() != second.read_bytes()


def test_a_region_that_cannot_be_measured_is_told_and_the_others_go_on(cohort, tmp_path):
    sheet = cohort.parent / "some.tsv"
    broken = cohort.parent / "broken.nii.gz"
    broken.write_bytes((cohort.parent / "0.nii.gz").read_bytes()[:200])
    empty = cohort.parent / "empty.nii.gz"
    write_volume(empty, Volume(np.zeros(GRID.shape, dtype=np.uint8), GRID))
    sheet.write_text(
        "subject\tsession\timage\tmask\tlabel\n"
        "a\tfirst\t0.nii.gz\t0_mask.nii.gz\t1\n"
        "b\tfirst\tbroken.nii.gz\t0_mask.nii.gz\t1\n"
        "c\tfirst\t1.nii.gz\tempty.nii.gz\t1\n"
    )
    out = tmp_path / "rows.tsv"
    with pytest.raises(MedpipeError, match=r"1 regions were not measured(.|\n)*b: .*broken"):
        run("perturb", str(sheet), "--chain", "N", "--out", str(out), "--cores", "1", *FAST)
    table = read_table(out)
    assert table["status"].tolist() == ["ok"] * 4 + ["failed"] * 4 + ["empty_roi"] * 4
    assert table.loc[4:, "firstorder_Mean"].isna().all()
    assert table.loc[4:, "reason"].str.len().min() > 10
    stability = tmp_path / "s.tsv"
    with_two = read_table(out).assign(subject=lambda t: t["subject"].replace({"c": "d"}))
    assert with_two["session"].unique().tolist() == ["first"]
    run("icc", str(out), "--out", str(stability), "--no-figure", "--quiet")
    found = read_table(stability)
    assert found.columns[:2].tolist() == ["session", "contrast"]
    assert (found["left_out"] == 2).all()
    assert (found["verdict"] == "unknown").all()


def test_sheets_and_settings_that_are_wrong(cohort, tmp_path):
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text("subject\timage\tmask\tlabel\na b\tno.nii.gz\tno.nii.gz\tx\n")
    with pytest.raises(CohortError) as caught:
        run("perturb", str(sheet), *FAST)
    assert len(caught.value.problems) == 4
    with pytest.raises(SettingsError, match="step 'blur'"):
        run("perturb", str(cohort), "--chain", "blur", *FAST)
    sheet.write_text("subject\timage\tmask\n")
    with pytest.raises(CohortError, match="no row below the header"):
        run("perturb", str(sheet), *FAST)
    with pytest.raises(SettingsError, match="two numbers"):
        run("icc", str(cohort), "--thresholds", "0.5")


def test_raters_of_two_contrasts_are_kept_apart(tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        {"subject": s, "contrast": c, "rater": r, "glcm_Idm": 10 * s + rng.normal(0, sd)}
        for c, sd in (("t1", 0.5), ("t2", 50.0))
        for s in range(12)
        for r in ("anna", "ben")
    ]
    path = tmp_path / "raters.tsv"
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
    run("icc", str(path), "--repeat-column", "rater", "--model", "2,1", "--quiet")
    found = read_table(tmp_path / "raters_stability.tsv")
    assert found[["contrast", "verdict"]].to_numpy().tolist() == [
        ["t1", "high"], ["t2", "unstable"],
    ]  # fmt: skip
    assert (tmp_path / "raters_stability_t1.svg").is_file()
    assert (tmp_path / "raters_stability_t2.svg").is_file()


def test_filters_see_the_surroundings_of_a_perturbed_region(cohort, tmp_path):
    out = tmp_path / "perturbed.tsv"
    wanted = ("--images", "original,wavelet,log", "--log-sigma", "2", "--classes", "firstorder")
    run("perturb", str(cohort), "--chain", "N", "--noise-sd", "1e-6", "--repeats", "2",
        "--out", str(out), "--cores", "1", "--quiet", *wanted)  # fmt: skip
    moved = read_table(out).iloc[-1]
    image, mask = (read_volume(cohort.parent / f"4{end}.nii.gz") for end in ("", "_mask"))
    profile = profile_from_options(
        kind="mr", bin_width=None, bin_count=None, intensity_shift=0.0, classes="firstorder",
        spacing_mm=0.0, interpolation="bspline3", min_voxels=8, min_dimensions=3,
        images="original,wavelet,log", log_sigma="2",
    )  # fmt: skip
    (whole,) = measure(image, [region_of(mask, image.grid)], profile)
    assert len(whole.values) == 18 * 10
    for column, value in whole.values.items():
        assert moved[column] == pytest.approx(value, rel=1e-4, abs=1e-3), column
    with pytest.raises(SettingsError, match="--images square scales by the largest intensity"):
        run("perturb", str(cohort), "--images", "square", "--out", str(out), *FAST)

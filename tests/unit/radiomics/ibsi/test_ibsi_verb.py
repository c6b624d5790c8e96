"""`medpipe radiomics-ibsi` from file to file."""

import json
import logging

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from cli.radiomics_ibsi import radiomics_ibsi
from pipeline.errors import EmptyRegionError, SettingsError
from pipeline.io import read_mask, read_table, read_volume, write_volume
from pipeline.radiomics.ibsi.measure import measure
from pipeline.radiomics.ibsi.registry import tags
from pipeline.radiomics.ibsi.settings import IbsiSettings
from pipeline.types import Volume

APP = typer.Typer()
APP.command()(radiomics_ibsi)


@pytest.fixture
def files(ragged, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    image, mask = ragged
    image = Volume(image.data.astype(np.float32), image.grid)
    write_volume(tmp_path / "ct.nii.gz", image)
    write_volume(tmp_path / "mask.nii.gz", mask)
    write_volume(tmp_path / "empty.nii.gz", Volume(np.zeros_like(mask.data), mask.grid))
    stored = read_volume(tmp_path / "ct.nii.gz"), read_mask(tmp_path / "mask.nii.gz")
    return tmp_path, *stored


def run(folder, *options, mask="mask.nii.gz"):
    arguments = [folder / "ct.nii.gz", folder / mask, *options]
    return CliRunner().invoke(APP, [str(a) for a in arguments], catch_exceptions=False)


def test_a_wide_row_and_a_row_per_feature_with_sidecars(files):
    folder, image, mask = files
    options = [
        "--resegment",
        "-60,60",
        "--bin-width",
        "10",
        "--by-slice",
        "--subject",
        "007",
        "--long",
    ]
    done = run(folder, *options)
    assert done.exit_code == 0, done.output
    settings = IbsiSettings(resegment=(-60.0, 60.0), bin_width=10.0, dimensions=("2D", "2_5D"))
    expected = measure(image, mask, settings)
    (wide,) = read_table(folder / "ct_ibsi.tsv").to_dict("records")
    assert {tag: wide[tag] for tag in expected.values} == expected.values
    assert list(wide)[:10] == [
        "subject", "session", "contrast", "image", "mask", "label", "mask_sha256",
        "grey_levels", "status", "reason",
    ]  # fmt: skip
    assert tuple(list(wide)[10:]) == tags(("2D", "2_5D"))
    assert (wide["subject"], wide["status"], wide["grey_levels"]) == ("007", "ok", 12)
    long = read_table(folder / "ct_ibsi_long.tsv").set_index("tag")
    assert long.loc["cm_contrast_2_5D_comb", "code"] == "ACUI"
    assert long.loc["cm_contrast_2_5D_comb", "aggregation_code"] == "ZW7Z"
    assert long["value"].to_dict() == expected.values
    sidecar = json.loads((folder / "ct_ibsi.tsv.prov.json").read_text())
    assert sidecar["settings"]["profile"] == "ibsi"
    assert sidecar["settings"]["resegment"] == [-60.0, 60.0]


def test_a_configuration_sets_the_preparation(files):
    folder, *_ = files
    assert run(folder, "--configuration", "D").exit_code == 0
    (wide,) = read_table(folder / "ct_ibsi.tsv").to_dict("records")
    assert wide["vox_dim_z_interp_img"] == 2.0
    assert wide["ih_max"] == 32
    with pytest.raises(SettingsError, match="--configuration A sets the preparation"):
        run(folder, "--configuration", "A", "--bin-width", "10")


def test_in_plane_spacing_keeps_the_slices(files):
    folder, *_ = files
    assert run(folder, "--spacing", "1.2,1.2,0", "--bin-count", "8").exit_code == 0
    (wide,) = read_table(folder / "ct_ibsi.tsv").to_dict("records")
    steps = [wide[f"vox_dim_{a}_interp_img"] for a in "xyz"]
    assert steps == pytest.approx([1.2, 1.2, 2.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --bin-width, --bin-count or --configuration"),
        (["--bin-count", "8", "--spacing", "2,2"], "--spacing 2,2: give three numbers"),
        (["--bin-count", "8", "--resegment", "-500"], "--resegment -500: give the two ends"),
        (["--bin-count", "8", "--spacing", "a,b,c"], "give numbers with commas between"),
    ],
)
def test_options_without_meaning_are_refused(files, options, message):
    with pytest.raises(SettingsError, match=message):
        run(files[0], *options)


def test_an_empty_mask_is_an_error_or_a_row_that_says_so(files):
    folder, *_ = files
    with pytest.raises(EmptyRegionError, match=r"empty.nii.gz: .* --allow-empty"):
        run(folder, "--bin-count", "8", mask="empty.nii.gz")
    done = run(folder, "--bin-count", "8", "--allow-empty", mask="empty.nii.gz")
    assert done.exit_code == 0
    (wide,) = read_table(folder / "ct_ibsi.tsv").to_dict("records")
    assert (wide["status"], wide["reason"]) == (
        "empty_roi", "the mask holds no voxel; delineate the region",
    )  # fmt: skip
    assert np.isnan([wide[tag] for tag in tags(("3D",))]).all()

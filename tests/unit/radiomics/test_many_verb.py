"""`medpipe radiomics` with many labels, masks, image types, or a parameter file."""

import logging

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.radiomics_options import parse_labels
from pipeline.errors import EmptyRegionError, SettingsError
from pipeline.io import read_table, write_volume
from pipeline.radiomics.dictionary import COLUMNS
from pipeline.types import Volume


@pytest.fixture
def folder(make_case, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    image, mask = make_case(9)
    labels = mask.data.astype(np.uint8)
    labels[12:][labels[12:] > 0] = 4
    write_volume(tmp_path / "i.nii.gz", Volume(image.data.astype(np.int16), image.grid))
    write_volume(tmp_path / "m.nii.gz", Volume(labels, mask.grid))
    write_volume(tmp_path / "other.nii.gz", mask)
    return tmp_path


def run(folder, *arguments):
    files = [str(folder / "i.nii.gz"), str(folder / "m.nii.gz")]
    return CliRunner().invoke(
        app, ["radiomics", *files, *map(str, arguments)], catch_exceptions=False
    )


def table_of(folder):
    return read_table(folder / "i_radiomics.tsv")


def test_the_originals_columns_are_those_of_the_plain_verb(folder):
    run(folder)
    plain = table_of(folder)
    run(folder, "--images", "original,wavelet,log", "--log-sigma", "1,2")
    more = table_of(folder)
    assert plain[list(COLUMNS)].equals(more[list(COLUMNS)])
    assert len(more.columns) == 19 + 14 + 88 * (1 + 8 + 2)
    assert "wavelet-HLH_gldm_DependenceEntropy" in more
    assert "log-sigma-2-0-mm-3D_firstorder_Mean" in more
    assert more["voxels"].equals(plain["voxels"])


def test_labels_and_masks_have_a_row_each(folder):
    done = run(
        folder, "--labels", "rim=4,core=1", "--more-masks", folder / "other.nii.gz",
        "--allow-empty", "--subject", "007",
    )  # fmt: skip
    assert done.exit_code == 0
    table = table_of(folder)
    assert table["label"].tolist() == ["rim", "core", "rim", "core"]
    assert table["mask"].tolist() == ["m.nii.gz"] * 2 + ["other.nii.gz"] * 2
    assert table["status"].tolist() == ["ok", "ok", "label_absent", "ok"]
    assert set(table["subject"]) == {"007"}
    with pytest.raises(EmptyRegionError, match=r"other\.nii\.gz: no voxel has label 4"):
        run(folder, "--labels", "4", "--more-masks", folder / "other.nii.gz")
    run(folder, "--labels", "all")
    assert table_of(folder)["label"].tolist() == ["1", "4"]


def test_a_parameter_file_decides_alone(folder):
    (folder / "p.yaml").write_text(
        "setting: {binWidth: 10, label: 4}\nimageType: {Square: {}}\nfeatureClass: {glcm: [Id]}\n"
    )
    run(folder, "--params", folder / "p.yaml", "--long")
    table = table_of(folder)
    assert table.columns[-1] == "square_glcm_Id"
    assert len(table.columns) == 20
    assert (table["bin_width"][0], table["label_number"][0]) == (10.0, 4)
    long = read_table(folder / "i_radiomics_long.tsv")
    assert long.to_dict("records")[0]["value"] == table["square_glcm_Id"][0]
    with pytest.raises(SettingsError, match="--bin-width beside --params"):
        run(folder, "--params", folder / "p.yaml", "--bin-width", 5)


@pytest.mark.parametrize(
    ("text", "labels"),
    [("", None), ("all", {}), ("1,2", {"1": 1, "2": 2}), ("gtv = 3, n=1", {"gtv": 3, "n": 1})],
)
def test_labels_are_read(text, labels):
    assert parse_labels(text) == labels


@pytest.mark.parametrize("text", ["x", "a=0", "a=1,a=2", "1,,2", "-1"])
def test_labels_without_meaning_are_refused(text):
    with pytest.raises(SettingsError, match="--labels"):
        parse_labels(text)

"""`medpipe radiomics` from file to file."""

import json
import logging

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import EmptyRegionError, GeometryError
from pipeline.io import read_table, write_volume
from pipeline.radiomics.dictionary import COLUMNS
from pipeline.radiomics.extract import extract
from pipeline.types import Volume


@pytest.fixture
def files(make_case, tmp_path, monkeypatch):
    """An image, its mask and an empty mask on disk; logging is left as it was."""
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    image, mask = make_case(9)
    image = Volume(image.data.astype(np.float32), image.grid)
    write_volume(tmp_path / "sub.nii.gz", image)
    write_volume(tmp_path / "mask.nii.gz", mask)
    write_volume(tmp_path / "empty.nii.gz", Volume(np.zeros_like(mask.data), mask.grid))
    return tmp_path, image, mask


def run(*arguments):
    return CliRunner().invoke(app, ["radiomics", *map(str, arguments)], catch_exceptions=False)


def test_one_row_beside_the_image_says_what_was_measured(files):
    folder, image, mask = files
    ids = ["--subject", "007", "--session", "baseline", "--contrast", "dce"]
    done = run(folder / "sub.nii.gz", folder / "mask.nii.gz", "--kind", "subtraction", *ids)
    assert done.exit_code == 0
    table = read_table(folder / "sub_radiomics.tsv")
    assert list(table.columns[:17]) == [
        "subject", "session", "contrast", "kind", "image", "mask", "label", "mask_sha256",
        "voxels", "volume_mm3", "bin_width", "bin_count", "grey_levels", "border_voxels",
        "clipped_fraction", "status", "reason",
    ]  # fmt: skip
    assert tuple(table.columns[17:]) == COLUMNS
    (row,) = table.to_dict("records")
    assert (row["subject"], row["image"], row["mask"]) == ("007", "sub.nii.gz", "mask.nii.gz")
    assert len(row["mask_sha256"]) == 64
    expected = extract(image, mask, kind="subtraction")
    assert (row["status"], row["bin_width"]) == ("ok", 25.0)
    assert row["voxels"] == expected.voxels
    assert {c: row[c] for c in COLUMNS} == dict(expected.values)
    sidecar = json.loads((folder / "sub_radiomics.tsv.prov.json").read_text())
    assert sidecar["block"] == "radiomics"
    assert [item["path"] for item in sidecar["inputs"]] == ["sub.nii.gz", "mask.nii.gz"]


def test_same_inputs_give_the_same_bytes_in_another_folder(files, tmp_path):
    folder, *_ = files
    outs = [folder / "one.tsv", tmp_path / "elsewhere" / "two.tsv"]
    for out in outs:
        run(folder / "sub.nii.gz", folder / "empty.nii.gz", "--allow-empty", "--out", out)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert str(tmp_path) not in outs[0].read_text()


def test_an_empty_mask_is_an_error_unless_a_row_is_asked_for(files):
    folder, *_ = files
    with pytest.raises(EmptyRegionError, match=r"empty\.nii\.gz.*--allow-empty"):
        run(folder / "sub.nii.gz", folder / "empty.nii.gz")
    assert not (folder / "sub_radiomics.tsv").exists()
    done = run(folder / "sub.nii.gz", folder / "empty.nii.gz", "--allow-empty")
    assert "empty_roi" in done.stdout
    (row,) = read_table(folder / "sub_radiomics.tsv").to_dict("records")
    assert row["status"] == "empty_roi"
    assert row["shape_VoxelVolume_mm3"] == 0.0
    assert np.isnan(row["firstorder_Mean"])


def test_a_label_that_is_absent_and_a_mask_off_the_grid_write_no_row(files):
    folder, _image, mask = files
    with pytest.raises(EmptyRegionError, match="no voxel has label 4; labels there: 0, 1"):
        run(folder / "sub.nii.gz", folder / "mask.nii.gz", "--label", "4")
    cut = Volume(mask.data[:-1], type(mask.grid)((25, 22, 18), *_rest(mask.grid)))
    write_volume(folder / "cut.nii.gz", cut)
    with pytest.raises(GeometryError, match=r"\(26, 22, 18\) voxels.*--like"):
        run(folder / "sub.nii.gz", folder / "cut.nii.gz")
    assert not list(folder.glob("*.tsv"))


def _rest(grid):
    return grid.spacing_mm, grid.origin_mm, grid.direction


def test_canonical_makes_a_mirrored_file_give_the_same_features(files):
    folder, image, mask = files
    for name, volume in (("sub", image), ("mask", mask)):
        direction = volume.grid.direction @ np.diag([-1.0, 1.0, 1.0])
        origin = (volume.grid.origin_mm[0] + 25.0, *volume.grid.origin_mm[1:])
        grid = type(volume.grid)(volume.grid.shape, volume.grid.spacing_mm, origin, direction)
        write_volume(folder / f"{name}_r.nii.gz", Volume(volume.data[::-1], grid))
    run(folder / "sub.nii.gz", folder / "mask.nii.gz", "--canonical")
    run(folder / "sub_r.nii.gz", folder / "mask_r.nii.gz", "--canonical")
    tables = [read_table(folder / f"{name}_radiomics.tsv") for name in ("sub", "sub_r")]
    assert tables[0][list(COLUMNS)].equals(tables[1][list(COLUMNS)])


def test_the_dictionary_is_printed_as_a_table():
    done = CliRunner().invoke(app, ["radiomics", "--dictionary"])
    assert done.exit_code == 0
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == 108
    assert {len(row) for row in rows} == {8}
    assert [row[0] for row in rows[1:103]] == list(COLUMNS)

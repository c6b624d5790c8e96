"""`medpipe evaluate` where one mask, or both, is a DICOM segmentation."""

import dataclasses

import numpy as np
import pandas as pd
import pydicom
import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.errors import GeometryError, ReadError
from pipeline.geometry import index_to_world
from pipeline.io import read_labels, read_mask, read_table, read_volume, write_table, write_volume
from pipeline.io.dicom_seg_write import write_segmentation
from pipeline.types import Geometry, Volume
from tests.unit.io.test_dicom import SHAPE, Folder, segmentation

NAMES = {"shell": 1, "core": 2}


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--quiet", "--pictures", "2",
                                    "--draws", "100"])  # fmt: skip


@pytest.fixture
def series(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    written = Folder(folder)
    for k in (3, 0, 4, 2, 1):
        written.add(k)
    return written


def boxes(first):
    """Two labels in slices `first` to 3: the grid's first and last slice are empty."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:5, 1:5, first:4] = 1
    labels[2:4, 2:4, 2] = 2
    return labels


@pytest.fixture
def masks(series, tmp_path):
    """Reference and prediction as NIfTI and as DICOM SEG; the prediction lacks a slice."""
    grid = read_volume(series.path).grid
    for name, first in (("reference", 1), ("prediction", 2)):
        labels = Volume(boxes(first), grid)
        write_volume(tmp_path / f"{name}.nii.gz", labels)
        path = tmp_path / f"{name}.dcm"
        write_segmentation(path, labels, series.path, NAMES, algorithm="test")
    return tmp_path


def scores(masks, reference, prediction, *flags):
    out = masks / f"out_{reference}_{prediction}"
    done = run(masks / reference, masks / prediction, *flags, "--labels", "shell=1,core=2",
               "--out", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    return read_table(out / "cases.tsv")


@pytest.mark.parametrize(("reference", "prediction"), [
    ("reference.nii.gz", "prediction.dcm"), ("reference.dcm", "prediction.nii.gz"),
    ("reference.dcm", "prediction.dcm"),
])  # fmt: skip
def test_the_numbers_are_those_of_the_same_masks_as_nifti(masks, series, reference, prediction):
    expected = scores(masks, "reference.nii.gz", "prediction.nii.gz")
    shell = 2 * (16 * 2 - 4) / ((16 * 2 - 4) + (16 * 3 - 4))  # by hand: slices 2, 3 of 1, 2, 3
    assert expected["dice_3d"].tolist() == pytest.approx([shell, 1.0])
    found = scores(masks, reference, prediction, "--image", series.path)
    measures = [c for c in expected.columns if pd.api.types.is_numeric_dtype(expected[c])]
    pd.testing.assert_frame_equal(found[measures], expected[measures])


def test_two_segmentations_of_other_extents_need_the_scan(masks, series):
    done = run(masks / "reference.dcm", masks / "prediction.dcm", "--out", masks / "out")
    assert done.exit_code == 3
    (note,) = set(read_table(masks / "out/cases.tsv")["note"])
    assert "name the scan that they were drawn on (`--image`" in note
    same = scores(masks, "reference.dcm", "reference.dcm")
    assert same["dice_3d"].tolist() == [1.0, 1.0]


def test_folders_and_a_sheet(masks, series):
    for name in ("reference", "prediction"):
        (masks / name).mkdir()
    (masks / "reference.nii.gz").rename(masks / "reference/001.nii.gz")
    (masks / "prediction.dcm").rename(masks / "prediction/001.dcm")
    found = scores(masks, "reference", "prediction")
    assert found["subject"].tolist() == ["001", "001"]
    write_table(masks / "pairs.tsv", pd.DataFrame([{
        "subject": "a", "reference": "reference.dcm", "prediction": "prediction/001.dcm",
        "image": "scan.nii.gz"}]))  # fmt: skip
    write_volume(masks / "scan.nii.gz", read_volume(series.path))
    done = run("--sheet", masks / "pairs.tsv", "--labels", "shell=1,core=2", "--out", masks / "s")
    assert done.exit_code == 0, done.output
    again = read_table(masks / "s/cases.tsv")
    assert again["dice_3d"].tolist() == found["dice_3d"].tolist()


def test_a_segmentation_that_lies_off_the_other_mask(masks):
    mask = read_volume(masks / "reference.nii.gz")
    moved = dataclasses.replace(mask.grid, origin_mm=tuple(np.add(mask.grid.origin_mm, 0.4)))
    write_volume(masks / "moved.nii.gz", Volume(mask.data, moved))
    done = run(masks / "moved.nii.gz", masks / "prediction.dcm", "--out", masks / "out")
    assert done.exit_code == 3
    assert "lies off the image grid by up to" in read_table(masks / "out/cases.tsv")["note"][0]


ORDERS = [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, -1, -1)])
def test_a_mask_whose_axes_run_otherwise(masks, order, signs):
    """NIfTI converters turn rows round: the segmentation still falls on the same voxels."""
    own = read_labels(masks / "reference.nii.gz")
    ends = [own.grid.shape[a] - 1 if sign < 0 else 0 for a, sign in zip(order, signs, strict=True)]
    first = np.zeros(3)
    first[list(order)] = ends
    shape = tuple(own.grid.shape[a] for a in order)
    spacing = tuple(own.grid.spacing_mm[a] for a in order)
    corner = tuple(index_to_world(own.grid, first))
    turned = Geometry(shape, spacing, corner, own.grid.direction[:, list(order)] * signs)
    steps = tuple(slice(None, None, sign) for sign in signs)
    expected = own.data.transpose(order)[steps]
    found = read_labels(masks / "reference.dcm", like=turned)
    assert np.array_equal(found.data, expected)
    core = read_mask(masks / "reference.dcm", label=2, like=turned)
    assert np.array_equal(core.data, expected == 2)


def test_overlapping_segments_are_no_labels(series, masks):
    both = np.zeros((*SHAPE, 2), np.uint8)
    both[1:4, 1:4, 1:3, 0] = both[3:6, 1:4, 2:4, 1] = 1
    segmentation(series, both, masks / "overlap.dcm")
    with pytest.raises(ReadError, match=r"segments overlap .*share 3 voxels"):
        read_labels(masks / "overlap.dcm")
    assert read_mask(masks / "overlap.dcm", label=2).data.sum() == 18


def test_contours_and_oblique_grids_are_refused_in_plain_words(series, masks):
    series.add(0, Modality="RTSTRUCT", name="contours.dcm")
    done = run(masks / "reference.nii.gz", series.path / "contours.dcm", "--out", masks / "out")
    assert done.exit_code == 3
    note = read_table(masks / "out/cases.tsv")["note"][0]
    assert "contours (RTSTRUCT), which are not filled in here; export them as DICOM" in note
    grid = read_volume(masks / "reference.nii.gz").grid
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    with pytest.raises(GeometryError, match="lies off the image grid"):
        read_labels(masks / "reference.dcm", like=dataclasses.replace(grid, direction=turn))


def test_more_segments_than_a_byte_counts(series, masks):
    segmentation(series, np.ones((*SHAPE, 1), np.uint8), masks / "many.dcm")
    dataset = pydicom.dcmread(masks / "many.dcm")
    dataset.SegmentSequence[0].SegmentNumber = 300
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 300
    dataset.save_as(masks / "many.dcm")
    assert np.unique(read_labels(masks / "many.dcm").data).tolist() == [300]

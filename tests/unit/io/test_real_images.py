"""The real images: every file reads, and equals SimpleITK's view of it."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import EmptyRegionError, ReadError
from pipeline.geometry import from_sitk, grid_difference_mm, same_grid
from pipeline.io import read_mask, read_series, read_table, read_volume

SETS = ("hippocampus", "nsclc", "sarcoma", "glioma_longitudinal", "lung_ct_pair", "pyradiomics",
        "ibsi", "abdominal_ct")  # fmt: skip


def images(folder):
    return sorted(p for p in folder.rglob("*") if p.name.endswith((".nii.gz", ".nrrd", ".mha")))


@pytest.mark.data
@pytest.mark.parametrize("name", SETS)
def test_every_image_equals_simpleitks_view(medpipe_data, name, caplog):
    caplog.set_level(logging.WARNING)
    paths = images(medpipe_data / name)
    assert paths
    for path in paths:
        found, theirs = read_volume(path), from_sitk(sitk.ReadImage(str(path)))
        assert np.array_equal(found.data, theirs.data), path
        assert grid_difference_mm(found.grid, theirs.grid) < 1e-3, path
    assert caplog.text == ""


@pytest.fixture
def patient(medpipe_data):
    return medpipe_data / "breast_dce" / "UCSF-BR-06"


@pytest.mark.data
def test_breast_series(patient):
    series = read_series(patient / "image_dce_3dfgre_orig")
    assert series.data.shape == (256, 256, 60, 3)
    assert series.time_s == (0.0, 407.0, 761.0)  # content times 10:25:51, 10:32:38, 10:38:32
    means = series.data.mean(axis=(0, 1, 2))
    assert means[0] < means[1] < means[2]  # contrast arrives
    with pytest.raises(ReadError, match="3 phases of 60 slices"):
        read_volume(patient / "image_dce_3dfgre_orig")


@pytest.mark.data
@pytest.mark.parametrize("name", ["image_dce_pe1", "image_dce_ser"])
def test_breast_maps_equal_simpleitks_view(patient, name):
    found = read_volume(patient / name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(patient / name)))
    theirs = from_sitk(reader.Execute())
    np.testing.assert_allclose(found.data, theirs.data, rtol=1e-6)
    assert grid_difference_mm(found.grid, theirs.grid) < 1e-6


@pytest.mark.data
def test_breast_mask_lies_on_the_series(patient):
    series = read_series(patient / "image_dce_3dfgre_orig")
    mask = read_mask(patient / "mask", label=1, like=series.grid)
    assert same_grid(mask.grid, series.grid)
    slices = np.flatnonzero(mask.data.any(axis=(0, 1)))
    assert (slices[0], slices[-1]) == (9, 50)  # 42 frames
    inside = mask.data.astype(bool)
    first = series.data[..., 0]
    assert first[inside].mean() > 4 * first[~inside].mean()  # breast against air and chest
    alone = read_mask(patient / "mask")
    assert np.array_equal(alone.data, mask.data[:, :, 9:51])
    with pytest.raises(EmptyRegionError, match="segments there: 1"):
        read_mask(patient / "mask", label=2)


@pytest.mark.data
def test_contours_are_no_image(medpipe_data):
    folder = medpipe_data / "dicom_rtstruct"
    for name in ("rt", "invalid_reference_rt", "non_existent_reference_rt"):
        for read in (read_volume, read_mask, read_series):
            with pytest.raises(ReadError, match=r"not an? (image|mask) but contours \(RTSTRUCT\)"):
                read(folder / f"{name}.dcm")
    assert read_volume(folder).data.shape == (512, 512, 2)


@pytest.mark.data
def test_tables_read(medpipe_data):
    nsclc = read_table(medpipe_data / "nsclc" / "subjects.tsv")
    assert len(nsclc) == 204
    assert nsclc["subject"].map(type).eq(str).all()
    assert len(read_table(medpipe_data / "ispy2" / "subjects.tsv")) == 680


SPEED = """
import sys, time
from pathlib import Path
import nibabel as nib
import numpy as np
from pipeline.io import read_volume
path = Path(sys.argv[1])
def seconds(read):
    start = time.process_time()
    read()
    return time.process_time() - start
ours = min(seconds(lambda: read_volume(path)) for _ in range(3))
theirs = min(seconds(lambda: np.asanyarray(nib.load(path).dataobj)) for _ in range(3))
print(ours / theirs)
"""


@pytest.mark.slow
def test_reading_is_as_fast_as_nibabel(tmp_path, rng):
    from pipeline.io import write_volume
    from pipeline.types import Geometry, Volume

    plane = rng.integers(-1000, 2000, (512, 512, 1), dtype=np.int16)
    data = np.repeat(plane, 300, axis=2) + (np.arange(300) % 7).astype(np.int16)
    path = tmp_path / "ct.nii.gz"
    grid = Geometry(data.shape, (0.8, 0.8, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    write_volume(path, Volume(data, grid))
    done = subprocess.run(
        [sys.executable, "-c", SPEED, str(path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.3

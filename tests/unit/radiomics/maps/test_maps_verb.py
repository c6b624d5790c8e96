"""`medpipe radiomics-maps` from files to files: names, grids, and going on after a break."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from cli.radiomics_maps import radiomics_maps
from pipeline.errors import GeometryError, SettingsError
from pipeline.io import read_volume, write_volume
from pipeline.radiomics.dictionary import columns_of
from pipeline.radiomics.maps.measure import feature_maps
from pipeline.radiomics.maps.settings import MapSettings
from pipeline.types import Geometry, Volume

ROOT = Path(__file__).parents[4]
APP = typer.Typer()
APP.command()(radiomics_maps)


@pytest.fixture
def files(make_region, tmp_path, monkeypatch):
    """An image and its mask on disk; small pieces; logging is left as it was."""
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    monkeypatch.setattr("pipeline.radiomics.maps.measure.PIECE_VOXELS", 40)
    image, mask = make_region(spacing_mm=(0.7, 0.8, 3.0), filled=0.9)
    image = Volume(image.data.astype(np.float32), image.grid)
    write_volume(tmp_path / "t1.nii.gz", image)
    write_volume(tmp_path / "mask.nii.gz", mask)
    return tmp_path, image, mask


def run(folder, *options, catch=False):
    files = [folder / "t1.nii.gz", folder / "mask.nii.gz", "--quiet"]
    return CliRunner().invoke(APP, [*map(str, files), *options], catch_exceptions=catch)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")}


def test_one_image_per_feature_on_the_grid_of_the_image(files):
    folder, image, mask = files
    options = ["--features", "glcm,gldm", "--precision", "float64", "--init-value", "-1"]
    assert run(folder, *options).exit_code == 0
    out = folder / "t1_maps"
    assert sorted(contents(out)) == sorted(f"{c}.nii.gz" for c in columns_of(["glcm", "gldm"]))
    wanted = feature_maps(image, mask, ["glcm", "gldm"], settings=MapSettings(init_value=-1))
    for column, volume in wanted.items():
        stored = read_volume(out / f"{column}.nii.gz")
        assert np.array_equal(stored.data, volume.data)
        assert stored.grid.spacing_mm == pytest.approx(image.grid.spacing_mm)
    sidecar = json.loads((out / "glcm_MCC.nii.gz.prov.json").read_text())
    assert sidecar["settings"]["maps"]["texture"]["bin_width"] == 25
    assert sidecar["measured"]["voxels"] == int(mask.data.sum())
    assert not (folder / "t1_maps.unfinished").exists()


def test_values_are_stored_in_single_precision_by_default(files):
    folder, *_ = files
    run(folder, "--features", "ngtdm")
    assert read_volume(folder / "t1_maps/ngtdm_Contrast.nii.gz").data.dtype == np.float32


def test_a_broken_off_run_goes_on_with_the_same_bytes(files, monkeypatch):
    folder, *_ = files
    import cli.radiomics_maps_pieces as pieces

    run(folder, "--out", str(folder / "whole"))
    measured = []

    def breaking(plan, part):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(part)
        return original(plan, part)

    original = pieces.measure
    monkeypatch.setattr(pieces, "measure", breaking)
    run(folder, "--out", str(folder / "broken"), catch=True)
    assert not list((folder / "broken").glob("*"))
    work = folder / "broken.unfinished"
    assert len(list(work.glob("piece-*"))) == 2
    monkeypatch.setattr(
        pieces, "measure", lambda plan, part: measured.append(part) or original(plan, part)
    )
    run(folder, "--out", str(folder / "broken"))
    assert len(measured) == len(set((part.start, part.stop) for part in measured))
    assert contents(folder / "broken") == contents(folder / "whole")
    assert not work.exists()


def test_pieces_of_another_question_are_not_used(files, monkeypatch):
    folder, *_ = files
    import cli.radiomics_maps_pieces as pieces

    run(folder, "--out", str(folder / "wanted"), "--bin-width", "40")
    original = pieces.measure
    monkeypatch.setattr(
        pieces.Pieces, "columns", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    run(folder, "--out", str(folder / "out"), catch=True)
    monkeypatch.undo()
    assert list((folder / "out.unfinished").glob("piece-*"))
    assert pieces.measure is original
    run(folder, "--out", str(folder / "out"), "--bin-width", "40")
    assert contents(folder / "out") == contents(folder / "wanted")


def test_wrong_options_are_told(files):
    folder, image, _ = files
    with pytest.raises(SettingsError, match="--distances 0: give whole voxels"):
        run(folder, "--distances", "0")
    with pytest.raises(SettingsError, match="'shape' has no maps"):
        run(folder, "--features", "shape")
    other = Geometry(image.grid.shape, (9.0, 9.0, 9.0), (0.0, 0.0, 0.0), np.eye(3))
    write_volume(folder / "mask.nii.gz", Volume(np.ones(other.shape, np.uint8), other))
    with pytest.raises(GeometryError):
        run(folder)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_bytes(make_region, tmp_path):
    image, mask = make_region(shape=(60, 50, 45), levels=24, sigma=0.8, filled=0.95)
    write_volume(tmp_path / "t1.nii.gz", image)
    write_volume(tmp_path / "mask.nii.gz", mask)
    code = "import typer; from cli.radiomics_maps import radiomics_maps; typer.run(radiomics_maps)"
    command = [sys.executable, "-c", code, tmp_path / "t1.nii.gz", tmp_path / "mask.nii.gz"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    work = tmp_path / "killed.unfinished"
    child = subprocess.Popen([*command, "--out", tmp_path / "killed"], env=environment)
    while child.poll() is None and not list(work.glob("piece-*")):
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    pieces = {path.name: path.stat().st_mtime_ns for path in work.glob("piece-*")}
    assert 0 < len(pieces) < 6
    for name in ("killed", "whole"):
        subprocess.run([*command, "--out", tmp_path / name], env=environment, check=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) == 24
    assert not work.exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("radius", "levels", "memory_mb"), [(1, 32, 150), (1, 140, 250), (2, 32, 150)]
)
def test_the_memory_is_kept_to(radius, levels, memory_mb):
    """The largest resident set of a fresh process grows by no more than what was allowed."""
    code = f"""
import re, numpy as np
from pathlib import Path
from pipeline.radiomics.maps.measure import measure, plan_maps
from pipeline.radiomics.maps.settings import MapSettings
from pipeline.types import Geometry, Volume
def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1e3
values = np.random.default_rng(0).uniform(0, {levels} * 25, (40, 40, 40))
grid = Geometry(values.shape, (1, 1, 1), (0, 0, 0), np.eye(3))
plan = plan_maps(Volume(values, grid), Volume(values >= 0, grid), ["glcm"],
                 settings=MapSettings(kernel_radius={radius}), memory_mb={memory_mb})
before = peak_mb()
measure(plan, slice(0, 2 * plan.windows))
print(peak_mb() - before)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert 5 < float(done.stdout) < memory_mb

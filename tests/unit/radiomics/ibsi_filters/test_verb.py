"""`medpipe filter` from file to file."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from cli.filter import filter as verb
from pipeline.errors import SettingsError
from pipeline.io import read_volume, write_volume
from pipeline.radiomics.ibsi_filters import (
    PHASE1,
    GaborSettings,
    LawsSettings,
    LogSettings,
    NonSeparableSettings,
    RieszSettings,
    phantom,
    response,
)
from pipeline.types import Volume


@pytest.fixture
def image(noise, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    monkeypatch.chdir(tmp_path)
    stored = Volume(noise.data.astype(np.float32), noise.grid)
    write_volume(tmp_path / "ct.nii.gz", stored)
    return stored


def run(*arguments):
    app = typer.Typer()
    app.command()(verb)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ("--filter log --sigma-mm 1.5", LogSettings(sigma_mm=1.5)),
        (
            "--filter laws --kernels L5E5E3 --rotation-invariant --energy-distance 2",
            LawsSettings(kernels="L5E5E3", rotation_invariant=True, energy_distance=2),
        ),
        (
            "--filter gabor --sigma-mm 2 --lambda-mm 3 --theta-deg 0 --by-slice --boundary zero",
            GaborSettings(sigma_mm=2, lambda_mm=3, theta_deg=0, by_slice=True, boundary="zero"),
        ),
        ("--filter shannon --level 2", NonSeparableSettings(family="shannon", level=2)),
        (
            "--filter riesz-log --sigma-mm 1 --order 0,1,1 --boundary periodic",
            RieszSettings(of=LogSettings(sigma_mm=1), order=(0, 1, 1), boundary="periodic"),
        ),
        (
            "--filter riesz-simoncelli --level 2 --order 1,0 --by-slice",
            RieszSettings(of=NonSeparableSettings(level=2), order=(1, 0), by_slice=True),
        ),
    ],
)
def test_the_map_lies_on_the_images_grid_with_its_settings_beside(image, flags, settings):
    done = run("ct.nii.gz", *flags.split(), "--out", "map.nii.gz")
    assert done.exit_code == 0
    found = read_volume("map.nii.gz")
    expected = response(image, settings).data
    np.testing.assert_allclose(found.data, expected, rtol=1e-6, atol=1e-5 * np.ptp(expected))
    np.testing.assert_allclose(found.grid.origin_mm, image.grid.origin_mm)
    record = json.loads(Path("map.nii.gz.prov.json").read_text())
    assert record["settings"]["filter"] == type(settings).__name__
    assert record["settings"]["boundary"] == settings.boundary
    assert record["inputs"][0]["path"] == "ct.nii.gz"


def test_a_benchmark_runs_on_its_phantom_or_on_a_file(image):
    assert run("--test", "3.a.1").exit_code == 0
    built = response(phantom("impulse"), PHASE1["3.a.1"].settings).data
    np.testing.assert_allclose(read_volume("phantom_3_a_1.nii.gz").data, built, atol=1e-4)
    assert run("ct.nii.gz", "--test", "3.a.1").exit_code == 0
    own = response(image, PHASE1["3.a.1"].settings).data
    np.testing.assert_allclose(read_volume("ct_3_a_1.nii.gz").data, own, atol=1e-3)


def test_the_benchmarks_are_listed():
    lines = run("--list-tests").output.splitlines()
    assert any(line.startswith("10.b.1\tpattern_1\tpublished\treference\t") for line in lines)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("ct.nii.gz", "--filter None: give one of mean"),
        ("ct.nii.gz --filter blur", "give one of mean"),
        ("ct.nii.gz --filter log", "needs --sigma-mm"),
        ("ct.nii.gz --filter log --sigma-mm 1 --level 1", "does not use --level"),
        ("ct.nii.gz --filter simoncelli --level 0", "level 0"),
        ("ct.nii.gz --filter riesz-log --sigma-mm 1", "needs --order"),
        ("ct.nii.gz --test 3.a.1 --boundary zero", "leave out --boundary"),
        ("ct.nii.gz --test 3.a.9", "give one of 1.a.1"),
        ("--test 4.A", "give the image"),
        ("--filter mean --support 3", "give the image"),
    ],
)
def test_flags_without_meaning_are_refused(image, flags, message):
    with pytest.raises(SettingsError, match=message):
        run(*flags.split())

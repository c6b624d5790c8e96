"""The simulated prostates: true masks, plausible contrasts, same bytes."""

import hashlib

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.demo import app
from pipeline.demo import prostate
from pipeline.errors import SettingsError
from pipeline.io import read_json, read_mask, read_volume
from pipeline.sheets import read_cohort
from pipeline.types import Geometry

SEED = 7
FULL = prostate.GRID
#: The same box in voxels of 1.8 mm in the plane, for tests of files.
COARSE = Geometry((32, 32, 18), (1.8, 1.8, 3.0), (-27.9, -27.9, -25.5), np.eye(3))


@pytest.fixture(scope="module", autouse=True)
def coarse():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prostate, "GRID", COARSE)
        yield


def run(folder, *words):
    done = CliRunner().invoke(
        app, ["prostate", "--out", str(folder), "--seed", str(SEED), *map(str, words)],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prostate")
    run(folder, "--subjects", 5)
    return folder


def digests(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.endswith(".prov.json")
    }


def test_the_sheets_pass_every_check_and_say_that_it_is_simulated(cohort):
    sheet = read_cohort(
        cohort / "images.tsv", cohort / "subjects.tsv", sessions=["baseline"], contrast="t2",
        outcome=None,
    )  # fmt: skip
    assert [s.split for s in sheet.subjects] == ["development"] * 4 + ["test"]
    for row in sheet.images:
        image, mask = read_volume(row.image), read_mask(row.mask)
        assert image.grid.spacing_mm == pytest.approx(COARSE.spacing_mm)
        volume_ml = mask.data.sum() * mask.grid.voxel_volume_mm3 / 1000
        assert 10 < volume_ml < 45
        for axis in range(3):  # the gland is whole
            ends = np.take(mask.data, [0, -1], axis=axis)
            assert not ends.any()
    assert read_json(cohort / "dataset.json")["simulated"] is True
    assert "SIMULATED" in (cohort / "README.txt").read_text("utf-8")


def test_the_voxels_are_those_of_clinical_series():
    assert FULL.spacing_mm == (0.6, 0.6, 3.0)


def test_a_gland_without_lobes_has_the_volume_of_its_ellipsoid():
    drawn = prostate.draw_gland(SEED, 0)
    plain = prostate.Gland(
        drawn.centre_mm, drawn.axes_mm, drawn.tilt, drawn.lobes, 0.0, drawn.transition,
        drawn.nodules,
    )  # fmt: skip
    inside = plain.contains(prostate.grid_points()).sum() * prostate.GRID.voxel_volume_mm3
    assert inside == pytest.approx(4 / 3 * np.pi * np.prod(drawn.axes_mm), rel=0.02)
    assert plain.relative_radius(drawn.centre_mm[None])[0] == 0.0


def test_the_zones_differ_as_on_t2():
    image, mask = prostate.draw_image(SEED, 0)
    gland = prostate.draw_gland(SEED, 0)
    points = prostate.grid_points()
    flat = image.data.ravel()
    transition = flat[gland.transition_depth_mm(points) > 2.0]
    deep = gland.depth_mm(points) > 3.0
    peripheral = flat[deep & (gland.transition_depth_mm(points) < -2.0)]
    assert peripheral.mean() > 1.4 * transition.mean()
    assert transition.std() > peripheral.std() / 2  # nodules
    assert (gland.contains(points) == (mask.data.ravel() == 1)).all()


def test_the_same_seed_gives_the_same_bytes_and_a_second_run_writes_nothing(cohort, tmp_path):
    run(tmp_path, "--subjects", 5)
    assert digests(tmp_path) == digests(cohort)
    assert "already there" in run(tmp_path, "--subjects", 5)


def test_the_number_of_subjects_is_checked():
    with pytest.raises(SettingsError, match="give a number from 5 to 500"):
        prostate.subject_ids(4)

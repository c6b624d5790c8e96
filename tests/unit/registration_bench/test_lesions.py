import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from pipeline.registration.fields import affine_to_field, warp
from pipeline.types import DisplacementField, Geometry
from scripts.registration_bench import results
from scripts.registration_bench.engines import ROOT
from scripts.registration_bench.lesion import (
    Anatomy,
    make_case,
    make_map,
    random_waves,
    regrid,
)
from scripts.registration_bench.lesions_table import lesion_tables
from scripts.registration_bench.score import score, shortfalls
from scripts.registration_bench.variants import VARIANTS, Variant


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    waves = random_waves(np.random.default_rng(0), 12.0, 40.0, 12)
    turn = np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]])
    grid = Geometry((44, 42, 40), (2.0, 2.0, 2.0), (-5.0, 9.0, 30.0), turn)
    centre = np.array([-45.0, 51.0, -11.0])
    return Anatomy("waves", lambda x: 120 + 25 * waves(x), grid, 0.0, 200.0, 20.0, centre, 14.0)


def quiet(name: str) -> Variant:
    return replace(VARIANTS[name], noise=0.0)


@pytest.mark.parametrize("name", ["shrink", "growth", "moved"])
def test_jacobian_is_the_determinant_of_the_maps_derivative(anatomy, name):
    where = make_map(anatomy, VARIANTS[name])
    x = anatomy.centre_mm + np.random.default_rng(1).uniform(-30, 30, (500, 3))
    h = 1e-4
    columns = [(where(x + h * e) - where(x - h * e)) / (2 * h) for e in np.eye(3)]
    numeric = np.linalg.det(np.stack(columns, axis=-1))
    np.testing.assert_allclose(where.jacobian(x), numeric, atol=1e-7)


@pytest.mark.parametrize("name", ["shrink", "growth", "moved"])
def test_inverse_undoes_the_map(anatomy, name):
    where = make_map(anatomy, VARIANTS[name])
    x = anatomy.centre_mm + np.random.default_rng(2).uniform(-40, 40, (500, 3))
    np.testing.assert_allclose(where.inverse(where(x)), x, atol=1e-9)
    np.testing.assert_allclose(where(anatomy.centre_mm), where.centre_mm + where.shift_mm)


def test_mean_jacobian_is_the_change_of_the_balls_volume(anatomy):
    case = make_case(anatomy, quiet("shrink"), seed=1)
    assert case.jacobian[case.lesion].mean() == pytest.approx((1 - 0.3 / np.e) ** 3, rel=0.005)


@pytest.mark.parametrize("name", ["shrink", "growth", "moved"])
def test_the_moving_image_holds_there_what_the_fixed_holds_here(anatomy, name):
    case = make_case(anatomy, quiet(name), seed=1)
    core = (slice(6, -6),) * 3
    there = warp(case.moving, case.truth, interpolation="bspline3").data
    gap = np.abs(there - case.fixed.data)[core]
    before = np.abs(case.moving.data - case.fixed.data)[core]
    assert gap.mean() < 0.15 * before.mean()
    assert gap.mean() < 0.005 * anatomy.high


def test_true_field_scores_full_marks(anatomy):
    case = make_case(anatomy, VARIANTS["shrink"], seed=1)
    found = score(case.truth, case)
    assert found.target_error_mm == found.outside_error_mm == found.folds == 0
    # What is left is the error of differences over two voxels of 2 mm.
    assert abs(found.ratio_error) < 0.01
    assert found.log_jacobian_error < 0.02
    assert found.correlation > 0.999
    assert shortfalls(found) == []


def test_doing_nothing_scores_the_error_before(anatomy):
    case = make_case(anatomy, VARIANTS["shrink"], seed=1)
    found = score(affine_to_field(np.eye(4), case.fixed.grid), case)
    assert found.mean_jacobian == pytest.approx(1.0)
    assert found.target_error_mm == pytest.approx(found.target_before_mm)
    # 3 R a (1/2 - 1/e): the mean of a r exp(-(r/R)^2) over the ball.
    assert found.target_before_mm == pytest.approx(3 * 14 * 0.3 * (0.5 - 1 / np.e), rel=0.01)
    assert {"ratio_error", "log_jacobian_error", "target_error_mm", "correlation"} <= set(
        shortfalls(found)
    )


def test_folds_are_counted(anatomy):
    case = make_case(anatomy, VARIANTS["shrink"], seed=1)
    mirrored = affine_to_field(np.diag([-1.0, 1, 1, 1]), case.fixed.grid)
    assert score(mirrored, case).folds == np.prod(case.fixed.grid.shape)


def test_noise_and_contrast_are_as_asked(anatomy):
    clean = make_case(anatomy, quiet("shrink"), seed=1)
    noisy = make_case(anatomy, VARIANTS["noise5"], seed=1)
    assert np.std(noisy.fixed.data - clean.fixed.data) == pytest.approx(10.0, rel=0.02)
    gain = make_case(anatomy, quiet("gain"), seed=1)
    assert np.array_equal(gain.fixed.data, clean.fixed.data)
    middle = tuple(np.argwhere(clean.lesion).mean(axis=0).round().astype(int))
    assert gain.moving.data[middle] == pytest.approx(1.3 * clean.moving.data[middle], rel=1e-3)
    gamma = make_case(anatomy, quiet("gamma"), seed=1)
    expected = 200 * (clean.moving.data / 200) ** 0.7
    np.testing.assert_allclose(gamma.moving.data, expected, rtol=1e-4)


def test_thick_slices_cover_the_same_box(anatomy):
    grid = regrid(anatomy.grid, (1.0, 1.0, 4.0))
    assert grid.shape == (88, 84, 20)
    ends = [np.asarray(g.shape) * g.spacing_mm for g in (grid, anatomy.grid)]
    np.testing.assert_allclose(*ends)
    edges = [
        np.asarray(g.origin_mm) - g.direction @ np.asarray(g.spacing_mm) / 2
        for g in (grid, anatomy.grid)
    ]
    np.testing.assert_allclose(*edges)


def test_rows_are_replaced_not_doubled(tmp_path):
    path, keys = tmp_path / "rows.tsv", {"anatomy": "mni", "engine": "greedy"}
    results.add(path, keys, {"cpu_s": 1.5})
    results.add(path, {**keys, "engine": "ants"}, {"error": "went\nwrong"})
    results.add(path, keys, {"cpu_s": 2.5})
    rows = results.load(path)
    assert [row["engine"] for row in rows] == ["ants", "greedy"]
    assert rows[1]["cpu_s"] == 2.5
    assert "error" not in rows[1]
    assert results.has(rows, keys)
    assert not results.has(rows, {**keys, "anatomy": "lung"})


def test_table_names_what_falls_short(anatomy):
    case = make_case(anatomy, VARIANTS["shrink"], seed=1)
    cost = {"wall_s": 2.0, "cpu_s": 4.0, "peak_mib": 100.0, "start_s": 0.1, "status": "ok"}
    where = {"anatomy": "mni", "variant": "shrink"}
    still = DisplacementField(np.zeros((*case.fixed.grid.shape, 3)), case.fixed.grid)
    rows = [
        {**where, "engine": "greedy", **cost, **asdict(score(still, case))},
        {**where, "engine": "torch", **cost, "cpu_s": 4.5, **asdict(score(case.truth, case))},
        {**where, "engine": "ants", "status": "failed: no wheel"},
    ]
    missed = lesion_tables(rows).split("### What misses a target")[1].strip().splitlines()
    assert missed[0] == "- ants: mni, shrink: failed"
    assert missed[1].startswith("- greedy: mni, shrink: ratio_error")
    assert missed[2] == "- torch: mni, shrink: CPU time"


def test_cost_is_the_childs_own(tmp_path):
    """100 MiB and 0.3 s of work, told from the parent's memory and waiting."""
    held = np.ones(300 * 2**20 // 8)
    work = (
        "import time; b = bytearray(100 * 2**20)\n"
        "while time.process_time() < 0.3: pass\n"
        "time.sleep(0.3)"
    )
    measure = ROOT / "scripts/registration_bench/workers/measure.py"
    command = [sys.executable, "-I", "-S", str(measure), str(tmp_path / "cost.json")]
    subprocess.run([*command, sys.executable, "-c", work], check=True)
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert held[0] == 1
    assert 100 < cost["peak_mib"] < 150
    assert 0.3 <= cost["cpu_s"] < 0.6
    assert cost["end"] - cost["begin"] >= 0.6
    done = subprocess.run([*command, sys.executable, "-c", "raise SystemExit(3)"], check=False)
    assert done.returncode != 0

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.errors import SettingsError
from pipeline.registration.engine import (
    Pair,
    RegistrationResult,
    RegistrationSettings,
    register,
)
from pipeline.registration.torch_engine import estimate, plan_levels
from pipeline.types import Geometry, Volume
from tests.unit.registration.phantom import (
    DIRECTIONS,
    MIDDLE,
    RADIUS_MM,
    affine,
    body,
    grid_at,
    image,
    lesion,
    points_of,
    scene,
    shrink,
    tissue,
    turn,
)

REPOSITORY = Path(__file__).parents[3]
FAST = RegistrationSettings(inverse_consistency=False)
SMALL = (22, 22, 22), (3.0, 3.0, 3.0)
NOISE = 4.0
MAPS = {
    "identity": affine(np.eye(3)),
    "translation": affine(np.eye(3), (4.0, -3.0, 2.0)),
    "scaling": affine(1.1 * np.eye(3)),
    "rotation": affine(turn(12.0)),
}
#: Most error of the displacement (mean, mm) and of J (mean and largest, relative) in the body.
WITHIN = {
    "identity": (0.005, 1e-3, 5e-3),
    "translation": (0.09, 0.012, 0.10),
    "scaling": (0.10, 0.012, 0.15),
    "rotation": (0.06, 0.009, 0.05),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run(fixed: Volume, moving: Volume, settings=FAST, **masks) -> RegistrationResult:
    return register(fixed, moving, engine="torch", settings=settings, **masks)


def pair_of(grid: Geometry, known, noise: float = NOISE) -> tuple[Volume, Volume]:
    return image(grid, noise=noise), image(grid, known, noise=noise, seed=1)


def python(code: str) -> str:
    """Return what a new process with one thread prints."""
    path = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


# Each map on one direction at once (the identity is in test_register.py); all sixteen are slow.
_SIXTEEN = [
    pytest.param(name, direction, marks=[] if i == j > 0 else [pytest.mark.slow])
    for i, name in enumerate(MAPS)
    for j, direction in enumerate(DIRECTIONS)
]


@pytest.mark.parametrize(("name", "direction"), _SIXTEEN)
def test_known_affine_maps_keep_their_volume_ratio(name, direction):
    grid, known = grid_at(*SMALL, direction), MAPS[name]
    result = run(*pair_of(grid, known, 0.0))
    inside = body(grid)
    true = {"scaling": 1.331}.get(name, 1.0)
    jacobian = result.jacobian.data[inside] / true
    error = np.linalg.norm(result.displacement.data - known.displacement(grid), axis=-1)[inside]
    of_map, of_mean, of_each = WITHIN[name]
    assert error.mean() < of_map
    assert jacobian.mean() == pytest.approx(1, abs=of_mean)
    assert np.abs(jacobian - 1).max() < of_each


@pytest.mark.parametrize(
    ("strength", "direction"),
    [(-0.3, "permuted"), pytest.param(0.3, "flipped", marks=pytest.mark.slow)],
)
def test_a_lesion_that_shrinks_or_grows_is_recovered(strength, direction):
    grid, known = grid_at((30, 30, 30), direction=direction), shrink(strength)
    result = run(*pair_of(grid, known))
    inside = lesion(grid)
    true, found = known.jacobian(points_of(grid))[inside], result.jacobian.data[inside]
    assert abs(true.mean() - 1) > 0.25
    assert found.mean() == pytest.approx(true.mean(), rel=0.045)
    assert np.abs(np.log(found / true)).mean() < 0.075
    assert np.corrcoef(found, true)[0, 1] > 0.96
    error = np.linalg.norm(result.displacement.data - known.displacement(grid), axis=-1)
    assert error[inside].mean() < 0.27
    assert error[body(grid) & ~inside].mean() < 0.12
    assert result.metrics["folding_fraction"] == 0


@pytest.mark.parametrize("strength", [0.3, pytest.param(-0.3, marks=pytest.mark.slow)])
def test_thick_slices_are_ordinary_input(strength):
    grid, known = grid_at((24, 24, 8), (2.0, 2.0, 6.0)), shrink(strength)
    result = run(*pair_of(grid, known))
    inside = lesion(grid)
    true, found = known.jacobian(points_of(grid))[inside], result.jacobian.data[inside]
    assert found.mean() == pytest.approx(true.mean(), rel=0.12)  # a lesion of three slices
    assert np.corrcoef(found, true)[0, 1] > 0.8
    assert result.metrics["folding_fraction"] == 0
    assert result.metrics["minimum_jacobian"] > 0.3


class TestMasks:
    """A lesion that only one of the images has."""

    grid = grid_at()
    distance = np.linalg.norm(points_of(grid) - MIDDLE, axis=-1)
    around = distance > RADIUS_MM + 5
    mask = Volume(around.astype(np.uint8), grid)
    has = image(grid, noise=NOISE)
    has_not = Volume(
        tissue(points_of(grid)) + np.random.default_rng(1).normal(0, NOISE, grid.shape), grid
    )

    def check_unmoved(self, result: RegistrationResult) -> None:
        moved = np.linalg.norm(result.displacement.data, axis=-1)
        assert moved[body(self.grid) & self.around].max() < 0.15
        np.testing.assert_allclose(result.jacobian.data[lesion(self.grid)], 1, atol=0.03)

    def test_it_is_not_forced_to_match_in_the_fixed_image(self):
        self.check_unmoved(run(self.has, self.has_not, fixed_compare=self.mask))

    def test_it_is_not_forced_to_match_in_the_moving_image(self):
        self.check_unmoved(run(self.has_not, self.has, moving_compare=self.mask))

    def test_without_masks_it_is_forced(self):
        result = run(self.has, self.has_not)
        assert result.jacobian.data[lesion(self.grid)].mean() < 0.9
        moved = np.linalg.norm(result.displacement.data, axis=-1)
        assert moved[body(self.grid) & self.around].max() > 1.0


def test_local_correlation_takes_a_gamma():
    grid, known = grid_at(), shrink(0.3)
    fixed, moving = pair_of(grid, known)
    bent = Volume(500 * (moving.data.clip(0) / moving.data.max()) ** 0.6, grid)
    true, inside = known.jacobian(points_of(grid)), lesion(grid)
    result = run(fixed, bent)
    assert result.jacobian.data[inside].mean() == pytest.approx(true[inside].mean(), rel=0.06)


@pytest.mark.slow
def test_mutual_information_takes_inverted_contrast():
    grid, known = grid_at(), shrink(0.3)
    fixed, moving = pair_of(grid, known)
    settings = replace(FAST, metric="mi", affine_metric="mutual-information")
    result = run(fixed, Volume(-moving.data, grid), settings)
    inside = lesion(grid)
    true, found = known.jacobian(points_of(grid))[inside], result.jacobian.data[inside]
    assert found.mean() == pytest.approx(true.mean(), rel=0.06)
    assert np.corrcoef(found, true)[0, 1] > 0.92
    assert result.metrics["folding_fraction"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("bending_mm", "repaired"), [(0.55, False), (0.2, True)])
def test_unlike_images_do_not_fold_the_map(bending_mm, repaired):
    grid = grid_at(*SMALL)
    fixed, moving = (Volume(scene(points_of(grid), seed=seed), grid) for seed in (5, 77))
    result = run(fixed, moving, replace(FAST, bending_mm=bending_mm))
    assert np.linalg.norm(result.displacement.data, axis=-1).max() > 10  # wild indeed
    assert result.metrics["folding_fraction"] == 0
    assert result.metrics["minimum_jacobian"] > 0
    told = any("was made stiffer" in text for text in result.metrics["warnings"])
    assert told == repaired


BYTES = """
from tests.unit.registration.test_torch_engine import *
torch.set_num_threads(1)
print(hashlib.sha256(tiny_result().displacement.data.tobytes()).hexdigest())
"""


def tiny_result() -> RegistrationResult:
    return run(*pair_of(grid_at((16, 15, 14), (4.0, 4.0, 4.0)), shrink(0.3)))


def test_another_process_gives_the_same_bytes():
    here = tiny_result().displacement.data.tobytes()
    assert python(BYTES) == hashlib.sha256(here).hexdigest()


@pytest.mark.slow
def test_the_number_of_threads_changes_next_to_nothing():
    # Sums are added up in another order; that may change when a level stops.
    one = tiny_result().displacement.data
    with threads(2):
        two = tiny_result().displacement.data
    np.testing.assert_allclose(two, one, rtol=0, atol=0.02)


def test_cuda_without_a_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="--device cpu"):
        run(*pair_of(grid_at(*SMALL), MAPS["identity"]), replace(FAST, device="cuda"))


def test_the_pyramid_ends_at_the_finest_voxels_that_fit():
    grid = grid_at((100, 100, 20), (1.0, 1.0, 5.0))
    levels = plan_levels(grid, FAST)
    assert [level.knot_mm for level in levels] == [24.0, 12.0, 6.0, 6.0]
    assert levels[-1].voxel_mm == (1.0, 1.0, 5.0)
    coarse = plan_levels(grid, replace(FAST, most_voxels=1_000_000 // 64))[-1]
    assert coarse.voxel_mm == pytest.approx((4.0, 4.0, 5.0))  # 1,000,000 mm3 in 64 mm3 voxels


BARE = """
import sys
for name in ("radiomics", "snakemake", "pydantic", "typer", "matplotlib", "rich", "pandas",
             "yaml", "lifelines", "sksurv", "sklearn", "xgboost", "jinja2", "highdicom",
             "pydicom", "psutil"):
    sys.modules[name] = None  # importing it raises
import pipeline.io
import pipeline.registration.engine
import pipeline.registration.torch_engine
print("there")
"""


def test_the_engine_imports_with_torch_numpy_scipy_nibabel_and_simpleitk_alone():
    assert python(BARE) == "there"


def large_pair(shape: tuple[int, int, int], spacing_mm: float) -> tuple[Volume, Volume]:
    """Return a texture in a soft ellipsoid, and the same bent by up to some 4 mm."""
    grid = Geometry(shape, (spacing_mm,) * 3, (0.0, 0.0, 0.0), np.eye(3))
    noise = np.random.default_rng(0).normal(size=[n // 8 + 4 for n in shape])
    bent = np.random.default_rng(1).normal(size=(3, *(n // 32 + 4 for n in shape)))
    found = []
    for strength in (0.0, 4.0 / spacing_mm / 8):
        at = np.indices(shape, dtype=np.float32)
        shift = [ndimage.map_coordinates(b.astype(np.float32), at / 32 + 1, order=1) for b in bent]
        at = at / 8 + 1.5 + strength * np.stack(shift) * 0.5
        values = ndimage.map_coordinates(noise.astype(np.float32), at, order=3)
        middle = (np.array(shape, dtype=np.float32) / 16 + 1.5).reshape(3, 1, 1, 1)
        distance = np.linalg.norm((at - middle) / (0.85 * (middle - 1.5)), axis=0)
        inside = 1 / (1 + np.exp(np.clip((distance - 1) * 20, -50, 50)))
        found.append(Volume((inside * (300 + 60 * values)).astype(np.float32), grid))
    return found[0], found[1]


MEMORY = """
import resource
from tests.unit.registration.test_torch_engine import *
fixed, moving = large_pair((256, 256, 160), 1.25)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
result = run(fixed, moving)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"peak_gb": peak * 1024 / 1e9, "before_gb": before * 1024 / 1e9,
                  "cpu_s": time.process_time() - start,
                  "correlations": [result.metrics["correlation_" + n]
                                   for n in ("before", "affine", "after")],
                  "folding": result.metrics["folding_fraction"]}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_a_large_pair_needs_less_than_four_gigabytes():
    found = json.loads(python(MEMORY))
    assert found["peak_gb"] < 4.0
    assert found["correlations"][2] > found["correlations"][1]
    assert found["folding"] == 0


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("metric", ["lncc", "ssd", "mi"])
def test_cuda_gives_the_map_of_the_cpu(metric):
    grid = grid_at()
    pair = pair_of(grid, shrink(0.3))
    here, there = (
        run(*pair, replace(FAST, device=device, metric=metric)) for device in ("cpu", "cuda")
    )
    apart = np.linalg.norm(here.displacement.data - there.displacement.data, axis=-1)
    assert apart[body(grid)].max() < 0.02
    assert there.metrics["device"] == "cuda"


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize(
    ("shape", "spacing_mm", "limit_s"), [((110, 118, 90), 1.5, 1.0), ((256, 256, 256), 1.0, 10.0)]
)
def test_cuda_is_fast_after_a_warm_up(shape, spacing_mm, limit_s):
    pair = Pair(*large_pair(shape, spacing_mm))
    settings = replace(FAST, device="cuda")
    estimate(pair, settings)
    torch.cuda.synchronize()
    start = time.perf_counter()
    estimate(pair, settings)
    torch.cuda.synchronize()
    assert time.perf_counter() - start < limit_s

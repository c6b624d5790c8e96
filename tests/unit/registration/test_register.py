"""What every engine must do, with the same tests; what only one has stands at the end."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from pipeline.errors import EmptyRegionError, GeometryError, ImageError, SettingsError
from pipeline.registration.affine import align
from pipeline.registration.engine import (
    ENGINES,
    RegistrationResult,
    RegistrationSettings,
    load_engine,
    register,
)
from pipeline.registration.fields import warp
from pipeline.registration.jacobian import jacobian_map
from pipeline.types import Geometry, Volume
from tests.unit.registration.phantom import (
    affine,
    body,
    grid_at,
    image,
    lesion,
    points_of,
    shrink,
    turn,
)

FAST = RegistrationSettings(inverse_consistency=False)
GRID = grid_at()
NOISE = 4.0
SHRINK = shrink(0.3)
TRUE = SHRINK.jacobian(points_of(GRID))
LESION, BODY = lesion(GRID), body(GRID)
#: Most error of the mean J (relative), of log J, least correlation of J, target error in mm.
BOUNDS = {"simpleitk": (0.05, 0.09, 0.97, 0.26), "torch": (0.035, 0.055, 0.975, 0.17)}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["simpleitk", "torch"])
def engine(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    return image(GRID, noise=NOISE), image(GRID, SHRINK, noise=NOISE, seed=1)


@pytest.fixture(scope="module")
def shrunk(engine, pair) -> RegistrationResult:
    return register(*pair, engine=engine, fixed_mask=Volume(LESION, GRID))


def mean_jacobian(result: RegistrationResult) -> float:
    return float(result.jacobian.data[LESION].mean())


def error_mm(result: RegistrationResult, known, grid: Geometry = GRID) -> np.ndarray:
    return np.linalg.norm(result.displacement.data - known.displacement(grid), axis=-1)


def test_analytic_lesion_is_recovered(engine, shrunk):
    of_mean, of_log, correlation, of_target = BOUNDS[engine]
    true, found = TRUE[LESION], shrunk.jacobian.data[LESION]
    assert true.mean() == pytest.approx(0.71, abs=0.005)
    assert found.mean() == pytest.approx(true.mean(), rel=of_mean)
    assert shrunk.metrics["mean_jacobian"] == pytest.approx(found.mean())
    assert np.abs(np.log(found / true)).mean() < of_log
    assert np.corrcoef(found, true)[0, 1] > correlation
    error = error_mm(shrunk, SHRINK)
    assert error[LESION].mean() < of_target
    assert error[BODY & ~LESION].mean() < 0.12
    assert shrunk.metrics["folding_fraction"] == 0
    assert shrunk.metrics["correlation_after"] > shrunk.metrics["correlation_affine"]
    assert shrunk.metrics["warnings"] == []


def test_quality_measures_are_in_millimetres_and_small(shrunk):
    metrics = shrunk.metrics
    assert metrics["inverse_residual_max_mm"] < 0.1 * 2.0
    assert 0 < metrics["inverse_consistency_mean_mm"] < 0.2
    assert metrics["inverse_consistency_mean_mm"] < metrics["inverse_consistency_p95_mm"] < 0.6


def test_swap_of_fixed_and_moving_inverts_the_jacobian(engine, pair, shrunk):
    back = register(pair[1], pair[0], engine=engine, settings=FAST)
    at_fixed = warp(Volume(back.jacobian.data, GRID), shrunk.displacement).data
    product = (at_fixed * shrunk.jacobian.data)[LESION]
    assert np.median(product) == pytest.approx(1, abs=0.05)
    inverse = jacobian_map(shrunk.inverse)
    product = (warp(inverse, shrunk.displacement).data * shrunk.jacobian.data)[LESION]
    assert product.mean() == pytest.approx(1, abs=0.03)


def test_lesion_that_takes_up_less_is_not_read_as_smaller(engine, pair):
    darker = image(GRID, SHRINK, noise=NOISE, seed=1, gain=0.9)
    result = register(pair[0], darker, engine=engine, settings=FAST)
    assert mean_jacobian(result) == pytest.approx(TRUE[LESION].mean(), rel=0.06)


def test_inverted_contrast_is_no_obstacle(engine, pair):
    negative = Volume(-pair[1].data, GRID)
    settings = replace(FAST, affine_metric="mutual-information")
    result = register(pair[0], negative, engine=engine, settings=settings)
    assert mean_jacobian(result) == pytest.approx(TRUE[LESION].mean(), rel=0.05)
    assert result.metrics["warnings"] == []


def test_images_that_lie_apart_start_from_their_centres(engine, pair):
    far = replace(GRID, origin_mm=(500.0, 0.0, 0.0))
    moving = image(GRID, affine(np.eye(3), (3.0, -2.0, 1.0)), noise=NOISE, seed=1)
    settings = replace(FAST, align_centres=True, deformable="none")
    result = register(pair[0], Volume(moving.data, far), engine=engine, settings=settings)
    true = np.array([503.0, -2.0, 1.0]) - GRID.origin_mm
    np.testing.assert_allclose(result.displacement.data[BODY].mean(axis=0), true, atol=0.1)
    assert result.metrics["correlation_before"] is None


def test_an_oblique_grid_gives_the_same_jacobian(engine, pair, shrunk):
    grid = grid_at(direction="oblique")
    fixed, moving = image(grid, noise=NOISE), image(grid, SHRINK, noise=NOISE, seed=1)
    result = register(fixed, moving, engine=engine, settings=FAST)
    assert mean_jacobian(result) == pytest.approx(mean_jacobian(shrunk), rel=0.02)
    assert error_mm(result, SHRINK, grid)[LESION].mean() < BOUNDS[engine][3]


def test_identical_images_give_the_identity(engine):
    clean = image(GRID)
    result = register(clean, clean, engine=engine, settings=FAST)
    assert np.abs(result.displacement.data[BODY]).max() < 0.02
    assert np.abs(result.jacobian.data[BODY] - 1).max() < 0.02


def test_known_affine_map_is_recovered(engine):
    known = affine(1.04 * turn(4.0), (2.0, -1.5, 1.0))
    settings = replace(FAST, deformable="none")
    result = register(image(GRID), image(GRID, known), engine=engine, settings=settings)
    assert error_mm(result, known)[BODY].max() < 0.15
    determinant = np.linalg.det(result.affine[:3, :3])
    assert determinant == pytest.approx(1.04**3, rel=0.005)
    np.testing.assert_allclose(result.jacobian.data, determinant, rtol=1e-5)


def test_same_input_same_bytes(engine, pair, shrunk):
    again = register(*pair, engine=engine, settings=FAST)
    assert again.displacement.data.tobytes() == shrunk.displacement.data.tobytes()
    for key, value in again.metrics.items():
        assert shrunk.metrics[key] == value


def images(shape=(12, 12, 12), origin=(0.0, 0.0, 0.0)) -> Volume:
    data = np.random.default_rng(0).normal(size=shape)
    return Volume(data, Geometry(shape, (2.0, 2.0, 2.0), origin, np.eye(3)))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda v: Volume(np.ones(v.data.shape), v.grid), ImageError, "nothing to align"),
        (lambda v: Volume(np.where(v.data > 2, np.nan, v.data), v.grid), ImageError, "NaN"),
        (lambda v: images((12, 12, 1)), GeometryError, "3-D"),
        (lambda v: images(origin=(80.0, 0.0, 0.0)), GeometryError, "58.0 mm apart"),
    ],
)
def test_what_cannot_be_registered_is_named(engine, change, error, words):
    with pytest.raises(error, match=words):
        register(images(), change(images()), engine=engine)


def test_masks_off_the_grid_and_empty_masks(engine):
    fixed = images()
    with pytest.raises(GeometryError, match="fixed mask"):
        register(fixed, images(), engine=engine, fixed_mask=images((12, 12, 11)))
    empty = Volume(np.zeros(fixed.data.shape, np.uint8), fixed.grid)
    with pytest.raises(EmptyRegionError, match="--fixed-mask"):
        register(fixed, images(), engine=engine, fixed_mask=empty,
                 settings=RegistrationSettings(compare_within="mask"))  # fmt: skip


@pytest.mark.parametrize(
    "name", ["grid_mm", "bending_mm", "reach_mm", "robust_per_mm", "match_window_mm", "most_voxels"]
)
def test_settings_without_meaning_are_refused(name):
    for value in (0, -1.0, float("nan")):
        with pytest.raises(SettingsError, match=name):
            RegistrationSettings(**{name: value})


@pytest.mark.parametrize("name", ["deformable", "metric", "device", "affine_metric"])
def test_settings_of_no_known_kind_are_refused_with_the_choices(name):
    with pytest.raises(SettingsError, match=f"{name} 'wrong': use one of "):
        RegistrationSettings(**{name: "wrong"})


@pytest.mark.parametrize(
    ("name", "deformable", "other"),
    [("torch", "bspline", "simpleitk"), ("torch", "demons", "simpleitk"),
     ("simpleitk", "diffeomorphic", "torch")],
)  # fmt: skip
def test_a_stage_of_the_other_engine_is_refused(name, deformable, other):
    with pytest.raises(SettingsError, match=f"{deformable}.* engine {other}"):
        register(images(), images(), engine=name, settings=replace(FAST, deformable=deformable))


def test_a_new_engine_is_one_entry(pair, monkeypatch):
    monkeypatch.setitem(ENGINES, "other", "pipeline.registration.simpleitk_engine")
    settings = replace(FAST, deformable="none")
    assert register(*pair, engine="other", settings=settings).metrics["engine"] == "other"
    with pytest.raises(SettingsError, match="engine 'none': there is other, simpleitk, torch"):
        load_engine("none")


def test_demons_shrink_without_folds_but_stop_short(pair):
    result = register(*pair, engine="simpleitk", settings=replace(FAST, deformable="demons"))
    true = TRUE[LESION].mean()
    assert true < mean_jacobian(result) < 1.2 * true
    assert result.metrics["folding_fraction"] == 0


def test_threads_of_itk_do_not_change_a_bit(pair):
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for threads in (1, 2, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.append(align(*pair, seed=1).matrix.tobytes())
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert len(set(found)) == 1

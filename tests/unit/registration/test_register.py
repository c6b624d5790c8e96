from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import EmptyRegionError, GeometryError, ImageError, SettingsError
from pipeline.registration.affine import align
from pipeline.registration.engine import ENGINES, RegistrationSettings, register
from pipeline.registration.fields import affine_to_field, warp
from pipeline.registration.jacobian import jacobian_map
from pipeline.types import Geometry, Volume

FAST = RegistrationSettings(inverse_consistency=False)


@pytest.fixture(scope="module")
def shrunk(lesion_case):
    case = lesion_case()
    mask = Volume(case.mask, case.fixed.grid)
    return case, register(case.fixed, case.moving, fixed_mask=mask)


def test_analytic_lesion_is_recovered(shrunk):
    case, result = shrunk
    true = case.jacobian[case.mask]
    found = result.jacobian.data[case.mask]
    assert true.mean() == pytest.approx(0.704, abs=0.005)
    assert found.mean() == pytest.approx(true.mean(), rel=0.02)
    assert result.metrics["mean_jacobian"] == pytest.approx(found.mean())
    assert np.abs(np.log(found / true)).mean() < 0.05
    assert np.corrcoef(found, true)[0, 1] > 0.975
    error = np.linalg.norm(result.displacement.data - case.displacement, axis=-1)
    assert error[case.mask].mean() < 0.2
    assert result.metrics["folding_fraction"] == 0
    assert result.metrics["correlation_after"] > result.metrics["correlation_affine"]


def test_quality_measures_are_in_millimetres_and_small(shrunk):
    metrics = shrunk[1].metrics
    assert metrics["inverse_residual_max_mm"] < 0.1 * 2.0
    assert 0 < metrics["inverse_consistency_mean_mm"] < 0.5
    assert metrics["inverse_consistency_mean_mm"] < metrics["inverse_consistency_p95_mm"] < 1.5


def test_swap_of_fixed_and_moving_inverts_the_jacobian(shrunk):
    case, result = shrunk
    back = register(case.moving, case.fixed, settings=FAST)
    there = back.jacobian.data
    at_fixed = warp(Volume(there, case.moving.grid), result.displacement).data
    product = (at_fixed * result.jacobian.data)[case.mask]
    assert np.median(product) == pytest.approx(1, abs=0.05)
    inverse = jacobian_map(result.inverse)
    product = (warp(inverse, result.displacement).data * result.jacobian.data)[case.mask]
    assert product.mean() == pytest.approx(1, abs=0.03)


def test_lesion_that_takes_up_less_is_not_read_as_smaller(lesion_case):
    case = lesion_case(gain=0.9)
    result = register(case.fixed, case.moving, settings=FAST)
    true = case.jacobian[case.mask].mean()
    assert result.jacobian.data[case.mask].mean() == pytest.approx(true, rel=0.05)


def test_inverted_contrast_is_no_obstacle(lesion_case):
    case = lesion_case()
    negative = Volume(-case.moving.data, case.moving.grid)
    settings = replace(FAST, affine_metric="mutual-information")
    result = register(case.fixed, negative, settings=settings)
    true = case.jacobian[case.mask].mean()
    assert result.jacobian.data[case.mask].mean() == pytest.approx(true, rel=0.03)
    assert result.metrics["warnings"] == []


def test_images_that_lie_apart_start_from_their_centres(lesion_case):
    case = lesion_case()
    far = replace(case.moving.grid, origin_mm=(500.0, 0.0, 0.0))
    settings = replace(FAST, align_centres=True)
    result = register(case.fixed, Volume(case.moving.data, far), settings=settings)
    true = case.jacobian[case.mask].mean()
    assert result.jacobian.data[case.mask].mean() == pytest.approx(true, rel=0.03)
    assert result.metrics["correlation_before"] is None


def test_oblique_flipped_grid_gives_the_same_jacobian(shrunk, lesion_case):
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0],
                     [0, 0, 1.0]]) @ np.diag([-1.0, 1.0, -1.0])  # fmt: skip
    case = lesion_case(direction=turn)
    result = register(case.fixed, case.moving, settings=FAST)
    straight = shrunk[1].jacobian.data[case.mask].mean()
    assert result.jacobian.data[case.mask].mean() == pytest.approx(straight, rel=0.02)
    error = np.linalg.norm(result.displacement.data - case.displacement, axis=-1)
    assert error[case.mask].mean() < 0.2


def test_identical_images_give_the_identity(lesion_case):
    image = lesion_case().fixed
    result = register(image, image, settings=FAST)
    body = image.data > 100
    assert np.abs(result.displacement.data[body]).mean() < 0.01
    assert np.abs(result.displacement.data[body]).max() < 0.1
    assert np.abs(result.jacobian.data[body] - 1).max() < 0.02


def test_known_affine_map_is_recovered(lesion_case):
    image = lesion_case(strength=0.0, noise=0.0).fixed
    centre = np.array([45.0, 6.0, 46.0])
    matrix = np.eye(4)
    a = 0.06
    matrix[:3, :3] = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    matrix[:3, :3] *= 1.04
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + [2.0, -1.5, 1.0]
    moving = warp(image, affine_to_field(np.linalg.inv(matrix), image.grid),
                  interpolation="bspline3")  # fmt: skip
    result = register(image, moving, settings=replace(FAST, deformable="none"))
    body = image.data > 150
    true = affine_to_field(matrix, image.grid).data
    assert np.linalg.norm(result.displacement.data - true, axis=-1)[body].max() < 0.3
    assert np.linalg.det(result.affine[:3, :3]) == pytest.approx(1.04**3, rel=0.005)
    np.testing.assert_allclose(result.jacobian.data, np.linalg.det(result.affine[:3, :3]))


def test_demons_shrink_without_folds_but_stop_short(lesion_case):
    case = lesion_case()
    result = register(case.fixed, case.moving, settings=replace(FAST, deformable="demons"))
    true = case.jacobian[case.mask].mean()
    found = result.jacobian.data[case.mask].mean()
    assert true < found < 1.15 * true  # 12 % over; the B-spline is 1.4 % over
    assert result.metrics["folding_fraction"] == 0


def test_same_input_same_bytes(lesion_case):
    case = lesion_case()
    first, second = (register(case.fixed, case.moving, settings=FAST) for _ in range(2))
    assert first.displacement.data.tobytes() == second.displacement.data.tobytes()
    assert first.metrics == second.metrics


def test_threads_of_itk_do_not_change_a_bit(lesion_case):
    case = lesion_case()
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for threads in (1, 2, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.append(align(case.fixed, case.moving, seed=1).matrix.tobytes())
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert len(set(found)) == 1


def test_a_new_engine_is_one_entry(lesion_case, monkeypatch):
    monkeypatch.setitem(ENGINES, "other", "pipeline.registration.simpleitk_engine")
    case = lesion_case()
    settings = replace(FAST, deformable="none")
    assert register(case.fixed, case.moving, engine="other", settings=settings).metrics[
        "engine"] == "other"  # fmt: skip
    with pytest.raises(SettingsError, match="engine 'torch'"):
        register(case.fixed, case.moving, engine="torch")


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
def test_what_cannot_be_registered_is_named(change, error, words):
    with pytest.raises(error, match=words):
        register(images(), change(images()))


def test_masks_off_the_grid_and_empty_masks():
    fixed = images()
    with pytest.raises(GeometryError, match="fixed mask"):
        register(fixed, images(), fixed_mask=images((12, 12, 11)))
    empty = Volume(np.zeros(fixed.data.shape, np.uint8), fixed.grid)
    with pytest.raises(EmptyRegionError, match="--fixed-mask"):
        register(fixed, images(), fixed_mask=empty,
                 settings=RegistrationSettings(compare_within="mask"))  # fmt: skip


@pytest.mark.parametrize("name", ["grid_mm", "bending_mm", "reach_mm"])
def test_settings_without_meaning_are_refused(name):
    with pytest.raises(SettingsError, match=name):
        RegistrationSettings(**{name: 0})

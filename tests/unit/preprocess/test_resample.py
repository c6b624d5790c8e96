"""Resampling against ITK, analytic signals and known volumes."""

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import ImageError, SettingsError
from pipeline.geometry import empty_like, from_sitk, index_to_world, to_sitk
from pipeline.preprocess.grids import align, spaced_grid
from pipeline.preprocess.kernels import (
    INTERPOLATIONS,
    WINDOWS,
    apply_weights,
    interpolation_weights,
)
from pipeline.preprocess.orientation import AxisMove, move_grid
from pipeline.preprocess.resample import resample, resample_mask, resample_series
from pipeline.types import Geometry, Series, Volume

SMOOTH = tuple(kind for kind in INTERPOLATIONS if kind != "nearest")
SPLINES = tuple(kind for kind in INTERPOLATIONS if kind.startswith("bspline"))


def noise(grid: Geometry, seed: int = 0) -> Volume:
    rng = np.random.default_rng(seed)
    return Volume(rng.normal(100.0, 20.0, grid.shape), grid)


def by_itk(volume: Volume, grid: Geometry, method: int) -> np.ndarray:
    return from_sitk(
        sitk.Resample(to_sitk(volume), empty_like(grid), sitk.Transform(), method)
    ).data


def itk_method(kind: str) -> int:
    if kind in WINDOWS:
        return getattr(sitk, f"sitk{kind.capitalize()}WindowedSinc")
    names = {"nearest": "sitkNearestNeighbor", "linear": "sitkLinear"}
    return getattr(sitk, names.get(kind, f"sitkBSpline{kind[-1]}"))


def line(size: int, spacing_mm: float) -> Geometry:
    return Geometry((size, 1, 1), (spacing_mm, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))


def test_new_grid_covers_the_old_field_of_view_from_its_centre(oblique):
    new = spaced_grid(oblique, 1.3)
    old_mm = np.array(oblique.shape) * oblique.spacing_mm
    new_mm = np.array(new.shape) * 1.3
    assert (new_mm >= old_mm - 1e-9).all()
    assert (new_mm < old_mm + 1.3).all()
    centres = [index_to_world(g, (np.array(g.shape) - 1) / 2) for g in (oblique, new)]
    assert centres[0] == pytest.approx(centres[1], abs=1e-10)


def test_a_spacing_that_divides_the_extent_keeps_the_edges():
    new = spaced_grid(line(10, 0.3), (0.1, 1.0, 1.0))
    assert new.shape == (30, 1, 1)
    assert new.origin_mm[0] == pytest.approx(-0.1)  # edge at -0.15 mm in both


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), (1.0, 0.0, 1.0)])
def test_a_spacing_that_is_none_is_refused(straight, spacing):
    with pytest.raises(SettingsError, match="above 0 mm"):
        spaced_grid(straight, spacing)


def test_a_spacing_in_the_wrong_unit_is_refused_before_it_fills_the_memory(straight):
    with pytest.raises(SettingsError, match="larger spacing"):
        spaced_grid(straight, 0.002)


@pytest.mark.parametrize("kind", [k for k in INTERPOLATIONS if k not in WINDOWS])
def test_kernels_agree_with_itk(oblique, kind):
    image = noise(oblique)
    target = spaced_grid(oblique, 1.31)
    if kind == "nearest":  # off the planes half-way between voxels, where rounding decides
        origin = tuple(np.array(target.origin_mm) + 0.017)
        target = Geometry(target.shape, target.spacing_mm, origin, target.direction)
    ours = resample(image, target, kind=kind, anti_alias=False, clamp="none").data
    assert np.abs(ours - by_itk(image, target, itk_method(kind))).max() < 1e-6


@pytest.mark.parametrize("kind", WINDOWS)
def test_unnormalised_windowed_sinc_agrees_with_itk(straight, kind):
    image = noise(straight)
    target = spaced_grid(straight, 1.31)
    ours = image.data
    for axis, position in enumerate(align(straight, target).position):
        weights = interpolation_weights(kind, position, straight.shape[axis], normalised=False)
        ours = apply_weights(ours, weights, axis)
    itk = by_itk(image, target, itk_method(kind))
    assert np.abs(ours - itk).max() < 1e-5
    # Ours are ITK's values over what ITK makes of ones.
    ones = by_itk(Volume(np.ones(straight.shape), straight), target, itk_method(kind))
    normalised = resample(image, target, kind=kind, anti_alias=False, clamp="none").data
    assert np.abs(normalised - itk / ones).max() < 1e-5
    assert 1e-4 < np.abs(ones - 1).max() < 0.02


@pytest.mark.parametrize("kind", ["linear", "bspline3", "lanczos"])
def test_axes_swapped_and_flipped_take_the_same_values(straight, kind):
    image = noise(straight)
    target = spaced_grid(straight, 2.2)
    turned = move_grid(target, AxisMove((2, 0, 1), (True, False, True)))
    assert align(straight, turned) is not None
    plain = resample(image, target, kind=kind).data
    expected = plain.transpose(2, 0, 1)[::-1, :, ::-1]
    assert np.abs(resample(image, turned, kind=kind).data - expected).max() < 1e-9


@pytest.mark.parametrize("kind", SMOOTH)
@pytest.mark.parametrize("spacing_mm", [0.9, 1.3, 3.1])
def test_a_constant_stays_constant_at_any_angle(straight, oblique, kind, spacing_mm):
    flat = Volume(np.full(straight.shape, 7.25, dtype=np.float32), straight)
    centre = index_to_world(straight, (np.array(straight.shape) - 1) / 2)
    inner = Geometry((5, 5, 5), (spacing_mm,) * 3, tuple(centre - 2 * spacing_mm), np.eye(3))
    askew = Geometry(inner.shape, inner.spacing_mm, inner.origin_mm, oblique.direction)
    for target in (spaced_grid(straight, spacing_mm), askew):
        out = resample(flat, target, kind=kind, clamp="none").data
        assert np.abs(out - 7.25).max() < 1e-5


@pytest.mark.parametrize("kind", ["linear", *SPLINES])
def test_a_ramp_is_exact_away_from_the_ends(kind):
    grid = line(60, 1.0)
    ramp = Volume(np.arange(60.0).reshape(60, 1, 1), grid)
    fine = spaced_grid(grid, (0.37, 1.0, 1.0))
    out = resample(ramp, fine, kind=kind).data[:, 0, 0]
    x = index_to_world(fine, [(i, 0, 0) for i in range(fine.shape[0])])[:, 0]
    middle = (x > 20) & (x < 40)
    assert np.abs(out - x)[middle].max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("hamming", 0.004), ("cosine", 0.003), ("welch", 0.004), ("lanczos", 0.003),
     ("blackman", 0.003), ("bspline3", 0.01), ("bspline5", 0.0006)],
)  # fmt: skip
def test_a_sinusoid_below_nyquist_is_reproduced(kind, limit):
    frequency = 0.2  # per sample; Nyquist is 0.5
    grid = line(80, 1.0)
    wave = Volume(np.cos(2 * np.pi * frequency * np.arange(80.0)).reshape(80, 1, 1), grid)
    fine = spaced_grid(grid, (0.31, 1.0, 1.0))
    out = resample(wave, fine, kind=kind, clamp="none").data[:, 0, 0]
    x = index_to_world(fine, [(i, 0, 0) for i in range(fine.shape[0])])[:, 0]
    middle = (x > 15) & (x < 65)
    assert np.abs(out - np.cos(2 * np.pi * frequency * x))[middle].max() < limit


@pytest.mark.parametrize(
    ("kind", "left"), [("lanczos", 0.02), ("hamming", 0.02), ("linear", 0.12), ("bspline3", 0.12)]
)
def test_what_the_new_grid_cannot_hold_is_removed(kind, left):
    frequency = 0.4  # per sample; the new Nyquist is 1/6
    grid = line(300, 1.0)
    wave = Volume(np.cos(2 * np.pi * frequency * np.arange(300.0)).reshape(300, 1, 1), grid)
    coarse = spaced_grid(grid, (3.0, 1.0, 1.0))
    with_filter = resample(wave, coarse, kind=kind).data[10:-10]
    without = resample(wave, coarse, kind=kind, anti_alias=False, clamp="none").data[10:-10]
    assert np.abs(with_filter).max() < left
    assert np.abs(without).max() > 0.9


def test_a_slow_wave_survives_the_anti_aliasing():
    grid = line(300, 1.0)
    wave = Volume(np.cos(2 * np.pi * np.arange(300.0) / 30).reshape(300, 1, 1), grid)
    coarse = spaced_grid(grid, (3.0, 1.0, 1.0))
    x = index_to_world(coarse, [(i, 0, 0) for i in range(100)])[:, 0]
    true = np.cos(2 * np.pi * x / 30)[10:-10]
    sinc = resample(wave, coarse, kind="lanczos").data[10:-10, 0, 0]
    spline = resample(wave, coarse, kind="bspline3").data[10:-10, 0, 0]
    assert np.abs(sinc - true).max() < 0.01
    # sigma = sqrt(8) / 2.355 samples: exp(-2 (pi sigma / 30)²) of the wave passes.
    passed = np.exp(-2 * (np.pi * np.sqrt(8) / (2 * np.sqrt(2 * np.log(2))) / 30) ** 2)
    assert np.abs(spline - passed * true).max() < 1e-3


@pytest.mark.parametrize("kind", ["bspline2", "bspline3", "bspline5", *WINDOWS])
def test_a_step_overshoots_only_without_the_clamp(kind):
    grid = line(40, 1.0)
    step = Volume((np.arange(40) >= 20).astype(np.float64).reshape(40, 1, 1), grid)
    fine = spaced_grid(grid, (0.25, 1.0, 1.0))
    free = resample(step, fine, kind=kind, clamp="none").data
    assert free.max() > 1.01
    assert free.min() < -0.01
    for clamp in ("global", "local"):
        held = resample(step, fine, kind=kind, clamp=clamp).data
        assert held.min() == 0.0
        assert held.max() == 1.0


def test_the_local_clamp_holds_inside_a_wider_range():
    data = np.zeros(40)
    data[10:20], data[30] = 1.0, 50.0
    grid = line(40, 1.0)
    image = Volume(data.reshape(40, 1, 1), grid)
    fine = spaced_grid(grid, (0.25, 1.0, 1.0))
    near_step = slice(4 * 5, 4 * 15)
    assert resample(image, fine, clamp="global").data[near_step].max() > 1.05
    assert resample(image, fine, clamp="local").data[near_step].max() == 1.0


def test_the_local_clamp_does_not_bring_aliasing_back():
    grid = line(90, 1.0)
    data = np.where(np.arange(90) % 2 == 0, 0.0, 1.0)
    coarse = spaced_grid(grid, (3.0, 1.0, 1.0))
    out = resample(Volume(data.reshape(90, 1, 1), grid), coarse, kind="lanczos", clamp="local").data
    assert np.abs(out[5:-5] - 0.5).max() < 0.02


@pytest.mark.parametrize("clamp", ["global", "local"])
def test_grids_at_an_angle_are_clamped_too(straight, oblique, clamp):
    step = np.zeros(straight.shape)
    step[12:] = 1.0
    target = Geometry((20, 20, 12), (1.0, 1.0, 1.0), (15.0, 5.0, 20.0), oblique.direction)
    assert align(straight, target) is None
    image = Volume(step, straight)
    assert resample(image, target, kind="bspline3", clamp="none").data.max() > 1.02
    held = resample(image, target, kind="bspline3", clamp=clamp).data
    assert 0.0 <= held.min() <= held.max() <= 1.0


def test_the_whole_field_of_view_has_values_and_beyond_lies_the_default(straight):
    flat = Volume(np.full(straight.shape, 5.0, dtype=np.float32), straight)
    wider = Geometry((60, 20, 16), straight.spacing_mm, (-29.4, -7.0, 11.0), np.eye(3))
    out = resample(flat, wider, kind="bspline3", outside=-1000.0).data
    assert (out[18:42] == 5.0).all()
    assert (np.delete(out, np.s_[18:42], axis=0) == -1000.0).all()


def test_on_its_own_grid_an_image_comes_back_unchanged(oblique):
    image = noise(oblique)
    for kind in INTERPOLATIONS:
        assert np.array_equal(resample(image, oblique, kind=kind).data, image.data)


@pytest.mark.parametrize(
    ("dtype", "kind", "expected"),
    [(np.int16, "nearest", np.int16), (np.int16, "bspline3", np.float32),
     (np.float32, "lanczos", np.float32), (np.float64, "linear", np.float64)],
)  # fmt: skip
def test_result_types(straight, dtype, kind, expected):
    image = Volume(noise(straight).data.astype(dtype), straight)
    assert resample(image, spaced_grid(straight, 2.3), kind=kind).data.dtype == expected


@pytest.mark.parametrize(("method", "limit"), [("nearest", 0.005), ("label-gaussian", 0.02)])
@pytest.mark.parametrize("spacing_mm", [0.8, 1.0, 2.0])
def test_a_sphere_keeps_its_volume(method, limit, spacing_mm):
    radius_mm = 14.0
    grid = Geometry((40, 40, 20), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    points = index_to_world(grid, np.moveaxis(np.indices(grid.shape), 0, -1))
    target = spaced_grid(grid, spacing_mm)
    kept = []
    for centre in ([19.7, 19.3, 19.1], [20.1, 18.9, 18.6], [19.2, 20.0, 19.8]):
        inside = np.linalg.norm(points - centre, axis=-1) < radius_mm
        new = resample_mask(Volume(inside.astype(np.uint8), grid), target, method=method)
        kept.append(new.data.sum() * target.voxel_volume_mm3)
        assert set(np.unique(new.data)) == {0, 1}
        assert new.data.dtype == np.uint8
    assert np.mean(kept) == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=limit)


def test_label_gaussian_votes_as_itk_does(straight):
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 4, (6, 5, 4))
    labels = Volume(np.kron(coarse, np.ones((4, 4, 4), dtype=int)).astype(np.uint8), straight)
    target = spaced_grid(straight, (1.37, 1.41, 1.53))
    # Off the planes of symmetry, where a vote ties and rounding decides in ITK.
    target = Geometry(target.shape, target.spacing_mm, (3.013, -6.979, 11.017), np.eye(3))
    ours = resample_mask(labels, target, method="label-gaussian").data
    assert np.array_equal(ours, by_itk(labels, target, sitk.sitkLabelGaussian))


def test_a_tied_vote_favours_no_label():
    grid = line(40, 1.0)
    half = Volume((np.arange(40) >= 20).astype(np.uint8).reshape(40, 1, 1), grid)
    finer = spaced_grid(grid, (1.0 / 3.0, 1.0, 1.0))
    for mask in (half, Volume(1 - half.data, grid)):
        assert resample_mask(mask, finer, method="label-gaussian").data.sum() == 60


def test_label_gaussian_at_an_angle(straight, oblique):
    mask = Volume((noise(straight).data > 100).astype(np.uint8), straight)
    target = spaced_grid(oblique, 2.0)
    out = resample_mask(mask, target, method="label-gaussian").data
    assert np.array_equal(out, by_itk(mask, target, sitk.sitkLabelGaussian))


def test_a_series_is_resampled_image_by_image(straight):
    images = [noise(straight, seed).data.astype(np.float32) for seed in range(3)]
    series = Series(np.stack(images, axis=-1), straight, (0.0, 60.0, 120.0))
    target = spaced_grid(straight, 2.0)
    out = resample_series(series, target, kind="hamming")
    alone = resample(Volume(images[2], straight), target, kind="hamming").data
    assert np.array_equal(out.data[..., 2], alone)
    assert out.time_s == series.time_s


def test_one_slice_can_be_resampled():
    grid = Geometry((20, 20, 1), (1.0, 1.0, 5.0), (0.0, 0.0, 0.0), np.eye(3))
    image = noise(grid)
    for kind in ("bspline3", "lanczos", "linear"):
        out = resample(image, spaced_grid(grid, 2.0), kind=kind).data
        assert out.shape == (10, 10, 3)
        assert np.abs(out - out[..., :1]).max() < 1e-9


def test_bad_options_and_voxels_are_named(straight):
    target = spaced_grid(straight, 2.0)
    image = noise(straight)
    with pytest.raises(SettingsError, match="'cubic' is unknown; choose one of nearest"):
        resample(image, target, kind="cubic")
    with pytest.raises(SettingsError, match="clamp 'hard'"):
        resample(image, target, clamp="hard")
    with pytest.raises(SettingsError, match="radius 0"):
        resample(image, target, kind="lanczos", radius=0)
    with pytest.raises(SettingsError, match="mask method 'majority'"):
        resample_mask(image, target, method="majority")
    image.data[3, 3, 3] = np.nan
    with pytest.raises(ImageError, match="1 of 7680 voxels"):
        resample(image, target)

"""The whole chain on phantoms with a known lesion, and its limits."""

import dataclasses
import itertools

import numpy as np
import pytest

from pipeline.errors import EmptyRegionError, GeometryError, ImageError, SettingsError
from pipeline.geometry import index_to_world
from pipeline.segment.lesion import segment_lesion
from pipeline.segment.options import LesionOptions
from pipeline.segment.region import contrast_of
from pipeline.types import Geometry, Series, Volume


def ball(grid, centre_mm, radius_mm):
    points = index_to_world(grid, np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.linalg.norm(points - np.asarray(centre_mm), axis=-1) <= radius_mm


def cube(size=40, spacing=2.0):
    return Geometry((size,) * 3, (spacing,) * 3, (0.0, 0.0, 0.0), np.eye(3))


# on voxels of 2 mm, with a vessel of 3 mm along the edge
@pytest.mark.parametrize(
    ("radius", "least"), [(5.0, 0.85), (8.0, 0.88), (12.0, 0.94), (18.0, 0.97)]
)
@pytest.mark.parametrize("seeded", [True, False])
def test_lesion_is_found_by_seed_and_by_peak(breast, dice, lesion_mm, radius, least, seeded):
    series, true, _ = breast(radius_mm=radius)
    mask, record = segment_lesion(series, seed_mm=lesion_mm if seeded else None)
    assert record.status == "found"
    assert record.seed_source == ("given" if seeded else "peak")
    assert dice(mask, true) > least
    assert record.converged
    assert (record.phase, record.phase_time_s) == (2, 180.0)


def test_core_is_filled_and_vessel_cut_off(breast, dice, lesion_mm):
    series, true, vessel = breast()
    mask, _ = segment_lesion(series, seed_mm=lesion_mm)
    apart = vessel & ~true
    loose, _ = segment_lesion(series, seed_mm=lesion_mm, options=LesionOptions(opening_mm=0.0))
    assert (mask & apart).sum() < 0.25 * (loose & apart).sum()
    assert dice(mask, true) > dice(loose, true) + 0.02
    core = ball(series.grid, lesion_mm, 4.0)
    assert mask[core].all()


def test_spatial_term_helps_in_noise(breast, dice, lesion_mm):
    series, true, _ = breast(noise=0.12)
    scores = {}
    for power in (0.0, 1.0):
        options = LesionOptions(spatial_power=power, opening_mm=0.0)
        scores[power] = dice(segment_lesion(series, seed_mm=lesion_mm, options=options)[0], true)
    assert scores[1.0] > scores[0.0] + 0.02


def test_a_seed_beside_the_lesion_gives_the_same_lesion(breast, dice, lesion_mm):
    series, _, _ = breast()
    centred, _ = segment_lesion(series, seed_mm=lesion_mm)
    for shift in ((9.0, 0, 0), (0, -9.0, 0), (5.0, 5.0, -5.0), (0, 0, 16.0)):
        mask, _ = segment_lesion(series, seed_mm=np.add(lesion_mm, shift))
        assert dice(mask, centred) > 0.99


def test_no_lesion_is_said_and_no_gland_taken(breast, lesion_mm):
    series, true, _ = breast(radius_mm=0.0, necrotic=False)
    assert not true.any()
    for seed in (lesion_mm, None):
        mask, record = segment_lesion(series, seed_mm=seed)
        assert not mask.any()
        assert record.status == "empty"
        assert record.reason


def test_a_vessel_at_the_seed_is_no_lesion_and_a_small_ball_is_one():
    grid = cube()
    rng = np.random.default_rng(0)
    vessel = np.zeros(grid.shape, dtype=bool)
    vessel[4:36, 20:22, 20:22] = True
    speck = ball(grid, (40.0, 41.0, 41.0), 3.9)  # 28 voxels of 8 mm3
    for inside, status in ((vessel, "empty"), (speck, "found")):
        image = Volume(10.0 * inside + rng.standard_normal(grid.shape), grid)
        mask, record = segment_lesion(image, seed_mm=(40.0, 41.0, 41.0))
        assert record.status == status
        assert mask.any() == (status == "found")
    assert "thin like a vessel" in segment_lesion(
        Volume(10.0 * vessel, grid), seed_mm=(40.0, 41.0, 41.0)
    )[1].reason  # fmt: skip


def test_limits_name_value_limit_and_flag(breast, lesion_mm):
    series, _, _ = breast(radius_mm=5.0)

    def reason(**options):
        mask, record = segment_lesion(series, seed_mm=lesion_mm, options=LesionOptions(**options))
        assert not mask.any()
        return record.reason

    assert "less than 5000 (--minimum-mm3)" in reason(minimum_mm3=5000.0)
    assert "of its S0, less than 3 (--minimum-enhancement)" in reason(minimum_enhancement=3.0)
    assert "of the step, less than 1 (--minimum-contrast)" in reason(minimum_contrast=1.0)


def test_of_two_lesions_the_one_at_the_seed():
    grid = cube()
    rng = np.random.default_rng(0)
    first, second = ball(grid, (24.0, 40.0, 40.0), 8.0), ball(grid, (58.0, 40.0, 40.0), 12.0)
    image = Volume(5.0 * first + 7.0 * second + rng.standard_normal(grid.shape), grid)
    for lesion, seed in ((first, (25.0, 41.0, 38.0)), (second, (55.0, 41.0, 38.0))):
        mask, _ = segment_lesion(image, seed_mm=seed)
        assert mask[lesion].mean() > 0.95
        assert mask[~lesion].sum() < 0.05 * lesion.sum()


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 1.5, 4.0), (1.2, 1.2, 1.2)])
def test_volume_of_a_ball_in_mm3(spacing):
    shape = tuple(int(60 / mm) for mm in spacing)
    grid = Geometry(shape, spacing, (5.0, -7.0, 11.0), np.eye(3))
    rng = np.random.default_rng(1)
    inside = ball(grid, (33.0, 24.0, 40.0), 10.0)
    image = Volume(inside * 6.0 + rng.standard_normal(shape), grid)
    mask, record = segment_lesion(image, seed_mm=(33.0, 24.0, 40.0))
    volume = mask.sum() * float(np.prod(spacing))
    assert volume == pytest.approx(4.0 / 3.0 * np.pi * 10.0**3, rel=0.06)
    assert record.steps[-1].step == "holes filled"
    assert record.steps[-1].volume_mm3 == pytest.approx(volume)
    names = [step.step for step in record.steps]
    assert names == ["brightest cluster", "opened", "edges regained", "component at the seed",
                     "holes filled"]  # fmt: skip


def test_two_values_without_noise_are_enough():
    grid = cube()
    lesion = ball(grid, (40.0, 38.0, 36.0), 9.0)
    for seed in ((40.0, 38.0, 36.0), None):
        mask, record = segment_lesion(Volume(lesion.astype(np.uint8), grid), seed_mm=seed)
        assert np.array_equal(mask, lesion)
        assert record.feature == "intensity"
        assert record.enhancement is None


def turned(series, order, flips):
    """The same series in space, on axes in another order and direction."""
    data = series.data.transpose(*order, 3)
    direction = series.grid.direction[:, order].copy()
    origin = np.array(series.grid.origin_mm)
    for axis in flips:
        step = direction[:, axis] * series.grid.spacing_mm[order[axis]]
        origin = origin + step * (data.shape[axis] - 1)
        direction[:, axis] *= -1
        data = np.flip(data, axis)
    spacing = tuple(series.grid.spacing_mm[o] for o in order)
    grid = Geometry(data.shape[:3], spacing, tuple(origin), direction)
    return Series(np.ascontiguousarray(data), grid, series.time_s)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:4])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
def test_orientation_of_the_axes_does_not_matter(breast, lesion_mm, order, flips):
    series, _, _ = breast()
    straight, _ = segment_lesion(series, seed_mm=lesion_mm)
    other, _ = segment_lesion(turned(series, order, flips), seed_mm=lesion_mm)
    back = np.flip(other, flips).transpose(np.argsort(order))
    assert np.array_equal(back, straight)


def test_peak_does_not_hang_on_orientation(breast, dice):
    series, _, _ = breast()
    straight, _ = segment_lesion(series)
    other, _ = segment_lesion(turned(series, (2, 0, 1), (0, 2)))
    assert dice(np.flip(other, (0, 2)).transpose(1, 2, 0), straight) > 0.999


def test_same_input_same_bytes(breast):
    series, _, _ = breast()
    first, second = (segment_lesion(series) for _ in range(2))
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1] == second[1]


def test_phase_by_number_and_by_time(breast, lesion_mm):
    series, _, _ = breast()

    def chosen(**options):
        record = segment_lesion(series, seed_mm=lesion_mm, options=LesionOptions(**options))[1]
        return record.phase, record.phase_time_s, record.feature

    assert chosen(phase_time_s=100.0) == (1, 90.0, "enhancement")
    assert chosen(phase=3) == (3, 270.0, "enhancement")
    assert chosen(phase=3, feature="intensity") == (3, 270.0, "intensity")
    with pytest.raises(SettingsError, match="phase 0 is not after contrast: S0 is time point 0"):
        chosen(phase=0)
    with pytest.raises(SettingsError, match="the last one is 3"):
        chosen(phase=4)
    with pytest.raises(SettingsError, match="phase 1 asked of a single image"):
        segment_lesion(series.image(0), options=LesionOptions(phase=1))


def test_intensities_with_another_zero_have_no_ratio_but_the_same_lesion(breast, lesion_mm):
    series, _, _ = breast()
    mask, record = segment_lesion(series, seed_mm=lesion_mm)
    assert record.enhancement is not None
    assert 1.0 < record.enhancement < 2.0
    scored = dataclasses.replace(series, data=(series.data - 200.0) / 150.0)
    other, without = segment_lesion(scored, seed_mm=lesion_mm)
    assert without.enhancement is None
    assert (mask ^ other).sum() <= 1


def test_within_keeps_the_lesion_inside(breast, lesion_mm):
    series, true, _ = breast()
    half = np.zeros(series.grid.shape, dtype=bool)
    half[:, :, 19:] = True
    mask, _ = segment_lesion(series, seed_mm=lesion_mm, within=half)
    assert mask.any()
    assert not (mask & ~half).any()
    assert (mask & true).sum() > 0.9 * (true & half).sum()
    far = np.zeros(series.grid.shape, dtype=bool)
    far[:4] = True
    record = segment_lesion(series, seed_mm=lesion_mm, within=far)[1]
    assert "more than 10 mm outside the region given" in record.reason
    with pytest.raises(EmptyRegionError, match="the mask is empty"):
        segment_lesion(series, within=np.zeros_like(far))
    with pytest.raises(GeometryError, match=r"the mask has \(3, 3, 3\) voxels"):
        segment_lesion(series, within=np.ones((3, 3, 3), dtype=bool))


def test_a_lesion_that_fills_the_box_is_told(caplog):
    grid = cube(50)
    lesion = ball(grid, (50.0, 50.0, 50.0), 20.0)
    image = Volume(lesion + 0.1 * np.random.default_rng(0).standard_normal(grid.shape), grid)
    options = LesionOptions(seed_box_mm=32.0)
    mask, record = segment_lesion(image, seed_mm=(38.0, 50.0, 50.0), options=options)
    assert mask.any()
    assert record.touches_box
    assert "raise --seed-box-mm" in caplog.text


def test_images_and_seeds_that_cannot_be_used(breast):
    series, _, _ = breast()
    with pytest.raises(GeometryError, match=r"seed \(0.0, 0.0, 300.0\) mm lies outside"):
        segment_lesion(series, seed_mm=(0.0, 0.0, 300.0))
    broken = series.data.copy()
    broken[3, 4, 5, 2] = np.nan
    with pytest.raises(ImageError, match=r"1 of \d+ voxels are NaN"):
        segment_lesion(dataclasses.replace(series, data=broken))
    flat = Volume(np.full((20, 20, 20), 3.0), cube(20))
    assert "even round the seed" in segment_lesion(flat, seed_mm=(20.0, 20.0, 20.0))[1].reason
    assert "no bright blob" in segment_lesion(flat)[1].reason
    late = dataclasses.replace(series, time_s=(10.0, 90.0, 180.0, 270.0))
    with pytest.raises(SettingsError, match="no image at or before injection"):
        segment_lesion(late)


def test_contrast_by_hand():
    grid = cube(30, 1.0)
    data = np.zeros(grid.shape)
    data[15:] = 2.0  # half of the surroundings is at 2
    lesion = ball(grid, (15.0, 15.0, 15.0), 5.0)
    data[lesion] = 10.0
    # median around between 0 and 2 by one plane of voxels, 90th percentile 2
    assert contrast_of(data, lesion, grid) == pytest.approx(8.0 / 8.0)
    data[:15][~lesion[:15]] = 0.0
    data[16:][~lesion[16:]] = 2.0
    data[15][~lesion[15]] = 0.0
    assert contrast_of(data, lesion, grid) == pytest.approx(8.0 / 10.0)
    assert contrast_of(100.0 * data - 7.0, lesion, grid) == pytest.approx(0.8)
    assert contrast_of(-data, lesion, grid) == 0.0
    assert contrast_of(data, np.ones_like(lesion), grid) is None


def test_options_out_of_range_are_told_all_at_once():
    with pytest.raises(SettingsError) as caught:
        LesionOptions(seed_box_mm=0.0, opening_mm=-1.0, minimum_contrast=float("nan"))
    for words in ("seed_box_mm is 0, must be above 0", "opening_mm is -1, must be 0 or more",
                  "minimum_contrast is nan, must be a number"):  # fmt: skip
        assert words in str(caught.value)
    with pytest.raises(SettingsError, match="feature is 'colour'"):
        LesionOptions(feature="colour")

"""N4 against a known field, and what must hold for any field."""

import logging

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import EmptyRegionError, GeometryError, ImageError, SettingsError
from pipeline.preprocess.bias import (
    N4Settings,
    correct_bias,
    correct_series_bias,
    estimate_log_field,
)
from pipeline.types import Geometry, Series, Volume

SHAPE = (64, 56, 24)
GRID = Geometry(SHAPE, (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), np.eye(3))


def coordinates() -> np.ndarray:
    return np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))


@pytest.fixture(scope="module")
def phantom() -> tuple[Volume, np.ndarray, np.ndarray]:
    """Two tissues under a polynomial log field; image, true log field, outer tissue."""
    x, y, z = coordinates()
    radius = np.sqrt(x**2 + y**2 + z**2)
    log_field = 0.3 * x + 0.2 * y**2 - 0.2 * x * z
    clean = np.where(radius < 0.9, 100.0, 0.0) + np.where(radius < 0.5, 80.0, 0.0)
    noise = np.random.default_rng(0).normal(0.0, 2.0, SHAPE)
    image = (clean * np.exp(log_field) + noise).astype(np.float32)
    return Volume(image, GRID), log_field, (radius > 0.55) & (radius < 0.85)


def test_a_known_field_is_found_and_tissue_becomes_even(phantom):
    image, true, tissue = phantom
    corrected, field = correct_bias(image)
    found = np.log(field.data)
    assert np.corrcoef(found[tissue], true[tissue])[0, 1] >= 0.99
    before, after = (v.data[tissue].std() / v.data[tissue].mean() for v in (image, corrected))
    assert before > 0.12
    assert after < 0.3 * before


def test_corrected_times_field_is_the_input(phantom):
    image, _, _ = phantom
    corrected, field = correct_bias(image)
    assert corrected.data.dtype == field.data.dtype == np.float32
    assert np.allclose(corrected.data * field.data, image.data, rtol=3e-7, atol=0.0)


def test_the_scale_of_the_tissue_stays(phantom):
    image, _, tissue = phantom
    log_field = estimate_log_field(image, mask=tissue)
    assert abs(log_field.data[tissue].mean(dtype=np.float64)) < 1e-5


def test_the_field_is_smooth_on_every_voxel_not_a_blown_up_copy(phantom):
    image, _, _ = phantom
    field = estimate_log_field(image).data.astype(np.float64)
    # Steps of a copy enlarged 4 times would show as jumps in the second difference.
    second = np.abs(np.diff(field, 2, axis=0))
    assert second.max() < 0.2 * np.abs(np.diff(field, axis=0)).max()


def test_a_shared_field_keeps_enhancement_and_one_per_phase_does_not(phantom):
    image, _, tissue = phantom
    x, y, z = coordinates()
    rise = 1.0 + np.exp(-((x - 0.4) ** 2 + y**2 + z**2) / 0.5)  # broad, as in dense breasts
    series = Series(np.stack([image.data, image.data * rise], axis=-1), GRID, (0.0, 90.0))
    corrected, field = correct_series_bias(series)
    ratio = corrected.data[..., 1] / corrected.data[..., 0]
    assert np.allclose(ratio, rise, rtol=1e-5)
    assert np.allclose(corrected.data * field.data[..., None], series.data, rtol=3e-7)
    alone, _ = correct_bias(series.image(1))
    first, _ = correct_bias(series.image(0))
    by_phase = (alone.data / first.data)[tissue]
    assert np.ptp(np.percentile(by_phase, [5, 95])) < 0.25 * np.ptp(
        np.percentile(rise[tissue], [5, 95])
    )


def test_dark_and_negative_voxels_do_no_harm(phantom):
    image, true, tissue = phantom
    data = image.data.copy()
    data[:4], data[30, 20, 10:14] = -50.0, 0.0
    corrected, field = correct_bias(Volume(data, GRID))
    assert np.isfinite(field.data).all()
    assert (field.data > 0).all()
    assert (np.sign(corrected.data) == np.sign(data)).all()
    assert np.corrcoef(np.log(field.data)[tissue], true[tissue])[0, 1] > 0.98


def test_integers_and_small_images_work():
    rng = np.random.default_rng(1)
    for shape in ((9, 8, 5), (40, 40, 1)):
        grid = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
        data = (100 + 10 * rng.normal(size=shape)).astype(np.int16)
        corrected, _ = correct_bias(Volume(data, grid), mask=np.ones(shape, dtype=bool))
        assert np.isfinite(corrected.data).all()
        assert corrected.data.mean() == pytest.approx(data.mean(), rel=0.05)


def test_the_number_of_threads_changes_no_byte(phantom):
    image, _, _ = phantom
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        found = []
        for threads in (1, 2, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.append(estimate_log_field(image).data.tobytes())
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert len(set(found)) == 1


def test_a_mask_of_a_lesion_is_warned_about(phantom, caplog):
    image, _, _ = phantom
    x, y, z = coordinates()
    with caplog.at_level(logging.WARNING):
        estimate_log_field(image, mask=np.sqrt(x**2 + y**2 + z**2) < 0.25)
    assert "in a tumour alone" in caplog.text


def test_images_without_a_field_are_named(phantom):
    image, _, _ = phantom
    with pytest.raises(ImageError, match="every voxel is 5"):
        correct_bias(Volume(np.full(SHAPE, 5.0), GRID))
    with pytest.raises(ImageError, match="no voxel is above 0"):
        correct_bias(Volume(-np.abs(image.data) - 1, GRID))
    broken = image.data.copy()
    broken[0, 0, 0] = np.inf
    with pytest.raises(ImageError, match="1 of 86016 voxels are NaN or infinite"):
        correct_bias(Volume(broken, GRID))
    with pytest.raises(EmptyRegionError, match="mask is empty"):
        correct_bias(image, mask=np.zeros(SHAPE, dtype=bool))
    few = np.zeros(SHAPE, dtype=bool)
    few[30:33, 30, 10] = True
    with pytest.raises(EmptyRegionError, match="3 positive voxels in the mask, at least 64"):
        correct_bias(image, mask=few)
    with pytest.raises(GeometryError, match="mask has"):
        correct_bias(image, mask=np.ones((3, 3, 3), dtype=bool))


@pytest.mark.parametrize(
    ("settings", "text"),
    [(N4Settings(shrink=0), "shrink 0"), (N4Settings(levels=0), "levels 0"),
     (N4Settings(iterations=0), "iterations 0"), (N4Settings(convergence=0.0), "convergence 0"),
     (N4Settings(control_points=3), "control_points 3 must be above spline_order 3")],
)  # fmt: skip
def test_settings_without_meaning_are_named(phantom, settings, text):
    with pytest.raises(SettingsError, match=text):
        correct_bias(phantom[0], settings=settings)

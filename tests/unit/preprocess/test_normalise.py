"""Intensity normalisation: fitted here, applied there."""

import numpy as np
import pytest

from pipeline.errors import EmptyRegionError, ImageError, SettingsError
from pipeline.preprocess.normalise import (
    apply_map,
    ct_window,
    fit_nyul,
    fit_percentile,
    fit_zscore,
    nyul_map,
)


def tissue(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = rng.choice([0, 1, 2], size=(20, 20, 10), p=[0.3, 0.4, 0.3])
    means = np.array([10.0, 300.0, 700.0]) * rng.uniform(0.9, 1.1, 3)
    return means[parts] + rng.normal(0.0, 30.0, parts.shape)


def test_zscore_has_mean_0_and_deviation_1_where_it_was_fitted():
    data = tissue(0)
    mask = data > 200
    out = apply_map(data, fit_zscore(data, mask=mask))
    assert out[mask].mean() == pytest.approx(0.0, abs=1e-6)
    assert out[mask].std() == pytest.approx(1.0, abs=1e-6)
    whole = apply_map(data, fit_zscore(data))
    assert np.allclose(whole, (data - data.mean()) / data.std(), atol=1e-5)
    assert out.dtype == np.float32


def test_percentiles_become_0_and_1_and_are_clipped():
    data = np.arange(101.0).reshape(101, 1, 1)
    out = apply_map(data, fit_percentile(data))[:, 0, 0]
    assert out[1] == 0.0
    assert out[99] == 1.0
    assert out[50] == pytest.approx(0.5)
    assert (out.min(), out.max()) == (0.0, 1.0)
    free = apply_map(data, fit_percentile(data, percentiles=(25, 75), clip=False))[:, 0, 0]
    assert free[0] == pytest.approx(-0.5)
    assert free[100] == pytest.approx(1.5)


def test_ct_window_in_hounsfield_units():
    hu = np.array([-1000.0, -160.0, 40.0, 240.0, 3000.0]).reshape(5, 1, 1)
    out = apply_map(hu, ct_window(centre_hu=40.0, width_hu=400.0))[:, 0, 0]
    assert out.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_nyul_maps_a_linearly_rescaled_copy_onto_the_same_image():
    standard = fit_nyul([tissue(s) for s in range(4)])
    data = tissue(9)
    plain = apply_map(data, nyul_map(data, standard))
    scaled = 3.7 * data + 120.0
    assert np.abs(apply_map(scaled, nyul_map(scaled, standard)) - plain).max() < 1e-4


def test_nyul_brings_scanners_onto_one_scale():
    train = [tissue(s) * gain for s, gain in enumerate((1.0, 1.8, 0.6))]
    standard = fit_nyul(train)
    assert standard.landmark[0] == 0.0
    assert standard.landmark[-1] == 100.0
    assert list(standard.landmark) == sorted(standard.landmark)
    medians = []
    for seed, gain in ((7, 1.0), (8, 2.5)):
        image = tissue(seed) * gain
        mapped = apply_map(image, nyul_map(image, standard))
        medians.append(np.median(mapped[image > image.mean()]))
    assert medians[0] == pytest.approx(medians[1], abs=0.5)


def test_a_test_image_never_changes_what_was_fitted():
    train = [tissue(s) for s in range(3)]
    masks = [image > 200 for image in train]
    standard = fit_nyul(train, masks=masks)
    before = [image.copy() for image in train]
    for wild in (tissue(5) * 1e6, -tissue(6)):
        apply_map(wild, nyul_map(wild, standard))
    assert fit_nyul(train, masks=masks) == standard
    assert all(np.array_equal(a, b) for a, b in zip(train, before, strict=True))
    assert fit_nyul([*train, tissue(5) ** 2]) != fit_nyul(train)


def test_landmarks_that_fall_together_become_one():
    data = np.repeat([0.0, 5.0, 9.0], [10, 80, 10]).reshape(100, 1, 1)
    standard = fit_nyul([tissue(0)])
    mapped = apply_map(data, nyul_map(data, standard, mask=np.ones(data.shape, dtype=bool)))
    assert np.isfinite(mapped).all()
    assert (np.diff(np.unique(mapped)) > 0).all()
    assert len(np.unique(mapped)) == 3


def test_images_and_options_without_meaning_are_named():
    flat = np.full((5, 5, 5), 3.0)
    with pytest.raises(ImageError, match="standard deviation is 0"):
        fit_zscore(flat)
    with pytest.raises(ImageError, match="percentiles 1 and 99 are both 3"):
        fit_percentile(flat)
    with pytest.raises(ImageError, match="training image 1 is 3"):
        fit_nyul([tissue(0), flat])
    with pytest.raises(ImageError, match="3 at every landmark"):
        nyul_map(flat, fit_nyul([tissue(0)]))
    with pytest.raises(SettingsError, match="0 training images"):
        fit_nyul([])
    with pytest.raises(SettingsError, match="must rise"):
        fit_percentile(tissue(0), percentiles=(99.0, 1.0))
    with pytest.raises(SettingsError, match="width_hu 0"):
        ct_window(centre_hu=0.0, width_hu=0.0)
    with pytest.raises(EmptyRegionError, match="z-score: the mask is empty"):
        fit_zscore(flat, mask=np.zeros(flat.shape, dtype=bool))
    with pytest.raises(ImageError, match="1 of 125 voxels are NaN"):
        fit_zscore(np.where(np.arange(125).reshape(5, 5, 5) == 0, np.nan, 1.0))

"""Statistics, histogram, intensity-volume histogram and peaks, worked by hand or by scipy."""

import numpy as np
import pytest
from scipy import stats

from pipeline.errors import SettingsError
from pipeline.radiomics.ibsi.discretise import Levels, discretise
from pipeline.radiomics.ibsi.histogram import histogram
from pipeline.radiomics.ibsi.intensity import statistics
from pipeline.radiomics.ibsi.peaks import peaks
from pipeline.radiomics.ibsi.prepare import PEAK_RADIUS_MM
from pipeline.radiomics.ibsi.settings import IbsiSettings
from pipeline.radiomics.ibsi.volume_histogram import volume_histogram


def test_statistics_agree_with_scipy():
    values = np.random.default_rng(2).gamma(2.0, 30.0, 500) - 20.0
    found = statistics(values)
    assert found["skew"] == pytest.approx(stats.skew(values))
    assert found["kurt"] == pytest.approx(stats.kurtosis(values))
    assert found["iqr"] == pytest.approx(stats.iqr(values))
    assert found["cov"] == pytest.approx(stats.variation(values))
    low, high = np.percentile(values, [10, 90])
    inner = values[(values >= low) & (values <= high)]
    assert found["rmad"] == pytest.approx(np.abs(inner - inner.mean()).mean())


def test_statistics_by_hand():
    found = statistics(np.array([1.0, 1, 2, 4, 12]))
    assert (found["mean"], found["median"], found["range"]) == (4.0, 2.0, 11.0)
    assert found["var"] == pytest.approx((9 + 9 + 4 + 0 + 64) / 5)
    assert found["mad"] == pytest.approx((3 + 3 + 2 + 0 + 8) / 5)
    assert found["medad"] == pytest.approx((1 + 1 + 0 + 2 + 10) / 5)
    assert found["qcod"] == pytest.approx((4 - 1) / (4 + 1))
    assert found["energy"] == 1 + 1 + 4 + 16 + 144
    assert found["rms"] == pytest.approx(np.sqrt(166 / 5))


def test_what_divides_by_zero_is_missing_and_a_constant_has_no_tails():
    found = statistics(np.array([-1.0, 1.0]))
    assert np.isnan(found["cov"])
    assert np.isnan(found["rmad"])
    assert (statistics(np.full(4, 7.0))["skew"], statistics(np.full(4, 7.0))["kurt"]) == (0, 0)


def test_levels_of_fixed_width_begin_at_the_lower_end_else_at_the_lowest():
    values = np.array([-499.0, -475.0, -1.0, 0.0, 24.9, 400.0])
    found = discretise(values, width=25.0, count=None, lowest=-500.0)
    assert found.level.tolist() == [1, 2, 20, 21, 21, 37]
    assert found.count == 37
    assert discretise(values, width=25.0, count=None).level.tolist() == [1, 1, 20, 20, 21, 36]


def test_a_fixed_number_of_levels_spans_the_range():
    found = discretise(np.array([0.0, 0.9, 1.0, 3.9, 4.0]), width=None, count=4)
    assert found.level.tolist() == [1, 1, 2, 4, 4]
    constant = discretise(np.full(3, 5.0), width=None, count=4)
    assert (constant.level.tolist(), constant.count) == ([1, 1, 1], 1)


def test_too_many_levels_name_the_remedy():
    with pytest.raises(SettingsError, match="choose a larger bin width, or a bin count"):
        discretise(np.array([0.0, 1e6]), width=0.01, count=None)


def test_histogram_by_hand():
    found = histogram(Levels(np.array([1, 1, 1, 2, 4, 4, 4, 5]), 5))  # counts 3 1 0 3 1
    assert found["mode"] == 4  # as frequent as 1, nearer to the mean of 2.75
    assert (found["max_grad"], found["max_grad_g"]) == (1.0, 3.0)  # (3 - 1) / 2
    assert (found["min_grad"], found["min_grad_g"]) == (-2.0, 1.0)  # 1 - 3; level 5 equals it
    assert found["uniformity"] == pytest.approx((9 + 1 + 9 + 1) / 64)
    shares = np.array([3, 1, 3, 1]) / 8
    assert found["entropy"] == pytest.approx(-(shares * np.log2(shares)).sum())


def test_volume_histogram_of_whole_numbers(make_region):
    region = make_region(np.arange(1.0, 11.0).reshape(10, 1, 1))
    found = volume_histogram(region, IbsiSettings())
    assert found["v10"] == pytest.approx(0.9)  # at or above 1.9
    assert found["v90"] == pytest.approx(0.1)  # at or above 9.1
    assert (found["i10"], found["i90"]) == (10.0, 2.0)
    # Shares 1, 0.9, ... 0.1 over 10 intensities: trapezia of width 1/9.
    assert found["auc"] == pytest.approx((np.arange(1, 11).sum() / 10 - (1 + 0.1) / 2) / 9)


def test_volume_histogram_spans_the_range_of_resegmentation(make_region):
    region = make_region(np.array([0.0, 10, 20, 30]).reshape(4, 1, 1), bounds=(-100.0, 100.0))
    found = volume_histogram(region, IbsiSettings())
    assert (found["v10"], found["v90"]) == (1.0, 0.0)  # above -80, above 80
    assert found["i10"] == 31.0  # the lowest whole number that nobody reaches


def test_volume_histogram_of_bins(make_region):
    values = np.array([0.3, 0.6, 5.2, 9.9]).reshape(4, 1, 1)
    wide = volume_histogram(
        make_region(values, bounds=(0.0, 10.0)), IbsiSettings(volume_bin_width=2.5)
    )
    assert wide["i90"] == 3.75  # centres 1.25 (all) and 3.75 (half of the voxels)
    assert wide["i10"] == 8.75  # a quarter reaches the last bin: there is no higher one
    numbered = volume_histogram(make_region(values), IbsiSettings(volume_bin_count=10))
    assert numbered["i90"] == 2.0  # bins 1, 1, 6, 10
    assert (numbered["v10"], numbered["v90"]) == (0.5, 0.25)


def test_peaks_agree_with_a_loop_and_see_beyond_the_region(make_region):
    rng = np.random.default_rng(3)
    spacing = (1.5, 2.0, 3.5)
    image = rng.normal(100.0, 20.0, (13, 11, 8))
    inside = np.zeros(image.shape, dtype=bool)
    inside[4:9, 3:8, 2:6] = True
    image[0, 0, 0] = np.nan  # no value: left out of the means
    image[5, 4, 3] = image[8, 7, 5] = 500.0
    at = np.argwhere(np.isfinite(image))
    means = {}
    for voxel in np.argwhere(inside):
        near = np.linalg.norm((at - voxel) * spacing, axis=1) <= PEAK_RADIUS_MM
        means[tuple(voxel)] = image[tuple(at[near].T)].mean()
    found = peaks(make_region(image, inside, spacing))
    assert found["peak_glob"] == pytest.approx(max(means.values()))
    assert found["peak_loc"] == pytest.approx(max(means[5, 4, 3], means[8, 7, 5]))


def test_the_ball_is_one_cubic_centimetre():
    assert 4 / 3 * np.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000.0)

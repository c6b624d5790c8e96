"""Maps of a contrast series: hand-worked values and a published map."""

import numpy as np
import pytest

from pipeline.errors import ImageError, SettingsError
from pipeline.preprocess.dce import (
    PUBLISHED_FLOOR_FRACTION,
    choose_phase,
    early_enhancement,
    pre_contrast_index,
    s0_floor,
    signal_enhancement_ratio,
    subtraction,
)
from pipeline.types import Geometry, Series

TIMES = (-60.0, 0.0, 90.0, 133.0, 177.0, 220.0)


def made(curves: list[list[float]], times: tuple[float, ...] = TIMES) -> Series:
    """One voxel per curve."""
    data = np.array(curves, dtype=np.float32)[:, None, None, :]
    grid = Geometry(data.shape[:3], (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    return Series(data, grid, times)


def roi(*inside: int, size: int) -> np.ndarray:
    mask = np.zeros((size, 1, 1), dtype=bool)
    mask[list(inside)] = True
    return mask


WASH_OUT = [90, 100, 180, 260, 220, 200]
RISING = [90, 100, 110, 120, 130, 140]


def test_s0_is_the_last_image_before_injection():
    assert pre_contrast_index(made([WASH_OUT])) == 1
    assert pre_contrast_index(made([[1, 2, 3]], (0.0, 0.0, 90.0))) == 1


def test_the_phase_of_greatest_mean_enhancement_in_the_roi():
    series = made([WASH_OUT, RISING])
    tumour = choose_phase(series, roi(0, size=2))
    assert (tumour.index, tumour.time_s, tumour.rule, tumour.reason) == (3, 133.0, "max-mean", "")
    assert tumour.mean_enhancement == (80.0, 160.0, 120.0, 100.0)
    assert choose_phase(series, roi(1, size=2)).index == 5
    assert subtraction(series, tumour).data[:, 0, 0].tolist() == [160.0, 20.0]


def test_the_earlier_phase_wins_a_tie():
    assert choose_phase(made([[0, 0, 5, 9, 9, 9]]), roi(0, size=1)).index == 3


@pytest.mark.parametrize(
    ("rule", "time_s", "index"),
    [("third", 180.0, 4), ("nearest-time", 180.0, 4), ("nearest-time", 100.0, 2),
     ("nearest-time", -500.0, 2), ("nearest-time", 111.5, 2)],
)  # fmt: skip
def test_the_other_rules(rule, time_s, index):
    choice = choose_phase(made([WASH_OUT]), None, rule=rule, time_s=time_s)
    assert (choice.index, choice.rule, choice.reason) == (index, rule, "")


@pytest.mark.parametrize("empty", [None, np.zeros((1, 1, 1), dtype=bool)])
def test_without_a_roi_time_decides_and_the_record_says_so(empty):
    choice = choose_phase(made([WASH_OUT]), empty)
    assert (choice.index, choice.rule, choice.asked) == (4, "nearest-time", "max-mean")
    assert choice.reason == "the ROI is empty; took the phase nearest to 180 s"


def test_no_third_phase():
    choice = choose_phase(made([[1, 2, 3]], (0.0, 120.0, 245.0)), None, rule="third")
    assert (choice.index, choice.rule) == (1, "nearest-time")
    assert "only 2 phases" in choice.reason


def test_early_enhancement_and_ratio_by_hand():
    series = made([[100, 250, 200], [100, 130, 160], [5, 50, 50], [100, 80, 90], [0, 9, 9]],
                  (0.0, 90.0, 300.0))  # fmt: skip
    early = early_enhancement(series, floor=10.0).data[:, 0, 0]
    assert early.tolist() == [150.0, 30.0, 0.0, -20.0, 0.0]
    ratio = signal_enhancement_ratio(series, floor=10.0).data[:, 0, 0]
    assert ratio.tolist() == [1.5, 0.5, 0.0, 0.0, 0.0]
    assert early_enhancement(series, floor=0.0).data[2, 0, 0] == 900.0
    late = early_enhancement(series, floor=0.0, index=2)
    assert late.data[:2, 0, 0].tolist() == [100.0, 60.0]


def test_the_floor_is_a_part_of_the_95th_percentile_in_the_box():
    series = made([[v, 1.0] for v in range(101)], (0.0, 90.0))
    assert s0_floor(series, fraction=0.2) == pytest.approx(19.0)
    assert s0_floor(series, fraction=0.2, region=roi(0, 20, size=101)) == pytest.approx(3.8)


def test_a_field_shared_by_all_phases_cancels():
    series = made([WASH_OUT, RISING])
    field = np.array([0.5, 1.7]).reshape(2, 1, 1, 1)
    biased = Series(series.data * field, series.grid, series.time_s)
    for make in (early_enhancement, signal_enhancement_ratio):
        plain, other = (make(s, floor=0.0).data for s in (series, biased))
        assert np.allclose(plain, other, rtol=1e-6)


def test_series_without_meaning_are_named():
    with pytest.raises(SettingsError, match=r"no image at or before injection.*--time-s"):
        pre_contrast_index(made([[1, 2]], (90.0, 180.0)))
    with pytest.raises(SettingsError, match="no image after injection"):
        pre_contrast_index(made([[1, 2]], (-90.0, 0.0)))
    with pytest.raises(SettingsError, match="must not fall"):
        pre_contrast_index(made([[1, 2, 3]], (0.0, 180.0, 90.0)))
    with pytest.raises(SettingsError, match="'peak' is unknown"):
        choose_phase(made([WASH_OUT]), None, rule="peak")
    with pytest.raises(SettingsError, match="two phases after contrast"):
        signal_enhancement_ratio(made([[1, 2]], (0.0, 90.0)), floor=0.0)
    with pytest.raises(SettingsError, match="time point 9 is not in the series; it has 0 to 5"):
        early_enhancement(made([WASH_OUT]), floor=0.0, index=9)
    with pytest.raises(SettingsError, match="floor fraction 1 "):
        s0_floor(made([WASH_OUT]), fraction=1.0)
    with pytest.raises(ImageError, match="time point 1: 1 of 1"):
        early_enhancement(made([[1, float("nan")]], (0.0, 90.0)), floor=0.0)


@pytest.mark.data
def test_a_published_early_enhancement_map_is_met_voxel_for_voxel(medpipe_data):
    """Breast-MRI-NACT-Pilot, UCSF-BR-06.

    Its DICOM headers say PE1 = 100 (S1 - S0) / S0 from time points 0 and 1. Found by
    comparing: the percent is cut to a whole number, negative ones become 0, and so does every
    voxel whose S0 is not above 60 % of the 95th percentile in the box of the breast mask.
    """
    from pipeline.io import read_mask, read_series, read_volume
    from pipeline.preprocess.bias import correct_series_bias
    from pipeline.preprocess.resample import resample_mask

    folder = medpipe_data / "breast_dce/UCSF-BR-06"
    series = read_series(folder / "image_dce_3dfgre_orig")
    published = read_volume(folder / "image_dce_pe1").data
    breast = resample_mask(read_mask(folder / "mask"), series.grid).data != 0
    floor = s0_floor(series, region=breast, fraction=PUBLISHED_FLOOR_FRACTION)
    ours = early_enhancement(series, floor=floor).data
    assert np.array_equal(np.floor(np.maximum(ours, 0) + 1e-4), published)
    # What a study computes: our own floor, after N4 with its shared field.
    corrected, _ = correct_series_bias(series)
    study = early_enhancement(corrected, floor=s0_floor(corrected)).data
    defined = published != 0
    assert np.corrcoef(study[defined], published[defined])[0, 1] >= 0.9999
    assert np.corrcoef(study[breast], published[breast])[0, 1] >= 0.999


@pytest.mark.data
def test_a_published_signal_enhancement_ratio(medpipe_data):
    from pipeline.io import read_series, read_volume

    folder = medpipe_data / "breast_dce/UCSF-BR-06"
    series = read_series(folder / "image_dce_3dfgre_orig")
    published = read_volume(folder / "image_dce_ser").data
    ours = signal_enhancement_ratio(series, floor=s0_floor(series)).data
    defined = (published > 0) & (published < 3)  # stored in thousandths, cut at 3
    assert defined.sum() > 40_000
    assert np.abs(ours - published)[defined].max() < 0.00051

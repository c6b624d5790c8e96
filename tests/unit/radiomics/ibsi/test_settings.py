"""Settings without meaning are refused; IBSI's configurations are those of the manual."""

import pytest

from pipeline.errors import SettingsError
from pipeline.radiomics.ibsi.settings import CONFIGURATIONS, IbsiSettings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bin_width": 1.0, "bin_count": 8}, "bin_width and bin_count exclude each other"),
        ({"bin_width": 0.0}, "bin_width is 0"),
        ({"bin_count": 0}, "bin_count is 0; it must lie in 1 to"),
        ({"volume_bin_count": 10**6}, "volume_bin_count is 1000000"),
        ({"resegment": (400.0, -500.0)}, "resegment is 400 to -500"),
        ({"outlier_sigma": 0.0}, "outlier_sigma is 0"),
        ({"mask_threshold": 0.0}, "mask_threshold is 0"),
        ({"spacing_mm": (2.0, -1.0, None)}, "spacing_mm has -1"),
        ({"interpolation": "sinc"}, "interpolation is 'sinc'"),
        ({"dimensions": ()}, "choose from 2D, 2_5D, 3D"),
    ],
)
def test_what_has_no_meaning_is_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        IbsiSettings(**wrong)


def test_configurations_are_those_of_the_manual():
    a, b, c, d, e = (CONFIGURATIONS[name] for name in "ABCDE")
    assert [s.spacing_mm for s in (a, b, c)] == [None, (2.0, 2.0, None), (2.0, 2.0, 2.0)]
    assert [s.resegment for s in (a, b, c, d, e)] == [
        (-500.0, 400.0), (-500.0, 400.0), (-1000.0, 400.0), None, (-1000.0, 400.0),
    ]  # fmt: skip
    assert [s.outlier_sigma for s in (a, b, c, d, e)] == [None, None, None, 3.0, 3.0]
    assert [(s.bin_width, s.bin_count) for s in (a, b, c, d, e)] == [
        (25.0, None), (None, 32), (25.0, None), (None, 32), (None, 32),
    ]  # fmt: skip
    assert [s.interpolation for s in (b, c, d, e)] == ["linear", "linear", "linear", "cubic"]
    assert (c.volume_bin_width, e.volume_bin_count) == (2.5, 1000)
    assert [s.dimensions for s in (a, d)] == [("2D", "2_5D"), ("3D",)]

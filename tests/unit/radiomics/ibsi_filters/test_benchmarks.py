"""The benchmark settings: every test runs; phase 2 meets the IBSI's published values."""

import numpy as np
import pytest

from pipeline.io import read_mask, read_volume
from pipeline.radiomics.ibsi_filters import PHANTOMS, PHASE1, PHASE2, phantom, response
from pipeline.types import Volume

from .reference_features import FEATURES, REFERENCE

PHASE1_TESTS = [
    "1.a.1", "1.a.2", "1.a.3", "1.a.4", "1.b.1", "2.a", "2.b", "2.c", "3.a.1", "3.a.2", "3.a.3",
    "3.b.1", "3.b.2", "3.b.3", "3.c.1", "3.c.2", "3.c.3", "4.a.1", "4.a.2", "4.b.1", "4.b.2",
    "5.a.1", "5.a.2", "6.a.1", "6.a.2", "7.a.1", "7.a.2", "8.a.1", "8.a.2", "8.a.3", "9.a",
    "9.b.1", "9.b.2", "10.a", "10.b.1", "10.b.2",
]  # fmt: skip


def test_all_tests_of_phase_1_are_there_in_order():
    assert list(PHASE1) == PHASE1_TESTS
    unmatched = [name for name, test in PHASE1.items() if not test.has_reference]
    assert unmatched == ["9.b.2", "10.a", "10.b.2"]
    assert {test.image for test in PHASE1.values()} <= set(PHANTOMS)


@pytest.mark.parametrize("name", sorted(PHANTOMS))
def test_phantoms_lie_on_the_official_grid(name):
    built = phantom(name)
    expected = (32, 48, 64) if name == "orientation" else (64, 64, 64)
    assert built.grid.shape == built.data.shape == expected
    assert built.grid.spacing_mm == (2.0, 2.0, 2.0)
    assert built.data.min() >= 0.0
    assert built.data.max() <= 255.0


def test_the_orientation_phantom_counts_its_axes():
    data = phantom("orientation").data
    assert (data[0, 0, 0], data[-1, -1, -1]) == (0.0, 141.0)


@pytest.mark.parametrize("name", [n for n in PHASE1_TESTS if n not in ("9.b.2", "10.b.2")])
def test_phase_1_gives_a_finite_map_that_is_not_flat(name):
    test = PHASE1[name]
    found = response(phantom(test.image), test.settings).data
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0.0


def test_known_values_of_maps_of_the_impulse():
    # Worked by hand: 255 times the middle of each kernel.
    def middle(name):
        return response(phantom("impulse"), PHASE1[name].settings).data[32, 32, 32]

    assert middle("1.b.1") == pytest.approx(255.0 / 225.0)
    sigma = 1.5
    peak = -3.0 / sigma**2 / (2 * np.pi * sigma**2) ** 1.5
    assert middle("2.a") == pytest.approx(255.0 * peak, rel=1e-5)
    assert middle("3.a.1") == pytest.approx(0.0, abs=1e-12)
    assert middle("4.a.1") == pytest.approx(255.0)


def statistics(values):
    """The 18 intensity statistics of the IBSI, in the order of FEATURES."""
    mean, variance = values.mean(), values.var()
    deviation = np.sqrt(variance)
    p10, p25, median, p75, p90 = np.percentile(values, [10, 25, 50, 75, 90])
    robust = values[(values >= p10) & (values <= p90)]
    return {
        "kurt": ((values - mean) ** 4).mean() / variance**2 - 3.0,
        "p10": p10,
        "p90": p90,
        "cov": deviation / mean,
        "energy": (values**2).sum(),
        "iqr": p75 - p25,
        "max": values.max(),
        "mean": mean,
        "mad": abs(values - mean).mean(),
        "median": median,
        "medad": abs(values - median).mean(),
        "min": values.min(),
        "qcod": (p75 - p25) / (p75 + p25),
        "range": np.ptp(values),
        "rmad": abs(robust - robust.mean()).mean(),
        "rms": np.sqrt((values**2).mean()),
        "skew": ((values - mean) ** 3).mean() / deviation**3,
        "var": variance,
    }


@pytest.fixture(scope="module")
def chest(medpipe_data):
    """The chest CT of phase 2 and its region, re-segmented to -1000 to 400 HU."""
    folder = medpipe_data / "ibsi/ct_phantom"
    image = read_volume(folder / "image/phantom.nii.gz")
    mask = read_mask(folder / "mask/mask.nii.gz")
    image = Volume(np.round(image.data.astype(np.float64)), image.grid)
    return image, (mask.data != 0) & (image.data >= -1000) & (image.data <= 400)


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in REFERENCE if name.endswith(".A")])
def test_phase_2_configuration_a_meets_all_18_published_values(chest, name):
    image, inside = chest
    settings = PHASE2[name].settings
    found = image.data if settings is None else response(image, settings).data
    measured = statistics(found[inside])
    for feature, published in zip(FEATURES, REFERENCE[name], strict=True):
        value, tolerance = published
        assert measured[feature] == pytest.approx(value, abs=tolerance), feature

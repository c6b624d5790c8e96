"""PyRadiomics' published baseline values, on the images that it publishes with them."""

import ast
import csv

import numpy as np
import pytest

from pipeline.io import read_labels, read_volume
from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES
from pipeline.radiomics.measure import measure
from pipeline.radiomics.parameters import profile_from_parameters
from pipeline.radiomics.regions import regions_of

CLASSES = ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")
CASES = ("brain1", "brain2", "breast1")
COLUMNS = {(f.feature_class, f.pyradiomics): f.column for f in (*FEATURES, *OPTIONAL_FEATURES)}

pytestmark = pytest.mark.data


def baselines(folder, feature_class):
    """(name of the configuration, case, settings, values by feature) of the images we have."""
    with (folder / f"pyradiomics/baseline/baseline_{feature_class}.csv").open() as stream:
        header, *rows = csv.reader(stream)
    table = {row[0]: row[1:] for row in rows}
    prefix = f"original_{feature_class}_"
    found = []
    for place, name in enumerate(header[1:]):
        case = table["diagnostics_Configuration_TestCase"][place]
        if case in CASES:
            settings = ast.literal_eval(table["diagnostics_Configuration_Settings"][place])
            values = {
                key.removeprefix(prefix): float(cells[place])
                for key, cells in table.items()
                if key.startswith(prefix)
            }
            found.append((name, case, settings, values))
    return found


@pytest.fixture(scope="module")
def measured(medpipe_data):
    """Every class of a case under some settings; each combination is measured once."""
    folder = medpipe_data / "pyradiomics"
    images, rows = {}, {}

    def run(case, settings):
        key = case, repr(settings)
        if key not in rows:
            if case not in images:
                images[case] = (
                    read_volume(folder / f"{case}_image.nrrd"),
                    read_labels(folder / f"{case}_label.nrrd"),
                )
            document = {"setting": settings, "featureClass": dict.fromkeys(CLASSES)}
            profile, label = profile_from_parameters(document, where=case)
            image, labels = images[case]
            regions = regions_of(labels, image.grid, {"roi": label})
            (rows[key],) = measure(image, regions, profile)
        return rows[key].values

    return run


@pytest.mark.parametrize("feature_class", CLASSES)
def test_every_feature_has_a_baseline_and_no_baseline_is_without_a_feature(
    medpipe_data, feature_class
):
    ours = {f.pyradiomics for f in (*FEATURES, *OPTIONAL_FEATURES)
            if f.feature_class == feature_class}  # fmt: skip
    found = baselines(medpipe_data, feature_class)
    assert len(found) >= 4 * len(CASES)
    for name, _case, _settings, values in found:
        assert set(values) == ours, name


@pytest.mark.parametrize("feature_class", CLASSES)
def test_published_values_are_reproduced(medpipe_data, measured, feature_class):
    for name, case, settings, expected in baselines(medpipe_data, feature_class):
        found = measured(case, settings)
        for feature, value in expected.items():
            one = found[COLUMNS[feature_class, feature]]
            assert one == pytest.approx(value, rel=1e-9, abs=1e-12), (name, feature)
        assert np.isfinite(list(expected.values())).all()

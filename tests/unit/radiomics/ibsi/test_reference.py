"""Every reference value that IBSI states, within its own tolerance, and none left out."""

from pathlib import Path

import pytest

from pipeline.io import read_mask, read_volume
from pipeline.radiomics.ibsi.agreement import by_family, parse_reference, verdict
from pipeline.radiomics.ibsi.measure import measure
from pipeline.radiomics.ibsi.registry import diagnostics, features
from pipeline.radiomics.ibsi.settings import CONFIGURATIONS, DIGITAL_PHANTOM

#: How many values each file states, and how many tags it has without one.
STATED = {"digital": (482, 5), "A": (406, 5), "C": (270, 5)}


def case(folder: Path, name: str):
    """Return references, values and settings; skips a configuration without its file."""
    if name == "digital":
        phantom, file, settings = "digital_phantom", "ibsi_1_dig_phantom.csv", DIGITAL_PHANTOM
    else:
        phantom, settings = "ct_phantom", CONFIGURATIONS[name]
        file = f"ibsi_1_chest_config_{name.lower()}.csv"
    path = folder / "ibsi/reference" / file
    if not path.is_file():
        pytest.skip(f"no {file} here")
    image = read_volume(folder / "ibsi" / phantom / "image/phantom.nii.gz")
    mask = read_mask(folder / "ibsi" / phantom / "mask/mask.nii.gz")
    return parse_reference(path.read_text()), measure(image, mask, settings), settings


@pytest.mark.data
@pytest.mark.parametrize("name", ["digital", *CONFIGURATIONS])
def test_every_reference_value_is_matched_and_no_feature_is_left_out(name, medpipe_data):
    references, found, settings = case(medpipe_data, name)
    verdicts = {reference.tag: verdict(reference, found.values) for reference in references}
    off = {tag: found.values.get(tag) for tag, is_ in verdicts.items() if is_ in ("off", "missing")}
    assert off == {}
    ours = {feature.tag for feature in features(settings.dimensions)}
    preparation = {feature.tag for feature in diagnostics()}
    assert set(verdicts) - preparation == ours
    assert set(verdicts) & preparation == (set() if name == "digital" else preparation)
    assert found.status == "ok"


@pytest.mark.data
@pytest.mark.parametrize("name", STATED)
def test_the_table_by_family_counts_each_value(name, medpipe_data):
    references, found, _ = case(medpipe_data, name)
    rows = by_family(references, found.values)
    stated, without = STATED[name]
    assert sum(row.stated for row in rows) == sum(row.matched for row in rows) == stated
    assert sum(row.without_value for row in rows) == without
    assert all(row.off == row.missing == () for row in rows)

"""The register names every feature of the manual once."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from pipeline.radiomics.ibsi.registry import FAMILIES, diagnostics, features, tags

COUNTS = {
    "morph": 29, "loc": 2, "stat": 18, "ih": 23, "ivh": 7, "cm": 25, "rlm": 16, "szm": 16,
    "dzm": 16, "ngt": 5, "ngl": 17,
}  # fmt: skip


def test_each_family_has_the_features_of_the_manual():
    assert {prefix: len(family.rows) for prefix, family in FAMILIES.items()} == COUNTS
    assert len(features()) == 79 + 6 * (25 + 16) + 3 * (16 + 16 + 5 + 17)
    assert len(features(("3D",))) == 79 + 2 * (25 + 16) + 16 + 16 + 5 + 17
    assert len(diagnostics()) == 60


def test_tags_are_unique_and_codes_belong_to_one_feature():
    assert len(tags()) == len(set(tags()))
    codes = Counter((f.code, f.aggregation_code) for f in features())
    shared = {code for (code, _), n in codes.items() if n > 1}
    assert shared == {"BC2M", "GBPN"}  # a volume or intensity fraction, for two percentages


@pytest.mark.parametrize("feature", features(), ids=lambda f: f.tag)
def test_every_feature_is_described(feature):
    for code in (feature.code, feature.family_code):
        assert re.fullmatch(r"[0-9A-Z]{4}", code)
    assert re.fullmatch(r"([0-9A-Z]{4})?", feature.aggregation_code)
    assert bool(feature.aggregation_code) == bool(feature.aggregation)
    assert feature.unit
    assert len(feature.name) > 3
    assert len(feature.definition) > 3
    assert "\t" not in feature.definition


def test_known_tags_have_their_codes():
    by_tag = {f.tag: f for f in features()}
    assert by_tag["morph_vol_dens_mvee"].code == "SWZ1"
    assert by_tag["cm_clust_prom_2_5D_comb"].aggregation_code == "ZW7Z"
    assert by_tag["dzm_zd_entr_2D"].code == "GBDU"
    assert by_tag["ngl_dc_energy_3D"].name == "dependence count energy"
    assert by_tag["rlm_srhge_3D_avg"].name == "short run high grey level emphasis"
    assert by_tag["rlm_srhge_3D_avg"].code == "GD3A"
    assert by_tag["ngl_lgce_2D"].name == "low grey level count emphasis"


def test_reading_the_register_loads_nothing_heavy():
    code = (
        "import sys, pipeline.radiomics.ibsi.registry;"
        "print(sorted({'numpy', 'pandas', 'SimpleITK', 'scipy', 'radiomics'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""A value matches its reference within the tolerance, never beyond."""

import pytest

from pipeline.radiomics.ibsi.agreement import by_family, family_of, parse_reference, verdict

TEXT = """reference value;tolerance;tag
0.519;0;cm_joint_max_2D_avg
2.15;0;stat_mean
114596;1000;int_mask_vox_count_reseg_roi
-0.355;0;stat_kurt
4;0;stat_p90
0.963;0.002;morph_av
;;ivh_auc
6.98E-05;1.03E-05;ivh_v90
"""


@pytest.fixture
def references():
    return {reference.tag: reference for reference in parse_reference(TEXT)}


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        ("cm_joint_max_2D_avg", 0.51949, "match"),  # 0.519 at three digits
        ("cm_joint_max_2D_avg", 0.5196, "off"),
        ("stat_mean", 2.1451, "match"),
        ("stat_mean", 2.144, "off"),
        ("int_mask_vox_count_reseg_roi", 113596.0, "match"),
        ("int_mask_vox_count_reseg_roi", 113595.0, "off"),  # stated in six digits
        ("stat_kurt", -0.35462, "match"),
        ("stat_p90", 4.004, "match"),
        ("stat_p90", 4.006, "off"),
        ("morph_av", 0.965, "match"),
        ("morph_av", 0.9656, "off"),
        ("ivh_v90", 8.01e-5, "match"),
        ("ivh_v90", 8.02e-5, "off"),
        ("stat_mean", float("nan"), "off"),
        ("ivh_auc", 0.3, "no_reference"),
    ],
)
def test_verdict(references, tag, value, expected):
    assert verdict(references[tag], {tag: value}) == expected


def test_what_is_not_computed_is_missing_even_without_a_reference(references):
    assert verdict(references["ivh_auc"], {}) == "missing"
    assert verdict(references["stat_mean"], {}) == "missing"


def test_families_are_counted_and_what_is_off_is_named(references):
    values = {"stat_mean": 2.15, "stat_kurt": 2.645, "ivh_auc": 0.1}
    rows = {row.family: row for row in by_family(references.values(), values)}
    assert list(rows) == [
        "preparation", "morphology", "intensity statistics", "intensity-volume histogram",
        "grey level co-occurrence",
    ]  # fmt: skip
    statistics = rows["intensity statistics"]
    assert (statistics.stated, statistics.matched) == (3, 1)
    assert (statistics.off, statistics.missing) == (("stat_kurt",), ("stat_p90",))
    assert rows["intensity-volume histogram"].without_value == 1


def test_family_of_a_tag():
    assert family_of("morph_mask_vox_count_reseg_roi") == "preparation"
    assert family_of("ngl_dc_energy_2_5D") == "neighbouring grey level dependence"

"""Change for a table of sessions: worked by hand; what has none keeps its row and says why."""

import math

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import CohortError, SettingsError
from pipeline.radiomics.delta_table import DeltaSettings, delta_table
from pipeline.radiomics.feature_columns import feature_columns

FEATURES = ["shape_MeshVolume_mm3", "wavelet-LLH_glcm_Contrast"]


def table(*rows, extra=()):
    return pd.DataFrame(rows, columns=["subject", "session", *extra, *FEATURES])


@pytest.fixture
def two_visits():
    return table(
        ("a", "pre", 100.0, 4.0), ("a", "post", 60.0, 5.0),
        ("b", "post", 50.0, 2.0), ("b", "pre", 200.0, 1.0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "a", "b"),
    [
        ({}, [0.4, -0.25], [0.75, -1.0]),
        ({"mode": "percent"}, [40.0, -25.0], [75.0, -100.0]),
        ({"mode": "percent", "sign": "increase"}, [-40.0, 25.0], [-75.0, 100.0]),
        ({"mode": "absolute"}, [40.0, -1.0], [150.0, -1.0]),
        ({"mode": "absolute", "sign": "increase"}, [-40.0, 1.0], [-150.0, 1.0]),
        (
            {"mode": "log_ratio"},
            [math.log(100 / 60), math.log(4 / 5)],
            [math.log(4.0), math.log(0.5)],
        ),
    ],
)
def test_both_visits_by_hand(two_visits, settings, a, b):
    found = delta_table(
        two_visits, first="pre", others=["post"], settings=DeltaSettings(**settings)
    )
    assert list(found.columns) == [
        "subject", "session_from", "session_to", "status", "reason", *FEATURES,
    ]  # fmt: skip
    assert found["subject"].tolist() == ["a", "b"]
    assert found["session_to"].tolist() == ["post", "post"]
    np.testing.assert_allclose(found[FEATURES], [a, b], rtol=1e-12)
    assert found["status"].tolist() == ["ok", "ok"]
    assert found["reason"].tolist() == ["", ""]


def test_no_change_is_a_plain_zero_with_either_sign():
    same = table(("a", "1", 3.0, 3.0), ("a", "2", 3.0, 3.0))
    for sign in ("decrease", "increase"):
        found = delta_table(same, first="1", settings=DeltaSettings(sign=sign))
        assert not np.signbit(found[FEATURES].to_numpy()).any()


def test_each_session_against_the_first_by_the_time():
    frame = table(
        ("a", "late", 60, 40.0, 1.0), ("a", "early", 0, 100.0, 1.0), ("a", "middle", 30, 70.0, 1.0),
        extra=["scan_days"],
    )  # fmt: skip
    found = delta_table(frame, settings=DeltaSettings(time="scan_days"))
    assert found["session_from"].tolist() == ["early", "early"]
    assert found["session_to"].tolist() == ["late", "middle"]
    assert found["days"].tolist() == [60, 30]
    np.testing.assert_allclose(found[FEATURES[0]], [0.6, 0.3])
    rate = delta_table(frame, settings=DeltaSettings("percent", "increase", "scan_days", "day"))
    np.testing.assert_allclose(rate[FEATURES[0]], [-1.0, -1.0])
    month = delta_table(frame, settings=DeltaSettings("percent", "increase", "scan_days", "month"))
    np.testing.assert_allclose(month[FEATURES[0]], [-30.4375, -30.4375])


def test_dates_and_other_units_of_time():
    frame = table(
        ("a", "1", "2024-02-01", 8.0, 1.0), ("a", "2", "2024-03-01", 4.0, 1.0),
        ("b", "1", "2024-02-01", 8.0, 1.0), ("b", "2", "unknown", 4.0, 1.0), extra=["date"],
    )  # fmt: skip
    found = delta_table(frame, first="1", settings=DeltaSettings(time="date", per="day"))
    assert found["days"].iloc[0] == 29  # a leap year
    assert found[FEATURES[0]].iloc[0] == pytest.approx(0.5 / 29)
    assert found["status"].tolist() == ["ok", "failed"]
    assert "days between the sessions: unknown" in found["reason"].iloc[1]
    assert found[FEATURES].iloc[1].isna().all()
    # without --from nobody knows which of b's sessions came first
    found = delta_table(frame, settings=DeltaSettings(time="date"))
    assert found["status"].tolist() == ["ok", "failed"]
    assert "which session is first" in found["reason"].iloc[1]
    months = frame.assign(date=[0, 2, 0, 2]).rename(columns={"date": "scan_months"})
    found = delta_table(months, first="1", settings=DeltaSettings(time="scan_months", per="month"))
    np.testing.assert_allclose(found[FEATURES[0]], [0.25, 0.25])


def test_what_cannot_be_computed_keeps_its_row_and_says_why():
    frame = table(
        ("a", "pre", "ok", "", 100.0, 0.0), ("a", "post", "ok", "", 50.0, 1.0),
        ("b", "pre", "ok", "", 100.0, 1.0),
        ("c", "post", "ok", "", 100.0, 1.0),
        ("d", "pre", "ok", "", 100.0, 1.0),
        ("d", "post", "empty_roi", "the mask holds no voxel", 0.0, np.nan),
        ("e", "pre", "failed", "no such file", np.nan, np.nan), ("e", "post", "ok", "", 1.0, 1.0),
        extra=["status", "reason"],
    )  # fmt: skip
    found = delta_table(frame, first="pre").set_index("subject")
    assert list(found.index) == list("abcde")
    assert found["status"].tolist() == ["incomplete", "failed", "failed", "incomplete", "failed"]
    assert "1 features without such a change" in found.at["a", "reason"]
    assert FEATURES[1] in found.at["a", "reason"]
    assert found.at["a", FEATURES[0]] == 0.5
    assert math.isnan(found.at["a", FEATURES[1]])
    assert found.at["b", "reason"] == "no session other than the first"
    assert found.at["c", "reason"] == "no session pre"
    assert found.at["d", FEATURES[0]] == 1.0
    assert found.at["d", "reason"].startswith(
        "post: empty_roi: the mask holds no voxel; 1 features"
    )
    assert found.at["e", "reason"].startswith("pre: failed: no such file; 2 features missing")
    wanted = delta_table(frame, first="pre", others=["post"]).set_index("subject")
    assert wanted.at["b", "reason"] == "no session post"


def test_regions_are_kept_apart_and_the_order_of_rows_does_not_matter():
    frame = table(
        ("a", "pre", "tumour", 10.0, 1.0), ("a", "pre", "node", 8.0, 1.0),
        ("a", "post", "node", 2.0, 1.0), ("a", "post", "tumour", 5.0, 1.0), extra=["label"],
    )  # fmt: skip
    found = delta_table(frame, first="pre")
    assert dict(zip(found["label"], found[FEATURES[0]], strict=True)) == {
        "tumour": 0.5,
        "node": 0.75,
    }
    turned = delta_table(frame.iloc[::-1], first="pre")
    pd.testing.assert_frame_equal(
        found.sort_values("label", ignore_index=True),
        turned.sort_values("label", ignore_index=True),
    )
    with pytest.raises(CohortError, match=r"subject a, session pre: there are several rows"):
        delta_table(frame.drop(columns="label"), first="pre")


def test_a_name_counts_more_than_the_number_of_a_label():
    frame = table(
        ("a", "1", "tumour", 1, 4.0, 1.0), ("a", "2", "tumour", 7, 1.0, 1.0),
        extra=["label", "label_number"],
    )  # fmt: skip
    assert delta_table(frame, first="1")[FEATURES[0]].tolist() == [0.75]
    unnamed = delta_table(frame.assign(label=""), first="1")
    assert unnamed["reason"].tolist() == ["no session other than the first", "no session 1"]


def test_empty_keys_are_one_region():
    frame = table(("a", "1", np.nan, 4.0, 1.0), ("a", "2", np.nan, 1.0, 1.0), extra=["contrast"])
    found = delta_table(frame, first="1")
    assert found[FEATURES[0]].tolist() == [0.75]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": "before"}, "no row is of session 'before'; there are pre, post"),
        ({"first": "pre", "others": ["pre"]}, "against itself"),
        ({"first": "pre", "others": ["x"]}, "'x'"),
        ({}, "which session is first"),
        ({"first": "pre", "settings": DeltaSettings(per="day")}, "column with the times"),
        ({"first": "pre", "settings": DeltaSettings(time="when")}, "no column 'when'"),
        ({"first": "pre", "settings": DeltaSettings(time="subject")}, "holds no date"),
    ],
)
def test_settings_without_sense_are_refused(two_visits, options, message):
    with pytest.raises(SettingsError, match=message):
        delta_table(two_visits, **options)


def test_tables_that_hold_no_numbers_are_refused(two_visits):
    with pytest.raises(SettingsError, match="long table"):
        delta_table(two_visits[["subject", "session"]], first="pre")
    broken = two_visits.astype({FEATURES[1]: object})
    broken.loc[2, FEATURES[1]] = "n.d."
    with pytest.raises(CohortError, match=r"subject b, session post: 'n.d.' is no number"):
        delta_table(broken, first="pre")


def test_features_are_told_from_what_else_a_table_holds():
    names = [
        "subject", "label", "voxels", "volume_mm3", "bin_width", "shape_Elongation",
        "log-sigma-2-0-mm-3D_glcm_Idn", "original_firstorder_Mean", "deltarad.gldm_X", "my_shape",
        "ivh_V10", "time_days", "class", "glcm",
    ]  # fmt: skip
    found = {f.column: (f.image, f.feature_class) for f in feature_columns(names)}
    assert found == {
        "shape_Elongation": ("original", "shape"),
        "log-sigma-2-0-mm-3D_glcm_Idn": ("log-sigma-2-0-mm-3D", "glcm"),
        "original_firstorder_Mean": ("original", "firstorder"),
        "deltarad.gldm_X": ("deltarad", "gldm"),
        "ivh_V10": ("original", "ivh"),
    }

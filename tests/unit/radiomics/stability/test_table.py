"""From tables of repeated measurements to verdicts, and the picture of them."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import CohortError, SettingsError
from pipeline.radiomics.stability.icc import icc
from pipeline.radiomics.stability.repeats import collect_repeats
from pipeline.radiomics.stability.table import stability_table
from pipeline.report.stability_figure import stability_figure


def _wide(n: int = 10, k: int = 3, seed: int = 1) -> pd.DataFrame:
    """Return a shuffled table: one steady feature, one noisy, one constant; ids that look odd."""
    rng = np.random.default_rng(seed)
    steady = rng.normal(50, 10, n)
    rows = [
        {
            "subject": f"{subject:03d}",
            "perturbation": repeat + 1,
            "voxels": 100 + repeat,
            "shape_Sphericity": steady[subject] + rng.normal(0, 1),
            "glcm_Idm": rng.normal(),
            "wavelet-LLH_glcm_Idn": 4.0,
        }
        for subject in range(n)
        for repeat in range(k)
    ]
    return pd.DataFrame(rows).sample(frac=1.0, random_state=3).reset_index(drop=True)


def test_a_wide_table_becomes_subjects_by_repeats_by_features():
    table = _wide()
    (found,) = collect_repeats(table, "perturbation")
    assert found.subjects == tuple(f"{n:03d}" for n in range(10))
    assert found.repeats == ("1", "2", "3")
    assert found.features == ("shape_Sphericity", "glcm_Idm", "wavelet-LLH_glcm_Idn")
    for row in table.itertuples():
        place = int(row.subject), row.perturbation - 1
        assert found.values[place][0] == row.shape_Sphericity


def test_a_long_table_is_the_same():
    wide = _wide().drop(columns="voxels")
    long = wide.melt(["subject", "perturbation"], var_name="feature", value_name="value")
    (first,), (second,) = (
        collect_repeats(wide, "perturbation"),
        collect_repeats(long, "perturbation"),
    )
    assert first.features == second.features
    np.testing.assert_array_equal(first.values, second.values)


def test_repeats_are_ordered_as_numbers():
    table = _wide(n=3, k=12)
    (found,) = collect_repeats(table, "perturbation")
    assert found.repeats == tuple(str(n) for n in range(1, 13))


def test_conditions_are_kept_apart_and_regions_are_rows():
    table = pd.concat(
        [_wide().assign(session=s, label=label) for s in ("a", "b") for label in ("1", "2")]
    )
    found = collect_repeats(table, "perturbation")
    assert [group.condition for group in found] == [(("session", "a"),), (("session", "b"),)]
    assert found[0].values.shape == (20, 3, 3)
    assert found[0].subjects[:2] == ("000", "000")


def test_the_session_may_be_the_repeat():
    table = pd.concat([_wide(seed=s).query("perturbation == 1").assign(session=f"scan{s}")
                       for s in (1, 2)])  # fmt: skip
    (found,) = collect_repeats(table.drop(columns="perturbation"), "session")
    assert found.repeats == ("scan1", "scan2")
    assert found.condition == ()


def test_a_missing_measurement_is_nan():
    table = _wide()
    table = table[~((table["subject"] == "004") & (table["perturbation"] == 2))]
    (found,) = collect_repeats(table, "perturbation")
    assert np.isnan(found.values[4, 1]).all()
    assert np.isnan(found.values).sum() == 3
    row = stability_table(found).iloc[0]
    assert (row["subjects"], row["left_out"]) == (9, 1)


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        (lambda t: t, "rater", "column rater is missing"),
        (lambda t: pd.concat([t, t.head(1)]), "perturbation", "two rows with perturbation"),
        (lambda t: t.query("perturbation == 1"), "perturbation", "holds only '1'"),
        (
            lambda t: t.assign(glcm_Idm=t["glcm_Idm"].astype(object).where(t.index > 0, "low")),
            "perturbation",
            "'low' is text where a number",
        ),
        (lambda t: t[["subject", "perturbation"]], "perturbation", "no column of features"),
    ],
)
def test_tables_that_cannot_be_read(change, column, message):
    with pytest.raises(CohortError, match=message):
        collect_repeats(change(_wide()), column)


def test_verdicts_and_their_reasons():
    (repeats,) = collect_repeats(_wide(n=30), "perturbation")
    table = stability_table(repeats)
    assert table["verdict"].tolist() == ["high", "unstable", "unknown"]
    assert table["feature_class"].tolist() == ["shape", "glcm", "glcm"]
    assert table["reason"][2] == "constant over all subjects and ratings"
    found = icc(repeats.values)
    np.testing.assert_array_equal(table["icc_low95"], found.low)
    steady = table.iloc[0]
    assert steady["within_sd"] == pytest.approx(1.0, rel=0.2)
    assert steady["within_cv_percent"] == pytest.approx(100 * steady["within_sd"] / steady["mean"])
    assert steady["repeatability"] == pytest.approx(2.772 * steady["within_sd"], rel=1e-3)
    few = stability_table(collect_repeats(_wide(n=3), "perturbation")[0])
    assert few["icc"][0] > 0.75 > few["icc_low95"][0]
    assert few["verdict"][0] == "unstable"
    assert "3 subjects leave" in few["reason"][0]
    with pytest.raises(SettingsError, match="lower one first"):
        stability_table(repeats, thresholds=(0.9, 0.75))


def test_raters_may_differ_by_a_constant():
    table = _wide(n=40)
    table["shape_Sphericity"] += 20 * table["perturbation"]
    (repeats,) = collect_repeats(table, "perturbation")
    verdict = {m: stability_table(repeats, model=m)["verdict"][0] for m in ("1,1", "2,1", "3,1")}
    assert verdict == {"1,1": "unstable", "2,1": "unstable", "3,1": "high"}


@pytest.mark.parametrize("media", ["svg", "png"])
def test_the_picture_is_drawn_and_always_the_same(media):
    (repeats,) = collect_repeats(_wide(n=20), "perturbation")
    table = stability_table(repeats)
    picture = stability_figure(table, note="baseline mr", media=media)
    assert picture == stability_figure(table, note="baseline mr", media=media)
    assert picture.startswith(b"<?xml" if media == "svg" else b"\x89PNG")


def test_a_picture_of_many_features():
    rng = np.random.default_rng(0)
    features = [f"wavelet-{n}_firstorder_Mean" for n in range(60)]
    values = rng.normal(size=(8, 3, 60)) + 3 * rng.normal(size=(8, 1, 60))
    rows = [
        {"subject": f"s{i}", "rater": k, **dict(zip(features, values[i, k], strict=True))}
        for i in range(8)
        for k in range(3)
    ]
    (repeats,) = collect_repeats(pd.DataFrame(rows), "rater")
    assert b"<svg" in stability_figure(stability_table(repeats))

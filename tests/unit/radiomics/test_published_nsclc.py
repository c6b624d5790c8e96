"""Our features against a published table: by hand on small tables, and on real patients."""

import csv
import math

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.published import published as verb
from pipeline.errors import CohortError, ReadError
from pipeline.io import read_mask, read_table, read_volume, write_table
from pipeline.radiomics.extract import extract
from pipeline.radiomics.published import (
    AGREEMENT_COLUMNS,
    COUNTERPARTS,
    compare_subjects,
    compare_with_published,
)

VOLUME, LOW, HIGH = (
    "original_shape_VoxelVolume", "original_firstorder_Minimum", "original_firstorder_Maximum",
)  # fmt: skip
OURS = {
    "shape_VoxelVolume_mm3": [100.0, 200.0, 300.0, 400.0],
    "shape_MeshVolume_mm3": [90.0, 190.0, 290.0, 390.0],
    "shape_SurfaceArea_mm2": [120.0, 200.0, 260.0, 330.0],
    "firstorder_Minimum": [-100.0, -50.0, -75.0, -20.0],
    "firstorder_Maximum": [100.0, 120.0, 80.0, 200.0],
    "firstorder_Variance": [4.0, 9.0, 16.0, 25.0],
    "glcm_Contrast": [1.0, 2.0, 3.0, 4.0],
}


def tables(**changes):
    """Ours, and a published table that repeats it but for `changes` (by published name)."""
    ours = pd.DataFrame(OURS, index=["a", "b", "c", "d"])
    other = pd.DataFrame(
        {
            VOLUME: ours["shape_VoxelVolume_mm3"],
            LOW: ours["firstorder_Minimum"],
            HIGH: ours["firstorder_Maximum"],
            "original_glcm_Contrast": ours["glcm_Contrast"],
        }
    )
    return ours, other.assign(**changes)


def row_of(table, feature):
    return table.set_index("feature").loc[feature]


def test_the_table_says_what_was_compared_and_that_it_agrees():
    table = compare_with_published(*tables())
    assert tuple(table.columns) == AGREEMENT_COLUMNS
    row = row_of(table, "original_glcm_Contrast")
    assert (row["ours"], row["n"], row["n_identical_input"]) == ("glcm_Contrast", 4, 4)
    assert row["spearman"] == row["pearson"] == pytest.approx(1.0)
    assert row["ratio_median"] == row["ratio_low5"] == row["ratio_high95"] == 1.0
    assert (row["agrees"], row["same_definition"]) == ("yes", "yes")
    assert "equal to 0e+00 on the 4 subjects with identical input" in row["why"]


def test_a_factor_keeps_the_correlation_and_is_still_another_definition():
    table = compare_with_published(*tables(original_glcm_Contrast=[2.0, 4.0, 6.0, 8.0]))
    row = row_of(table, "original_glcm_Contrast")
    assert row["spearman"] == pytest.approx(1.0)
    assert row["ratio_median"] == 0.5
    assert row["largest_difference_identical"] == 0.5
    assert (row["agrees"], row["same_definition"]) == ("yes", "no")
    assert row["why"].startswith("another definition")


def test_correlation_and_quantiles_by_hand():
    # Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * 2 / (4 * 15) = 0.8.
    table = compare_with_published(*tables(original_glcm_Contrast=[1.0, 4.0, 2.0, 8.0]))
    row = row_of(table, "original_glcm_Contrast")
    assert row["spearman"] == pytest.approx(0.8)
    assert row["agrees"] == "no"
    # Ratios 1, 0.5, 1.5, 0.5.
    assert row["ratio_median"] == pytest.approx(0.75)
    assert row["ratio_low5"] == pytest.approx(0.5)
    assert row["ratio_high95"] == pytest.approx(1.0 + 0.85 * 0.5)


def test_deprecated_features_are_computed_from_ours():
    volume, area = OURS["shape_MeshVolume_mm3"], OURS["shape_SurfaceArea_mm2"]
    pairs = list(zip(volume, area, strict=True))
    # A ball has Compactness1 1 / (6 pi), Compactness2 1.
    assert COUNTERPARTS["original_shape_Compactness1"].compute(
        np.array([4 / 3 * np.pi]), np.array([4 * np.pi])
    ) == pytest.approx(1 / (6 * np.pi))
    table = compare_with_published(
        *tables(
            original_shape_Compactness1=[v / math.sqrt(math.pi * a**3) for v, a in pairs],
            original_shape_Compactness2=[36 * math.pi * v**2 / a**3 for v, a in pairs],
            original_firstorder_StandardDeviation=[2.0, 3.0, 4.0, 5.0],
        )
    )
    for feature in table["feature"][-3:]:
        assert row_of(table, feature)["same_definition"] == "yes"


def test_without_identical_input_nothing_is_said_about_the_definition():
    changed = {VOLUME: [101.0, 202.0, 303.0, 404.0], "original_glcm_Contrast": [4.0, 3.0, 2.0, 1.0]}
    row = row_of(compare_with_published(*tables(**changed)), "original_glcm_Contrast")
    assert (row["same_definition"], row["n_identical_input"]) == ("", 0)
    assert row["spearman"] == pytest.approx(-1.0)
    assert "no subject with identical input" in row["why"]


def test_a_feature_that_we_do_not_have_and_missing_cells():
    changed = {"original_square_Mean": 1.0, "original_glcm_Contrast": [1.0, np.nan, 3.0, 4.0]}
    table = compare_with_published(*tables(**changed))
    unknown = row_of(table, "original_square_Mean")
    assert (unknown["n"], unknown["why"]) == (0, "no counterpart among our columns")
    assert row_of(table, "original_glcm_Contrast")["n"] == 3


def test_ids_that_do_not_match_are_an_error():
    ours, other = tables()
    with pytest.raises(CohortError, match="share no subject"):
        compare_with_published(ours, other.rename(index=str.upper))
    with pytest.raises(CohortError, match="subject 'a' has two rows"):
        compare_with_published(pd.concat([ours, ours.loc[["a"]]]), other)


def test_the_order_of_rows_changes_nothing():
    ours, other = tables()
    one = compare_with_published(ours, other)
    two = compare_with_published(ours.iloc[::-1], other.iloc[[2, 0, 3, 1]])
    pd.testing.assert_frame_equal(one, two)


def test_each_subject_says_how_its_input_differs():
    ours, other = tables(**{VOLUME: [100.0, 200.0, 400.0, 500.0], HIGH: [100.0, 999.0, 80.0, 200]})
    table = compare_subjects(ours, other, {"d": 7}, {"a": "lung1"}).set_index("subject")
    assert table["input"].to_dict() == {
        "a": "identical", "b": "intensities", "c": "region", "d": "region cut at the border",
    }  # fmt: skip
    assert table["why"].to_dict() == {
        "a": "",
        "b": "same number of voxels, range -50 to 120, published -50 to 999",
        "c": "-25.0 % voxels",
        "d": "-20.0 % voxels, 7 of ours on the border of the image",
    }
    assert table["centre"].to_dict() == {"a": "lung1", "b": "", "c": "", "d": ""}
    assert table.loc["d", "border_voxels"] == 7
    assert math.isnan(table.loc["c", "border_voxels"])


@pytest.fixture
def app():
    import typer

    made = typer.Typer()
    made.command()(verb)
    return made


def test_the_verb_writes_both_tables(tmp_path, app):
    ours, other = tables()
    for name, table, prefix in (("ours", ours, "baseline"), ("theirs", other, "published")):
        named = table.add_prefix(f"{prefix}.").rename_axis("subject").reset_index()
        write_table(tmp_path / f"{name}.tsv", named)
    arguments = [str(tmp_path / "ours.tsv"), str(tmp_path / "theirs.tsv"), "--quiet"]
    sheet = pd.DataFrame({"subject": list("abcd"), "split": "test", "centre": "lung2"})
    write_table(tmp_path / "subjects.tsv", sheet)
    done = CliRunner().invoke(
        app, [*arguments, "--subjects", str(tmp_path / "subjects.tsv")], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "4 subjects, 4 features: 4 with Spearman" in done.output
    assert len(read_table(tmp_path / "published_agreement.tsv")) == 4
    subjects = read_table(tmp_path / "published_subjects.tsv")
    assert list(subjects["input"]) == ["identical"] * 4
    assert list(subjects["centre"]) == ["lung2"] * 4
    with pytest.raises(ReadError, match="begins with 'radiomics"):
        CliRunner().invoke(app, [*arguments, "--feature-set", "radiomics"], catch_exceptions=False)


# --- real patients --------------------------------------------------------------------------


def real_tables(folder, subjects):
    with (folder / "published_radiomics.tsv").open(encoding="utf-8") as stream:
        rows = {row.pop("subject"): row for row in csv.DictReader(stream, delimiter="\t")}
    names = {s: (folder / f"images/{s}.nii.gz", folder / f"masks/{s}.nii.gz") for s in subjects}
    found = {
        s: extract(read_volume(image), read_mask(mask), kind="ct").values
        for s, (image, mask) in names.items()
    }
    published = pd.DataFrame({s: rows[s] for s in subjects}).T.astype(float)
    return pd.DataFrame(found).T.astype(float), published


@pytest.mark.data
def test_all_53_published_features_have_our_definition(medpipe_data):
    """Patients of the second centre, whose published regions are those of the masks."""
    ours, published = real_tables(medpipe_data / "nsclc", ["042", "091", "095", "105"])
    table = compare_with_published(ours, published)
    assert len(table) == 53
    assert (table["n_identical_input"] == 4).all()
    assert (table["same_definition"] == "yes").all()
    assert table["largest_difference_identical"].max() < 1e-12
    assert (table["agrees"] == "yes").all()


@pytest.mark.data
@pytest.mark.slow
def test_where_we_differ_the_region_differs(medpipe_data):
    """Every patient with a scan and a mask."""
    folder = medpipe_data / "nsclc"
    with (folder / "subjects.tsv").open(encoding="utf-8") as stream:
        centre = {r["subject"]: r["centre"] for r in csv.DictReader(stream, delimiter="\t")}
    scanned = sorted(p.name.removesuffix(".nii.gz") for p in (folder / "masks").iterdir())
    drawn = [s for s in scanned if read_mask(folder / f"masks/{s}.nii.gz").data.any()]
    ours, published = real_tables(folder, drawn)
    table = compare_with_published(ours, published)
    assert (table["same_definition"] == "yes").all()
    assert (table["spearman"] > 0.92).all()
    assert (table["agrees"] == "yes").sum() >= 36
    level = table["spearman_same_darkest_level"]
    assert (level > 0.987).all()
    inputs = compare_subjects(ours, published, {}).set_index("subject")["input"]
    identical = inputs[inputs == "identical"].index
    assert {centre[s] for s in identical} == {"lung2"}
    assert len(identical) >= 0.8 * sum(centre[s] == "lung2" for s in drawn)

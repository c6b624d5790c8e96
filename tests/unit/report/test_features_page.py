"""The page of a table of features: failures first, numbers that add up, readable when large."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from cli.features_report import features_report
from pipeline.errors import SettingsError
from pipeline.io import read_table, write_table
from pipeline.radiomics.dictionary import FEATURES, OPTIONAL_FEATURES
from pipeline.report.features_page import features_page
from pipeline.report.features_summary import group_shift, robust_scores, summarise_features
from pipeline.report.page import render_page

COLUMNS = [feature.column for feature in (*FEATURES, *OPTIONAL_FEATURES)]
#: Two or three of each class: enough where pictures are not looked at.
FEW = COLUMNS[::7]
FILTERS = ["wavelet-LLH", "wavelet-LHL", "wavelet-LHH", "wavelet-HLL", "wavelet-HLH",
           "wavelet-HHL", "wavelet-HHH", "wavelet-LLL", "log-sigma-1-0-mm-3D",
           "log-sigma-3-0-mm-3D", "square"]  # fmt: skip
ALL = COLUMNS + [f"{f}_{c}" for f in FILTERS for c in COLUMNS if not c.startswith("shape")]


def table(rows, columns=COLUMNS, seed=0):
    """Return features of rows that share a few causes, in two centres."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(rows, 12))
    values = causes[:, rng.integers(0, 12, len(columns))]
    values = values + 0.2 * rng.normal(size=values.shape)
    frame = pd.DataFrame(values, columns=list(columns))
    ids = {
        "subject": [f"sub<{n:03d}>" for n in range(rows)],
        "session": "baseline",
        "centre": np.where(np.arange(rows) % 3 == 0, "north", "south"),
        "status": "ok",
        "reason": "",
        "warnings": "",
    }
    return pd.concat([pd.DataFrame(ids), frame], axis=1)


def section(page, title):
    return next(s for s in page.sections if s.title.startswith(title))


def test_failures_and_missing_values_stand_first():
    frame = table(12)
    frame["glcm_Idn"] = 2.0
    frame.loc[4, COLUMNS] = np.nan
    frame.loc[4, ["status", "reason"]] = ["failed", "mask.nii.gz lies 1.5 mm off"]
    frame.loc[7, "glcm_MCC"] = np.nan
    frame.loc[9, "warnings"] = "GLCM is symmetrical"
    page = features_page(summarise_features(frame))
    facts = {fact.label: fact.value for fact in page.facts}
    assert facts["rows"] == facts["subjects"] == "12"
    assert facts["rows without any feature"] == "1"
    assert facts["values missing in the others"] == "0.08 %"  # 1 of 11 * 107
    first = page.sections[0]
    assert first.title == "Who failed, and why"
    assert first.lead == "2 of 12 rows failed or lack features."
    statuses, rows, missing = first.tables
    assert [row[:2] for row in statuses.rows] == [["ok", "11"], ["failed", "1"]]
    assert statuses.rows[1][3] == "mask.nii.gz lies 1.5 mm off"
    assert [row[0] for row in rows.rows] == ["sub<004>", "sub<007>"]
    assert rows.rows[0][3] == "mask.nii.gz lies 1.5 mm off"
    assert missing.rows == [["glcm_MCC", "1", "9.1 %"]]
    assert "glcm_Idn" in first.notes[0]
    assert first.notes[1] == "Warning of 1 rows: GLCM is symmetrical"


def test_counts_by_class_and_image_add_up():
    summary = summarise_features(table(8, [*COLUMNS, "square_glcm_Idn", "square_firstorder_Mean"]))
    (counts,) = section(features_page(summary), "Which features").tables
    assert counts.columns[1:] == [
        "shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm", "All",
    ]  # fmt: skip
    assert counts.rows[0] == ["original", "14", "18", "24", "16", "16", "14", "5", "107"]
    assert counts.rows[1] == ["square", "", "1", "1", "", "", "", "", "2"]
    assert counts.rows[2][-1] == "109"


def test_clusters_name_one_feature_for_all():
    rng = np.random.default_rng(4)
    frame = table(30, ["glcm_Contrast", "glcm_Idm", "shape_Flatness"])
    frame["glcm_Idm"] = -np.exp(frame["glcm_Contrast"])
    frame["shape_Flatness"] = rng.normal(size=30)
    part = section(features_page(summarise_features(frame)), "Which features repeat")
    assert "3 features that vary make 2 clusters" in part.lead
    assert part.tables[0].rows == [["glcm_Contrast", "2", "1.000", "glcm_Idm"]]
    assert part.pictures[0].content.startswith(b"\x89PNG")


def test_robust_scores_by_hand():
    # Median 3, distances 2, 1, 0, 1, 97: their median is 1.
    scores = robust_scores(np.array([[1.0], [2.0], [3.0], [4.0], [100.0]]))[:, 0]
    np.testing.assert_allclose(scores, np.array([-2, -1, 0, 1, 97]) / 1.4826)
    # More than half equal: mean distance 10 / 5, times 1.2533.
    scores = robust_scores(np.array([[0.0], [0.0], [0.0], [0.0], [10.0]]))[:, 0]
    np.testing.assert_allclose(scores, [0, 0, 0, 0, 10 / (1.2533 * 2)])
    assert np.isnan(robust_scores(np.array([[2.0, np.nan], [2.0, np.nan]]))).all()


def test_outliers_carry_their_subject():
    frame = table(40)
    frame.loc[17, COLUMNS[20:60]] = 60.0
    frame.loc[3, "glcm_Idn"] = -90.0
    (outliers,) = section(features_page(summarise_features(frame)), "What sticks out").tables
    assert [row[0] for row in outliers.rows] == ["sub<017>", "sub<003>"]
    assert outliers.rows[0][1] == "40"
    assert outliers.rows[1][3:5] == ["glcm_Idn", "-90.0"]
    assert float(outliers.rows[1][6]) < -20


def test_groups_that_differ_are_found():
    frame = table(60, [*FEW, "glrlm_RunEntropy"])
    frame.loc[frame["centre"] == "north", "glrlm_RunEntropy"] += 30.0
    summary = summarise_features(frame)
    assert (summary.group, summary.groups) == ("centre", ("north", "south"))
    feature, medians = group_shift(summary)[0]
    assert summary.names[feature] == "glrlm_RunEntropy"
    assert medians["north"] > medians["south"]
    spread = section(features_page(summary), "How features spread")
    assert spread.tables[0].rows[0][0] == "glrlm_RunEntropy"
    assert len(spread.pictures) == len({name.split("_")[0] for name in FEW})
    alone = summarise_features(frame.drop(columns="centre"))
    assert alone.group == ""
    assert not section(features_page(alone), "How features spread").tables
    many = frame.assign(scanner=[f"s{n % 10}" for n in range(60)])
    notes = section(features_page(summarise_features(many, group="scanner")), "How").notes
    assert notes == ["Drawn: the 6 largest of 10 groups of scanner, 36 of 60 rows."]


def test_rows_of_one_subject_are_told_apart():
    frame = table(4).assign(subject="a", label=["x", "y", "x", "y"], session=["1", "1", "2", "2"])
    assert summarise_features(frame).name_of(3) == "a, 2, y"
    assert summarise_features(table(4)[COLUMNS]).name_of(3) == "row 4"


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_a_table_of_nothing_or_nearly_makes_a_page(rows):
    frame = table(rows, FEW)
    render_page(features_page(summarise_features(frame)))
    frame[FEW] = np.nan
    frame["status"] = "failed"
    page = features_page(summarise_features(frame))
    assert {s.title for s in page.sections} == {"Who failed, and why", "Which features"}
    render_page(page)


def test_tables_without_features_and_unknown_groups_are_refused():
    with pytest.raises(SettingsError, match="0 feature columns"):
        summarise_features(pd.DataFrame({"subject": ["a"], "value": [1.0]}))
    with pytest.raises(SettingsError, match="no column 'ward'"):
        summarise_features(table(5), group="ward")


@pytest.mark.parametrize("rows", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_large_table_makes_a_page_that_opens(rows):
    frame = table(rows, ALL)
    assert len(ALL) == 1130
    frame[ALL] += np.random.default_rng(1).normal(size=(rows, 1130))  # noise: the worst to compress
    frame.loc[5, ALL[:50]] = 1e6
    html = render_page(features_page(summarise_features(frame)))
    assert len(html.encode()) < 3_000_000
    assert "sub&lt;005&gt;" in html
    assert "sub<" not in html


def test_the_verb_writes_a_page_and_the_clusters(tmp_path, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    write_table(tmp_path / "features.tsv", table(20, FEW))
    app = typer.Typer()
    app.command()(features_report)
    page, clusters = tmp_path / "page.html", tmp_path / "clusters.tsv"
    pages = []
    for _ in range(2):
        done = CliRunner().invoke(
            app,
            [str(tmp_path / "features.tsv"), "--out", str(page), "--out-clusters", str(clusters)],
            catch_exceptions=False,
        )
        assert done.exit_code == 0
        pages.append(page.read_bytes())
    assert pages[0] == pages[1]
    found = read_table(clusters)
    assert found["feature"].tolist() == FEW
    assert found.loc[found["representative"] == 1, "cluster"].is_unique
    record = json.loads((tmp_path / "page.html.prov.json").read_text())
    assert record["measured"] == {
        "rows": 20, "features": len(FEW), "clusters": int(found["cluster"].max()),
    }  # fmt: skip

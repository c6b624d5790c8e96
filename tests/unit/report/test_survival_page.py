"""The page of a survival study: what it says, leaves out, and never lets through."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from cli.survival_report import survival
from pipeline.errors import CohortError, ReadError
from pipeline.io import read_table, write_json, write_table, write_text
from pipeline.report.card import Card, Variable
from pipeline.report.flow import draw_flow
from pipeline.report.page import MAX_PAGE_BYTES, Link, render_page
from pipeline.report.survival_page import survival_flow, survival_page
from pipeline.report.survival_results import ARM_TABLES, SurvivalArm, SurvivalResults
from pipeline.report.text import p_value
from tests.unit.report.survival_tables import make_agreement, make_arm_tables

CARD = Card(
    title="A small survival study",
    question="Does it work?",
    citation="Somebody. Journal 2021.",
    doi="10.1/x",
    outcome="event",
    outcome_names=((1.0, "died"), (0.0, "censored")),
    patients=[Variable("age_years", "Age (years)", "continuous")],
    departures=["Another scale."],
    not_reproduced=["The patients."],
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


def make_results(**changes):
    """Return a study of one arm: 180 analysed, 2 excluded, 1 failed."""
    tables, sheet = make_arm_tables()
    more = pd.DataFrame({"subject": ["x1", "x2", "x3"], "split": ["test"] * 3})
    subjects = pd.concat([sheet, more], ignore_index=True)
    columns = ["subject", "stage", "reason_class", "reason"]
    arm = SurvivalArm(
        name="images",
        tables=tables,
        rad_score={"cutoff": 0.11},
        nomogram_svg=SVG,
        nomogram_points=pd.DataFrame({"term": ["age", "age"], "value": [50, 60],
                                      "points": [0.0, 33.333333]}),
        nomogram_page=("survival", "images", "nomogram.html"),
        included=subjects.loc[~subjects["subject"].isin(["x1", "x2"]), ["subject", "split"]],
        exclusions=pd.DataFrame([("x1", "screen", "empty mask", "x1: no voxel"),
                                 ("x2", "screen", "no images", "no ct image")], columns=columns),
        failures=pd.DataFrame([("x3", "radiomics", "too small", "5 voxels")], columns=columns),
        agreement=make_agreement(),
    )  # fmt: skip
    settings = {"seed": 1, "settings": {"folds": 10}, "versions": {"numpy": "1"}}
    results = SurvivalResults("nsclc", CARD, [arm], subjects, "Overall survival", settings,
                              {"simulated": True})  # fmt: skip
    return replace(results, **changes)


def with_tables(results, **tables):
    arm = results.arms[0]
    kept = {name: frame for name, frame in (dict(arm.tables) | tables).items() if frame is not None}
    return replace(results, arms=[replace(arm, tables=kept)])


def without(results, *names):
    """Leave out pictures that a test does not look at, for speed."""
    return with_tables(results, **dict.fromkeys(names))


HEAVY = ("path", "path_summary", "roc", "calibration_groups", "decision")


@pytest.fixture(scope="module")
def results():
    return make_results()


@pytest.fixture(scope="module")
def page(results):
    return survival_page(results)


@pytest.fixture(scope="module")
def html(page):
    return render_page(page)


def section(page, words):
    return next(s for s in page.sections if words in s.title)


def test_page_says_what_it_must(html):
    for words in ("A small survival study", "SIMULATED PATIENTS", "Who was analysed", "Rad-score",
                  "empty mask", "Cut-off between low and high risk", "Survival by risk group",
                  "Schoenfeld", "Open the interactive nomogram", "Corrected", "ICI", "net benefit",
                  "Our features against the published ones", "How to cite", "doi:10.1/x",
                  "The patients.", "Another scale.", "folds", "chi-square (Yates)"):  # fmt: skip
        assert words in html
    assert len(html) < MAX_PAGE_BYTES / 2


def test_sections_follow_the_reading_order(page):
    order = ["Who was analysed", "Patients", "Rad-score", "Cut-off", "Survival by", "What goes",
             "Nomogram", "How well", "Are the predicted", "Would decisions", "Our features",
             "Departures", "What is not", "How to cite", "Settings"]  # fmt: skip
    titles = [s.title for s in page.sections]
    assert len(titles) == len(order)
    assert all(title.startswith(start) for title, start in zip(titles, order, strict=True))
    assert page.sections[-1].collapsed


def test_nothing_from_outside(html):
    visible = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert "http" not in visible.replace("http-equiv", "")
    assert "<script" not in visible


def test_two_renders_are_equal_whatever_the_order_of_subjects(results):
    light = without(results, "path", "path_summary", "selection", "roc", "cox")
    turned = with_tables(light, predictions=light.arms[0].tables["predictions"][::-1])
    turned = replace(turned, subjects=results.subjects[::-1])
    assert render_page(survival_page(turned)) == render_page(survival_page(light))


def test_facts(page, results):
    facts = {fact.label: fact.value for fact in page.facts}
    frame = results.subjects[results.subjects["split"] == "test"]
    assert facts["test subjects"] == f"60, {int(frame['event'].sum())} died"
    assert facts["C-index of Rad-score + clinical, test (95 % CI 0.60 to 0.70)"] == "0.650"
    assert facts["log-rank test of low against high risk, test"] == "p = 0.013"


def test_flow_adds_up(results):
    svg = draw_flow(survival_flow(results, results.arms[0]))
    for words in ("In the sheet: n = 183", "Excluded at screening: n = 2", "empty mask: 1",
                  "Excluded in processing: n = 1", "Analysed: n = 180", "died: 45"):  # fmt: skip
        assert words in svg


def test_subjects_without_a_score_are_told(results):
    frame = results.arms[0].tables["predictions"].copy()
    frame.loc[0, "rad_score"] = np.nan
    flow = survival_flow(*_pair(with_tables(results, predictions=frame)))
    assert flow.failed.reasons == (("no complete values for the models", 1), ("too small", 1))
    assert sum(group.count for group in flow.analysed) == 179


def test_an_arm_without_a_screen_begins_with_the_sheet(results):
    arm = replace(results.arms[0], included=None, exclusions=None, failures=None)
    svg = draw_flow(survival_flow(results, arm))
    assert "Excluded at screening: n = 0" in svg
    assert "Excluded in processing: n = 3" in svg


def test_subjects_that_no_screen_saw_are_told(results):
    more = pd.DataFrame({"subject": ["y1"], "split": ["test"]})
    wider = replace(results, subjects=pd.concat([results.subjects, more], ignore_index=True))
    assert "not screened: no image listed: 1" in draw_flow(survival_flow(*_pair(wider)))


def test_a_screened_stranger_is_named(results):
    fewer = replace(results, subjects=results.subjects[results.subjects["subject"] != "x1"])
    with pytest.raises(CohortError, match="'x1' was screened but is not in the sheet"):
        draw_flow(survival_flow(*_pair(fewer)))


def _pair(results):
    return results, results.arms[0]


def test_patients_keep_their_column_called_test(page):
    table = section(page, "Patients").tables[0]
    assert list(table.columns) == ["", "All", "Development", "Test", "p", "Test", "SMD", "Known"]
    assert table.rows[1] == ["Age (years), mean (SD)", "66.9 (9.1)", "66.7 (9.0)", "67.2 (9.3)",
                             "0.71", "t test", "0.05", "180"]  # fmt: skip
    assert table.rows[2][4] == "< 0.001"
    assert table.sub_rows == frozenset({3, 4, 5})


def test_score_names_features_by_weight(page, results):
    found = section(page, "Rad-score")
    kept = results.arms[0].tables["selection"].query("coefficient != 0")
    assert f"kept {len(kept)} of 24 features" in found.lead
    assert "(lowest deviance)" in found.lead
    sizes = [abs(float(row[1])) for row in found.tables[0].rows]
    assert sizes == sorted(sizes, reverse=True)
    assert found.tables[0].rows[1][1].startswith("-")


def test_no_feature_is_said_plainly(results):
    empty = results.arms[0].tables["selection"].assign(coefficient=0.0)
    bare = without(with_tables(results, selection=empty, cutoff=None), *HEAVY)
    bare = replace(bare, arms=[replace(bare.arms[0], rad_score={})])
    page = survival_page(bare)
    assert "kept no feature" in section(page, "Rad-score").lead
    assert "No cut-off" in section(page, "Cut-off").lead


def test_survival_table_holds_the_log_rank_in_words(page, results):
    found = section(page, "Survival by")
    assert "Low and high risk differ in the test subjects (log-rank p = 0.013)" in found.lead
    assert "hazard ratio, high against low: 3.16 (2.13 to 4.67)" in found.pictures[1].alt
    km = results.arms[0].tables["km"]
    low = km[((km["split"] == "test") & (km["group"] == "low")).to_numpy()]
    assert found.tables[0].rows[2][1:3] == [str(low["at_risk"].max()), str(low["events"].sum())]
    median = low[low["survival"] <= 0.5]["time_months"].iloc[0]
    assert found.tables[0].rows[2][3] == f"{median:.1f}"


def test_groups_that_do_not_differ_are_not_sold(results):
    table = pd.DataFrame([("test", 0.2, 1, 0.65)], columns=["split", "chi2", "df", "p"])
    found = section(survival_page(without(with_tables(results, logrank=table), *HEAVY)), "Survival")
    assert "do not differ clearly in the test subjects (log-rank p = 0.65)" in found.lead


def test_cox_table_formats_p_and_marks_references(page, results):
    rows = section(page, "What goes").tables[0].rows
    frame = results.arms[0].tables["cox"]
    frame = frame[(frame["split"] == "development").to_numpy()]
    assert [row[-1] for row in rows] == [p_value(p) for p in frame["p"]]
    assert rows[0][0] == "Risk group: low"
    assert rows[0][7] == "–"  # noqa: RUF001
    checks = section(page, "What goes").tables[-1]
    assert checks.rows[-1][1] == "all together"
    assert checks.rows[1][1] == "Stage: III"
    assert checks.strong_rows == frozenset({2})


def test_nomogram_links_to_its_page(page):
    cell = section(page, "Nomogram").tables[0].rows[0][0]
    assert isinstance(cell, Link)
    assert cell.href == "survival/images/nomogram.html"


def test_discrimination_shows_apparent_corrected_and_test(page):
    table = section(page, "How well").tables[0]
    rows = list(table.rows)
    assert rows[0][0] == "Harrell's C"
    assert rows[3] == ["Rad-score + clinical", "0.680 (0.63 to 0.73)", "+0.020", "0.660",
                       "0.650 (0.60 to 0.70)"]  # fmt: skip
    assert [row[0] for row in rows if row[1] == ""] == [
        "Harrell's C", "Uno's C up to 36 months", "AUC at 12 months", "AUC at 24 months",
        "AUC at 36 months"]  # fmt: skip


def test_comparisons_on_test_come_first(page):
    first, rest = [t for t in section(page, "How well").tables if t.columns[0] == "Models"]
    assert {row[1] for row in first.rows} == {"Test"}
    assert first.rows[0][3:] == ["+0.090", "0.030 to 0.150", "0.004"]
    assert rest.collapsed
    assert len(first.rows) + len(rest.rows) == 4


def test_calibration_and_decisions_show_the_split_that_counts_first(page):
    alts = [picture.alt for picture in section(page, "Are the").pictures]
    assert alts[0].startswith("Calibration at 12 months, test")
    assert alts[3].startswith("Calibration at 12 months, development")
    assert all("test" in p.alt for p in section(page, "Would").pictures)


def test_agreement_says_why(page):
    found = section(page, "Our features")
    assert found.lead.startswith("12 of 24 features rank the patients")
    assert "6 more are defined alike" in found.lead
    reasons = {row[4] for row in found.tables[0].rows}
    assert reasons == {"agrees", "same definition", "differs", "no counterpart"}


@pytest.mark.parametrize("name", ARM_TABLES)
def test_any_table_may_be_missing(results, name):
    drawn = (*HEAVY, "km", "cox", "selection", "predictions", "cutoff")
    light = without(results, name, *(other for other in drawn if other in HEAVY or name in HEAVY))
    page = survival_page(replace(light, arms=[replace(light.arms[0], agreement=None)]))
    render_page(page)
    wanted = {"selection": "Rad-score", "km": "Survival by", "cox": "What goes",
              "discrimination": "How well", "calibration_groups": "Are the",
              "decision": "Would"}  # fmt: skip
    if name in wanted:
        assert f"{name}.tsv is missing" in section(page, wanted[name]).lead


def test_nothing_but_the_sheet(results):
    page = survival_page(replace(results, arms=[SurvivalArm("a")], settings={}, dataset={}))
    assert page.banner == ""
    assert page.facts == []
    assert "In the sheet" in page.sections[0].pictures[0].content.decode()
    render_page(page)


def test_development_alone_is_judged_on_itself(results):
    arm = results.arms[0]
    tables = {
        name: frame[(frame["split"] == "development").to_numpy()] if "split" in frame else frame
        for name, frame in arm.tables.items()
        if name not in HEAVY
    }
    alone = replace(arm, tables=tables, included=None, exclusions=None)
    page = survival_page(replace(results, arms=[alone]))
    assert any("C-index" in f.label and "development" in f.label for f in page.facts)


def test_two_arms_are_told_apart(results):
    light = without(results, *HEAVY)
    second = replace(light.arms[0], name="our_scans", agreement=None)
    page = survival_page(replace(light, arms=[light.arms[0], second]))
    titles = [s.title for s in page.sections]
    assert "Rad-score (images)" in titles
    assert "Rad-score (our scans)" in titles
    assert titles.index("Rad-score (our scans)") > titles.index("Would decisions get better?"
                                                                " (images)")  # fmt: skip
    assert len({fact.label for fact in page.facts}) == 8


def test_hostile_names_are_harmless(results):
    bad = "<script>alert(1)</script>"
    arm = results.arms[0]
    tables = dict(arm.tables)
    tables["selection"] = tables["selection"].replace("original_glcm_Contrast", bad)
    tables["cox"] = tables["cox"].replace("sex", bad)
    tables["table_one"] = tables["table_one"].replace("male", bad)
    exclusions = arm.exclusions.assign(reason=bad, reason_class=bad)
    hostile = replace(arm, tables=tables, exclusions=exclusions, nomogram_page=("..", bad))
    page = render_page(survival_page(without(replace(results, arms=[hostile]), *HEAVY)))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


# --- the verb -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory, results):
    root = tmp_path_factory.mktemp("work") / "results" / "small"
    light = without(results, *HEAVY).arms[0]
    folder = root / "survival" / "images"
    for name, frame in light.tables.items():
        write_table(folder / f"{name}.tsv", frame)
    write_table(folder / "headline.tsv", pd.DataFrame({"model": ["combined"], "features": [6]}))
    write_text(folder / "comparison.tsv", "\n")  # a table without a row
    write_text(folder / "nomogram.html", "<p>")
    write_text(folder / "nomogram.svg", SVG.decode())
    write_json(folder / "rad_score.json", {"cutoff": 0.11})
    for name in ("included", "exclusions", "failures"):
        write_table(root / "cohort" / f"{name}.tsv", getattr(light, name))
    write_table(root / "cohort" / "published_agreement.tsv", light.agreement)
    write_json(root / "settings.json", results.settings)
    write_table(root.parents[1] / "demo" / "subjects.tsv", results.subjects)
    write_json(root.parents[1] / "demo" / "dataset.json", {"simulated": True})
    return root


def run(*arguments):
    app = typer.Typer()
    app.command()(survival)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def call(study, *more):
    sheet = study.parents[1] / "demo" / "subjects.tsv"
    return run("--study-dir", study, "--subjects", sheet, *more)


def test_verb_writes_the_page_beside_the_arm(study):
    done = call(study, "--arm", "images", "--endpoint", "Overall survival")
    page = study / "survival" / "images" / "report.html"
    assert done.exit_code == 0
    assert done.stdout.strip() == str(page)
    html = page.read_text("utf-8")
    assert "SIMULATED PATIENTS" in html
    assert 'href="nomogram.html"' in html
    assert "Excluded at screening: n = 2" not in html  # inside the picture
    assert "x1: no voxel" in html
    assert page.with_name("report.html.prov.json").is_file()
    before = page.read_bytes()
    call(study, "--arm", "images", "--endpoint", "Overall survival")
    assert page.read_bytes() == before


def test_verb_links_from_where_the_page_lies_and_copies_the_headline(study, tmp_path):
    table = study.parent / "small_survival.tsv"
    call(study, "--out", study / "report.html", "--out-table", table)
    html = (study / "report.html").read_text("utf-8")
    assert 'href="survival/images/nomogram.html"' in html
    assert read_table(table)["features"].tolist() == [6]


def test_cohort_tables_of_other_subjects_are_not_taken(study):
    path = study / "cohort" / "included.tsv"
    before = path.read_bytes()
    write_table(path, read_table(path).iloc[:20])
    call(study)
    path.write_bytes(before)
    html = (study / "survival" / "images" / "report.html").read_text("utf-8")
    assert "x1: no voxel" not in html
    assert "Our features against" not in html


def test_missing_folders_are_named(study, tmp_path):
    with pytest.raises(ReadError, match="fit and evaluate the arm other first"):
        call(study, "--arm", "other")
    with pytest.raises(ReadError, match="run the study first"):
        run("--study-dir", tmp_path, "--subjects", tmp_path / "s.tsv")

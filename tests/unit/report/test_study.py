"""The page of a study: what it says, adds up and leaves out."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.errors import CohortError
from pipeline.report.card import Card
from pipeline.report.page import MAX_PAGE_BYTES, render_page
from pipeline.report.study import study_flow_svg, study_page


@pytest.fixture(scope="module")
def html(page):
    return render_page(page)


@pytest.fixture(scope="module")
def page(study_results):
    return study_page(study_results)


def section(page, words):
    return next(s for s in page.sections if words in s.title)


def test_page_says_what_it_must(html):
    for words in ("A small study", "SIMULATED IMAGES", "Who was analysed", "Fusion + subtype",
                  "Youden on test (optimistic)", "Wilcoxon rank-sum", "chi-square",
                  "premenopausal", "Truth against found", "Boosted trees", "gzip stream ends early",
                  "How to cite", "doi:10.1/x", "The patients.", "numpy"):  # fmt: skip
        assert words in html
    assert len(html) < MAX_PAGE_BYTES / 4


def test_nothing_from_outside(html):
    visible = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert "http" not in visible.replace("http-equiv", "")
    assert "<script" not in visible
    assert not re.search(r"\d\d:\d\d:\d\d", visible)  # no time stamp


def test_two_renders_are_equal(study_results, html):
    assert render_page(study_page(study_results)) == html


def test_row_order_does_not_matter(study_results, html):
    shuffled = replace(
        study_results,
        included=study_results.included[::-1],
        failures=study_results.failures[::-1],
    )
    assert render_page(study_page(shuffled)) == html


def test_facts(page):
    facts = {fact.label: fact.value for fact in page.facts}
    assert facts["subjects analysed"] == "36 of 40"
    assert facts["development subjects"] == "21"
    assert facts["test subjects"] == "15"
    assert facts["mean Jacobians within 5 % of the truth"] == "36 of 40"


def test_headline_table_has_both_thresholds(page, study_results):
    table = section(page, "How well").tables[0]
    assert table.columns.count("Sens.") == 2
    assert [row[0] for row in table.rows] == ["Baseline", "Fusion", "Fusion + subtype"]
    assert table.rows[2][3] == "reference"
    row = study_results.auc.iloc[0]
    assert table.rows[0][1] == f"{row['auc']:.3f}"
    assert table.rows[0][5] == f"{row['sensitivity']:.2f}"
    assert table.rows[0][10] == f"{row['sensitivity_test_youden']:.2f}"


def test_published_values_are_shown_beside_ours(page):
    details = section(page, "How well").tables[1]
    assert details.rows[0][-1] == "0.568 (0.41 to 0.72)"
    assert details.rows[1][-1] != details.rows[0][-1]


def test_simulated_images_are_told_apart_from_patients(study_results):
    notes = section(study_page(study_results), "How well").notes
    assert "simulated" in notes[0]
    real = study_page(replace(study_results, dataset={}))
    assert real.banner == ""
    assert section(real, "How well").notes == []


def test_patient_table_has_rows_of_levels(page):
    table = section(page, "Patients").tables[0]
    heads = [row[0] for row in table.rows]
    assert heads == ["Age (years), mean (min to max)", "Menopause", "post", "premenopausal"]
    assert table.sub_rows == frozenset({2, 3})
    assert "n = 36" in table.columns[1]
    assert table.rows[1][-1].startswith("chi-square")


def test_missing_features_are_named(page):
    notes = section(page, "What differs").notes
    assert notes == ["Not shown: Energy (no column deltarad.firstorder_Energy)."]


def test_complete_responses_are_counted(page):
    notes = section(page, "Who was analysed").notes
    assert notes[0].startswith("Analysed without a region at follow-up (complete response): 1.")


def test_only_pages_that_exist_are_linked(page):
    rows = section(page, "Subjects").tables[0].rows
    assert rows[0][0].href == "sub-001/report.html"
    assert rows[1][0] == "002"
    assert len(rows) == 37


def test_hostile_ids_are_harmless(builders):
    ids = [f"<script>{n}</script>" if n % 2 else f"=cmd({n})" for n in range(40)]
    html = render_page(study_page(builders["study"](ids=ids)))
    assert "<script" not in html
    assert "&lt;script&gt;1&lt;/script&gt;" in html
    assert 'href="sub-%3Dcmd%280%29/report.html"' in html


def test_after_the_screen_alone(study_results):
    early = replace(
        study_results, failures=None, features=None, auc=None, xgboost_auc=None, models={},
        truth=None, settings={}, pages={},
    )  # fmt: skip
    html = render_page(study_page(early))
    assert "the table of AUCs is missing" in html
    assert "Included: n = 37" in study_flow_svg(early)


def test_a_study_without_a_card(study_results):
    bare = replace(study_results, card=Card(title="Study x"))
    titles = [s.title for s in study_page(bare).sections]
    assert "How to cite" not in titles
    render_page(study_page(bare))


def test_counts_that_do_not_add_up_stop_the_page(study_results):
    fewer = replace(study_results, included=study_results.included.iloc[1:])
    with pytest.raises(CohortError):
        study_page(fewer)


def test_a_screened_stranger_is_named(study_results):
    row = pd.DataFrame([("x9", "screen", "a", "b")], columns=study_results.exclusions.columns)
    more = replace(study_results, exclusions=pd.concat([study_results.exclusions, row]))
    with pytest.raises(CohortError, match="'x9' was screened but is not in the sheet"):
        study_page(more)


def test_nobody_excluded(study_results):
    frame = study_results.subjects
    everyone = replace(
        study_results,
        included=frame[["subject", "split"]],
        exclusions=study_results.exclusions.iloc[:0],
        failures=study_results.failures.iloc[:0],
        features=None,
    )
    assert "Nobody" in section(study_page(everyone), "left out").lead

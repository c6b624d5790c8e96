"""The counts add up or it is an error; the drawing says the counts and stays inside its boxes."""

import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from pipeline.errors import CohortError
from pipeline.report.flow import Flow, Group, Left, count_flow, draw_flow, flow_in_words, flow_svg

COLUMNS = ["subject", "stage", "reason_class", "reason"]


def table(rows, columns=COLUMNS):
    return pd.DataFrame(rows, columns=columns)


def included(names, development):
    splits = ["development" if n < development else "test" for n in range(len(names))]
    return pd.DataFrame({"subject": names, "split": splits})


@pytest.fixture
def parts():
    names = [f"{n:03d}" for n in range(10)]
    exclusions = table(
        [
            ("000", "screen", "unreadable file", "truncated"),
            ("000", "screen", "bad geometry", "a second reason of the same subject"),
            ("001", "screen", "unreadable file", "no such file"),
            ("002", "screen", "missing session", "no followup"),
        ]
    )
    kept = included(names[3:], 4)
    failures = table([("003", "baseline", "too_small: 3 voxels")], ["subject", "stage", "reason"])
    analysed = kept[kept["subject"] != "003"].assign(response=[1, 0, 1, 0, 0, 1])
    return exclusions, kept, failures, analysed


def test_counts_and_reasons(parts):
    exclusions, kept, failures, analysed = parts
    flow = count_flow(10, exclusions, kept, failures=failures, analysed=analysed)
    assert flow.screened_out == Left(3, (("unreadable file", 2), ("missing session", 1)))
    assert flow.included == (Group("development", 4), Group("test", 3))
    assert flow.failed == Left(1, (("too small (baseline)", 1),))
    assert flow.analysed == (
        Group("development", 3, (("responders", 2), ("non-responders", 1))),
        Group("test", 3, (("responders", 1), ("non-responders", 2))),
    )
    sentence = "10 in the sheet, 3 excluded at screening, 7 included, 1 excluded in processing, 6"
    assert sentence in flow_in_words(flow)


def test_total_must_be_excluded_plus_included(parts):
    exclusions, kept, *_ = parts
    with pytest.raises(CohortError, match="sheet: 11 subjects, but excluded \\+ included: 10"):
        count_flow(11, exclusions, kept)


def test_reasons_must_sum_to_the_excluded():
    with pytest.raises(CohortError, match="excluded: 3 subjects, but sum of their reasons: 2"):
        Left(3, (("a", 1), ("b", 1)))


def test_included_must_be_failed_plus_analysed():
    groups = (Group("test", 5),)
    with pytest.raises(CohortError, match="included: 5 subjects, but failed \\+ analysed: 4"):
        Flow(5, Left(0, ()), groups, Left(0, ()), (Group("test", 4),))


def test_a_subject_without_fate_is_named(parts):
    exclusions, kept, failures, analysed = parts
    with pytest.raises(CohortError, match="'009' is neither failed nor analysed"):
        count_flow(10, exclusions, kept, failures=failures, analysed=analysed.iloc[:-1])


def test_a_subject_that_is_both_excluded_and_included_is_named(parts):
    exclusions, kept, *_ = parts
    more = pd.concat([kept, included(["001"], 1)])
    with pytest.raises(CohortError, match="'001' is included and excluded at screening"):
        count_flow(10, exclusions, more)


def test_an_analysed_subject_that_was_not_included_is_named(parts):
    exclusions, kept, failures, analysed = parts
    more = pd.concat([analysed, analysed.assign(subject="002").iloc[:1]])
    with pytest.raises(CohortError, match="'002' is analysed but was not included"):
        count_flow(10, exclusions, kept, failures=failures, analysed=more)


def test_a_subject_twice_is_named(parts):
    exclusions, kept, *_ = parts
    with pytest.raises(CohortError, match="'003' has two rows"):
        count_flow(10, exclusions, pd.concat([kept, kept.iloc[:1]]))


def test_a_failed_set_of_an_analysed_subject_is_no_departure(parts):
    exclusions, kept, failures, analysed = parts
    more = pd.concat([failures, failures.assign(subject="005")])
    flow = count_flow(10, exclusions, kept, failures=more, analysed=analysed)
    assert flow.failed.count == 1


def test_screen_only_diagram_ends_in_the_splits(parts):
    exclusions, kept, *_ = parts
    svg = flow_svg(10, exclusions, kept)
    assert "Included: n = 7" in svg
    assert "Development: n = 4" in svg
    assert "Analysed" not in svg


def texts(svg):
    root = ElementTree.fromstring(svg)
    return [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_svg_says_every_count(parts):
    exclusions, kept, failures, analysed = parts
    svg = flow_svg(10, exclusions, kept, failures=failures, analysed=analysed)
    said = " | ".join(texts(svg))
    for words in ("In the sheet: n = 10", "Excluded at screening: n = 3", "unreadable file: 2",
                  "Included: n = 7", "development 4, test 3", "Analysed: n = 6",
                  "too small (baseline): 1", "responders: 2"):  # fmt: skip
        assert words in said


def test_hostile_reasons_are_text():
    rows = [("000", "screen", '<script>alert(1)</script>\x00 & "quotes" \'', "x")]
    svg = flow_svg(1, table(rows), included([], 0))
    assert "<script" not in svg
    assert any("<script>alert(1)" in text for text in texts(svg))


def test_text_stays_inside_its_box():
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    reason = "a reason with many words that says in detail what was wrong with WWW MMM files " * 2
    svg = flow_svg(1, table([("000", "screen", reason, "x")]), included([], 0))
    root = ElementTree.fromstring(svg)
    font = FontProperties(family="DejaVu Sans")
    rects = [{k: float(r.get(k) or 0) for k in ("x", "y", "width", "height")}
             for r in root.iter("{http://www.w3.org/2000/svg}rect")][1:]  # fmt: skip
    checked = 0
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        if text.get("text-anchor") != "start":
            continue
        x, y = float(text.get("x")), float(text.get("y"))
        width = TextPath((0, 0), text.text, size=14, prop=font).get_extents().x1
        box = next(r for r in rects if r["x"] <= x <= r["x"] + r["width"]
                   and r["y"] <= y <= r["y"] + r["height"])  # fmt: skip
        assert x + width <= box["x"] + box["width"]
        checked += 1
    assert checked > 4


def test_same_counts_same_bytes_whatever_the_row_order(parts):
    exclusions, kept, failures, analysed = parts
    first = flow_svg(10, exclusions, kept, failures=failures, analysed=analysed)
    second = flow_svg(10, exclusions, kept[::-1], failures=failures, analysed=analysed[::-1])
    assert first == second


def test_nothing_from_outside_and_no_date(parts):
    svg = flow_svg(10, parts[0], parts[1])
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]


def test_three_splits_fit():
    flow = Flow(9, Left(0, ()), tuple(Group(f"split{n}", 3) for n in range(3)))
    root = ElementTree.fromstring(draw_flow(flow))
    width = float(root.get("width"))
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        left = float(rect.get("x") or 0)
        assert left >= 0
        assert left + float(rect.get("width")) <= width

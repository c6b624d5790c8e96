"""A page is one harmless file: escaped, self-contained, of limited size, the same each time."""

import re
from html.parser import HTMLParser

import pytest

from pipeline.errors import SettingsError
from pipeline.report.page import (
    MAX_PAGE_BYTES,
    Fact,
    Link,
    Page,
    Picture,
    Section,
    Table,
    relative_link,
    render_page,
)

HOSTILE = "<script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})


class Reader(HTMLParser):
    """Collects tags and addresses, and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.open, self.images = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        known = dict(attributes)
        self.addresses += [known[a] for a in ("src", "href", "action", "data") if a in known]
        if tag == "img":
            self.images.append(known)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def full_page(text):
    rows = [[text, "1"], [Link(text, "a/b.html"), "2"]]
    table = Table(text, [text, "n"], rows, note=text, groups=[(text, 2)],
                  sub_rows=frozenset({1}), strong_rows=frozenset({0}))  # fmt: skip
    picture = Picture(SVG, "image/svg+xml", text, text)
    sections = [
        Section(
            text, text, [picture], [table, Table(text, ["a"], [["b"]], collapsed=True)], [text]
        ),
        Section(text, text, collapsed=True),
        *(Section(f"{n}") for n in range(5)),
    ]
    return Page(text, text, text, [Fact(text, text)], sections, Link(text, "../x.html"), text)


def test_hostile_text_is_only_text():
    html = render_page(full_page(HOSTILE))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 15
    assert "script" not in read(html).tags


@pytest.mark.parametrize("text", ['" onload="x()', "' onerror='x()", "{{ 7*7 }}", "=cmd()", "]]>"])
def test_text_never_becomes_markup_or_template(text):
    html = render_page(full_page(text))
    reader = read(html)
    assert all("onload" not in image and "onerror" not in image for image in reader.images)
    assert reader.images[0]["alt"] == text


def test_nothing_is_fetched_and_nothing_runs():
    html = render_page(full_page("text"))
    reader = read(html)
    assert not set(reader.tags) & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for address in reader.addresses:
        assert address.startswith(("data:image/", "#")) or not re.match(r"[a-z]+:|//", address)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html


def test_pictures_and_tables_are_described():
    html = render_page(full_page("words"))
    reader = read(html)
    assert all(image["alt"] for image in reader.images)
    assert html.count("<table") == html.count("<caption")
    assert '<html lang="en">' in html
    assert html.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    "address",
    ["https://x.org", "//x.org/a", "javascript:alert(1)", " JavaScript:x", "data:text/html,x"],
)
def test_links_stay_in_the_report(address):
    with pytest.raises(SettingsError, match="leaves the report"):
        Link("x", address)


def test_link_parts_are_quoted():
    link = relative_link("t", "sub-../../etc", "a b?#<>.html")
    assert link.href == "sub-..%2F..%2Fetc/a%20b%3F%23%3C%3E.html"


def test_a_page_that_is_too_large_is_refused():
    picture = Picture(b"x" * MAX_PAGE_BYTES, "image/png", "alt", "")
    with pytest.raises(SettingsError, match=r"takes \d+ bytes, the limit is 5000000"):
        render_page(Page("large", sections=[Section("s", pictures=[picture])]))


def test_rows_must_fit_the_header():
    with pytest.raises(ValueError, match="row 0 of table 't' has 1 cells for 2 columns"):
        Table("t", ["a", "b"], [["1"]])


def test_alignment():
    assert [Table("t", ["a", "b"], []).is_number(c) for c in (0, 1)] == [False, True]
    assert [Table("t", ["a", "b"], [], align="rl").is_number(c) for c in (0, 1)] == [True, False]


def test_same_page_same_bytes():
    assert render_page(full_page("x")) == render_page(full_page("x"))

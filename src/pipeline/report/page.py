"""A page as plain records, turned into one self-contained HTML file by one template.

Every study builds its page from the same few records; nothing here knows what is shown.
Text is escaped by the template, pictures are embedded, links may only be relative.
"""

import base64
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import jinja2

from pipeline.errors import SettingsError

#: The largest page that mail programs and browsers open without complaint.
MAX_PAGE_BYTES = 5_000_000

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:|^//")


@dataclass(frozen=True)
class Link:
    """A relative link in a table cell; see `relative_link` for how to make one safely."""

    text: str
    href: str

    def __post_init__(self) -> None:
        if _SCHEME.match(self.href.strip()):
            raise SettingsError(
                f"link to {self.href!r} leaves the report; give a path relative to the page"
            )


Cell = str | Link


@dataclass(frozen=True)
class Picture:
    """A figure: its bytes, what it shows in words, and its caption.

    Attributes
    ----------
    content : bytes
        PNG or SVG file.
    media : {"image/png", "image/svg+xml"}
        Kind of `content`.
    alt : str
        What a reader who cannot see the figure has to know.
    caption : str
        Text below the figure.
    width_px : int
        Widest display; narrower screens shrink it.
    """

    content: bytes
    media: Literal["image/png", "image/svg+xml"]
    alt: str
    caption: str
    width_px: int = 1160

    @property
    def uri(self) -> str:
        """The figure as a data address, so that the page needs no other file."""
        return f"data:{self.media};base64,{base64.b64encode(self.content).decode('ascii')}"


@dataclass(frozen=True)
class Table:
    """A table of text cells that are already rounded and carry their units in the header.

    Attributes
    ----------
    caption : str
        What the table shows.
    columns : sequence of str
        Header of each column.
    rows : sequence of rows
        Cells; each row as long as `columns`.
    align : str
        A letter per column, l(eft) or r(ight). Default: numbers right of the first column.
    narrow : bool
        As wide as its text, not as the page.
    groups : sequence of (str, int)
        Header above the header: title and how many columns it spans. Empty for none.
    sub_rows : frozenset of int
        Rows drawn as levels of the row above.
    strong_rows : frozenset of int
        Rows to stress.
    note : str
        Small print below.
    collapsed : bool
        Show the caption only, until it is opened.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    align: str = ""
    narrow: bool = False
    groups: Sequence[tuple[str, int]] = ()
    sub_rows: frozenset[int] = frozenset()
    strong_rows: frozenset[int] = frozenset()
    note: str = ""
    collapsed: bool = False

    def is_number(self, column: int) -> bool:
        """Tell whether a column is aligned right."""
        return self.align[column] == "r" if self.align else column > 0

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} of table {self.caption!r} has {len(row)} cells"
                    f" for {len(self.columns)} columns"
                )


@dataclass(frozen=True)
class Fact:
    """One number that a reader should see before anything else."""

    value: str
    label: str


@dataclass(frozen=True)
class Section:
    """A part of the page: a title, a sentence that says what to see, figures, then tables."""

    title: str
    lead: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    collapsed: bool = False


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes
    ----------
    title, subtitle : str
        Heading of the page.
    banner : str
        A warning on the face of the page; empty for none.
    facts : sequence of Fact
        Strip of headline numbers.
    sections : sequence of Section
        Body, in order.
    back : Link, optional
        Where the page belongs (a subject's page to its study).
    """

    title: str
    subtitle: str = ""
    banner: str = ""
    facts: Sequence[Fact] = ()
    sections: Sequence[Section] = ()
    back: Link | None = None
    footer: str = ""


def relative_link(text: str, *parts: str) -> Link:
    """Return a link to a path below the page; each part is quoted, so any id is harmless."""
    return Link(text, "/".join(quote(part, safe="") for part in parts))


def render_page(page: Page) -> str:
    """Return the HTML of a page: one file, no script, nothing fetched from anywhere.

    Raises
    ------
    SettingsError
        If the page would exceed `MAX_PAGE_BYTES`.
    """
    html = _environment().get_template("page.html.j2").render(page=page)
    size = len(html.encode("utf-8"))
    if size > MAX_PAGE_BYTES:
        raise SettingsError(
            f"page {page.title!r} takes {size} bytes, the limit is {MAX_PAGE_BYTES};"
            " show fewer or smaller figures"
        )
    return html


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

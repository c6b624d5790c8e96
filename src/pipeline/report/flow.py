"""The flow of subjects through a study, counted (and checked), then drawn as an SVG."""

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import pandas as pd

from pipeline.errors import CohortError

_WIDTH = 920
_MARGIN = 20
_SPINE_X, _SPINE_WIDTH = 80, 420
_SIDE_X, _SIDE_WIDTH = 552, 348
_GROUP_WIDTH, _GROUP_GAP = 250, 24
_FONT_PX, _LINE_PX, _PAD_PX = 14, 20, 12
_GAP_PX = 26
#: Width of a mean letter of DejaVu Sans, in ems: wide, so that text never leaves its box.
_LETTER_EM = 0.62


@dataclass(frozen=True)
class Left:
    """Subjects that left at one stage: how many, and why."""

    count: int
    reasons: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        given = sum(number for _, number in self.reasons)
        _check_sum("excluded", self.count, "sum of their reasons", given)


@dataclass(frozen=True)
class Group:
    """Subjects of one split, and how many of them have each outcome."""

    name: str
    count: int
    outcomes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Flow:
    """Counts of one study, from the sheet to the analysis. The counts must add up.

    Attributes
    ----------
    total : int
        Subjects in the sheet.
    screened_out : Left
        Subjects that left at screening.
    included : tuple of Group
        Subjects that passed, by split.
    failed : Left, optional
        Subjects that left in processing; None while processing is not done.
    analysed : tuple of Group, optional
        Subjects that reached the models, by split.
    """

    total: int
    screened_out: Left
    included: tuple[Group, ...]
    failed: Left | None = None
    analysed: tuple[Group, ...] | None = None

    def __post_init__(self) -> None:
        included = _size(self.included)
        _check_sum("sheet", self.total, "excluded + included", self.screened_out.count + included)
        if self.failed is not None and self.analysed is not None:
            analysed = _size(self.analysed)
            _check_sum("included", included, "failed + analysed", self.failed.count + analysed)


def count_flow(
    total: int,
    exclusions: pd.DataFrame,
    included: pd.DataFrame,
    *,
    failures: pd.DataFrame | None = None,
    analysed: pd.DataFrame | None = None,
    outcome: str = "response",
    outcome_names: Sequence[tuple[float, str]] = ((1, "responders"), (0, "non-responders")),
) -> Flow:
    """Count who entered, who left where and why, and who was analysed.

    Parameters
    ----------
    total : int
        Subjects in the sheet.
    exclusions, failures : DataFrame
        Columns ``subject``, ``reason`` and, better, ``reason_class``; a subject with several
        rows counts once, under its first reason. A failure of a subject that was analysed all
        the same (one feature set is missing, say) is no departure.
    included, analysed : DataFrame
        Columns ``subject``, ``split`` and perhaps `outcome`, a row per subject. Without
        `analysed` the diagram ends after screening.
    outcome : str
        Column to count in the last boxes, where the table has it.
    outcome_names : sequence of (value, name)
        Values of `outcome` and what to call them.

    Raises
    ------
    CohortError
        If a subject has two fates or none, or the counts do not add up.
    """
    out = _first_reasons(exclusions)
    kept = _subjects(included, "included")
    _check_fates(kept, {"excluded at screening": out}, apart=True)
    names = outcome_names if analysed is None else ()
    groups = _groups(included, outcome, names)
    if analysed is None:
        return Flow(total, _left(out), groups)
    used = _subjects(analysed, "analysed")
    lost = _first_reasons(failures) if failures is not None else {}
    lost = {subject: reason for subject, reason in lost.items() if subject not in used}
    _check_fates(kept, {"failed": lost, "analysed": used}, apart=False)
    return Flow(total, _left(out), groups, _left(lost), _groups(analysed, outcome, outcome_names))


def flow_svg(
    total: int,
    exclusions: pd.DataFrame,
    included: pd.DataFrame,
    *,
    failures: pd.DataFrame | None = None,
    analysed: pd.DataFrame | None = None,
) -> str:
    """Return the diagram as a standalone SVG; parameters as in `count_flow`."""
    return draw_flow(count_flow(total, exclusions, included, failures=failures, analysed=analysed))


def draw_flow(flow: Flow) -> str:
    """Return the diagram as a standalone SVG; the same counts give the same bytes."""
    shapes: list[str] = []
    y = _spine(shapes, _MARGIN, [f"In the sheet: n = {flow.total}"])
    y = _side(shapes, y, "Excluded at screening", flow.screened_out)
    if flow.failed is None or flow.analysed is None:
        y = _spine(shapes, y, [f"Included: n = {_size(flow.included)}"])
        y = _branches(shapes, y, flow.included)
    else:
        y = _spine(shapes, y, _group_lines("Included", flow.included))
        y = _side(shapes, y, "Excluded in processing", flow.failed)
        y = _spine(shapes, y, [f"Analysed: n = {_size(flow.analysed)}"])
        y = _branches(shapes, y, flow.analysed)
    height = y + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        f' width="{_WIDTH}" height="{height}" role="img"'
        ' font-family="DejaVu Sans, Verdana, Arial, sans-serif"'
        f' font-size="{_FONT_PX}" fill="#1b2733">\n'
        f"<title>{escape(flow_in_words(flow))}</title>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def flow_in_words(flow: Flow) -> str:
    """Return the diagram as one sentence, for readers who cannot see it."""
    words = (
        f"Flow of subjects: {flow.total} in the sheet, {flow.screened_out.count} excluded at"
        f" screening, {_size(flow.included)} included"
    )
    if flow.failed is None or flow.analysed is None:
        return words + "."
    splits = "; ".join(", ".join(_outcome_lines(group)) for group in flow.analysed)
    return (
        f"{words}, {flow.failed.count} excluded in processing,"
        f" {_size(flow.analysed)} analysed ({splits})."
    )


# --- counting -------------------------------------------------------------------------------


def _first_reasons(frame: pd.DataFrame) -> dict[str, str]:
    """Return subject -> class of its first reason.

    Without a class, the reason up to its first colon stands for it, with the stage.
    """
    found: dict[str, str] = {}
    for record in frame.to_dict("records"):
        reason = record.get("reason_class")
        if not isinstance(reason, str) or not reason.strip():
            stage = record.get("stage")
            reason = str(record["reason"]).split(":")[0]
            reason += f" ({stage})" if isinstance(stage, str) and stage else ""
        found.setdefault(str(record["subject"]), reason.strip().replace("_", " "))
    return found


def _left(reasons: dict[str, str]) -> Left:
    counts: dict[str, int] = {}
    for reason in reasons.values():
        counts[reason] = counts.get(reason, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Left(len(reasons), tuple(ordered))


def _groups(
    frame: pd.DataFrame, outcome: str, names: Sequence[tuple[float, str]]
) -> tuple[Group, ...]:
    """Return one group per split, development before test, others by name."""
    order = {"development": 0, "test": 1}
    splits = sorted(frame["split"].astype(str).unique(), key=lambda s: (order.get(s, 2), s))
    groups = []
    for split in splits:
        rows = frame[frame["split"].astype(str) == split]
        counts = tuple(
            (name, int((rows[outcome].astype(float) == value).sum()))
            for value, name in (names if outcome in rows else ())
        )
        groups.append(Group(split, len(rows), counts))
    return tuple(groups)


def _subjects(frame: pd.DataFrame, what: str) -> dict[str, str]:
    subjects = frame["subject"].astype(str).tolist()
    twice = sorted({s for s in subjects if subjects.count(s) > 1})
    if twice:
        raise CohortError(
            [f"{what}: subject {s!r} has two rows; keep one row per subject" for s in twice]
        )
    return dict.fromkeys(subjects, what)


def _check_fates(
    included: Collection[str], fates: Mapping[str, Collection[str]], *, apart: bool
) -> None:
    """Raise unless the fates have no included subject (apart) or each of them exactly once."""
    problems = []
    for subject in sorted(set(included).union(*fates.values())):
        found = [name for name, members in fates.items() if subject in members]
        if apart and found and subject in included:
            problems.append(f"subject {subject!r} is included and {found[0]}; screen again")
        elif not apart and subject not in included:
            problems.append(f"subject {subject!r} is {found[0]} but was not included; screen again")
        elif not apart and len(found) != 1:
            what = " and ".join(found) or "neither failed nor analysed"
            problems.append(f"subject {subject!r} is {what}; run the cohort step again")
    if problems:
        raise CohortError(problems)


def _check_sum(what: str, expected: int, parts: str, found: int) -> None:
    if expected != found:
        raise CohortError([f"{what}: {expected} subjects, but {parts}: {found}"])


def _size(groups: Iterable[Group]) -> int:
    return sum(group.count for group in groups)


# --- drawing --------------------------------------------------------------------------------


def _group_lines(title: str, groups: Sequence[Group]) -> list[str]:
    head = f"{title}: n = {_size(groups)}"
    return [head, ", ".join(f"{group.name} {group.count}" for group in groups)]


def _outcome_lines(group: Group) -> list[str]:
    head = f"{group.name.capitalize()}: n = {group.count}"
    return [head, *(f"{name}: {count}" for name, count in group.outcomes)]


def _spine(shapes: list[str], y: int, lines: Sequence[str]) -> int:
    return _box(shapes, _SPINE_X, y, _SPINE_WIDTH, lines, centred=True, fill="#e8f1f7")


def _side(shapes: list[str], y: int, title: str, left: Left) -> int:
    """Draw the arrow down the spine with a box of those who left; return where it ends."""
    lines = [f"{title}: n = {left.count}"]
    lines += [f"• {reason}: {number}" for reason, number in left.reasons]
    top = y + _GAP_PX
    bottom = _box(shapes, _SIDE_X, top, _SIDE_WIDTH, lines, centred=False, fill="#ffffff")
    x, middle, end = _SPINE_X + _SPINE_WIDTH // 2, (top + bottom) // 2, bottom + _GAP_PX
    _arrow(shapes, (x, y), (x, end))
    _arrow(shapes, (x, middle), (_SIDE_X, middle))
    return end


def _branches(shapes: list[str], y: int, groups: Sequence[Group]) -> int:
    """Draw one box per group below the spine; return where the lowest ends."""
    if not groups:
        return y
    room = _WIDTH - 2 * _MARGIN - _GROUP_GAP * (len(groups) - 1)
    width = min(_GROUP_WIDTH, room // len(groups))
    spread = width * len(groups) + _GROUP_GAP * (len(groups) - 1)
    centre = _SPINE_X + _SPINE_WIDTH // 2
    left = min(max(_MARGIN, centre - spread // 2), _WIDTH - _MARGIN - spread)
    bar, top, lowest = y + _GAP_PX // 2 + 4, y + 2 * _GAP_PX - 6, y
    _line(shapes, (centre, y), (centre, bar))
    middles = [left + n * (width + _GROUP_GAP) + width // 2 for n in range(len(groups))]
    _line(shapes, (min(*middles, centre), bar), (max(*middles, centre), bar))
    for middle, group in zip(middles, groups, strict=True):
        _arrow(shapes, (middle, bar), (middle, top))
        lines = _outcome_lines(group)
        x = middle - width // 2
        end = _box(shapes, x, top, width, lines, centred=True, fill="#e8f1f7")
        lowest = max(lowest, end)
    return lowest


def _box(
    shapes: list[str], x: int, y: int, width: int, lines: Sequence[str], *, centred: bool, fill: str
) -> int:
    """Draw a box around wrapped text, the first line bold; return its lower edge."""
    letters = int((width - 2 * _PAD_PX) / (_LETTER_EM * _FONT_PX))
    wrapped = [
        (row, number == 0)
        for number, line in enumerate(lines)
        for row in textwrap.wrap(line, letters, subsequent_indent="" if centred else "   ")
    ]
    height = len(wrapped) * _LINE_PX + 2 * _PAD_PX - (_LINE_PX - _FONT_PX)
    shapes.append(
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="{fill}"'
        ' stroke="#0b5c8f" stroke-width="1.5"/>'
    )
    at, anchor = (x + width // 2, "middle") if centred else (x + _PAD_PX, "start")
    for number, (row, bold) in enumerate(wrapped):
        weight = ' font-weight="bold"' if bold else ""
        baseline = y + _PAD_PX + _FONT_PX - 2 + number * _LINE_PX
        shapes.append(
            f'<text x="{at}" y="{baseline}" text-anchor="{anchor}"{weight}'
            f' xml:space="preserve">{escape(_printable(row))}</text>'
        )
    return y + height


def _printable(text: str) -> str:
    """Return the text without control characters, which no XML file may hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _line(shapes: list[str], start: tuple[int, int], end: tuple[int, int]) -> None:
    shapes.append(
        f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"'
        ' stroke="#1b2733" stroke-width="1.5"/>'
    )


def _arrow(shapes: list[str], start: tuple[int, int], end: tuple[int, int]) -> None:
    """Draw a line along one axis with a head at its end."""
    (x, y), down = end, start[0] == end[0]
    short = (x, y - 8) if down else (x - 8, y)
    _line(shapes, start, short)
    head = [(x, y), (x - 5, y - 9), (x + 5, y - 9)]
    if not down:
        head = [(x, y), (x - 9, y - 5), (x - 9, y + 5)]
    points = " ".join(f"{a},{b}" for a, b in head)
    shapes.append(f'<polygon points="{points}" fill="#1b2733"/>')

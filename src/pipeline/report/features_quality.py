"""What stands first on the page of a table of features: who failed and why; which features."""

from collections import Counter

import numpy as np
import pandas as pd

from pipeline.radiomics.feature_columns import CLASS_ORDER
from pipeline.report.charts import shorten
from pipeline.report.features_summary import FeatureSummary
from pipeline.report.page import Section, Table
from pipeline.report.text import percent

#: Rows of the tables; the table itself holds the rest.
MOST_ROWS = 25
#: Statuses of a row that has all features that can be had.
_COMPLETE = ("ok", "one_grey_level")
_MOST_LETTERS = 400
#: More reasons than this are told row by row only.
_MOST_REASONS = 10


def failures_section(summary: FeatureSummary) -> Section:
    """Return rows by status, rows and features that lack values, and what was warned of."""
    tables = [_status_table(summary), _rows_table(summary), _missing_table(summary)]
    notes = [*_constant_note(summary), *_warning_notes(summary)]
    incomplete = _incomplete(summary)
    lead = (
        f"{len(incomplete):,} of {len(summary.values):,} rows failed or lack features."
        if len(incomplete)
        else "Every row has every feature."
    )
    return Section(
        "Who failed, and why",
        lead,
        tables=[table for table in tables if table is not None],
        notes=notes,
    )


def _incomplete(summary: FeatureSummary) -> list[int]:
    """Return rows with another status than ok, or with missing features; the emptiest first."""
    missing = np.isnan(summary.values).sum(axis=1)
    bad = missing > 0
    if "status" in summary.table:
        bad |= ~summary.table["status"].isin(_COMPLETE).to_numpy()
    order = np.argsort(-missing, kind="stable")
    return [int(row) for row in order if bad[row]]


def _status_table(summary: FeatureSummary) -> Table | None:
    """Rows by status and reason; by status alone where nearly every row has its own reason."""
    if "status" not in summary.table:
        return None
    told = [
        (_cell(summary, row, "status") or "none", _cell(summary, row, "reason"))
        for row in range(len(summary.table))
    ]
    if len(set(told)) > _MOST_REASONS:
        told = [(status, "") for status, _ in told]
    rows = [
        [status, str(count), percent(count / len(told), 1), shorten(reason, _MOST_LETTERS)]
        for (status, reason), count in sorted(
            Counter(told).items(), key=lambda item: (-item[1], item[0])
        )
    ]
    return Table("Rows by status", ["Status", "Rows", "Share", "Reason"], rows, align="lrrl")


def _rows_table(summary: FeatureSummary) -> Table | None:
    incomplete = _incomplete(summary)
    if not incomplete:
        return None
    missing = np.isnan(summary.values).sum(axis=1)
    rows = [
        [
            summary.name_of(row),
            str(missing[row]),
            _cell(summary, row, "status"),
            shorten(_cell(summary, row, "reason"), _MOST_LETTERS),
        ]
        for row in incomplete[:MOST_ROWS]
    ]
    return Table(
        "Rows that failed or lack features",
        ["Row", "Features missing", "Status", "Reason"],
        rows,
        align="lrll",
        collapsed=len(incomplete) > 10,
        note=shown_of(len(incomplete), "rows, the emptiest first"),
    )


def _missing_table(summary: FeatureSummary) -> Table | None:
    """Features that lack values in rows that were measured."""
    lacking = np.isnan(summary.values[summary.measured]).sum(axis=0)
    order = [int(n) for n in np.argsort(-lacking, kind="stable") if lacking[n]]
    if not order:
        return None
    total = int(summary.measured.sum())
    rows = [
        [summary.names[n], str(lacking[n]), percent(lacking[n] / total, 1)]
        for n in order[:MOST_ROWS]
    ]
    return Table(
        "Features with missing values, in rows that have any",
        ["Feature", "Rows without it", "Share"],
        rows,
        narrow=True,
        collapsed=len(order) > 5,
        note=shown_of(len(order), "features"),
    )


def _constant_note(summary: FeatureSummary) -> list[str]:
    varying = set(summary.clustered.tolist())
    names = [name for n, name in enumerate(summary.names) if n not in varying]
    if not names:
        return []
    more = ", ..." if len(names) > 10 else ""
    return [
        f"Without variation, and left out of the correlations: {len(names)} of"
        f" {len(summary.names)} features ({', '.join(names[:10])}{more})."
    ]


def _warning_notes(summary: FeatureSummary) -> list[str]:
    if "warnings" not in summary.table:
        return []
    told = Counter(_cell(summary, row, "warnings") for row in range(len(summary.table)))
    told.pop("", None)
    most = sorted(told.items(), key=lambda item: (-item[1], item[0]))[:5]
    return [f"Warning of {count} rows: {shorten(text, _MOST_LETTERS)}" for text, count in most]


def counts_section(summary: FeatureSummary) -> Section:
    """Return how many features there are of each image and class."""
    classes = classes_of(summary)
    counts = Counter((feature.image, feature.feature_class) for feature in summary.features)
    images = list(dict.fromkeys(feature.image for feature in summary.features))
    rows = [[i, *(_count(counts[i, c]) for c in classes), _sum(counts, i)] for i in images]
    if len(images) > 1:
        whole = [str(sum(counts[i, c] for i in images)) for c in classes]
        rows.append(["All", *whole, str(len(summary.features))])
    table = Table(
        "Features by image and class",
        ["Image", *classes, "All"],
        rows,
        narrow=len(classes) < 8,
        strong_rows=frozenset([len(rows) - 1]) if len(images) > 1 else frozenset(),
    )
    return Section("Which features", tables=[table])


def classes_of(summary: FeatureSummary) -> list[str]:
    """Return the classes of the features, in their order."""
    there = {feature.feature_class for feature in summary.features}
    return [name for name in CLASS_ORDER if name in there]


def _sum(counts: Counter[tuple[str, str]], image: str) -> str:
    return str(sum(count for (name, _), count in counts.items() if name == image))


def _count(count: int) -> str:
    return str(count) if count else ""


def shown_of(total: int, what: str, shown: int = MOST_ROWS) -> str:
    """Return how many rows a table shows; empty when it shows all."""
    return f"Shown: {shown} of {total} {what}." if total > shown else ""


def _cell(summary: FeatureSummary, row: int, name: str) -> str:
    if name not in summary.table:
        return ""
    value = summary.table[name].iloc[row]
    return "" if pd.isna(value) else str(value)

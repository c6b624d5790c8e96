"""Who was analysed in a binary study, who was left out, and table one."""

from typing import Any

import pandas as pd

from pipeline.report.binary_results import BinaryResults, level_name
from pipeline.report.flow import Flow, count_flow, draw_flow, flow_in_words
from pipeline.report.page import Cell, Picture, Section, Table
from pipeline.report.text import number, p_value

#: Columns of table one that hold no group.
_FIXED = ("variable", "level", "all", "p", "p_test", "smd", "n")


def flow_section(results: BinaryResults) -> Section:
    """Return who was analysed, and who was left out of what."""
    flow = study_flow(results)
    left = results.tables["left_out"]
    rows = [
        [str(row["subject"]), str(row["split"]), _reason(results, str(row["reason"])),
         _out_of(results, str(row["left_out_of"]))]
        for row in left.to_dict("records")
    ]  # fmt: skip
    tables = []
    if rows:
        tables = [
            Table("Who was left out, and of what", ["Subject", "Split", "Reason", "Left out of"],
                  rows, align="llll", note="Boosted trees send missing values one way and keep"
                  " these rows; models are compared on the rows that all of them can score.")
        ]  # fmt: skip
    picture = Picture(draw_flow(flow).encode("utf-8"), "image/svg+xml", flow_in_words(flow), "",
                      860)  # fmt: skip
    return Section("Who was analysed", "From the sheet to the rows on which models are compared.",
                   [picture], tables)  # fmt: skip


def study_flow(results: BinaryResults) -> Flow:
    """Count the flow: rows without an outcome, rows with a missing covariate, the rest."""
    left = results.tables["left_out"]
    out = left["left_out_of"].astype(str) == "every model"
    named = left.assign(reason_class=[_reason(results, str(r)) for r in left["reason"]])
    predictions = results.tables["predictions"]
    names = {str(row["subject"]) for row in named[~out.to_numpy()].to_dict("records")}
    analysed = predictions[~predictions["subject"].astype(str).isin(names).to_numpy()]
    return count_flow(
        len(results.subjects),
        named[out.to_numpy()],
        predictions,
        failures=named[~out.to_numpy()],
        analysed=analysed,
        outcome="response",
        outcome_names=results.card.outcome_names,
    )


def patients_section(results: BinaryResults) -> Section | None:
    """Return table one by outcome, and by split when there are two."""
    tables = []
    for stem, caption in (("table_one", f"By {results.label(results.card.outcome).lower()}"),
                          ("table_one_split", "By split")):  # fmt: skip
        if stem in results.tables:
            tables.append(patient_table(results, results.tables[stem], caption))
    if not tables:
        return None
    return Section("Patients", "Every subject with an outcome; missing values are counted, and"
                   " left out of shares and tests.", tables=tables)  # fmt: skip


def patient_table(results: BinaryResults, frame: pd.DataFrame, caption: str) -> Table:
    """Return a table one as it was written, with names for readers."""
    groups = [str(c) for c in frame if c not in _FIXED]
    rows: list[list[Cell]] = []
    levels: set[int] = set()
    for variable, block in frame.groupby("variable", sort=False):
        records = block.to_dict("records")
        head = records[0]
        tests = [p_value(head["p"]), _text(head["p_test"]), number(head["smd"], 2)]
        if str(variable) == "subjects":
            rows.append(["Subjects, n", *(_text(head[g]) for g in ("all", *groups)), "", "", ""])
            continue
        label = results.label(str(variable))
        single = str(head["level"]).startswith(("mean", "median"))
        if single:
            cells = [_text(head[g]) for g in ("all", *groups)]
            rows.append([f"{label}, {head['level']}", *cells, *tests])
        else:
            rows.append([label, *[""] * (1 + len(groups)), *tests])
        for record in records[1:] if single else records:
            levels.add(len(rows))
            cells = [_text(record[g]) for g in ("all", *groups)]
            rows.append([results.level(level_name(record["level"])), *cells, "", "", ""])
    heads = ["All", *(name.capitalize() for name in groups)]
    return Table(
        caption, ["", *heads, "p", "Test", "SMD"], rows,
        align="l" + "r" * (len(heads) + 1) + "lr", sub_rows=frozenset(levels),
        note="Numbers: mean (SD), or median (quartiles) when skewed. Categories: n (%). SMD:"
        " standardised mean difference; above 0.1 the groups differ noticeably.",
    )  # fmt: skip


def _reason(results: BinaryResults, text: str) -> str:
    columns = text.removeprefix("no ").split(", ")
    return "no " + ", ".join(_small(results.label(column)) for column in columns)


def _small(label: str) -> str:
    return label[:1].lower() + label[1:]


def _out_of(results: BinaryResults, text: str) -> str:
    return ", ".join(
        part if part in ("comparisons", "every model") else results.model(part)
        for part in text.split(", ")
    )


def _text(value: Any) -> str:
    return "" if value is None or (not isinstance(value, str) and pd.isna(value)) else str(value)

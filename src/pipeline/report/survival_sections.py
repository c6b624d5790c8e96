"""Sections of a survival page: patients, risk groups, Cox models, nomogram."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.report.charts import p_text
from pipeline.report.page import Cell, Picture, Section, Table, relative_link
from pipeline.report.survival_figures import (
    group_name,
    group_rows,
    hazard_figure,
    hazard_rows,
    km_figure,
    risk_groups,
    survival_at,
)
from pipeline.report.survival_results import SurvivalArm, SurvivalResults, missing, split_name
from pipeline.report.text import (
    MISSING,
    interval,
    is_number,
    number,
    p_value,
    significant,
)

_SVG: Any = "image/svg+xml"
_HALF, _FULL = 568, 1160
#: Columns of table one that are no group of patients.
_TESTS = {"p": "p", "p_test": "Test", "smd": "SMD", "n": "Known"}


def patients_section(results: SurvivalResults, arm: SurvivalArm) -> Section | None:
    """Return table one by split, and by risk group in each split, as they were written."""
    captions = {
        "table_one": "Patients by split: mean or median with spread, or number with share",
        "table_one_development": "Development patients by risk group",
        "table_one_test": "Test patients by risk group",
    }
    tables = []
    for name, caption in captions.items():
        frame = arm.table(name)
        if frame is not None and {"variable", "level"} <= set(frame.columns):
            tables.append(_patients_table(results, frame, caption))
    if not tables:
        return None
    return Section("Patients", "Who was studied; development and test should be alike or their"
                   " differences known.", tables=tables)  # fmt: skip


def _patients_table(results: SurvivalResults, frame: "pd.DataFrame", caption: str) -> Table:
    tests = [c for c in frame.columns if c in _TESTS]
    groups = [c for c in frame.columns if c not in (*tests, "variable", "level")]
    rows: list[list[Cell]] = []
    levels: list[int] = []
    for variable, block in frame.groupby("variable", sort=False):
        records: list[Mapping[str, Any]] = block.to_dict("records")
        _add_variable(rows, levels, results, str(variable), records, groups, tests)
    heads = [_TESTS[str(c)] for c in tests]
    note = "p compares the groups. The test is named in each row; it suits the variable and counts."
    if "smd" in tests:
        note += " SMD: standardised mean difference; above 0.1 the groups differ noticeably."
    return Table(
        caption,
        ["", *(_words(str(group)).capitalize() for group in groups), *heads],
        rows,
        align="l" + "r" * len(groups) + "".join("l" if h == "Test" else "r" for h in heads),
        sub_rows=frozenset(levels),
        note=note,
        collapsed="risk group" in caption,
    )


def _words(text: str) -> str:
    return text.replace("_", " ")


def _add_variable(
    rows: list[list[Cell]], levels: list[int], results: SurvivalResults, variable: str,
    records: Sequence[Mapping[str, Any]], groups: Sequence[Any], tests: Sequence[Any],
) -> None:  # fmt: skip
    label = results.variable(variable)
    head = records[0]
    cells: list[Cell] = [_test_cell(head[c], str(c)) for c in tests]
    single = len(records) == 1 or _text(head["level"]).startswith(("mean", "median"))
    if single:
        level = _text(head["level"])
        rows.append([f"{label}, {level}" if level else label, *(_text(head[g]) for g in groups),
                     *cells])  # fmt: skip
        records = records[1:]
    else:
        rows.append([label, *[""] * len(groups), *cells])
    for record in records:
        levels.append(len(rows))
        level = _text(record["level"])
        rows.append([results.card.levels.get(level, level), *(_text(record[g]) for g in groups),
                     *[""] * len(tests)])  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not is_number(value):
        return "" if value is None or pd.isna(value) else str(value)
    return f"{float(value):g}"


def _test_cell(value: Any, column: str) -> str:
    if column == "p":
        return p_value(value) if is_number(value) else ""
    return number(value, 2) if is_number(value) and column == "smd" else _text(value)


# --- risk groups ----------------------------------------------------------------------------


def groups_section(results: SurvivalResults, arm: SurvivalArm) -> Section:
    """Return Kaplan-Meier curves of the risk groups, development and test side by side."""
    title = "Survival by risk group"
    km = arm.table("km")
    if km is None and arm.rad_score.get("features") == []:
        return Section(title, "No risk groups: without a feature everybody has the same Rad-score.")
    if km is None:
        return missing(title, "km")
    splits = [s for s in arm.splits if arm.rows("km", split=s) is not None]
    end = float(km["time_months"].max())
    pictures = [_km_picture(results, arm, split, end) for split in splits]
    return Section(title, _groups_words(arm), pictures, [_km_table(arm, splits)])


def log_rank_p(arm: SurvivalArm, split: str) -> float:
    """Return the log-rank p of a split; NaN when it is missing."""
    rows = arm.rows("logrank", split=split)
    return float("nan") if rows is None else float(rows["p"].iloc[0])


def _groups_words(arm: SurvivalArm) -> str:
    p, split = log_rank_p(arm, arm.judged_on), arm.judged_on
    if not is_number(p):
        return "Kaplan-Meier estimate of each risk group."
    found = "differ" if p < 0.05 else "do not differ clearly"
    return (
        f"Low and high risk {found} in the {split} subjects (log-rank {p_text(p)}). The further"
        " apart the curves, the more the Rad-score tells; the bands are 95 % intervals, the ticks"
        " are subjects whose follow-up ended without the event."
    )


def _km_picture(results: SurvivalResults, arm: SurvivalArm, split: str, end: float) -> Picture:
    rows = arm.rows("km", split=split)
    assert rows is not None
    parts = [f"Log-rank {p_text(log_rank_p(arm, split))}"]
    parts = parts if is_number(log_rank_p(arm, split)) else []
    ratio = _group_ratio(arm, split)
    if ratio:
        parts.append(f"hazard ratio, high against low: {ratio}")
    note = " · ".join(parts)
    total = sum(int(group_rows(rows, g)["at_risk"].max()) for g in risk_groups(rows))
    return Picture(
        km_figure(rows, title=f"{split_name(split)} (n = {total})", note=note, end_months=end,
                  endpoint=results.endpoint),
        _SVG, f"Kaplan-Meier curves of the risk groups, {split}. {note}", "", _HALF,
    )  # fmt: skip


def _group_ratio(arm: SurvivalArm, split: str) -> str:
    """Return the univariable hazard ratio of the risk group, where the table has it."""
    rows = arm.rows("cox", split=split, analysis="univariable")
    if rows is None:
        return ""
    group = rows[
        rows["variable"].isin(("risk_group", "rad_score", "rad_score_group")).to_numpy()
        & rows["level"].astype(str).str.contains("high").to_numpy()
    ]
    if group.empty:
        return ""
    row = group.iloc[0]
    return f"{number(row['hazard_ratio'], 2)} ({interval(row['low95'], row['high95'])})"


def _km_table(arm: SurvivalArm, splits: Sequence[str]) -> Table:
    rows: list[list[Cell]] = []
    for split in splits:
        km = arm.rows("km", split=split)
        assert km is not None
        for group in risk_groups(km):
            part = group_rows(km, group)
            cells = [_with_interval(*survival_at(part, t)) for t in arm.horizons]
            rows.append([f"{split_name(split)}, {group_name(group).lower()}",
                         str(int(part["at_risk"].max())), str(int(part["events"].sum())),
                         _median(part), *cells])  # fmt: skip
    heads = [f"At {t:g} months (95 % CI)" for t in arm.horizons]
    return Table(
        "Share without the event",
        ["Group", "n", "Events", "Median (months)", *heads],
        rows,
        note="Median: the first time at which half of the group has had the event; a dash: not"
        " reached. A dash elsewhere: nobody was followed for so long.",
    )


def _median(rows: pd.DataFrame) -> str:
    half = rows[(rows["survival"] <= 0.5 + 1e-12).to_numpy()]
    return number(half["time_months"].iloc[0], 1) if len(half) else MISSING


def _with_interval(value: float, low: float, high: float) -> str:
    if not is_number(value):
        return MISSING
    span = f" ({100 * low:.0f} to {100 * high:.0f})" if is_number(low) and is_number(high) else ""
    return f"{100 * value:.0f} %{span}"


# --- Cox models and nomogram ----------------------------------------------------------------


def cox_section(results: SurvivalResults, arm: SurvivalArm) -> Section:
    """Return hazard ratios, each variable alone and all together, and the check of the model."""
    title = "What goes with a shorter survival"
    cox = arm.table("cox")
    if cox is None:
        return missing(title, "cox")
    pictures, tables = [], []
    for split in arm.splits or ["development"]:
        rows = arm.rows("cox", split=split)
        if rows is None:
            continue
        found = hazard_rows(rows, results.variable)
        pictures.append(
            Picture(hazard_figure(found, title=f"Hazard ratios, {split}"), _SVG,
                    f"Forest plot of the hazard ratios, {split}; the numbers are in the table", "",
                    _FULL)
        )  # fmt: skip
        tables.append(_cox_table(results, rows, split))
    checks = arm.table("schoenfeld")
    if checks is not None:
        tables.append(_schoenfeld_table(results, checks))
    return Section(
        title,
        "Cox regression. A hazard ratio of 2 doubles the rate of events at any time; an interval"
        " that crosses 1 leaves it open whether the variable matters. Univariable: alone;"
        " multivariable: what it adds to the others.",
        pictures,
        tables,
    )


def _cox_table(results: SurvivalResults, cox: pd.DataFrame, split: str) -> Table:
    rows = []
    for row in cox.to_dict("records"):
        level = "" if pd.isna(row["level"]) else str(row["level"])
        rows.append(
            [
                results.variable(str(row["variable"]), level),
                str(row["analysis"]),
                number(row.get("n"), 0),
                number(row.get("events"), 0),
                significant(row["coefficient"], 4),
                significant(row["se"], 4),
                number(row["hazard_ratio"], 2),
                interval(row["low95"], row["high95"]),
                number(row["z"], 2),
                p_value(row["p"]),
            ]
        )
    return Table(
        f"Cox regression in detail, {split}",
        ["Variable", "Analysis", "n", "Events", "Coefficient", "SE", "HR", "95 % CI", "z", "p"],
        rows,
        align="llrrrrrrrr",
        note="HR: hazard ratio; 1 without an interval: the level that the others are compared"
        " with. p: Wald test; beside that level, of the whole variable.",
        collapsed=True,
    )


def _schoenfeld_table(results: SurvivalResults, checks: pd.DataFrame) -> Table:
    rows, strong = [], set()
    for at, row in enumerate(checks.to_dict("records")):
        term = str(row["term"])
        if term == "GLOBAL":
            strong.add(at)
        rows.append(
            [
                results.model(str(row["model"])),
                "all together" if term == "GLOBAL" else results.term(term),
                number(row["chi2"], 2),
                number(row["df"], 0),
                p_value(row["p"]),
            ]
        )
    return Table(
        "Is each hazard ratio constant over time? (Schoenfeld residuals)",
        ["Model", "Term", "Chi-square", "df", "p"],
        rows,
        align="llrrr",
        narrow=True,
        strong_rows=frozenset(strong),
        note="A small p says that the ratio changes with time: the number above is then an average"
        " over the follow-up.",
    )


def nomogram_section(results: SurvivalResults, arm: SurvivalArm) -> Section | None:
    """Return the nomogram, a link to its interactive page, and the points."""
    points = arm.nomogram_points
    if not arm.nomogram_svg and not arm.nomogram_page and points is None:
        return None
    pictures, tables = [], []
    if arm.nomogram_svg:
        pictures = [
            Picture(arm.nomogram_svg, _SVG, "Nomogram; its numbers are in the table of points",
                    "Read the points above each of the patient's values, add them up, and read the"
                    " probability below the total.", _FULL)
        ]  # fmt: skip
    if arm.nomogram_page:
        link = relative_link("Open the interactive nomogram", *arm.nomogram_page)
        tables.append(Table("At the bedside", ["Page", "What it does"],
                            [[link, "Move the values, read the probability. Works offline."]],
                            align="ll", narrow=True))  # fmt: skip
    if points is not None and not points.empty:
        tables.append(_points_table(points))
    return Section(
        "Nomogram",
        "The combined model as a drawing: it gives one patient's probability without a computer.",
        pictures,
        tables,
    )


def _points_table(points: pd.DataFrame) -> Table:
    numeric = [pd.api.types.is_numeric_dtype(points[column]) for column in points.columns]
    rows = [
        [significant(v, 4) if is_number(v) and numbers else _text(v)
         for v, numbers in zip(row, numeric, strict=True)]
        for row in points.itertuples(index=False)
    ]  # fmt: skip
    return Table(
        "Points of the nomogram",
        [_words(str(column)).capitalize() for column in points.columns],
        rows,
        align="".join("r" if numbers else "l" for numbers in numeric),
        collapsed=True,
    )

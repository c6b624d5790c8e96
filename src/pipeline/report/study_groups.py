"""Sections of a study's page about its subjects: box plots, patient table, found against true."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.model.groups import rank_sum, signed_rank
from pipeline.model.table_one import FIXED, table_one
from pipeline.report.card import Card, Comparison
from pipeline.report.figures import Sample, agreement_figure, box_figure
from pipeline.report.page import Picture, Section, Table
from pipeline.report.results import StudyResults
from pipeline.report.text import MISSING, number, p_value, percent

Values = npt.NDArray[np.float64]

_SPLITS = ("development", "test")
#: Mean Jacobians within this relative distance of the truth count as recovered.
_BAND = 0.05


def groups_section(results: StudyResults) -> Section | None:
    """Return box plots of the card's features by outcome."""
    card = results.card
    if results.features is None or not card.comparisons or card.outcome not in results.subjects:
        return None
    sheet = results.subjects[["subject", "split", card.outcome]]
    frame = results.features.merge(sheet, on="subject", how="left", validate="one_to_one")
    pictures, missing = [], []
    for item in card.comparisons:
        columns = [f"{name}.{item.feature}" for name in item.sets]
        if all(column in frame for column in columns):
            pictures.append(_box(frame, item, columns, card))
        else:
            missing.append(f"Not shown: {item.title} (no column {columns[0]}).")
    first, second = (f"{name}s" for _, name in card.outcome_names[:2])
    return Section(
        f"What differs between {first} and {second}",
        "All analysed subjects. Filled circles: development; hollow triangles: test.",
        pictures,
        notes=missing,
    )


def patients_section(results: StudyResults) -> Section | None:
    """Return the patient table with the test that suits each variable."""
    frame, card = results.analysed, results.card
    if frame is None:
        frame = results.subjects[results.subjects["subject"].isin(results.included["subject"])]
    variables = {v.column: v.kind for v in card.patients if v.column in frame}
    if frame.empty or not variables:
        return None
    described = table_one(frame, "split", variables, spread="range", sizes=False)
    labels = {v.column: v.label for v in card.patients}
    groups = ["all", *(c for c in described.columns if c not in FIXED)]
    rows, levels = _patient_rows(described, groups, labels, card)
    sizes = {g: len(frame) if g == "all" else int((frame["split"] == g).sum()) for g in groups}
    columns = ["", *(f"{g.capitalize()} (n = {sizes[g]})" for g in groups), "p", "Test"]
    table = Table(
        "Patients: mean (range) or number (share)",
        columns,
        rows,
        align="l" + "r" * (len(groups) + 1) + "l",
        sub_rows=frozenset(levels),
        note="p compares the splits. The test is chosen per variable: chi-square (Yates for two by"
        " two), Fisher's exact test where an expected count is below 5, the t test for numbers."
        " Shares are of the known values.",
    )
    return Section("Patients", tables=[table])


def truth_section(results: StudyResults) -> Section | None:
    """Return found against true for a simulated cohort."""
    if results.truth is None:
        return None
    scored = results.truth.dropna(subset=["dice_baseline"])
    near, total = int((scored["relative_error"].abs() <= _BAND).sum()), len(scored)
    dice = [scored[f"dice_{name}"].to_numpy(dtype=np.float64) for name in ("baseline", "followup")]
    median = float(np.median(dice[0])) if total else float("nan")
    agreement = Picture(
        agreement_figure(
            scored["true_mean_jacobian"].to_numpy(dtype=np.float64),
            scored["mean_jacobian"].to_numpy(dtype=np.float64),
            axis="mean Jacobian in the tumour (volume ratio)",
            band=_BAND,
        ),
        "image/svg+xml",
        f"Found against true mean Jacobian: {near} of {total} within 5 %",
        "Found: mean of the map over the mask that was found. Band: true value plus or minus 5 %.",
        568,
    )
    samples = [Sample(f"{n}\n(n = {d.size})", [("", d)]) for n, d in
               zip(("baseline", "follow-up"), dice, strict=True)]  # fmt: skip
    overlap = Picture(
        box_figure(samples, title="Overlap of the found and the true tumour mask",
                   axis="Dice coefficient", note="", width_px=568, height_px=520),
        "image/svg+xml",
        f"Dice coefficient of the masks; median at baseline {number(median, 2)}",
        "1 is perfect overlap.",
        568,
    )  # fmt: skip
    return Section(
        "Found against true",
        f"The images are simulated, so the truth is known: the mean Jacobian was recovered within"
        f" 5 % in {near} of {total} subjects ({percent(near / total if total else None)}); the"
        f" median Dice coefficient of the baseline mask is {number(median, 3)}.",
        [agreement, overlap],
        [_truth_table(results.truth)],
    )


def _box(frame: pd.DataFrame, item: Comparison, columns: Sequence[str], card: Card) -> Picture:
    groups = [
        (str(name), frame[frame[card.outcome] == value]) for value, name in card.outcome_names
    ]
    if len(columns) == 1:
        samples = [_sample(f"{name}s", rows, columns[0]) for name, rows in groups]
        p = rank_sum(*(s.values for s in samples)).p
        note = f"Wilcoxon rank-sum p {_p_sign(p)}"
    else:
        samples = [
            _sample(f"{name}s\n{label}", rows, column)
            for name, rows in groups
            for column, label in zip(columns, item.labels or item.sets, strict=True)
        ]
        tests = [signed_rank(rows[columns[0]], rows[columns[1]]).p for _, rows in groups]
        note = "Wilcoxon signed-rank: " + ", ".join(
            f"{name}s p {_p_sign(p)}" for (name, _), p in zip(groups, tests, strict=True)
        )
    wide = len(columns) > 1
    return Picture(
        box_figure(samples, title=item.title, axis=item.axis, note=note, pairs=wide,
                   width_px=568 if wide else 372),
        "image/svg+xml",
        f"{item.title} by outcome. {note}",
        item.found[:1].upper() + item.found[1:] + ("." if item.found else ""),
        568 if wide else 372,
    )  # fmt: skip


def _p_sign(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _sample(name: str, rows: pd.DataFrame, column: str) -> Sample:
    parts = [
        (split, rows.loc[(rows["split"] == split).to_numpy(), column].to_numpy(dtype=np.float64))
        for split in _SPLITS
    ]
    n = sum(int(np.isfinite(values).sum()) for _, values in parts)
    return Sample(f"{name}\n(n = {n})", parts)


def _patient_rows(
    described: pd.DataFrame, groups: Sequence[str], labels: Mapping[str, str], card: Card
) -> tuple[list[list[str]], list[int]]:
    """Return the rows of the table and which of them are levels of the row above."""
    rows: list[list[str]] = []
    levels: list[int] = []
    blank = [""] * len(groups)
    for variable, block in described.groupby("variable", sort=False):
        records: list[Mapping[str, Any]] = block.to_dict("records")
        head, label = records[0], labels[str(variable)]
        test = [p_value(head["p"]), str(head["p_test"])]
        if str(head["level"]).startswith("mean"):
            rows.append([f"{label}, {head['level']}", *(str(head[g]) for g in groups), *test])
            records = records[1:]
        else:
            rows.append([label, *blank, *test])
        for record in records:
            levels.append(len(rows))
            name = _level(str(variable), str(record["level"]), card)
            rows.append([name, *(str(record[g]) for g in groups), "", ""])
    return rows, levels


def _level(variable: str, level: str, card: Card) -> str:
    if variable == card.outcome:
        for value, name in card.outcome_names:
            if level == f"{value:g}":
                return name
    return card.levels.get(level, level)


def _truth_table(truth: pd.DataFrame) -> Table:
    rows = []
    for row in truth.to_dict("records"):
        error = row["relative_error"]
        inside = abs(error) <= _BAND if pd.notna(error) else None
        rows.append(
            [
                str(row["subject"]),
                number(row["true_mean_jacobian"]),
                number(row["mean_jacobian"]),
                _signed_percent(error),
                {True: "yes", False: "no", None: MISSING}[inside],
                _signed_percent(row["relative_error_in_true_mask"]),
                number(row["dice_baseline"]),
                number(row["dice_followup"]),
                number(row["field_error_mm"], 2),
            ]
        )
    return Table(
        "Truth against found, subject by subject",
        ["Subject", "True mean J", "Found mean J", "Error", "Within 5 %", "Error in the true mask",
         "Dice, baseline", "Dice, follow-up", "Field error (mm)"],
        rows,
        note="J: Jacobian, volume ratio. Error in the true mask: of the registration alone. Field"
        " error: mean distance between the found and the true position at follow-up.",
        collapsed=True,
    )  # fmt: skip


def _signed_percent(value: Any) -> str:
    return f"{100 * float(value):+.1f} %" if pd.notna(value) else MISSING

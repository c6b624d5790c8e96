"""The page of a comparison of segmentation networks: table, spread, training, worst cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from pipeline.evaluation.comparison import Layout
from pipeline.report.card import Card
from pipeline.report.closing_sections import card_sections, records_of_run, settings_sections
from pipeline.report.evaluation_page import (
    EvaluationResults,
    definitions_section,
    slice_section,
    spread_section,
    worst_section,
)
from pipeline.report.page import Fact, Page, Picture, Section, Table
from pipeline.report.text import MISSING, interval, is_number, number

#: Schemes for readers: how the cases of a row were held out.
SCHEMES = {
    "folds": "Cross-validation",
    "test": "Development rows train, test rows are held out",
}
#: Curves of a page; each is some 40 kB.
_MOST_CURVES = 24
_CURVE_PX = 1000

#: Table 1 of the paper: mean and SD of DSC (%), RVD (%), HD (mm) and ASD (mm).
_PSNET_PRINTED = (
    ("FCN trained from scratch", "78.9 ± 6.2", "5.9 ± 10.9", "11.9 ± 4.8", "4.8 ± 1.1"),
    ("V-Net", "83.2 ± 4.9", "5.2 ± 7.6", "9.5 ± 3.9", "3.4 ± 1.2"),
    ("U-Net", "83.6 ± 4.5", "4.4 ± 8.0", "10.1 ± 3.2", "3.3 ± 1.0"),
    ("PSNet", "85.0 ± 3.8", "4.1 ± 9.6", "9.3 ± 3.5", "3.0 ± 0.9"),
)
#: The validation set of the report: Dice3D (mean, Q1 to Q3), Dice2D of the checkpoints that its
#: ensemble takes; then its table 3, true positive slices.
_LUNG_PRINTED = (
    ("Baseline, 30k", ".510", ".309 to .747", ".475", ".599", "12.538", "24.932", "176", "314"),
    ("v1, 60k", ".530", ".367 to .751", ".510", ".640", "9.178", "18.620", "173", "363"),
    ("v2, 30k", ".515", ".383 to .724", ".472", ".619", "9.966", "19.759", "202", "531"),
    ("Ensemble", MISSING, MISSING, MISSING, ".662", "8.440", "17.483", "195", "287"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """One training.

    Attributes
    ----------
    title, part : str
        Network, and what was held out.
    record : mapping
        "training", "training_data" and "settings" of the model's card.
    curve : bytes
        PNG; empty when there is none.
    """

    title: str
    part: str
    record: Mapping[str, Any]
    curve: bytes = b""


@dataclass(frozen=True, eq=False)
class ComparisonResults:
    """All that the page shows.

    Attributes
    ----------
    card : Card
        Words of the study.
    layout : {"psnet", "lungtumor"}
        Which table.
    table : DataFrame
        The headline table.
    evaluations : mapping
        Scheme to its evaluation, in which a network stands for a structure.
    runs : sequence of TrainingRun
        In the order of the table.
    settings, dataset : mapping
        settings.json; dataset.json beside the sheets, or empty.
    excluded : int
        Subjects that the screen left out.
    notes : sequence of str
        What a reader must know first.
    """

    card: Card
    layout: Layout
    table: pd.DataFrame
    evaluations: Mapping[str, EvaluationResults]
    runs: Sequence[TrainingRun]
    settings: Mapping[str, Any]
    dataset: Mapping[str, Any]
    excluded: int = 0
    notes: Sequence[str] = field(default_factory=tuple)


def comparison_page(results: ComparisonResults) -> Page:
    """Return the page; notes and the table stand first."""
    sections = [*_notes(results), _table_section(results)]
    for scheme, evaluation in results.evaluations.items():
        names = [str(name) for name in evaluation.cases["structure"].unique()]
        where = "" if len(results.evaluations) == 1 else f": {_scheme(scheme)}"
        for section in (
            spread_section(evaluation, names),
            slice_section(evaluation, names),
            worst_section(evaluation),
        ):
            sections.append(replace(section, title=section.title + where))
    sections += [_training_section(results.runs)]
    sections += [definitions_section(next(iter(results.evaluations.values())))]
    sections += card_sections(results.card, departures="Departures from the paper")
    sections += settings_sections(
        records_of_run(results.settings, results.dataset, data="Simulated images")
    )
    return Page(
        title=results.card.title,
        subtitle=results.card.question,
        banner=_banner(results),
        facts=_facts(results),
        sections=sections,
        footer="Slices are shown in radiological convention: the patient's right is on the left."
        " Made by medpipe; a research tool, not a medical device.",
    )


def _banner(results: ComparisonResults) -> str:
    if not results.dataset.get("simulated"):
        return ""
    return (
        "SIMULATED IMAGES: no patient was imaged. The numbers show that the program works; they"
        " say nothing about patients, and cannot be held against the paper's."
    )


def _facts(results: ComparisonResults) -> list[Fact]:
    first = results.table[results.table["scheme"] == results.table["scheme"].iloc[0]]
    scale, digits, unit = (1, 1, " %") if results.layout == "psnet" else (1, 3, "")
    column = "dsc_percent_mean" if results.layout == "psnet" else "dice_3d_median"
    what = "mean DSC" if results.layout == "psnet" else "median Dice"
    facts = [Fact(str(int(first["n"].max())), "cases, each held out once")]
    facts += [
        Fact(f"{number(scale * row[column], digits)}{unit}", f"{what}, {row['title']}")
        for _, row in first.head(5).iterrows()
    ]
    return facts


def _notes(results: ComparisonResults) -> list[Section]:
    notes = list(results.notes)
    if results.excluded:
        notes.append(
            f"{results.excluded} subjects were left out by the screen; cohort/exclusions.tsv says"
            " why."
        )
    return [Section("Take note", notes=notes)] if notes else []


def _table_section(results: ComparisonResults) -> Section:
    make = _psnet_table if results.layout == "psnet" else _lungtumor_table
    tables = [
        make(str(scheme), rows) for scheme, rows in results.table.groupby("scheme", sort=False)
    ]
    lead = (
        "Every case is measured by networks that have not seen it: neither their weights nor the"
        " choice of the weights that are kept."
    )
    return Section("The comparison", lead, tables=[*tables, _printed(results.layout)])


def _psnet_table(scheme: str, rows: pd.DataFrame) -> Table:
    return Table(
        _scheme(scheme),
        ["Method", "Weights at the start", "n", "DSC (%)", "RVD (%)", "HD (mm)", "ASD (mm)"],
        [
            [
                str(row["title"]),
                str(row["weights"]),
                _cases(row),
                *(_spread(row, name) for name in ("dsc_percent", "rvd_percent", "hd_mm", "asd_mm")),
            ]
            for _, row in rows.iterrows()
        ],
        align="llrrrrr",
        note="Mean ± SD over the cases. RVD is positive when the prediction is too small; HD is"
        " the full maximum. n: cases; in brackets those with distances, where fewer.",
    )


def _lungtumor_table(scheme: str, rows: pd.DataFrame) -> Table:
    return Table(
        _scheme(scheme),
        ["Method", "n", "Mean", "Median (95 % CI)", "Q1 to Q3", "Slices", "Mean", "Median",
         "Q1 to Q3", "Dice", "MSD (mm)", "HD95 (mm)", "FN", "FP"],
        [
            [
                str(row["title"]),
                number(row["n"], 0),
                number(row["dice_3d_mean"]),
                f"{number(row['dice_3d_median'])}"
                f" ({interval(row['dice_3d_median_low'], row['dice_3d_median_high'])})",
                interval(row["dice_3d_q1"], row["dice_3d_q3"], 3),
                number(row["n_slices"], 0),
                number(row["dice_2d_mean"]),
                number(row["dice_2d_median"]),
                interval(row["dice_2d_q1"], row["dice_2d_q3"], 3),
                number(row["tp_dice_2d_mean"]),
                number(row["tp_msd_mm_mean"], 2),
                number(row["tp_hd95_mm_mean"], 2),
                number(row["fn_slices"], 0),
                number(row["fp_slices"], 0),
            ]
            for _, row in rows.iterrows()
        ],
        groups=[("", 2), ("Dice3D", 3), ("Dice2D", 4), ("Slices in both", 3), ("Slices", 2)],
        note="Dice3D: over the cases. Dice2D: over the slices that hold tumour. MSD and HD95 are"
        " of the report: means of the two directions, within the slice.",
    )  # fmt: skip


def _printed(layout: Layout) -> Table:
    if layout == "psnet":
        return Table(
            "Printed in the paper (other patients: 140 volumes, five folds)",
            ["Method", "DSC (%)", "RVD (%)", "HD (mm)", "ASD (mm)"],
            _PSNET_PRINTED,
            narrow=True,
        )
    return Table(
        "Printed in the report (other patients: 40 whole chests of its validation set)",
        ["Method", "Dice3D, mean", "Q1 to Q3", "Dice2D, mean", "Dice", "MSD", "HD95", "FN", "FP"],
        _LUNG_PRINTED,
        groups=[("", 1), ("All", 3), ("Slices in both", 3), ("Slices", 2)],
        narrow=True,
    )


def _training_section(runs: Sequence[TrainingRun]) -> Section:
    rows = []
    for run in runs:
        training, data = run.record["training"], run.record["training_data"]
        rows.append([
            run.title,
            run.part,
            str(data["subjects"]),
            f"{training['iterations']:,}",
            f"{training['minutes']:g}",
            f"{training['kept']}, {training['kept_iteration']:,}",
        ])  # fmt: skip
    table = Table(
        "Trainings",
        ["Network", "Held out", "Subjects that trained", "Iterations", "Minutes", "Weights kept"],
        rows,
        align="llrrrl",
        collapsed=len(rows) > 12,
    )
    drawn = [run for run in runs if run.curve][:_MOST_CURVES]
    pictures = [
        Picture(
            run.curve,
            "image/png",
            f"Loss and validation Dice of {run.title}, {run.part} held out",
            f"{run.title}, {run.part} held out.",
            _CURVE_PX,
        )
        for run in drawn
    ]
    notes = [] if len(drawn) == len(runs) else [f"Drawn: {len(drawn)} of {len(runs)} trainings."]
    return Section("How training went", pictures=pictures, tables=[table], notes=notes)


def _scheme(scheme: str) -> str:
    return SCHEMES.get(scheme, scheme)


def _cases(row: Mapping[Any, Any]) -> str:
    n, distances = int(row["n"]), int(row["n_distances"])
    return str(n) if n == distances else f"{n} ({distances})"


def _spread(row: Mapping[Any, Any], name: str) -> str:
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    return f"{number(mean, 1)} ± {number(sd, 1)}" if is_number(sd) else number(mean, 1)

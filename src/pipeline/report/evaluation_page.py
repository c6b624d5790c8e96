"""The page of an evaluation: what is reached, how it spreads, and the worst cases in pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.evaluation.bland_altman import BlandAltman
from pipeline.evaluation.columns import DEFINITIONS, MEASURES, SLICE_MEASURES, Measure, measure_of
from pipeline.evaluation.summary import worst_first
from pipeline.report.evaluation_figures import HALF_PX, bland_altman_figure, score_figures
from pipeline.report.page import Fact, Page, Picture, Section, Table
from pipeline.report.text import MISSING, flatten, interval, is_number, number

Values = npt.NDArray[np.float64]

#: Width of the pictures of one case.
WORST_PX = 860
#: Measures drawn as box plots.
_DRAWN = ("dice_3d", "surface_dice", "hd95_max_mm", "asd_mm")
#: Structures in the strip of facts, with box plots, with a Bland-Altman plot; rows of the list of
#: cases. A page has to stay small enough to be opened.
_MOST_FACTS, _MOST_BOXES, _MOST_PLOTS, _MOST_ROWS = 3, 36, 12, 25
_LISTED = ("dice_3d", "surface_dice", "hd95_max_mm", "asd_mm", "rvd_percent", "reference_ml",
           "prediction_ml", "fn_slices", "fp_slices")  # fmt: skip


@dataclass(frozen=True, eq=False)
class ShownCase:
    """Pictures of one case and structure.

    Attributes
    ----------
    subject, structure : str
        Which.
    content : bytes
        PNG.
    remark : str
        Why there is no scan below the outlines; empty when there is.
    """

    subject: str
    structure: str
    content: bytes
    remark: str = ""


@dataclass(frozen=True, eq=False)
class EvaluationResults:
    """All that the page shows.

    Attributes
    ----------
    cases, summary : DataFrame
        As cases.tsv and summary.tsv.
    agreement : mapping
        Structure to bias and limits of agreement of its volume.
    settings : mapping
        What was asked for.
    worst : sequence of ShownCase
        Pictures, the worst first.
    notes : sequence of str
        What a reader must know first.
    """

    cases: pd.DataFrame
    summary: pd.DataFrame
    agreement: Mapping[str, BlandAltman]
    settings: Mapping[str, Any]
    worst: Sequence[ShownCase] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def evaluation_page(results: EvaluationResults) -> Page:
    """Return the page; failed cases and undefined measures stand first."""
    names = [str(name) for name in results.cases["structure"].unique() if name]
    measured = bool((results.cases["status"] == "ok").any())
    sections = [_notes_section(results)]
    if measured:
        sections += [
            _overview(results, names),
            worst_section(results),
            spread_section(results, names),
            _volume_section(results, names),
            slice_section(results, names),
            _details(results, names),
        ]
    sections += [definitions_section(results)]
    return Page(
        title="Evaluation of segmentations",
        subtitle="Predicted against reference masks: overlap, surface distances, volumes and"
        " slices.",
        facts=_facts(results, names),
        sections=[section for section in sections if section is not None],
        footer="Slices are shown in radiological convention: the patient's right is on the left."
        " Made by medpipe; a research tool, not a medical device.",
    )


# --- first things first -----------------------------------------------------------------------


def _facts(results: EvaluationResults, names: Sequence[str]) -> list[Fact]:
    total = results.cases["subject"].nunique()
    failed = results.cases.loc[results.cases["status"] != "ok", "subject"].nunique()
    facts = [Fact(str(total - failed), f"of {total} cases evaluated")]
    for name in names[:_MOST_FACTS]:
        row = _summary(results, name, "dice_3d")
        facts.append(Fact(number(row.get("median"), 3), f"median Dice, {name}"))
    for name in names[:_MOST_FACTS]:
        row = _summary(results, name, "hd95_max_mm")
        facts.append(Fact(f"{number(row.get('median'), 2)} mm", f"median HD95, {name}"))
    return facts


def _notes_section(results: EvaluationResults) -> Section | None:
    failed = results.cases[results.cases["status"] != "ok"].drop_duplicates("subject")
    notes = [f"Not evaluated: {row['subject']}: {row['note']}" for _, row in failed.iterrows()]
    notes += results.notes
    measured = results.cases[results.cases["status"] == "ok"]
    for name, rows in measured.groupby("structure", sort=False):
        notes += _empty_notes(str(name), rows)
    return Section("Take note", notes=notes) if notes else None


def _empty_notes(name: str, rows: pd.DataFrame) -> list[str]:
    """Return how many cases of a structure lack it in one mask or in both."""
    there, found = rows["reference_ml"] > 0, rows["prediction_ml"] > 0
    counts = (
        (int((there & ~found).sum()), "not predicted at all: Dice 0, no distance"),
        (int((~there & found).sum()), "predicted where the reference has none: Dice 0, no"
         " distance"),
        (int((~there & ~found).sum()), "in neither mask: left out of every mean"),
    )  # fmt: skip
    return [f"{name}: {count} of {len(rows)} cases {what}." for count, what in counts if count]


def _overview(results: EvaluationResults, names: Sequence[str]) -> Section:
    columns = ["Structure", "Cases", "Dice, median (95 % CI)", "Dice, mean ± SD", "Surface Dice",
               "HD95 (mm)", "ASD (mm)", "RVD (%), mean ± SD"]  # fmt: skip
    rows = []
    for name in names:
        dice, rvd = (_summary(results, name, m) for m in ("dice_3d", "rvd_percent"))
        medians = [
            number(_summary(results, name, m).get("median"), measure_of(m).digits)
            for m in ("surface_dice", "hd95_max_mm", "asd_mm")
        ]
        rows.append([
            name,
            str(int(dice.get("n", 0))),
            _with_interval(dice, "median", 3),
            _with_spread(dice, 3),
            *medians,
            _with_spread(rvd, 1),
        ])  # fmt: skip
    tolerance = results.settings.get("tolerance_mm")
    table = Table(
        "Overview",
        columns,
        rows,
        note=f"Surface Dice (tolerance {tolerance:g} mm), HD95 (larger of the two directed 95th"
        " percentiles) and ASD are medians over the cases where they are defined. RVD is positive"
        " when the prediction is too small.",
    )
    return Section("What is reached", tables=[table])


# --- worst cases ------------------------------------------------------------------------------


def worst_section(results: EvaluationResults) -> Section:
    """Return the pictures that were made, and a list of cases, the lowest Dice first."""
    ranked = worst_first(results.cases)
    pictures = [_worst_picture(one, results.cases) for one in results.worst]
    listed = [measure_of(column) for column in _LISTED]
    shown = ranked.head(_MOST_ROWS)
    noted = bool((shown["note"] != "").any())
    rows = [
        [
            str(row["subject"]),
            str(row["structure"]),
            *(number(_plain(row[m.column]), m.digits) for m in listed),
            *([str(row["note"])] if noted else []),
        ]
        for _, row in shown.iterrows()
    ]
    table = Table(
        f"Cases by Dice, the lowest first ({len(rows)} of {len(ranked)})",
        ["Case", "Structure", *(m.title for m in listed), *(["Note"] if noted else [])],
        rows,
        align="ll" + "r" * len(listed) + ("l" if noted else ""),
        collapsed=bool(pictures),
        note="All cases and measures are in cases.tsv.",
    )
    return Section(
        "Worst cases first",
        "Yellow: reference. Blue: prediction. Each is cut where the largest piece that one mask"
        " has and the other has not is thickest; what only one has is tinted in its colour."
        if pictures
        else "",
        pictures,
        [table],
    )


def _worst_picture(one: ShownCase, cases: pd.DataFrame) -> Picture:
    chosen = (cases["subject"] == one.subject) & (cases["structure"] == one.structure)
    row = cases[chosen].iloc[0]
    distance = f"HD95 {number(row['hd95_max_mm'], 2)} mm, " if is_number(row["hd95_max_mm"]) else ""
    text = (
        f"{one.subject}, {one.structure}: Dice {number(row['dice_3d'], 3)}, {distance}reference"
        f" {number(row['reference_ml'], 2)} mL, predicted {number(row['prediction_ml'], 2)} mL."
    )
    note = str(row["note"])
    remarks = [f"{note[:1].upper()}{note[1:]}." if note else "", one.remark]
    caption = " ".join([text, *(part for part in remarks if part)])
    alt = f"Outlines of both masks. {text}"
    return Picture(one.content, "image/png", alt, caption, WORST_PX)


# --- spread, volumes, slices ------------------------------------------------------------------


def spread_section(results: EvaluationResults, names: Sequence[str]) -> Section:
    """Return box plots of Dice, surface Dice and distances by structure."""
    pictures = []
    for column in _DRAWN:
        measure = measure_of(column)
        scores = [(name, _values(results.cases, name, column)) for name in names[:_MOST_BOXES]]
        medians = ", ".join(f"{n} {number(np.median(v[np.isfinite(v)]), measure.digits)}"
                            for n, v in scores[:6] if np.isfinite(v).any())  # fmt: skip
        title = measure.title
        if column == "surface_dice":
            title += f" (tolerance {results.settings.get('tolerance_mm'):g} mm)"
        for content, width in score_figures(scores, title=title, axis=measure.title):
            alt = f"Box plots of {measure.title} by structure; medians: {medians}"
            pictures.append(Picture(content, "image/svg+xml", alt, measure.meaning, width))
    return Section(
        "How it spreads over the cases",
        "Box: quartiles and median; whiskers: 1.5 times the quartile range; a dot per case. R is"
        " the reference, P the prediction; a and b are the distances from each boundary voxel of"
        " R to the nearest of P, and from P to R.",
        pictures,
        notes=_not_drawn(names, _MOST_BOXES),
    )


def _volume_section(results: EvaluationResults, names: Sequence[str]) -> Section | None:
    shown = [name for name in names if results.agreement[name].n >= 2]
    if not shown:
        return None
    pictures = []
    for name in shown[:_MOST_PLOTS]:
        rows = results.cases[
            (results.cases["structure"] == name) & results.cases["dice_3d"].notna()
        ]
        found = results.agreement[name]
        content = bland_altman_figure(
            rows["reference_ml"].to_numpy(dtype=np.float64),
            rows["prediction_ml"].to_numpy(dtype=np.float64),
            [str(s) for s in rows["subject"]],
            found,
            title=name,
        )
        alt = (
            f"Bland-Altman plot of {name}: bias {number(found.bias, 2)} mL, limits of agreement"
            f" {interval(found.lower, found.upper)} mL"
        )
        pictures.append(Picture(content, "image/svg+xml", alt, "", HALF_PX))
    table = Table(
        "Bias and limits of agreement (mL, predicted - reference)",
        ["Structure", "Cases", "Bias", "95 % CI", "SD", "Lower limit", "95 % CI", "Upper limit",
         "95 % CI"],
        [_agreement_row(name, results.agreement[name]) for name in shown],
        note="Limits: bias ± 1.96 SD of the differences. t intervals (Bland and Altman 1999)."
        " Cases with the structure in neither mask are left out.",
    )  # fmt: skip
    return Section("Volumes (Bland-Altman)", pictures=pictures, tables=[table],
                   notes=_not_drawn(shown, _MOST_PLOTS))  # fmt: skip


def _agreement_row(name: str, found: BlandAltman) -> list[str]:
    return [
        name,
        str(found.n),
        number(found.bias, 2),
        interval(found.bias_low, found.bias_high),
        number(found.sd, 2),
        number(found.lower, 2),
        interval(found.lower_low, found.lower_high),
        number(found.upper, 2),
        interval(found.upper_low, found.upper_high),
    ]


def _not_drawn(names: Sequence[str], most: int) -> list[str]:
    if len(names) <= most:
        return []
    return [f"Drawn: the first {most} of {len(names)} structures; the tables have all."]


def slice_section(results: EvaluationResults, names: Sequence[str]) -> Section:
    """Return counts of slices, and Dice and distances over them."""
    measures = [measure for _, _, measure in SLICE_MEASURES]
    rows = []
    for name in names:
        counts = [
            number(_summary(results, name, f"{kind}_slices").get("total"), 0)
            for kind in ("tp", "fn", "fp")
        ]
        dice = _summary(results, name, "dice_2d", "slices")
        means = [
            number(_summary(results, name, m.column, "slices").get("mean"), m.digits)
            for m in measures[1:]
        ]
        quartiles = [number(dice.get(key), 3) for key in ("mean", "q1", "median", "q3")]
        rows.append([name, *counts, *quartiles, *means])
    table = Table(
        f"Slices of all cases ({results.settings.get('plane')})",
        ["Structure", "In both", "Missed", "Too many", "Mean", "Q1", "Median", "Q3", "Dice",
         "MSD (mm)", "HD95 (mm)"],
        rows,
        groups=[("", 1), ("Number of slices", 3), ("Dice, slices with reference", 4),
                ("Means over slices in both", 3)],
        note="As DenseHighRes3DNet's report: MSD and HD95 within the slice, HD95 as the mean of"
        " the two directed percentiles. Per case in cases.tsv, per slice in slices.tsv.",
    )  # fmt: skip
    return Section("Slice by slice", tables=[table])


# --- numbers and definitions ------------------------------------------------------------------


def _details(results: EvaluationResults, names: Sequence[str]) -> Section:
    columns = ["Measure", "Cases", "Undefined", "Mean", "95 % CI", "SD", "Median", "95 % CI",
               "Quartiles", "Range"]  # fmt: skip
    tables = [
        Table(name, columns, [_detail_row(results, name, m) for m in MEASURES], collapsed=True)
        for name in names
    ]
    return Section(
        "All measures",
        f"95 % intervals: percentiles of {results.settings.get('draws')} resamples of the cases"
        f" (seed {results.settings.get('seed')}). Measures by slice are first taken within each"
        " case.",
        tables=tables,
    )


def _detail_row(results: EvaluationResults, name: str, measure: Measure) -> list[str]:
    row, digits = _summary(results, name, measure.column), measure.digits
    if not row:
        return [measure.title, *[MISSING] * 9]
    more = max(digits, 1)
    return [
        measure.title,
        str(int(row["n"])),
        str(int(row["undefined"])),
        number(row["mean"], more),
        interval(row["mean_low"], row["mean_high"], more),
        number(row["sd"], more),
        number(row["median"], more),
        interval(row["median_low"], row["median_high"], more),
        interval(row["q1"], row["q3"], more),
        interval(row["minimum"], row["maximum"], digits),
    ]


def definitions_section(results: EvaluationResults) -> Section:
    """Return what each measure means, and the settings."""
    meanings = Table(
        "Columns of cases.tsv",
        ["Column", "Name", "Meaning"],
        [[m.column, m.title, m.meaning] for m in MEASURES],
        align="lll",
    )
    asked = Table(
        "Settings",
        ["Setting", "Value"],
        [[name, value] for name, value in flatten(results.settings).items()],
        align="ll",
        narrow=True,
    )
    return Section("Definitions and settings", tables=[meanings, asked], notes=DEFINITIONS,
                   collapsed=True)  # fmt: skip


# --- helpers ----------------------------------------------------------------------------------


def _summary(
    results: EvaluationResults, structure: str, measure: str, over: str = "cases"
) -> dict[str, Any]:
    frame = results.summary
    chosen = (frame["structure"] == structure) & (frame["measure"] == measure)
    rows = frame[chosen & (frame["over"] == over)]
    return {} if rows.empty else {str(k): v for k, v in rows.iloc[0].items()}


def _values(cases: pd.DataFrame, structure: str, column: str) -> Values:
    values = cases.loc[cases["structure"] == structure, column]
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))


def _plain(value: Any) -> float:
    return float("nan") if pd.isna(value) else float(value)


def _with_interval(row: Mapping[str, Any], key: str, digits: int) -> str:
    limits = interval(row.get(f"{key}_low"), row.get(f"{key}_high"), digits)
    middle = number(row.get(key), digits)
    return middle if limits == MISSING else f"{middle} ({limits})"


def _with_spread(row: Mapping[str, Any], digits: int) -> str:
    spread = number(row.get("sd"), digits)
    middle = number(row.get("mean"), digits)
    return middle if spread == MISSING else f"{middle} ± {spread}"

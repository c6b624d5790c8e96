"""Whether the probabilities of a binary study are right, and decisions better."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.report.binary_results import SPLIT_NAMES, SUBJECTS_OF, BinaryResults
from pipeline.report.page import Picture, Section, Table
from pipeline.report.text import MISSING, interval, number, percent
from pipeline.report.validation_figures import calibration_figure, decision_figure


def calibration_section(results: BinaryResults) -> Section:
    """Return predicted against observed, per model, and the measures."""
    split, pictures = results.split, []
    for model in results.models():
        row = results.rows("calibration", split=split, model=model).iloc[0]
        measures = {name.upper(): float(row[name]) for name in ("ici", "e50", "e90")}
        measures["Slope"] = float(row["slope"])
        groups = results.rows("calibration_groups", split=split, model=model)
        curve = results.rows("calibration_smooth", split=split, model=model)
        if groups.empty:  # the model says the same of all
            continue
        pictures.append(
            Picture(
                calibration_figure(
                    groups,
                    None if curve.empty else curve,
                    measures=measures,
                    label="probability",
                    title=results.model(model),
                    predictions=_scores(results, split, model),
                ),
                "image/svg+xml",
                f"Calibration of {results.model(model)}: "
                + ", ".join(f"{k} {v:.3f}" for k, v in measures.items()),
                "",
                372,
            )
        )
    return Section(
        "Are the probabilities right?",
        f"Predicted against observed share with {results.positive}, {SUBJECTS_OF[split]};"
        " below, how often each probability was given.",
        pictures,
        [_calibration_table(results)],
    )


def decision_section(results: BinaryResults) -> Section:
    """Return decision curves, and the net benefit at the chosen thresholds."""
    split = results.split
    labels = {m: results.model(m) for m in [*results.models()[::2], results.models()[1]]}
    picture = Picture(
        decision_figure(
            results.rows("decision", split=split),
            labels=labels,
            title="Net benefit",
            threshold=f"Threshold probability of {results.positive}",
            width_px=860,
        ),
        "image/svg+xml",
        "Decision curves of the models, of treating all and of treating none",
        "Net benefit: true positives minus false positives weighted by the odds of the threshold,"
        " per subject. Bands: 95 % bootstrap intervals.",
        860,
    )
    headline = results.tables["headline"]
    names = [c for c in headline if str(c).startswith("net_benefit_at_")]
    shown = [c for c in names if not str(c).endswith(("_low95", "_high95"))]
    rows = [
        [results.model(str(row["model"])),
         *(f"{number(row[c])} ({interval(row[f'{c}_low95'], row[f'{c}_high95'], 3)})"
           for c in shown)]
        for row in headline.to_dict("records")
    ]  # fmt: skip
    heads = [f"At {float(str(c).removeprefix('net_benefit_at_')):.0%}" for c in shown]
    table = Table("Net benefit (95 % CI)", ["Model", *heads], rows, narrow=True)
    lead = f"Decision curves of the {SUBJECTS_OF[split]}."
    return Section("Would decisions get better?", lead, [picture], [table])


def _calibration_table(results: BinaryResults) -> Table:
    rows = []
    for row in results.tables["calibration"].to_dict("records"):
        rows.append(
            [
                results.model(str(row["model"])),
                SPLIT_NAMES[str(row["split"])],
                _with_interval(row, "slope", 2),
                _with_interval(row, "intercept", 2),
                number(row["ratio_observed_expected"], 2),
                _with_interval(row, "ici"),
                number(row["e50"]),
                number(row["e90"]),
                _with_interval(row, "brier"),
            ]
        )
    return Table(
        "Calibration of every model",
        ["Model", "Split", "Slope", "Intercept", "Observed / expected", "ICI", "E50", "E90",
         "Brier"],
        rows,
        align="llrrrrrrr",
        note="In brackets: 95 % intervals. Slope and intercept of the outcome on the predicted log"
        " odds (ideal: 1 and 0). ICI, E50, E90: mean, median and 90th percentile of the distance"
        " between the smooth curve and the diagonal. Brier: mean squared error of the"
        " probabilities; a constant forecast of the share"
        f" {percent(_share(results))} has {number(_constant_brier(results))}.",
    )  # fmt: skip


def _with_interval(row: Mapping[str, Any], name: str, digits: int = 3) -> str:
    span = interval(row[f"{name}_low95"], row[f"{name}_high95"], digits)
    return number(row[name], digits) + ("" if span == MISSING else f" ({span})")


def _share(results: BinaryResults) -> float:
    row = results.rows("calibration", split=results.split).iloc[0]
    return float(row["events"] / row["n"])


def _constant_brier(results: BinaryResults) -> float:
    share = _share(results)
    return share * (1 - share)


def _scores(results: BinaryResults, split: str, model: str) -> Any:
    frame = results.rows("predictions", split=split)
    return frame[f"score_{model}"].dropna().to_numpy(dtype=np.float64)

"""How well the models of a binary study tell, and the nomogram with its odds ratios."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.report.binary_figures import AreaPair, Odds, areas_figure, odds_figure
from pipeline.report.binary_results import SPLIT_NAMES, SUBJECTS_OF, BinaryResults
from pipeline.report.figures import Curve, roc_figure
from pipeline.report.page import Cell, Picture, Section, Table, relative_link
from pipeline.report.text import interval, is_number, number, p_value


def discrimination_section(results: BinaryResults) -> Section:
    """Return ROC curves, AUCs with intervals, paired tests."""
    headline = results.tables["headline"].iloc[0]
    test = results.split == "test"
    who = (
        f"{int(headline['n_test'])} test subjects ({int(headline['responders_test'])} with"
        f" {results.positive}), scored once"
        if test
        else "held-out folds, as there are no test subjects"
    )
    lead = (
        f"Fitted on {int(headline['n_development'])} development subjects"
        f" ({int(headline['responders_development'])} with {results.positive}); judged on {who}."
    )
    order = ("test", "development") if test else ("development",)
    pictures = [_roc_picture(results, split) for split in order]
    return Section("How well the models tell", lead, [*pictures, _auc_forest(results)],
                   [_auc_table(results), _pair_table(results)])  # fmt: skip


def nomogram_section(results: BinaryResults) -> Section:
    """Return the nomogram, the link to the page that computes, and the odds ratios."""
    pictures, tables = [], []
    if results.nomogram:
        pictures.append(
            Picture(results.nomogram, "image/svg+xml",
                    "Nomogram: an axis of points per variable, total points, and the probability",
                    "Read the points of each variable off the upper scale, add them, and find the"
                    " probability below the total.", 860)
        )  # fmt: skip
    if results.nomogram_page:
        link = relative_link("open the interactive nomogram", *results.nomogram_page)
        tables.append(
            Table("Move the values, read the probability", ["", ""],
                  [["One page that works without a network", link]], align="ll", narrow=True)
        )  # fmt: skip
    frame = results.tables["logistic"]
    rows = odds_rows(results)
    pictures.append(
        Picture(
            odds_figure(rows, outcome=results.positive),
            "image/svg+xml",
            "Odds ratios. " + "; ".join(f"{r.label} {r.ratio:.2f}" for r in rows if not r.heading),
            "Odds ratios of the logistic model behind the nomogram. Numbers are compared at their"
            " upper against their lower quartile among development subjects.",
            860,
        )
    )
    cells: list[list[Cell]] = [
        [results.label(str(row["variable"])), results.level(row["level"]),
         number(row["coefficient"]), number(row["se"]), number(row["odds_ratio"], 2),
         interval(row["low95"], row["high95"]), p_value(row["p"]),
         f"{row['chi2']:.1f} ({int(row['df'])})", p_value(row["p_variable"])]
        for row in frame.to_dict("records")
    ]  # fmt: skip
    tables.append(
        Table("Coefficients of the nomogram's model",
              ["Variable", "Level or contrast", "Log odds ratio", "SE", "Odds ratio", "95 % CI",
               "p", "Wald chi2 (df)", "p, variable"], cells, align="llrrrrrrr", collapsed=True,
              note="Wald's tests. A spline has no single slope: its quartiles are compared, and"
              " the chi2 of the variable tests all its columns.")
    )  # fmt: skip
    return Section("The nomogram", "A logistic model of every covariate, as a ruler.", pictures,
                   tables)  # fmt: skip


def odds_rows(results: BinaryResults) -> list[Odds]:
    """Return the rows of the forest plot, each variable under its heading."""
    rows: list[Odds] = []
    for variable, block in results.tables["logistic"].groupby("variable", sort=False):
        records = block.to_dict("records")
        # per unit and per quartile say the same thing twice: the figure has the comparable one
        shown = [r for r in records if str(r["level"]) != "per unit"]
        rows.append(Odds(results.label(str(variable)), p=float(records[0]["p_variable"]),
                         heading=True))  # fmt: skip
        rows += [
            Odds(_contrast_name(results, r), float(r["odds_ratio"]), float(r["low95"]),
                 float(r["high95"]), float(r["p"]),
                 note="" if is_number(r["low95"]) else "reference")
            for r in shown
        ]  # fmt: skip
    return rows


def _contrast_name(results: BinaryResults, row: Mapping[str, Any]) -> str:
    text = results.level(row["level"])
    return f"{text} (quartiles)" if " vs " in text else text


def _roc_picture(results: BinaryResults, split: str) -> Picture:
    models = results.models()
    curves = []
    for model in [*models[1:], models[0]]:  # the reference last: it stands out
        rows = results.rows("roc", split=split, model=model)
        row = results.rows("auc", split=split, model=model).iloc[0]
        curves.append(
            Curve(f"{results.model(model)}  {row['auc']:.3f}",
                  rows["false_positive_rate"].to_numpy(dtype=np.float64),
                  rows["true_positive_rate"].to_numpy(dtype=np.float64))
        )  # fmt: skip
    words = "; ".join(curve.label for curve in curves)
    name = {"test": "Test subjects", "development": "Development subjects, held-out folds"}[split]
    return Picture(roc_figure(curves, positive=results.positive), "image/svg+xml",
                   f"ROC curves, {name.lower()}. AUC: {words}", f"{name}; the legend gives the"
                   " AUC.", 568)  # fmt: skip


def _auc_forest(results: BinaryResults) -> Picture:
    rows = [
        AreaPair(results.model(model), *(_area(results, split, model) for split in
                                              ("test", "development")))
        for model in results.models()
    ]  # fmt: skip
    words = "; ".join(f"{r.label} {(r.test or r.held_out or (float('nan'),))[0]:.3f}" for r in rows)
    return Picture(areas_figure(rows), "image/svg+xml", f"AUCs with intervals. {words}",
                   "AUC with DeLong's 95 % interval.", 860)  # fmt: skip


def _area(results: BinaryResults, split: str, model: str) -> tuple[float, float, float] | None:
    rows = results.rows("auc", split=split, model=model)
    if rows.empty:
        return None
    row = rows.iloc[0]
    return float(row["auc"]), float(row["low95"]), float(row["high95"])


def _auc_table(results: BinaryResults) -> Table:
    rows: list[list[Cell]] = []
    judged = results.rows("auc", split=results.split).set_index("model")
    own = results.rows("auc", split="development").set_index("model")
    headline = results.tables["headline"].set_index("model")
    for model in results.models():
        row, dev, head = judged.loc[model], own.loc[model], headline.loc[model]
        rows.append(
            [
                results.model(model),
                number(row["auc"]),
                interval(row["low95"], row["high95"], 3),
                interval(row["boot_low95"], row["boot_high95"], 3),
                "reference" if model == head["reference"] else p_value(head["p_vs_reference"]),
                number(dev["auc"]),
                interval(dev["low95"], dev["high95"], 3),
                number(dev["apparent"]),
                number(dev["optimism"]),
                number(dev["corrected"]),
            ]
        )
    return Table(
        f"AUC, {SUBJECTS_OF[results.split]}, and what development promised",
        ["Model", "AUC", "95 % CI, DeLong", "95 % CI, bootstrap", "p", "AUC", "95 % CI",
         "Apparent", "Optimism", "Corrected"],
        rows,
        groups=[("", 1), (SPLIT_NAMES[results.split].capitalize(), 4),
                ("Development, held out", 2), ("Development, same rows", 3)],
        note="p: paired DeLong test against the reference. Apparent: on the rows that fitted the"
        " model. Corrected: apparent minus the bootstrap optimism, which is known to be too small"
        " for trees that fit their own rows closely; the held-out figure is the safer one.",
    )  # fmt: skip


def _pair_table(results: BinaryResults) -> Table:
    rows = [
        [f"{results.model(str(row['first']))} minus {results.model(str(row['second']))}",
         SPLIT_NAMES[str(row["split"])], f"{row['difference']:+.3f}",
         interval(row["low95"], row["high95"], 3), number(row["z"], 2), p_value(row["p"])]
        for row in results.tables["comparison"].to_dict("records")
    ]  # fmt: skip
    return Table("Differences of AUCs on the same rows",
                 ["Models", "Split", "Difference", "95 % CI", "z", "p"], rows, align="llrrrr",
                 note="Paired DeLong; p values are not adjusted for their number.")  # fmt: skip

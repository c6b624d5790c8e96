"""Sections of the page of a binary study, from its tables alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.binary_figures import AreaPair, Odds, areas_figure, odds_figure
from pipeline.report.card import Card
from pipeline.report.figures import Curve, roc_figure
from pipeline.report.flow import Flow, count_flow, draw_flow, flow_in_words
from pipeline.report.page import Cell, Picture, Section, Table, relative_link
from pipeline.report.shap_figures import (
    LEVEL_COLOURS,
    Bar,
    Swarm,
    beeswarm_figure,
    importance_figure,
)
from pipeline.report.text import MISSING, interval, is_number, number, p_value, percent
from pipeline.report.validation_figures import calibration_figure, decision_figure

SPLIT_NAMES = {"development": "development, held out", "test": "test"}

_SUBJECTS_OF = {"development": "held-out development subjects", "test": "test subjects"}

#: What the models are called where the card does not say.
_MODEL_NAMES = {
    "reference": "Reference (logistic)",
    "logistic": "Nomogram (logistic)",
    "xgboost": "Boosted trees (XGBoost)",
}

#: Columns of table one that hold no group.
_FIXED = ("variable", "level", "all", "p", "p_test", "smd", "n")


@dataclass(frozen=True, eq=False)
class BinaryResults:
    """Everything that the page of a binary study shows.

    Attributes
    ----------
    name : str
        Study.
    card : Card
        Words, names of models, columns and levels.
    subjects : DataFrame
        The sheet.
    tables : mapping of file stem to DataFrame
        The tables of ``results/<study>/binary``.
    nomogram : bytes
        Its figure as SVG; empty when there is none.
    nomogram_page : sequence of str
        Path of the interactive page relative to the report; empty when there is none.
    settings, versions, measured : mapping
        From the provenance of the headline table.
    dataset : mapping
        What the data say of themselves (``simulated``).
    """

    name: str
    card: Card
    subjects: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    nomogram: bytes = b""
    nomogram_page: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that counts: test rows where there are any."""
        return "test" if (self.tables["auc"]["split"] == "test").any() else "development"

    @property
    def positive(self) -> str:
        """Name of class 1."""
        return str(self.card.outcome_names[0][1])

    def rows(self, table: str, **wanted: str) -> pd.DataFrame:
        """Return the rows of a table that have these texts in these columns."""
        frame = self.tables[table]
        for column, value in wanted.items():
            frame = frame[(frame[column].astype(str) == value).to_numpy()]
        return frame

    def models(self) -> list[str]:
        """Return the models in the order of the tables."""
        return [str(name) for name in self.tables["headline"]["model"]]

    def label(self, column: str) -> str:
        """Return a column's name for readers."""
        known = {row.column: row.label for row in self.card.patients}
        return known.get(column, column.replace("_", " "))

    def model(self, name: str) -> str:
        """Return a model's name for readers."""
        return self.card.models.get(name, _MODEL_NAMES.get(name, name))

    def level(self, name: Any) -> str:
        """Return a level's name for readers."""
        return self.card.levels.get(str(name), str(name))


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
        f"Predicted against observed share with {results.positive}, {_SUBJECTS_OF[split]};"
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
    lead = f"Decision curves of the {_SUBJECTS_OF[split]}."
    return Section("Would decisions get better?", lead, [picture], [table])


def shap_section(results: BinaryResults) -> Section:
    """Return why the trees decide as they do."""
    table = results.tables["importance"]
    bars = [
        Bar(results.label(str(r["feature"])), float(r["mean_abs_shap"]), float(r["low95"]),
            float(r["high95"]))
        for r in table.to_dict("records")
    ]  # fmt: skip
    order = [str(name) for name in table["feature"]]
    rows = swarm_rows(results, order)
    words = "; ".join(f"{bar.label} {bar.value:.2f}" for bar in bars)
    pictures = [
        Picture(
            beeswarm_figure(rows, outcome=results.positive), "image/svg+xml",
            f"SHAP values of every subject by feature. Mean absolute values: {words}",
            "Each point is a subject: how far the feature moves the log odds away from the mean of"
            " the model. Colour: the value of a number, or the level of a category. Hollow:"
            " missing.", 860,
        ),
        Picture(
            importance_figure(bars), "image/svg+xml", f"Mean absolute SHAP values: {words}",
            "Mean over the subjects with its 95 % bootstrap interval (the model held fixed).", 568,
        ),
    ]  # fmt: skip
    trees = results.measured.get("trees")
    size = f" {trees} trees of depth 2, their number chosen by cross-validation." if trees else ""
    return Section("Why the trees decide as they do",
                   "XGBoost's own SHAP contributions, which add up to the log odds of each"
                   f" subject.{size}", pictures)  # fmt: skip


def swarm_rows(results: BinaryResults, order: Sequence[str]) -> list[Swarm]:
    """Return the rows of the beeswarm: a number's own, a category's levels under its name."""
    kinds, rows = covariate_kinds(results.settings), []
    for feature in order:
        frame = results.rows("shap", feature=feature)
        parts = frame["contribution"].to_numpy(dtype=np.float64)
        label = results.label(feature)
        if kinds.get(feature) != "categorical":
            values = pd.to_numeric(frame["value"]).to_numpy(dtype=np.float64)
            rows.append(Swarm(label, parts, values))
            continue
        rows.append(Swarm(label, np.empty(0), heading=True))
        names = frame["value"].map(lambda v: None if pd.isna(v) else _level_name(v))
        means = frame.assign(name=names).groupby("name")["contribution"].mean()
        for at, name in enumerate(means.sort_values(ascending=False, kind="stable").index):
            chosen = (names == name).to_numpy()
            text = f"{results.level(name)} (n = {int(chosen.sum())})"
            colour = LEVEL_COLOURS[at % len(LEVEL_COLOURS)]
            rows.append(Swarm(text, parts[chosen], colour=colour, indent=True))
        lacking = names.isna().to_numpy()
        if lacking.any():
            rows.append(Swarm(f"missing (n = {int(lacking.sum())})", parts[lacking],
                              np.full(int(lacking.sum()), np.nan), indent=True))  # fmt: skip
    return rows


def covariate_kinds(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return column -> kind from the settings' ``column:kind,...``."""
    pairs = (item.partition(":") for item in str(settings.get("covariates", "")).split(","))
    return {name.strip(): kind.strip() for name, _, kind in pairs if name.strip()}


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
            rows.append([results.level(_level_name(record["level"])), *cells, "", "", ""])
    heads = ["All", *(name.capitalize() for name in groups)]
    return Table(
        caption, ["", *heads, "p", "Test", "SMD"], rows,
        align="l" + "r" * (len(heads) + 1) + "lr", sub_rows=frozenset(levels),
        note="Numbers: mean (SD), or median (quartiles) when skewed. Categories: n (%). SMD:"
        " standardised mean difference; above 0.1 the groups differ noticeably.",
    )  # fmt: skip


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
        f"AUC, {_SUBJECTS_OF[results.split]}, and what development promised",
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


def _level_name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Figures of a survival study: same bytes, the labels a reader needs, numbers of the tables."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from pipeline.report import charts
from pipeline.report import lasso_figures as lasso
from pipeline.report import survival_figures as figures
from pipeline.report import validation_figures as validation
from pipeline.report.canvas import house_style, new_figure
from pipeline.report.text import p_value
from tests.unit.report.survival_tables import HORIZONS, make_agreement, make_arm_tables


@pytest.fixture(scope="module")
def tables():
    return make_arm_tables()[0]


@pytest.fixture
def words(monkeypatch):
    """Keep the comments in which matplotlib says what each drawn text reads."""
    monkeypatch.setattr(charts, "_COMMENT", re.compile(rb"(?!)"))
    return lambda svg: [c.strip() for c in re.findall(r"<!--(.*?)-->", svg.decode(), re.DOTALL)]


def of(frame, **equal):
    for column, value in equal.items():
        frame = frame[(frame[column] == value).to_numpy()]
    return frame


def make(tables, name):
    key = {"split": "development", "horizon_months": 24.0}
    rows = of(tables["predictions"], split="development")
    curve = np.linspace(0, 1, 5)
    recipes = {
        "km": lambda: figures.km_figure(
            of(tables["km"], split="development"), title="Development", note="p = 0.01",
            end_months=84, endpoint="Overall survival",
        ),
        "deviance": lambda: lasso.lasso_deviance_figure(tables["path_summary"]),
        "path": lambda: lasso.lasso_path_figure(tables["path"], tables["path_summary"]),
        "selection": lambda: lasso.selection_figure(tables["selection"]),
        "roc": lambda: figures.time_roc_figure(
            [figures.TimeCurve("one 0.70", curve, curve**0.5)], title="24 months", months=24
        ),
        "cutoff": lambda: figures.cutoff_figure(
            tables["cutoff"]["cutoff"].to_numpy(), tables["cutoff"]["youden"].to_numpy(),
            chosen=0.107, axis="Youden index",
        ),
        "waterfall": lambda: figures.waterfall_figure(
            rows["rad_score"].to_numpy(), rows["event"].to_numpy(), cutoff=0.1, title="Development",
            event="died",
        ),
        "hazard": lambda: figures.hazard_figure(
            figures.hazard_rows(of(tables["cox"], split="test"), lambda v, level: f"{v} {level}"),
            title="Test", note="small print",
        ),
        "calibration": lambda: validation.calibration_figure(
            of(tables["calibration_groups"], model="combined", **key),
            of(tables["calibration_smooth"], model="combined", **key),
            measures={"ICI": 0.0214, "E90": np.nan}, label="survival at 24 months",
            title="24 months", observed="Kaplan-Meier", predictions=rows["survival_combined_24m"],
        ),
        "decision": lambda: validation.decision_figure(
            of(tables["decision"], **key), labels={"combined": "Both"}, title="24 months"
        ),
        "agreement": lambda: validation.feature_agreement_figure(make_agreement()),
    }  # fmt: skip
    return recipes[name]()


#: What each figure has to say; text is compared with what matplotlib was asked to draw.
SAID = {
    "km": ["Development", "p = 0.01", "Number at risk", "Low risk", "High risk", "Months",
           "Overall survival probability", "72"],
    "deviance": ["Features in the model", "Partial-likelihood deviance", "used: λ 0.0405"],
    "path": ["shape_Maximum3DDiameter", "firstorder_Energy", "lowest: λ 0.0405"],
    "selection": ["shape_Maximum3DDiameter", "in the Rad-score", "99 %"],
    "roc": ["one 0.70", "1 - specificity at 24 months"],
    "cutoff": ["chosen: 0.107", "Youden index"],
    "waterfall": ["died (n = 79)", "censored (n = 41)"],
    "hazard": ["risk_group high", "1 (reference)", "small print",
               "multivariable: adjusted for the others"],
    "calibration": ["ICI  0.021", "Predicted survival at 24 months", "corrected for optimism",
                    "Observed survival at 24 months (Kaplan-Meier)"],
    "decision": ["Both", "clinical", "treat all", "treat none", "Threshold probability", "50 %"],
    "agreement": ["agrees (12)", "same definition (6)", "differs (6)", "no counterpart (1)",
                  "no value"],
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_figures_are_well_formed_and_repeat(tables, name):
    first = make(tables, name)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        assert make(tables, name) == first
    ElementTree.fromstring(first)
    assert b"<script" not in first
    assert b"dc:date" not in first


@pytest.mark.parametrize("name", SAID)
def test_labels_are_there(tables, name, words):
    said = words(make(tables, name))
    assert [label for label in SAID[name] if label not in said] == []


@pytest.mark.parametrize("name", ["km", "calibration", "decision", "agreement", "hazard"])
def test_row_order_does_not_matter(tables, name):
    turned = {key: frame[::-1] for key, frame in tables.items()} | {"cox": tables["cox"]}
    assert make(turned, name) == make(tables, name)


def test_numbers_at_risk_are_those_of_the_subjects(tables, words):
    said = words(make(tables, "km"))
    drawn = said[said.index("Number at risk") + 1 :]
    rows = of(tables["predictions"], split="development")
    for group in ("low", "high"):
        place = drawn.index(f"{group.capitalize()} risk")
        times = of(rows, risk_group=group)["time_months"]
        wanted = [str(int((times >= tick).sum())) for tick in range(0, 85, 12)]
        assert drawn[place + 1 : place + 1 + len(wanted)] == wanted


def test_numbers_at_risk_stand_below_their_ticks(tables):
    km = of(tables["km"], split="test")
    ticks = np.array([0.0, 12.0, 24.0])
    with house_style():
        figure = new_figure(568, 500)
        axes = charts.place(figure, 94, 60, 18, 120)
        axes.set_xlim(0, 50)
        figures._draw_at_risk(figure, axes, km, {"low": ("blue", "-")}, ticks)
        counts = figure.texts[2:]
        wanted = figure.transFigure.inverted().transform(
            axes.transData.transform([(t, 0) for t in ticks])
        )
    assert [text.get_position()[0] for text in counts] == pytest.approx(wanted[:, 0].tolist())
    assert {text.get_position()[1] < axes.get_position().y0 for text in counts} == {True}


def test_features_lose_their_set_and_their_class_of_image():
    assert charts.feature_name("published.original_glcm_Idn") == "glcm_Idn"
    assert charts.feature_name("baseline.shape_MeshVolume_mm3") == "shape_MeshVolume_mm3"
    long = charts.feature_name("original_" + "a" * 30 + "b" * 30, 20)
    assert len(long) == 20
    assert long.startswith("aaa")
    assert long.endswith("bbb")


def test_the_weakest_penalties_are_not_drawn(tables):
    shown = lasso._shown(tables["path_summary"])["lambda"].to_numpy()
    assert (np.diff(shown) < 0).all()
    assert shown.min() >= 0.0405 * np.exp(-1.5)
    assert shown.min() < 0.0405 * np.exp(-1.3)
    unmarked = tables["path_summary"].assign(is_min=0, is_1se=0, is_used=0)
    assert len(lasso._shown(unmarked)) == len(unmarked)


@pytest.mark.parametrize(
    ("x", "y", "free"), [(0.1, 0.9, False), (0.9, 0.1, True), (0.5, 0.5, True)]
)
def test_measures_stand_in_the_corner_without_points(x, y, free):
    groups = pd.DataFrame({"predicted": [x], "observed": [y]})
    assert validation._upper_left_is_free(groups, None) is free


def test_at_risk_by_hand():
    rows = pd.DataFrame({"time_months": [0.0, 5.0, 12.0, 13.0], "at_risk": [9, 9, 7, 2]})
    ticks = np.array([0.0, 5.0, 6.0, 12.0, 12.5, 24.0])
    assert figures.numbers_at_risk(rows, ticks) == [9, 9, 7, 7, 2, 0]


def test_survival_at_a_time_by_hand():
    rows = pd.DataFrame({"time_months": [2.0, 4.0, 8.0], "survival": [0.9, 0.5, 0.5],
                         "low95": [0.8, 0.3, 0.3], "high95": [0.95, 0.7, 0.7]})  # fmt: skip
    assert figures.survival_at(rows, 1.0) == (1.0, 1.0, 1.0)
    assert figures.survival_at(rows, 4.0) == (0.5, 0.3, 0.7)
    assert np.isnan(figures.survival_at(rows, 8.1)).all()


@pytest.mark.parametrize(
    ("end", "ticks"),
    [(84, [0, 12, 24, 36, 48, 60, 72, 84]), (7, list(range(8))), (20, [0, 3, 6, 9, 12, 15, 18]),
     (150, [0, 24, 48, 72, 96, 120, 144])],
)  # fmt: skip
def test_months_are_told_in_steps_that_readers_know(end, ticks):
    assert charts.month_ticks(end).tolist() == ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-9, "p < 0.001"), (0.0135, "p = 0.013"), (0.5, "p = 0.50"), (np.nan, "p = –")],  # noqa: RUF001
)
def test_p_values(value, text):
    assert charts.p_text(value) == text


def test_labels_are_moved_apart_and_keep_their_order():
    targets = np.array([0.5, 0.5, 0.1, 0.52])
    found = charts.spread(targets, 0.1, 0.0, 1.0)
    assert np.diff(np.sort(found)).min() >= 0.1 - 1e-12
    assert np.argsort(found, kind="stable").tolist() == [2, 0, 1, 3]
    crowded = charts.spread(np.full(30, 0.9), 0.1, 0.0, 1.0)
    assert crowded.min() >= -1e-12
    assert crowded.max() <= 1.0
    assert charts.spread(np.empty(0), 1, 0, 1).size == 0


def test_slim_figures_hold_the_same_drawing():
    svg = make(make_arm_tables()[0], "roc")
    assert b"\n" not in svg.strip()
    numbers = [float(n) for n in re.findall(rb"(?<=[ML] )\d+\.\d+", svg)]
    assert len(numbers) > 10
    assert all(round(n, 2) == n for n in numbers if n >= 1)


def test_a_dollar_sign_is_no_formula(tables, words):
    km = of(tables["km"], split="test").assign(group="$x")
    km = km.drop_duplicates("time_months")
    assert any("$x" in text for text in words(figures.km_figure(km, title="a $ b $ c")))


def test_hazard_ratios_beyond_the_axis_become_arrows():
    wide = figures.Hazard("w", (3.0, 0.001, 9000.0, 0.5), None)
    assert figures._hazard_limits([wide.univariable]) == (0.05, 20.0)
    ElementTree.fromstring(figures.hazard_figure([wide], title="t"))


def test_estimates_that_could_not_be_made_are_left_out():
    rows = [figures.Hazard("a", (np.nan, np.nan, np.nan, np.nan), None)]
    ElementTree.fromstring(figures.hazard_figure(rows, title="t"))


def test_hazards_pair_both_analyses(tables):
    rows = figures.hazard_rows(
        of(tables["cox"], split="development"), lambda v, level: f"{v}={level}"
    )
    found = {row.label: row for row in rows}
    assert found["sex=male"].multivariable is None
    high = of(tables["cox"], split="development", level="high", analysis="multivariable").iloc[0]
    assert found["risk_group=high"].multivariable[0] == high["hazard_ratio"]


def test_figures_of_binary_outcomes_need_no_interval(tables):
    """The same two figures serve a study without times."""
    groups = pd.DataFrame({"predicted": [0.2, 0.7], "observed": [0.25, np.nan],
                           "low95": [0.1, np.nan], "high95": [0.4, np.nan]})  # fmt: skip
    ElementTree.fromstring(validation.calibration_figure(groups, label="complete response"))
    table = of(tables["decision"], split="test", horizon_months=HORIZONS[0])
    bare = table.drop(columns=["low95", "high95"])
    ElementTree.fromstring(validation.decision_figure(bare))


def test_the_decision_axis_holds_every_model(tables):
    table = of(tables["decision"], split="test", horizon_months=24.0)
    low, high = validation._benefit_limits(table)
    models = table[~table["model"].isin(["all"])]
    assert low < 0
    assert high > models["net_benefit"].max()


def test_p_of_the_forest_plot_is_formatted(tables, words):
    said = words(make(tables, "hazard"))
    row = of(tables["cox"], split="test", level="II", analysis="univariable").iloc[0]
    assert p_value(row["p"]) in said
    assert f"{row['hazard_ratio']:.2f} ({row['low95']:.2f}–{row['high95']:.2f})" in said  # noqa: RUF001

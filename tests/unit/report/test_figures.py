"""Figures of numbers: same bytes each time, whatever the user's own style."""

from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from pipeline.report import figures
from pipeline.report.figures import Curve, Estimate, Line, Sample


def make(name):
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, 11)
    samples = [
        Sample("a\n(n = 9)", [("development", rng.normal(size=5)), ("test", np.ones(4))]),
        Sample("b", [("development", np.array([np.nan, 2.0])), ("test", np.zeros(0))]),
    ]
    pairs = [Sample(str(n), [("", rng.normal(size=6))]) for n in range(4)]
    recipes = {
        "roc": lambda: figures.roc_figure(
            [Curve("one 0.7", x, x**0.5, [("p", 0.7, 0.6)]), Curve("two", x, x)], positive="case"
        ),
        "forest": lambda: figures.forest_figure(
            [Estimate("m", 0.7, 0.6, 0.8, (0.71, 0.5, 0.9)), Estimate("n", 0.5, np.nan, np.nan)],
            axis="AUC",
        ),
        "box": lambda: figures.box_figure(samples, title="t", axis="a", note="p = 0.1"),
        "pairs": lambda: figures.box_figure(pairs, title="t", axis="a", note="", pairs=True),
        "empty": lambda: figures.box_figure(
            [Sample("none", [("", np.array([np.nan]))])], title="t", axis="a", note=""
        ),
        "agreement": lambda: figures.agreement_figure(x + 0.2, x * 1.1 + 0.2, axis="J"),
        "no agreement": lambda: figures.agreement_figure(np.zeros(0), np.zeros(0), axis="J"),
        "histogram": lambda: figures.histogram_figure(
            2.0 ** rng.normal(-1, 0.5, 99), axis="J", counted="n", title="t", log2=True,
            edges=2.0 ** np.linspace(-4, 2, 25), lines=[(1.0, "black", "one")],
        ),
        "curves": lambda: figures.curve_figure(
            [Line("l", x, x, "blue")], x_axis="s", y_axis="signal", title="t"
        ),
        "bars": lambda: figures.bar_figure(["long name", "b"], np.array([2.0, 1.0]), axis="a"),
    }  # fmt: skip
    return recipes[name]()


NAMES = ["roc", "forest", "box", "pairs", "empty", "agreement", "no agreement", "histogram",
         "curves", "bars"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_svg_is_well_formed_and_repeats(name):
    first = make(name)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        second = make(name)
    assert first == second
    ElementTree.fromstring(first)
    text = first.decode()
    assert "dc:date" not in text
    assert "<script" not in text


def test_style_is_not_left_behind():
    before = dict(mpl.rcParams)
    make("box")
    assert dict(mpl.rcParams) == before


def test_values_of_a_sample_leave_out_the_missing():
    sample = Sample("s", [("a", np.array([1.0, np.nan])), ("b", np.array([2.0]))])
    assert sample.values.tolist() == [1.0, 2.0]


def test_jitter_is_bounded_and_follows_the_values():
    values = np.random.default_rng(0).normal(size=50)
    shifts = figures._jitter(values)
    assert np.abs(shifts).max() <= 0.17
    assert np.ptp(shifts) > 0.2
    assert np.array_equal(figures._jitter(values[::-1]), shifts[::-1])


def test_forest_limits_hold_every_interval():
    rows = [Estimate("a", 0.7, 0.4, 0.9, (0.8, 0.3, 0.95))]
    low, high = figures._forest_limits(rows, 0.5)
    assert low < 0.3
    assert high > 0.95

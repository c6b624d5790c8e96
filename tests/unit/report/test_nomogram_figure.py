import io
import itertools
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from PIL import Image

from pipeline.model.nomogram import NomogramModel, build_nomogram
from pipeline.model.terms import Term
from pipeline.report.nomogram_figure import (
    nomogram_figure,
    nomogram_layout,
    number_text,
    probability_title,
)

AGE = Term("age", "continuous", low=32, high=88, label="Age", unit="years")
NODES = Term("nodes", "continuous", low=0, high=6, values=(0, 1, 2, 3, 4, 5, 6))
BENT = Term("marker", "spline", knots=(1.0, 2.2, 3.6, 7.7), low=0.6, high=15.8)
STAGE = Term("stage", "categorical", levels=("I", "II", "III", "IV"), label="TNM stage")
GRADE = Term(
    "grade", "categorical", label="Differentiation",
    levels=("well differentiated", "moderately differentiated", "poorly differentiated",
            "undifferentiated", "unknown (not reported)"),
)  # fmt: skip
LONG = Term(
    "original_shape_Maximum2DDiameterRow_of_the_largest_lesion_in_the_liver", "continuous",
    low=-0.31, high=0.29,
)  # fmt: skip


def _model(*parts, kind="cox", outcome="disease-free survival"):
    terms = tuple(term for term, _ in parts)
    coefficients = tuple(float(c) for _, values in parts for c in values)
    return NomogramModel(
        kind=kind, terms=terms, coefficients=coefficients, intercept=-1.0,
        baseline={36.0: 0.7, 60.0: 0.5} if kind == "cox" else {}, outcome=outcome,
        lp_low=-2.0, lp_high=2.5,
    )  # fmt: skip


def _cases():
    two = _model((AGE, [0.03]), (STAGE, [0.3, 0.8, 1.7]))
    bent = _model(
        (AGE, [0.03]), (BENT, [0.8, -4.1, 7.3]), (NODES, [0.01]), (STAGE, [0.1, 0.11, 0.12])
    )
    many = _model(
        (AGE, [0.03]), (BENT, [0.8, -4.1, 7.3]), (NODES, [-0.08]), (STAGE, [0.2, 0.7, 1.7]),
        (GRADE, [0.5, 0.2, 0.3, 0.4]), (LONG, [-0.2]),
        *[(Term(f"x{i}", "continuous", low=-300, high=150), [0.002 * (i + 1)]) for i in range(4)],
    )  # fmt: skip
    risk = _model((AGE, [0.03]), (GRADE, [0.5, 0.6, 0.7, 0.8]), kind="logistic", outcome="response")
    return {"two": two, "bent": bent, "many": many, "risk": risk}


CASES = {name: build_nomogram(model) for name, model in _cases().items()}


def _boxes(row):
    # widths by another route than the code's: the rasteriser's own metrics at 100 dpi
    renderer = RendererAgg(10, 10, 100)
    with mpl.rc_context({"text.hinting": "none"}):
        for tick in row.ticks:
            if tick.text:
                font = FontProperties(family="DejaVu Sans", size=8)
                width = renderer.get_text_width_height_descent(tick.text, font, False)[0]
                yield tick.tier, tick.x - width / 2, tick.x + width / 2


@pytest.mark.parametrize("width_px", [640, 820, 1000])
@pytest.mark.parametrize("name", CASES)
def test_no_two_labels_overlap_and_all_lie_in_the_figure(name, width_px):
    layout = nomogram_layout(CASES[name], width_px=width_px, linear_predictor=True, scale="percent")
    for row in layout.rows:
        boxes = sorted(_boxes(row))
        assert boxes, row.key
        for one, other in itertools.pairwise(boxes):
            if one[0] == other[0]:
                assert other[1] - one[2] > 1.5, (row.key, one, other)
        assert min(box[1] for box in boxes) > 0
        assert max(box[2] for box in boxes) < width_px
    # the lowest label of a row ends above the highest of the next
    for upper, lower in itertools.pairwise(layout.rows):
        under = max(8 + 15 * (t.tier + 1) for t in upper.ticks if t.text)
        above = 21 if any(t.tier < 0 for t in lower.ticks if t.text) else 0
        assert upper.y + under <= lower.y - above


def test_every_level_keeps_its_label():
    for nomogram in CASES.values():
        rows = {row.key: row for row in nomogram_layout(nomogram, width_px=640).rows}
        for axis in nomogram.variables:
            if axis.term.kind == "categorical":
                assert tuple(t.text for t in rows[axis.term.name].ticks) == axis.term.levels


def test_ticks_lie_at_their_points():
    nomogram = CASES["bent"]
    layout = nomogram_layout(nomogram)
    rows = {row.key: row for row in layout.rows}
    assert [row.key for row in layout.rows] == [
        "points", "age", "marker", "nodes", "stage", "total", "probability-36", "probability-60",
    ]  # fmt: skip
    for axis in nomogram.variables[:1]:
        assert [t.at for t in rows["age"].ticks] == list(axis.points)
    assert layout.x(0) == layout.left
    assert layout.x(100) == layout.right
    assert layout.x(nomogram.total_points[-1], total=True) == layout.right
    scale = rows["probability-36"]
    wanted = dict(zip(nomogram.probabilities[0].total_points, nomogram.probabilities[0].values,
                      strict=True))  # fmt: skip
    assert scale.ticks
    assert all(number_text(wanted[t.at]) == t.text for t in scale.ticks if t.text)


def test_a_bent_effect_has_its_falling_branch_above():
    nomogram = CASES["bent"]
    axis = nomogram.variables[1]
    row = next(r for r in nomogram_layout(nomogram).rows if r.key == "marker")
    places = {tick.at: tick for tick in row.ticks if tick.text}
    labelled = [
        (v, places[p]) for v, p in zip(axis.values, axis.points, strict=True) if p in places
    ]
    top = int(np.argmax(axis.points))
    for value, tick in labelled:
        falling = value > axis.values[top]
        assert tick.up == falling
        assert tick.tier == (-1 if falling else 0)
    assert {tick.up for _, tick in labelled} == {True, False}
    assert row.minor == ()


def test_small_ticks_halve_a_straight_axis():
    rows = {row.key: row for row in nomogram_layout(CASES["two"]).rows}
    points = np.array(CASES["two"].variables[0].points)
    assert rows["age"].minor == pytest.approx((points[1:] + points[:-1]) / 2)
    assert rows["stage"].minor == ()


def test_titles_say_what_the_probability_is():
    model = _model((AGE, [0.03]))
    assert probability_title(model, 36) == "3-year disease-free survival probability"
    assert probability_title(model, 42) == "42-month disease-free survival probability"
    event = probability_title(model, 60, "event")
    assert event == "5-year event probability (disease-free survival)"
    risk = _model((AGE, [0.03]), kind="logistic", outcome="response")
    assert probability_title(risk, 0) == "Probability of response"


def test_long_names_break_where_a_reader_would():
    row = next(r for r in nomogram_layout(CASES["many"]).rows if r.key == LONG.name)
    assert "".join(row.title) == LONG.name
    assert row.title[0] == "original_shape_"
    assert max(len(line) for line in row.title) <= 26


def test_svg_is_the_same_again_and_needs_nothing_else():
    one = nomogram_figure(CASES["many"])
    assert nomogram_figure(CASES["many"]) == one
    root = ElementTree.fromstring(one)
    assert root.attrib["width"] == f"{820 * 0.72:g}pt"
    links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert all(link.startswith("#") for link in links)


def test_png_has_the_dots_of_print():
    layout = nomogram_layout(CASES["two"])
    picture = Image.open(io.BytesIO(nomogram_figure(CASES["two"], media="png", dpi=300)))
    assert picture.size == pytest.approx((820 * 3, layout.height * 3), abs=2)
    assert round(picture.info["dpi"][0]) == 300
    pixels = np.asarray(picture.convert("L"))
    row = layout.rows[1]
    x, y = layout.x(50), row.y
    near = pixels[round(3 * y) - 3 : round(3 * y) + 4, round(3 * x)]
    assert near.min() < 90  # the axis of age is drawn where the layout says


def test_a_dollar_is_a_dollar():
    model = _model((Term("cost", "continuous", low=0, high=9, label="Cost $ or $\\frac{1$"), [1.0]))
    svg = nomogram_figure(build_nomogram(model))
    assert b"<svg" in svg

"""Beeswarm, importance and forest figures: subjects in their place, each time alike."""

import base64
import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from pipeline.report import shap_figures
from pipeline.report.binary_figures import AreaPair, Odds, areas_figure, odds_figure
from pipeline.report.shap_figures import Bar, Swarm, beeswarm_figure, importance_figure


def rows():
    rng = np.random.default_rng(2)
    parts = rng.normal(size=680)
    values = parts + rng.normal(size=680)
    values[:4] = np.nan
    return [
        Swarm("Subtype", np.empty(0), heading=True),
        Swarm("a (n = 2)", np.array([-1.0, -1.0]), colour="#0072b2", indent=True),
        Swarm("one $ sign", parts, values),
        Swarm("constant", np.zeros(5), np.ones(5)),
    ]


def make(name):
    nan = float("nan")
    odds = [Odds("Stage", heading=True, p=0.01), Odds("I", 1.0, note="reference"),
            Odds("II", 2.0, 1.1, 3.6, 0.02), Odds("III", 300.0, 0.001, 9e4, 0.9)]  # fmt: skip
    recipes = {
        "beeswarm": lambda: beeswarm_figure(rows(), outcome="response"),
        "beeswarm without rows": lambda: beeswarm_figure([], outcome="response"),
        "importance": lambda: importance_figure([Bar("a", 0.4, 0.3, 0.5), Bar("b", 0.1)]),
        "no importance": lambda: importance_figure([Bar("a", 0.0, nan, nan)]),
        "odds": lambda: odds_figure(odds, outcome="response"),
        "areas": lambda: areas_figure([AreaPair("m", (0.7, 0.6, 0.8), (0.6, 0.5, 0.7)),
                                       AreaPair("n", None, (0.6, 0.5, 0.7))]),
    }  # fmt: skip
    return recipes[name]()


NAMES = ["beeswarm", "beeswarm without rows", "importance", "no importance", "odds", "areas"]


@pytest.mark.parametrize("name", NAMES)
def test_svg_is_well_formed_small_and_repeats(name):
    first = make(name)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        second = make(name)
    assert first == second
    ElementTree.fromstring(first)
    assert len(first) < 300_000
    assert b"dc:date" not in first


def points_of(svg):
    """Pixels of the raster layers of a figure, with their place in the SVG."""
    found = []
    for image in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}image"):
        uri = image.attrib["{http://www.w3.org/1999/xlink}href"]
        data = base64.b64decode(re.sub(r"^data:image/png;base64,\s*", "", uri))
        found.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")))
    return found


def test_points_lie_on_the_side_of_their_sign():
    # a colour scale from blue (low) to vermilion (high): high values to the right must be red
    x = np.linspace(-1, 1, 300)
    layer = points_of(
        beeswarm_figure([Swarm("x", x[x != 0], x[x != 0])], outcome="response")
    )[0].astype(float)  # fmt: skip
    drawn = layer[..., 3] > 200
    half = layer.shape[1] // 2
    redness = layer[..., 0] - layer[..., 2]
    assert redness[:, :half][drawn[:, :half]].mean() < -60
    assert redness[:, half:][drawn[:, half:]].mean() > 60


def test_neighbours_part_and_stay_in_their_row():
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(0, 0.05, 400), rng.normal(3, 1, 100)]
    places = shap_figures.spread(x, 6.0)
    assert np.abs(places).max() <= 1
    dense = np.abs(x) < 0.05
    # the outline follows the density: the crowd is spread wide, the tail stays near the line
    assert places[dense].std() > 4 * places[~dense & (x > 1)].std()
    # no two of the crowd coincide
    spots = np.round(np.column_stack([x, places])[dense], 6)
    assert len(np.unique(spots, axis=0)) == dense.sum()


def test_places_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(1)
    x = rng.normal(size=50)
    order = rng.permutation(50)
    np.testing.assert_allclose(
        shap_figures.spread(x[order], 5.0), shap_figures.spread(x, 5.0)[order], atol=1e-12
    )
    assert shap_figures.spread(np.empty(0), 1.0).size == 0


def test_colours_run_between_the_quantiles():
    values = np.r_[np.arange(100.0), 1e6, np.nan]
    scaled = shap_figures.scaled(values)
    assert np.isnan(scaled[-1])
    assert scaled[-2] == 1.0
    assert scaled[50] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(shap_figures.scaled(np.ones(3)), 0.5)
    assert np.isnan(shap_figures.scaled(np.array([np.nan]))).all()

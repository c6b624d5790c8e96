import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.model.splines import default_knots, spline_basis

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden/nomogram_splines.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", GOLDEN["knots"], ids=lambda c: f"{c['name']}-{c['n_knots']}")
def test_knots_are_those_of_hmisc(case):
    values = GOLDEN["sets"][case["name"]]
    if not case["knots"]:
        with pytest.raises(ModelError, match="different values"):
            default_knots(values, case["n_knots"])
        return
    knots = default_knots(values, case["n_knots"])
    assert knots == pytest.approx(case["knots"], abs=1e-10)


@pytest.mark.parametrize("case", GOLDEN["basis"], ids=lambda c: str(c["n_knots"]))
def test_basis_is_that_of_hmisc(case):
    knots = default_knots(GOLDEN["sets"]["all"], case["n_knots"])
    basis = spline_basis(GOLDEN["grid"], knots)
    assert basis.shape == (6, case["n_knots"] - 1)
    assert np.abs(basis.T - np.array(case["columns"])).max() < 1e-10


def test_basis_is_linear_beyond_the_outer_knots_and_smooth_between():
    knots = (1.0, 2.0, 4.0, 7.0)
    for x in (np.linspace(-5, 1, 9), np.linspace(7, 20, 9)):
        assert np.abs(np.diff(spline_basis(x, knots), 2, axis=0)).max() < 1e-10
    x = np.linspace(-1, 9, 10_001)
    third = np.diff(spline_basis(x, knots), 2, axis=0) / 1e-6
    assert np.abs(np.diff(third, axis=0)).max() < 0.01  # second derivative without a jump


def test_unit_of_the_variable_does_not_matter():
    x = np.array(GOLDEN["sets"]["all"])
    one = spline_basis(x, default_knots(x, 5))
    other = spline_basis(1000 * x, default_knots(1000 * x, 5))
    assert other == pytest.approx(1000 * one, rel=1e-9, abs=1e-9)


def test_what_cannot_have_knots_is_refused():
    with pytest.raises(ModelError, match="column age: 5 values are too few"):
        default_knots([1, 2, 3, 4, np.nan, 5], 3, what="column age")
    with pytest.raises(ModelError, match="only 2 different values"):
        default_knots([0, 1] * 20, 4)
    with pytest.raises(ModelError, match="at least 3"):
        default_knots(np.arange(20), 2)
    with pytest.raises(ModelError, match="increasing"):
        spline_basis([1.0], (1.0, 1.0, 2.0))

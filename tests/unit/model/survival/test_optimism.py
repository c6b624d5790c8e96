"""Optimism against rms::validate on the very same resamples, and in the long run."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.resampling import bootstrap_rows
from pipeline.model.survival.cox import fit_cox
from pipeline.model.survival.discrimination import harrell_c
from pipeline.model.survival.optimism import bootstrap_optimism
from pipeline.model.survival.outcome import Outcome

GOLDEN = Path(__file__).parents[3] / "golden"


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"validation_{name}.tsv", sep="\t", comment="#")


def _cox_steps(matrix, outcome):
    names = [f"x{j}" for j in range(matrix.shape[1])]

    def fit(rows):
        return fit_cox(matrix[rows], names, outcome.take(rows))

    def metrics(model, rows):
        score, seen = model.linear_predictor(matrix[rows]), outcome.take(rows)
        slope = fit_cox(score[:, np.newaxis], ["lp"], seen).coefficients[0]
        return {"dxy": 2 * harrell_c(score, seen).value - 1, "slope": float(slope)}

    return fit, metrics


def test_equals_rms_validate_on_its_resamples():
    table = _read("rows")
    table = table[table["split"] == "development"]
    outcome = Outcome(table["months"].to_numpy(float), table["event"].to_numpy() == 1)
    rows = _read("resamples").to_numpy().T
    found = bootstrap_optimism(*_cox_steps(table[["x1", "x2"]].to_numpy(), outcome), rows)
    golden = _read("values").set_index(["case", "item"])["value"]
    shown = found.table.set_index("metric")
    assert found.failures == ()
    assert found.draws == 20
    assert shown.loc["dxy", "apparent"] == pytest.approx(
        golden["validate_dxy", "apparent"], abs=1e-8
    )
    # R's survival, fitted to the last digit
    assert shown.loc["dxy", "training"] == pytest.approx(golden["hand", "training"], abs=1e-8)
    assert shown.loc["dxy", "test"] == pytest.approx(golden["hand", "test"], abs=1e-8)
    assert shown.loc["slope", "test"] == pytest.approx(golden["hand", "slope"], abs=1e-8)
    # rms itself, which stops its fits at 1e-4: a pair of near-equal scores may swap
    for name in ("dxy", "slope"):
        for column in ("training", "test", "optimism", "corrected", "n"):
            assert shown.loc[name, column] == pytest.approx(
                golden[f"validate_{name}", column], abs=5e-5
            )
    assert found.corrected("slope") == shown.loc["slope", "corrected"]


@pytest.mark.slow
def test_corrected_is_right_in_the_long_run():
    # 6 noise columns beside a weak one, 60 subjects: apparent performance is far too good
    rng = np.random.default_rng(0)
    fresh = rng.normal(size=(4000, 7))
    whole = Outcome(rng.exponential(np.exp(-0.5 * fresh[:, 0])), np.ones(4000, dtype=bool))
    gaps = []
    for repeat in range(40):
        draw = np.random.default_rng(repeat)
        matrix = draw.normal(size=(60, 7))
        seen = Outcome(draw.exponential(np.exp(-0.5 * matrix[:, 0])), np.ones(60, dtype=bool))
        found = bootstrap_optimism(*_cox_steps(matrix, seen), bootstrap_rows(60, 50, repeat))
        model = fit_cox(matrix, [f"x{j}" for j in range(7)], seen)
        take = slice(repeat * 100, repeat * 100 + 100)
        score = model.linear_predictor(fresh[take])
        part = Outcome(whole.months[take], whole.event[take])
        true = 2 * harrell_c(score, part).value - 1
        shown = found.table.set_index("metric").loc["dxy"]
        gaps.append((shown["apparent"] - true, shown["corrected"] - true))
    apparent, corrected = np.mean(gaps, axis=0)
    assert apparent > 0.12
    assert abs(corrected) < 0.04


def test_a_constant_predictor_has_no_optimism():
    values = np.arange(10.0)
    found = bootstrap_optimism(
        lambda rows: 3.0,
        lambda guess, rows: {"error": float(((values - guess)[rows] ** 2).mean())},
        np.tile(np.arange(10), (5, 1)),
    )
    assert found.optimism("error") == 0
    assert found.corrected("error") == pytest.approx(((values - 3) ** 2).mean())


def test_the_mean_has_its_known_optimism():
    # squared error of a mean: sigma^2 / n too low in the sample, as much too high outside
    values = np.random.default_rng(2).normal(size=30)
    rows = bootstrap_rows(30, 4000, 1)
    found = bootstrap_optimism(
        lambda chosen: float(values[chosen].mean()),
        lambda guess, chosen: {"error": float(((values[chosen] - guess) ** 2).mean())},
        rows,
    )
    assert found.optimism("error") == pytest.approx(-2 * values.var() / 30, rel=0.1)


def test_failures_are_counted_and_told(caplog):
    rows = np.tile(np.arange(6), (10, 1))
    rows[2], rows[7] = 0, 5

    def fit(chosen):
        if np.unique(chosen).size == 1:
            raise ModelError("one subject only")
        return 0

    def metrics(model, chosen):
        return {"a": 1.0, "b": float("nan") if chosen is rows[0] else 2.0}

    with caplog.at_level(logging.WARNING):
        found = bootstrap_optimism(fit, metrics, rows)
    assert found.failures == ("resample 3: one subject only", "resample 8: one subject only")
    assert "2 of 10 bootstrap resamples failed" in caplog.text
    assert found.table["n"].tolist() == [8, 8]


def test_undefined_metrics_are_left_out_of_their_own_mean():
    rows = np.tile(np.arange(6), (4, 1))
    rows[1] = 0

    def metrics(model, chosen):
        return {"a": 1.0, "b": float("nan") if (chosen == 0).all() else 2.0}

    found = bootstrap_optimism(lambda chosen: 0, metrics, rows).table.set_index("metric")
    assert found.loc["a", "n"] == 4
    assert found.loc["b", "n"] == 3
    assert found.loc["b", "corrected"] == 2.0


def test_mostly_failing_is_an_error():
    def fit(chosen):
        if not np.array_equal(chosen, np.arange(6)):
            raise ModelError("separated")
        return 0

    with pytest.raises(ModelError, match="4 of 4 bootstrap resamples failed, the first with"):
        bootstrap_optimism(fit, lambda m, r: {"a": 1.0}, bootstrap_rows(6, 4, 0))


@pytest.mark.parametrize("failing", [1, 2])
def test_the_limit_is_half(failing):
    rows = np.tile(np.arange(6), (4, 1))
    rows[:failing] = 0

    def fit(chosen):
        if (chosen == 0).all():
            raise ModelError("separated")
        return 0

    if failing == 1:
        assert len(bootstrap_optimism(fit, lambda m, r: {"a": 1.0}, rows).failures) == 1
        return
    with pytest.raises(ModelError, match="2 of 4 bootstrap resamples failed"):
        bootstrap_optimism(fit, lambda m, r: {"a": 1.0}, rows)


def test_other_errors_are_not_swallowed():
    def fit(chosen):
        raise KeyError("a mistake in the code")

    with pytest.raises(KeyError):
        bootstrap_optimism(fit, lambda m, r: {"a": 1.0}, bootstrap_rows(6, 4, 0))


def test_an_unknown_metric_is_named():
    found = bootstrap_optimism(lambda r: 0, lambda m, r: {"a": 1.0}, bootstrap_rows(6, 4, 0))
    with pytest.raises(ModelError, match="no metric b was corrected; there are a"):
        found.corrected("b")

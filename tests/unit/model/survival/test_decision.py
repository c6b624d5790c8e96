"""Decision curves, binary and survival: hand-worked tables, R's survfit, and each other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.decision import DECISION_COLUMNS, binary_decision_curve
from pipeline.model.resampling import bootstrap_rows
from pipeline.model.survival.decision import survival_decision_curve
from pipeline.model.survival.outcome import Outcome

GOLDEN = Path(__file__).parents[3] / "golden"


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    table = pd.read_csv(GOLDEN / "validation_rows.tsv", sep="\t", comment="#")
    return table[table["split"] == "test"]


def _benefit(table: pd.DataFrame, model: str, column: str = "net_benefit") -> np.ndarray:
    return table.loc[table["model"] == model, column].to_numpy()


def test_a_hand_worked_binary_table():
    labels = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    model = [0.9, 0.5, 0.2, 0.6, 0.5, 0.3, 0.1, 0.1, 0.05, 0.0]
    found = binary_decision_curve({"m": model}, labels, [0.2, 0.5, 0.8, 0.95])
    # at 0.2: 3 true, 3 false; at 0.5: 2 and 2 (a tie acts); at 0.8: 1 and 0; at 0.95: no one
    assert _benefit(found, "m") == pytest.approx([0.3 - 0.3 / 4, 0.2 - 0.2, 0.1, 0.0], abs=1e-15)
    all_in = [0.3 - 0.7 / 4, 0.3 - 0.7, 0.3 - 0.7 * 4, 0.3 - 0.7 * 19]
    assert _benefit(found, "all") == pytest.approx(all_in)
    assert (_benefit(found, "none") == 0).all()
    # at 0.2: four are spared a false alarm of every ten, without missing an event
    avoided = _benefit(found, "m", "avoided_per_100")
    assert avoided[0] == pytest.approx(40)
    assert avoided[1] == pytest.approx(100 * 0.4)
    assert (_benefit(found, "all", "avoided_per_100") == 0).all()
    assert tuple(found.columns) == DECISION_COLUMNS
    assert found["low95"].isna().all()


def test_a_hand_worked_survival_table():
    # above one half: deaths at 1 and 3, a censoring at 2 -> S(4) = 3/4 * 1/2
    outcome = Outcome(
        np.array([1.0, 2.0, 3.0, 6.0, 2.0, 7.0]), np.array([1, 0, 1, 0, 1, 0], dtype=bool)
    )
    survival = np.array([0.1, 0.2, 0.3, 0.4, 0.9, 0.9])
    found = survival_decision_curve({"m": survival}, outcome, 4, [0.5, 0.95])
    kept, share = 0.375, 4 / 6
    assert _benefit(found, "m") == pytest.approx([(1 - kept) * share - kept * share, 0.0])
    # everyone: 5/6, 3/4 at 2 months, then 2/3 of it at 3
    whole = 5 / 6 * 4 / 5 * 2 / 3
    assert _benefit(found, "all") == pytest.approx([1 - 2 * whole, 1 - whole - 19 * whole])


def test_survival_equals_r(cohort):
    table = pd.read_csv(GOLDEN / "validation_values.tsv", sep="\t", comment="#")
    golden = table.set_index(["case", "item"])["value"]
    outcome = Outcome(cohort["months"].to_numpy(float), cohort["event"].to_numpy() == 1)
    levels = [0.1, 0.2, 0.35, 0.5]
    found = survival_decision_curve({"m": cohort["survival_24"]}, outcome, 24, levels)
    for name, item in (("m", "model"), ("all", "all")):
        expected = [golden[f"decision_{level:g}", item] for level in levels]
        assert _benefit(found, name) == pytest.approx(expected, abs=1e-12)


def test_without_censoring_survival_is_binary():
    rng = np.random.default_rng(3)
    outcome = Outcome(rng.exponential(30, 60) + 0.1, np.ones(60, dtype=bool))
    models = {"one": rng.uniform(size=60), "two": np.round(rng.uniform(size=60), 1)}
    rows, levels = bootstrap_rows(60, 100, 2), np.arange(0.05, 1, 0.05)
    survival = survival_decision_curve(models, outcome, 24, levels, rows=rows)
    risks = {name: 1 - values for name, values in models.items()}
    binary = binary_decision_curve(risks, outcome.months <= 24, levels, rows=rows)
    assert (survival["model"] == binary["model"]).all()
    for column in DECISION_COLUMNS[1:]:
        assert survival[column].to_numpy() == pytest.approx(binary[column].to_numpy(), abs=1e-12)


def test_limits_are_those_of_the_resampled_rows(cohort):
    outcome = Outcome(cohort["months"].to_numpy(float), cohort["event"].to_numpy() == 1)
    survival = cohort["survival_24"].to_numpy()
    rows, levels = bootstrap_rows(90, 40, 1), [0.1, 0.3, 0.6]
    found = survival_decision_curve({"m": survival}, outcome, 24, levels, rows=rows)
    drawn = np.array(
        [
            _benefit(survival_decision_curve({"m": survival[r]}, outcome.take(r), 24, levels), "m")
            for r in rows
        ]
    )
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert _benefit(found, "m", "low95") == pytest.approx(low, abs=1e-12)
    assert _benefit(found, "m", "high95") == pytest.approx(high, abs=1e-12)
    assert (_benefit(found, "none", "high95") == 0).all()


def test_a_group_that_leaves_early_is_undefined():
    outcome = Outcome(np.array([1.0, 2.0, 9.0]), np.array([True, False, True]))
    found = survival_decision_curve({"m": [0.1, 0.1, 0.9]}, outcome, 5, [0.5])
    assert np.isnan(_benefit(found, "m")[0])
    assert np.isfinite(_benefit(found, "all")[0])


def test_bad_input_is_told():
    outcome = Outcome(np.array([1.0, 2.0, 9.0]), np.array([True, False, True]))
    with pytest.raises(ModelError, match="decision curve at 12 months: follow-up ends at 9"):
        survival_decision_curve({"m": [0.1, 0.1, 0.9]}, outcome, 12, [0.5])
    with pytest.raises(ModelError, match=r"survival \(model m\) of subject b is 1\.1"):
        survival_decision_curve({"m": [0.1, 1.1, 0.9]}, outcome, 5, [0.5], subjects=["a", "b", "c"])
    with pytest.raises(ModelError, match="between 0 and 1, both excluded"):
        binary_decision_curve({"m": [0.1, 0.2]}, [0, 1], [0.0, 0.5])
    with pytest.raises(ModelError, match="must increase"):
        binary_decision_curve({"m": [0.1, 0.2]}, [0, 1], [0.5, 0.4])
    with pytest.raises(ModelError, match="cannot be called all"):
        binary_decision_curve({"all": [0.1, 0.2]}, [0, 1], [0.5])
    with pytest.raises(ModelError, match=r"\(3,\) values for 2 subjects"):
        binary_decision_curve({"m": [0.1, 0.2, 0.3]}, [0, 1], [0.5])

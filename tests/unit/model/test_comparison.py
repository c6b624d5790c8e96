import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.model.comparison import compare_models
from pipeline.model.delong import delong, delong_test
from pipeline.model.roc import wilson_interval, youden_threshold


def _predictions(seed: int, effect: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    response = np.r_[np.arange(61) < 21, np.arange(53) < 23].astype(int)
    return pd.DataFrame(
        {
            "subject": [f"{i:03d}" for i in range(114)],
            "split": ["development"] * 61 + ["test"] * 53,
            "fold": np.r_[np.arange(61) % 10 + 1.0, np.full(53, np.nan)],
            "response": response,
            "score": rng.normal(size=114) + effect * response,
        }
    )


@pytest.fixture
def models() -> dict[str, pd.DataFrame]:
    return {"baseline": _predictions(0, 0.2), "jacobian": _predictions(1, 0.5),
            "fusion": _predictions(2, 1.5)}  # fmt: skip


def test_a_row_per_model_in_the_given_order(models):
    table = compare_models(models, reference="fusion", seed=1)
    assert table.model.tolist() == ["baseline", "jacobian", "fusion"]
    assert (table.n_development == 61).all()
    assert (table.n_test == 53).all()
    assert (table.responders_test == 23).all()
    assert (table.reference == "fusion").all()
    assert (table.tp + table.fn == 23).all()
    assert (table.tn + table.fp == 30).all()
    assert table.sensitivity.tolist() == (table.tp / 23).tolist()
    assert (table.auc_boot_low95 < table.auc).all()


def test_values_are_those_of_the_parts(models):
    row = compare_models(models, reference="fusion", seed=1).iloc[1]
    one, two = (models[m][models[m].split == "test"] for m in ("jacobian", "fusion"))
    area = delong(one.response, one.score)
    assert (row.auc, row.auc_se, row.auc_low95) == (area.auc, area.se, area.low)
    assert row.p_vs_reference == delong_test(one.response, one.score, two.score).p
    assert row.p_bootstrap_vs_reference == pytest.approx(row.p_vs_reference, abs=0.03)
    known = models["jacobian"][models["jacobian"].split == "development"]
    assert row.threshold_development == youden_threshold(known.response, known.score)
    assert row.threshold_test_youden == youden_threshold(one.response, one.score)
    literal = row.sensitivity_test_youden + row.specificity_test_youden
    assert literal >= row.sensitivity + row.specificity
    assert (row.sensitivity_low95, row.sensitivity_high95) == wilson_interval(row.tp, 23)


def test_the_reference_has_no_p(models):
    table = compare_models(models, reference="fusion", seed=1)
    undefined = table[["p_vs_reference", "p_bootstrap_vs_reference"]].isna().all(axis=1)
    assert undefined.tolist() == [False, False, True]


def test_the_order_of_rows_does_not_matter(models):
    first = compare_models(models, reference="fusion", seed=1)
    shuffled = {k: v.sample(frac=1, random_state=3) for k, v in models.items()}
    assert compare_models(shuffled, reference="fusion", seed=1).equals(first)
    assert not compare_models(models, reference="fusion", seed=2).equals(first)


def test_a_test_row_without_outcome_is_left_out(models):
    for table in models.values():
        table["response"] = table["response"].astype(float)
        table.loc[113, "response"] = np.nan
    assert (compare_models(models, reference="fusion").n_test == 52).all()


def test_mistakes_are_named(models):
    with pytest.raises(ModelError, match="reference model best is not among baseline, jacobian"):
        compare_models(models, reference="best")
    with pytest.raises(ModelError, match="predictions of baseline: column score is missing"):
        compare_models(models | {"baseline": models["baseline"].drop(columns="score")},
                       reference="fusion")  # fmt: skip
    with pytest.raises(ModelError, match=r"baseline and fusion differ .* subject 113"):
        compare_models(models | {"baseline": models["baseline"].iloc[:-1]}, reference="fusion")
    one_class = models["fusion"].copy()
    one_class.loc[one_class.split == "test", "response"] = 0
    with pytest.raises(ModelError, match=r"the test rows have the outcomes \[0.0\]"):
        compare_models({"fusion": one_class}, reference="fusion")
    twice = pd.concat([models["fusion"], models["fusion"].iloc[[2]]])
    with pytest.raises(ModelError, match="subject 002 has two rows"):
        compare_models({"fusion": twice}, reference="fusion")

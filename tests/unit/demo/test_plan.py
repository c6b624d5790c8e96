from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.demo.plan import FULL_SIZE, MEAN_JACOBIAN, draw_plan, radical_inverse, spread
from pipeline.errors import SettingsError

SEED = 20210322


def columns(plans, name):
    return np.array([getattr(plan, name) for plan in plans])


def by_split(size):
    plans = draw_plan(SEED, size=size)
    return {s: [p for p in plans if p.split == s] for s in ("development", "test")}


# The study's patient table: development, test.
TABLE = {
    "response": ({1: 21, 0: 40}, {1: 23, 0: 30}),
    "miller_payne": ({1: 6, 2: 10, 3: 24, 4: 5, 5: 16}, {1: 3, 2: 11, 3: 16, 4: 5, 5: 18}),
    "subtype": (
        {"luminal_a": 9, "luminal_b": 30, "basal": 9, "her2": 13},
        {"luminal_a": 3, "luminal_b": 28, "basal": 11, "her2": 11},
    ),
    "menopause": ({"pre": 23, "post": 38}, {"pre": 23, "post": 30}),
    "family_history": ({"no": 45, "yes": 16}, {"no": 42, "yes": 11}),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_full_cohort_has_the_counts_of_the_table(name):
    groups = by_split(FULL_SIZE)
    for split, expected in zip(("development", "test"), TABLE[name], strict=True):
        assert Counter(columns(groups[split], name).tolist()) == expected


def test_responders_are_grades_four_and_five():
    for plan in draw_plan(SEED, size=FULL_SIZE):
        assert plan.response == int(plan.miller_payne >= 4)


def test_ages_have_the_printed_mean_and_range():
    groups = by_split(FULL_SIZE)
    for split, (low, mean, high) in {"development": (27, 49, 66), "test": (29, 47, 79)}.items():
        ages = columns(groups[split], "age_years")
        assert (ages.min(), round(ages.mean()), ages.max()) == (low, mean, high)


def test_the_default_cohort_is_a_smaller_copy():
    groups = by_split(40)
    development, test = (columns(groups[s], "response") for s in ("development", "test"))
    assert (len(development), len(test)) == (24, 16)
    assert (development.sum(), test.sum()) == (8, 7)
    assert set(columns(groups["development"], "centre")) == {"siemens_3t"}
    assert set(columns(groups["test"], "centre")) == {"aurora_1p5t"}


@pytest.mark.parametrize("size", [40, FULL_SIZE])
def test_effect_sizes_are_those_of_the_study_and_overlap(size):
    plans = draw_plan(SEED, size=size)
    response, jacobian = columns(plans, "response"), columns(plans, "mean_jacobian")
    for value, (mean, _) in MEAN_JACOBIAN.items():
        assert jacobian[response == value].mean() == pytest.approx(mean, abs=0.03)
    assert 0.75 < roc_auc_score(response, -jacobian) < 0.9
    assert 0.6 < roc_auc_score(response, -columns(plans, "uptake_change")) < 0.8
    aggressive = np.isin(columns(plans, "subtype"), ("her2", "basal"))
    assert response[aggressive].mean() > 0.5 > 0.35 > response[~aggressive].mean()


def test_a_subject_is_the_same_whatever_the_size():
    small, large = draw_plan(SEED, size=9), draw_plan(SEED, size=FULL_SIZE)
    known = {plan.subject: plan for plan in large}
    assert len(known) == FULL_SIZE
    assert all(known[plan.subject] == plan for plan in small)
    ids = ["001", "002", "003", "004", "005", "062", "063", "064", "065"]
    assert [p.subject for p in small] == ids


def test_seeds_differ():
    assert draw_plan(1) != draw_plan(2)


@pytest.mark.parametrize("size", [1, 115])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(SettingsError, match="2 to 114"):
        draw_plan(SEED, size=size)


def test_spread_keeps_counts_and_mixes():
    order = spread({"a": 10, "b": 30})
    assert Counter(order) == {"a": 10, "b": 30}
    assert Counter(order[:20])["a"] == 5


def test_radical_inverse_reverses_the_digits():
    assert [radical_inverse(n, 2) for n in (1, 2, 3, 4)] == [0.5, 0.25, 0.75, 0.125]

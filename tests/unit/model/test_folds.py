import logging

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.model.folds import assign_folds, check_disjoint


def _cohort(n: int, positive: int) -> tuple[list[str], np.ndarray]:
    return [f"{i:03d}" for i in range(n)], (np.arange(n) < positive).astype(int)


@pytest.mark.parametrize(("n", "positive", "count"), [(61, 21, 10), (24, 9, 9), (53, 50, 3)])
def test_folds_are_balanced_and_hold_both_classes(n, positive, count):
    subjects, labels = _cohort(n, positive)
    folds = assign_folds(subjects, labels, seed=1)
    assert sorted(set(folds)) == list(range(1, count + 1))
    for wanted in (0, 1):
        sizes = np.bincount(folds[labels == wanted])[1:]
        assert sizes.min() >= 1
        assert np.ptp(sizes) <= 1
    assert np.ptp(np.bincount(folds)[1:]) <= 1


def test_fewer_folds_are_explained(caplog):
    with caplog.at_level(logging.INFO):
        assign_folds(*_cohort(24, 9), seed=1)
    assert "9 folds, not 10: the smaller class has 9 subjects" in caplog.text


def test_folds_do_not_depend_on_the_row_order_but_on_the_seed():
    subjects, labels = _cohort(40, 15)
    folds = dict(zip(subjects, assign_folds(subjects, labels, seed=3), strict=True))
    order = np.random.default_rng(0).permutation(40)
    shuffled = [subjects[i] for i in order]
    again = assign_folds(shuffled, labels[order], seed=3)
    assert dict(zip(shuffled, again, strict=True)) == folds
    other = assign_folds(subjects, labels, seed=4)
    assert (other != np.array(list(folds.values()))).sum() > 20


def test_rows_of_a_subject_share_a_fold():
    subjects = [f"{i // 3:03d}" for i in range(60)]
    labels = [(i // 3) % 2 for i in range(60)]
    folds = assign_folds(subjects, labels, n_folds=5, seed=0)
    assert (folds.reshape(20, 3) == folds.reshape(20, 3)[:, :1]).all()


def test_a_subject_in_two_folds_is_refused():
    with pytest.raises(ModelError, match=r"subject 007 is in fold 1 and in fold 2.*one fold"):
        check_disjoint(["007", "008", "007"], [1, 1, 2], what="fold")
    with pytest.raises(ModelError, match="in split development and in split test"):
        check_disjoint(["a", "a"], ["development", "test"], what="split")


def test_unusable_labels_are_refused():
    with pytest.raises(ModelError, match="outcome 0 and 1"):
        assign_folds(["a", "a", "b"], [0, 1, 1], seed=0)
    with pytest.raises(ModelError, match="12 cases of class 1 and 0 of class 0"):
        assign_folds(*_cohort(12, 12), seed=0)
    with pytest.raises(ModelError, match="1 subjects of the smaller class"):
        assign_folds(*_cohort(12, 1), seed=0)
    with pytest.raises(ModelError, match="0 and 1"):
        assign_folds(["a", "b"], [0, 2], seed=0)

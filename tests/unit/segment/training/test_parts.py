"""Who trains, validates and is held out."""

import pytest

from pipeline.errors import CohortError, SettingsError
from pipeline.segment.training.parts import Candidate, make_part

COHORT = [
    Candidate(f"s{n:02d}", "test" if n % 4 == 3 else "development", 10.0 * n) for n in range(20)
]


def part(name, *, validation=0.0, subjects=COHORT):
    return make_part(subjects, name, folds=5, validation=validation, seed=7)


@pytest.mark.parametrize("validation", [0.0, 0.2])
@pytest.mark.parametrize("name", ["fold0", "fold4", "test"])
def test_nobody_is_in_two_sets_and_nobody_is_lost(name, validation):
    found = part(name, validation=validation)
    together = [*found.training, *found.validation, *found.held_out]
    assert sorted(together) == [s.subject for s in COHORT]
    assert bool(found.validation) == bool(validation)


def test_every_subject_is_held_out_once():
    held_out = [subject for n in range(5) for subject in part(f"fold{n}").held_out]
    assert sorted(held_out) == [s.subject for s in COHORT]


def test_the_order_of_the_rows_changes_nothing():
    assert part("fold2", validation=0.2) == part("fold2", validation=0.2, subjects=COHORT[::-1])


def test_test_rows_are_held_out_and_never_validate():
    found = part("test", validation=0.25)
    assert set(found.held_out) == {s.subject for s in COHORT if s.split == "test"}
    assert len(found.validation) == 4  # a quarter of fifteen, rounded up
    assert len(found.training) == 11


def test_a_fifth_validates_of_those_that_are_not_held_out():
    found = part("fold0", validation=0.2)
    assert (len(found.training), len(found.validation), len(found.held_out)) == (12, 4, 4)


def test_mistakes_are_named():
    with pytest.raises(SettingsError, match="'fold5': use test, or fold0 to fold4"):
        part("fold5")
    with pytest.raises(SettingsError, match=r"validation 0\.9"):
        part("fold0", validation=0.9)
    with pytest.raises(CohortError, match="0 are held out"):
        part("test", subjects=[s for s in COHORT if s.split == "development"])

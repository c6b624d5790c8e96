"""Times and events: every wrong cell is told, and an implausible unit is a warning."""

import logging

import numpy as np
import pytest

from pipeline.errors import CohortError, ModelError
from pipeline.model.survival.outcome import Outcome, check_outcome


def test_a_good_outcome_comes_back_as_it_is():
    found = check_outcome([12, 30.5, 7], [1, 0, True])
    assert found.months.tolist() == [12.0, 30.5, 7.0]
    assert found.event.tolist() == [True, False, True]
    assert found.event.dtype == bool
    assert len(found) == 3


def test_rows_are_taken_by_mask_and_by_index_which_may_repeat():
    outcome = Outcome(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))
    assert outcome.take(np.array([True, False, True])).months.tolist() == [1.0, 3.0]
    twice = outcome.take(np.array([2, 2, 1]))
    assert twice.months.tolist() == [3.0, 3.0, 2.0]
    assert twice.event.tolist() == [True, True, False]


def test_every_wrong_row_is_told_at_once():
    months = [0, -3, np.nan, np.inf, 12, 12, 12]
    events = [1, 1, 1, 1, 2, np.nan, 0.5]
    with pytest.raises(CohortError) as caught:
        check_outcome(months, events, subjects=list("abcdefg"), source="s.tsv")
    assert len(caught.value.problems) == 7
    assert [p.split(":")[1].split()[-1] for p in caught.value.problems] == list("abcdefg")
    text = "\n".join(caught.value.problems)
    assert "s.tsv: column time_months, subject b: -3 is no time in months above 0" in text
    assert "s.tsv: column time_months, subject c: an empty cell is no time" in text
    assert "s.tsv: column event, subject e: 2 is neither 0 (censored) nor 1 (event)" in text


def test_rows_have_numbers_where_subjects_have_no_names():
    with pytest.raises(CohortError, match="column days, row 3: 0 is no time"):
        check_outcome([5, 0], [1, 0], columns=("days", "dead"))


def test_no_event_at_all_is_an_error():
    with pytest.raises(ModelError, match=r"column event: none of 3 subjects has an event \(1\)"):
        check_outcome([10, 20, 30], [0, 0, 0])


@pytest.mark.parametrize(
    ("months", "message"),
    [
        # 600 days are 19.7 months (30.4375 days per month)
        ([600, 590, 610], "is it in days? 600 days are 19.7 months"),
        ([1.5, 2.0, 2.5], "is it in years? 2 years are 24 months"),
        ([240, 240, 240], ""),
        ([3, 3, 3], ""),
        # one long time is no wrong unit
        ([30, 40, 2000], ""),
    ],
)
def test_an_implausible_median_is_a_warning(caplog, months, message):
    with caplog.at_level(logging.WARNING):
        check_outcome(months, [1, 0, 1], source="s.tsv")
    assert bool(caplog.records) == bool(message)
    assert message in caplog.text

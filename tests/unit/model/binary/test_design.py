"""Rows of a binary study: wrong ones are named, unknown outcomes told."""

import numpy as np
import pytest

from pipeline.errors import CohortError, ModelError
from pipeline.model.binary.design import build_binary_design, missing_table
from tests.unit.model.binary.cohorts import KINDS, REFERENCE, designed, simulated


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response": 2}, r"column response, subject s000: 2 is neither 0 nor 1"),
        ({"split": "train"}, r"subject s000: split 'train' is neither of development, test"),
        ({"subject": "s001"}, "subject s001 stands twice"),
        ({"age_years": np.inf}, "column age_years, subject s000: inf is no finite number"),
    ],
)
def test_wrong_cells_are_named_all_at_once(change, message):
    sheet = simulated()
    for column, value in change.items():
        sheet.loc[0, column] = value
    sheet.loc[1, "split"] = "later"
    with pytest.raises(CohortError, match=message) as caught:
        designed(sheet)
    assert "split 'later'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": {"grade": "categorical"}}, "there is no column grade"),
        ({"kinds": {}}, "no covariate is named"),
        ({"reference": ("centre",)}, "centre is no covariate; choose among subtype"),
        ({"reference": ()}, "no covariate is named; choose among subtype"),
        ({"outcome": "age_years"}, "the outcome age_years is among the covariates"),
    ],
)
def test_wrong_names_are_named(options, message):
    with pytest.raises(ModelError, match=message):
        build_binary_design(simulated(), **{"kinds": KINDS, "reference": REFERENCE, **options})


def test_one_class_in_a_split_is_told():
    sheet = simulated()
    sheet.loc[sheet["split"] == "test", "response"] = 0
    with pytest.raises(ModelError, match="the test rows hold 0 cases of class 1 and 60 of class 0"):
        designed(sheet)


def test_subjects_without_an_outcome_are_told_not_used():
    sheet = simulated()
    sheet["response"] = sheet["response"].astype(float)
    sheet.loc[[2, 9], "response"] = np.nan
    design = designed(sheet)
    assert len(design.subjects) == 238
    assert missing_table(design)["reason"].tolist() == ["no response", "no response"]

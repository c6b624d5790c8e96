"""Frozen models of a binary study as JSON."""

import json

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.model.binary.models import model_from_record


def test_models_come_back_from_json(cohort):
    sheet, design, fit = cohort
    rows = sheet.set_index("subject")
    for name, model in fit.models.items():
        again = model_from_record(json.loads(json.dumps(model.to_record())))
        np.testing.assert_array_equal(
            again.probability(rows), model.probability(design.frame), err_msg=name
        )
    with pytest.raises(ModelError, match="kind 'svm'"):
        model_from_record({"kind": "svm", "schema": 1})
    broken = fit.models["xgboost"].to_record()
    del broken["levels"]
    with pytest.raises(ModelError, match="the boosted_terms model is incomplete"):
        model_from_record(broken)

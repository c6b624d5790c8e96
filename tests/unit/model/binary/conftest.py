"""A study with three incomplete rows, fitted once for every module."""

import numpy as np
import pytest

from pipeline.model.binary.fit import fit_binary
from tests.unit.model.binary.cohorts import QUICK, designed, simulated


@pytest.fixture(scope="session")
def cohort():
    sheet = simulated()
    sheet.loc[5, "age_years"] = np.nan
    sheet.loc[8, "tumour_ml"] = np.nan
    sheet.loc[7, "subtype"] = np.nan
    design = designed(sheet)
    return sheet, design, fit_binary(design, n_folds=4, seed=2, options=QUICK)

"""A simulated binary study whose trees are quick."""

import numpy as np
import pandas as pd
from scipy.special import expit

from pipeline.model.binary.design import build_binary_design
from pipeline.model.boosting import BoostingOptions

QUICK = BoostingOptions(max_rounds=20)
KINDS = {"subtype": "categorical", "age_years": "continuous", "tumour_ml": "spline"}
REFERENCE = ("subtype", "age_years")


def simulated(count=240, seed=4, effect=1.0):
    rng = np.random.default_rng(seed)
    subtype = rng.choice(["a", "b", "c"], count, p=[0.5, 0.3, 0.2])
    age, size = rng.normal(50, 10, count).round(1), rng.lognormal(2.5, 1, count).round(3)
    odds = -1 + effect * (1.5 * (subtype == "b") + 2.0 * (subtype == "c") - 0.8 * np.log(size / 12))
    return pd.DataFrame(
        {
            "subject": [f"s{i:03d}" for i in range(count)],
            "split": np.where(np.arange(count) % 4 == 3, "test", "development"),
            "centre": "one",
            "response": (rng.random(count) < expit(odds)).astype(int),
            "subtype": subtype,
            "age_years": age,
            "tumour_ml": size,
        }
    )


def designed(sheet, **options):
    return build_binary_design(sheet, kinds=KINDS, reference=REFERENCE, **options)

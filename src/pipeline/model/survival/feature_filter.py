"""Filters that look at the features alone, before scaling and without the outcome."""

import math
from typing import Literal

import numpy as np

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int

FilterName = Literal["none", "intensity", "variance"]


def filter_features(values: Float, *, name: FilterName = "none", share: float = 0.8) -> Int:
    """Return the columns to keep, in their given order.

    Parameters
    ----------
    values : (n, p) float array
        Raw features of the development rows; NaN and infinite values are left out of the means.
    name : {"none", "intensity", "variance"}
        Rank by nothing (keep all), by the mean absolute value, or by the variance.
    share : float
        Share kept, above 0 and at most 1: the floor(share * p) highest, at least one. Of equal
        columns the earlier one is kept.

    Returns
    -------
    (k,) int array
        Indices of the kept columns, ascending.

    Raises
    ------
    ModelError
        An unknown name, a share out of range, or a column with no finite value.

    Notes
    -----
    "intensity" is our reading of the rule of the colorectal study (Cai et al., Front Mol Biosci
    2021, doi 10.3389/fmolb.2020.613918), which kept 85 of 107 features by their average signal.
    It works on raw values only, since every mean is 0 after z-scoring. Both rankings depend on
    the unit of a feature: the same length in mm and in cm ranks differently.
    """
    if name == "none":
        return np.arange(values.shape[1])
    if name not in ("intensity", "variance"):
        raise ModelError(f"filter {name!r} is not known; use none, intensity or variance")
    if not 0 < share <= 1:
        raise ModelError(f"filter share {share:g} must be above 0 and at most 1")
    finite = np.where(np.isfinite(values), values, np.nan)
    empty = np.flatnonzero(np.isnan(finite).all(axis=0))
    if empty.size:
        raise ModelError(
            f"column {empty[0] + 1} of the features has no value, so the {name} filter cannot rank"
            " it; drop such columns first"
        )
    rank = np.nanmean(np.abs(finite), axis=0) if name == "intensity" else np.nanvar(finite, axis=0)
    # a share such as 0.29 of 100 is 28.999...: the rounding must not cost a feature
    count = max(1, math.floor(share * values.shape[1] + 1e-9))
    return np.asarray(np.sort(np.argsort(-rank, kind="stable")[:count]))

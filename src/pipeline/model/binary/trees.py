"""Fit boosted trees of all covariates on some rows of a binary study."""

import numpy as np

from pipeline.model.arrays import Int
from pipeline.model.binary.design import BinaryDesign
from pipeline.model.binary.models import FrozenTrees, one_hot_names, tree_columns
from pipeline.model.boosting import BoostingFit, BoostingOptions, fit_boosting
from pipeline.model.terms import complete_rows, level_names

#: Folds inside a fold or a resample, which choose the number of trees there.
INNER_FOLDS = 5


def fit_trees(
    design: BinaryDesign,
    rows: Int,
    folds: Int,
    *,
    seed: int,
    options: BoostingOptions | None = None,
) -> tuple[FrozenTrees, BoostingFit]:
    """Fit boosted trees on some rows; the number of trees is chosen on their folds.

    Parameters
    ----------
    design : BinaryDesign
        The study.
    rows : (m,) int array
        Rows by index, which may repeat (a bootstrap resample).
    folds : (m,) int array
        Fold of each of these rows; repeats of a row share one fold.
    seed : int
        Seed handed to XGBoost.
    options : BoostingOptions
        Settings of the trees.
    """
    numeric, levels = _tree_design(design)
    values, extra = tree_columns(design.frame.iloc[rows], numeric, levels, source=design.source)
    names = [n for name, found in levels.items() for n in one_hot_names(name, found)]
    fit = fit_boosting(
        values,
        design.labels[rows].astype(np.int64),
        folds,
        features=numeric,
        extra=extra,
        extra_names=names,
        options=options,
        seed=seed,
    )
    return FrozenTrees(numeric, levels, fit.model), fit


def _tree_design(design: BinaryDesign) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    numeric = tuple(name for name, kind in design.kinds.items() if kind != "categorical")
    frame = design.frame[design.development]
    levels = {}
    for name, kind in design.kinds.items():
        if kind == "categorical":
            known = frame[complete_rows(frame, [name], source=design.source)]
            levels[name] = tuple(sorted(set(level_names(known[name]))))
    return numeric, levels

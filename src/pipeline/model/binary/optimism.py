"""Optimism of the models of a binary study: apparent performance, corrected by the bootstrap."""

import numpy as np
import pandas as pd
from scipy.special import logit

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.binary.design import BinaryDesign
from pipeline.model.binary.fit import BinaryFit
from pipeline.model.binary.logistic import refit_logistic
from pipeline.model.binary.models import MODELS, FrozenLogistic, FrozenModel
from pipeline.model.binary.trees import INNER_FOLDS, fit_trees
from pipeline.model.folds import assign_folds
from pipeline.model.logistic import fit_logistic
from pipeline.model.roc import auc

#: Resamples for the optimism of a logistic model, and of the trees (each with an inner
#: cross-validation). The standard error of the mean optimism of an AUC is then about 0.002.
OPTIMISM_DRAWS = 200
OPTIMISM_DRAWS_TREES = 40


def optimism_table(
    design: BinaryDesign,
    fit: BinaryFit,
    *,
    draws: int = OPTIMISM_DRAWS,
    draws_trees: int = OPTIMISM_DRAWS_TREES,
    seed: int = 1,
) -> pd.DataFrame:
    """Correct the apparent performance on development rows for optimism (Harrell's bootstrap).

    Parameters
    ----------
    design, fit : BinaryDesign, BinaryFit
        The study. Complete development rows only, so that all models see the same.
    draws, draws_trees : int
        Resamples for the logistic models and for the trees.
    seed : int
        Seed of the resamples; the same ones for every model.

    Returns
    -------
    DataFrame
        A row per model and metric (auc, brier, slope, intercept): ``apparent`` on the rows that
        fitted the model, ``optimism`` the mean over resamples of (resampled model on its
        resample) - (resampled model on the original rows), ``corrected = apparent - optimism``,
        ``draws`` the resamples that could be fitted.

    Raises
    ------
    ModelError
        If fewer than half of the resamples can be fitted.

    References
    ----------
    Harrell, Lee and Mark, Statistics in Medicine 15 (1996) 361. The choice of knots and of the
    number of trees is repeated in each resample.
    """
    rows = np.flatnonzero(design.development & design.complete)
    rng = np.random.default_rng(seed)
    resamples = [rng.choice(rows, rows.size) for _ in range(max(draws, draws_trees))]
    tables = []
    for name in MODELS:
        count = draws_trees if name == "xgboost" else draws
        found = [_one_optimism(design, fit, name, rows, drawn, seed) for drawn in resamples[:count]]
        usable = [values for values in found if values is not None]
        if len(usable) < max(1, count / 2):
            raise ModelError(
                f"model {name}: {count - len(usable)} of {count} bootstrap resamples cannot be"
                " fitted (a category without rows, or separated classes); merge rare categories"
            )
        whole = fit.models[name].probability(design.frame.iloc[rows])
        apparent = _measures(design.labels[rows], whole)
        for metric, value in apparent.items():
            sizes = np.array([values[metric] for values in usable])
            known = sizes[np.isfinite(sizes)]
            mean = float(known.mean()) if known.size else float("nan")
            tables.append(
                {
                    "model": name, "metric": metric, "apparent": value, "optimism": mean,
                    "corrected": value - mean, "draws": len(usable),
                }
            )  # fmt: skip
    return pd.DataFrame(tables)


def _one_optimism(
    design: BinaryDesign, fit: BinaryFit, name: str, rows: Int, drawn: Int, seed: int
) -> dict[str, float] | None:
    """Return the optimism of one resample, or None when its model cannot be fitted."""
    try:
        model = _refit(design, fit, name, drawn, seed)
        inside, outside = (
            _measures(design.labels[r], model.probability(design.frame.iloc[r]))
            for r in (drawn, rows)
        )
    except ModelError:
        return None
    return {metric: inside[metric] - outside[metric] for metric in inside}


def _refit(design: BinaryDesign, fit: BinaryFit, name: str, drawn: Int, seed: int) -> FrozenModel:
    known = fit.models[name]
    if isinstance(known, FrozenLogistic):
        return refit_logistic(design, [term.name for term in known.terms], drawn, known.terms)
    subjects = np.array(design.subjects)[drawn].tolist()
    folds = assign_folds(subjects, design.labels[drawn], n_folds=INNER_FOLDS, seed=seed)
    return fit_trees(design, drawn, folds, seed=seed)[0]


def _measures(labels: Bool, probability: Float) -> dict[str, float]:
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    try:
        line = fit_logistic(logit(clipped)[:, np.newaxis], ["log odds"], labels)
        slope, intercept = float(line.coefficients[0]), line.intercept
    except ModelError:  # a model that separates the classes, or says the same of all
        slope, intercept = float("nan"), float("nan")
    return {
        "auc": auc(labels, probability),
        "brier": float(np.mean((labels - probability) ** 2)),
        "slope": slope,
        "intercept": intercept,
    }

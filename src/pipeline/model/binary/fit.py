"""Fit the three models of a binary study and score every row, development rows held out.

`reference` is a logistic model of a few covariates, `logistic` one of all (the nomogram's), and
`xgboost` boosted trees of all. Everything is fitted on development rows; each model scores a
development row only from folds that did not see it, and the test rows once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.model.arrays import Float, Int
from pipeline.model.binary.design import BinaryDesign
from pipeline.model.binary.logistic import fit_terms_logistic
from pipeline.model.binary.models import MODELS, FrozenModel
from pipeline.model.binary.trees import INNER_FOLDS, fit_trees
from pipeline.model.boosting import BoostingFit, BoostingOptions
from pipeline.model.folds import assign_folds
from pipeline.model.terms import Term


@dataclass(frozen=True, eq=False)
class BinaryFit:
    """The fitted models and the scores of every row.

    Attributes
    ----------
    models : mapping
        Name (`MODELS`) to frozen model.
    predictions : DataFrame
        A row per subject: subject, split, centre, response, fold (0 for test rows), complete,
        and score_<model>: P(response = 1), held out for development rows.
    boosting : BoostingFit
        How the number of trees was chosen.
    """

    models: Mapping[str, FrozenModel]
    predictions: pd.DataFrame
    boosting: BoostingFit


def fit_binary(
    design: BinaryDesign,
    *,
    n_folds: int = 10,
    seed: int = 1,
    options: BoostingOptions | None = None,
) -> BinaryFit:
    """Fit the three models on development rows and score every row.

    Parameters
    ----------
    design : BinaryDesign
        From `build_binary_design`.
    n_folds : int
        Folds of the cross-validation, stratified by outcome, the same for every model.
    seed : int
        Seed of the folds.
    options : BoostingOptions
        Settings of the trees.

    Raises
    ------
    ModelError
        A category seen only in validation (names column and subject), or a category without a
        row outside one fold.

    Notes
    -----
    Logistic models use the development rows with every one of *their* covariates; the trees use
    all, as they send missing values one way. Knots of splines are placed anew in every fold,
    and so is the number of trees, by an inner cross-validation: held-out scores see nothing of
    the rows that they score.
    """
    dev = design.development
    folds = np.zeros(len(dev), dtype=np.int64)
    folds[dev] = assign_folds(
        np.array(design.subjects)[dev].tolist(), design.labels[dev], n_folds=n_folds, seed=seed
    )
    sets = {"reference": design.reference, "logistic": tuple(design.kinds)}
    models: dict[str, FrozenModel] = {}
    scores: dict[str, Float] = {}
    for name, covariates in sets.items():
        model = fit_terms_logistic(design, covariates, dev)
        held_out = _held_out_logistic(design, covariates, folds, model.terms)
        models[name], scores[name] = model, _joined(design, model, held_out)
    rows = np.flatnonzero(dev)
    trees, boosting = fit_trees(design, rows, folds[rows], seed=seed, options=options)
    models["xgboost"] = trees
    held_out = _held_out_trees(design, folds, seed=seed, options=options)
    scores["xgboost"] = _joined(design, trees, held_out)
    table = pd.DataFrame(
        {
            "subject": design.subjects,
            "split": design.split,
            "centre": design.centre,
            "response": design.labels.astype(np.int64),
            "fold": folds,
            "complete": design.complete.astype(np.int64),
        }
    )
    for name in MODELS:
        table[f"score_{name}"] = scores[name]
    return BinaryFit(models, table, boosting)


def _held_out_logistic(
    design: BinaryDesign, covariates: Sequence[str], folds: Int, known: Sequence[Term]
) -> Float:
    held_out = np.full(len(folds), np.nan)
    for fold in np.unique(folds[folds > 0]):
        inside = folds == fold
        model = fit_terms_logistic(design, covariates, (folds > 0) & ~inside, known=known)
        held_out[inside] = model.probability(design.frame[inside], source=design.source)
    return held_out


def _held_out_trees(
    design: BinaryDesign, folds: Int, *, seed: int, options: BoostingOptions | None
) -> Float:
    held_out = np.full(len(folds), np.nan)
    for fold in np.unique(folds[folds > 0]):
        inside, rest = folds == fold, np.flatnonzero((folds > 0) & (folds != fold))
        inner = assign_folds(
            np.array(design.subjects)[rest].tolist(),
            design.labels[rest],
            n_folds=INNER_FOLDS,
            seed=seed + int(fold),
        )
        model, _ = fit_trees(design, rest, inner, seed=seed, options=options)
        held_out[inside] = model.probability(design.frame[inside], source=design.source)
    return held_out


def _joined(design: BinaryDesign, model: FrozenModel, held_out: Float) -> Float:
    """Return held-out scores of development rows and the model's own of the others."""
    test = ~design.development
    scores = held_out.copy()
    if test.any():
        scores[test] = model.probability(design.frame[test], source=design.source)
    return scores

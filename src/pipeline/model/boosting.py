"""Gradient-boosted trees (XGBoost) on the same folds as the support vector machine."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, as_labels
from pipeline.model.frozen import SCHEMA


@dataclass(frozen=True)
class BoostingOptions:
    """Settings of the trees: small ones, as a cohort has tens of rows.

    Attributes
    ----------
    max_rounds : int
        Largest number of trees; the number used is chosen in cross-validation.
    learning_rate : float
        Shrinkage of each tree.
    max_depth : int
        Depth of a tree; 2 allows interactions of two features.
    l2 : float
        Ridge penalty of the leaves (lambda).
    """

    max_rounds: int = 200
    learning_rate: float = 0.1
    max_depth: int = 2
    l2: float = 1.0


@dataclass(frozen=True, eq=False)
class FrozenBoosting:
    """Boosted trees in XGBoost's own JSON.

    Attributes
    ----------
    features, extra_names : tuples of str
        Columns in the order of training; no imputation, as trees send missing values one way.
    booster : mapping
        The JSON model of XGBoost.
    """

    features: tuple[str, ...]
    extra_names: tuple[str, ...]
    booster: Mapping[str, Any]

    def scores(self, values: Float, extra: Float) -> Float:
        """Return probabilities of class 1 (n,) of rows: features (n, p), extra (n, e)."""
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(json.dumps(self.booster).encode()))
        return _probabilities(booster, np.hstack([values, extra]))

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types."""
        return {
            "schema": SCHEMA,
            "kind": "xgboost",
            "features": list(self.features),
            "extra_names": list(self.extra_names),
            "booster": dict(self.booster),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "FrozenBoosting":
        """Return the model of a JSON record."""
        width = len(record["features"]) + len(record["extra_names"])
        known = int(record["booster"]["learner"]["learner_model_param"]["num_feature"])
        if known != width:
            raise ValueError(f"{width} columns are named but the trees know {known}")
        return cls(tuple(record["features"]), tuple(record["extra_names"]), record["booster"])


@dataclass(frozen=True, eq=False)
class BoostingFit:
    """Fitted trees and how their number was chosen.

    Attributes
    ----------
    model : FrozenBoosting
        Trained on all development rows.
    held_out : (n,) float array
        Probability of each development row from the fold that did not see it.
    importance : (p + e,) float array
        Mean absolute SHAP value over the development rows, in log odds.
    frequency : (p + e,) float array
        Share of the folds whose trees used the column.
    loss_curve : (max_rounds,) float array
        Mean held-out log loss after 1, 2, ... trees.
    rounds : int
        Number of trees: the first minimum of `loss_curve`.
    """

    model: FrozenBoosting
    held_out: Float
    importance: Float
    frequency: Float
    loss_curve: Float
    rounds: int


def fit_boosting(
    values: Float,
    labels: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    features: Sequence[str],
    extra: Float | None = None,
    extra_names: Sequence[str] = (),
    options: BoostingOptions | None = None,
    seed: int = 0,
    stable: Callable[[Bool], Bool] | None = None,
) -> BoostingFit:
    """Choose the number of trees in cross-validation and train, on development rows only.

    Parameters
    ----------
    values : (n, p) float array
        Features as measured; NaN where missing.
    labels : (n,) array of 0 and 1
        Outcome.
    folds : (n,) int array
        Fold of each row.
    features : sequence of p str
        Names of the columns.
    extra, extra_names : (n, e) float array and e names
        Further columns (one-hot subtype).
    options : BoostingOptions
        Settings of the trees. The number of trees is the one with the smallest mean held-out
        log loss, which moves smoothly where the AUC of a small fold jumps.
    seed : int
        Seed handed to XGBoost (nothing is sampled at these settings).
    stable : callable, optional
        Given training rows (n,), says which columns (p,) the trees may use; asked for each fold
        and for all rows.

    Raises
    ------
    ModelError
        If a class is missing, or no feature has a value.
    """
    options = options or BoostingOptions()
    positive, folds = as_labels(labels, what="the development rows"), np.asarray(folds)
    extra = np.empty((len(values), 0)) if extra is None else extra
    if not np.isfinite(values).any():
        raise ModelError(
            f"none of the {values.shape[1]} features has a value in the development rows; look at "
            "the feature table, or choose another --feature-set"
        )
    rows = np.hstack([values, extra])
    parameters = _parameters(options, seed)
    boosters, losses = zip(
        *(
            _train_fold(_shown(rows, stable, folds != f), positive, folds == f, parameters, options)
            for f in np.unique(folds)
        ),
        strict=True,
    )
    loss_curve = np.mean(losses, axis=0)
    rounds = int(np.argmin(np.round(loss_curve, 12))) + 1
    held_out = np.empty(len(rows))
    for f, booster in zip(np.unique(folds), boosters, strict=True):
        held_out[folds == f] = _probabilities(booster, rows[folds == f], rounds)
    shown = _shown(rows, stable, np.ones(len(rows), dtype=bool))
    final = xgboost.train(parameters, _matrix(shown, positive), num_boost_round=rounds)
    shap = final.predict(_matrix(rows), pred_contribs=True)[:, :-1]
    record = json.loads(bytes(final.save_raw("json")))
    return BoostingFit(
        model=FrozenBoosting(tuple(features), tuple(extra_names), record),
        held_out=held_out,
        importance=np.abs(shap.astype(np.float64)).mean(axis=0),
        frequency=np.mean([_used(b, rounds, rows.shape[1]) for b in boosters], axis=0),
        loss_curve=loss_curve,
        rounds=rounds,
    )


def _shown(rows: Float, stable: Callable[[Bool], Bool] | None, training: Bool) -> Float:
    """Return the rows with the columns that are not stable hidden: no tree splits on them."""
    if stable is None:
        return rows
    kept = stable(training)
    shown = rows.copy()
    shown[:, : kept.size][:, ~kept] = np.nan
    return shown


def _parameters(options: BoostingOptions, seed: int) -> dict[str, Any]:
    return {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "learning_rate": options.learning_rate,
        "max_depth": options.max_depth,
        "lambda": options.l2,
    }


def _train_fold(
    rows: Float, positive: Bool, held: Bool, parameters: dict[str, Any], options: BoostingOptions
) -> tuple[xgboost.Booster, list[float]]:
    history: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        parameters,
        _matrix(rows[~held], positive[~held]),
        num_boost_round=options.max_rounds,
        evals=[(_matrix(rows[held], positive[held]), "held_out")],
        evals_result=history,
        verbose_eval=False,
    )
    return booster, history["held_out"]["logloss"]


def _matrix(rows: Float, positive: Bool | None = None) -> xgboost.DMatrix:
    label = None if positive is None else positive.astype(np.float64)
    finite = np.where(np.isfinite(rows), rows, np.nan)
    return xgboost.DMatrix(finite, label=label, nthread=1)


def _probabilities(booster: xgboost.Booster, rows: Float, rounds: int = 0) -> Float:
    # rounds 0 means all trees
    predicted = booster.predict(_matrix(rows), iteration_range=(0, rounds))
    return np.asarray(predicted, dtype=np.float64)


def _used(booster: xgboost.Booster, rounds: int, width: int) -> Float:
    # without names, column 7 is "f7"
    names = booster[:rounds].get_score()
    return np.array([float(f"f{i}" in names) for i in range(width)])

"""One model of a study, from its rows to its tables: folds, fit, scores of every row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.design import (
    SUBTYPES,
    Design,
    check_columns,
    check_unique,
    numbers,
    one_hot_subtype,
)
from pipeline.model.folds import assign_folds
from pipeline.model.frozen import Frozen, from_record
from pipeline.model.roc import auc, youden_threshold
from pipeline.model.stability_filter import StabilityFilter, stable_columns
from pipeline.model.svm_fit import Selection, fit_svm
from pipeline.model.svm_grid import SvmGrid

Classifier = Literal["svm", "xgboost"]


@dataclass(frozen=True, eq=False)
class ModelTables:
    """What a fit leaves.

    Attributes
    ----------
    predictions : DataFrame
        ``subject, split, fold, response, score, imputed``, sorted by subject. A development
        row has the score of the fold that did not see it, a test row that of the final model;
        `imputed` counts the model's features that were missing.
    record : dict
        The frozen model with its threshold: a function of the development rows alone.
    selection : DataFrame
        ``feature, rank, selected, selection_frequency`` (and ``mean_abs_shap`` of trees), best
        first; columns without a value have no rank.
    curve : DataFrame
        Cross-validation: a row per number of features (svm) or of trees (xgboost).
    """

    predictions: pd.DataFrame
    record: dict[str, Any]
    selection: pd.DataFrame
    curve: pd.DataFrame


@dataclass(frozen=True, eq=False)
class _Outcome:
    # what the two classifiers have in common
    model: Frozen
    held_out: Float
    selection: pd.DataFrame
    curve: pd.DataFrame
    found: dict[str, Any]


def fit_chain(
    design: Design,
    *,
    classifier: Classifier = "svm",
    selection: Selection = "nested",
    n_folds: int = 10,
    seed: int = 1,
    grid: SvmGrid | None = None,
    stability: StabilityFilter | None = None,
) -> ModelTables:
    """Fit on the development rows, then score all rows once.

    Parameters
    ----------
    design : Design
        Development and test rows.
    classifier : "svm" or "xgboost"
        Both use the same folds.
    selection : "nested" or "paper"
        Where SVM-RFE ranks the features; boosted trees select on their own.
    n_folds, seed : int
        Folds wanted, and the seed that deals the subjects.
    grid : SvmGrid
        Candidate settings of the support vector machine.
    stability : StabilityFilter, optional
        Leaves unstable features out, asked anew for the training rows of each fold.
    """
    rows = design.development
    # From here to `outcome` only development rows are in reach.
    training = _take(design, rows)
    folds = assign_folds(training.subjects, training.outcome, n_folds=n_folds, seed=seed)
    if classifier == "svm":
        outcome = _svm(training, folds, selection, grid, _stable(training, stability))
    else:
        outcome = _xgboost(training, folds, seed, _stable(training, stability))
    if stability is not None:
        outcome.found["stability"] = stability.describe()
    record = outcome.model.to_record() | {
        "threshold": {"development_youden": youden_threshold(training.outcome, outcome.held_out)},
        "training": {
            "rows": len(training.subjects),
            "positive": int(training.outcome.sum()),
            "folds": int(folds.max()),
            "seed": seed,
            "auc_cv_pooled": auc(training.outcome, outcome.held_out),
            **outcome.found,
        },
    }
    predictions = _predictions(design, folds, outcome.held_out, outcome.model)
    return ModelTables(predictions, record, outcome.selection, outcome.curve)


def score_table(
    record: Mapping[str, Any],
    features: pd.DataFrame,
    subjects: pd.DataFrame | None = None,
    *,
    sources: tuple[str, str] = ("the feature table", "the subjects sheet"),
) -> pd.DataFrame:
    """Apply a frozen model to new rows.

    Parameters
    ----------
    record : mapping
        Frozen model (model.json).
    features : DataFrame
        ``subject`` and the columns that the model reads.
    subjects : DataFrame, optional
        ``subject`` and ``subtype``; needed by a model with subtype.
    sources : (str, str)
        What error messages call the two tables.

    Returns
    -------
    DataFrame
        ``subject, score, predicted, imputed``, sorted by subject; `predicted` is 1 when the
        score is at least the model's development threshold.
    """
    model = from_record(record)
    rows = _by_subject(features, sources[0]).sort_index()
    values = numbers(rows, model.features, sources[0])
    extra = _extra_of(model, rows.index, subjects, sources[1])
    scores = model.scores(values, extra)
    return pd.DataFrame(
        {
            "subject": rows.index,
            "score": scores,
            "predicted": (scores >= record["threshold"]["development_youden"]).astype(np.int64),
            "imputed": (~np.isfinite(values)).sum(axis=1),
        }
    )


def _take(design: Design, rows: Bool) -> Design:
    kept = tuple(s for s, keep in zip(design.subjects, rows, strict=True) if keep)
    return replace(
        design,
        subjects=kept,
        development=design.development[rows],
        outcome=design.outcome[rows],
        values=design.values[rows],
        extra=design.extra[rows],
    )


def _stable(training: Design, stability: StabilityFilter | None) -> Callable[[Bool], Bool] | None:
    if stability is None:
        return None
    names = np.array(training.subjects)
    return lambda rows: stable_columns(stability, training.features, names[rows].tolist())


def _svm(
    training: Design,
    folds: Int,
    selection: Selection,
    grid: SvmGrid | None,
    stable: Callable[[Bool], Bool] | None,
) -> _Outcome:
    fit = fit_svm(
        training.values,
        training.outcome,
        folds,
        features=training.features,
        extra=training.extra,
        extra_names=training.extra_names,
        grid=grid,
        selection=selection,
        stable=stable,
    )
    curve = pd.DataFrame(fit.curve, columns=["auc_cv", "cost", "gamma"])
    curve.insert(0, "n_features", np.arange(1, len(curve) + 1))
    ranks = np.full(len(training.features), np.nan)
    ranks[fit.ranking] = np.arange(1, fit.ranking.size + 1)
    selected = ranks <= len(fit.model.features)
    table = _selection(training.features, ranks, selected, fit.frequency)
    found = {"selection": selection, "auc_cv": fit.auc_cv}
    return _Outcome(fit.model, fit.held_out, table, curve, found)


def _xgboost(
    training: Design, folds: Int, seed: int, stable: Callable[[Bool], Bool] | None
) -> _Outcome:
    from pipeline.model.boosting import fit_boosting

    fit = fit_boosting(
        training.values,
        training.outcome,
        folds,
        features=training.features,
        extra=training.extra,
        extra_names=training.extra_names,
        seed=seed,
        stable=stable,
    )
    curve = pd.DataFrame({"n_trees": np.arange(1, len(fit.loss_curve) + 1)})
    curve["log_loss_cv"] = fit.loss_curve
    ranks = np.empty(fit.importance.size)
    ranks[np.argsort(-fit.importance, kind="stable")] = np.arange(1, fit.importance.size + 1)
    names = (*training.features, *training.extra_names)
    table = _selection(names, ranks, fit.importance > 0, fit.frequency, fit.importance)
    return _Outcome(fit.model, fit.held_out, table, curve, {"trees": fit.rounds})


def _selection(
    names: tuple[str, ...],
    ranks: Float,
    selected: Bool,
    frequency: Float,
    shap: Float | None = None,
) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "feature": names,
            "rank": pd.array(ranks, dtype="Int64"),
            "selected": selected.astype(np.int64),
            "selection_frequency": frequency,
        }
    )
    if shap is not None:
        table["mean_abs_shap"] = shap
    return table.sort_values("rank", kind="stable", na_position="last", ignore_index=True)


def _predictions(design: Design, folds: Int, held_out: Float, model: Frozen) -> pd.DataFrame:
    columns = [design.features.index(name) for name in model.features]
    values = design.values[:, columns]
    fold = np.full(len(design.subjects), np.nan)
    score = model.scores(values, design.extra)
    fold[design.development] = folds
    score[design.development] = held_out
    return pd.DataFrame(
        {
            "subject": design.subjects,
            "split": np.where(design.development, "development", "test"),
            "fold": pd.array(fold, dtype="Int64"),
            "response": pd.array(design.outcome, dtype="Int64"),
            "score": score,
            "imputed": (~np.isfinite(values)).sum(axis=1),
        }
    )


def _extra_of(model: Frozen, index: pd.Index, subjects: pd.DataFrame | None, sheet: str) -> Float:
    if not model.extra_names:
        return np.empty((len(index), 0))
    if subjects is None:
        raise ModelError("the model uses the subtype; name the sheet that has it with --subjects")
    if model.extra_names != tuple(f"subtype.{s}" for s in SUBTYPES):
        raise ModelError(f"the model reads the unknown columns {', '.join(model.extra_names)}")
    known = _by_subject(subjects, sheet)
    absent = [subject for subject in index if subject not in known.index]
    if absent:
        raise ModelError(f"{sheet}: subject {absent[0]} has no row; add it with its subtype")
    return one_hot_subtype(known.loc[list(index)], sheet)


def _by_subject(table: pd.DataFrame, source: str) -> pd.DataFrame:
    check_columns(table, ("subject",), source)
    names = table["subject"].astype(str)
    check_unique(names.tolist(), source)
    return table.assign(subject=names).set_index("subject")

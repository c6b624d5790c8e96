"""The study's classifier: SVM-RFE ranking, grid search in cross-validation, final refit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int, as_labels
from pipeline.model.frozen import FrozenSvm
from pipeline.model.scaling import fit_scaler, standardise, usable
from pipeline.model.svm import solve
from pipeline.model.svm_grid import FoldData, SvmGrid, auc_of_grid, squared_distances
from pipeline.model.svm_rfe import rank_features

Selection = Literal["nested", "paper"]


@dataclass(frozen=True, eq=False)
class SvmFit:
    """A fitted machine and how it was chosen.

    Attributes
    ----------
    model : FrozenSvm
        Refitted on all development rows at the chosen setting.
    held_out : (n,) float array
        Score of each development row from the fold that did not see it, at that setting.
    ranking : (q,) int array
        Usable columns, best first, ranked on all development rows.
    frequency : (p,) float array
        Share of the folds in which a column was among the selected ones.
    auc_cv : float
        Mean AUC over the folds at the chosen setting: optimistic, as it was maximised.
    curve : (k, 3) float array
        For 1, 2, ... k features the best mean AUC, and its cost and gamma.
    """

    model: FrozenSvm
    held_out: Float
    ranking: Int
    frequency: Float
    auc_cv: float
    curve: Float


def fit_svm(
    values: Float,
    labels: npt.ArrayLike,
    folds: npt.ArrayLike,
    *,
    features: Sequence[str],
    extra: Float | None = None,
    extra_names: Sequence[str] = (),
    grid: SvmGrid | None = None,
    selection: Selection = "nested",
) -> SvmFit:
    """Select features and settings and fit, on development rows only.

    Parameters
    ----------
    values : (n, p) float array
        Features of the development rows as measured; NaN where missing. Imputation and
        z-scores are fitted inside each fold, and on all rows for the final machine.
    labels : (n,) array of 0 and 1
        Outcome.
    folds : (n,) int array
        Fold of each row, 1, 2, ...; every fold holds both classes.
    features : sequence of p str
        Names of the columns.
    extra, extra_names : (n, e) float array and e names
        Columns appended after the selection, unscaled (one-hot subtype).
    grid : SvmGrid
        Candidate costs, gammas and numbers of features. The setting with the highest mean
        AUC over the folds wins; ties go to fewer features, then smaller cost, then smaller
        gamma.
    selection : "nested" or "paper"
        "nested" ranks the features inside each fold; "paper" once on all development rows,
        so that the held-out rows have had a say in the ranking.

    Raises
    ------
    ModelError
        If a class is missing in a fold, or no feature has a finite value and varies.
    """
    grid = grid or SvmGrid()
    positive, folds = as_labels(labels, what="the development rows"), np.asarray(folds)
    extra = np.empty((len(values), 0)) if extra is None else extra
    columns = np.flatnonzero(usable(values))
    if columns.size == 0:
        raise ModelError(
            f"none of the {values.shape[1]} features has a value and varies over the development "
            "rows; look at the feature table, or choose another --feature-set"
        )
    ranking = columns[_rank(values[:, columns], positive)]
    size = min(grid.max_features, len(values) // 2, columns.size)
    ranked = [
        columns[_rank(values[np.ix_(folds != f, columns)], positive[folds != f])]
        if selection == "nested"
        else ranking
        for f in np.unique(folds)
    ]
    data = [
        _fold_data(values[:, order[:size]], extra, positive, folds == f)
        for f, order in zip(np.unique(folds), ranked, strict=True)
    ]
    auc = np.mean([auc_of_grid(fold, grid) for fold in data], axis=0)
    k, c, g = _best(auc)
    cost, gamma = float(grid.costs[c]), float(grid.gammas[g])
    held_out = np.empty(len(values))
    frequency = np.zeros(values.shape[1])
    for f, fold, order in zip(np.unique(folds), data, ranked, strict=True):
        held_out[folds == f] = _held_out_scores(fold, k + 1, cost, gamma)
        frequency[order[: k + 1]] += 1 / len(data)
    chosen = ranking[: k + 1]
    return SvmFit(
        model=_freeze(
            values[:, chosen], extra, positive, cost, gamma,
            ([features[i] for i in chosen], extra_names),
        ),
        held_out=held_out,
        ranking=ranking,
        frequency=frequency,
        auc_cv=float(auc[k, c, g]),
        curve=_curve(auc, grid),
    )  # fmt: skip


def _rank(values: Float, positive: Bool) -> Int:
    return rank_features(standardise(fit_scaler(values), values), positive)


def _fold_data(values: Float, extra: Float, positive: Bool, held: Bool) -> FoldData:
    scaler = fit_scaler(values[~held])
    as_labels(positive[held], what="the held-out rows of a fold")
    return FoldData(
        train=standardise(scaler, values[~held]),
        held=standardise(scaler, values[held]),
        train_extra=extra[~held],
        held_extra=extra[held],
        positive=positive[~held],
        held_positive=positive[held],
    )


def _best(auc: Float) -> tuple[int, int, int]:
    # Rounding makes means that differ in the last bit equal; argmax takes the first of equals.
    k, c, g = np.unravel_index(int(np.argmax(np.round(auc, 12))), auc.shape)
    return int(k), int(c), int(g)


def _curve(auc: Float, grid: SvmGrid) -> Float:
    rows = []
    for table in auc:
        _, c, g = _best(table[np.newaxis])
        rows.append((table[c, g], grid.costs[c], grid.gammas[g]))
    return np.array(rows)


def _held_out_scores(fold: FoldData, k: int, cost: float, gamma: float) -> Float:
    train = np.hstack([fold.train[:, :k], fold.train_extra])
    held = np.hstack([fold.held[:, :k], fold.held_extra])
    machine = solve(np.exp(-gamma * squared_distances(train, train)), fold.positive, cost=cost)
    return machine.scores(np.exp(-gamma * squared_distances(held, train)))


def _freeze(
    values: Float,
    extra: Float,
    positive: Bool,
    cost: float,
    gamma: float,
    names: tuple[Sequence[str], Sequence[str]],
) -> FrozenSvm:
    scaler = fit_scaler(values)
    rows = np.hstack([standardise(scaler, values), extra])
    machine = solve(np.exp(-gamma * squared_distances(rows, rows)), positive, cost=cost)
    return FrozenSvm(
        features=tuple(names[0]),
        extra_names=tuple(names[1]),
        scaler=scaler,
        support=rows[machine.support],
        dual=machine.dual,
        intercept=machine.intercept,
        gamma=gamma,
        cost=cost,
    )

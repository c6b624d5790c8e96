"""The study's classifier: SVM-RFE ranking, grid search in cross-validation, final refit."""

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class _Setting:
    n_features: int
    cost: float
    gamma: float

    def kernel(self, first: Float, second: Float) -> Float:
        return np.asarray(np.exp(-self.gamma * squared_distances(first, second)))


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
    stable: Callable[[Bool], Bool] | None = None,
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
    stable : callable, optional
        Given training rows (n,), says which columns (p,) may be selected; asked for each fold
        and for all rows, with "paper" for all rows only.

    Raises
    ------
    ModelError
        If a class is missing in a fold, or no feature has a finite value and varies.
    """
    grid = grid or SvmGrid()
    positive, folds = as_labels(labels, what="the development rows"), np.asarray(folds)
    extra = np.empty((len(values), 0)) if extra is None else extra
    columns = _usable_columns(values)

    def ranked_on(rows: Bool) -> Int:
        mine = columns if stable is None else _stable_columns(columns, stable(rows))
        part = values[:, mine] if rows.all() else values[np.ix_(rows, mine)]
        return mine[_rank(part, positive[rows])]

    ranking = ranked_on(np.ones(len(values), dtype=bool))
    held_rows = [folds == number for number in np.unique(folds)]
    ranked = [ranked_on(~held) if selection == "nested" else ranking for held in held_rows]
    fewest = min(order.size for order in (ranking, *ranked))
    size = min(grid.max_features, len(values) // 2, fewest)
    data = [
        _fold_data(values[:, order[:size]], extra, positive, held)
        for order, held in zip(ranked, held_rows, strict=True)
    ]
    auc = np.asarray(np.mean([auc_of_grid(fold, grid) for fold in data], axis=0))
    k, c, g = _best(auc)
    setting = _Setting(k + 1, float(grid.costs[c]), float(grid.gammas[g]))
    held_out = np.empty(len(values))
    for held, fold in zip(held_rows, data, strict=True):
        held_out[held] = _held_out_scores(fold, setting)
    chosen = ranking[: setting.n_features]
    names = (tuple(features[i] for i in chosen), tuple(extra_names))
    return SvmFit(
        model=_freeze(values[:, chosen], extra, positive, setting, names),
        held_out=held_out,
        ranking=ranking,
        frequency=_frequency(ranked, setting.n_features, values.shape[1]),
        auc_cv=float(auc[k, c, g]),
        curve=_curve(auc, grid),
    )


def _usable_columns(values: Float) -> Int:
    columns = np.flatnonzero(usable(values))
    if columns.size == 0:
        raise ModelError(
            f"none of the {values.shape[1]} features has a value and varies over the development "
            "rows; look at the feature table, or choose another --feature-set"
        )
    return np.asarray(columns)


def _stable_columns(columns: Int, stable: Bool) -> Int:
    kept = columns[stable[columns]]
    if kept.size == 0:
        raise ModelError(
            f"none of the {columns.size} features that vary is stable; look at the stability table"
        )
    return np.asarray(kept)


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


def _held_out_scores(fold: FoldData, setting: _Setting) -> Float:
    k = setting.n_features
    train = np.hstack([fold.train[:, :k], fold.train_extra])
    held = np.hstack([fold.held[:, :k], fold.held_extra])
    machine = solve(setting.kernel(train, train), fold.positive, cost=setting.cost)
    return machine.scores(setting.kernel(held, train))


def _frequency(ranked: Sequence[Int], n_features: int, width: int) -> Float:
    hits = np.zeros(width)
    for order in ranked:
        hits[order[:n_features]] += 1
    return hits / len(ranked)


def _freeze(
    values: Float,
    extra: Float,
    positive: Bool,
    setting: _Setting,
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> FrozenSvm:
    scaler = fit_scaler(values)
    rows = np.hstack([standardise(scaler, values), extra])
    machine = solve(setting.kernel(rows, rows), positive, cost=setting.cost)
    return FrozenSvm(
        features=names[0],
        extra_names=names[1],
        scaler=scaler,
        support=rows[machine.support],
        dual=machine.dual,
        intercept=machine.intercept,
        gamma=setting.gamma,
        cost=setting.cost,
    )

"""Cross-validated AUC over the number of features, the cost and the kernel width."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import SettingsError
from pipeline.model.arrays import Bool, Float
from pipeline.model.svm import solve


@dataclass(frozen=True)
class SvmGrid:
    """Candidate settings; the ranges are (first, last, step) powers of two.

    Attributes
    ----------
    c_log2 : (float, float, float)
        Cost C.
    gamma_log2 : (float, float, float)
        Gamma of ``exp(-gamma |x - y|^2)`` on z-scored features; not divided by their number.
    max_features : int
        Largest number of image features (also at most half the development rows).
    """

    c_log2: tuple[float, float, float] = (-5.0, 10.0, 1.0)
    gamma_log2: tuple[float, float, float] = (-12.0, 3.0, 1.0)
    max_features: int = 30

    @property
    def costs(self) -> Float:
        """Costs in rising order."""
        return _powers_of_two(self.c_log2, "c_log2")

    @property
    def gammas(self) -> Float:
        """Gammas in rising order."""
        return _powers_of_two(self.gamma_log2, "gamma_log2")


@dataclass(frozen=True, eq=False)
class FoldData:
    """One fold: its training and held-out rows, standardised with the training rows.

    Attributes
    ----------
    train, held : (n, k), (m, k) float arrays
        Image features in rank order, best first.
    train_extra, held_extra : (n, e), (m, e) float arrays
        Columns that every candidate has (e may be 0).
    positive, held_positive : (n,), (m,) bool arrays
        Class 1 rows.
    """

    train: Float
    held: Float
    train_extra: Float
    held_extra: Float
    positive: Bool
    held_positive: Bool


def squared_distances(first: Float, second: Float) -> Float:
    """Return squared Euclidean distances (n, m) between rows (n, k) and rows (m, k)."""
    difference = first[:, np.newaxis, :] - second[np.newaxis, :, :]
    return np.asarray(np.square(difference).sum(axis=2))


def auc_of_grid(fold: FoldData, grid: SvmGrid) -> Float:
    """Return the held-out AUC (k, costs, gammas) with the best 1, 2, ... k features."""
    costs, gammas = grid.costs, grid.gammas
    result = np.empty((fold.train.shape[1], costs.size, gammas.size))
    within = squared_distances(fold.train_extra, fold.train_extra)
    across = squared_distances(fold.held_extra, fold.train_extra)
    for k in range(fold.train.shape[1]):
        column, held = fold.train[:, k], fold.held[:, k]
        within += np.square(column[:, np.newaxis] - column)
        across += np.square(held[:, np.newaxis] - column)
        for g, gamma in enumerate(gammas):
            scores = scores_along_costs(
                np.exp(-gamma * within), fold.positive, np.exp(-gamma * across), costs
            )
            result[k, :, g] = _auc_of_rows(scores, fold.held_positive)
    return result


def scores_along_costs(kernel: Float, positive: Bool, across: Float, costs: Float) -> Float:
    """Return held-out scores (costs, m); their order within a row is what counts.

    From the middle of the range we walk up until no coefficient touches the cost, and down
    until all of the smaller class do: beyond these points the order of the scores is known
    without a fit. `kernel` (n, n) is that of the training rows, `across` (m, n) joins the
    held-out rows to them; `costs` rise.
    """
    start = costs.size // 2
    result = np.empty((costs.size, across.shape[0]))
    middle = solve(kernel, positive, cost=float(costs[start]))
    result[start] = middle.scores(across)
    for step in (1, -1):
        machine = middle
        for i in range(start + step, costs.size if step > 0 else -1, step):
            if machine.is_free if step > 0 else machine.is_saturated:
                result[i] = result[i - step]
                continue
            machine = solve(kernel, positive, cost=float(costs[i]))
            result[i] = machine.scores(across)
    return result


def _auc_of_rows(scores: Float, positive: Bool) -> Float:
    difference = scores[:, positive][:, :, np.newaxis] - scores[:, ~positive][:, np.newaxis, :]
    return np.asarray(((np.sign(difference) + 1) / 2).mean(axis=(1, 2)))


def _powers_of_two(span: tuple[float, float, float], name: str) -> Float:
    first, last, step = span
    if not (step > 0 and first <= last):
        raise SettingsError(
            f"{name} = {first:g},{last:g},{step:g} is empty: it takes first <= last and step > 0"
        )
    return np.asarray(np.exp2(np.arange(first, last + step / 2, step)))

"""An honest C-index of the whole development chain, by nested cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.survival.discrimination import harrell_c
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.rad_score import LassoOptions, RadScore, fit_rad_score
from pipeline.model.survival.selection import assign_survival_folds


@dataclass(frozen=True, eq=False)
class NestedResult:
    """Held-out performance, fold by fold.

    Attributes
    ----------
    fold_c : (k,) float array
        Harrell's C of each outer fold, among its held-out rows; NaN without a usable pair.
    scores : tuple of k RadScore
        The score developed outside each fold.
    folds : (n,) int array
        Outer fold of each row, from 1.
    predicted : (n,) float array
        Score of each row, from the fold in which it was held out.
    """

    fold_c: Float
    scores: tuple[RadScore, ...]
    folds: Int
    predicted: Float

    @property
    def mean_c(self) -> float:
        """Return the nested C-index: the mean over the folds that have a usable pair."""
        return float(np.nanmean(self.fold_c))


def nested_c_index(
    values: Float,
    features: Sequence[str],
    outcome: Outcome,
    subjects: Sequence[str],
    *,
    n_folds: int = 5,
    seed: int,
    options: LassoOptions | None = None,
) -> NestedResult:
    """Run the whole chain inside each outer fold and score the rows held out.

    Dropping, filter, scaler, path, choice of lambda and coefficients all see the training rows of
    the fold alone.

    Parameters
    ----------
    values, features, outcome, subjects
        As for `fit_rad_score`: raw features.
    n_folds : int
        Outer folds; their events are dealt evenly.
    seed : int
        Seed of the outer folds, and with the fold's number of the inner ones.
    options : LassoOptions, optional
        The chain. Selection frequencies are not computed here.

    Returns
    -------
    NestedResult
        Its `mean_c` is the nested C-index. C is taken within the folds, because the scores of
        different folds come from different models and cannot be ranked together. An empty score
        ties all its rows: C is 0.5.

    Raises
    ------
    ModelError
        No fold with a usable pair, and whatever `fit_rad_score` refuses.
    """
    options = options or LassoOptions()
    folds = assign_survival_folds(subjects, outcome, n_folds=n_folds, seed=seed)
    numbers = range(1, int(folds.max()) + 1)
    seeds = np.random.SeedSequence(seed).generate_state(len(numbers)).tolist()
    predicted, scores, fold_c = np.full(len(outcome), np.nan), [], []
    for number, inner in zip(numbers, seeds, strict=True):
        held = folds == number
        training = [s for s, out in zip(subjects, held, strict=True) if not out]
        chain = replace(options, resamples=0)
        fit = fit_rad_score(
            values[~held], features, outcome.take(~held), training, options=chain, seed=inner
        )
        predicted[held] = fit.score.score(values[held], features)
        scores.append(fit.score)
        fold_c.append(harrell_c(predicted[held], outcome.take(held)).value)
    if np.isnan(fold_c).all():
        raise ModelError(
            f"none of {len(numbers)} outer folds has a pair of rows that can be ranked; use fewer"
            " folds"
        )
    return NestedResult(np.asarray(fold_c), tuple(scores), folds, predicted)

"""Choice of lambda by cross-validated deviance as cv.glmnet does it, and how stable it is."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.scaling import fit_scaler, standardise
from pipeline.model.survival.deviance import partial_deviance
from pipeline.model.survival.lasso_cox import LassoPath, PathOptions, lasso_at, lasso_path
from pipeline.model.survival.outcome import Outcome

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LassoCv:
    """Cross-validated partial deviance along a path.

    Attributes
    ----------
    deviance : (m,) float array
        Mean over the folds, per event, weighted by the events of the fold (glmnet's cvm).
    se : (m,) float array
        Its standard error (cvsd).
    index_min : int
        Step, from 0, of the smallest deviance; the first one when several tie.
    index_1se : int
        Step of the largest lambda whose deviance is within one standard error of the smallest.
    """

    deviance: Float
    se: Float
    index_min: int
    index_1se: int


@dataclass(frozen=True, eq=False)
class RepeatedCv:
    """Cross-validation repeated over several deals of the folds.

    Attributes
    ----------
    repeats : tuple of LassoCv
        One per deal.
    index_min, index_1se : int
        Step of the median lambda over the repeats. With an even number of repeats it is the
        larger of the two middle lambdas (the sparser model), so that it lies on the path.
    """

    repeats: tuple[LassoCv, ...]
    index_min: int
    index_1se: int

    @property
    def deviance(self) -> Float:
        """Return the mean over the repeats of the cross-validated deviance (m,)."""
        return np.asarray(np.mean([one.deviance for one in self.repeats], axis=0))

    @property
    def se(self) -> Float:
        """Return the mean over the repeats of its standard error (m,)."""
        return np.asarray(np.mean([one.se for one in self.repeats], axis=0))


def assign_survival_folds(
    subjects: Sequence[str],
    outcome: Outcome,
    *,
    n_folds: int = 10,
    seed: int,
) -> Int:
    """Deal subjects over the folds, events first, so that every fold has its share of events.

    Parameters
    ----------
    subjects : sequence of n str
        Subject of each row; rows of one subject, as in a bootstrap, share a fold. The folds do
        not depend on the order of the rows.
    outcome : Outcome
        Of the same rows.
    n_folds : int
        Folds wanted; lowered, with a log line, to the subjects with an event.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    (n,) int array
        Fold of each row, 1 to the number of folds.

    Raises
    ------
    ModelError
        A subject with two outcomes, or fewer than two subjects with an event.

    Notes
    -----
    `pipeline.model.folds.assign_folds` would lower the number of folds to the size of the smaller
    class; here only events must be in every fold, for the deviance is counted per event.
    """
    had_event = _event_of_subjects(subjects, outcome)
    events = sum(had_event.values())
    count = min(n_folds, events)
    if count < 2:
        raise ModelError(
            f"{n_folds} folds over {events} subjects with an event: at least 2 of each are needed;"
            " add development subjects or follow-up"
        )
    if count < n_folds:
        logger.info("%d folds, not %d: %d subjects have an event", count, n_folds, events)
    rng = np.random.default_rng(seed)
    groups = [sorted(s for s, e in had_event.items() if e == wanted) for wanted in (True, False)]
    dealt = [s for group in groups if group for s in rng.permutation(group).tolist()]
    fold_of = {subject: position % count + 1 for position, subject in enumerate(dealt)}
    return np.array([fold_of[subject] for subject in subjects], dtype=np.int64)


def _event_of_subjects(subjects: Sequence[str], outcome: Outcome) -> dict[str, bool]:
    seen: dict[str, tuple[float, bool]] = {}
    rows = zip(subjects, outcome.months.tolist(), outcome.event.tolist(), strict=True)
    for subject, months, event in rows:
        if seen.setdefault(subject, (months, event)) != (months, event):
            raise ModelError(
                f"subject {subject} has two rows with different time or event; a survival model"
                " takes one outcome per subject: remove the duplicate from the subjects sheet"
            )
    return {subject: event for subject, (_, event) in seen.items()}


def cross_validate(values: Float, outcome: Outcome, folds: Int, path: LassoPath) -> LassoCv:
    """Return the cross-validated partial deviance of a path.

    Parameters
    ----------
    values : (n, p) float array
        z-scores that gave `path`. The folds do not scale again, as glmnet's do not with
        standardize = FALSE: the held-out rows have had a share in the scaling, though not in the
        outcome. `nested_c_index` scales anew in every outer fold.
    outcome : Outcome
        Of the same rows.
    folds : (n,) int array
        Fold of each row, from 1.
    path : LassoPath
        The path of all rows; its options are used in the folds.

    Returns
    -------
    LassoCv
        At the lambdas of `path`.

    Raises
    ------
    ModelError
        A fold without any event, or fewer than two folds.

    Notes
    -----
    As `cv.glmnet(type.measure = "deviance", grouped = TRUE)`: a fold's part is the deviance of
    all rows minus that of the training rows, both at the coefficients of the training rows
    (van Houwelingen et al., Stat Med 25, 2006, 3201-3216), over the fold's events. A fold has its
    own path from its own largest lambda, read at the lambdas of the full path by
    `LassoPath.at`; with lambdas given, the folds use those.
    """
    numbers = np.unique(folds)
    events = np.array([outcome.event[folds == number].sum() for number in numbers], dtype=float)
    _check_folds(numbers, events)
    parts = np.array([_held_out(values, outcome, folds != number, path) for number in numbers])
    parts /= events[:, None]
    weights = events / events.sum()
    mean = weights @ parts
    se = np.sqrt(weights @ (parts - mean) ** 2 / (numbers.size - 1))
    lowest = int(np.argmin(mean))
    within = mean <= mean[lowest] + se[lowest]
    return LassoCv(mean, se, lowest, int(np.argmax(within)))


def repeat_cross_validation(
    values: Float,
    outcome: Outcome,
    subjects: Sequence[str],
    path: LassoPath,
    *,
    n_folds: int = 10,
    repeats: int = 10,
    seed: int,
) -> RepeatedCv:
    """Cross-validate over several deals of the folds, from `seed`, and take the median lambda.

    Arguments as for `cross_validate` and `assign_survival_folds`.
    """
    if repeats < 1:
        raise ModelError(f"{repeats} repeats of the cross-validation: give 1 or more")
    seeds = np.random.SeedSequence(seed).generate_state(repeats).tolist()
    deals = [assign_survival_folds(subjects, outcome, n_folds=n_folds, seed=s) for s in seeds]
    found = tuple(cross_validate(values, outcome, folds, path) for folds in deals)
    return RepeatedCv(
        found,
        _median_step([one.index_min for one in found]),
        _median_step([one.index_1se for one in found]),
    )


def selection_frequency(
    values: Float,
    outcome: Outcome,
    penalty: float,
    *,
    resamples: int = 100,
    seed: int,
    options: PathOptions | None = None,
) -> Float:
    """Return how often each feature is selected at one lambda over bootstrap resamples.

    Parameters
    ----------
    values : (n, p) float array
        Features before scaling; the scaler is fitted anew in every resample. A feature that does
        not vary in a resample counts as not selected.
    outcome : Outcome
        Of the same rows.
    penalty : float
        lambda.
    resamples : int
        Bootstrap resamples of n rows, drawn with replacement. One without any event is drawn
        again.
    seed : int
        Seed of the draws.
    options : PathOptions, optional
        Mixing and tolerance.

    Returns
    -------
    (p,) float array
        Share of the resamples with a coefficient that is not 0.
    """
    if resamples < 1:
        raise ModelError(f"{resamples} bootstrap resamples: give 1 or more")
    rng = np.random.default_rng(seed)
    counts = np.zeros(values.shape[1])
    for _ in range(resamples):
        rows = rng.integers(0, len(outcome), len(outcome))
        while not outcome.event[rows].any():
            rows = rng.integers(0, len(outcome), len(outcome))
        drawn = values[rows]
        scaled = standardise(fit_scaler(drawn), drawn)
        counts += lasso_at(scaled, outcome.take(rows), penalty, options) != 0
    return counts / resamples


def _held_out(values: Float, outcome: Outcome, training: Bool, path: LassoPath) -> Float:
    """Return the deviance (m,) of all rows minus that of the training rows."""
    fold = lasso_path(values[training], outcome.take(training), path.options)
    predictor = values @ fold.at(path.lambdas).T
    inside = partial_deviance(predictor[training], outcome.take(training))
    return np.asarray(partial_deviance(predictor, outcome) - inside)


def _check_folds(numbers: Int, events: Float) -> None:
    if numbers.size < 2:
        raise ModelError(f"{numbers.size} fold: cross-validation needs 2 or more")
    if (events == 0).any():
        raise ModelError(
            f"fold {numbers[events == 0][0]} has no event, so its deviance is not defined; deal"
            " the folds by events (assign_survival_folds) or use fewer"
        )


def _median_step(steps: list[int]) -> int:
    """Return the middle step; of two middle ones the earlier, which has the larger lambda."""
    return sorted(steps)[(len(steps) - 1) // 2]

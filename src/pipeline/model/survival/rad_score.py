"""Development of a Rad-score: the chain from raw features to a frozen LASSO-Cox signature."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.scaling import Scaler, fit_scaler, standardise, usable
from pipeline.model.stability_filter import StabilityFilter, stable_columns
from pipeline.model.survival.feature_filter import FilterName, filter_features
from pipeline.model.survival.frozen_score import RadScore
from pipeline.model.survival.lasso_cox import LassoPath, PathOptions, lasso_path
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.selection import (
    RepeatedCv,
    repeat_cross_validation,
    selection_frequency,
)

logger = logging.getLogger(__name__)

__all__ = ["LassoOptions", "RadScore", "RadScoreFit", "fit_rad_score"]

Rule = Literal["min", "1se", "count"]


@dataclass(frozen=True)
class LassoOptions:
    """How a Rad-score is developed.

    Attributes
    ----------
    filter, filter_keep
        Name and kept share of `filter_features`.
    l1_ratio, n_lambdas, lambda_min_ratio, tolerance
        See `PathOptions`.
    rule : {"min", "1se", "count"}
        lambda of the smallest cross-validated deviance, the largest within one standard error
        of it, or the largest that selects at least `count` features.
    count : int
        Features wanted by the rule "count".
    n_folds, repeats : int
        Cross-validation; 0 repeats leave it out, which only the rule "count" can bear.
    resamples : int
        Bootstrap resamples for the selection frequency; 0 leaves it out.
    stability : StabilityFilter, optional
        Leaves unstable features out, before the other filter.
    """

    filter: FilterName = "none"
    filter_keep: float = 0.8
    l1_ratio: float = 1.0
    n_lambdas: int = 100
    lambda_min_ratio: float | None = None
    tolerance: float = 1e-10
    rule: Rule = "min"
    count: int = 1
    n_folds: int = 10
    repeats: int = 10
    resamples: int = 0
    stability: StabilityFilter | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.rule not in ("min", "1se", "count"):
            raise ModelError(f"lambda rule {self.rule!r} is not known; use min, 1se or count")
        if self.rule != "count" and self.repeats < 1:
            raise ModelError(f"lambda rule {self.rule} needs 1 or more repeats of the folds")
        if self.rule == "count" and self.count < 1:
            raise ModelError(f"lambda rule count with {self.count} features: give 1 or more")

    @property
    def path(self) -> PathOptions:
        """Return the options of the path."""
        return PathOptions(
            l1_ratio=self.l1_ratio,
            n_lambdas=self.n_lambdas,
            lambda_min_ratio=self.lambda_min_ratio,
            tolerance=self.tolerance,
        )


@dataclass(frozen=True, eq=False)
class RadScoreFit:
    """A developed Rad-score and everything its report needs.

    Attributes
    ----------
    score : RadScore
        Without a cut-off.
    features : tuple of k str
        Features that entered the path: varying, and kept by the filter.
    dropped, filtered : tuples of str
        Features that are constant or empty, and features left out by the filters.
    scaler : Scaler
        Statistics (k,) of the development rows.
    path : LassoPath
        Of the k features.
    cv : RepeatedCv or None
        Cross-validation; None when left out.
    step : int
        Step of the path, from 0, that is used.
    frequency : (k,) float array
        Selection frequency over bootstrap resamples at that lambda; NaN when left out.
    """

    score: RadScore
    features: tuple[str, ...]
    dropped: tuple[str, ...]
    filtered: tuple[str, ...]
    scaler: Scaler
    path: LassoPath
    cv: RepeatedCv | None
    step: int
    frequency: Float


def fit_rad_score(
    values: Float,
    features: Sequence[str],
    outcome: Outcome,
    subjects: Sequence[str],
    *,
    options: LassoOptions | None = None,
    seed: int,
) -> RadScoreFit:
    """Develop a Rad-score on development rows.

    The chain: drop constant and empty features; leave unstable ones out; filter on raw values;
    fit the scaler; path; repeated cross-validation; choose lambda; coefficients; selection
    frequency.

    Parameters
    ----------
    values : (n, p) float array
        Raw features of the development rows. Missing values take the median.
    features : sequence of p str
        Names of the columns.
    outcome : Outcome
        Of the same rows.
    subjects : sequence of n str
        Subject of each row; the result does not depend on their order. Rows of one subject, as
        in a bootstrap, share a fold.
    options : LassoOptions, optional
        Filter, path, rule and folds.
    seed : int
        Seed of folds and resamples.

    Returns
    -------
    RadScoreFit
        When the rule chooses a lambda that selects nothing, the score is empty: no features, 0
        for everyone. That is a finding (no signal), told by a warning; nothing else is put in its
        place, and the caller decides.

    Raises
    ------
    ModelError
        Shapes that do not fit, a feature given twice, no usable feature.
    """
    options = options or LassoOptions()
    _check_table(values, features, subjects)
    order = np.argsort(np.asarray(subjects, dtype=str), kind="stable")
    values, outcome = values[order], outcome.take(order)
    subjects = [subjects[row] for row in order]
    kept, dropped, filtered = _columns(values, features, subjects, options)
    raw = values[:, kept]
    scaler = fit_scaler(raw)
    scaled = standardise(scaler, raw)
    path = lasso_path(scaled, outcome, options.path)
    cv = _cross_validation(scaled, outcome, subjects, path, options, seed)
    step = _step(path, cv, options)
    names = tuple(features[column] for column in kept)
    penalty = float(path.lambdas[step])
    frequency = np.full(kept.size, np.nan)
    if options.resamples:
        frequency = selection_frequency(
            raw, outcome, penalty,
            resamples=options.resamples, seed=seed, options=options.path,
        )  # fmt: skip
    score = _freeze(
        names, scaler, path, step, _details(outcome, features, kept, step, options) | {"seed": seed}
    )
    return RadScoreFit(score, names, dropped, filtered, scaler, path, cv, step, frequency)


def _check_table(values: Float, features: Sequence[str], subjects: Sequence[str]) -> None:
    if values.ndim != 2 or values.shape != (len(subjects), len(features)):
        raise ModelError(
            f"the feature table has shape {values.shape}, not {len(subjects)} subjects by"
            f" {len(features)} features"
        )
    names, counts = np.unique(np.asarray(features, dtype=str), return_counts=True)
    if (counts > 1).any():
        raise ModelError(
            f"feature {names[counts > 1][0]} is in {counts[counts > 1][0]} columns; remove the"
            " duplicates from the feature table"
        )


def _columns(
    values: Float, features: Sequence[str], subjects: Sequence[str], options: LassoOptions
) -> tuple[Int, tuple[str, ...], tuple[str, ...]]:
    """Return the kept columns, the names that carry nothing, and those filtered out."""
    varying = usable(values)
    dropped = tuple(name for name, ok in zip(features, varying, strict=True) if not ok)
    if not varying.any():
        raise ModelError(
            f"all {len(features)} features are constant or empty in the development rows"
            f" ({', '.join(dropped[:5])}{', ...' if len(dropped) > 5 else ''}); a Rad-score needs"
            " features that vary: check the feature table"
        )
    if dropped:
        logger.info(
            "%d features are constant or empty in the development rows and are dropped: %s",
            len(dropped), ", ".join(dropped),
        )  # fmt: skip
    columns = np.flatnonzero(varying)
    names = [features[column] for column in columns.tolist()]
    steady = columns[stable_columns(options.stability, names, subjects)]
    chosen = filter_features(values[:, steady], name=options.filter, share=options.filter_keep)
    kept = steady[chosen]
    left = set(columns.tolist()) - set(kept.tolist())
    return kept, dropped, tuple(features[column] for column in sorted(left))


def _cross_validation(
    scaled: Float,
    outcome: Outcome,
    subjects: Sequence[str],
    path: LassoPath,
    options: LassoOptions,
    seed: int,
) -> RepeatedCv | None:
    if not options.repeats:
        return None
    return repeat_cross_validation(
        scaled, outcome, subjects, path,
        n_folds=options.n_folds, repeats=options.repeats, seed=seed,
    )  # fmt: skip


def _step(path: LassoPath, cv: RepeatedCv | None, options: LassoOptions) -> int:
    if options.rule == "count" or cv is None:
        enough = np.flatnonzero(path.n_selected >= options.count)
        if not enough.size:
            most = int(np.argmax(path.n_selected))
            logger.warning(
                "no lambda selects %d features; the one with most, %d, is used",
                options.count, path.n_selected[most],
            )  # fmt: skip
            return most
        return int(enough[0])
    return cv.index_min if options.rule == "min" else cv.index_1se


def _freeze(
    names: tuple[str, ...], scaler: Scaler, path: LassoPath, step: int, details: dict[str, Any]
) -> RadScore:
    selected = np.flatnonzero(path.coefficients[step])
    penalty = float(path.lambdas[step])
    if not selected.size:
        logger.warning(
            "lambda %.4g selects none of %d features: the Rad-score is empty and 0 for everyone",
            penalty, len(names),
        )  # fmt: skip
    return RadScore(
        features=tuple(names[column] for column in selected),
        scaler=scaler.take(selected),
        coefficients=path.coefficients[step][selected],
        penalty=penalty,
        details=details,
    )


def _details(
    outcome: Outcome, features: Sequence[str], kept: Int, step: int, options: LassoOptions
) -> dict[str, Any]:
    stability = {"stability": options.stability.describe()} if options.stability else {}
    return stability | {
        "subjects": len(outcome),
        "events": int(outcome.event.sum()),
        "features_given": len(features),
        "features_in_path": int(kept.size),
        "filter": options.filter,
        "filter_keep": options.filter_keep if options.filter != "none" else None,
        "l1_ratio": options.path.l1_ratio,
        "lambda_rule": options.rule,
        "lambda_step": step + 1,
        "folds": options.n_folds,
        "repeats": options.repeats,
        "ties": "breslow",
        "scaling": "z-score, mean and population sd of the development rows",
    }

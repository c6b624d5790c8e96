"""Optimism of the whole chain: selection, lambda, cut-off and Cox models anew in each resample."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.resampling import bootstrap_rows
from pipeline.model.survival.brier import brier_at
from pipeline.model.survival.calibration import calibration_slope, grouped_calibration
from pipeline.model.survival.chain import (
    SurvivalModel,
    SurvivalOptions,
    fit_survival,
    predict,
    survival_column,
)
from pipeline.model.survival.design import SurvivalDesign
from pipeline.model.survival.discrimination import auc_at, harrell_c, uno_c
from pipeline.model.survival.optimism import OPTIMISM_COLUMNS, bootstrap_optimism
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.scored import attempt
from pipeline.model.survival.validation_tables import calibration_cuts

#: A resample looks for its lambda on a shorter path, once, to four digits: 100 of them then take
#: half a minute where the full search would take four. Few cohorts use a lambda below 5 %.
_LAMBDAS, _LEAST, _TOLERANCE = 50, 0.05, 1e-6

#: Modules that log what they do.
_STEPS = ("chain", "lasso_cox", "rad_score", "selection", "cutoff", "cox")

_FIGURES = OPTIMISM_COLUMNS[1:]

#: (model, metric, horizon in months or NaN, calibration group or 0)
Key = tuple[str, str, float, int]


def chain_optimism(
    design: SurvivalDesign,
    options: SurvivalOptions,
    fitted: SurvivalModel,
    *,
    draws: int = 100,
    seed: int = 1,
) -> pd.DataFrame:
    """Correct the figures on the development rows for everything that was learnt from them.

    Parameters
    ----------
    design : SurvivalDesign
        Test rows are not looked at.
    options : SurvivalOptions
        The chain. In a resample lambda comes from one cross-validation, not from `repeats`, over
        50 values from the largest to 5 % of it.
    fitted : SurvivalModel
        What the chain gave on all development rows: its models and the limits of their
        calibration groups are the ones that are corrected.
    draws, seed : int
        Resamples and seed.

    Returns
    -------
    DataFrame
        ``model, metric, horizon_months, group, apparent, training, test, optimism, corrected,
        n``: as `pipeline.model.survival.optimism.bootstrap_optimism`; metric
        ``calibration_gap`` is observed - predicted survival in a group of predictions. A
        resample that selects no feature ranks nobody: its Rad-score has C = AUC = 0.5. No row,
        with a warning, when half of the resamples or more cannot be fitted: too few subjects.
    """
    rows = np.flatnonzero(design.development)
    outcome = design.outcome.take(rows)
    horizons = [m for m in options.horizons_months if m <= fitted.last_months]
    limits = _limits(fitted, design, rows, horizons)
    lasso = replace(
        options.lasso, repeats=1, resamples=0,
        n_lambdas=_LAMBDAS, lambda_min_ratio=_LEAST, tolerance=_TOLERANCE,
    )  # fmt: skip
    quick = replace(options, lasso=lasso)

    def fit(chosen: Int) -> SurvivalModel:
        return fit_survival(design, quick, seed=seed, rows=rows[chosen]).model

    def metrics(model: SurvivalModel, chosen: Int) -> dict[str, float]:
        table = predict(model, design).iloc[rows[chosen]].reset_index(drop=True)
        return _measures(table, model, outcome.take(chosen), limits)

    if options.harmonise == "combat":
        drawn = _rows_within_centres([design.centre[row] for row in rows], draws, seed)
    else:
        drawn = bootstrap_rows(rows.size, draws, seed)
    with _steps_silent():
        done = attempt("correction for optimism", bootstrap_optimism, fit, metrics, drawn)
    if done is None:
        return pd.DataFrame(columns=["model", "metric", "horizon_months", "group", *_FIGURES])
    found = done.table
    keys = [_parse(text) for text in found.pop("metric")]
    head = pd.DataFrame(keys, columns=["model", "metric", "horizon_months", "group"])
    return pd.concat([head, found], axis=1)


@contextmanager
def _steps_silent() -> Iterator[None]:
    """Keep what the steps say of a resample out of the log: it would be taken for the model's."""
    loggers = [logging.getLogger(f"pipeline.model.survival.{name}") for name in _STEPS]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _rows_within_centres(centres: Sequence[str], draws: int, seed: int) -> Int:
    """Return resamples (draws, n) that keep the size of every centre: ComBat needs them all."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((draws, len(centres)), dtype=np.int64)
    for name in sorted(set(centres)):
        members = np.array([i for i, centre in enumerate(centres) if centre == name])
        drawn[:, members] = members[rng.integers(0, members.size, (draws, members.size))]
    return drawn


def _limits(
    model: SurvivalModel, design: SurvivalDesign, rows: Int, horizons: Sequence[float]
) -> dict[str, dict[float, Float]]:
    """Return model -> horizon -> limits of the calibration groups, equal in every resample."""
    table = predict(model, design).iloc[rows]
    found: dict[str, dict[float, Float]] = {}
    for name in model.models:
        found[name] = {}
        for months in horizons:
            survival = table[survival_column(name, months)].dropna().to_numpy(dtype=np.float64)
            found[name][months] = calibration_cuts(survival)
    return found


def _measures(
    table: pd.DataFrame,
    model: SurvivalModel,
    outcome: Outcome,
    limits: Mapping[str, Mapping[float, Float]],
) -> dict[str, float]:
    """Return the measures of the models that the development rows gave, and of no other."""
    found: dict[Key, float] = {}
    for name, cuts in limits.items():
        if name in model.models:
            found |= _of_model(table, name, outcome, cuts)
        else:
            found |= _of_nobody(name, cuts)
    return {_text(key): value for key, value in found.items()}


def _of_model(
    table: pd.DataFrame, name: str, outcome: Outcome, limits: Mapping[float, Float]
) -> dict[Key, float]:
    risk = table[f"lp_{name}"].to_numpy(dtype=np.float64)
    known = np.isfinite(risk)
    risk, times = risk[known], outcome.take(known)
    nan = float("nan")
    slope = calibration_slope(risk, times).value if np.ptp(risk) > 0 else nan
    found: dict[Key, float] = {
        (name, "harrell_c", nan, 0): harrell_c(risk, times).value,
        (name, "slope", nan, 0): slope,
    }
    for months, cuts in limits.items():
        survival = table.loc[known, survival_column(name, months)].to_numpy(dtype=np.float64)
        found[name, "auc", months, 0] = auc_at(risk, times, months).value
        found[name, "brier", months, 0] = brier_at(survival, times, months).value
        found |= _gaps(name, survival, times, months, cuts)
    last = max(limits, default=nan)
    if limits:
        found[name, "uno_c", last, 0] = uno_c(risk, times, tau=last).value
    return found


def _gaps(
    name: str, survival: Float, outcome: Outcome, months: float, cuts: Float
) -> dict[Key, float]:
    """Return observed - predicted survival per group; NaN where a resample has nobody there."""
    found: dict[Key, float] = {
        (name, "calibration_gap", months, group): float("nan") for group in range(1, len(cuts))
    }
    try:
        table = grouped_calibration(survival, outcome, months, cuts=cuts)
    except ModelError:  # all predictions in one group
        return found
    for group, row in zip(table["group"], table.to_dict("records"), strict=True):
        found[name, "calibration_gap", months, int(group)] = row["observed"] - row["predicted"]
    return found


def _of_nobody(name: str, limits: Mapping[float, Float]) -> dict[Key, float]:
    nan = float("nan")
    found: dict[Key, float] = {(name, "harrell_c", nan, 0): 0.5, (name, "slope", nan, 0): nan}
    for months, cuts in limits.items():
        found[name, "auc", months, 0] = 0.5
        found[name, "brier", months, 0] = nan
        for group in range(1, len(cuts)):
            found[name, "calibration_gap", months, group] = nan
    if limits:
        found[name, "uno_c", max(limits), 0] = 0.5
    return found


def _text(key: Key) -> str:
    name, metric, months, group = key
    return f"{name}|{metric}|{months!r}|{group}"


def _parse(text: str) -> Key:
    name, metric, months, group = text.split("|")
    return name, metric, float(months), int(group)

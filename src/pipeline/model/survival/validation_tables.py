"""Discrimination, calibration and net benefit of each model on each split, as tables."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.model.arrays import Float
from pipeline.model.resampling import Estimate, compare_estimates
from pipeline.model.survival.brier import brier_at, integrated_brier
from pipeline.model.survival.calibration import (
    calibration_slope,
    grouped_calibration,
    observed_expected,
    smooth_survival_calibration,
)
from pipeline.model.survival.decision import survival_decision_curve
from pipeline.model.survival.discrimination import auc_at, harrell_c, ipcw_roc, uno_c
from pipeline.model.survival.scored import Scored, attempt

logger = logging.getLogger(__name__)

#: Most groups of a grouped calibration, and about how many subjects each should have.
MOST_GROUPS, SUBJECTS_PER_GROUP = 4, 15

#: Horizon of a measure that has none.
NO_TIME = float("nan")

#: Threshold probabilities of the decision curves.
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)


def roc_curves(
    scored: Sequence[Scored], horizons: Sequence[float]
) -> Iterator[pd.DataFrame | None]:
    """Yield the cumulative/dynamic ROC curve of each model at each horizon."""
    for s in scored:
        for months in horizons:
            curve = attempt(
                f"{s.split}, {s.model}, ROC at {months:g} months",
                ipcw_roc,
                s.risk,
                s.outcome,
                months,
            )
            if curve is not None:
                rates = {
                    "false_positive_rate": curve.false_positive_rate,
                    "true_positive_rate": curve.true_positive_rate,
                    "threshold": curve.threshold,
                }
                yield pd.DataFrame(_key(s, months) | rates)


def measures(s: Scored, horizons: Sequence[float]) -> dict[tuple[str, float], Estimate]:
    """Return every measure of a scored split: (metric, horizon in months or NaN) to estimate."""
    found = {("harrell_c", NO_TIME): harrell_c(s.risk, s.outcome, rows=s.rows)}
    slope = attempt(f"{s.split}, {s.model}, slope", calibration_slope, s.risk, s.outcome)
    found["slope", NO_TIME] = slope or Estimate(float("nan"))
    for months in horizons:
        found["auc", months] = auc_at(s.risk, s.outcome, months, rows=s.rows)
        found["brier", months] = brier_at(s.survival(months), s.outcome, months, rows=s.rows)
    if horizons:
        last = max(horizons)
        found["uno_c", last] = uno_c(s.risk, s.outcome, tau=last, rows=s.rows)
        times = s.event_times(last)
        if times.size > 1:
            found["ibs", last] = integrated_brier(
                s.survival_at(times), s.outcome, times, rows=s.rows
            )
    return found


def discrimination(
    scored: Sequence[Scored], horizons: Sequence[float], optimism: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return every measure of every model, and the combined model against each other one."""
    rows, pairs = [], []
    for split in dict.fromkeys(s.split for s in scored):
        here = [s for s in scored if s.split == split]
        found = {s.model: measures(s, horizons) for s in here}
        for s in here:
            rows += [
                _measure_row(s, metric, months, estimate, optimism)
                for (metric, months), estimate in found[s.model].items()
            ]
        pairs += _comparisons(here, found, horizons)
    return pd.DataFrame(rows), pd.DataFrame(pairs)


def _measure_row(
    s: Scored, metric: str, months: float, estimate: Estimate, optimism: pd.DataFrame | None
) -> dict[str, object]:
    if estimate.reason:
        logger.warning("%s, %s, %s: %s", s.split, s.model, metric, estimate.reason)
    over = _optimism(optimism, s, metric, months)
    return {
        "split": s.split,
        "model": s.model,
        "metric": metric,
        "horizon_months": months,
        "n": len(s.outcome),
        "events": int(s.outcome.event.sum()),
        "value": estimate.value,
        "low95": estimate.low,
        "high95": estimate.high,
        "optimism": over,
        "corrected": estimate.value - over,
    }


def _optimism(
    table: pd.DataFrame | None, s: Scored, metric: str, months: float, group: int = 0
) -> float:
    """Return how much the value on the development rows flatters; NaN elsewhere."""
    if table is None or table.empty or s.split != "development":
        return float("nan")
    same = (table["model"] == s.model) & (table["metric"] == metric) & (table["group"] == group)
    same &= (
        table["horizon_months"].isna() if np.isnan(months) else table["horizon_months"] == months
    )
    found = table.loc[same, "optimism"]
    return float(found.iloc[0]) if len(found) else float("nan")


def _comparisons(
    here: Sequence[Scored],
    found: Mapping[str, Mapping[tuple[str, float], Estimate]],
    horizons: Sequence[float],
) -> list[dict[str, object]]:
    """Compare the combined model with each other one, on the subjects that both could score."""
    rows: list[dict[str, object]] = []
    combined = next((s for s in here if s.model == "combined"), None)
    for other in here:
        if combined is None or other is combined:
            continue
        first, second = found["combined"], found[other.model]
        if combined.subjects != other.subjects:
            shared = set(combined.subjects) & set(other.subjects)
            if len(shared) < 2:
                continue
            first, second = (measures(s.keep(shared), horizons) for s in (combined, other))
        for key in first:
            one, two = first[key], second.get(key, Estimate(float("nan")))
            if one.samples.size == 0 or one.samples.size != two.samples.size:
                continue
            gap = compare_estimates(one, two)
            rows.append(
                {
                    "split": combined.split,
                    "first": "combined",
                    "second": other.model,
                    "metric": key[0],
                    "horizon_months": key[1],
                    "difference": gap.difference,
                    "low95": gap.low,
                    "high95": gap.high,
                    "p": gap.p,
                }
            )
    return rows


def calibration_cuts(survival: Float) -> Float:
    """Return the limits of the calibration groups: quantiles of the predictions, 0 and 1."""
    groups = int(np.clip(survival.size // SUBJECTS_PER_GROUP, 2, MOST_GROUPS))
    return np.unique(np.r_[0.0, np.quantile(survival, np.arange(1, groups) / groups), 1.0])


def calibrations(
    s: Scored, horizons: Sequence[float], optimism: pd.DataFrame | None = None
) -> Iterator[tuple[dict[str, object], pd.DataFrame, pd.DataFrame]]:
    """Yield measures, groups and smooth curve of the calibration at each horizon."""
    for months in horizons:
        found = attempt(
            f"{s.split}, {s.model}, calibration at {months:g} months",
            _calibration,
            s,
            months,
            optimism,
        )
        if found is not None:
            yield found


def _calibration(
    s: Scored, months: float, optimism: pd.DataFrame | None
) -> tuple[dict[str, object], pd.DataFrame, pd.DataFrame]:
    survival, key = s.survival(months), _key(s, months)
    table = grouped_calibration(survival, s.outcome, months, cuts=calibration_cuts(survival))
    over = [
        _optimism(optimism, s, "calibration_gap", months, int(group)) for group in table["group"]
    ]
    table = table.assign(corrected=table["observed"] - np.array(over, dtype=np.float64))
    smooth = smooth_survival_calibration(survival, s.outcome, months)
    slope = calibration_slope(s.risk, s.outcome)
    ratio = observed_expected(survival, s.outcome, months)
    row = key | {
        "n": len(s.outcome),
        "ici": smooth.gaps.ici,
        "e50": smooth.gaps.e50,
        "e90": smooth.gaps.e90,
        "emax": smooth.gaps.emax,
        "slope": slope.value,
        "slope_low95": slope.low,
        "slope_high95": slope.high,
        "ratio_observed_expected": ratio.value,
        "ratio_low95": ratio.low,
        "ratio_high95": ratio.high,
    }
    curve = {"predicted": smooth.curve_predicted, "observed": smooth.curve_observed}
    return row, table.assign(**key), pd.DataFrame(key | curve)


def decision_curves(scored: Sequence[Scored], horizons: Sequence[float]) -> Iterator[pd.DataFrame]:
    """Yield the decision curves of a split, on the subjects that every model could score."""
    for split in dict.fromkeys(s.split for s in scored):
        here = [s for s in scored if s.split == split]
        shared = set.intersection(*(set(s.subjects) for s in here))
        if len(shared) < 2:
            continue
        kept = [s.keep(shared) for s in here]
        for months in horizons:
            found = attempt(
                f"{split}, decision curve at {months:g} months",
                survival_decision_curve,
                {s.model: s.survival(months) for s in kept},
                kept[0].outcome,
                months,
                THRESHOLDS,
                rows=kept[0].rows,
            )
            if found is not None:
                yield found.assign(split=split, horizon_months=months)


def _key(s: Scored, months: float) -> dict[str, Any]:
    return {"split": s.split, "model": s.model, "horizon_months": months}

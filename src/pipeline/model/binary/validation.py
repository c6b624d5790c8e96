"""Tables of a binary study: whether the probabilities come true, and whether acting on them pays.

Development scores are held out, test scores those of the frozen models; nothing is fitted to
what is judged but the calibration curves themselves.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.binary.models import MODELS
from pipeline.model.binary.predictions import common_rows, part, splits
from pipeline.model.calibration import (
    GROUP_COLUMNS,
    binary_calibration,
    calibration_groups,
    smooth_calibration,
)
from pipeline.model.decision import binary_decision_curve
from pipeline.model.resampling import bootstrap_rows

logger = logging.getLogger(__name__)

#: Thresholds of the decision curve, as probabilities.
THRESHOLDS = tuple(np.round(np.arange(0.05, 0.7001, 0.01), 2).tolist())

#: Resamples for the interval of a smooth calibration: each fits a curve.
SMOOTH_DRAWS = 200

_Z95 = float(norm.ppf(0.975))
#: Groups of similar predictions: tenths, or fifths of a small split.
_GROUPS, _GROUPS_SMALL, _SMALL = 10, 5, 300
_LINE, _GAPS = ("slope", "intercept", "in_the_large"), ("ici", "e50", "e90")
_FITTED = [
    *(f"{name}{end}" for name in (*_LINE, *_GAPS) for end in ("", "_low95", "_high95")),
    "emax",
]


def calibration_table(
    predictions: pd.DataFrame, *, draws: int = 1000, seed: int = 1
) -> pd.DataFrame:
    """Return a row per split and model: slope, intercept, observed over expected, ICI, Brier.

    Parameters
    ----------
    predictions : DataFrame
        Of `fit_binary`; rows that a model cannot score are left out for all models.
    draws, seed : int
        Bootstrap resamples, the same rows for every model, and seed.

    Returns
    -------
    DataFrame
        split, model, n, events, then slope, intercept (at that slope), in_the_large (intercept
        at slope 1), ratio_observed_expected, brier, ici, e50, e90, emax. ``*_low95, *_high95``
        are Wald's for slope and intercepts, and percentiles of the bootstrap for brier. Those of
        the three distances are percentiles too, moved so that the draws have the estimate as
        their mean, and cut at 0: a resample bends the curve once more, so that its distances
        are larger, and plain percentiles can leave the estimate out.
    """
    rows = []
    for split, model, shares, labels in _judged(predictions):
        resamples = bootstrap_rows(labels.size, draws, seed)
        head = {"split": split, "model": model, "n": labels.size, "events": int(labels.sum())}
        try:
            found = _fitted_measures(shares, labels, resamples)
        except ModelError as error:
            logger.warning("%s, model %s: no calibration slope or curve: %s", split, model, error)
            found = dict.fromkeys(_FITTED, float("nan"))
        rows.append(head | found | _plain_measures(shares, labels, resamples))
    return pd.DataFrame(rows)


def calibration_group_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return observed shares in groups of similar predictions, with Wilson's intervals.

    A model that says the same of all has no groups and no rows.
    """
    tables = [pd.DataFrame(columns=["split", "model", *GROUP_COLUMNS])]
    for split, model, shares, labels in _judged(predictions):
        if np.ptp(shares) == 0:
            continue
        count = _GROUPS if labels.size >= _SMALL else _GROUPS_SMALL
        found = calibration_groups(shares, labels, groups=count)
        tables.append(found.assign(split=split, model=model)[list(tables[0])])
    return _stacked(tables)


def calibration_smooth_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the smooth calibration curves: split, model, predicted, observed.

    A model without a curve (it separates the classes, or says the same of all) has no rows.
    """
    tables = [pd.DataFrame(columns=["split", "model", "predicted", "observed"])]
    for split, model, shares, labels in _judged(predictions):
        try:
            curve = smooth_calibration(shares, labels)
        except ModelError:
            continue
        columns = {"predicted": curve.curve_predicted, "observed": curve.curve_observed}
        tables.append(pd.DataFrame({"split": split, "model": model} | columns))
    return _stacked(tables)


def decision_tables(
    predictions: pd.DataFrame,
    *,
    thresholds: npt.ArrayLike = THRESHOLDS,
    draws: int = 1000,
    seed: int = 1,
) -> pd.DataFrame:
    """Return decision curves: split, model (also "all" and "none"), threshold, net benefit.

    Parameters
    ----------
    predictions : DataFrame
        Of `fit_binary`.
    thresholds : (k,) array
        Threshold probabilities, between 0 and 1.
    draws, seed : int
        Bootstrap resamples, the same rows for every model, and seed.
    """
    tables, known = [], common_rows(predictions)
    for split in splits(known):
        chosen = part(known, split)
        table = binary_decision_curve(
            {model: chosen[f"score_{model}"].to_numpy(dtype=np.float64) for model in MODELS},
            chosen["response"],
            thresholds,
            rows=bootstrap_rows(len(chosen), draws, seed),
            subjects=[str(name) for name in chosen["subject"]],
        )
        table.insert(0, "split", split)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _judged(predictions: pd.DataFrame) -> Iterator[tuple[str, str, Float, Bool]]:
    """Yield split, model, probabilities and outcomes of the rows that all models score."""
    known = common_rows(predictions)
    for split in splits(known):
        chosen = part(known, split)
        labels = np.asarray(chosen["response"].to_numpy() == 1)
        for model in MODELS:
            yield split, model, chosen[f"score_{model}"].to_numpy(dtype=np.float64), labels


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    # the first one has no rows: it names the columns when there is no other
    return pd.concat(tables[1:], ignore_index=True) if len(tables) > 1 else tables[0]


def _fitted_measures(shares: Float, labels: Bool, resamples: Int) -> dict[str, float]:
    found = binary_calibration(shares, labels)
    gaps = asdict(smooth_calibration(shares, labels).gaps)
    row: dict[str, float] = {}
    for name in _LINE:
        value, half = getattr(found, name), _Z95 * getattr(found, f"{name}_se")
        row |= {name: value, f"{name}_low95": value - half, f"{name}_high95": value + half}
    drawn = _drawn_gaps(shares, labels, resamples[:SMOOTH_DRAWS])
    for name in _GAPS:
        excess = drawn[name].mean() - gaps[name] if drawn[name].size else 0.0
        row |= _with_limits(name, gaps[name], np.maximum(drawn[name] - excess, 0.0))
    return row | {"emax": gaps["emax"]}


def _plain_measures(shares: Float, labels: Bool, resamples: Int) -> dict[str, float]:
    squares = (shares - labels) ** 2
    row = {"ratio_observed_expected": float(labels.sum() / shares.sum())}
    return row | _with_limits("brier", float(squares.mean()), squares[resamples].mean(axis=1))


def _with_limits(name: str, value: float, samples: Float) -> dict[str, float]:
    low, high = np.quantile(samples, [0.025, 0.975]).tolist() if samples.size > 1 else [np.nan] * 2
    return {name: value, f"{name}_low95": low, f"{name}_high95": high}


def _drawn_gaps(shares: Float, labels: Bool, resamples: Int) -> dict[str, Float]:
    """Return the distances of each resample; one whose curve cannot be fitted is left out."""
    found = []
    for rows in resamples:
        try:
            found.append(asdict(smooth_calibration(shares[rows], labels[rows]).gaps))
        except ModelError:
            continue
    return {name: np.array([gaps[name] for gaps in found]) for name in _GAPS}

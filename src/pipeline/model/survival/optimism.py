"""Optimism of a model that is judged on the rows it was fitted to, by Harrell's bootstrap."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from pipeline.errors import MedpipeError, ModelError
from pipeline.model.arrays import Float, Int
from pipeline.model.resampling import row_counts

logger = logging.getLogger(__name__)

Predictor = TypeVar("Predictor")

#: Columns of the table of `Optimism`.
OPTIMISM_COLUMNS = ("metric", "apparent", "training", "test", "optimism", "corrected", "n")


@dataclass(frozen=True, eq=False)
class Optimism:
    """Apparent and corrected performance.

    Attributes
    ----------
    table : DataFrame
        `OPTIMISM_COLUMNS`, a row per metric: value on the fitted rows; means over the resamples
        on the resample itself and on the original rows; their difference; apparent - optimism;
        resamples in which the metric was defined.
    draws : int
        Resamples tried.
    failures : tuple of str
        What went wrong in each resample that could not be fitted or measured.
    """

    table: pd.DataFrame
    draws: int
    failures: tuple[str, ...]

    def corrected(self, metric: str) -> float:
        """Return the corrected value of one metric."""
        return self._value(metric, "corrected")

    def optimism(self, metric: str) -> float:
        """Return the optimism of one metric."""
        return self._value(metric, "optimism")

    def _value(self, metric: str, column: str) -> float:
        found = self.table.loc[self.table["metric"] == metric, column]
        if found.empty:
            known = ", ".join(self.table["metric"])
            raise ModelError(f"no metric {metric} was corrected; there are {known}")
        return float(found.iloc[0])


def bootstrap_optimism(
    fit: Callable[[Int], Predictor],
    metrics: Callable[[Predictor, Int], Mapping[str, float]],
    rows: Int,
) -> Optimism:
    """Correct a model's apparent performance for its optimism.

    In each resample the whole model is fitted again, and judged on the resample and on the
    original rows: ``optimism = mean(training - test)``, ``corrected = apparent - optimism``.

    Parameters
    ----------
    fit : callable
        From row indices (which may repeat) to a predictor. Every step that looked at the
        outcome, selection and cut-off included, belongs inside.
    metrics : callable
        From a predictor and row indices to named values; NaN where undefined.
    rows : (draws, n) int array
        Resamples of all n rows, from `bootstrap_rows`.

    Returns
    -------
    Optimism
        Resamples that failed are left out of the means, counted, listed and logged.

    Raises
    ------
    ModelError
        If half of the resamples or more fail.

    References
    ----------
    Harrell, Lee and Mark, Statistics in Medicine 15 (1996) 361; as ``rms::validate``.
    """
    draws, n = rows.shape
    row_counts(rows[:1], n)
    everyone = np.arange(n)
    apparent = dict(metrics(fit(everyone), everyone))
    names = list(apparent)
    found = np.full((draws, 2, len(names)), np.nan)
    failures: list[str] = []
    for number, drawn in enumerate(rows):
        try:
            again = fit(drawn)
            found[number] = [_row(metrics(again, r), names) for r in (drawn, everyone)]
        except MedpipeError as error:
            failures.append(f"resample {number + 1}: {error}")
    _tell(failures, draws)
    return Optimism(_table(apparent, names, found), draws, tuple(failures))


def _row(values: Mapping[str, float], names: list[str]) -> list[float]:
    if set(values) != set(names):
        odd = ", ".join(sorted(set(values) ^ set(names)))
        raise ValueError(f"metrics differ between resamples: {odd}")
    return [float(values[name]) for name in names]


def _tell(failures: list[str], draws: int) -> None:
    if not failures:
        return
    if 2 * len(failures) >= draws:
        raise ModelError(
            f"{len(failures)} of {draws} bootstrap resamples failed, the first with"
            f" {failures[0]}; use fewer variables or merge rare categories"
        )
    logger.warning(
        "%d of %d bootstrap resamples failed and are left out; the first: %s",
        len(failures), draws, failures[0],
    )  # fmt: skip


def _table(apparent: Mapping[str, float], names: list[str], found: Float) -> pd.DataFrame:
    rows = []
    for column, name in enumerate(names):
        both = found[:, :, column]
        known = both[np.isfinite(both).all(axis=1)]
        training, test = known.mean(axis=0).tolist() if len(known) else [float("nan")] * 2
        optimism = training - test
        value = float(apparent[name])
        rows.append((name, value, training, test, optimism, value - optimism, len(known)))
    return pd.DataFrame(rows, columns=list(OPTIMISM_COLUMNS))

"""Why boosted trees give a row its score: XGBoost's own SHAP contributions, in log odds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xgboost

from pipeline.errors import ModelError
from pipeline.model.arrays import Float
from pipeline.model.boosting import FrozenBoosting

#: Largest difference between a margin and the sum of its parts, relative to the margin above 1.
#: XGBoost sums in single precision: 1e-5 is some hundred roundings.
ADDITIVE_WITHIN = 1e-5


@dataclass(frozen=True, eq=False)
class Shap:
    """What each feature adds to the log odds of each row.

    Attributes
    ----------
    features : tuple of p str
        Columns, in the order of the model (or variables, after `pool_columns`).
    contributions : (n, p) float array
        SHAP values in log odds of class 1: above 0 the feature speaks for class 1.
    base : (n,) float array
        Log odds that the model gives before it knows any feature: its mean over the training
        rows; the same for every row.
    """

    features: tuple[str, ...]
    contributions: Float
    base: Float

    @property
    def margin(self) -> Float:
        """Log odds of each row (n,): base plus contributions."""
        return np.asarray(self.base + self.contributions.sum(axis=1))


def shap_contributions(model: FrozenBoosting, values: Float, extra: Float | None = None) -> Shap:
    """Split the log odds of each row into one part per column (path-dependent TreeSHAP).

    Parameters
    ----------
    model : FrozenBoosting
        Boosted trees with a logistic objective.
    values : (n, p) float array
        Features in the order of ``model.features``; NaN where missing.
    extra : (n, e) float array, optional
        Columns ``model.extra_names``; may be left out when the model has none.

    Raises
    ------
    ModelError
        If the columns do not fit the model, or base and contributions do not add up to the
        model's own margin, so that the explanation would be of another model.

    Notes
    -----
    ``margin(x) = base + sum_j contribution_j(x)``, exactly but for single precision; missing
    values have a contribution too, as the trees send them one way.

    References
    ----------
    Lundberg et al., Nature Machine Intelligence 2 (2020) 56, algorithm 2.
    """
    rows = _rows(model, values, extra)
    booster, matrix = _booster(model), _matrix(rows)
    parts = np.asarray(booster.predict(matrix, pred_contribs=True), dtype=np.float64)
    shap = Shap((*model.features, *model.extra_names), parts[:, :-1], parts[:, -1])
    _check_additive(shap.margin, booster, matrix)
    return shap


def pool_columns(shap: Shap, groups: Mapping[str, Sequence[str]]) -> Shap:
    """Sum the columns of a variable, as the one-hot columns of a category.

    Parameters
    ----------
    shap : Shap
        Contributions by column.
    groups : mapping of variable to its columns
        Columns in no group stay as they are; a variable stands where its first column stood.

    Raises
    ------
    ModelError
        If a column is unknown or stands in two groups.
    """
    owner: dict[str, str] = {}
    for variable, columns in groups.items():
        for column in columns:
            if column not in shap.features or column in owner:
                fault = "is in two groups" if column in owner else "is no column of the model"
                raise ModelError(
                    f"{variable}: {column} {fault}; the columns are {', '.join(shap.features)}"
                )
            owner[column] = variable
    names = [owner.get(column, column) for column in shap.features]
    pooled = tuple(dict.fromkeys(names))
    placing = np.array([[float(name == wanted) for wanted in pooled] for name in names])
    return Shap(pooled, np.asarray(shap.contributions @ placing), shap.base)


def importance(shap: Shap) -> Float:
    """Return the mean absolute contribution of each feature (p,), in log odds."""
    return np.asarray(np.abs(shap.contributions).mean(axis=0))


def importance_interval(
    shap: Shap, *, level: float = 0.95, draws: int = 1000, seed: int
) -> tuple[Float, Float]:
    """Return percentile bootstrap limits (p,), (p,) of `importance`.

    Rows are drawn with replacement and the model stays as it is: the interval tells how much the
    mean depends on who was explained, not how much another training sample would change it.

    Parameters
    ----------
    shap : Shap
        Contributions of n rows.
    level : float
        Confidence level.
    draws, seed : int
        Resamples and seed.
    """
    sizes = np.abs(shap.contributions)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=draws)
    means = np.einsum("di,ij->dj", counts.astype(np.float64), sizes) / len(sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(low), np.asarray(high)


def _rows(model: FrozenBoosting, values: Float, extra: Float | None) -> Float:
    extra = np.empty((len(values), 0)) if extra is None else extra
    for what, found, names in (
        ("features", values, model.features),
        ("extra columns", extra, model.extra_names),
    ):
        if found.ndim != 2 or found.shape != (len(values), len(names)):
            raise ModelError(
                f"the {what} to explain have shape {found.shape} but the model reads"
                f" {len(values)} rows of {len(names)} ({', '.join(names) or 'none'}); give its"
                " columns in its order"
            )
    rows = np.hstack([values, extra])
    return np.where(np.isfinite(rows), rows, np.nan)


def _booster(model: FrozenBoosting) -> xgboost.Booster:
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(dict(model.booster)).encode()))
    return booster


def _matrix(rows: Float) -> xgboost.DMatrix:
    return xgboost.DMatrix(rows, nthread=1)


def _check_additive(total: Float, booster: xgboost.Booster, matrix: xgboost.DMatrix) -> None:
    margin = np.asarray(booster.predict(matrix, output_margin=True), dtype=np.float64)
    gap = np.abs(total - margin) / np.maximum(np.abs(margin), 1.0)
    worst = int(np.argmax(gap)) if gap.size else 0
    if gap.size and not gap[worst] <= ADDITIVE_WITHIN:
        raise ModelError(
            f"the SHAP contributions of row {worst} add up to {total[worst]:.6g} but its log odds"
            f" are {margin[worst]:.6g}; the XGBoost that made the model and this one differ: fit"
            " the model again"
        )

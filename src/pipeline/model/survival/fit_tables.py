"""What the development of a Rad-score leaves behind, as tables."""

import numpy as np
import pandas as pd

from pipeline.model.survival.chain import SurvivalFit
from pipeline.model.survival.cutoff import Cutoff
from pipeline.model.survival.rad_score import RadScoreFit


def fit_tables(fitted: SurvivalFit) -> dict[str, pd.DataFrame]:
    """Return path, path_summary, selection and cutoff; see each function for its columns."""
    return {
        "path": path_table(fitted.lasso),
        "path_summary": path_summary(fitted.lasso),
        "selection": selection_table(fitted.lasso),
        "cutoff": cutoff_table(fitted.cutoff),
    }


def path_table(fit: RadScoreFit) -> pd.DataFrame:
    """Return step, lambda, feature, coefficient: the coefficients that are not 0.

    Coefficients belong to z-scored features; steps count from 1.
    """
    steps, columns = np.nonzero(fit.path.coefficients)
    return pd.DataFrame(
        {
            "step": steps + 1,
            "lambda": fit.path.lambdas[steps],
            "feature": [fit.features[c] for c in columns],
            "coefficient": fit.path.coefficients[steps, columns],
        }
    )


def path_summary(fit: RadScoreFit) -> pd.DataFrame:
    """Return a row per lambda: features, explained and cross-validated deviance, marks."""
    steps = np.arange(fit.path.lambdas.size)
    nan = np.full(steps.size, np.nan)
    return pd.DataFrame(
        {
            "step": steps + 1,
            "lambda": fit.path.lambdas,
            "n_selected": fit.path.n_selected,
            "deviance_ratio": fit.path.deviance_ratio,
            "cv_deviance": fit.cv.deviance if fit.cv else nan,
            "cv_deviance_se": fit.cv.se if fit.cv else nan,
            "is_min": (steps == fit.cv.index_min).astype(int) if fit.cv else 0,
            "is_1se": (steps == fit.cv.index_1se).astype(int) if fit.cv else 0,
            "is_used": (steps == fit.step).astype(int),
        }
    )


def selection_table(fit: RadScoreFit) -> pd.DataFrame:
    """Return every feature that entered the path: coefficient, frequency, raw statistics.

    The largest coefficient comes first, then the features that resamples selected most often.
    """
    chosen = dict(zip(fit.score.features, fit.score.coefficients.tolist(), strict=True))
    table = pd.DataFrame(
        {
            "feature": fit.features,
            "coefficient": [chosen.get(name, 0.0) for name in fit.features],
            "frequency": fit.frequency,
            "median_raw": fit.scaler.median,
            "mean_raw": fit.scaler.mean,
            "sd_raw": fit.scaler.sd,
        }
    )
    order = pd.DataFrame({"size": -table["coefficient"].abs(), "often": -table["frequency"]})
    return table.loc[order.sort_values(["size", "often"], kind="stable").index].reset_index(
        drop=True
    )


def cutoff_table(cutoff: Cutoff | None) -> pd.DataFrame:
    """Return the candidates of the cut-off with their criterion; empty without a score."""
    if cutoff is None:
        return pd.DataFrame(columns=["cutoff", "chosen"])
    return cutoff.curve

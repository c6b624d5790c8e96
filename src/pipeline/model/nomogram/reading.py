"""Read a nomogram: points of subjects, and the probability below their sum."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from pipeline.model.arrays import Float
from pipeline.model.nomogram.axes import Nomogram
from pipeline.model.terms import design_matrix, level_names


def points_of(
    nomogram: Nomogram, frame: pd.DataFrame, *, source: str = "the subjects sheet"
) -> pd.DataFrame:
    """Return points of subjects: a column per variable and total_points.

    A value beyond the axis has points beyond it; see `outside_of`.
    """
    terms = nomogram.model.terms
    points = pd.DataFrame(index=frame.index)
    for axis, term, beta in zip(nomogram.variables, terms, nomogram.model.parts(), strict=True):
        columns, _ = design_matrix(frame, [term], source=source)
        points[term.name] = (columns @ beta - min(axis.linear)) * nomogram.points_per_unit
    points["total_points"] = points.to_numpy().sum(axis=1)
    return points


def outside_of(nomogram: Nomogram, frame: pd.DataFrame) -> pd.DataFrame:
    """Tell which cells lie outside the values of the development rows."""
    outside = pd.DataFrame(index=frame.index)
    for term in nomogram.model.terms:
        if term.kind == "categorical":
            outside[term.name] = [v not in term.levels for v in level_names(frame[term.name])]
        else:
            values = frame[term.name].to_numpy(dtype=np.float64)
            outside[term.name] = ~((values >= term.low) & (values <= term.high))
    return outside


def probability_of(
    nomogram: Nomogram, total_points: npt.ArrayLike, horizon: float | None = None
) -> Float:
    """Return the probability at total points, exactly.

    Parameters
    ----------
    nomogram : Nomogram
        The axes.
    total_points : array
        Sums of points.
    horizon : float, optional
        Months; may be left out when there is one horizon, or for a logistic model.
    """
    lp = nomogram.origin + np.asarray(total_points, dtype=np.float64) / nomogram.points_per_unit
    return nomogram.model.probability(lp, horizon, nomogram.probability)


def predict(
    nomogram: Nomogram,
    frame: pd.DataFrame,
    horizon: float | None = None,
    *,
    level: float = 0.95,
    source: str = "the subjects sheet",
) -> pd.DataFrame:
    """Return the probability of subjects with its interval: probability, low, high.

    The interval is that of the mean of such patients, normal on the scale of the linear
    predictor (log odds; log cumulative hazard, "log-log" in R's survfit). NaN when the model
    carries no covariance.
    """
    model = nomogram.model
    months = model.check_horizon(horizon)
    matrix, _ = design_matrix(frame, model.terms, source=source)
    lp = model.linear_predictor(matrix)
    known = model.uncertainty.get(months)
    half = np.full(lp.size, np.nan)
    if known is not None:
        half = float(ndtri((1 + level) / 2)) * known.standard_error(matrix)
    ends = [model.probability(lp + s * half, months, nomogram.probability) for s in (-1, 1)]
    return pd.DataFrame(
        {
            "probability": model.probability(lp, months, nomogram.probability),
            "low": np.minimum(*ends),
            "high": np.maximum(*ends),
        },
        index=frame.index,
    )

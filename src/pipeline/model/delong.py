"""Uncertainty of an AUC without resampling: DeLong, paired DeLong, Hanley-McNeil."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from pipeline.model.arrays import Bool, Float
from pipeline.model.roc import check_scores


@dataclass(frozen=True)
class AucEstimate:
    """An AUC with its standard error and confidence limits."""

    auc: float
    se: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Difference of two AUCs on the same rows; z and p are NaN when the scores agree."""

    difference: float
    se: float
    z: float
    p: float


def delong(labels: npt.ArrayLike, scores: npt.ArrayLike, *, level: float = 0.95) -> AucEstimate:
    """Return the AUC with DeLong's standard error and a normal interval clipped to [0, 1].

    Parameters
    ----------
    labels : (n,) array of 0 and 1
        Outcome; the standard error is NaN with fewer than two rows in a class.
    scores : (n,) float array
        Higher means class 1.
    level : float
        Confidence level.

    References
    ----------
    DeLong et al., Biometrics 44 (1988) 837; Sun and Xu, IEEE Signal Process. Lett. 21 (2014)
    1389 for the placements from mid-ranks.
    """
    positive, values = check_scores(labels, scores)
    v10, v01 = placements(positive, values)
    area = float(v10.mean())
    se = float(np.sqrt(_variance(v10[np.newaxis])[0, 0] + _variance(v01[np.newaxis])[0, 0]))
    half = float(norm.ppf((1 + level) / 2)) * se
    low, high = np.clip((area - half, area + half), 0.0, 1.0).tolist()
    return AucEstimate(area, se, low, high)


def delong_test(labels: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> PairedTest:
    """Compare two scores of the same rows: z = (A1 - A2) / sqrt(var1 + var2 - 2 cov).

    Parameters
    ----------
    labels : (n,) array of 0 and 1
        Outcome.
    first, second : (n,) float arrays
        Scores of the two models, row by row.
    """
    positive, one = check_scores(labels, first)
    _, two = check_scores(labels, second)
    places = [placements(positive, scores) for scores in (one, two)]
    cov = _variance(np.array([p[0] for p in places])) + _variance(np.array([p[1] for p in places]))
    difference = float(places[0][0].mean() - places[1][0].mean())
    return z_test(difference, float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]))


def z_test(difference: float, variance: float) -> PairedTest:
    """Return the two-sided normal test of a difference."""
    se = float(np.sqrt(max(variance, 0.0)))
    if not se > np.finfo(float).eps:
        return PairedTest(difference, se, float("nan"), float("nan"))
    z = difference / se
    return PairedTest(difference, se, z, float(2 * norm.sf(abs(z))))


def placements(positive: Bool, scores: Float) -> tuple[Float, Float]:
    """Return V10 (n1,) and V01 (n0,): share of the other class that each row beats.

    Their means both equal the AUC.
    """
    ranks = rankdata(scores)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    v10 = (ranks[positive] - rankdata(scores[positive])) / n0
    v01 = 1.0 - (ranks[~positive] - rankdata(scores[~positive])) / n1
    return np.asarray(v10), np.asarray(v01)


def hanley_mcneil_se(auc: float, n_positive: int, n_negative: int) -> float:
    """Return the standard error of an AUC from its value and the numbers of rows alone.

    References
    ----------
    Hanley and McNeil, Radiology 143 (1982) 29.
    """
    q1 = auc / (2 - auc)
    q2 = 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (n_positive - 1) * (q1 - auc**2) + (n_negative - 1) * (q2 - auc**2)
    return float(np.sqrt(spread / (n_positive * n_negative)))


def _variance(places: Float) -> Float:
    # covariance matrix of the means of the rows of `places`
    count = places.shape[1]
    if count < 2:
        return np.full((len(places), len(places)), np.nan)
    centred = places - places.mean(axis=1, keepdims=True)
    return np.asarray(np.einsum("ai,bi->ab", centred, centred) / (count - 1) / count)

"""ROC curve, area under it, Youden's threshold, and the table at a threshold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, as_labels


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Points of a ROC curve from (0, 0) to (1, 1).

    Attributes
    ----------
    false_positive_rate, true_positive_rate : (t,) float arrays
        1 - specificity, and sensitivity.
    threshold : (t,) float array
        A row is called positive when its score is at least this; the first one is infinite.
    """

    false_positive_rate: Float
    true_positive_rate: Float
    threshold: Float


@dataclass(frozen=True)
class Confusion:
    """Counts at a threshold; the rates are NaN where their denominator is 0."""

    tp: int
    fn: int
    tn: int
    fp: int

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP)."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> float:
        """TP / (TP + FP)."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> float:
        """TN / (TN + FN)."""
        return _ratio(self.tn, self.tn + self.fn)


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: Mann-Whitney U / (n1 n0), a tie counts one half.

    Parameters
    ----------
    labels : (n,) array of 0 and 1
        Outcome; both classes present.
    scores : (n,) float array
        Higher means class 1. Finite.
    """
    positive, values = check_scores(labels, scores)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    u = rankdata(values)[positive].sum() - n1 * (n1 + 1) / 2
    return float(u / (n1 * n0))


def check_scores(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Bool, Float]:
    """Return labels as booleans and scores as floats; raise ModelError when they do not fit."""
    positive = as_labels(labels, what="the scored rows")
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != positive.shape:
        raise ModelError(f"{positive.size} labels but {values.size} scores; one per row is needed")
    if not np.isfinite(values).all():
        raise ModelError(
            f"{(~np.isfinite(values)).sum()} of {values.size} scores are missing or infinite; "
            "predict again with a model that covers these rows"
        )
    return positive, values


def roc_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> RocCurve:
    """Return one point per distinct score, and (0, 0)."""
    positive, values = check_scores(labels, scores)
    levels = np.unique(values)[::-1]
    at_least = values[np.newaxis, :] >= levels[:, np.newaxis]
    return RocCurve(
        false_positive_rate=np.r_[0.0, at_least[:, ~positive].mean(axis=1)],
        true_positive_rate=np.r_[0.0, at_least[:, positive].mean(axis=1)],
        threshold=np.r_[np.inf, levels],
    )


def youden_threshold(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the threshold with the largest sensitivity + specificity - 1.

    Candidates are the midpoints between neighbouring distinct scores, and the lowest score
    (which calls every row positive). Ties go to the lowest threshold, that is, to the higher
    sensitivity. A row is positive when its score is at least the threshold.
    """
    positive, values = check_scores(labels, scores)
    levels = np.unique(values)
    candidates = np.r_[levels[0], (levels[:-1] + levels[1:]) / 2]
    at_least = values[np.newaxis, :] >= candidates[:, np.newaxis]
    n1, n0 = int(positive.sum()), int((~positive).sum())
    # in whole numbers, so that equal values of J are equal
    j = at_least[:, positive].sum(axis=1) * n0 - at_least[:, ~positive].sum(axis=1) * n1
    return float(candidates[int(np.argmax(j))])


def confusion(labels: npt.ArrayLike, scores: npt.ArrayLike, threshold: float) -> Confusion:
    """Count the rows at a threshold; positive when the score is at least the threshold."""
    positive, values = check_scores(labels, scores)
    called = values >= threshold
    return Confusion(
        tp=int((called & positive).sum()),
        fn=int((~called & positive).sum()),
        tn=int((~called & ~positive).sum()),
        fp=int((called & ~positive).sum()),
    )


def wilson_interval(hits: int, total: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion; NaN when `total` is 0.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    if total == 0:
        return float("nan"), float("nan")
    z = float(norm.ppf((1 + level) / 2))
    share = hits / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low = 0.0 if hits == 0 else max(0.0, float(centre - half))
    high = 1.0 if hits == total else min(1.0, float(centre + half))
    return low, high


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")

"""The stability table: how far each feature can be trusted, and why."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.errors import SettingsError
from pipeline.radiomics.feature_columns import feature_columns
from pipeline.radiomics.stability.icc import Icc, Model, icc
from pipeline.radiomics.stability.repeats import Repeats

#: Lower limits of the interval from which on a feature is "stable" and "high" (Koo and Li 2016,
#: doi:10.1016/j.jcm.2016.02.012: good and excellent).
STABLE, HIGH = 0.75, 0.9

#: From the best to the worst.
VERDICTS = ("high", "stable", "unstable", "unknown")

#: With these, a feature may be modelled.
KEPT = ("high", "stable")

#: Two measurements of one subject differ by less than so many standard deviations, in 95 %.
_REPEATABILITY = 1.959963984540054 * 2**0.5


def stability_table(
    repeats: Repeats,
    *,
    model: Model = "1,1",
    thresholds: tuple[float, float] = (STABLE, HIGH),
    unbalanced: bool = False,
) -> pd.DataFrame:
    """Return the stability of every feature, in the order of the features.

    Parameters
    ----------
    repeats : Repeats
        Perturbations, raters, or scans.
    model, unbalanced
        See `pipeline.radiomics.stability.icc.icc`.
    thresholds : (float, float)
        Lower limits of the 95 % interval from which on a feature is stable, and highly stable.

    Returns
    -------
    DataFrame
        ``feature, feature_class, model, icc, icc_low95, icc_high95, subjects, left_out, ratings,
        mean, within_sd, within_cv_percent, repeatability, verdict, reason``. Subjects are those
        with every rating, `left_out` the others. The coefficient of variation is `within_sd` over
        the size of the grand mean, in percent, and missing where that is 0; two measurements of a
        subject differ by less than `repeatability` in 95 % of pairs.
    """
    low, high = thresholds
    if not 0 < low <= high < 1:
        raise SettingsError(
            f"thresholds {low:g},{high:g}: give two numbers between 0 and 1, the lower one first"
        )
    found = icc(repeats.values, model=model, unbalanced=unbalanced)
    size = np.abs(found.mean)
    cv = np.divide(found.within_sd, size, out=np.full(size.shape, np.nan), where=size > 0)
    verdicts = verdicts_of(found.low, thresholds)
    return pd.DataFrame(
        {
            "feature": repeats.features,
            "feature_class": [_class(name) for name in repeats.features],
            "model": model,
            "icc": found.value,
            "icc_low95": found.low,
            "icc_high95": found.high,
            "subjects": found.subjects,
            "left_out": found.left_out,
            "ratings": found.ratings,
            "mean": found.mean,
            "within_sd": found.within_sd,
            "within_cv_percent": 100.0 * cv,
            "repeatability": _REPEATABILITY * found.within_sd,
            "verdict": verdicts,
            "reason": _reasons(found, verdicts, low),
        }
    )


def _class(name: str) -> str:
    found = feature_columns([name])
    return found[0].feature_class if found else "other"


def verdicts_of(lower: np.ndarray, thresholds: tuple[float, float]) -> list[str]:
    """Return the verdict on each lower limit; "unknown" where it is NaN."""
    stable, high = thresholds
    with np.errstate(invalid="ignore"):
        chosen = np.select(
            [np.isnan(lower), lower >= high, lower >= stable],
            ["unknown", "high", "stable"],
            "unstable",
        )
    return [str(verdict) for verdict in chosen]


def _reasons(found: Icc, verdicts: Sequence[str], threshold: float) -> list[str]:
    texts = []
    for at, verdict in enumerate(verdicts):
        if verdict == "unknown" and found.subjects[at] < 2:
            texts.append(f"{found.subjects[at]} subjects with every rating; two are needed")
        elif verdict == "unknown":
            texts.append("constant over all subjects and ratings")
        elif verdict == "unstable" and found.value[at] >= threshold:
            texts.append(
                f"estimated above {threshold:g}, but {found.subjects[at]} subjects leave"
                f" {found.low[at]:.2f} possible"
            )
        elif verdict == "unstable":
            texts.append(f"the interval begins at {found.low[at]:.2f}, below {threshold:g}")
        else:
            texts.append("")
    return texts

"""Cut-off of a risk score: by time-dependent ROC, or by the maximally selected log-rank."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from pipeline.errors import ModelError
from pipeline.model.arrays import Bool, Float, Int
from pipeline.model.survival.outcome import Outcome
from pipeline.model.survival.time_roc import Method, check_marker, midpoints, time_roc

Correction = Literal["lau92", "lau94"]

#: Raised when the layout of the record changes.
SCHEMA = 1

#: Values of a criterion nearer than this are equal; the lowest cut-off then wins.
_EQUAL = 1e-12


@dataclass(frozen=True, eq=False)
class Cutoff:
    """A threshold fitted on development rows.

    Attributes
    ----------
    value : float
        A subject belongs to the high group when its marker is at least this. It lies half way
        between two neighbouring values of the development rows.
    method : str
        "roc-nne", "roc-km" or "log-rank".
    statistic : float
        Its Youden index (sensitivity + specificity - 1), or its standardised log-rank M.
    p : float
        Corrected for the choice among cut-offs; NaN for ROC, which tests nothing.
    details : mapping of str to float
        Horizon and so on; see the functions that make it.
    curve : DataFrame
        A row per candidate: cutoff, its criterion, chosen (0 or 1).
    """

    value: float
    method: str
    statistic: float
    p: float
    details: Mapping[str, float]
    curve: pd.DataFrame

    def is_high(self, marker: npt.ArrayLike) -> Bool:
        """Tell which subjects (n,) belong to the high group; one at the cut-off does."""
        return np.asarray(np.asarray(marker, dtype=np.float64) >= self.value)

    def to_record(self) -> dict[str, Any]:
        """Return the cut-off as JSON types; floats keep every bit."""
        return {
            "schema": SCHEMA,
            "kind": "cutoff",
            "value": self.value,
            "method": self.method,
            "statistic": self.statistic,
            "p": None if np.isnan(self.p) else self.p,
            "details": dict(self.details),
            "curve": {name: self.curve[name].tolist() for name in self.curve.columns},
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Cutoff":
        """Return the cut-off of a JSON record; ModelError when it is none or is incomplete."""
        if record.get("kind") != "cutoff" or record.get("schema") != SCHEMA:
            raise ModelError(
                f"kind {record.get('kind')!r}, schema {record.get('schema')!r}: this version reads"
                f" cut-offs of schema {SCHEMA}; fit the cut-off again"
            )
        try:
            return cls(
                value=float(record["value"]),
                method=str(record["method"]),
                statistic=float(record["statistic"]),
                p=float("nan") if record["p"] is None else float(record["p"]),
                details={str(name): float(v) for name, v in record["details"].items()},
                curve=pd.DataFrame(record["curve"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"the cut-off is incomplete ({error}); fit it again") from error


def cutoff_by_roc(
    marker: npt.ArrayLike,
    outcome: Outcome,
    months: float,
    method: Method = "nne",
    *,
    span: float | None = None,
) -> Cutoff:
    """Return the cut-off with the largest sensitivity + specificity - 1 at a horizon.

    Parameters
    ----------
    marker, outcome, months, method, span
        As for `pipeline.model.survival.time_roc.time_roc`; development rows alone.

    Returns
    -------
    Cutoff
        Candidates are the midpoints between neighbouring different values; ties go to the
        lowest. `curve` has cutoff, sensitivity, specificity, youden and chosen; `details` has
        months, auc, sensitivity and specificity.

    Notes
    -----
    The R function ``survivalROC`` calls a marker positive above an observed value c; the
    midpoint from c to the next value splits the development rows in the same way.
    """
    curve = time_roc(marker, outcome, months, method=method, span=span)
    inner = slice(1, -1)
    sensitivity, specificity = curve.sensitivity[inner], curve.specificity[inner]
    youden = sensitivity + specificity - 1
    at = _first_largest(youden)
    table = {
        "cutoff": curve.threshold[inner],
        "sensitivity": sensitivity,
        "specificity": specificity,
        "youden": youden,
    }
    return Cutoff(
        value=float(curve.threshold[inner][at]),
        method=f"roc-{method}",
        statistic=float(youden[at]),
        p=float("nan"),
        details={
            "months": float(months),
            "auc": curve.auc,
            "sensitivity": float(sensitivity[at]),
            "specificity": float(specificity[at]),
        },
        curve=_with_choice(table, at),
    )


def cutoff_by_log_rank(
    marker: npt.ArrayLike,
    outcome: Outcome,
    *,
    min_share: float = 0.1,
    correction: Correction = "lau92",
) -> Cutoff:
    """Return the cut-off that separates survival most, with a p that allows for the search.

    Parameters
    ----------
    marker : (n,) float array
        Of the development rows alone.
    outcome : Outcome
        Times in months and events of the same subjects.
    min_share : float
        Smallest share of the subjects in either group, above 0 and below 0.5.
    correction : "lau92" or "lau94"
        Which p value is `p`; `details` has both. The first is asymptotic, the second an
        improved Bonferroni bound.

    Returns
    -------
    Cutoff
        Ties go to the lowest cut-off. `curve` has cutoff, statistic and chosen; `details` has
        min_share, p_lau92, p_lau94 and direction: 1 when the high group fares worse, -1 when
        it fares better.

    Notes
    -----
    Log-rank scores a_i = event_i - sum_{t_j <= t_i} event_j / (n - N(t_j) + 1), N(t) being the
    number of times at or before t; for the m subjects below a cut-off the sum of scores has the
    mean m/n sum a and the variance m (n - m) / (n^2 (n - 1)) (n sum a^2 - (sum a)^2) over all
    permutations. M is the largest standardised |sum|. With b = M and the shares e and 1 - e,
    p = 4 phi(b) / b + phi(b) (b - 1/b) log((1 - e)^2 / e^2). Equal to R's ``maxstat.test`` with
    smethod "LogRank"; its cut-point is the highest value of the lower group.

    References
    ----------
    Lausen and Schumacher, Biometrics 48 (1992) 73; Lausen, Sauerbrei and Schumacher, in
    Computational Statistics (1994) 483; Hothorn and Lausen, Comput. Stat. Data Anal. 43 (2003)
    121.
    """
    values = np.asarray(marker, dtype=np.float64)
    check_marker(values, outcome)
    _check_search(outcome, min_share)
    order = np.lexsort((outcome.event, outcome.months, values))
    values, scores = values[order], _log_rank_scores(outcome.take(order))
    below = _candidates(values, min_share)
    standard = _standardised_sums(scores, below)
    at = _first_largest(np.abs(standard))
    statistic = float(abs(standard[at]))
    found = {
        "lau92": _p_lausen_92(statistic, min_share),
        "lau94": _p_lausen_94(statistic, values.size, below),
    }
    lower, upper = values[below - 1], values[below]
    cuts = np.array([midpoints(np.array(pair))[0] for pair in zip(lower, upper, strict=True)])
    return Cutoff(
        value=float(cuts[at]),
        method="log-rank",
        statistic=statistic,
        p=found[correction],
        details={
            "min_share": float(min_share),
            "p_lau92": found["lau92"],
            "p_lau94": found["lau94"],
            # few events below the cut-off make the sum of their scores negative
            "direction": 1.0 if standard[at] < 0 else -1.0,
        },
        curve=_with_choice({"cutoff": cuts, "statistic": np.abs(standard)}, at),
    )


def _first_largest(criterion: Float) -> int:
    return int(np.flatnonzero(criterion >= criterion.max() - _EQUAL)[0])


def _with_choice(columns: Mapping[str, Float], at: int) -> pd.DataFrame:
    table = pd.DataFrame(dict(columns))
    table["chosen"] = (np.arange(len(table)) == at).astype(np.int64)
    return table


def _check_search(outcome: Outcome, min_share: float) -> None:
    if not 0 < min_share < 0.5:
        raise ModelError(f"min_share is a share above 0 and below 0.5; it is {min_share:g}")
    if not outcome.event.any():
        raise ModelError(
            f"none of {len(outcome)} subjects has an event; no cut-off can separate survival"
        )


def _log_rank_scores(outcome: Outcome) -> Float:
    order = np.argsort(outcome.months, kind="stable")
    sorted_months = outcome.months[order]
    reached = np.searchsorted(sorted_months, outcome.months, side="right")
    share = outcome.event / (outcome.months.size - reached + 1)
    return np.asarray(outcome.event - np.cumsum(share[order])[reached - 1])


def _candidates(values: Float, min_share: float) -> Int:
    """Return sizes of the lower group, for sorted values, that split no tie."""
    n = values.size
    least, most = max(1, int(np.floor(n * min_share))), int(np.floor(n * (1 - min_share)))
    sizes = np.flatnonzero(np.diff(values)) + 1
    sizes = sizes[(sizes >= least) & (sizes <= most)]
    if not sizes.size:
        raise ModelError(
            f"no cut-off leaves {min_share:g} of {n} subjects on either side, as too many share a"
            " value of the marker; choose a smaller min_share"
        )
    return sizes


def _standardised_sums(scores: Float, below: Int) -> Float:
    n = scores.size
    spread = n * (scores**2).sum() - scores.sum() ** 2
    variance = below * (n - below) / (n**2 * (n - 1)) * spread
    return np.asarray((np.cumsum(scores)[below - 1] - below / n * scores.sum()) / np.sqrt(variance))


def _p_lausen_92(b: float, share: float) -> float:
    if b < 1:
        return 1.0
    density = float(norm.pdf(b))
    odds = ((1 - share) * (1 - share)) / (share * share)
    return float(min(1.0, 4 * density / b + density * (b - 1 / b) * np.log(odds)))


def _p_lausen_94(b: float, n: int, below: Int) -> float:
    first, second = below[:-1].astype(np.float64), below[1:].astype(np.float64)
    step = np.sqrt(1 - first * (n - second) / ((n - first) * second))
    extra = np.exp(-(b**2) / 2) / np.pi * (step - (b**2 / 4 - 1) * step**3 / 6)
    return float(min(1.0, 2 * norm.sf(b) + extra.sum()))

"""Measures over the cases of a cohort: mean, spread, quartiles, bootstrap intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.bland_altman import BlandAltman, bland_altman
from pipeline.evaluation.columns import MEASURES, SLICE_MEASURES
from pipeline.model.resampling import bootstrap_rows, percentile_limits, row_counts

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]

#: Share of the resamples between the limits.
LEVEL = 0.95
#: Resamples held in memory together, each with a number per value.
_DRAWS_AT_ONCE = 250


@dataclass(frozen=True)
class Summary:
    """One measure over a cohort; NaN where undefined.

    Attributes
    ----------
    n, undefined : int
        Values, and rows without one (failed cases, undefined measures).
    mean, mean_low, mean_high, sd : float
        Mean, its 95 % bootstrap limits, standard deviation (n - 1).
    median, median_low, median_high, q1, q3 : float
        Median, its limits, quartiles.
    minimum, maximum, total : float
        Extremes and sum.
    """

    n: int
    undefined: int
    mean: float
    mean_low: float
    mean_high: float
    sd: float
    median: float
    median_low: float
    median_high: float
    q1: float
    q3: float
    minimum: float
    maximum: float
    total: float


def summarise(groups: Sequence[npt.ArrayLike], *, draws: int = 2000, seed: int) -> Summary:
    """Summarise values that come in groups: one value per case, or the slices of each case.

    Parameters
    ----------
    groups : sequence of arrays
        The values of each case; NaN where undefined.
    draws, seed : int
        Resamples of the cases and their seed.

    Notes
    -----
    Limits are 2.5th and 97.5th percentiles of the mean and the median over resamples of whole
    cases, since slices of one case are alike. Percentile limits are used for both: the
    acceleration of BCa rests on a jackknife, which is not consistent for a median.
    """
    cases = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in groups]
    known = [values[np.isfinite(values)] for values in cases]
    values = np.concatenate([*known, np.empty(0)])
    undefined = sum(v.size for v in cases) - values.size
    if not values.size:
        return Summary(0, undefined, *[float("nan")] * 12)
    limits = _limits([part for part in known if part.size], draws, seed)
    q1, median, q3 = (float(v) for v in np.percentile(values, (25, 50, 75)))
    return Summary(
        n=int(values.size),
        undefined=undefined,
        mean=float(values.mean()),
        mean_low=limits[0][0],
        mean_high=limits[0][1],
        sd=float(values.std(ddof=1)) if values.size > 1 else float("nan"),
        median=median,
        median_low=limits[1][0],
        median_high=limits[1][1],
        q1=q1,
        q3=q3,
        minimum=float(values.min()),
        maximum=float(values.max()),
        total=float(values.sum()),
    )


def _limits(cases: Sequence[Float], draws: int, seed: int) -> list[tuple[float, float]]:
    """Return the limits of the mean and of the median over resamples of the cases."""
    if len(cases) < 2:
        return [(float("nan"), float("nan"))] * 2
    counts = row_counts(bootstrap_rows(len(cases), draws, seed), len(cases))
    sizes, sums = np.array([c.size for c in cases]), np.array([c.sum() for c in cases])
    # Summed without BLAS, whose order of terms may depend on the number of threads.
    means = (counts * sums).sum(axis=1) / (counts * sizes).sum(axis=1)
    samples = (means, _medians(cases, counts))
    return [percentile_limits(sample, LEVEL)[:2] for sample in samples]


def _medians(cases: Sequence[Float], counts: Float) -> Float:
    """Return the median of each resample, (draws,), from how often it holds each case."""
    values = np.concatenate(cases)
    order = np.argsort(values, kind="stable")
    values, case = values[order], np.repeat(np.arange(len(cases)), [c.size for c in cases])[order]
    found = []
    for part in np.array_split(counts, -(-counts.shape[0] // _DRAWS_AT_ONCE)):
        up_to = np.cumsum(part[:, case], axis=1)
        size = up_to[:, -1]
        middle = [
            values[np.count_nonzero(up_to <= place[:, np.newaxis], axis=1)]
            for place in ((size - 1) // 2, size // 2)
        ]
        found.append((middle[0] + middle[1]) / 2)
    return np.concatenate(found)


def summary_table(
    cases: "pd.DataFrame", slices: "pd.DataFrame", *, draws: int = 2000, seed: int
) -> "pd.DataFrame":
    """Return a row per structure and measure: over the cases, then over the slices of all cases.

    Parameters
    ----------
    cases, slices : DataFrame
        From `tables.case_table` and `tables.slice_table`.
    draws, seed : int
        Of the bootstrap.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for (structure, label), part in cases.groupby(["structure", "label"], sort=False):
        ids = {"structure": structure, "label": label}
        for measure in MEASURES:
            values = part[measure.column].to_numpy(dtype=np.float64, na_value=np.nan)
            found = summarise(values, draws=draws, seed=seed)
            rows.append(ids | {"measure": measure.column, "over": "cases"} | asdict(found))
        here = slices[slices["structure"] == structure]
        for column, outcomes, measure in SLICE_MEASURES:
            counted = here[here["outcome"].isin(outcomes)]
            groups = [one[column].to_numpy() for _, one in counted.groupby("subject")]
            found = summarise(groups, draws=draws, seed=seed)
            rows.append(ids | {"measure": measure.column, "over": "slices"} | asdict(found))
    names = ["structure", "label", "measure", "over", *Summary.__dataclass_fields__]
    return pd.DataFrame(rows, columns=names)


def volume_agreement(cases: "pd.DataFrame") -> dict[str, BlandAltman]:
    """Return bias and limits of agreement of the volumes in mL, by structure.

    Cases where both masks are empty are left out: their difference of 0 says nothing.
    """
    found = {}
    for structure, part in cases.groupby("structure", sort=False):
        there = part[part["dice_3d"].notna()]
        found[str(structure)] = bland_altman(there["reference_ml"], there["prediction_ml"])
    return found


def volume_table(agreement: Mapping[str, BlandAltman]) -> "pd.DataFrame":
    """Return `volume_agreement` as a table, in mL, prediction minus reference."""
    import pandas as pd

    fields = list(BlandAltman.__dataclass_fields__)
    names = {name: name if name == "n" else f"{name}_ml" for name in fields}
    rows = [
        {"structure": structure, **{names[k]: v for k, v in asdict(found).items()}}
        for structure, found in agreement.items()
    ]
    return pd.DataFrame(rows, columns=["structure", *names.values()])


def worst_first(cases: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows that have a Dice: the lowest first, at equal Dice the farthest first.

    An undefined distance (one mask is empty) counts as the farthest.
    """
    there = cases[cases["dice_3d"].notna()]
    return there.sort_values(
        ["dice_3d", "hd95_max_mm", "subject", "structure"],
        ascending=[True, False, True, True],
        na_position="first",
        kind="stable",
    )

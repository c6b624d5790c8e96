"""What a page says of a table of features: who failed, what varies, repeats, and sticks out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import SettingsError
from pipeline.radiomics.clusters import FeatureClusters, cluster_features
from pipeline.radiomics.feature_columns import FeatureColumn, feature_columns
from pipeline.radiomics.session_pairs import keys_of

Values = npt.NDArray[np.float64]

#: Columns that split a cohort, the first with at least two groups is used.
GROUP_COLUMNS = ("centre", "center", "site", "scanner", "group", "split")
#: Groups that are compared: colours that remain apart.
MOST_GROUPS = 6
#: A value is far out when it lies this many robust standard deviations from the median.
FAR_OUT = 5.0
#: From the median absolute deviation, and from the mean absolute deviation, to the standard
#: deviation of a normal distribution.
_MAD_TO_SD, _MEAN_TO_SD = 1.4826, 1.2533
#: Fewer values of a group have no median worth drawing.
FEWEST_OF_GROUP = 3


@dataclass(frozen=True, eq=False)
class FeatureSummary:
    """A wide table, measured.

    Attributes
    ----------
    table : DataFrame
        As given.
    ids : tuple of str
        Columns that name a row.
    features : tuple of FeatureColumn
        Its features; the arrays below follow them.
    values, scores : (rows, n) float arrays
        As given (NaN where missing), and as robust z: distance from the median in robust
        standard deviations; NaN where a feature does not spread.
    clustered : (m,) int array
        Features that vary, which `clusters` is about.
    clusters : FeatureClusters
        Of those.
    threshold : float
        Of the clusters.
    group : str
        Column that splits the cohort; empty where none does.
    groups : tuple of str
        Its largest groups, by name.
    """

    table: pd.DataFrame
    ids: tuple[str, ...]
    features: tuple[FeatureColumn, ...]
    values: Values
    scores: Values
    clustered: npt.NDArray[np.intp]
    clusters: FeatureClusters
    threshold: float
    group: str = ""
    groups: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the features."""
        return tuple(feature.column for feature in self.features)

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Rows with any feature at all."""
        return np.asarray(np.isfinite(self.values).any(axis=1), dtype=np.bool_)

    def name_of(self, row: int) -> str:
        """Return the cells that name a row."""
        cells = [self.table[name].iloc[row] for name in self.ids]
        told = [str(cell) for cell in cells if not pd.isna(cell) and str(cell)]
        return ", ".join(told) or f"row {row + 1}"

    def rows_of(self, group: str) -> npt.NDArray[np.bool_]:
        """Return which rows belong to a group."""
        return np.asarray(self.table[self.group].astype(str) == group, dtype=np.bool_)

    def representatives(self, feature_class: str) -> list[int]:
        """Return features of a class that stand for a cluster, those of large clusters first.

        Features are numbered as in `features`.
        """
        sizes = np.bincount(self.clusters.cluster)
        chosen = [
            (-int(sizes[self.clusters.cluster[n]]), int(place))
            for n, place in enumerate(self.clustered)
            if self.clusters.representative[n]
            and self.features[place].feature_class == feature_class
        ]
        return [place for _, place in sorted(chosen)]


def summarise_features(
    table: pd.DataFrame, *, group: str | None = None, threshold: float = 0.9
) -> FeatureSummary:
    """Measure a wide table of features.

    Parameters
    ----------
    table : DataFrame
        A row per region; features by their names, other columns as `medpipe radiomics` writes.
    group : str, optional
        Column that splits the cohort; by default the first of `GROUP_COLUMNS` that does.
    threshold : float
        |rho| from which on features are one cluster.

    Raises
    ------
    SettingsError
        No rows, no features, or no such column.
    """
    features = feature_columns(table.columns)
    if table.empty or not features:
        raise SettingsError(
            f"the table has {len(table)} rows and {len(features)} feature columns such as "
            "glcm_Contrast; give a wide table of `medpipe radiomics`"
        )
    frame = table[[feature.column for feature in features]].apply(pd.to_numeric, errors="coerce")
    values = frame.to_numpy(dtype=np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    varying = np.flatnonzero([np.unique(c[np.isfinite(c)]).size > 1 for c in values.T])
    name, groups = _groups(table, group)
    return FeatureSummary(
        table=table.reset_index(drop=True),
        ids=_ids(table),
        features=features,
        values=values,
        scores=robust_scores(values),
        clustered=varying,
        clusters=cluster_features(values[:, varying], threshold=threshold),
        threshold=threshold,
        group=name,
        groups=groups,
    )


def robust_scores(values: Values) -> Values:
    """Return (x - median) / (1.4826 MAD) by column.

    Where more than half of the values are equal the MAD is 0, and the mean absolute deviation
    (times 1.2533) takes its place.
    """
    found = np.full(values.shape, np.nan)
    for n, column in enumerate(values.T):
        known = column[np.isfinite(column)]
        if known.size == 0:
            continue
        away = np.abs(known - np.median(known))
        scale = _MAD_TO_SD * np.median(away) or _MEAN_TO_SD * away.mean()
        if scale > 0:
            found[:, n] = (column - np.median(known)) / scale
    return found


def group_shift(summary: FeatureSummary) -> list[tuple[int, dict[str, float]]]:
    """Return features and the median robust z of each group, the most different groups first."""
    found = []
    for n in range(len(summary.features)):
        medians = {}
        for group in summary.groups:
            scores = summary.scores[summary.rows_of(group), n]
            scores = scores[np.isfinite(scores)]
            if scores.size >= FEWEST_OF_GROUP:
                medians[group] = float(np.median(scores))
        if len(medians) > 1:
            found.append((n, medians))
    return sorted(found, key=lambda item: min(item[1].values()) - max(item[1].values()))


def _ids(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the subject, and the other keys that are not the same in all rows."""
    names = dict.fromkeys(("subject", "session", *keys_of(table)))
    there = [name for name in names if name in table]
    return tuple(n for n in there if n == "subject" or table[n].nunique(dropna=False) > 1)


def _groups(table: pd.DataFrame, asked: str | None) -> tuple[str, tuple[str, ...]]:
    if asked is not None and asked not in table:
        raise SettingsError(f"the table has no column {asked!r} to group by")
    candidates: Sequence[str] = (asked,) if asked else [n for n in GROUP_COLUMNS if n in table]
    for name in candidates:
        counts = table[name].dropna().astype(str).value_counts()
        counts = counts[counts.index != ""]
        if len(counts) > 1:
            largest = sorted(counts.index, key=lambda g: (-counts[g], g))[:MOST_GROUPS]
            return name, tuple(sorted(largest))
    return "", ()

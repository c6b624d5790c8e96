"""Features that say the same: rank correlations, clusters, and one feature to stand for each."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.stats import rankdata

from pipeline.errors import SettingsError

Values = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

#: With fewer common rows a correlation is noise, and counts as unknown.
MIN_ROWS = 5
#: Correlations are compared to this: the last digits depend on the order of the rows.
_DIGITS = 9


@dataclass(frozen=True, eq=False)
class FeatureClusters:
    """Clusters of features.

    Attributes
    ----------
    rho : (n, n) float array
        Spearman correlations; NaN where fewer than `MIN_ROWS` rows have both features, or one
        does not vary in them.
    order : (n,) int array
        Features along the tree, neighbours alike.
    cluster : (n,) int array
        Cluster of each feature: 1, 2, ... along `order`.
    representative : (n,) bool array
        The feature of each cluster that resembles the others most; of several, the first.
    """

    rho: Values
    order: Places
    cluster: Places
    representative: npt.NDArray[np.bool_]


def cluster_features(values: Values, *, threshold: float = 0.9) -> FeatureClusters:
    """Cluster features by complete linkage on 1 - |Spearman's rho|.

    Any two features of a cluster correlate with at least `threshold`, in either direction.

    Parameters
    ----------
    values : (rows, n) float array
        A column per feature; NaN where missing.
    threshold : float
        In (0, 1].

    Raises
    ------
    SettingsError
        `threshold` lies elsewhere.
    """
    if not 0 < threshold <= 1:
        raise SettingsError(f"threshold is {threshold:g}; a correlation above 0, at most 1")
    rho = spearman(values)
    count = len(rho)
    if count < 2:
        whole = np.arange(count)
        return FeatureClusters(rho, whole, whole + 1, np.ones(count, dtype=np.bool_))
    likeness: Values = np.round(np.abs(np.nan_to_num(rho, nan=0.0)), _DIGITS).astype(np.float64)
    distance = 1.0 - likeness[np.triu_indices(count, 1)]
    tree = linkage(distance, method="complete")
    order = _leaves(tree, count)
    cut = fcluster(tree, 1.0 - threshold + 0.5 * 10.0**-_DIGITS, criterion="distance")
    names = {number: place for place, number in enumerate(dict.fromkeys(cut[order]), start=1)}
    cluster = np.array([names[number] for number in cut], dtype=np.intp)
    return FeatureClusters(rho, order, cluster, _representatives(likeness, cluster))


def spearman(values: Values) -> Values:
    """Return Spearman correlations (n, n) over the rows that have both features.

    Features that are missing in the same rows are ranked together.
    """
    known = np.isfinite(values)
    patterns, member = np.unique(known, axis=1, return_inverse=True)
    member = member.ravel()
    rho = np.full((values.shape[1],) * 2, np.nan)
    for a in range(patterns.shape[1]):
        for b in range(a, patterns.shape[1]):
            rows = patterns[:, a] & patterns[:, b]
            if np.count_nonzero(rows) >= MIN_ROWS:
                first, second = np.flatnonzero(member == a), np.flatnonzero(member == b)
                ranks = [_standard_ranks(values[np.ix_(rows, part)]) for part in (first, second)]
                found = ranks[0].T @ ranks[1]
                rho[np.ix_(first, second)] = found
                rho[np.ix_(second, first)] = found.T
    return np.asarray(np.clip(rho, -1.0, 1.0), dtype=np.float64)


def _standard_ranks(values: Values) -> Values:
    """Return ranks of each column with mean 0 and length 1; NaN where a column is constant."""
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    length = np.sqrt((ranks**2).sum(axis=0))
    return np.asarray(ranks / np.where(length > 0, length, np.nan), dtype=np.float64)


def _leaves(tree: Values, count: int) -> Places:
    """Return the leaves along a tree; the branch with the earlier feature comes first."""
    branches: list[list[int]] = [[n] for n in range(count)]
    for left, right in tree[:, :2].astype(int):
        one, two = branches[left], branches[right]
        branches.append(one + two if min(one) < min(two) else two + one)
        branches[left] = branches[right] = []
    return np.array(branches[-1], dtype=np.intp)


def _representatives(likeness: Values, cluster: Places) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(len(cluster), dtype=np.bool_)
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        means = np.round(likeness[np.ix_(members, members)].mean(axis=1), _DIGITS)
        chosen[members[np.argmax(means)]] = True
    return chosen

"""Recursive feature elimination with a linear support vector machine (SVM-RFE)."""

import numpy as np
import numpy.typing as npt

from pipeline.model.arrays import Float, Int, as_labels
from pipeline.model.svm import solve


def rank_features(z: Float, labels: npt.ArrayLike, *, cost: float = 1.0) -> Int:
    """Rank features by the order in which SVM-RFE removes them, one at a time.

    Each round fits a linear machine on the remaining features and removes the one with the
    smallest squared weight (the last of equals). The Gram matrix loses one outer product per
    round, so a round costs no more than its fit, whatever the number of features.

    Parameters
    ----------
    z : (n, p) float array
        Standardised training rows.
    labels : (n,) array of 0 and 1
        Their classes.
    cost : float
        C of the linear machine.

    Returns
    -------
    (p,) int array
        Columns of `z`, best (removed last) first.

    References
    ----------
    Guyon et al., Machine Learning 46 (2002) 389, algorithm SVM-RFE.
    """
    positive = as_labels(labels, what="the training rows of a ranking")
    # einsum rather than a matrix product: the same bits whatever the threads of the BLAS
    gram = np.einsum("if,jf->ij", z, z)
    remaining = np.arange(z.shape[1])
    removed: list[int] = []
    while remaining.size > 1:
        machine = solve(gram, positive, cost=cost)
        weights = np.einsum("i,if->f", machine.dual, z[np.ix_(machine.support, remaining)])
        worst = remaining.size - 1 - int(np.argmin(np.square(weights)[::-1]))
        column = z[:, remaining[worst]]
        gram -= np.outer(column, column)
        removed.append(int(remaining[worst]))
        remaining = np.delete(remaining, worst)
    return np.array([*remaining.tolist(), *reversed(removed)], dtype=np.int64)

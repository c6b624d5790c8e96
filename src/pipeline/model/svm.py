"""One support vector machine on a ready kernel matrix, and what its coefficients say."""

from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.svm import SVC

from pipeline.model.arrays import Bool, Float, Int

#: Stopping tolerance of libsvm. Its default of 1e-3 is coarser than the spread of the scores
#: when cost and gamma are both small.
TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Solution:
    """A fitted machine: ``score(x) = sum_i dual[i] * k(support[i], x) + intercept``.

    Attributes
    ----------
    support : (s,) int array
        Training rows that are support vectors.
    dual : (s,) float array
        Signed coefficients, ``|dual| <= cost``; positive for class 1.
    intercept : float
        Higher scores mean class 1.
    is_free : bool
        No coefficient touches the cost: every larger cost has this same solution.
    is_saturated : bool
        All rows of the smaller class touch the cost: every smaller cost has this solution,
        scaled, so the order of the scores stays the same.
    """

    support: Int
    dual: Float
    intercept: float
    is_free: bool
    is_saturated: bool

    def scores(self, kernel: Float) -> Float:
        """Return the scores (m,) of rows from their kernel (m, n) with the training rows."""
        return np.asarray((kernel[:, self.support] * self.dual).sum(axis=1) + self.intercept)


def solve(kernel: Float, positive: Bool, *, cost: float) -> Solution:
    """Fit a machine.

    Parameters
    ----------
    kernel : (n, n) float array
        Kernel of the training rows.
    positive : (n,) bool array
        Class 1 rows. Both classes are present.
    cost : float
        Upper bound C of the coefficients.
    """
    machine = SVC(kernel="precomputed", C=cost, tol=TOLERANCE, shrinking=False)
    # Thousands of fits on twenty rows: the checks of the input would be half of the time.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        machine.fit(kernel, positive)
    support = np.asarray(machine.support_, dtype=np.int64)
    dual = np.asarray(machine.dual_coef_[0], dtype=np.float64)
    at_cost = np.abs(dual) >= cost
    smaller = positive if 2 * positive.sum() <= positive.size else ~positive
    return Solution(
        support=support,
        dual=dual,
        intercept=float(machine.intercept_[0]),
        is_free=not at_cost.any(),
        is_saturated=int((at_cost & smaller[support]).sum()) == int(smaller.sum()),
    )

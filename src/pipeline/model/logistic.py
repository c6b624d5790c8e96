"""Logistic regression by maximum likelihood, to machine precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pipeline.errors import ConvergenceError, ModelError
from pipeline.model.arrays import Bool, Float, as_labels

SCHEMA = 1

_MOST_STEPS = 60
#: Newton has converged when no linear predictor moves by more than this part of itself.
_STEP = 1e-12
#: A standardised column is a combination of earlier ones when less than this part is left.
_RANK = 1e-9


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """A fitted logistic model: ``P(y = 1 | x) = 1 / (1 + exp(-(intercept + x beta)))``.

    Attributes
    ----------
    names : tuple of k str
        Columns of the matrix.
    intercept : float
        Log odds at x = 0.
    coefficients : (k,) float array
        Log odds ratios per unit of each column.
    covariance : (k + 1, k + 1) float array
        Inverse of the information, intercept first.
    loglik_null, loglik : float
        Log likelihood with the intercept alone, and of the model.
    n, events : int
        Rows, and rows of class 1.
    """

    names: tuple[str, ...]
    intercept: float
    coefficients: Float
    covariance: Float
    loglik_null: float
    loglik: float
    n: int
    events: int

    def linear_predictor(self, matrix: npt.ArrayLike) -> Float:
        """Return the log odds (n,) of rows (n, k)."""
        return np.asarray(np.asarray(matrix, dtype=np.float64) @ self.coefficients + self.intercept)

    def probability(self, matrix: npt.ArrayLike) -> Float:
        """Return P(y = 1) (n,) of rows (n, k)."""
        return np.asarray(expit(self.linear_predictor(matrix)))

    @property
    def standard_errors(self) -> Float:
        """Standard errors (k + 1,), intercept first."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def to_record(self) -> dict[str, Any]:
        """Return the model as JSON types; floats keep every bit."""
        return {
            "schema": SCHEMA,
            "kind": "logistic",
            "names": list(self.names),
            "intercept": self.intercept,
            "coefficients": self.coefficients.tolist(),
            "covariance": self.covariance.tolist(),
            "loglik_null": self.loglik_null,
            "loglik": self.loglik,
            "n": self.n,
            "events": self.events,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "LogisticFit":
        """Return the model of a JSON record; ModelError when it is none."""
        if record.get("kind") != "logistic" or record.get("schema") != SCHEMA:
            raise ModelError(
                f"kind {record.get('kind')!r}, schema {record.get('schema')!r}: this is no logistic"
                f" model of schema {SCHEMA}; fit it again"
            )
        try:
            return cls(
                names=tuple(str(name) for name in record["names"]),
                intercept=float(record["intercept"]),
                coefficients=np.array(record["coefficients"], dtype=np.float64),
                covariance=np.array(record["covariance"], dtype=np.float64),
                loglik_null=float(record["loglik_null"]),
                loglik=float(record["loglik"]),
                n=int(record["n"]),
                events=int(record["events"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the logistic model is incomplete ({error}); fit it again") from error


def fit_logistic(matrix: npt.ArrayLike, names: Sequence[str], labels: npt.ArrayLike) -> LogisticFit:
    """Fit a logistic model by Newton's method (iteratively reweighted least squares).

    Parameters
    ----------
    matrix : (n, k) float array
        Columns without the intercept, for example from `pipeline.model.terms.design_matrix`.
    names : sequence of k str
        Names of the columns, for the messages.
    labels : (n,) array of 0 and 1
        Outcome; both classes are needed.

    Raises
    ------
    ModelError
        A cell that is not finite; a column that is constant or a combination of the others;
        columns that separate the classes, so that no finite maximum exists.

    Notes
    -----
    Columns are standardised for the iteration, so that units do not cost digits. Whether the
    classes are separated is decided exactly, by a linear programme (Konis, Linear programming
    algorithms for detecting separated data in binary logistic regression models, Oxford 2007),
    once the iteration does not come to rest.
    """
    x = np.asarray(matrix, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != len(names):
        raise ModelError(f"a matrix of shape {x.shape} does not have {len(names)} named columns")
    positive = as_labels(labels)
    if positive.size != len(x):
        raise ModelError(f"{len(x)} rows but {positive.size} labels; give one label per row")
    mean, sd = _check_columns(x, names)
    z = np.column_stack([np.ones(len(x)), (x - mean) / sd])
    beta = _newton(z, positive, names)
    back = _unstandardise(mean, sd)
    weight = expit(z @ beta) * expit(-(z @ beta))
    covariance = np.linalg.inv((z * weight[:, np.newaxis]).T @ z)
    natural = back @ beta
    events = int(positive.sum())
    share = events / positive.size
    return LogisticFit(
        names=tuple(names),
        intercept=float(natural[0]),
        coefficients=natural[1:],
        covariance=back @ covariance @ back.T,
        loglik_null=float(events * np.log(share) + (positive.size - events) * np.log1p(-share)),
        loglik=_loglik(z @ beta, positive),
        n=positive.size,
        events=events,
    )


def _check_columns(x: Float, names: Sequence[str]) -> tuple[Float, Float]:
    """Return means and standard deviations (k,) of columns that vary and are independent."""
    for j, name in enumerate(names):
        if not np.isfinite(x[:, j]).all():
            row = int(np.flatnonzero(~np.isfinite(x[:, j]))[0])
            raise ModelError(f"column {name}, row {row}: {x[row, j]} is no finite number")
    mean, sd = x.mean(axis=0), x.std(axis=0)
    for name, centre, spread in zip(names, mean, sd, strict=True):
        if spread <= 1e-12 * max(abs(centre), np.finfo(float).tiny):
            raise ModelError(f"column {name} is constant ({centre:g}); a term must vary: remove it")
    z = (x - mean) / sd / np.sqrt(len(x))
    basis = np.empty((len(z), 0))
    for j, name in enumerate(names):
        left = z[:, j]
        for _ in range(2):  # twice, so that rounding does not hide a dependence
            left = left - basis @ (basis.T @ left)
        size = float(np.linalg.norm(left))
        if size < _RANK:
            raise ModelError(
                f"column {name} is a linear combination of {_partners(z, j, names)}; remove one"
            )
        basis = np.column_stack([basis, left / size])
    return mean, sd


def _partners(z: Float, j: int, names: Sequence[str]) -> str:
    weights = np.linalg.lstsq(z[:, :j], z[:, j], rcond=None)[0]
    return ", ".join(names[int(i)] for i in np.flatnonzero(np.abs(weights) > 1e-6))


def _unstandardise(mean: Float, sd: Float) -> Float:
    # (k + 1, k + 1): coefficients of z = (x - mean) / sd to those of x
    back = np.diag(np.concatenate([[1.0], 1 / sd]))
    back[0, 1:] = -mean / sd
    return back


def _newton(z: Float, positive: Bool, names: Sequence[str]) -> Float:
    beta = np.zeros(z.shape[1])
    share = positive.mean()
    beta[0] = np.log(share / (1 - share))
    value = _loglik(z @ beta, positive)
    for _ in range(_MOST_STEPS):
        eta = z @ beta
        root = np.sqrt(expit(eta) * expit(-eta))
        if not root.min() > np.sqrt(np.finfo(float).tiny):
            break
        step = np.linalg.lstsq(z * root[:, np.newaxis], (positive - expit(eta)) / root, rcond=None)[
            0
        ]
        taken, new = 1.0, _loglik(z @ (beta + step), positive)
        while new < value - 1e-9 * abs(value) and taken > 1e-6:
            taken /= 2
            new = _loglik(z @ (beta + taken * step), positive)
        beta, value = beta + taken * step, new
        if np.abs(z @ step).max() <= _STEP * (1 + np.abs(eta).max()):
            return np.asarray(beta)
    _check_separation(z, positive, names)
    raise ConvergenceError(
        f"the logistic model did not converge in {_MOST_STEPS} steps; its columns are nearly"
        f" dependent: use fewer of {', '.join(names)}"
    )


def _loglik(eta: Float, positive: Bool) -> float:
    return float(-np.logaddexp(0.0, np.where(positive, -eta, eta)).sum())


def _check_separation(z: Float, positive: Bool, names: Sequence[str]) -> None:
    """Raise ModelError naming the columns that separate the classes, if any do."""
    alone = [
        name for j, name in enumerate(names, start=1) if _separates(z[positive, j], z[~positive, j])
    ]
    culprits = alone or [names[j] for j in _separating_columns(z, positive)]
    if culprits:
        noun = "column" if len(culprits) == 1 else "columns"
        verb = "separates" if len(culprits) == 1 else "separate"
        raise ModelError(
            f"{noun} {', '.join(culprits)} {verb} the classes (some values occur in one class"
            " only), so that the coefficient grows without limit; merge levels, remove the term,"
            " or use a penalised model"
        )


def _separates(one: Float, other: Float) -> bool:
    return bool(one.min() >= other.max() or other.min() >= one.max())


def _separating_columns(z: Float, positive: Bool) -> list[int]:
    from scipy.optimize import linprog

    signed = np.where(positive, 1.0, -1.0)[:, np.newaxis] * z
    found = linprog(
        -signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(z)), bounds=(-1, 1), method="highs"
    )
    if not found.success or -found.fun <= 1e-7 * len(z):
        return []
    return [int(j) for j in np.flatnonzero(np.abs(found.x[1:]) > 1e-7)]

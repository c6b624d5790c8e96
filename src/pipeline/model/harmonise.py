"""ComBat: shift and scale of features per centre, fitted on development rows alone."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.errors import ConvergenceError, ModelError
from pipeline.model.arrays import Bool, Float, Int

logger = logging.getLogger(__name__)

#: What to do with rows of a centre that the fit has not seen.
Unseen = Literal["error", "pooled", "keep"]

#: Raised when the layout of the record changes.
SCHEMA = 1

#: Relative change at which the iteration stops; the value of R's sva.
_TOLERANCE = 1e-4
_MOST_ITERATIONS = 10_000

#: Residuals below this fraction of a feature's size are rounding, not variance.
_CONSTANT = 1e-12


@dataclass(frozen=True, eq=False)
class Combat:
    """Fitted harmonisation: b centres, p features, k covariates.

    Attributes
    ----------
    centres : tuple of b str
        Sorted.
    counts : (b,) int array
        Development rows of each centre.
    features, covariates : tuples of p and k str
        Names, in the order of the columns.
    adjusted : (p,) bool array
        False: the feature is constant within a centre and is passed through.
    grand_mean : (p,) float array
        alpha: mean over the centres, weighted by their rows; that of the reference if there is
        one. In the units of the feature, at covariates 0.
    coefficients : (k, p) float array
        beta of the covariates.
    sd : (p,) float array
        sigma: square root of the mean squared residual.
    gamma, delta : (b, p) float arrays
        Shift in units of sigma, and variance relative to sigma squared, of each centre.
    reference : str or None
        The centre that stays as it is.
    mean_only : bool
        No scale was fitted; `delta` is 1.
    """

    centres: tuple[str, ...]
    counts: Int
    features: tuple[str, ...]
    covariates: tuple[str, ...]
    adjusted: Bool
    grand_mean: Float
    coefficients: Float
    sd: Float
    gamma: Float
    delta: Float
    reference: str | None
    mean_only: bool

    def to_record(self) -> dict[str, Any]:
        """Return JSON types; floats keep every bit."""
        return {
            "schema": SCHEMA,
            "kind": "combat",
            "centres": list(self.centres),
            "counts": self.counts.tolist(),
            "features": list(self.features),
            "covariates": list(self.covariates),
            "adjusted": self.adjusted.tolist(),
            "grand_mean": self.grand_mean.tolist(),
            "coefficients": self.coefficients.tolist(),
            "sd": self.sd.tolist(),
            "gamma": self.gamma.tolist(),
            "delta": self.delta.tolist(),
            "reference": self.reference,
            "mean_only": self.mean_only,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Combat":
        """Return the fit of a JSON record; raise ModelError when it is none or incomplete."""
        if record.get("kind") != "combat" or record.get("schema") != SCHEMA:
            raise ModelError(
                f"kind {record.get('kind')!r}, schema {record.get('schema')!r}: this version reads"
                f" combat of schema {SCHEMA}; make the file again with `medpipe harmonise fit`"
            )
        try:
            found = _from_record(record)
            _check_shapes(found)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the combat record is incomplete ({error}); make it again with `medpipe"
                " harmonise fit`"
            ) from error
        return found


def fit_combat(
    values: Float,
    centres: Sequence[str],
    covariates: Float | None = None,
    *,
    features: Sequence[str] | None = None,
    covariate_names: Sequence[str] | None = None,
    reference: str | None = None,
    mean_only: bool = False,
) -> Combat:
    """Fit shift and scale of every centre by parametric empirical Bayes.

    Parameters
    ----------
    values : (n, p) float array
        Development rows. A missing value (NaN, infinite) is taken as the median of its feature
        in its centre while fitting.
    centres : sequence of n str
        At least two different ones.
    covariates : (n, k) float array, optional
        What the features may depend on besides the centre (age, stage); its effect is kept.
        Never the outcome: new rows are transformed with their covariates, too.
    features, covariate_names : sequences of p and k str, optional
        Names for the record and for messages.
    reference : str, optional
        A centre that stays as it is and to which the others are brought.
    mean_only : bool
        Shift only. Taken, with a warning, when a centre has one row, since one row has no
        variance.

    Raises
    ------
    ModelError
        One centre only; an unknown reference; a covariate that the centres determine, or
        that has a missing value; fewer than two features that can be adjusted.

    Notes
    -----
    Model of feature g of row j in centre i (Johnson, Li and Rabinovic, Biostatistics 8 (2007)
    118, section 3)::

        y_ijg = alpha_g + x_ij beta_g + gamma_ig sigma_g + delta_ig^(1/2) sigma_g e_ijg

    with alpha and beta by least squares, sigma_g^2 the mean squared residual (divisor n).
    gamma_ig has a normal prior and delta_ig an inverse gamma prior, each with moments taken
    over the features of the centre. The stopping rule is that of R's sva: the change of gamma is
    divided by its signed value, so negative shifts do not delay the end.
    """
    names = _names(features, values.shape[1], "feature")
    terms = _names(covariate_names, 0 if covariates is None else covariates.shape[1], "covariate")
    levels, place = _levels(centres, reference)
    given = _check_covariates(covariates, terms, len(place))
    counts = np.bincount(place, minlength=len(levels)).astype(np.int64)
    mean_only = _choose_mean_only(levels, counts, mean_only)
    filled = _fill(values, place, len(levels))
    ref = levels.index(reference) if reference is not None else None
    design = _design(place, len(levels), given, ref, terms)
    beta: Float = np.asarray(np.linalg.lstsq(design, filled, rcond=None)[0], dtype=np.float64)
    grand = beta[ref] if ref is not None else (counts / counts.sum()) @ beta[: len(levels)]
    coefficients = beta[len(levels) :]
    squared = (filled - design @ beta) ** 2
    sd: Float = np.sqrt((squared[place == ref] if ref is not None else squared).mean(axis=0))
    adjusted = _adjustable(filled, place, counts, sd, names)
    gamma, delta = np.zeros((2, len(levels), len(names)))
    delta += 1.0
    z = (filled - grand - given @ coefficients)[:, adjusted] / sd[adjusted]
    for i in range(len(levels)):
        if i != ref:
            gamma[i, adjusted], delta[i, adjusted] = _shrink(z[place == i], mean_only, levels[i])
    return Combat(
        levels, counts, names, terms, adjusted, grand, coefficients, sd, gamma, delta,
        reference, mean_only,
    )  # fmt: skip


def apply_combat(
    combat: Combat,
    values: Float,
    centres: Sequence[str],
    covariates: Float | None = None,
    *,
    unseen: Unseen = "error",
    subjects: Sequence[str] | None = None,
) -> Float:
    """Harmonise rows with what was fitted; no statistic of these rows is used.

    Parameters
    ----------
    combat : Combat
        The fit.
    values : (n, p) float array
        Rows, old or new. A missing value stays missing.
    centres : sequence of n str
        Centre of each row.
    covariates : (n, k) float array, optional
        Needed when the fit had covariates.
    unseen : "error", "keep" or "pooled"
        For rows of a centre that the fit has not seen. "error": refuse them. "keep": leave
        their values as measured. "pooled": treat them as a centre with the mean shift and the
        mean variance of the known centres, weighted by their rows n_i:
        gamma = sum n_i gamma_i / n, delta = sum n_i delta_i / n. Without a reference that shift
        is almost 0, since alpha is the mean of the centres; what "pooled" then undoes is the
        scale, and neither policy removes the shift of the new centre itself. To estimate that
        shift, rows of the centre must be among the development rows.
    subjects : sequence of n str, optional
        Names for messages.

    Returns
    -------
    (n, p) float array
        ``sigma (z - gamma) / delta^(1/2) + alpha + x beta`` with
        ``z = (y - alpha - x beta) / sigma``.

    Raises
    ------
    ModelError
        A centre that is unknown, other features or covariates than the fit had.
    """
    if values.shape[1] != len(combat.features):
        raise ModelError(
            f"{values.shape[1]} features are given, ComBat was fitted on {len(combat.features)};"
            " give the columns of the fit in its order"
        )
    names = [str(c) for c in centres]
    who = [f"subject {s}" for s in subjects] if subjects is not None else _rows(len(names))
    strange = [(w, c) for w, c in zip(who, names, strict=True) if c not in combat.centres]
    if strange and unseen == "error":
        raise ModelError(_unseen_message(combat, strange))
    given = _check_covariates(covariates, combat.covariates, len(names), who)
    gamma, delta = _effects(combat, names, unseen)
    use = combat.adjusted
    out = np.array(values, dtype=np.float64)
    moving = np.array([_moves(combat, name, unseen) for name in names], dtype=bool)
    mean = combat.grand_mean[use] + given[moving] @ combat.coefficients[:, use]
    z = (out[np.ix_(moving, use)] - mean) / combat.sd[use]
    z = (z - gamma[np.ix_(moving, use)]) / np.sqrt(delta[np.ix_(moving, use)])
    out[np.ix_(moving, use)] = z * combat.sd[use] + mean
    return out


def _moves(combat: Combat, centre: str, unseen: Unseen) -> bool:
    """Tell whether rows of a centre are transformed at all; the others keep every bit."""
    if centre == combat.reference:
        return False
    return centre in combat.centres or unseen == "pooled"


def _effects(combat: Combat, names: Sequence[str], unseen: Unseen) -> tuple[Float, Float]:
    weights = combat.counts / combat.counts.sum()
    pooled = unseen == "pooled"
    rest_gamma = weights @ combat.gamma if pooled else np.zeros(combat.gamma.shape[1])
    rest_delta = weights @ combat.delta if pooled else np.ones(combat.delta.shape[1])
    place = {name: i for i, name in enumerate(combat.centres)}
    rows = np.array([place.get(name, len(place)) for name in names], dtype=np.int64)
    return (
        np.vstack([combat.gamma, rest_gamma])[rows],
        np.vstack([combat.delta, rest_delta])[rows],
    )


def _unseen_message(combat: Combat, strange: Sequence[tuple[str, str]]) -> str:
    who, centre = strange[0]
    others = sorted({c for _, c in strange} - {centre})
    more = f" (and {', '.join(others)})" if others else ""
    return (
        f"{who}: centre {centre}{more} has no development rows, so ComBat knows no shift for it;"
        f" it was fitted on {', '.join(combat.centres)}. Put rows of {centre} into development,"
        " or choose what happens to it: unseen 'keep' (values as measured) or 'pooled' (mean"
        " effect of the known centres)"
    )


def _rows(count: int) -> list[str]:
    return [f"row {number}" for number in range(1, count + 1)]


def _names(given: Sequence[str] | None, count: int, what: str) -> tuple[str, ...]:
    names = tuple(given) if given is not None else tuple(f"{what} {i + 1}" for i in range(count))
    if len(names) != count:
        raise ModelError(f"{len(names)} names for {count} columns ({what}); give one name each")
    return names


def _levels(centres: Sequence[str], reference: str | None) -> tuple[tuple[str, ...], Int]:
    names = [str(c) for c in centres]
    levels = tuple(sorted(set(names)))
    if len(levels) < 2:
        raise ModelError(
            f"ComBat needs two centres or more among the development rows; they hold only"
            f" {', '.join(levels) or 'none'}: switch harmonisation off, or add a centre"
        )
    if reference is not None and reference not in levels:
        raise ModelError(
            f"reference centre {reference} has no development row; the centres are"
            f" {', '.join(levels)}"
        )
    place = {name: i for i, name in enumerate(levels)}
    return levels, np.array([place[name] for name in names], dtype=np.int64)


def _check_covariates(
    covariates: Float | None,
    names: Sequence[str],
    count: int,
    who: Sequence[str] | None = None,
) -> Float:
    given = np.empty((count, 0)) if covariates is None else np.asarray(covariates, dtype=float)
    if given.shape != (count, len(names)):
        raise ModelError(
            f"covariates of shape {given.shape}; ComBat needs {len(names)} columns"
            f" ({', '.join(names) or 'none'}) for {count} rows"
        )
    bad = np.argwhere(~np.isfinite(given))
    if bad.size:
        row, column = bad[0]
        name = (who or _rows(count))[row]
        raise ModelError(
            f"covariate {names[column]}, {name}: missing; fill the cell, leave the subject out,"
            " or harmonise without this covariate"
        )
    return given


def _choose_mean_only(levels: Sequence[str], counts: Int, mean_only: bool) -> bool:
    single = [name for name, count in zip(levels, counts, strict=True) if count == 1]
    if single and not mean_only:
        logger.warning(
            "centre %s has one development row, which has no variance: ComBat fits the mean"
            " only, for every centre", ", ".join(single),
        )  # fmt: skip
    return mean_only or bool(single)


def _fill(values: Float, place: Int, count: int) -> Float:
    """Return the values with the median of feature and centre where one is missing."""
    filled = np.where(np.isfinite(values), values, np.nan)
    holes = np.isnan(filled)
    if not holes.any():
        return filled
    logger.info("ComBat: %d missing values stand at the median of their centre", holes.sum())
    for centre in range(count):
        rows = place == centre
        part = filled[rows]
        # nothing known in this centre: constant, hence not adjusted
        part[:, np.isnan(part).all(axis=0)] = 0.0
        filled[rows] = np.where(np.isnan(part), np.nanmedian(part, axis=0), part)
    return filled


def _design(
    place: Int, count: int, covariates: Float, ref: int | None, names: Sequence[str]
) -> Float:
    batches = np.eye(count)[place]
    if ref is not None:
        batches[:, ref] = 1.0
    # what the centres leave of each covariate; nothing left: confounded
    left = covariates.copy()
    for centre in range(count):
        left[place == centre] -= left[place == centre].mean(axis=0)
    size = np.abs(covariates).max(axis=0, initial=0.0)
    for k, name in enumerate(names):
        scaled = left[:, : k + 1] / np.where(size[: k + 1] > 0, size[: k + 1], 1.0)
        if np.linalg.matrix_rank(scaled, tol=1e-9 * len(place)) <= k:
            raise ModelError(
                f"covariate {name} is determined by the centres and the other covariates, so its"
                " effect cannot be told from theirs; leave it out of the harmonisation"
            )
    return np.hstack([batches, covariates])


def _adjustable(values: Float, place: Int, counts: Int, sd: Float, names: Sequence[str]) -> Bool:
    """Tell which features vary within every centre (of two rows or more)."""
    varies = sd > _CONSTANT * np.abs(values).max(axis=0)
    for centre in np.flatnonzero(counts > 1):
        varies &= np.ptp(values[place == centre], axis=0) > 0
    left = [name for name, good in zip(names, varies, strict=True) if not good]
    if left:
        logger.info(
            "ComBat: %d features are constant within a centre and stay as they are: %s",
            len(left), ", ".join(left),
        )  # fmt: skip
    if varies.sum() < 2:
        raise ModelError(
            f"ComBat learns its priors across features and has {int(varies.sum())} that vary"
            " within every centre; give two or more, or switch harmonisation off"
        )
    return np.asarray(varies)


def _shrink(z: Float, mean_only: bool, centre: str) -> tuple[Float, Float]:
    """Return shift and variance (p,) of a centre from its standardised rows (n, p)."""
    rows = len(z)
    mean = z.mean(axis=0)
    prior_mean, prior_variance = mean.mean(), mean.var(ddof=1)
    if mean_only:
        # sva takes one row per centre here, whatever their number
        gamma = _posterior_shift(mean, prior_mean, prior_variance, 1, np.ones_like(mean))
        return gamma, np.ones_like(mean)
    variance = z.var(axis=0, ddof=1)
    within = ((z - mean) ** 2).sum(axis=0)
    shape, scale = _inverse_gamma(variance)
    gamma, delta = mean, variance
    for _ in range(_MOST_ITERATIONS):
        shift = _posterior_shift(mean, prior_mean, prior_variance, rows, delta)
        spread = within + rows * (mean - shift) ** 2
        scaled = (spread / 2 + scale) / (rows / 2 + shape - 1)
        change = max(_change(shift, gamma), _change(scaled, delta))
        gamma, delta = shift, scaled
        if change <= _TOLERANCE:
            return gamma, delta
    raise ConvergenceError(
        f"ComBat: shift and scale of centre {centre} still change by {change:.2g} after"
        f" {_MOST_ITERATIONS} iterations; look for extreme values, or fit the mean only"
    )


def _posterior_shift(
    mean: Float, prior_mean: float, prior_variance: float, rows: int, delta: Float
) -> Float:
    weight = prior_variance * rows
    return np.asarray((weight * mean + delta * prior_mean) / (weight + delta))


def _inverse_gamma(variance: Float) -> tuple[float, float]:
    """Return shape and scale with the mean and the variance of the given variances."""
    mean, spread = float(variance.mean()), float(variance.var(ddof=1))
    # equal variances: a prior so narrow that nothing is left to shrink
    spread = max(spread, np.finfo(float).eps * mean**2)
    return mean**2 / spread + 2.0, mean * (mean**2 / spread + 1.0)


def _change(new: Float, old: Float) -> float:
    difference = np.abs(new - old)
    ratio = np.divide(difference, old, out=np.zeros_like(old), where=difference > 0)
    return float(ratio.max())


def _from_record(record: Mapping[str, Any]) -> Combat:
    def array(name: str) -> Float:
        return np.array(record[name], dtype=np.float64)

    features = tuple(str(n) for n in record["features"])
    covariates = tuple(str(n) for n in record["covariates"])
    return Combat(
        centres=tuple(str(n) for n in record["centres"]),
        counts=np.array(record["counts"], dtype=np.int64),
        features=features,
        covariates=covariates,
        adjusted=np.array(record["adjusted"], dtype=bool),
        grand_mean=array("grand_mean"),
        coefficients=array("coefficients").reshape(len(covariates), len(features)),
        sd=array("sd"),
        gamma=array("gamma"),
        delta=array("delta"),
        reference=record["reference"],
        mean_only=bool(record["mean_only"]),
    )


def _check_shapes(combat: Combat) -> None:
    wide, high = len(combat.features), len(combat.centres)
    shapes = {combat.adjusted.shape, combat.grand_mean.shape, combat.sd.shape}
    if shapes != {(wide,)} or combat.counts.shape != (high,):
        raise ValueError(f"{wide} features and {high} centres, but arrays of other sizes")
    if {combat.gamma.shape, combat.delta.shape} != {(high, wide)}:
        raise ValueError(f"gamma and delta are not {high} by {wide}")

"""Restricted cubic splines: Harrell's knots and basis, linear beyond the outer knots."""

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.model.arrays import Float

#: Below this many values the outer knots are the fifth smallest and the fifth largest value.
_FEW = 100
#: An end value shared by this part of the values is an outer knot by itself.
_TIED = 0.05


def default_knots(
    values: npt.ArrayLike, n_knots: int = 4, *, what: str = "the variable"
) -> tuple[float, ...]:
    """Return knots at Harrell's quantiles, exactly as ``Hmisc::rcspline.eval`` places them.

    Parameters
    ----------
    values : (n,) array
        Development rows; missing values are left out.
    n_knots : int
        3 (quantiles 0.10, 0.50, 0.90), 4 (0.05, 0.35, 0.65, 0.95), 5 (0.05, 0.275, 0.5,
        0.725, 0.95) or, equally spaced in the same way, more; from 7 on between 0.025 and 0.975.
    what : str
        Name of the variable in messages.

    Returns
    -------
    tuple of float
        Increasing, in the unit of `values`. With fewer than 100 values the outer knots are
        the fifth smallest and the fifth largest. A variable with few different values has
        fewer knots: its inner values.

    Raises
    ------
    ModelError
        Fewer than 6 values, or fewer than 3 different knots: use the variable as continuous.

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd ed. (2015), section 2.4.6, table 2.3.
    """
    if n_knots < 3:
        raise ModelError(f"{what}: {n_knots} knots; a restricted cubic spline needs at least 3")
    x = np.asarray(values, dtype=np.float64)
    x = np.sort(x[np.isfinite(x)])
    if x.size < 6:
        raise ModelError(
            f"{what}: {x.size} values are too few to place spline knots; use it as continuous"
        )
    different = np.unique(x)
    inner = different[1:-1] if different.size - 2 <= n_knots else _quantile_knots(x, n_knots)
    knots = np.unique(inner[np.isfinite(inner)])
    if knots.size < 3:
        raise ModelError(
            f"{what}: only {different.size} different values, or too many ties, for a spline"
            " with 3 knots; use it as continuous or categorical"
        )
    return tuple(float(k) for k in knots)


def spline_basis(values: npt.ArrayLike, knots: tuple[float, ...]) -> Float:
    """Return the columns x, x', x'', ... of a restricted cubic spline.

    Parameters
    ----------
    values : (n,) array
        In the unit of `knots`.
    knots : tuple of k float
        At least 3, increasing.

    Returns
    -------
    (n, k - 1) float array
        First `values` themselves, then for j = 1 .. k - 2

        ``[(x - t_j)_+^3 - (x - t_{k-1})_+^3 (t_k - t_j) / (t_k - t_{k-1})
        + (x - t_k)_+^3 (t_{k-1} - t_j) / (t_k - t_{k-1})] / (t_k - t_1)^2``,

        so that every column has the unit of x (``norm = 2`` of ``Hmisc::rcspline.eval``).

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd ed. (2015), equations 2.24 and 2.25.
    """
    t = np.asarray(knots, dtype=np.float64)
    if t.size < 3 or not (np.diff(t) > 0).all():
        raise ModelError(f"knots {knots}: at least 3 increasing numbers are needed")
    x = np.asarray(values, dtype=np.float64)
    unit = (t[-1] - t[0]) ** (2 / 3)
    last = t[-1] - t[-2]

    def cubed(knot: float) -> Float:
        return np.asarray(np.maximum((x - knot) / unit, 0.0) ** 3)

    columns = [x]
    for knot in t[:-2]:
        tail = (t[-2] - knot) * cubed(t[-1]) - (t[-1] - knot) * cubed(t[-2])
        columns.append(cubed(knot) + tail / last)
    return np.column_stack(columns)


def _quantile_knots(x: Float, n_knots: int) -> Float:
    outer = 0.025 if n_knots > 6 else 0.05 if n_knots > 3 else 0.1
    first, last, rest = _tied_ends(x)
    wanted = n_knots - len(first) - len(last)
    if wanted == 1:
        return np.array([*first, float(np.median(rest)), *last])
    start = 0.5 if wanted == 2 else outer
    knots = np.quantile(rest, np.linspace(start, 1 - outer, wanted))
    if np.unique(knots).size < min(wanted, 3):
        knots = _alternate_knots(rest, outer, wanted, first, last)
    if rest.size < _FEW:
        if not first:
            knots[0] = rest[4] if rest.size > 4 else np.nan
        if not last:
            # by number, not the last one: so does Hmisc after its alternate algorithm
            knots[wanted - 1] = rest[-5] if rest.size > 4 else np.nan
    return np.array([*first, *knots, *last])


def _alternate_knots(
    rest: Float, outer: float, wanted: int, first: list[float], last: list[float]
) -> Float:
    # ties made quantiles coincide: ask for twice as many; the caller keeps the different ones
    knots = np.quantile(rest, np.linspace(outer, 1 - outer, 2 * wanted))
    if first and np.unique(knots).size < 3:
        middle = (first[0] + last[0]) / 2 if last else float(np.median(rest))
        end = last[0] if last else float(np.quantile(rest, 1 - outer))
        knots = np.array([first[0], middle, end])
    return np.asarray(knots)


def _tied_ends(x: Float) -> tuple[list[float], list[float], Float]:
    """Split off an outer knot where an end value is shared by many and no inner value is."""
    different, counts = np.unique(x, return_counts=True)
    share = counts / x.size
    first: list[float] = []
    last: list[float] = []
    if share[1:-1].max(initial=0.0) >= _TIED:
        return first, last, x
    if share[0] >= _TIED:
        first = [float(different[1])]
        x = x[x > different[1]]
    if share[-1] >= _TIED:
        last = [float(different[-2])]
        x = x[x < different[-2]]
    return first, last, x
